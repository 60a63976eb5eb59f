//! The command-line arguments.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Parser, value_parser};

/// Upper limit of `--max-browsers`. Much larger numbers could exceed the limit of a semaphore.
const MAX_BROWSERS: i64 = 10_000;
/// Upper limit of `--queue`. A much larger queue could not be allocated, which would abort the process.
const MAX_QUEUE: i64 = 1_000_000;

/// Commands that are available with every Rust toolchain and shell. They are slowed down to a readable rate.
const DEFAULT_COMMANDS: [&str; 3] = [
    r#"cargo tree | while IFS= read -r line; do printf '%s\n' "$line"; sleep 0.2; done"#,
    r#"rustc --print target-list | while IFS= read -r line; do printf '%s\n' "$line"; sleep 0.1; done"#,
    r#"rustdoc --help | while IFS= read -r line; do printf '%s\n' "$line" >&2; sleep 0.5; done"#,
];

/// Runs commands concurrently, or replays a recording, and shows the sessions live in the browser.
///
/// Each line is an event. Each browser subscribes with its own filter and queue. A browser that does not keep up loses
/// some of its own events and shows how many. Press ctrl-c to stop the server.
#[derive(Debug, Parser)]
#[command(name = "live-view")]
pub(crate) struct Args {
    /// Commands to run in the shell, each in quotes [default: Rust toolchain commands, slowed down, with --repeat]
    #[arg(value_name = "CMD", conflicts_with = "replay")]
    commands: Vec<String>,

    /// Replay recorded JSON Lines instead; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,

    /// Replay N events per second; 0 means as fast as possible
    #[arg(long, value_name = "N", requires = "replay", default_value_t = 50)]
    rate: u32,

    /// Start again when the source has ended
    #[arg(long)]
    repeat: bool,

    /// Address to listen on. Every client that can reach this address can read the events
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 7878)))]
    pub(crate) listen: SocketAddr,

    /// Maximum number of browsers at the same time
    #[arg(long, value_name = "N", default_value = "64", value_parser = value_parser!(u32).range(1..=MAX_BROWSERS))]
    pub(crate) max_browsers: u32,

    /// Queue capacity of each browser, in events. A full queue drops the oldest event
    #[arg(long, value_name = "N", default_value = "256", value_parser = value_parser!(u32).range(1..=MAX_QUEUE))]
    pub(crate) queue: u32,
}

impl Args {
    pub(crate) fn commands(&self) -> Vec<String> {
        if self.commands.is_empty() {
            DEFAULT_COMMANDS.map(String::from).to_vec()
        } else {
            self.commands.clone()
        }
    }

    pub(crate) fn repeat(&self) -> bool {
        self.repeat || (self.commands.is_empty() && self.replay.is_none())
    }

    pub(crate) fn rate(&self) -> Option<NonZeroU32> {
        NonZeroU32::new(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(args: &[&str]) -> Args {
        Args::parse_from(["live-view"].iter().chain(args))
    }

    #[test]
    fn command_line_definition_is_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn default_address_is_loopback() {
        assert!(parse(&[]).listen.ip().is_loopback());
        assert_eq!(parse(&["--listen", "0.0.0.0:80"]).listen.to_string(), "0.0.0.0:80");
    }

    #[test]
    fn only_the_default_commands_repeat_by_default() {
        assert!(parse(&[]).repeat());
        assert!(!parse(&["true"]).repeat());
        assert!(!parse(&["--replay", "-"]).repeat());
        assert!(parse(&["true", "--repeat"]).repeat());
    }

    #[test]
    fn rate_of_zero_means_unlimited() {
        assert_eq!(parse(&["--replay", "-", "--rate", "0"]).rate(), None);
        assert_eq!(parse(&["--replay", "-"]).rate(), NonZeroU32::new(50));
    }

    #[test]
    fn limits_outside_the_allowed_range_are_rejected() {
        for option in ["--max-browsers", "--queue"] {
            for number in ["0", "4294967295"] {
                let error = Args::try_parse_from(["live-view", option, number]).unwrap_err();
                assert!(error.to_string().contains("1..="), "{option} {number}: {error}");
            }
        }
    }
}

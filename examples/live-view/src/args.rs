//! What was asked for on the command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Parser, value_parser};

/// Both beyond any use. Far more than these there cannot be: of browsers at the start,
const MAX_BROWSERS: i64 = 10_000;
/// of the queue as the first browser comes, which would be the end of the process.
const MAX_QUEUE: i64 = 1_000_000;

/// What every machine with a Rust toolchain and a shell has, at a pace that the eye can follow.
const DEFAULT_COMMANDS: [&str; 3] = [
    r#"cargo tree | while IFS= read -r line; do printf '%s\n' "$line"; sleep 0.2; done"#,
    r#"rustc --print target-list | while IFS= read -r line; do printf '%s\n' "$line"; sleep 0.1; done"#,
    r#"rustdoc --help | while IFS= read -r line; do printf '%s\n' "$line" >&2; sleep 0.5; done"#,
];

/// Runs commands side by side, or replays a recording, and shows their sessions live in the browser.
///
/// Every line is an event. Each browser subscribes with a filter and a queue of its own; one that does not keep up loses
/// its own events and is told how many. Ends with ctrl-c.
#[derive(Debug, Parser)]
#[command(name = "live-view")]
pub(crate) struct Args {
    /// Commands to run by the shell, each in quotes [default: some of the Rust toolchain, slowed down, with --repeat]
    #[arg(value_name = "CMD", conflicts_with = "replay")]
    commands: Vec<String>,

    /// Replay recorded JSON Lines instead; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,

    /// Replay so many events per second; 0: as fast as it goes
    #[arg(long, value_name = "N", requires = "replay", default_value_t = 50)]
    rate: u32,

    /// Begin again at the end
    #[arg(long)]
    repeat: bool,

    /// Serve there. Beyond loopback, everyone who reaches the address can read along
    #[arg(long, value_name = "ADDR", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 7878)))]
    pub(crate) listen: SocketAddr,

    /// Browsers at once
    #[arg(long, value_name = "N", default_value = "64", value_parser = value_parser!(u32).range(1..=MAX_BROWSERS))]
    pub(crate) max_browsers: u32,

    /// Events that wait for a browser before it loses the oldest
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
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn it_listens_on_loopback_unless_told() {
        assert!(parse(&[]).listen.ip().is_loopback());
        assert_eq!(parse(&["--listen", "0.0.0.0:80"]).listen.to_string(), "0.0.0.0:80");
    }

    #[test]
    fn only_the_default_repeats_unasked() {
        assert!(parse(&[]).repeat());
        assert!(!parse(&["true"]).repeat());
        assert!(!parse(&["--replay", "-"]).repeat());
        assert!(parse(&["true", "--repeat"]).repeat());
    }

    #[test]
    fn a_rate_of_zero_is_no_pace() {
        assert_eq!(parse(&["--replay", "-", "--rate", "0"]).rate(), None);
        assert_eq!(parse(&["--replay", "-"]).rate(), NonZeroU32::new(50));
    }

    #[test]
    fn so_many_browsers_and_so_long_queues_as_cannot_be_had_are_refused() {
        for option in ["--max-browsers", "--queue"] {
            for number in ["0", "4294967295"] {
                let refused = Args::try_parse_from(["live-view", option, number]).unwrap_err();
                assert!(refused.to_string().contains("1..="), "{option} {number}: {refused}");
            }
        }
    }
}

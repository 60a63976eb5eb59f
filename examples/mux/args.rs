//! The command-line arguments.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use sharing_bus::EventKind;
use sharing_bus_example_sessions::{Filter, Record, event_kind};
use uuid::Uuid;

/// Commands that are available with every Rust toolchain.
const DEFAULT_COMMANDS: [&str; 3] = ["cargo tree", "rustc --print target-list", "rustdoc --help"];

/// Runs commands concurrently, or replays a recording, through an event bus.
///
/// Each line is an event. The console view, the archiver and the progress line are subscribers. At the end, a table
/// shows how many events each subscriber matched, received and missed. The exit code is 1 if any error was reported.
#[derive(Debug, Parser)]
#[command(name = "mux")]
pub(crate) struct Args {
    /// Commands to run in the shell, each in quotes [default: 'cargo tree' 'rustc --print target-list' 'rustdoc
    /// --help']
    #[arg(value_name = "CMD", conflicts_with = "replay")]
    commands: Vec<String>,

    /// Replay recorded JSON Lines instead; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,

    /// Replay N events per second [default: as fast as possible]
    #[arg(long, value_name = "N", requires = "replay")]
    pub(crate) rate: Option<NonZeroU32>,

    /// Write one JSON Lines file per scroll to DIR, replacing files of earlier runs [default: a new temporary
    /// directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) archive: Option<PathBuf>,

    /// Filter for the console, the archive and --slow: connector=NAME, scroll=UUID or kind=KIND (of the bus or of the
    /// record). Conditions with the same name are alternatives; conditions with different names must all hold
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    conditions: Vec<Condition>,

    /// Add a subscriber that takes MS milliseconds for each event
    #[arg(long, value_name = "MS")]
    slow: Option<u64>,

    /// Disable the console view
    #[arg(long)]
    pub(crate) quiet: bool,
}

impl Args {
    pub(crate) fn commands(&self) -> Vec<String> {
        if self.commands.is_empty() {
            DEFAULT_COMMANDS.map(String::from).to_vec()
        } else {
            self.commands.clone()
        }
    }

    pub(crate) fn slow(&self) -> Option<Duration> {
        self.slow.map(Duration::from_millis)
    }

    /// Combines the conditions into one filter. Equality conditions remain equality filters, so the bus can look them
    /// up in its index.
    pub(crate) fn filter(&self) -> Filter {
        let alternatives = |has_name: fn(&Condition) -> bool| {
            let conditions = self.conditions.iter().filter(|condition| has_name(condition));
            combine(conditions.map(Condition::filter).collect(), Filter::any)
        };
        let groups = [
            alternatives(|condition| matches!(condition, Condition::Connector(_))),
            alternatives(|condition| matches!(condition, Condition::Scroll(_))),
            alternatives(|condition| matches!(condition, Condition::Kind(_))),
        ];
        combine(groups.into_iter().flatten().collect(), Filter::all).unwrap_or(Filter::All)
    }
}

/// Combines several filters into one. A single filter is returned unchanged, which keeps the final table readable.
fn combine(mut filters: Vec<Filter>, combinator: fn(Vec<Filter>) -> Filter) -> Option<Filter> {
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(combinator(filters)),
    }
}

/// The value of one `--filter` option.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Connector(Arc<str>),
    Scroll(Uuid),
    Kind(String),
}

impl Condition {
    fn filter(&self) -> Filter {
        match self {
            Condition::Connector(name) => Filter::ConnectorId(Arc::clone(name)),
            Condition::Scroll(id) => Filter::ScrollId(*id),
            Condition::Kind(kind) => match kind.parse::<EventKind>() {
                Ok(kind) => Filter::Kind(kind),
                Err(_) => record_kind(kind.clone()),
            },
        }
    }
}

/// Returns a filter for a kind of records that is not a kind of the bus. The bus narrows the events down by their own
/// kind first.
fn record_kind(kind: String) -> Filter {
    let bus_kind = event_kind(&kind);
    let exact = Filter::custom(move |event: &sharing_bus::BusEvent<Record>| event.event.kind == kind);
    Filter::all([Filter::Kind(bus_kind), exact])
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        if value.is_empty() {
            return Err(format!("the value of `{name}=` is empty"));
        }
        match name {
            "connector" => Ok(Condition::Connector(value.into())),
            "scroll" => value
                .parse()
                .map(Condition::Scroll)
                .map_err(|error| format!("`{value}` is not a UUID: {error}")),
            "kind" => Ok(Condition::Kind(value.into())),
            _ => Err(format!("unknown name `{name}`; expected connector, scroll or kind")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn filter(conditions: &[&str]) -> String {
        let options = conditions.iter().flat_map(|condition| ["--filter", condition]);
        Args::parse_from(["mux"].into_iter().chain(options))
            .filter()
            .to_string()
    }

    #[test]
    fn command_line_definition_is_valid() {
        Args::command().debug_assert();
    }

    #[test]
    fn conditions_with_the_same_name_are_alternatives() {
        assert_eq!(filter(&[]), "*");
        assert_eq!(filter(&["connector=git"]), "connector=git");
        assert_eq!(
            filter(&["kind=output", "connector=git", "kind=tool_call"]),
            "all(connector=git, any(kind=output, all(kind=tool, custom)))"
        );
    }

    #[test]
    fn invalid_condition_is_rejected() {
        for text in ["connector", "connector=", "scroll=7", "color=red", "=x"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}

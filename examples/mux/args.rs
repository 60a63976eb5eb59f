//! What was asked for on the command line.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use sharing_bus::EventKind;
use sharing_bus_example_sessions::{Filter, Record, event_kind};
use uuid::Uuid;

/// Commands that every machine with a Rust toolchain has.
const DEFAULT_COMMANDS: [&str; 3] = ["cargo tree", "rustc --print target-list", "rustdoc --help"];

/// Runs commands side by side, or replays a recording, through an event bus.
///
/// Every line is an event. The console view, the archiver and the progress line receive what they ask for; a closing
/// table tells what each matched, received and missed. It ends with 1 if anything went wrong.
#[derive(Debug, Parser)]
#[command(name = "mux")]
pub(crate) struct Args {
    /// Commands to run by the shell, each in quotes [default: 'cargo tree' 'rustc --print target-list' 'rustdoc --help']
    #[arg(value_name = "CMD", conflicts_with = "replay")]
    commands: Vec<String>,

    /// Replay recorded JSON Lines instead; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,

    /// Replay so many events per second [default: as fast as it goes]
    #[arg(long, value_name = "N", requires = "replay")]
    pub(crate) rate: Option<NonZeroU32>,

    /// Write one JSON Lines file per scroll there, replacing files of an earlier run [default: a new temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) archive: Option<PathBuf>,

    /// What console, archive and --slow receive: connector=NAME, scroll=UUID or kind=KIND (of the bus or of the record).
    /// Repeated: any of those with the same name, all of those with different ones
    #[arg(long = "filter", value_name = "NAME=VALUE")]
    conditions: Vec<Condition>,

    /// Add a subscriber that spends so many milliseconds on every event
    #[arg(long, value_name = "MS")]
    slow: Option<u64>,

    /// No console view
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

    /// The conditions as one filter. Equalities stay equalities, which the bus finds by index.
    pub(crate) fn filter(&self) -> Filter {
        let alternatives = |belongs: fn(&Condition) -> bool| {
            let conditions = self.conditions.iter().filter(|condition| belongs(condition));
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

/// One filter of several; one alone stays as it is, for the closing table's sake.
fn combine(mut filters: Vec<Filter>, combinator: fn(Vec<Filter>) -> Filter) -> Option<Filter> {
    match filters.len() {
        0 => None,
        1 => filters.pop(),
        _ => Some(combinator(filters)),
    }
}

/// One `--filter`.
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

/// A kind that only records know: looked for among the events of the kind that the bus sees.
fn record_kind(kind: String) -> Filter {
    let seen_as = event_kind(&kind);
    let exact = Filter::custom(move |event: &sharing_bus::BusEvent<Record>| event.event.kind == kind);
    Filter::all([Filter::Kind(seen_as), exact])
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        if value.is_empty() {
            return Err(format!("nothing behind `{name}=`"));
        }
        match name {
            "connector" => Ok(Condition::Connector(value.into())),
            "scroll" => value
                .parse()
                .map(Condition::Scroll)
                .map_err(|error| format!("`{value}` is no UUID: {error}")),
            "kind" => Ok(Condition::Kind(value.into())),
            _ => Err(format!("`{name}` is none of connector, scroll, kind")),
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
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }

    #[test]
    fn conditions_of_one_name_are_alternatives_and_names_add_up() {
        assert_eq!(filter(&[]), "*");
        assert_eq!(filter(&["connector=git"]), "connector=git");
        assert_eq!(
            filter(&["kind=output", "connector=git", "kind=tool_call"]),
            "all(connector=git, any(kind=output, all(kind=tool, custom)))"
        );
    }

    #[test]
    fn a_condition_that_makes_no_sense_is_refused() {
        for text in ["connector", "connector=", "scroll=7", "colour=red", "=x"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}

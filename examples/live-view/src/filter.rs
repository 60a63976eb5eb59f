//! The filter language: what [`EventFilter`](sharing_bus::EventFilter) prints, and a shorter way to write it.
//!
//! ```text
//! filter    = words { "|" words }          any of them; "|" binds less than the blank
//! words     = term { term }                all of them
//! term      = "*" | "not" term | "(" filter ")" | "any(" list ")" | "all(" list ")" | condition
//! list      = [ filter { "," filter } ]
//! condition = name "=" value               kind, connector, connector_uid, scroll, session, origin
//! value     = anything without blanks and ()|,"  or "quoted", with \" and \\ for " and \
//! ```
//!
//! The value of `session` is `CONNECTOR/SESSION`, parted at the first slash.

use std::fmt::{self, Display};
use std::str::FromStr;

use sharing_bus::{EventKind, EventOrigin};
use sharing_bus_example_sessions::Filter;
use uuid::Uuid;

mod words;

use words::{Word, Words};

/// Longer texts are refused.
const LONGEST: usize = 1000;
/// Deeper nesting is refused: the parser and the filter recurse.
const DEEPEST: usize = 32;

/// Why a text is no filter, for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FilterError(String);

impl Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn error<T>(message: impl Into<String>) -> Result<T, FilterError> {
    Err(FilterError(message.into()))
}

/// Reads a filter. An empty text asks for every event.
pub(crate) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > LONGEST {
        return error(format!("the filter is longer than {LONGEST} bytes"));
    }
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let mut parser = Parser {
        words: Words::new(text),
        depth: 0,
    };
    let filter = parser.alternatives()?;
    match parser.words.next()? {
        None => Ok(filter),
        Some(word) => error(format!("unexpected {word}")),
    }
}

struct Parser<'a> {
    words: Words<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Result<Filter, FilterError> {
        let mut filters = vec![self.conjunction()?];
        while self.words.take(&Word::Bar)? {
            filters.push(self.conjunction()?);
        }
        Ok(combine(filters, Filter::any))
    }

    fn conjunction(&mut self) -> Result<Filter, FilterError> {
        let mut filters = vec![self.term()?];
        while let Some(Word::Open | Word::Text { .. }) = self.words.peek()? {
            filters.push(self.term()?);
        }
        Ok(combine(filters, Filter::all))
    }

    fn term(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return error(format!("the filter is nested more than {DEEPEST} deep"));
        }
        let term = match self.words.next()? {
            Some(Word::Open) => {
                let inner = self.alternatives()?;
                self.close()?;
                inner
            }
            Some(Word::Text { text, value: None }) => self.bare(&text)?,
            Some(Word::Text {
                text,
                value: Some(value),
            }) => condition(&text, &value)?,
            Some(word) => return error(format!("a condition is missing before {word}")),
            None => return error("a condition is missing at the end"),
        };
        self.depth -= 1;
        Ok(term)
    }

    /// A word without `=`.
    fn bare(&mut self, word: &str) -> Result<Filter, FilterError> {
        let called = matches!(self.words.peek()?, Some(Word::Open));
        match word {
            "*" => Ok(Filter::All),
            "not" => match self.words.peek()? {
                Some(Word::Open | Word::Text { .. }) => Ok(Filter::not(self.term()?)),
                _ => error("`not` wants a condition behind it, as in `not kind=progress`"),
            },
            "any" if called => Ok(Filter::any(self.list()?)),
            "all" if called => Ok(Filter::all(self.list()?)),
            _ => error(format!(
                "`{word}` is no condition: write NAME=VALUE, as in `kind=output` or `connector=cargo`"
            )),
        }
    }

    fn list(&mut self) -> Result<Vec<Filter>, FilterError> {
        let mut filters = Vec::new();
        self.words.take(&Word::Open)?;
        if self.words.take(&Word::Close)? {
            return Ok(filters);
        }
        loop {
            filters.push(self.alternatives()?);
            if !self.words.take(&Word::Comma)? {
                break;
            }
        }
        self.close()?;
        Ok(filters)
    }

    fn close(&mut self) -> Result<(), FilterError> {
        if self.words.take(&Word::Close)? {
            Ok(())
        } else {
            error("a `)` is missing")
        }
    }
}

/// One filter of several; one alone stays as it is.
fn combine(mut filters: Vec<Filter>, combinator: fn(Vec<Filter>) -> Filter) -> Filter {
    if filters.len() == 1 {
        filters.remove(0)
    } else {
        combinator(filters)
    }
}

fn condition(name: &str, value: &str) -> Result<Filter, FilterError> {
    if value.is_empty() {
        return error(format!("nothing behind `{name}=`"));
    }
    match name {
        "kind" => named(value, "kind", EventKind::ALL).map(Filter::Kind),
        "origin" => named(value, "origin", EventOrigin::ALL).map(Filter::Origin),
        "connector" => Ok(Filter::ConnectorId(value.into())),
        "connector_uid" => uuid(value).map(Filter::ConnectorUid),
        "scroll" => uuid(value).map(Filter::ScrollId),
        "session" => match value.split_once('/') {
            Some((connector, session)) => Ok(Filter::Session {
                connector_id: connector.into(),
                native_session_id: session.into(),
            }),
            None => error(format!("`session={value}` wants CONNECTOR/SESSION behind the `=`")),
        },
        _ => error(format!(
            "`{name}` is none of kind, connector, connector_uid, scroll, session, origin"
        )),
    }
}

fn named<T: FromStr + Display>(value: &str, what: &str, all: &[T]) -> Result<T, FilterError> {
    value.parse().or_else(|_| {
        let names: Vec<_> = all.iter().map(T::to_string).collect();
        error(format!("`{value}` is no {what}: it is one of {}", names.join(", ")))
    })
}

fn uuid(value: &str) -> Result<Uuid, FilterError> {
    value
        .parse()
        .or_else(|cause| error(format!("`{value}` is no UUID: {cause}")))
}

#[cfg(test)]
mod tests;

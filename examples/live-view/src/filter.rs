//! The filter language. It accepts the text form of [`EventFilter`](sharing_bus::EventFilter) and a shorter notation.
//!
//! ```text
//! filter    = terms { "|" terms }          any of them; "|" binds less tightly than a space
//! terms     = term { term }                all of them
//! term      = "*" | "not" term | "(" filter ")" | "any(" list ")" | "all(" list ")" | condition
//! list      = [ filter { "," filter } ]
//! condition = name "=" value               kind, connector, connector_uid, scroll, session, origin
//! value     = text without spaces and ()|,"  or "quoted", with the escapes \" \\ \n \r \t \0 \u{CODE}
//! ```
//!
//! The value of `session` is `CONNECTOR/SESSION`. Each of the two names can be quoted. Otherwise, the first slash
//! separates the names.

use std::fmt::{self, Display};
use std::str::FromStr;

use sharing_bus::{EventKind, EventOrigin};
use sharing_bus_example_sessions::Filter;
use uuid::Uuid;

mod tokens;

use tokens::{Token, Tokens, Value};

/// Maximum length of a filter, in bytes. Longer filters are rejected.
const MAX_LENGTH: usize = 1000;
/// Maximum nesting depth. Deeper filters are rejected because the parser and the filter recurse.
const MAX_DEPTH: usize = 32;

/// The reason why a text is not a valid filter, as a message for users.
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

/// Parses a filter. An empty text matches all events.
pub(crate) fn parse(text: &str) -> Result<Filter, FilterError> {
    if text.len() > MAX_LENGTH {
        return error(format!("the filter is longer than {MAX_LENGTH} bytes"));
    }
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let mut parser = Parser {
        tokens: Tokens::new(text),
        depth: 0,
    };
    let filter = parser.alternatives()?;
    match parser.tokens.next()? {
        None => Ok(filter),
        Some(token) => error(format!("unexpected {token}")),
    }
}

struct Parser<'a> {
    tokens: Tokens<'a>,
    depth: usize,
}

impl Parser<'_> {
    fn alternatives(&mut self) -> Result<Filter, FilterError> {
        let mut filters = vec![self.conjunction()?];
        while self.tokens.take_if(&Token::Pipe)? {
            filters.push(self.conjunction()?);
        }
        Ok(combine(filters, Filter::any))
    }

    fn conjunction(&mut self) -> Result<Filter, FilterError> {
        let mut filters = vec![self.term()?];
        while let Some(Token::Open | Token::Text { .. }) = self.tokens.peek()? {
            filters.push(self.term()?);
        }
        Ok(combine(filters, Filter::all))
    }

    fn term(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return error(format!("the filter is nested more than {MAX_DEPTH} deep"));
        }
        let term = match self.tokens.next()? {
            Some(Token::Open) => {
                let inner = self.alternatives()?;
                self.close()?;
                inner
            }
            Some(Token::Text { text, value: None }) => self.keyword(&text)?,
            Some(Token::Text {
                text,
                value: Some(value),
            }) => condition(&text, &value)?,
            Some(token) => return error(format!("a condition is missing before {token}")),
            None => return error("a condition is missing at the end"),
        };
        self.depth -= 1;
        Ok(term)
    }

    /// Parses a word without `=`.
    fn keyword(&mut self, token: &str) -> Result<Filter, FilterError> {
        let followed_by_list = matches!(self.tokens.peek()?, Some(Token::Open));
        match token {
            "*" => Ok(Filter::All),
            "not" => match self.tokens.peek()? {
                Some(Token::Open | Token::Text { .. }) => Ok(Filter::not(self.term()?)),
                _ => error("`not` must be followed by a condition, as in `not kind=progress`"),
            },
            "any" if followed_by_list => Ok(Filter::any(self.list()?)),
            "all" if followed_by_list => Ok(Filter::all(self.list()?)),
            _ => error(format!(
                "`{token}` is not a condition; use NAME=VALUE, as in `kind=output` or `connector=cargo`"
            )),
        }
    }

    fn list(&mut self) -> Result<Vec<Filter>, FilterError> {
        let mut filters = Vec::new();
        self.tokens.take_if(&Token::Open)?;
        if self.tokens.take_if(&Token::Close)? {
            return Ok(filters);
        }
        loop {
            filters.push(self.alternatives()?);
            if !self.tokens.take_if(&Token::Comma)? {
                break;
            }
        }
        self.close()?;
        Ok(filters)
    }

    fn close(&mut self) -> Result<(), FilterError> {
        if self.tokens.take_if(&Token::Close)? {
            Ok(())
        } else {
            error("a `)` is missing")
        }
    }
}

/// Combines several filters into one. A single filter is returned unchanged.
fn combine(mut filters: Vec<Filter>, combinator: fn(Vec<Filter>) -> Filter) -> Filter {
    if filters.len() == 1 {
        filters.remove(0)
    } else {
        combinator(filters)
    }
}

fn condition(name: &str, value: &Value) -> Result<Filter, FilterError> {
    let Value { text, first, is_quoted } = value;
    if text.is_empty() && !is_quoted {
        return error(format!("the value of `{name}=` is empty"));
    }
    if first.is_some() && name != "session" {
        return error(format!("`{name}=` takes one name, not two"));
    }
    let value = text.as_str();
    match name {
        "kind" => parse_name(value, "kind", EventKind::ALL).map(Filter::Kind),
        "origin" => parse_name(value, "origin", EventOrigin::ALL).map(Filter::Origin),
        "connector" => Ok(Filter::ConnectorId(value.into())),
        "connector_uid" => parse_uuid(value).map(Filter::ConnectorUid),
        "scroll" => parse_uuid(value).map(Filter::ScrollId),
        "session" => match first.as_ref().map_or_else(
            || value.split_once('/'),
            |first| Some((first.as_str(), &value[first.len() + 1..])),
        ) {
            Some((connector, session)) => Ok(Filter::Session {
                connector_id: connector.into(),
                native_session_id: session.into(),
            }),
            None => error(format!(
                "`session={value}` is not of the form session=CONNECTOR/SESSION"
            )),
        },
        _ => error(format!(
            "unknown name `{name}`; expected kind, connector, connector_uid, scroll, session or origin"
        )),
    }
}

fn parse_name<T: FromStr + Display>(value: &str, noun: &str, all: &[T]) -> Result<T, FilterError> {
    value.parse().or_else(|_| {
        let names: Vec<_> = all.iter().map(T::to_string).collect();
        error(format!(
            "unknown {noun} `{value}`; expected one of {}",
            names.join(", ")
        ))
    })
}

fn parse_uuid(value: &str) -> Result<Uuid, FilterError> {
    value
        .parse()
        .or_else(|cause| error(format!("`{value}` is not a UUID: {cause}")))
}

#[cfg(test)]
mod tests;

//! The text of a filter: its `Display` and `Debug` forms.
//!
//! Two different filters have different texts, apart from custom functions. The texts of names are quoted when they
//! could be confused with other parts of the text. Printing does not recurse, so it prints a filter of any depth.
//!
//! Plain values; nothing here is shared.

use std::fmt;

use crate::filter::{EventFilter, Operator};
use crate::name::Name;

/// Formats the filter in one line; see [Text](EventFilter#text).
impl<E> fmt::Display for EventFilter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The next piece is the last one.
        let mut pieces = vec![Piece::Filter(self)];
        while let Some(piece) = pieces.pop() {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Filter(EventFilter::Not(filter)) => {
                    f.write_str("not(")?;
                    pieces.extend([Piece::Text(")"), Piece::Filter(filter)]);
                }
                Piece::Filter(filter) => match Operator::of(filter) {
                    Some((operator, list)) => {
                        f.write_str(match operator {
                            Operator::Any => "any(",
                            Operator::Every => "all(",
                        })?;
                        pieces.push(Piece::Text(")"));
                        push_list(&mut pieces, operator.members(list));
                    }
                    None => write_condition(filter, f)?,
                },
            }
        }
        Ok(())
    }
}

impl<E> fmt::Debug for EventFilter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventFilter({self})")
    }
}

/// A part of the text that is not yet written.
enum Piece<'a, E> {
    Text(&'static str),
    Filter(&'a EventFilter<E>),
}

fn push_list<'a, E: 'a>(pieces: &mut Vec<Piece<'a, E>>, filters: impl DoubleEndedIterator<Item = &'a EventFilter<E>>) {
    let first = pieces.len();
    for filter in filters.rev() {
        if pieces.len() > first {
            pieces.push(Piece::Text(", "));
        }
        pieces.push(Piece::Filter(filter));
    }
}

/// Writes a filter that contains no other filter.
fn write_condition<E>(filter: &EventFilter<E>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match filter {
        EventFilter::All => f.write_str("*"),
        EventFilter::ScrollId(id) => write!(f, "scroll={id}"),
        EventFilter::ConnectorUid(uid) => write!(f, "connector_uid={uid}"),
        EventFilter::ConnectorId(id) => write!(f, "connector={}", Name(id)),
        EventFilter::Session {
            connector_id,
            native_session_id,
        } => write!(f, "session={}/{}", Name(connector_id), Name(native_session_id)),
        EventFilter::Kind(kind) => write!(f, "kind={kind}"),
        EventFilter::Origin(origin) => write!(f, "origin={origin}"),
        EventFilter::Custom(_) => f.write_str("custom"),
        EventFilter::Any(_) | EventFilter::Every(_) | EventFilter::Not(_) => {
            unreachable!("the caller writes combined filters")
        }
    }
}

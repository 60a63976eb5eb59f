//! The headers of a message, which contain its source and its numbers: [`EventHeaders`].
//!
//! These are plain values. Numbers are decimal, and ids are UUIDs without hyphens.

use async_nats::header::{self, HeaderMap, HeaderName, HeaderValue};
use sharing_bus::EventOrigin;
use uuid::Uuid;

/// The node on which the event was published.
const ORIGIN: HeaderName = HeaderName::from_static("Sb-Origin");
/// The start of that node's bridge.
const EPOCH: HeaderName = HeaderName::from_static("Sb-Epoch");
/// The event's number since that start among all events that matched the export filter, counted from 1.
const SEQUENCE: HeaderName = HeaderName::from_static("Sb-Seq");
/// The event's number among the events of its subject, counted from 1.
const SUBJECT_SEQUENCE: HeaderName = HeaderName::from_static("Sb-Nth");
/// Number of events of any subject that the bridge's queue has lost so far. Omitted if it is 0.
const LOST: HeaderName = HeaderName::from_static("Sb-Lost");
/// The event's origin on that node.
const EVENT_ORIGIN: HeaderName = HeaderName::from_static("Sb-Event-Origin");
/// The id by which JetStream recognizes duplicates: origin, epoch and sequence, joined by dots.
const MESSAGE_ID: HeaderName = header::NATS_MESSAGE_ID;

/// Maximum number of subjects of one source that the source and each receiver track. Above this limit, they forget all
/// subjects of that source. After that, losses in a subject are detected only from its next message on.
pub(crate) const MAX_TRACKED_SUBJECTS: usize = 65_536;

/// The sender of messages: a node and one start of its bridge. Epochs are random and have no order, so no clock is
/// involved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) origin: Uuid,
    pub(crate) epoch: Uuid,
}

/// The numbers that a source assigns to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) sequence: u64,
    pub(crate) subject_sequence: u64,
    pub(crate) lost: u64,
}

/// The headers that a bridge writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventHeaders {
    pub(crate) source: Source,
    pub(crate) numbers: Numbers,
    pub(crate) event_origin: EventOrigin,
}

impl EventHeaders {
    pub(crate) fn write(&self) -> HeaderMap {
        let origin = self.source.origin.simple().to_string();
        let epoch = self.source.epoch.simple().to_string();
        let sequence = self.numbers.sequence;
        let mut headers = HeaderMap::new();
        headers.insert(MESSAGE_ID, HeaderValue::from(format!("{origin}.{epoch}.{sequence}")));
        headers.insert(ORIGIN, HeaderValue::from(origin));
        headers.insert(EPOCH, HeaderValue::from(epoch));
        headers.insert(SEQUENCE, HeaderValue::from(sequence));
        headers.insert(SUBJECT_SEQUENCE, HeaderValue::from(self.numbers.subject_sequence));
        if self.numbers.lost > 0 {
            headers.insert(LOST, HeaderValue::from(self.numbers.lost));
        }
        headers.insert(EVENT_ORIGIN, HeaderValue::from(self.event_origin.as_str()));
        headers
    }

    /// Returns `None` if a header is missing or invalid, which means that no bridge wrote the message.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let text = |name: HeaderName| headers.get(name).map(HeaderValue::as_str);
        let number = |name: HeaderName| text(name)?.parse::<u64>().ok().filter(|number| *number > 0);
        let id = |name: HeaderName| Uuid::try_parse(text(name)?).ok();
        let lost = match text(LOST) {
            Some(lost) => lost.parse().ok()?,
            None => 0,
        };
        Some(EventHeaders {
            source: Source {
                origin: id(ORIGIN)?,
                epoch: id(EPOCH)?,
            },
            numbers: Numbers {
                sequence: number(SEQUENCE)?,
                subject_sequence: number(SUBJECT_SEQUENCE)?,
                lost,
            },
            event_origin: text(EVENT_ORIGIN)?.parse().ok()?,
        })
    }
}

/// Returns the length of the headers on the wire in bytes. The server's limit applies to headers and payload together.
pub(crate) fn wire_len(headers: &HeaderMap) -> usize {
    let lines = headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let lines = lines.map(|(name, value)| AsRef::<str>::as_ref(name).len() + value.as_str().len() + ": \r\n".len());
    "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event_headers(lost: u64) -> EventHeaders {
        EventHeaders {
            source: Source {
                origin: Uuid::from_u128(1),
                epoch: Uuid::from_u128(2),
            },
            numbers: Numbers {
                sequence: 7,
                subject_sequence: 3,
                lost,
            },
            event_origin: EventOrigin::User,
        }
    }

    #[test]
    fn headers_survive_a_round_trip() {
        for lost in [0, 5] {
            let headers = event_headers(lost).write();
            assert_eq!(EventHeaders::read(&headers), Some(event_headers(lost)));
            let id = headers.get(MESSAGE_ID).unwrap().as_str();
            assert_eq!(id, format!("{:032x}.{:032x}.7", 1, 2));
        }
    }

    #[test]
    fn missing_or_invalid_headers_are_refused() {
        let names = [ORIGIN, EPOCH, SEQUENCE, SUBJECT_SEQUENCE, LOST, EVENT_ORIGIN];
        for name in names {
            for value in ["", "-1", "x"] {
                let mut headers = event_headers(0).write();
                headers.insert(name.clone(), value);
                assert_eq!(EventHeaders::read(&headers), None, "{name}: {value}");
            }
        }
        assert_eq!(EventHeaders::read(&HeaderMap::new()), None);
    }
}

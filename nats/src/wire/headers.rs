//! The headers of a message: what names its origin and its numbers among what that origin sent.
//!
//! Plain values. Numbers are decimal, ids are UUIDs without hyphens.

use async_nats::header::{self, HeaderMap, HeaderName, HeaderValue};
use sharing_bus::EventOrigin;
use uuid::Uuid;

/// The node that the event was published on.
const ORIGIN: HeaderName = HeaderName::from_static("Sb-Origin");
/// Which start of that node's bridge.
const EPOCH: HeaderName = HeaderName::from_static("Sb-Epoch");
/// The event's number among all that the bridge had to export since that start, from 1.
const SEQUENCE: HeaderName = HeaderName::from_static("Sb-Seq");
/// The event's number among those of the same subject, from 1.
const SUBJECT_SEQUENCE: HeaderName = HeaderName::from_static("Sb-Nth");
/// How many events the bridge's own queue had lost so far, of whatever subject. Left out while it is none.
const LOST: HeaderName = HeaderName::from_static("Sb-Lost");
/// Who made the event there.
const EVENT_ORIGIN: HeaderName = HeaderName::from_static("Sb-Event-Origin");
/// What JetStream tells duplicates by: origin, epoch and sequence, joined by dots.
const MESSAGE_ID: HeaderName = header::NATS_MESSAGE_ID;

/// Number of subjects of one source that the sender and each receiver track. Beyond it, both forget all subjects of that source. A
/// loss is then detected only after the next message of a subject.
pub(crate) const MAX_TRACKED_SUBJECTS: usize = 65_536;

/// Who sends: a node, and which start of its bridge. Nothing depends on clocks, so epochs have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) origin: Uuid,
    pub(crate) epoch: Uuid,
}

/// A message's numbers among what its source sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub(crate) sequence: u64,
    pub(crate) subject_sequence: u64,
    pub(crate) lost: u64,
}

/// What the headers of a message of a bridge say.
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

    /// `None` if a header is missing or says nothing legal: the message is of no bridge.
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

/// How many bytes the headers are on the wire, which count against the server's limit as the payload does.
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
    fn what_is_written_is_read() {
        for lost in [0, 5] {
            let headers = event_headers(lost).write();
            assert_eq!(EventHeaders::read(&headers), Some(event_headers(lost)));
            let id = headers.get(MESSAGE_ID).unwrap().as_str();
            assert_eq!(id, format!("{:032x}.{:032x}.7", 1, 2));
        }
    }

    #[test]
    fn what_is_missing_or_nonsense_is_of_no_bridge() {
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

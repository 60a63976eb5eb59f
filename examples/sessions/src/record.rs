//! The payload of the bus, [`Record`], which is also the line format of recordings and archives.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sharing_bus::{BusEvent, EventKind, EventOrigin, EventRouting, Payload, SessionChange};
use uuid::Uuid;

/// The kind of the record that registers a session.
pub const SESSION_REGISTERED: &str = "session_registered";
/// The kind of the record that ends a session.
pub const SESSION_ENDED: &str = "session_ended";

/// One event of a connector, serialized as one line of JSON.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Record {
    /// The time of the event, as the source wrote it.
    pub ts: String,
    /// Name of the connector.
    pub connector_id: Arc<str>,
    /// The session of the connector, or `None` for an event of the connector itself.
    pub native_session_id: Option<Arc<str>>,
    /// Kind of the record, more specific than the kinds of the bus; see [`event_kind`].
    pub kind: String,
    /// Any JSON value. Lines of commands are `{"text": ...}`.
    #[serde(default)]
    pub payload: Value,
    /// The session's scroll. Most recordings omit this field. The archiver adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scroll_id: Option<Uuid>,
    /// The scroll id of the session that this record registers, as text.
    #[serde(skip)]
    pub(crate) registered_scroll_id: Option<String>,
}

impl Payload for Record {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        let (connector_id, session_id) = (&*self.connector_id, self.native_session_id.as_deref()?);
        match &self.registered_scroll_id {
            Some(scroll_id) => Some(SessionChange::Registered {
                connector_id,
                session_id,
                scroll_id,
            }),
            None if self.kind == SESSION_ENDED => Some(SessionChange::Ended {
                connector_id,
                session_id,
            }),
            None => None,
        }
    }
}

impl Record {
    /// Converts the record into an event. If the record has no scroll, the event has none either, and the bus binds
    /// the event.
    pub fn into_event(self, origin: EventOrigin) -> BusEvent<Record> {
        let routing = EventRouting {
            scroll_id: self.scroll_id,
            connector_uid: Some(connector_uid(&self.connector_id)),
            connector_id: Some(Arc::clone(&self.connector_id)),
            native_session_id: self.native_session_id.clone(),
            kind: event_kind(&self.kind),
        };
        BusEvent::new(routing, self).with_origin(origin)
    }
}

/// Returns the unique id of a connector. It is derived from the name, so it is the same in every run.
fn connector_uid(connector_id: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, connector_id.as_bytes())
}

/// Returns the kind that an event has on the bus, given the kind of its record.
pub fn event_kind(kind: &str) -> EventKind {
    match kind {
        SESSION_REGISTERED | SESSION_ENDED => EventKind::SessionLifecycle,
        "connected" | "disconnected" => EventKind::ConnectorLifecycle,
        "stdout" => EventKind::Output,
        "stderr" => EventKind::Error,
        // This arm comes before `tool_`, so `tool_progress` is a `Progress` event.
        _ if kind.ends_with("_progress") => EventKind::Progress,
        _ if kind.ends_with("_message") => EventKind::Message,
        _ if kind.ends_with("_thinking") => EventKind::Thinking,
        _ if kind.starts_with("tool_") => EventKind::Tool,
        _ => kind.parse().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_kinds_map_to_event_kinds() {
        for (kind, expected) in [
            ("session_registered", EventKind::SessionLifecycle),
            ("assistant_message", EventKind::Message),
            ("assistant_thinking", EventKind::Thinking),
            ("tool_call", EventKind::Tool),
            ("tool_progress", EventKind::Progress),
            ("stderr", EventKind::Error),
            ("output", EventKind::Output),
            ("queue_operation", EventKind::System),
        ] {
            assert_eq!(event_kind(kind), expected, "{kind}");
        }
    }

    #[test]
    fn record_round_trips_through_json() {
        let line = r#"{"ts":"t","connector_id":"c","native_session_id":null,"kind":"k","payload":{"a":1}}"#;
        let record: Record = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&record).unwrap(), line);
    }
}

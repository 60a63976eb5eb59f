//! The JSON form of an event for the browser, with the text limited in length.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use sharing_bus::Delivery;
use sharing_bus_example_sessions::Record;

/// Maximum number of characters of an event's text. Longer text is truncated.
const MAX_CHARACTERS: usize = 1000;

#[derive(Serialize)]
struct EventJson<'a> {
    sequence: u64,
    missed: u64,
    backlog: bool,
    ts: &'a str,
    connector: &'a str,
    session: Option<&'a str>,
    scroll: Option<String>,
    kind: &'static str,
    text: Cow<'a, str>,
}

pub(crate) fn event_json(delivery: &Delivery<Record>) -> String {
    let Record {
        ts,
        connector_id,
        native_session_id,
        ..
    } = &*delivery.event;
    let text = full_text(&delivery.event);
    let event = EventJson {
        sequence: delivery.sequence(),
        missed: delivery.missed(),
        backlog: delivery.is_backlog(),
        ts,
        connector: connector_id,
        session: native_session_id.as_deref(),
        scroll: delivery.routing.scroll_id.map(|id| id.to_string()),
        kind: delivery.routing.kind.as_str(),
        text: truncate(&text),
    };
    serde_json::to_string(&event).expect("strings and numbers serialize")
}

/// Returns the line that a command wrote, or the kind and payload of any other record.
fn full_text(record: &Record) -> Cow<'_, str> {
    match (&record.payload, record.payload.get("text")) {
        (_, Some(Value::String(line))) => line.into(),
        (Value::Null, _) => (&record.kind).into(),
        (payload, _) => format!("{} {payload}", record.kind).into(),
    }
}

fn truncate(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_truncated_between_characters() {
        assert_eq!(truncate(&"ä".repeat(MAX_CHARACTERS)), "ä".repeat(MAX_CHARACTERS));
        assert_eq!(
            truncate(&"ä".repeat(MAX_CHARACTERS + 1)),
            format!("{}…", "ä".repeat(MAX_CHARACTERS))
        );
    }

    #[test]
    fn record_without_text_shows_its_kind_and_payload() {
        let record = |payload: &str| -> Record {
            let line =
                format!(r#"{{"ts":"t","connector_id":"c","native_session_id":null,"kind":"k","payload":{payload}}}"#);
            serde_json::from_str(&line).unwrap()
        };
        assert_eq!(full_text(&record(r#"{"text":"<b>"}"#)), "<b>");
        assert_eq!(full_text(&record(r#"{"bytes":1}"#)), r#"k {"bytes":1}"#);
        assert_eq!(full_text(&record("null")), "k");
    }
}

//! The feature `serde`: the serialized form of events, filters and statistics, and round trips.
#![cfg(feature = "serde")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use common::*;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sharing_bus::{
    BusEvent, BusStats, Event, EventFilter, EventKind, EventOrigin, EventRouting, Overflow, Payload, SessionChange,
    SharingBus, SubscriberId,
};
use uuid::Uuid;

/// Checks the serialized form of `value`, and returns the value that this form deserializes to.
#[track_caller]
fn assert_form<T: Serialize + DeserializeOwned>(value: &T, form: Value) -> T {
    assert_eq!(serde_json::to_value(value).unwrap(), form);
    // Deserializes from JSON text instead of the `Value`.
    serde_json::from_str(&form.to_string()).unwrap()
}

#[track_caller]
fn deserialize_error<T: DeserializeOwned>(form: Value) -> String {
    match serde_json::from_value::<T>(form) {
        Ok(_) => panic!("the invalid form was accepted"),
        Err(error) => error.to_string(),
    }
}

const ID: &str = "00000000-0000-0000-0000-000000000007";

fn id() -> Uuid {
    Uuid::from_u128(7)
}

#[test]
fn names_are_serialized_as_they_print() {
    for kind in EventKind::ALL {
        assert_eq!(assert_form(kind, json!(kind.as_str())), *kind);
    }
    for origin in EventOrigin::ALL {
        assert_eq!(assert_form(origin, json!(origin.as_str())), *origin);
    }
    assert_eq!(
        deserialize_error::<EventKind>(json!("telepathy")),
        "invalid value: string \"telepathy\", expected the name of an event kind"
    );
    assert!(deserialize_error::<EventOrigin>(json!(1)).contains("expected the name of an event origin"));
}

#[test]
fn overflow_settings_are_serialized_as_names() {
    for (overflow, name) in [
        (Overflow::DropNewest, "drop_newest"),
        (Overflow::DropOldest, "drop_oldest"),
        (Overflow::Disconnect, "disconnect"),
        (Overflow::Conflate, "conflate"),
    ] {
        assert_eq!(assert_form(&overflow, json!(name)), overflow);
    }
    assert!(deserialize_error::<Overflow>(json!("drop_all")).contains("unknown variant `drop_all`"));
}

#[test]
fn payloads_are_tagged_with_their_variant() {
    let session = |scroll: Option<&str>| {
        let mut fields = json!({"connector_id": "c", "session_id": "s"});
        if let Some(scroll) = scroll {
            fields["scroll_id"] = json!(scroll);
        }
        fields
    };
    let registered = Event::SessionRegistered {
        connector_id: "c".into(),
        session_id: "s".into(),
        scroll_id: ID.into(),
    };
    let ended = Event::SessionEnded {
        connector_id: "c".into(),
        session_id: "s".into(),
    };
    let custom = Event::Custom {
        name: "n".into(),
        body: "b".into(),
    };
    for (event, form) in [
        (Event::Connected, json!("connected")),
        (
            Event::Disconnected { reason: "why".into() },
            json!({"disconnected": {"reason": "why"}}),
        ),
        (registered, json!({"session_registered": session(Some(ID))})),
        (ended, json!({"session_ended": session(None)})),
        (Event::Text { text: "a\nb".into() }, json!({"text": {"text": "a\nb"}})),
        (custom, json!({"custom": {"name": "n", "body": "b"}})),
    ] {
        assert_eq!(assert_form(&event, form), event);
    }
    assert!(deserialize_error::<Event>(json!({"text": {"text": "", "more": 1}})).contains("unknown field `more`"));
    assert!(deserialize_error::<Event>(json!("gone")).contains("unknown variant `gone`"));
}

#[test]
fn session_changes_can_be_serialized() {
    let registered = SessionChange::Registered {
        connector_id: "c",
        session_id: "s",
        scroll_id: ID,
    };
    assert_eq!(
        serde_json::to_value(registered).unwrap(),
        json!({"registered": {"connector_id": "c", "session_id": "s", "scroll_id": ID}})
    );
    let ended = SessionChange::Ended {
        connector_id: "c",
        session_id: "s",
    };
    assert_eq!(
        serde_json::to_value(ended).unwrap(),
        json!({"ended": {"connector_id": "c", "session_id": "s"}})
    );
}

#[test]
fn an_event_is_serialized_with_routing_origin_and_payload() {
    let event = BusEvent {
        routing: EventRouting {
            scroll_id: Some(id()),
            ..EventRouting::session("c", "s", EventKind::Tool)
        },
        origin: EventOrigin::Remote,
        event: Arc::new(Event::Connected),
    };
    let back = assert_form(
        &event,
        json!({
            "routing": {
                "scroll_id": ID,
                "connector_uid": null,
                "connector_id": "c",
                "native_session_id": "s",
                "kind": "tool",
            },
            "origin": "remote",
            "event": "connected",
        }),
    );
    assert_eq!(
        (back.routing, back.origin, back.event),
        (event.routing, event.origin, event.event)
    );
}

#[test]
fn missing_fields_have_defaults_and_unknown_fields_are_errors() {
    let event: BusEvent = serde_json::from_value(json!({"event": "connected"})).unwrap();
    assert_eq!(
        (event.routing, event.origin),
        (EventRouting::default(), EventOrigin::default())
    );
    let routing: EventRouting = serde_json::from_value(json!({"kind": "error"})).unwrap();
    assert_eq!(
        routing,
        EventRouting {
            kind: EventKind::Error,
            ..EventRouting::default()
        }
    );
    assert!(deserialize_error::<EventRouting>(json!({"scrol_id": ID})).contains("unknown field `scrol_id`"));
    assert!(deserialize_error::<BusEvent>(json!({"event": "connected", "id": 1})).contains("unknown field `id`"));
    assert!(deserialize_error::<BusEvent>(json!({"origin": "user"})).contains("missing field `event`"));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct HostPayload {
    value: u8,
}

impl Payload for HostPayload {}

#[test]
fn payload_types_of_the_host_are_serialized_too() {
    let event = BusEvent::new(EventRouting::default(), HostPayload { value: 3 });
    let form = serde_json::to_value(&event).unwrap();
    assert_eq!(form["event"], json!({"value": 3}));
    let back: BusEvent<HostPayload> = serde_json::from_value(form).unwrap();
    assert_eq!(back.event, event.event);
}

#[test]
fn filters_are_tagged_with_their_variant() {
    let session = EventFilter::Session {
        connector_id: "c".into(),
        native_session_id: "s".into(),
    };
    for (filter, form) in [
        (EventFilter::All, json!("*")),
        (EventFilter::ScrollId(id()), json!({"scroll_id": ID})),
        (EventFilter::ConnectorUid(id()), json!({"connector_uid": ID})),
        (EventFilter::ConnectorId("c".into()), json!({"connector_id": "c"})),
        (
            session,
            json!({"session": {"connector_id": "c", "native_session_id": "s"}}),
        ),
        (EventFilter::Kind(EventKind::Tool), json!({"kind": "tool"})),
        (EventFilter::Origin(EventOrigin::User), json!({"origin": "user"})),
        (
            EventFilter::any([EventFilter::All, EventFilter::Kind(EventKind::Error)]),
            json!({"any": ["*", {"kind": "error"}]}),
        ),
        (EventFilter::all([]), json!({"all": []})),
        (EventFilter::not(EventFilter::All), json!({"not": "*"})),
    ] {
        let filter: EventFilter = filter;
        assert_eq!(assert_form(&filter, form).to_string(), filter.to_string());
    }
}

#[test]
fn the_form_of_a_flattened_field_in_version_0_1_can_be_read() {
    let filter: EventFilter = serde_json::from_value(json!({"*": null})).unwrap();
    assert_eq!(filter.to_string(), "*");
}

#[test]
fn an_invalid_filter_is_an_error() {
    type Filter = EventFilter;
    for (form, expected) in [
        (json!("all"), "invalid type"),
        (json!("custom"), "unknown variant `custom`"),
        (json!({"custom": []}), "unknown variant `custom`"),
        (json!({"*": []}), "expected unit"),
        (json!(7), "expected a filter: \"*\", or a map with one key"),
        (json!({}), "invalid length 0, expected a filter"),
        (
            json!({"kind": "tool", "origin": "user"}),
            "invalid length 2, expected a filter",
        ),
        (json!({"every": []}), "unknown variant `every`"),
        (json!({"scroll_id": "7"}), "UUID"),
        (json!({"kind": "telepathy"}), "the name of an event kind"),
        (
            json!({"session": {"connector_id": "c", "native_session_id": "s", "x": 1}}),
            "unknown field `x`",
        ),
        (
            json!({"session": {"connector_id": "c"}}),
            "missing field `native_session_id`",
        ),
        (json!({"any": "*"}), "expected a sequence"),
    ] {
        let error = deserialize_error::<Filter>(form.clone());
        assert!(error.contains(expected), "{form}: {error}");
    }
}

#[test]
fn a_custom_filter_cannot_be_serialized_at_any_depth() {
    let custom = || EventFilter::<Event>::custom(|_| true);
    for filter in [
        custom(),
        EventFilter::any([EventFilter::All, EventFilter::not(custom())]),
    ] {
        assert_eq!(
            serde_json::to_string(&filter).unwrap_err().to_string(),
            "a custom filter is a function and cannot be serialized"
        );
    }
}

/// Returns a filter with this many levels of nesting.
fn nest(depth: usize) -> EventFilter {
    (0..depth).fold(EventFilter::All, |inner, level| match level % 3 {
        0 => EventFilter::any([inner]),
        1 => EventFilter::all([inner]),
        _ => EventFilter::not(inner),
    })
}

#[test]
fn the_deepest_filter_that_serializes_can_be_deserialized() {
    for deepest in [
        nest(32),
        (0..32).fold(EventFilter::All, |inner, level| match level % 2 {
            0 => EventFilter::any([inner]),
            _ => EventFilter::all([inner]),
        }),
    ] {
        let text = serde_json::to_string(&deepest).unwrap();
        let back: EventFilter = serde_json::from_str(&text).unwrap();
        assert_eq!(back.to_string(), deepest.to_string());
    }
    let error = serde_json::to_string(&nest(33)).unwrap_err();
    assert_eq!(error.to_string(), "filters are nested more than 32 deep");
}

#[test]
fn a_filter_of_any_depth_is_refused_before_the_stack_overflows() {
    let writer = thread::Builder::new().stack_size(256 * 1024).spawn(|| {
        let too_deep = (0..100_000).fold(EventFilter::<Event>::All, |inner, level| match level % 3 {
            0 => EventFilter::Any([inner].into()),
            1 => EventFilter::Every([inner].into()),
            _ => EventFilter::Not(Arc::new(inner)),
        });
        serde_json::to_string(&too_deep).unwrap_err().to_string()
    });
    let error = writer.unwrap().join().unwrap();
    assert_eq!(error, "filters are nested more than 32 deep");
}

/// The deserializer has no recursion limit of its own, and runs on a thread with a small stack.
#[test]
fn excessive_nesting_is_refused_before_the_stack_overflows() {
    let levels = 100_000;
    let text = format!("{}\"*\"{}", "{\"not\":".repeat(levels), "}".repeat(levels));
    let reader = thread::Builder::new().stack_size(512 * 1024).spawn(move || {
        let mut reader = serde_json::Deserializer::from_str(&text);
        reader.disable_recursion_limit();
        EventFilter::<Event>::deserialize(&mut reader).unwrap_err().to_string()
    });
    let error = reader.unwrap().join().unwrap();
    assert!(error.starts_with("filters are nested more than 32 deep"), "{error}");
}

#[test]
fn a_refused_filter_does_not_reduce_the_allowed_depth() {
    let deep = format!("{}\"*\"{}", "{\"not\":".repeat(33), "}".repeat(33));
    for _ in 0..3 {
        assert!(serde_json::from_str::<EventFilter>(&deep).is_err());
        assert!(serde_json::from_str::<EventFilter>("{\"not\": {\"any\": [7]}}").is_err());
    }
    assert!(serde_json::to_string(&nest(32)).is_ok());
    assert!(serde_json::from_str::<EventFilter>(&deep[7..deep.len() - 1]).is_ok());
}

#[test]
fn statistics_survive_a_round_trip() {
    let bus = SharingBus::new();
    let view = bus
        .subscription()
        .label("view")
        .filter(EventFilter::Kind(EventKind::System))
        .queue_capacity(1)
        .subscribe();
    let quiet = bus.subscribe_filtered(EventFilter::any([]), 2);
    for n in 0..3 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    let stats = bus.stats();
    let view_id: SubscriberId = assert_form(&view.id(), json!(1));
    assert_eq!(view_id, view.id());
    let back: BusStats = assert_form(
        &stats,
        json!({
            "published": 3,
            "dispatched": 3,
            "delivered": 1,
            "lagged": 2,
            "merged": 0,
            "unmatched": 0,
            "reaped": 0,
            "failed": 0,
            "filter_panics": 0,
            "payload_panics": 0,
            "ingress_depth": 0,
            "ingress_capacity": 1024,
            "sessions": 0,
            "sessions_evicted": 0,
            "subscribers": [
                {
                    "id": 1,
                    "label": "view",
                    "filter": "kind=system",
                    "queued": 1,
                    "capacity": 1,
                    "delivered": 1,
                    "lagged": 2,
                    "lagged_essential": 0,
                    "merged": 0,
                    "pending": 0,
                },
                {
                    "id": 2,
                    "label": null,
                    "filter": "any()",
                    "queued": 0,
                    "capacity": 2,
                    "delivered": 0,
                    "lagged": 0,
                    "lagged_essential": 0,
                    "merged": 0,
                    "pending": 0,
                },
            ],
        }),
    );
    assert_eq!(back, stats);
    drop((view, quiet));
}

fn text() -> impl Strategy<Value = Arc<str>> {
    any::<String>().prop_map(Arc::from)
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn filter() -> impl Strategy<Value = EventFilter> {
    let leaf = prop_oneof![
        Just(EventFilter::All),
        uuid().prop_map(EventFilter::ScrollId),
        uuid().prop_map(EventFilter::ConnectorUid),
        text().prop_map(EventFilter::ConnectorId),
        (text(), text()).prop_map(|(connector_id, native_session_id)| EventFilter::Session {
            connector_id,
            native_session_id,
        }),
        prop::sample::select(EventKind::ALL).prop_map(EventFilter::Kind),
        prop::sample::select(EventOrigin::ALL).prop_map(EventFilter::Origin),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(EventFilter::any),
            prop::collection::vec(inner.clone(), 0..4).prop_map(EventFilter::all),
            inner.prop_map(EventFilter::not),
        ]
    })
}

/// A document that contains filters in several places, as a configuration file does.
#[derive(Serialize, Deserialize)]
struct Document {
    filter: EventFilter,
    views: BTreeMap<String, Vec<EventFilter>>,
    optional: Option<EventFilter>,
}

impl Document {
    fn new(filter: &EventFilter) -> Self {
        Document {
            filter: filter.clone(),
            views: [("view".to_owned(), vec![EventFilter::All, filter.clone()])].into(),
            optional: Some(filter.clone()),
        }
    }

    /// Returns the texts of the filters, which differ for different filters.
    fn filters(&self) -> Vec<String> {
        let listed = self.views.values().flatten();
        let filters = [&self.filter].into_iter().chain(listed).chain(&self.optional);
        filters.map(EventFilter::to_string).collect()
    }
}

type Codec = fn(&Document) -> Result<Document, String>;

/// The text formats, each with a function that writes a document and reads it again.
const TEXT_FORMATS: [(&str, Codec); 5] = [
    ("JSON", |document| {
        let text = serde_json::to_string(document).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }),
    ("a JSON value", |document| {
        let value = serde_json::to_value(document).map_err(|error| error.to_string())?;
        serde_json::from_value(value).map_err(|error| error.to_string())
    }),
    ("YAML", |document| {
        let text = serde_yaml_ng::to_string(document).map_err(|error| error.to_string())?;
        serde_yaml_ng::from_str(&text).map_err(|error| error.to_string())
    }),
    ("RON", |document| {
        let text = ron::to_string(document).map_err(|error| error.to_string())?;
        ron::from_str(&text).map_err(|error| error.to_string())
    }),
    ("TOML", |document| {
        let text = toml::to_string(document).map_err(|error| error.to_string())?;
        toml::from_str(&text).map_err(|error| error.to_string())
    }),
];

#[test]
fn each_text_format_writes_strings_and_maps() {
    let filter: EventFilter = EventFilter::any([
        EventFilter::All,
        EventFilter::not(EventFilter::Kind(EventKind::Tool)),
        EventFilter::Session {
            connector_id: "c".into(),
            native_session_id: "s".into(),
        },
    ]);
    assert_eq!(
        serde_yaml_ng::to_string(&filter).unwrap(),
        "any:\n- '*'\n- not:\n    kind: tool\n- session:\n    connector_id: c\n    native_session_id: s\n"
    );
    assert_eq!(
        ron::to_string(&filter).unwrap(),
        r#"{"any":["*",{"not":{"kind":"tool"}},{"session":(connector_id:"c",native_session_id:"s")}]}"#
    );
    assert_eq!(
        toml::to_string(&filter).unwrap(),
        "any = [\"*\", { not = { kind = \"tool\" } }, \
         { session = { connector_id = \"c\", native_session_id = \"s\" } }]\n"
    );
}

#[test]
fn the_deepest_filter_that_serializes_is_within_the_limits_of_text_formats() {
    for (format, codec) in TEXT_FORMATS {
        let document = Document::new(&nest(32));
        let back = codec(&document).unwrap_or_else(|error| panic!("{format}: {error}"));
        assert_eq!(back.filters(), document.filters(), "{format}");
    }
}

/// Version 0.1 wrote enums in all formats. These forms are not written any longer.
#[test]
fn an_enum_in_yaml_can_be_read() {
    for (text, expected) in [
        ("!kind tool", "kind=tool"),
        ("!any [!kind tool, '*']", "any(kind=tool, *)"),
        ("!session {connector_id: c, native_session_id: s}", "session=c/s"),
    ] {
        let filter: EventFilter = serde_yaml_ng::from_str(text).unwrap();
        assert_eq!(filter.to_string(), expected);
    }
}

#[test]
fn a_flattened_or_untagged_filter_can_be_read() {
    #[derive(Serialize, Deserialize)]
    struct View {
        label: String,
        #[serde(flatten)]
        filter: EventFilter,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Setting {
        Number(#[expect(dead_code, reason = "only read")] u64),
        Filter(EventFilter),
    }
    let form = json!({"label": "view", "any": [{"kind": "tool"}]});
    let view: View = serde_json::from_value(form.clone()).unwrap();
    assert_eq!(
        (&*view.label, view.filter.to_string()),
        ("view", "any(kind=tool)".into())
    );
    assert_eq!(serde_json::to_value(&view).unwrap(), form);
    let setting: Setting = serde_json::from_value(form["any"][0].clone()).unwrap();
    assert!(matches!(setting, Setting::Filter(filter) if filter.to_string() == "kind=tool"));
}

/// The form of a filter in binary formats: an enum, whose variants keep their names and their indices.
#[derive(Serialize)]
#[serde(rename = "EventFilter", rename_all = "snake_case")]
enum BinaryForm {
    #[serde(rename = "*")]
    All,
    ScrollId(Uuid),
    ConnectorUid(Uuid),
    ConnectorId(Arc<str>),
    Session {
        connector_id: Arc<str>,
        native_session_id: Arc<str>,
    },
    Kind(EventKind),
    Origin(EventOrigin),
    Any(Vec<BinaryForm>),
    #[serde(rename = "all")]
    Every(Vec<BinaryForm>),
    Not(Box<BinaryForm>),
}

impl BinaryForm {
    fn of(filter: &EventFilter) -> Self {
        let each = |filters: &[EventFilter]| filters.iter().map(BinaryForm::of).collect();
        match filter {
            EventFilter::All => BinaryForm::All,
            EventFilter::ScrollId(id) => BinaryForm::ScrollId(*id),
            EventFilter::ConnectorUid(uid) => BinaryForm::ConnectorUid(*uid),
            EventFilter::ConnectorId(id) => BinaryForm::ConnectorId(Arc::clone(id)),
            EventFilter::Session {
                connector_id,
                native_session_id,
            } => BinaryForm::Session {
                connector_id: Arc::clone(connector_id),
                native_session_id: Arc::clone(native_session_id),
            },
            EventFilter::Kind(kind) => BinaryForm::Kind(*kind),
            EventFilter::Origin(origin) => BinaryForm::Origin(*origin),
            EventFilter::Any(filters) => BinaryForm::Any(each(filters)),
            EventFilter::Every(filters) => BinaryForm::Every(each(filters)),
            EventFilter::Not(filter) => BinaryForm::Not(BinaryForm::of(filter).into()),
            other => panic!("{other} has no serialized form"),
        }
    }
}

#[test]
fn a_list_with_runs_is_serialized_as_one_list() {
    let scrolls = |from: u128| (from..from + 100).map(|n| EventFilter::ScrollId(Uuid::from_u128(n)));
    let whole = EventFilter::<Event>::any(scrolls(0));
    let grown = scrolls(0).fold(EventFilter::any([]), |filter, next| EventFilter::any([filter, next]));
    assert_eq!(
        serde_json::to_value(&grown).unwrap(),
        serde_json::to_value(&whole).unwrap()
    );
    assert_eq!(
        postcard::to_allocvec(&grown).unwrap(),
        postcard::to_allocvec(&whole).unwrap()
    );
}

#[test]
fn invalid_binary_forms_are_errors() {
    for bytes in [&[][..], &[10], &[7, 1], &[9; 40], &[3, 1, 0xff]] {
        assert!(postcard::from_bytes::<EventFilter>(bytes).is_err(), "{bytes:?}");
    }
    let deep = [&[9; 32][..], &[0]].concat();
    assert_eq!(postcard::from_bytes::<EventFilter>(&deep).unwrap().to_string(), "*");
}

fn routing() -> impl Strategy<Value = EventRouting> {
    let parts = (
        prop::option::of(uuid()),
        prop::option::of(uuid()),
        prop::option::of(text()),
        prop::option::of(text()),
        prop::sample::select(EventKind::ALL),
    );
    parts.prop_map(
        |(scroll_id, connector_uid, connector_id, native_session_id, kind)| EventRouting {
            scroll_id,
            connector_uid,
            connector_id,
            native_session_id,
            kind,
        },
    )
}

proptest! {
    #[test]
    fn filters_survive_a_round_trip(filter in filter(), routing in routing()) {
        let text = serde_json::to_string(&filter).unwrap();
        let back: EventFilter = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), text);
        prop_assert_eq!(back.to_string(), filter.to_string());
        let document = Document::new(&filter);
        for (format, codec) in TEXT_FORMATS {
            let read = codec(&document).map(|read| read.filters());
            prop_assert_eq!(read, Ok(document.filters()), "{}", format);
        }
        let bytes = postcard::to_allocvec(&filter).unwrap();
        prop_assert_eq!(&postcard::to_allocvec(&BinaryForm::of(&filter)).unwrap(), &bytes);
        let read: EventFilter = postcard::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.to_string(), filter.to_string());
        let event = BusEvent::new(routing, Event::Connected);
        prop_assert_eq!(back.matches(&event), filter.matches(&event));
    }

    #[test]
    fn routings_survive_a_round_trip(routing in routing()) {
        let text = serde_json::to_string(&routing).unwrap();
        prop_assert_eq!(serde_json::from_str::<EventRouting>(&text).unwrap(), routing);
    }
}

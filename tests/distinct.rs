//! Names that differ in one component only are different names: of sessions, scrolls, connectors, kinds, origins, labels
//! and subscriptions.

mod common;

use common::*;
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventOrigin, EventRouting, Overflow, SharingBus};

/// Pairs of a connector and a session. Each pair differs from another one in one component, or only in the place where
/// the connector ends.
const SESSIONS: [(&str, &str); 8] = [
    ("c", "s"),
    ("c", "t"),
    ("d", "s"),
    ("d", "t"),
    ("s", "c"),
    ("cs", ""),
    ("", "cs"),
    ("c/s", ""),
];

fn registered(connector: &str, session: &str, id: u128) -> Event {
    Event::SessionRegistered {
        connector_id: connector.into(),
        session_id: session.into(),
        scroll_id: scroll(id).to_string(),
    }
}

fn ended(connector: &str, session: &str) -> Event {
    Event::SessionEnded {
        connector_id: connector.into(),
        session_id: session.into(),
    }
}

/// Returns the number of the scroll to which each session is bound, or 0.
fn bindings(bus: &SharingBus) -> Vec<u128> {
    let ids = SESSIONS
        .iter()
        .map(|(connector, session)| bus.scroll_id(connector, session));
    ids.map(|id| id.map_or(0, |id| id.as_u128())).collect()
}

#[test]
fn sessions_are_bound_and_forgotten_one_by_one() {
    type Bind = fn(&SharingBus, &str, &str, u128);
    type Forget = fn(&SharingBus, &str, &str);
    let methods: [(Bind, Forget); 2] = [
        (
            |bus, connector, session, id| assert_eq!(bus.bind_session(connector, session, scroll(id)), None),
            |bus, connector, session| assert!(bus.forget_session(connector, session).is_some()),
        ),
        (
            |bus, connector, session, id| {
                publish_all(
                    bus,
                    [BusEvent::new(
                        EventRouting::default(),
                        registered(connector, session, id),
                    )],
                );
            },
            |bus, connector, session| {
                publish_all(bus, [BusEvent::new(EventRouting::default(), ended(connector, session))]);
            },
        ),
    ];
    for (bind, forget) in methods {
        let bus = SharingBus::new();
        let mut expected = vec![0; SESSIONS.len()];
        for (index, (connector, session)) in SESSIONS.iter().enumerate() {
            bind(&bus, connector, session, index as u128 + 1);
            expected[index] = index as u128 + 1;
            assert_eq!(bindings(&bus), expected);
            assert_eq!(bus.session_count(), index + 1);
        }
        for (index, (connector, session)) in SESSIONS.iter().enumerate() {
            forget(&bus, connector, session);
            expected[index] = 0;
            assert_eq!(bindings(&bus), expected);
            assert_eq!(bus.session_count(), SESSIONS.len() - index - 1);
        }
    }
}

/// With many names, some of them have similar hashes, so a comparison of one component only would mix them up.
#[test]
fn many_names_with_one_common_component_are_distinct() {
    let names: Vec<_> = (0..1000)
        .flat_map(|n| [(format!("c{n}"), "s".to_owned()), ("c".to_owned(), format!("s{n}"))])
        .collect();
    let bus = SharingBus::new();
    for ((connector, session), id) in names.iter().zip(1..) {
        assert_eq!(bus.bind_session(connector, session, scroll(id)), None);
    }
    assert_eq!(bus.session_count(), names.len());
    for ((connector, session), id) in names.iter().zip(1..) {
        assert_eq!(bus.scroll_id(connector, session), Some(scroll(id)));
    }
    let session_filter = |(connector, session): &(String, String)| EventFilter::Session {
        connector_id: connector.as_str().into(),
        native_session_id: session.as_str().into(),
    };
    let mut receivers: Vec<_> = names
        .iter()
        .map(|name| bus.subscribe_filtered(session_filter(name), 4))
        .collect();
    let mut any = bus.subscribe_filtered(EventFilter::any(names.iter().map(session_filter)), names.len());
    let routings = names
        .iter()
        .map(|(c, s)| EventRouting::session(c.as_str(), s.as_str(), EventKind::Output));
    publish_all(&bus, routings.map(|routing| BusEvent::new(routing, Event::Connected)));
    assert!(receivers.iter_mut().all(|receiver| drain(receiver).len() == 1));
    assert_eq!(drain(&mut any).len(), names.len());
    for (connector, session) in &names {
        assert!(bus.forget_session(connector, session).is_some());
    }
    assert_eq!(bus.session_count(), 0);
}

/// The routing of a session event may name another session than its payload. The payload decides.
#[test]
fn a_session_event_changes_the_session_of_its_payload() {
    let bus = SharingBus::new();
    let routing = EventRouting::session("d", "t", EventKind::SessionLifecycle);
    bus.bind_session("d", "t", scroll(9));
    publish_all(&bus, [BusEvent::new(routing.clone(), registered("c", "s", 1))]);
    assert_eq!(bindings(&bus), [1, 0, 0, 9, 0, 0, 0, 0]);
    publish_all(&bus, [BusEvent::new(routing, ended("c", "s"))]);
    assert_eq!(bindings(&bus), [0, 0, 0, 9, 0, 0, 0, 0]);
}

#[test]
fn events_are_bound_to_the_scroll_of_their_own_session() {
    let bus = SharingBus::new();
    let mut log = bus.subscribe_all();
    for (index, (connector, session)) in SESSIONS.iter().enumerate() {
        bus.bind_session(connector, session, scroll(index as u128 + 1));
    }
    let events = SESSIONS.map(|(connector, session)| EventRouting::session(connector, session, EventKind::Output));
    let incomplete = [
        EventRouting {
            native_session_id: None,
            ..events[0].clone()
        },
        EventRouting {
            connector_id: None,
            ..events[0].clone()
        },
    ];
    let events = events.into_iter().chain(incomplete);
    publish_all(&bus, events.map(|routing| BusEvent::new(routing, Event::Connected)));
    let scrolls = drain(&mut log)
        .iter()
        .map(|delivery| delivery.routing.scroll_id.map_or(0, |id| id.as_u128()))
        .collect::<Vec<_>>();
    assert_eq!(scrolls, [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
}

/// Returns an event for each value of each field. Every other field is the same in all events.
fn one_event_per_value() -> Vec<BusEvent<Number>> {
    let base = EventRouting {
        scroll_id: Some(scroll(1)),
        connector_uid: Some(scroll(2)),
        connector_id: Some("c".into()),
        native_session_id: Some("s".into()),
        kind: EventKind::Tool,
    };
    let mut routings = vec![base.clone()];
    for n in [2, 3] {
        routings.push(EventRouting {
            scroll_id: Some(scroll(n)),
            ..base.clone()
        });
    }
    for n in [1, 3] {
        routings.push(EventRouting {
            connector_uid: Some(scroll(n)),
            ..base.clone()
        });
    }
    routings.push(EventRouting {
        connector_uid: None,
        ..base.clone()
    });
    for name in ["s", "d", "C", "c "] {
        routings.push(EventRouting {
            connector_id: Some(name.into()),
            ..base.clone()
        });
        routings.push(EventRouting {
            native_session_id: Some(name.into()),
            ..base.clone()
        });
    }
    routings.push(EventRouting {
        native_session_id: None,
        ..base.clone()
    });
    routings.push(EventRouting {
        connector_id: None,
        ..base.clone()
    });
    for kind in EventKind::ALL {
        routings.push(EventRouting {
            kind: *kind,
            ..base.clone()
        });
    }
    let mut events: Vec<_> = routings
        .into_iter()
        .zip(0..)
        .map(|(routing, n)| BusEvent::new(routing, Number(n)))
        .collect();
    for origin in EventOrigin::ALL {
        let n = events.len() as u64;
        events.push(BusEvent::new(base.clone(), Number(n)).with_origin(*origin));
    }
    events
}

/// Returns the equality filters that one of the events satisfies.
fn equalities(event: &BusEvent<Number>) -> Vec<EventFilter<Number>> {
    let EventRouting {
        scroll_id,
        connector_uid,
        connector_id,
        native_session_id,
        kind,
    } = event.routing.clone();
    let mut filters = vec![EventFilter::Kind(kind), EventFilter::Origin(event.origin)];
    filters.extend(scroll_id.map(EventFilter::ScrollId));
    filters.extend(connector_uid.map(EventFilter::ConnectorUid));
    filters.extend(connector_id.clone().map(EventFilter::ConnectorId));
    filters.extend(
        connector_id
            .zip(native_session_id)
            .map(|(connector_id, native_session_id)| EventFilter::Session {
                connector_id,
                native_session_id,
            }),
    );
    filters
}

/// Returns true if the text of a filter names the value of an event. It compares text, not fields, so that it does not
/// repeat the code under test.
fn named(filter: &EventFilter<Number>, event: &BusEvent<Number>) -> bool {
    equalities(event)
        .iter()
        .any(|equality| equality.to_string() == filter.to_string())
}

#[test]
fn each_filter_selects_the_events_with_its_value() {
    let events = one_event_per_value();
    let filters: Vec<_> = events.iter().flat_map(equalities).collect();
    let bus = SharingBus::new();
    let mut subscriptions: Vec<_> = filters
        .iter()
        .flat_map(|filter| {
            // The second form is scanned instead of indexed.
            let scanned = EventFilter::not(EventFilter::not(filter.clone()));
            [filter.clone(), scanned].map(|form| (filter.clone(), bus.subscribe_filtered(form, 100)))
        })
        .collect();
    publish_all(&bus, events.iter().cloned());
    for (filter, receiver) in &mut subscriptions {
        let expected: Vec<_> = events
            .iter()
            .filter(|event| named(filter, event))
            .map(|event| event.event.0)
            .collect();
        assert!(!expected.is_empty());
        assert_eq!(numbers(&drain(receiver)), expected, "{filter}");
    }
}

#[test]
fn interest_is_in_the_value_of_the_filter() {
    let events = one_event_per_value();
    for filter in events.iter().flat_map(equalities) {
        let bus = SharingBus::new();
        let _receiver = bus.subscribe_filtered(filter.clone(), 100);
        for event in &events {
            let published = bus
                .publish_with(event.routing.clone(), event.origin, || Number(0))
                .unwrap();
            let always = event.routing.kind == EventKind::SessionLifecycle;
            assert_eq!(published, always || named(&filter, event), "{filter}, {event:?}");
        }
    }
}

#[test]
fn each_owner_has_its_own_place_among_the_waiting_events() {
    let session = |connector: Option<&str>, session: Option<&str>| EventRouting {
        connector_id: connector.map(Into::into),
        native_session_id: session.map(Into::into),
        ..EventRouting::default()
    };
    let in_scroll = |n, of: EventRouting| EventRouting {
        scroll_id: Some(scroll(n)),
        ..of
    };
    let owners = [
        session(None, None),
        session(Some("c"), None),
        session(None, Some("c")),
        session(Some("c"), Some("s")),
        session(Some("c"), Some("t")),
        session(Some("d"), Some("s")),
        in_scroll(1, session(None, None)),
        in_scroll(2, session(None, None)),
    ];
    // The scroll is the owner, regardless of the session.
    let same_owners = [
        in_scroll(1, session(Some("c"), Some("s"))),
        in_scroll(2, session(Some("d"), None)),
    ];
    let bus = SharingBus::new();
    let mut view = subscribe_with(&bus, Overflow::Conflate, 10);
    let fill = (0..10).map(|_| EventRouting::default());
    let rounds = fill
        .chain(owners.iter().cloned())
        .chain(owners.iter().cloned())
        .chain(same_owners);
    publish_all(
        &bus,
        rounds.zip(0..).map(|(routing, n)| BusEvent::new(routing, Number(n))),
    );
    assert_eq!(drain_full(&mut view).len(), 10);
    bus.flush();
    let waited: Vec<_> = drain(&mut view)
        .iter()
        .map(|delivery| (delivery.event.0, delivery.merged()))
        .collect();
    assert_eq!(
        waited,
        [(18, 1), (19, 1), (20, 1), (21, 1), (22, 1), (23, 1), (26, 2), (27, 2)]
    );
    assert_eq!(view.lagged(), 0);
}

/// A merged event waits as the event of the original scroll, regardless of its own routing.
#[test]
fn a_merged_event_keeps_its_owner() {
    let bus = SharingBus::new();
    let merging = bus
        .subscription()
        .queue_capacity(4)
        .conflate_with(|waiting: &BusEvent<Number>, newer| {
            let total = Number(waiting.event.0 + newer.event.0);
            // The result claims the scroll 9 and the kind of an error.
            let routing = EventRouting {
                scroll_id: Some(scroll(9)),
                kind: EventKind::Error,
                ..newer.routing
            };
            Some(BusEvent::new(routing, total))
        });
    let mut view = merging.subscribe();
    let rounds = [1, 1, 1, 1, 1, 1, 9, 1, 9, 1];
    publish_all(&bus, rounds.into_iter().zip(1..).map(|(id, n)| scroll_event(n, id)));
    assert_eq!(numbers(&drain_full(&mut view)), [1, 2, 3, 4]);
    bus.flush();
    let merged = drain(&mut view);
    let seen: Vec<_> = merged
        .iter()
        .map(|delivery| (delivery.event.0, delivery.sequence(), delivery.merged()))
        .collect();
    assert_eq!(seen, [(7 + 9, 9, 1), (5 + 6 + 8 + 10, 10, 3)]);
    assert!(
        merged
            .iter()
            .all(|delivery| delivery.routing.scroll_id == Some(scroll(9)))
    );
}

#[test]
fn ids_and_labels_belong_to_one_subscription() {
    let bus = SharingBus::<Number>::new();
    let label = |label: &str| bus.subscription().label(label).subscribe();
    let receivers = [label("a"), label("b"), label("a"), bus.subscribe_all(), label("")];
    let stats = bus.stats();
    let listed: Vec<_> = stats
        .subscribers
        .iter()
        .map(|subscriber| (subscriber.id, subscriber.label.as_deref()))
        .collect();
    let own: Vec<_> = receivers
        .iter()
        .map(|receiver| (receiver.id(), receiver.label()))
        .collect();
    assert_eq!(listed, own);
    assert_eq!(
        own.iter().map(|(_, label)| *label).collect::<Vec<_>>(),
        [Some("a"), Some("b"), Some("a"), None, Some("")]
    );
    let mut open: Vec<_> = receivers.iter().collect();
    for index in [2, 0, 2, 1, 0] {
        let ended = open.remove(index);
        assert!(bus.unsubscribe(ended.id()) && ended.is_closed());
        assert!(open.iter().all(|receiver| !receiver.is_closed()));
        bus.flush();
        let listed: Vec<_> = bus.stats().subscribers.iter().map(|subscriber| subscriber.id).collect();
        assert_eq!(listed, open.iter().map(|receiver| receiver.id()).collect::<Vec<_>>());
    }
}

#[test]
fn each_history_of_a_scroll_is_separate() {
    let bus = SharingBus::<Number>::builder().history_per_scroll(1).build().unwrap();
    publish_all(
        &bus,
        [1, 2, 1, 3].into_iter().zip(1..).map(|(id, n)| scroll_event(n, id)),
    );
    for (id, expected) in [(1, vec![3]), (2, vec![2]), (3, vec![4]), (4, vec![])] {
        let filter = EventFilter::ScrollId(scroll(id));
        let mut late = bus.subscription().filter(filter).backlog(9).subscribe();
        bus.flush();
        assert_eq!(numbers(&drain(&mut late)), expected);
    }
}

//! Guarantee 5: a registration binds later events of its session to a scroll.

mod common;

use std::collections::HashMap;
use std::thread;

use common::*;
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, Payload, SessionChange, SharingBus};
use uuid::Uuid;

/// Returns the scroll of each queued event.
fn scrolls(receiver: &mut sharing_bus::BusReceiver) -> Vec<Option<Uuid>> {
    drain(receiver)
        .iter()
        .map(|delivery| delivery.routing.scroll_id)
        .collect()
}

#[test]
fn events_are_bound_from_the_registration_on() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    for event in [
        session_event(EventKind::Output),
        registration(&scroll(1).to_string()),
        session_event(EventKind::Output),
        BusEvent::new(EventRouting::session("c", "other", EventKind::Output), Event::Connected),
        BusEvent::new(EventRouting::session("other", "s", EventKind::Output), Event::Connected),
    ] {
        bus.publish(event).unwrap();
    }
    bus.flush();
    let bound = Some(scroll(1));
    assert_eq!(scrolls(&mut receiver), [None, bound, bound, None, None]);
    assert_eq!(bus.scroll_id("c", "s"), bound);
    assert_eq!(bus.session_count(), 1);
}

#[test]
fn the_latest_registration_before_an_event_binds_it() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Output), 8);
    for id in [1, 2, 3] {
        bus.publish(registration(&scroll(id).to_string())).unwrap();
        bus.publish(session_event(EventKind::Output)).unwrap();
    }
    bus.flush();
    assert_eq!(scrolls(&mut receiver), [1, 2, 3].map(|id| Some(scroll(id))));
    assert_eq!(bus.session_count(), 1);
}

#[test]
fn a_scroll_that_is_set_is_kept_except_in_a_registration() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let mut with_scroll = session_event(EventKind::Output);
    with_scroll.routing.scroll_id = Some(scroll(9));
    let mut registration_with_scroll = registration(&scroll(1).to_string());
    registration_with_scroll.routing.scroll_id = Some(scroll(8));
    for event in [registration_with_scroll, with_scroll, session_event(EventKind::Output)] {
        bus.publish(event).unwrap();
    }
    bus.flush();
    assert_eq!(scrolls(&mut receiver), [1, 9, 1].map(|id| Some(scroll(id))));
}

#[test]
fn a_registration_carries_the_scroll_that_it_registers() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::ScrollId(scroll(2)), 8);
    bus.publish(registration(&scroll(1).to_string())).unwrap();
    let mut bare = registration(&scroll(2).to_string());
    bare.routing = EventRouting::default();
    bus.publish(bare).unwrap();
    bus.flush();
    assert_eq!(scrolls(&mut receiver), [Some(scroll(2))]);
    assert_eq!(bus.scroll_id("c", "s"), Some(scroll(2)));
}

#[test]
fn a_registration_that_does_not_parse_is_delivered_and_binds_nothing() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(registration("no uuid")).unwrap();
    bus.publish(session_event(EventKind::Output)).unwrap();
    bus.flush();
    assert_eq!(scrolls(&mut receiver), [None, None]);
    assert_eq!((bus.scroll_id("c", "s"), bus.session_count()), (None, 0));

    // An invalid registration keeps the existing binding.
    bus.publish(registration(&scroll(1).to_string())).unwrap();
    bus.publish(registration("")).unwrap();
    bus.publish(session_event(EventKind::Output)).unwrap();
    bus.flush();
    assert_eq!(scrolls(&mut receiver).last(), Some(&Some(scroll(1))));
}

#[test]
fn an_end_event_is_bound_and_removes_the_session() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let end = Event::SessionEnded {
        connector_id: "c".into(),
        session_id: "s".into(),
    };
    let end = BusEvent::new(EventRouting::session("c", "s", EventKind::SessionLifecycle), end);
    for event in [
        registration(&scroll(1).to_string()),
        end,
        session_event(EventKind::Output),
    ] {
        bus.publish(event).unwrap();
    }
    bus.flush();
    let bound = Some(scroll(1));
    assert_eq!(scrolls(&mut receiver), [bound, bound, None]);
    assert_eq!((bus.scroll_id("c", "s"), bus.session_count()), (None, 0));
}

#[test]
fn bind_session_and_forget_session_change_the_binding() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    assert_eq!(bus.bind_session("c", "s", scroll(1)), None);
    assert_eq!(bus.bind_session("c", "s", scroll(2)), Some(scroll(1)));
    bus.publish(session_event(EventKind::Output)).unwrap();
    bus.flush();
    assert_eq!(bus.forget_session("c", "s"), Some(scroll(2)));
    assert_eq!(bus.forget_session("c", "s"), None);
    bus.publish(session_event(EventKind::Output)).unwrap();
    bus.flush();
    assert_eq!(scrolls(&mut receiver), [Some(scroll(2)), None]);
}

#[test]
fn the_oldest_registration_is_evicted_at_capacity() {
    let bus: SharingBus = SharingBus::builder().session_capacity(2).build().unwrap();
    for session in ["1", "2", "1", "3"] {
        bus.bind_session("c", session, scroll(7));
    }
    assert_eq!(bus.session_count(), 2);
    assert_eq!(bus.scroll_id("c", "2"), None, "the oldest registration must be evicted");
    assert!(bus.scroll_id("c", "1").is_some() && bus.scroll_id("c", "3").is_some());
    let stats = bus.stats();
    assert_eq!((stats.sessions, stats.sessions_evicted), (2, 1));
}

/// A payload type of the host with its own session events.
enum Chat {
    Joined(Uuid),
    Left,
    Said,
}

impl Payload for Chat {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        const JOINED: &str = "00000000-0000-0000-0000-000000000007";
        match self {
            Chat::Joined(id) => {
                assert_eq!(id.to_string(), JOINED);
                Some(SessionChange::Registered {
                    connector_id: "irc",
                    session_id: "#rust",
                    scroll_id: JOINED,
                })
            }
            Chat::Left => Some(SessionChange::Ended {
                connector_id: "irc",
                session_id: "#rust",
            }),
            Chat::Said => None,
        }
    }
}

#[test]
fn a_payload_type_of_the_host_binds_sessions_too() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    for chat in [Chat::Said, Chat::Joined(scroll(7)), Chat::Said, Chat::Left, Chat::Said] {
        let routing = EventRouting::session("irc", "#rust", EventKind::Message);
        bus.publish(BusEvent::new(routing, chat)).unwrap();
    }
    bus.flush();
    let bound: Vec<bool> = drain(&mut receiver)
        .iter()
        .map(|delivery| delivery.routing.scroll_id.is_some())
        .collect();
    assert_eq!(bound, [false, true, true, true, false]);
}

#[test]
fn a_reaction_to_a_registration_is_bound() {
    for _ in 0..200 {
        let bus = SharingBus::new();
        let mut view = bus.subscribe_all();
        let mut log = bus.subscribe_all();
        let reactor = {
            let bus = bus.clone();
            thread::spawn(move || {
                view.recv().unwrap();
                bus.publish(session_event(EventKind::Tool)).unwrap();
            })
        };
        bus.publish(registration(&scroll(1).to_string())).unwrap();
        reactor.join().unwrap();
        bus.flush();
        assert_eq!(scrolls(&mut log), [Some(scroll(1)), Some(scroll(1))]);
    }
}

#[test]
fn concurrent_registrations_bind_only_their_own_sessions() {
    const PUBLISHERS: u128 = 4;
    const SESSIONS: u128 = 100;
    let bus = SharingBus::new();
    let mut log = bus.subscribe_filtered(EventFilter::All, 10_000);
    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let bus = &bus;
            scope.spawn(move || {
                for session in 0..SESSIONS {
                    let id = publisher * SESSIONS + session + 1;
                    let name = id.to_string();
                    let routing = EventRouting::session("c", name.as_str(), EventKind::Output);
                    let registration = Event::SessionRegistered {
                        connector_id: "c".into(),
                        session_id: name,
                        scroll_id: scroll(id).to_string(),
                    };
                    for event in [Event::Connected, registration, Event::Connected, Event::Connected] {
                        bus.publish(BusEvent::new(routing.clone(), event)).unwrap();
                    }
                }
            });
        }
    });
    bus.flush();
    let mut by_session: HashMap<String, Vec<Option<Uuid>>> = HashMap::new();
    for delivery in drain(&mut log) {
        let session = delivery.routing.native_session_id.as_deref().unwrap().to_owned();
        by_session.entry(session).or_default().push(delivery.routing.scroll_id);
    }
    assert_eq!(by_session.len() as u128, PUBLISHERS * SESSIONS);
    for (session, scrolls) in by_session {
        let own = Some(scroll(session.parse().unwrap()));
        assert_eq!(scrolls, [None, own, own, own], "session {session}");
    }
}

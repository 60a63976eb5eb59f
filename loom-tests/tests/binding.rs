//! Guarantee 5, late binding: a registration races later events of its publisher, a reaction to it, and another
//! publisher's event of the same session.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{Delivery, Event, EventKind, SharingBus};
use sharing_bus_loom_tests::{bus, model, registration, session_event};
use uuid::Uuid;

const SCROLL: Uuid = Uuid::from_u128(7);

/// Checks that no event before the registration, in dispatch order, is bound, and that every later event is.
fn assert_bound_from_registration_on(log: &[Delivery]) {
    let registered = log
        .iter()
        .position(|delivery| matches!(*delivery.event, Event::SessionRegistered { .. }))
        .expect("the registration must be delivered");
    for (index, delivery) in log.iter().enumerate() {
        let expected = (index >= registered).then_some(SCROLL);
        assert_eq!(
            delivery.routing.scroll_id, expected,
            "event {index}, with the registration at {registered}"
        );
    }
}

/// The next event of the registering publisher is bound. Another publisher's event may come before or after.
#[test]
fn registration_races_follow_ups() {
    model("registration_races_follow_ups", 3, || {
        let bus = bus(4, 4);
        let mut log = bus.subscribe_all();
        let other_publisher = {
            let bus = bus.clone();
            thread::spawn(move || bus.publish(session_event(EventKind::Output)).unwrap())
        };
        bus.publish(registration(SCROLL)).unwrap();
        bus.publish(session_event(EventKind::Tool)).unwrap();
        other_publisher.join().unwrap();
        bus.flush();

        let log: Vec<_> = log.try_iter().collect();
        assert_eq!(log.len(), 3);
        assert_bound_from_registration_on(&log);
        let follow_up = log.iter().find(|delivery| delivery.routing.kind == EventKind::Tool);
        assert_eq!(follow_up.unwrap().routing.scroll_id, Some(SCROLL));
    });
}

/// An event published in reaction to the registration is bound, even before the registering `publish` returns.
#[test]
fn registration_races_a_reaction() {
    model("registration_races_a_reaction", 3, || {
        let bus = bus(4, 4);
        let mut log = bus.subscribe_all();
        let mut view = bus.subscribe_all();
        let reactor = {
            let bus = bus.clone();
            thread::spawn(move || {
                assert!(view.recv().is_ok());
                bus.publish(session_event(EventKind::Tool)).unwrap();
            })
        };
        bus.publish(registration(SCROLL)).unwrap();
        reactor.join().unwrap();
        bus.flush();

        let log: Vec<_> = log.try_iter().collect();
        assert_eq!(log.len(), 2);
        assert_bound_from_registration_on(&log);
    });
}

/// Two registrations of one session race an event of that session. The latest registration before the event, in
/// dispatch order, binds the event. The later of the two remains in the session map.
#[test]
fn two_registrations_race_an_event() {
    model("two_registrations_race_an_event", 2, || {
        let bus = bus(4, 4);
        let mut log = bus.subscribe_all();
        let register = |scroll| {
            let bus = bus.clone();
            thread::spawn(move || bus.publish(registration(scroll)).unwrap())
        };
        let registering = [register(Uuid::from_u128(1)), register(Uuid::from_u128(2))];
        bus.publish(session_event(EventKind::Tool)).unwrap();
        for thread in registering {
            thread.join().unwrap();
        }
        bus.flush();

        let mut bound = None;
        for delivery in log.try_iter() {
            if let Event::SessionRegistered { scroll_id, .. } = &*delivery.event {
                bound = Some(scroll_id.parse().unwrap());
            }
            assert_eq!(delivery.routing.scroll_id, bound);
        }
        assert_eq!(bus.scroll_id("c", "s"), bound);
    });
}

/// `forget_session` races a new registration of the session. The one that takes effect last decides whether the session
/// remains. The session map holds at most one session.
#[test]
fn forget_session_races_a_registration() {
    model("forget_session_races_a_registration", 3, || {
        let bus = SharingBus::builder()
            .ingress_capacity(2)
            .session_capacity(1)
            .build()
            .unwrap();
        let old = Uuid::from_u128(1);
        bus.bind_session("c", "s", old);
        let other = bus.clone();
        let forgetting = thread::spawn(move || other.forget_session("c", "s"));
        bus.publish(registration(SCROLL)).unwrap();
        bus.flush();
        let forgotten = forgetting.join().unwrap();
        let remaining = if forgotten == Some(old) { Some(SCROLL) } else { None };
        assert_eq!(
            (bus.scroll_id("c", "s"), bus.session_count()),
            (remaining, usize::from(remaining.is_some()))
        );
        assert!(forgotten == Some(old) || forgotten == Some(SCROLL));
    });
}

/// Two threads bind sessions, but the session map holds one session only. The session that remains can be looked up.
#[test]
fn evictions_race() {
    model("evictions_race", 3, || {
        let bus: SharingBus = SharingBus::builder().session_capacity(1).build().unwrap();
        bus.bind_session("c", "1", Uuid::from_u128(1));
        let other = bus.clone();
        let evicting = thread::spawn(move || other.bind_session("c", "2", Uuid::from_u128(2)));
        bus.bind_session("c", "1", Uuid::from_u128(3));
        evicting.join().unwrap();
        let bound = ["1", "2"].map(|session| bus.scroll_id("c", session));
        assert_eq!(bound.iter().flatten().count(), 1, "one session must remain: {bound:?}");
        assert_eq!(bus.session_count(), 1);
        let stats = bus.stats();
        assert!(stats.sessions_evicted >= 1);
    });
}

//! Promise 5: a registration against follow-ups, a reaction and a stranger's event of the same session.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{Delivery, Event, EventKind, SharingBus};
use sharing_bus_loom_tests::{bus, model, registration, session_event};
use uuid::Uuid;

const SCROLL: Uuid = Uuid::from_u128(7);

/// Nothing is bound before the registration in dispatch order, and everything after it is.
fn assert_bound_from_registration_on(log: &[Delivery]) {
    let registered = log
        .iter()
        .position(|delivery| matches!(*delivery.event, Event::SessionRegistered { .. }))
        .expect("the registration is delivered");
    for (index, delivery) in log.iter().enumerate() {
        let expected = (index >= registered).then_some(SCROLL);
        assert_eq!(delivery.routing.scroll_id, expected, "event {index} of {registered}");
    }
}

/// The registering publisher's next event, and another publisher's at any moment.
#[test]
fn registration_races_follow_ups() {
    model("registration_races_follow_ups", 3, || {
        let bus = bus(4, 4);
        let mut log = bus.subscribe_all();
        let stranger = {
            let bus = bus.clone();
            thread::spawn(move || bus.publish(session_event(EventKind::Output)).unwrap())
        };
        bus.publish(registration(SCROLL)).unwrap();
        bus.publish(session_event(EventKind::Tool)).unwrap();
        stranger.join().unwrap();
        bus.flush();

        let log: Vec<_> = log.try_iter().collect();
        assert_eq!(log.len(), 3);
        assert_bound_from_registration_on(&log);
        let follow_up = log.iter().find(|delivery| delivery.routing.kind == EventKind::Tool);
        assert_eq!(follow_up.unwrap().routing.scroll_id, Some(SCROLL));
    });
}

/// Who has received the registration and answers it is bound, while the registering publish may not have returned.
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

/// Two registrations of one session against an event of it: the latest before the event, in dispatch order, binds it,
/// and the later one stands in the end.
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

/// A session forgotten while it is registered anew: whichever comes second counts, also where there is room for one
/// session alone.
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
        let left = if forgotten == Some(old) { Some(SCROLL) } else { None };
        assert_eq!(
            (bus.scroll_id("c", "s"), bus.session_count()),
            (left, usize::from(left.is_some()))
        );
        assert!(forgotten == Some(old) || forgotten == Some(SCROLL));
    });
}

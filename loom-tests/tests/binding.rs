//! Promise 5: a registration against follow-ups, a reaction and a stranger's event of the same session.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{Delivery, Event, EventKind};
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

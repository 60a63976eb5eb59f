//! Promise 7: the copy-on-write list under concurrent writers.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus_loom_tests::{bus, event, model};

/// A subscribe is never lost to a reap, and the dead slot is reaped once.
#[test]
fn subscribe_races_reap() {
    model("subscribe_races_reap", 3, || {
        let bus = bus(4, 2);
        let dead = bus.subscribe_all();
        let dropper = thread::spawn(move || drop(dead));
        let mut receiver = bus.subscribe_all();
        dropper.join().unwrap();

        bus.publish(event()).unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_ok(), "the subscribe was lost");
        assert_eq!(bus.stats().reaped, 1);
        assert_eq!(bus.subscriber_count(), 1);
        assert_eq!(bus.stats().subscribers.len(), 1);
    });
}

/// Of two subscribes at once, both stay.
#[test]
fn two_subscribes_race() {
    model("two_subscribes_race", 3, || {
        let bus = bus(4, 2);
        let other = bus.clone();
        let first = thread::spawn(move || other.subscribe_all());
        let mut second = bus.subscribe_all();
        let mut first = first.join().unwrap();

        bus.publish(event()).unwrap();
        bus.flush();
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        assert_ne!(first.id(), second.id());
    });
}

/// Receivers dropped at once are reaped without any further traffic, each once.
#[test]
fn drops_race_the_upkeep() {
    model("drops_race_the_upkeep", 3, || {
        let bus = bus(1, 1);
        let first = bus.subscribe_all();
        let second = bus.subscribe_all();
        let dropper = thread::spawn(move || drop(first));
        drop(second);
        dropper.join().unwrap();
        // Nothing is published or flushed: the model runs out of branches if a request is lost.
        while bus.stats().reaped < 2 {
            thread::yield_now();
        }
        assert_eq!(bus.stats().reaped, 2);
    });
}

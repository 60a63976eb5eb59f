//! `unsubscribe` and the drop of a receiver race dispatch. A subscription ends once, and its queue frees all events.
#![cfg(sharing_bus_loom)]

use std::sync::Arc;

use loom::thread;
use sharing_bus::TryRecvError;
use sharing_bus_loom_tests::{bus, event, model};

/// The subscription ends once, either by `unsubscribe` or by a reap. No reference to the event remains.
#[test]
fn unsubscribe_races_dispatch_and_receiver_drop() {
    model("unsubscribe_races_dispatch_and_receiver_drop", 3, || {
        let bus = bus(2, 1);
        let receiver = bus.subscribe_all();
        let id = receiver.id();
        let published = event();
        let payload = Arc::clone(&published.event);
        bus.publish(published).unwrap();
        let dropper = thread::spawn(move || drop(receiver));
        let unsubscribed = bus.unsubscribe(id);
        dropper.join().unwrap();

        bus.flush();
        assert_eq!(bus.subscriber_count(), 0);
        let ended = u64::from(unsubscribed) + bus.stats().reaped;
        assert_eq!(ended, 1, "the subscription must end once");
        assert_eq!(Arc::strong_count(&payload), 1, "the event outlived its queue");
    });
}

/// The receiver drains the queued events, then sees `Closed`, and receives no event after that.
#[test]
fn unsubscribe_races_dispatch() {
    model("unsubscribe_races_dispatch", 2, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let id = receiver.id();
        bus.publish(event()).unwrap();
        let other = bus.clone();
        let unsubscriber = thread::spawn(move || assert!(other.unsubscribe(id)));
        let received = receiver.iter().count();
        assert!(received <= 1);
        unsubscriber.join().unwrap();
        bus.flush();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
        assert!(!bus.unsubscribe(id));
    });
}

/// A receiver is dropped while the dispatch thread pushes. Its slot and the event are freed without further traffic.
#[test]
fn receiver_drop_races_push() {
    model("receiver_drop_races_push", 2, || {
        let bus = bus(2, 2);
        let receiver = bus.subscribe_all();
        let published = event();
        let payload = Arc::clone(&published.event);
        let dropper = thread::spawn(move || drop(receiver));
        bus.publish(published).unwrap();
        dropper.join().unwrap();
        while bus.stats().reaped < 1 || Arc::strong_count(&payload) > 1 {
            thread::yield_now();
        }
        assert_eq!((bus.stats().reaped, bus.subscriber_count()), (1, 0));
    });
}

//! Assisted dispatch: the dispatcher runs on the dispatch thread or on a publisher's thread, on one thread at a time.
//! If a command is never dispatched, a thread waits forever, and loom reports a deadlock.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{EventFilter, TryRecvError};
use sharing_bus_loom_tests::{assisted_bus, event, model};

/// Only one of two publishers runs the dispatcher at a time, and both events are dispatched.
#[test]
fn two_publishers_race() {
    model("two_publishers_race", 3, || {
        let bus = assisted_bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || other.publish(event()).unwrap());
        bus.publish(event()).unwrap();
        publisher.join().unwrap();
        for sequence in 1..=2 {
            assert_eq!(receiver.recv().unwrap().sequence(), sequence);
        }
    });
}

/// The bus was not idle for long enough before the second event, so the dispatch thread dispatches that event. The
/// thread may be about to go idle when the third event is published.
#[test]
fn a_publisher_races_the_dispatch_thread() {
    model("a_publisher_races_the_dispatch_thread", 3, || {
        let bus = assisted_bus(2, 4);
        let mut receiver = bus.subscribe_all();
        for sequence in 1..=3 {
            bus.publish(event()).unwrap();
            if sequence > 1 {
                continue;
            }
            assert_eq!(
                receiver.try_recv().unwrap().sequence(),
                1,
                "the publisher must dispatch the first event"
            );
        }
        for sequence in 2..=3 {
            assert_eq!(receiver.recv().unwrap().sequence(), sequence);
        }
    });
}

/// The bus refuses the event, or delivers it before the receiver sees `Closed`.
#[test]
fn close_races_an_assisting_publisher() {
    model("close_races_an_assisting_publisher", 3, || {
        let bus = assisted_bus(2, 4);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || u64::from(other.publish(event()).is_ok()));
        assert!(bus.close());
        let accepted = publisher.join().unwrap();
        assert_eq!(receiver.iter().count() as u64, accepted);
        bus.shutdown();
    });
}

/// `flush` waits for the events that its caller published, even if another thread dispatches them.
#[test]
fn flush_races_an_assisting_publisher() {
    model("flush_races_an_assisting_publisher", 2, || {
        let bus = assisted_bus(2, 4);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || other.publish(event()).unwrap());
        bus.publish(event()).unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_ok());
        publisher.join().unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_ok());
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    });
}

/// A filter runs inside dispatch, so a `flush` call in it must not wait. This holds on every thread that runs the
/// dispatcher, including right after another thread ran it.
#[test]
fn flush_in_a_filter_does_not_block() {
    model("flush_in_a_filter_does_not_block", 3, || {
        let bus = assisted_bus(2, 2);
        let inside = bus.clone();
        let _receiver = bus.subscribe_filtered(
            EventFilter::custom(move |_| {
                inside.flush();
                true
            }),
            2,
        );
        let other = bus.clone();
        let publisher = thread::spawn(move || other.publish(event()).unwrap());
        bus.publish(event()).unwrap();
        publisher.join().unwrap();
        bus.shutdown();
    });
}

/// A receiver that is dropped while a publisher dispatches is reaped without further traffic.
#[test]
fn a_receiver_drop_races_an_assisting_publisher() {
    model("a_receiver_drop_races_an_assisting_publisher", 2, || {
        let bus = assisted_bus(2, 2);
        let receiver = bus.subscribe_all();
        let dropper = thread::spawn(move || drop(receiver));
        bus.publish(event()).unwrap();
        dropper.join().unwrap();
        while bus.stats().reaped == 0 {
            thread::yield_now();
        }
    });
}

/// A publisher that assists finds more commands than one batch holds. It leaves the rest to the dispatch thread.
#[test]
fn more_than_a_batch_races_an_assisting_publisher() {
    model("more_than_a_batch_races_an_assisting_publisher", 2, || {
        let bus = assisted_bus(4, 4);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || {
            other.publish(event()).unwrap();
            other.publish(event()).unwrap();
        });
        bus.publish(event()).unwrap();
        // Nothing else is published or closed before each event has arrived.
        for sequence in 1..=3 {
            assert_eq!(receiver.recv().unwrap().sequence(), sequence);
        }
        publisher.join().unwrap();
    });
}

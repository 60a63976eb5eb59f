//! Assisted dispatch: the turn between publishers and the thread. A command left behind leaves somebody waiting, which
//! loom reports as a deadlock.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{EventFilter, TryRecvError};
use sharing_bus_loom_tests::{assisted_bus, event, model};

/// Of two publishers one gets the turn, and the other's event is dispatched all the same.
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

/// The second event is the thread's to dispatch, which may be letting go of the turn as the third one comes.
#[test]
fn a_publisher_races_the_thread() {
    model("a_publisher_races_the_thread", 3, || {
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
                "dispatched by its publisher"
            );
        }
        for sequence in 2..=3 {
            assert_eq!(receiver.recv().unwrap().sequence(), sequence);
        }
    });
}

/// An event is refused, or delivered before the end.
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

/// A flush sees what its caller published, whoever dispatched it.
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

/// User code finds itself in dispatch, and so does not wait for it, on whatever thread and whoever was there before.
#[test]
fn a_filter_knows_that_it_is_dispatch() {
    model("a_filter_knows_that_it_is_dispatch", 3, || {
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

/// A receiver that goes while a publisher dispatches is reaped without further traffic.
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

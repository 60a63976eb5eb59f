//! Guarantee 8, closing drains: every accepted event is delivered, regardless of when the bus is closed.
#![cfg(sharing_bus_loom)]

use loom::future::block_on;
use loom::thread;
use sharing_bus::TryRecvError;
use sharing_bus_loom_tests::{bus, event, model};

/// An event whose `publish` returned `Ok` is delivered before `Closed`. A refused event is not delivered.
#[test]
fn close_races_publish() {
    model("close_races_publish", 3, || {
        let bus = bus(2, 4);
        let mut receiver = bus.subscribe_all();
        bus.publish(event()).unwrap();
        let publisher = {
            let bus = bus.clone();
            thread::spawn(move || u64::from(bus.publish(event()).is_ok()))
        };
        assert!(bus.close());
        let accepted = 1 + publisher.join().unwrap();
        let received = receiver.iter().count() as u64;
        assert_eq!(received, accepted);
        assert!(bus.publish(event()).unwrap_err().is_closed());
        bus.shutdown();
    });
}

/// `flush` returns on an open and on a closed bus. Every event accepted before the call has then been dispatched.
#[test]
fn close_races_flush() {
    model("close_races_flush", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        bus.publish(event()).unwrap();
        let closer = {
            let bus = bus.clone();
            thread::spawn(move || assert!(bus.close()))
        };
        bus.flush();
        assert!(receiver.try_recv().is_ok());
        closer.join().unwrap();
        bus.flush();
        assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    });
}

/// A task that waits for space in the ingress either publishes its event or gets the error of a closed bus.
#[test]
fn close_races_publish_async() {
    model("close_races_publish_async", 3, || {
        let bus = bus(1, 4);
        let mut receiver = bus.subscribe_all();
        bus.publish(event()).unwrap();
        let publisher = {
            let bus = bus.clone();
            thread::spawn(move || u64::from(block_on(bus.publish_async(event())).is_ok()))
        };
        assert!(bus.close());
        let accepted = 1 + publisher.join().unwrap();
        assert_eq!(receiver.iter().count() as u64, accepted);
    });
}

/// The last two handles are dropped by different threads, one of them right after its publish. The event is delivered.
#[test]
fn last_handle_dropped_while_publishing() {
    model("last_handle_dropped_while_publishing", 3, || {
        let bus = bus(1, 4);
        let mut receiver = bus.subscribe_all();
        let publisher = {
            let bus = bus.clone();
            thread::spawn(move || bus.publish(event()).unwrap())
        };
        drop(bus);
        publisher.join().unwrap();
        assert_eq!(receiver.iter().count(), 1);
    });
}

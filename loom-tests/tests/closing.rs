//! Promise 8: what was accepted is delivered, whatever the moment of the close.
#![cfg(sharing_bus_loom)]

use loom::future::block_on;
use loom::thread;
use sharing_bus::TryRecvError;
use sharing_bus_loom_tests::{bus, event, model};

/// A publish that returned `Ok` is delivered before `Closed`; one that did not is not.
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

/// A flush returns, and what was accepted before it has been dispatched, closed or not.
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

/// A task that waits for room is let in or told of the close.
#[test]
fn close_races_a_task_waiting_for_room() {
    model("close_races_a_task_waiting_for_room", 3, || {
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

/// The last handle may go while another thread has just published through its own.
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

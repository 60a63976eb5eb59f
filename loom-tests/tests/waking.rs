//! Promise 6: a receiver that waits is woken by the next matching event, by close and by unsubscribe. A lost wake-up
//! leaves every thread blocked, which loom reports as a deadlock.
#![cfg(sharing_bus_loom)]

use loom::future::block_on;
use loom::thread;
use sharing_bus::RecvError;
use sharing_bus_loom_tests::{bus, event, model};

#[test]
fn recv_races_publish() {
    model("recv_races_publish", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let waiting = thread::spawn(move || {
            assert!(receiver.recv().is_ok());
        });
        bus.publish(event()).unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn recv_async_races_publish() {
    model("recv_async_races_publish", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let waiting = thread::spawn(move || {
            assert!(block_on(receiver.recv_async()).is_ok());
        });
        bus.publish(event()).unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn recv_races_close() {
    model("recv_races_close", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let waiting = thread::spawn(move || {
            assert_eq!(receiver.recv().unwrap_err(), RecvError);
        });
        bus.close();
        waiting.join().unwrap();
    });
}

#[test]
fn recv_races_unsubscribe() {
    model("recv_races_unsubscribe", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let id = receiver.id();
        let waiting = thread::spawn(move || {
            assert_eq!(receiver.recv().unwrap_err(), RecvError);
        });
        assert!(bus.unsubscribe(id));
        waiting.join().unwrap();
    });
}

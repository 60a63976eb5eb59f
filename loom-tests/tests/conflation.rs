//! Conflating queues: a pending event is delivered as soon as its queue has space, even if no further event is
//! published. It is also delivered when the bus closes.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{BusReceiver, Delivery, Overflow, SharingBus};
use sharing_bus_loom_tests::{bus, event, model};

/// Number of published events. While the first one fills the queue, the others are pending and merge into one.
const EVENTS: u64 = 3;

fn conflating(bus: &SharingBus) -> BusReceiver {
    bus.subscription().overflow(Overflow::Conflate).subscribe()
}

fn publish(bus: &SharingBus) {
    (0..EVENTS).for_each(|_| bus.publish(event()).unwrap());
}

/// Adds a delivery, and the events merged into it, to the number of events accounted for.
fn account(accounted: &mut u64, delivery: &Delivery) {
    assert_eq!(delivery.missed(), 0);
    *accounted += 1 + delivery.merged();
    assert_eq!(
        delivery.sequence(),
        *accounted,
        "an event before this delivery is not accounted for"
    );
}

/// The receiver makes space while the dispatch thread adds a pending event.
#[test]
fn receive_races_pending_events() {
    model("receive_races_pending_events", 2, || {
        let bus = bus(4, 1);
        let mut receiver = conflating(&bus);
        let consumer = thread::spawn(move || {
            let mut accounted = 0;
            while accounted < EVENTS {
                account(&mut accounted, &receiver.recv().unwrap());
            }
            receiver
        });
        publish(&bus);
        drop(consumer.join().unwrap());
        bus.shutdown();
    });
}

/// The bus closes while an event may be pending.
#[test]
fn close_races_pending_events() {
    model("close_races_pending_events", 1, || {
        let bus = bus(4, 1);
        let mut receiver = conflating(&bus);
        let consumer = thread::spawn(move || {
            let mut accounted = 0;
            receiver.iter().for_each(|delivery| account(&mut accounted, &delivery));
            accounted
        });
        publish(&bus);
        bus.close();
        assert_eq!(
            consumer.join().unwrap(),
            EVENTS,
            "an accepted event was neither delivered nor merged"
        );
        bus.shutdown();
    });
}

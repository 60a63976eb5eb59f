//! What waits for room comes as soon as there is some, with nobody publishing, and at the end of the bus.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{BusReceiver, Delivery, Overflow, SharingBus};
use sharing_bus_loom_tests::{bus, event, model};

/// The others wait for the place that the first one has, and go into one.
const EVENTS: u64 = 3;

fn conflating(bus: &SharingBus) -> BusReceiver {
    bus.subscription().overflow(Overflow::Conflate).subscribe()
}

fn publish(bus: &SharingBus) {
    (0..EVENTS).for_each(|_| bus.publish(event()).unwrap());
}

/// Adds a delivery to the account of all events up to it.
fn account(accounted: &mut u64, delivery: &Delivery) {
    assert_eq!(delivery.missed(), 0);
    *accounted += 1 + delivery.merged();
    assert_eq!(delivery.sequence(), *accounted, "in its place");
}

#[test]
fn room_races_what_waits_for_it() {
    model("room_races_what_waits_for_it", 2, || {
        let bus = bus(4, 1);
        let mut receiver = conflating(&bus);
        let taking = thread::spawn(move || {
            let mut accounted = 0;
            while accounted < EVENTS {
                account(&mut accounted, &receiver.recv().unwrap());
            }
            receiver
        });
        publish(&bus);
        drop(taking.join().unwrap());
        bus.shutdown();
    });
}

#[test]
fn the_end_races_what_waits() {
    model("the_end_races_what_waits", 1, || {
        let bus = bus(4, 1);
        let mut receiver = conflating(&bus);
        let taking = thread::spawn(move || {
            let mut accounted = 0;
            receiver.iter().for_each(|delivery| account(&mut accounted, &delivery));
            accounted
        });
        publish(&bus);
        bus.close();
        assert_eq!(
            taking.join().unwrap(),
            EVENTS,
            "all that was accepted is delivered or merged"
        );
        bus.shutdown();
    });
}

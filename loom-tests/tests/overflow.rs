//! Guarantee 2, exact loss: the receiver takes events while the dispatch thread pushes. Each overflow rule has a
//! model.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{BusReceiver, Overflow, SharingBus};
use sharing_bus_loom_tests::{bus, event, model};

const EVENTS: u64 = 3;

/// Publishes while another thread receives, then checks that all counts agree.
fn race(overflow: Overflow) {
    let bus = bus(4, 1);
    let receiver = bus.subscription().overflow(overflow).subscribe();
    let consumer = thread::spawn(move || receive_until_closed(receiver));
    publish_and_close(&bus);
    let (sequences, missed, lagged) = consumer.join().unwrap();

    let received = sequences.len() as u64;
    assert!(sequences.is_sorted_by(|a, b| a < b), "the sequences must increase");
    assert!(missed <= lagged);
    let matched = if overflow == Overflow::Disconnect {
        received + lagged
    } else {
        EVENTS
    };
    assert_eq!(received + lagged, matched);
    let last = sequences.last().copied().unwrap_or(0);
    // Each loss is reported by the next delivery, so every event up to the last delivery is received or missed.
    assert_eq!(received + missed, last);
    if overflow == Overflow::DropOldest {
        assert_eq!(last, EVENTS, "the newest event must be delivered");
    }
    bus.shutdown();
}

fn publish_and_close(bus: &SharingBus) {
    for _ in 0..EVENTS {
        bus.publish(event()).unwrap();
    }
    bus.close();
}

fn receive_until_closed(mut receiver: BusReceiver) -> (Vec<u64>, u64, u64) {
    let mut sequences = Vec::new();
    let mut missed = 0;
    for delivery in receiver.iter() {
        sequences.push(delivery.sequence());
        missed += delivery.missed();
    }
    (sequences, missed, receiver.lagged())
}

#[test]
fn drop_newest_races_receive() {
    model("drop_newest_races_receive", 2, || race(Overflow::DropNewest));
}

#[test]
fn drop_oldest_races_receive() {
    model("drop_oldest_races_receive", 2, || race(Overflow::DropOldest));
}

#[test]
fn disconnect_races_receive() {
    model("disconnect_races_receive", 2, || race(Overflow::Disconnect));
}

//! Promises 1 and 4: order per publisher, one total order, and who sees an event.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::*;
use sharing_bus::{Delivery, EventFilter, SharingBus};

#[test]
fn one_publisher_is_received_in_order() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 1000);
    for n in 0..1000 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    let deliveries = drain(&mut receiver);
    assert_eq!(numbers(&deliveries), (0..1000).collect::<Vec<_>>());
    let sequences: Vec<u64> = deliveries.iter().map(Delivery::sequence).collect();
    assert_eq!(sequences, (1..=1000).collect::<Vec<_>>());
}

#[test]
fn several_publishers_give_one_total_order() {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 2000;
    let bus = SharingBus::builder().ingress_capacity(16).build().unwrap();
    let mut everything = bus.subscribe_filtered(EventFilter::All, (PUBLISHERS * EACH) as usize);
    let even = EventFilter::custom(|event: &sharing_bus::BusEvent<Number>| event.event.0 % 2 == 0);
    let mut even = bus.subscribe_filtered(even, (PUBLISHERS * EACH) as usize);

    thread::scope(|scope| {
        for publisher in 0..PUBLISHERS {
            let bus = &bus;
            scope.spawn(move || {
                for n in 0..EACH {
                    bus.publish(number(publisher * EACH + n)).unwrap();
                }
            });
        }
    });
    bus.flush();

    let everything = drain(&mut everything);
    assert_eq!(everything.len() as u64, PUBLISHERS * EACH);
    assert!(everything.is_sorted_by(|a, b| a.sequence() < b.sequence()));
    for publisher in 0..PUBLISHERS {
        let own = numbers(&everything).into_iter().filter(|n| n / EACH == publisher);
        assert!(
            own.eq(publisher * EACH..(publisher + 1) * EACH),
            "publisher {publisher}"
        );
    }
    // The other subscriber sees the same events under the same sequences.
    let by_sequence: HashMap<u64, u64> = everything.iter().map(|d| (d.sequence(), d.event.0)).collect();
    let even = drain(&mut even);
    assert_eq!(even.len() as u64, PUBLISHERS * EACH / 2);
    assert!(even.is_sorted_by(|a, b| a.sequence() < b.sequence()));
    for delivery in &even {
        assert_eq!(by_sequence[&delivery.sequence()], delivery.event.0);
    }
}

/// What one thread publishes after it has heard of another's publishing comes after that.
#[test]
fn a_publish_that_begins_after_another_has_returned_comes_after_it() {
    const ROUNDS: u64 = 500;
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 2 * ROUNDS as usize);
    let turn = AtomicU64::new(0);
    thread::scope(|scope| {
        for parity in 0..2 {
            let (bus, turn) = (&bus, &turn);
            scope.spawn(move || {
                for n in (parity..2 * ROUNDS).step_by(2) {
                    wait_until("it is this thread's turn", || turn.load(Ordering::Acquire) == n);
                    bus.publish(number(n)).unwrap();
                    turn.store(n + 1, Ordering::Release);
                }
            });
        }
    });
    bus.shutdown();
    assert_eq!(numbers(&drain(&mut receiver)), (0..2 * ROUNDS).collect::<Vec<_>>());
}

#[test]
fn unmatched_events_take_a_sequence_too() {
    let bus = SharingBus::new();
    let odd = EventFilter::custom(|event: &sharing_bus::BusEvent<Number>| event.event.0 % 2 == 1);
    let mut receiver = bus.subscribe_filtered(odd, 8);
    for n in 0..4 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    let seen: Vec<_> = drain(&mut receiver)
        .iter()
        .map(|d| (d.sequence(), d.event.0, d.missed()))
        .collect();
    assert_eq!(seen, [(2, 1, 0), (4, 3, 0)]);
}

#[test]
fn a_subscription_sees_what_is_published_after_it_returned() {
    // A publisher keeps the dispatch thread busy while others subscribe and at once publish their own event.
    let bus = SharingBus::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                bus.publish(number(0)).unwrap();
            }
        });
        let mut subscribers = Vec::new();
        for subscriber in 1..=2 {
            let bus = &bus;
            subscribers.push(scope.spawn(move || {
                for round in 0..300 {
                    let own = subscriber * 1000 + round;
                    let only_own =
                        EventFilter::custom(move |event: &sharing_bus::BusEvent<Number>| event.event.0 == own);
                    let mut receiver = bus.subscribe_filtered(only_own, 1);
                    bus.publish(number(own)).unwrap();
                    let delivery = receiver.recv_timeout(DEADLINE).expect("one's own event");
                    assert_eq!(delivery.event.0, own);
                }
            }));
        }
        for subscriber in subscribers {
            subscriber.join().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn an_event_accepted_before_a_subscription_may_still_be_seen_but_never_out_of_order() {
    let bus = SharingBus::new();
    let block = Block::new(&bus, number(0));
    bus.publish(number(1)).unwrap();
    let mut late = bus.subscribe_all();
    bus.publish(number(2)).unwrap();
    block.release();
    bus.flush();
    let seen = numbers(&drain(&mut late));
    assert!(seen == [1, 2] || seen == [2], "{seen:?}");
}

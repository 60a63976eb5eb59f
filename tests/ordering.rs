//! Guarantees 1 and 4: the order of each publisher, one total order, and which subscribers receive an event.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, Delivery, EventFilter, SharingBus};

#[test]
fn events_of_one_publisher_arrive_in_order() {
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
fn events_of_several_publishers_have_one_total_order() {
    const PUBLISHERS: u64 = 4;
    const EACH: u64 = 2000;
    let bus = SharingBus::builder().ingress_capacity(16).build().unwrap();
    let mut everything = bus.subscribe_filtered(EventFilter::All, (PUBLISHERS * EACH) as usize);
    let even = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 0);
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
    let by_sequence: HashMap<u64, u64> = everything
        .iter()
        .map(|delivery| (delivery.sequence(), delivery.event.0))
        .collect();
    let even = drain(&mut even);
    assert_eq!(even.len() as u64, PUBLISHERS * EACH / 2);
    assert!(even.is_sorted_by(|a, b| a.sequence() < b.sequence()));
    for delivery in &even {
        assert_eq!(by_sequence[&delivery.sequence()], delivery.event.0);
    }
}

/// Two threads publish alternately. Each waits until the other's `publish` has returned.
#[test]
fn publishes_of_two_threads_that_do_not_overlap_keep_their_order() {
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
fn unmatched_events_have_a_sequence_too() {
    let bus = SharingBus::new();
    let odd = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 1);
    let mut receiver = bus.subscribe_filtered(odd, 8);
    for n in 0..4 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    let seen: Vec<_> = drain(&mut receiver)
        .iter()
        .map(|delivery| (delivery.sequence(), delivery.event.0, delivery.missed()))
        .collect();
    assert_eq!(seen, [(2, 1, 0), (4, 3, 0)]);
}

#[test]
fn a_subscription_receives_every_event_published_after_it() {
    // One thread keeps dispatch busy. Two others subscribe repeatedly, and publish one event after each subscription.
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
                    let only_own = EventFilter::custom(move |event: &BusEvent<Number>| event.event.0 == own);
                    let mut receiver = bus.subscribe_filtered(only_own, 1);
                    bus.publish(number(own)).unwrap();
                    let delivery = receiver
                        .recv_timeout(DEADLINE)
                        .expect("the event published after subscribing must arrive");
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
fn a_new_subscription_may_receive_an_earlier_event_but_only_in_order() {
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

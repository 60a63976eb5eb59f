//! Small enough for every execution there is; `loom-tests/` has the whole bus at a bound.

use super::parcels::{bundle, plain, single};
use super::*;
use crate::sync::wait::models::Count;
use std::task::Context;

fn push(producer: &mut QueueProducer<()>, sequence: u64) {
    producer.push(single(sequence));
    producer.state().wake();
}

/// `pushes` push `matched` events, against a receiver that takes what it finds twice and then the rest.
fn account(capacity: usize, overflow: Overflow, matched: u64, pushes: fn(&mut QueueProducer<()>)) {
    let (mut producer, mut consumer) = plain(capacity, overflow);
    let pushing = loom::thread::spawn(move || {
        pushes(&mut producer);
        producer.state().close();
    });
    let mut deliveries = Vec::new();
    deliveries.extend(consumer.try_pop());
    deliveries.extend(consumer.try_pop());
    pushing.join().unwrap();
    while let Ok(delivery) = consumer.try_pop() {
        deliveries.push(delivery);
    }
    let mut last = 0;
    for delivery in &deliveries {
        assert_eq!(
            delivery.sequence(),
            last + delivery.missed() + 1,
            "every gap is told where it is"
        );
        last = delivery.sequence();
    }
    assert_eq!(deliveries.len() as u64 + consumer.lagged(), matched);
}

fn two(producer: &mut QueueProducer<()>) {
    push(producer, 1);
    push(producer, 2);
}

/// The second one finds room for as much of it as was received.
fn two_bundles(producer: &mut QueueProducer<()>) {
    producer.push(bundle(1..=2));
    producer.push(bundle(3..=4));
}

#[test]
fn bundles_race_pop_dropping_newest() {
    loom::model(|| account(2, Overflow::DropNewest, 4, two_bundles));
}

#[test]
fn bundles_race_pop_dropping_oldest() {
    loom::model(|| account(2, Overflow::DropOldest, 4, two_bundles));
}

/// What is counted as queued can be received.
#[test]
fn push_races_len() {
    loom::model(|| {
        let (mut producer, mut consumer) = plain(2, Overflow::DropNewest);
        let pushing = loom::thread::spawn(move || {
            producer.push(bundle(1..=2));
        });
        let queued = consumer.len();
        let received = std::iter::from_fn(|| consumer.try_pop().ok()).count();
        assert!(received >= queued, "{queued} queued, {received} received");
        pushing.join().unwrap();
    });
}

#[test]
fn push_races_pop_dropping_newest() {
    loom::model(|| account(1, Overflow::DropNewest, 2, two));
}

#[test]
fn push_races_pop_dropping_oldest() {
    loom::model(|| account(1, Overflow::DropOldest, 2, two));
}

/// A poll that finds nothing is followed by a wake-up.
fn wakes(signal: impl Fn(&mut QueueProducer<()>) + Clone + Send + Sync + 'static) {
    loom::model(move || {
        let (mut producer, mut consumer) = plain(1, Overflow::DropNewest);
        let signal = signal.clone();
        let signalling = loom::thread::spawn(move || {
            signal(&mut producer);
            producer
        });
        let count = Count::new();
        let waker = Count::waker(&count);
        let waits = consumer.poll_pop(&mut Context::from_waker(&waker)).is_pending();
        let _producer = signalling.join().unwrap();
        assert!(!waits || count.get() == 1, "the wake-up is lost");
    });
}

#[test]
fn push_races_poll() {
    wakes(|producer| push(producer, 1));
}

#[test]
fn close_races_poll() {
    wakes(|producer| {
        producer.state().close();
        producer.state().wake();
    });
}

/// What waits is queued by the look after the request for room, or the receiver tells of the room.
#[test]
fn room_races_what_waits() {
    loom::model(|| {
        let told = Count::new();
        let dispatch = Count::waker(&told);
        let rules = Rules::new(1, Overflow::Conflate);
        let (mut producer, mut consumer) = queue(rules, || dispatch);
        push(&mut producer, 1);
        let pushing = loom::thread::spawn(move || {
            let waits = producer.push(single(2)).waits;
            (producer, waits)
        });
        assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
        let (mut producer, waits) = pushing.join().unwrap();
        assert!(!waits || told.get() == 1, "nobody tells of the room");
        producer.hand_over();
        assert_eq!(consumer.try_pop().unwrap().sequence(), 2);
    });
}

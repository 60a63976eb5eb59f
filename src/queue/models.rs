//! Models of one queue, small enough for every execution. `loom-tests/` models the whole bus with a bound.

use super::parcels::{bundle, plain, push, single};
use super::*;
use crate::end_reason::EndReason;
use crate::sync::wait::models::Count;
use std::task::Context;

fn push_and_wake(producer: &mut QueueProducer<()>, sequence: u64) {
    push(producer, single(sequence));
    producer.state().wake();
}

/// Runs `pushes`, which push `matched` events, against a receiver that receives twice and later drains the queue.
fn check_losses(capacity: usize, overflow: Overflow, matched: u64, pushes: fn(&mut QueueProducer<()>)) {
    let (mut producer, mut consumer) = plain(capacity, overflow);
    let pushing = loom::thread::spawn(move || {
        pushes(&mut producer);
        producer.state().close(EndReason::Closed);
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
            "every gap is reported in its place"
        );
        last = delivery.sequence();
    }
    assert_eq!(deliveries.len() as u64 + consumer.lagged(), matched);
}

fn two(producer: &mut QueueProducer<()>) {
    push_and_wake(producer, 1);
    push_and_wake(producer, 2);
}

/// The second bundle finds space for as many events as were received.
fn two_bundles(producer: &mut QueueProducer<()>) {
    push(producer, bundle(1..=2));
    push(producer, bundle(3..=4));
}

#[test]
fn bundles_race_pop_dropping_newest() {
    loom::model(|| check_losses(2, Overflow::DropNewest, 4, two_bundles));
}

#[test]
fn bundles_race_pop_dropping_oldest() {
    loom::model(|| check_losses(2, Overflow::DropOldest, 4, two_bundles));
}

/// As many events can be received as are counted as queued.
#[test]
fn push_races_len() {
    loom::model(|| {
        let (mut producer, mut consumer) = plain(2, Overflow::DropNewest);
        let pushing = loom::thread::spawn(move || {
            push(&mut producer, bundle(1..=2));
        });
        let queued = consumer.len();
        let received = std::iter::from_fn(|| consumer.try_pop().ok()).count();
        assert!(received >= queued, "{queued} queued, {received} received");
        pushing.join().unwrap();
    });
}

#[test]
fn push_races_pop_dropping_newest() {
    loom::model(|| check_losses(1, Overflow::DropNewest, 2, two));
}

#[test]
fn push_races_pop_dropping_oldest() {
    loom::model(|| check_losses(1, Overflow::DropOldest, 2, two));
}

/// A poll that finds the queue empty is followed by a wake-up.
fn wakes(signal: impl Fn(&mut QueueProducer<()>) + Clone + Send + Sync + 'static) {
    loom::model(move || {
        let (mut producer, mut consumer) = plain(1, Overflow::DropNewest);
        let signal = signal.clone();
        let signaling = loom::thread::spawn(move || {
            signal(&mut producer);
            producer
        });
        let count = Count::new();
        let waker = Count::waker(&count);
        let waits = consumer.poll_pop(&mut Context::from_waker(&waker)).is_pending();
        let _producer = signaling.join().unwrap();
        assert!(!waits || count.get() == 1, "the wake-up is lost");
    });
}

#[test]
fn push_races_poll() {
    wakes(|producer| push_and_wake(producer, 1));
}

#[test]
fn close_races_poll() {
    wakes(|producer| {
        producer.state().close(EndReason::Closed);
        producer.state().wake();
    });
}

/// A waiting event is queued by the check after the request for space, or the receiver notifies of the space.
#[test]
fn receive_races_a_waiting_event() {
    loom::model(|| {
        let notified = Count::new();
        let dispatch = Count::waker(&notified);
        let config = QueueConfig::new(1, Overflow::Conflate);
        let (mut producer, mut consumer) = queue(config, || dispatch);
        push_and_wake(&mut producer, 1);
        let pushing = loom::thread::spawn(move || {
            let waits = push(&mut producer, single(2)).waits;
            (producer, waits)
        });
        assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
        let (mut producer, waits) = pushing.join().unwrap();
        assert!(
            !waits || notified.get() == 1,
            "the receiver does not notify of the space"
        );
        producer.push_pending(&mut Pushed::default());
        assert_eq!(consumer.try_pop().unwrap().sequence(), 2);
    });
}

/// Of two ends, one comes first. Its reason is the only one that any thread sees.
#[test]
fn two_ends_race() {
    loom::model(|| {
        let (producer, _consumer) = plain(1, Overflow::DropNewest);
        let state = Arc::clone(producer.state());
        let ending = loom::thread::spawn(move || state.close(EndReason::Unsubscribed));
        let closed = producer.state().close(EndReason::Closed);
        let seen = producer.state().end_reason();
        let unsubscribed = ending.join().unwrap();
        assert_ne!(closed, unsubscribed, "the subscription must end once");
        let first = if closed {
            EndReason::Closed
        } else {
            EndReason::Unsubscribed
        };
        assert_eq!((seen, producer.state().end_reason()), (Some(first), Some(first)));
    });
}

//! Tests of one queue, on one thread.

use super::parcels::{bundle, plain, push, single};
use super::state::Entry;
use super::*;
use crate::delivery::parcel::Parcel;
use crate::end_reason::EndReason;
use crate::sync::atomic::Ordering;

/// Receives all queued events. Returns the sequence and `missed` of each.
fn drain(consumer: &mut QueueConsumer<()>) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| consumer.try_pop().ok())
        .map(|delivery| (delivery.sequence(), delivery.missed()))
        .collect()
}

#[test]
fn an_entry_has_the_size_that_the_builder_documents() {
    assert_eq!(size_of::<Entry<[u8; 100]>>(), 24);
}

fn pushed(queued: u64, lost: u64) -> Pushed {
    Pushed {
        queued,
        lost,
        ..Pushed::default()
    }
}

#[test]
fn a_loss_reported_by_a_delivery_counts_before_it_is_committed() {
    let (mut producer, mut consumer) = plain(1, Overflow::DropOldest);
    for sequence in 1..=3 {
        push(&mut producer, single(sequence));
    }
    assert_eq!(consumer.try_pop().unwrap().missed(), 2);
    consumer.state.lagged.store(1, Ordering::Relaxed);
    assert_eq!(consumer.lagged(), 2, "reported, though not committed");
}

#[test]
fn the_part_of_a_bundle_that_fits_is_queued() {
    let (mut producer, mut consumer) = plain(3, Overflow::DropNewest);
    assert_eq!(push(&mut producer, bundle(1..=5)), pushed(3, 2));
    assert_eq!((consumer.len(), consumer.lagged()), (3, 2));
    assert_eq!(push(&mut producer, single(6)), pushed(0, 1));
    assert_eq!(drain(&mut consumer), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(push(&mut producer, bundle(7..=9)), pushed(3, 0));
    assert_eq!(drain(&mut consumer), [(7, 3), (8, 0), (9, 0)]);
}

#[test]
fn space_is_counted_in_events_within_a_partly_received_bundle() {
    let (mut producer, mut consumer) = plain(4, Overflow::DropNewest);
    assert_eq!(push(&mut producer, bundle(1..=4)), pushed(4, 0));
    assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
    assert_eq!(consumer.len(), 3);
    assert_eq!(push(&mut producer, bundle(5..=6)), pushed(1, 1));
    assert_eq!(consumer.len(), 4);
    assert_eq!(drain(&mut consumer), [(2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(push(&mut producer, single(7)), pushed(1, 0));
    assert_eq!(drain(&mut consumer), [(7, 1)]);
}

#[test]
fn one_event_of_a_bundle_that_disconnects_counts_as_lost() {
    let (mut producer, mut consumer) = plain(2, Overflow::Disconnect);
    let outcome = push(&mut producer, bundle(1..=5));
    assert_eq!(
        (outcome.queued, outcome.lost, outcome.end),
        (2, 1, Some(EndReason::Overflowed))
    );
    producer.state().close(EndReason::Closed);
    assert_eq!(push(&mut producer, bundle(6..=7)), pushed(0, 0));
    assert_eq!(drain(&mut consumer), [(1, 0), (2, 0)]);
    assert_eq!(consumer.lagged(), 1);
}

#[test]
fn a_bundle_displaces_the_oldest_events_one_by_one() {
    let (mut producer, mut consumer) = plain(3, Overflow::DropOldest);
    assert_eq!(push(&mut producer, bundle(1..=2)), pushed(2, 0));
    assert_eq!(push(&mut producer, bundle(3..=4)), pushed(1, 1));
    assert_eq!(consumer.len(), 3);
    assert_eq!(drain(&mut consumer), [(2, 1), (3, 0), (4, 0)]);
}

/// The first events of a long bundle are lost in place, and the others displace the queued ones.
#[test]
fn a_bundle_longer_than_the_queue_leaves_its_last_events() {
    let (mut producer, mut consumer) = plain(3, Overflow::DropOldest);
    assert_eq!(push(&mut producer, bundle(1..=2)), pushed(2, 0));
    assert_eq!(push(&mut producer, bundle(3..=9)), pushed(1, 6));
    assert_eq!((consumer.len(), consumer.lagged()), (3, 6));
    assert_eq!(drain(&mut consumer), [(7, 6), (8, 0), (9, 0)]);
    assert_eq!(push(&mut producer, bundle(10..=13)), pushed(3, 1));
    assert_eq!(drain(&mut consumer), [(11, 1), (12, 0), (13, 0)]);
}

#[test]
fn a_bundle_is_freed_with_its_last_delivery() {
    let (mut producer, mut consumer) = plain(4, Overflow::DropNewest);
    let parcel = bundle(1..=3);
    let Parcel::Bundle { bundle, .. } = &parcel else {
        panic!("a bundle");
    };
    let payload = Arc::clone(&bundle.envelope(2).event().event);
    push(&mut producer, parcel);
    let kept = consumer.try_pop().unwrap();
    let copy = kept.clone();
    consumer.discard();
    drop(kept);
    assert_eq!((copy.sequence(), Arc::strong_count(&payload)), (1, 2));
    drop(copy);
    assert_eq!(Arc::strong_count(&payload), 1);
}

/// Creates a conflating queue. Its waker does nothing, because the tests check the request flag.
fn conflating(capacity: usize) -> (QueueProducer<()>, QueueConsumer<()>) {
    queue(QueueConfig::new(capacity, Overflow::Conflate), || Waker::noop().clone())
}

fn push_pending(producer: &mut QueueProducer<()>) -> Pushed {
    let mut pushed = Pushed::default();
    producer.push_pending(&mut pushed);
    pushed
}

/// Receives all queued events. Returns the sequence, `missed` and `merged` of each.
fn drain_merged(consumer: &mut QueueConsumer<()>) -> Vec<(u64, u64, u64)> {
    std::iter::from_fn(|| consumer.try_pop().ok())
        .map(|delivery| (delivery.sequence(), delivery.missed(), delivery.merged()))
        .collect()
}

#[test]
fn the_part_of_a_bundle_that_does_not_fit_waits_and_is_merged() {
    let (mut producer, mut consumer) = conflating(3);
    let outcome = push(&mut producer, bundle(1..=6));
    assert_eq!((outcome.queued, outcome.merged, outcome.waits), (3, 0, true));
    assert_eq!((consumer.len(), producer.state().pending()), (3, 3));
    assert_eq!(drain_merged(&mut consumer), [(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
    let outcome = push_pending(&mut producer);
    assert_eq!((outcome.queued, outcome.merged, outcome.waits), (1, 2, false));
    assert_eq!(drain_merged(&mut consumer), [(6, 0, 2)]);
}

#[test]
fn no_event_overtakes_a_waiting_one() {
    let (mut producer, mut consumer) = conflating(2);
    push(&mut producer, bundle(1..=3));
    assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
    let outcome = push(&mut producer, single(4));
    assert_eq!((outcome.queued, outcome.merged, outcome.waits), (1, 0, true));
    assert_eq!(drain_merged(&mut consumer), [(2, 0, 0), (3, 0, 0)]);
    assert_eq!(push(&mut producer, bundle(5..=6)).queued, 2);
    assert_eq!(drain_merged(&mut consumer), [(4, 0, 0), (5, 0, 0)]);
}

#[test]
fn the_end_of_the_bus_queues_waiting_events_and_an_earlier_end_loses_them() {
    let (mut producer, mut consumer) = conflating(1);
    push(&mut producer, bundle(1..=3));
    let mut all = Pushed::default();
    producer.push_all_pending(&mut all);
    assert_eq!(all.queued, 1);
    assert_eq!(drain_merged(&mut consumer), [(1, 0, 0), (3, 0, 1)]);

    let (mut producer, mut consumer) = conflating(1);
    push(&mut producer, bundle(1..=3));
    producer.state().close(EndReason::Closed);
    assert_eq!(push_pending(&mut producer), Pushed::default());
    assert_eq!(producer.lose_pending(), 2);
    assert_eq!((consumer.lagged(), producer.state().merged()), (2, 0));
    assert_eq!(drain_merged(&mut consumer), [(1, 0, 0)]);
}

#[test]
fn the_receiver_takes_a_request_for_space_once() {
    let (mut producer, mut consumer) = conflating(1);
    push(&mut producer, single(1));
    assert!(consumer.try_pop().is_ok() && !producer.state().take_space_request());
    push(&mut producer, bundle(2..=3));
    assert!(consumer.try_pop().is_ok());
    assert!(!producer.state().take_space_request(), "the receiver took the request");
}

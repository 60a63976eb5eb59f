//! What one thread sees of a queue.

use super::parcels::{bundle, plain, single};
use super::producer::Pushed;
use super::*;

/// What can be received: sequence and missed.
fn drain(consumer: &mut QueueConsumer<()>) -> Vec<(u64, u64)> {
    std::iter::from_fn(|| consumer.try_pop().ok())
        .map(|delivery| (delivery.sequence(), delivery.missed()))
        .collect()
}

#[test]
fn an_event_takes_as_much_of_a_queue_as_the_builder_says() {
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
fn a_loss_that_a_delivery_has_told_counts_before_it_is_committed() {
    let (mut producer, mut consumer) = plain(1, Overflow::DropOldest);
    for sequence in 1..=3 {
        producer.push(single(sequence));
    }
    assert_eq!(consumer.try_pop().unwrap().missed(), 2);
    consumer.state.lagged.store(1, Ordering::Relaxed);
    assert_eq!(consumer.lagged(), 2, "told, though not committed");
}

#[test]
fn of_a_bundle_is_queued_what_there_is_room_for() {
    let (mut producer, mut consumer) = plain(3, Overflow::DropNewest);
    assert_eq!(producer.push(bundle(1..=5)), pushed(3, 2));
    assert_eq!((consumer.len(), consumer.lagged()), (3, 2));
    assert_eq!(producer.push(single(6)), pushed(0, 1));
    assert_eq!(drain(&mut consumer), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(producer.push(bundle(7..=9)), pushed(3, 0));
    assert_eq!(drain(&mut consumer), [(7, 3), (8, 0), (9, 0)]);
}

#[test]
fn room_is_counted_in_events_also_those_of_a_bundle_half_received() {
    let (mut producer, mut consumer) = plain(4, Overflow::DropNewest);
    assert_eq!(producer.push(bundle(1..=4)), pushed(4, 0));
    assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
    assert_eq!(consumer.len(), 3);
    assert_eq!(producer.push(bundle(5..=6)), pushed(1, 1));
    assert_eq!(consumer.len(), 4);
    assert_eq!(drain(&mut consumer), [(2, 0), (3, 0), (4, 0), (5, 0)]);
    assert_eq!(producer.push(single(7)), pushed(1, 0));
    assert_eq!(drain(&mut consumer), [(7, 1)]);
}

#[test]
fn of_a_bundle_that_disconnects_one_event_counts_as_lost() {
    let (mut producer, mut consumer) = plain(2, Overflow::Disconnect);
    let outcome = producer.push(bundle(1..=5));
    assert_eq!((outcome.queued, outcome.lost, outcome.ends), (2, 1, true));
    producer.state().close();
    assert_eq!(producer.push(bundle(6..=7)), pushed(0, 0));
    assert_eq!(drain(&mut consumer), [(1, 0), (2, 0)]);
    assert_eq!(consumer.lagged(), 1);
}

#[test]
fn a_bundle_displaces_the_oldest_event_by_event() {
    let (mut producer, mut consumer) = plain(3, Overflow::DropOldest);
    assert_eq!(producer.push(bundle(1..=2)), pushed(2, 0));
    assert_eq!(producer.push(bundle(3..=4)), pushed(1, 1));
    assert_eq!(consumer.len(), 3);
    assert_eq!(drain(&mut consumer), [(2, 1), (3, 0), (4, 0)]);
}

#[test]
fn what_is_kept_of_a_bundle_keeps_it_and_what_is_discarded_does_not() {
    let (mut producer, mut consumer) = plain(4, Overflow::DropNewest);
    let parcel = bundle(1..=3);
    let Parcel::Bundle { bundle, .. } = &parcel else {
        panic!("a bundle");
    };
    let payload = Arc::clone(&bundle.envelope(2).event().event);
    producer.push(parcel);
    let kept = consumer.try_pop().unwrap();
    let copy = kept.clone();
    consumer.discard();
    drop(kept);
    assert_eq!((copy.sequence(), Arc::strong_count(&payload)), (1, 2));
    drop(copy);
    assert_eq!(Arc::strong_count(&payload), 1);
}

/// One that waits for room wakes nobody here; what the receiver tells is seen by the flag.
fn conflating(capacity: usize) -> (QueueProducer<()>, QueueConsumer<()>) {
    queue(Rules::new(capacity, Overflow::Conflate), || Waker::noop().clone())
}

/// What can be received: sequence, missed and merged.
fn drain_merged(consumer: &mut QueueConsumer<()>) -> Vec<(u64, u64, u64)> {
    std::iter::from_fn(|| consumer.try_pop().ok())
        .map(|delivery| (delivery.sequence(), delivery.missed(), delivery.merged()))
        .collect()
}

#[test]
fn what_a_bundle_has_no_room_for_waits_and_the_rest_of_it_is_merged() {
    let (mut producer, mut consumer) = conflating(3);
    let outcome = producer.push(bundle(1..=6));
    assert_eq!((outcome.queued, outcome.merged, outcome.waits), (3, 0, true));
    assert_eq!((consumer.len(), producer.state().pending()), (3, 3));
    assert_eq!(drain_merged(&mut consumer), [(1, 0, 0), (2, 0, 0), (3, 0, 0)]);
    let outcome = producer.hand_over();
    assert_eq!((outcome.queued, outcome.merged, outcome.waits), (1, 2, false));
    assert_eq!(drain_merged(&mut consumer), [(6, 0, 2)]);
}

#[test]
fn nothing_overtakes_what_waits() {
    let (mut producer, mut consumer) = conflating(2);
    producer.push(bundle(1..=3));
    assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
    let outcome = producer.push(single(4));
    assert_eq!((outcome.queued, outcome.merged, outcome.waits), (1, 0, true));
    assert_eq!(drain_merged(&mut consumer), [(2, 0, 0), (3, 0, 0)]);
    assert_eq!(producer.push(bundle(5..=6)).queued, 2);
    assert_eq!(drain_merged(&mut consumer), [(4, 0, 0), (5, 0, 0)]);
}

#[test]
fn the_end_queues_what_waits_and_an_early_end_loses_it() {
    let (mut producer, mut consumer) = conflating(1);
    producer.push(bundle(1..=3));
    assert_eq!(producer.hand_over_rest().queued, 1);
    assert_eq!(drain_merged(&mut consumer), [(1, 0, 0), (3, 0, 1)]);

    let (mut producer, mut consumer) = conflating(1);
    producer.push(bundle(1..=3));
    producer.state().close();
    assert_eq!(producer.hand_over(), Pushed::default());
    assert_eq!(producer.lose_rest(), 2);
    assert_eq!((consumer.lagged(), producer.state().merged()), (2, 0));
    assert_eq!(drain_merged(&mut consumer), [(1, 0, 0)]);
}

#[test]
fn the_receiver_tells_of_room_once_it_is_asked() {
    let (mut producer, mut consumer) = conflating(1);
    producer.push(single(1));
    assert!(consumer.try_pop().is_ok() && !producer.state().is_room_wanted());
    producer.push(bundle(2..=3));
    assert!(consumer.try_pop().is_ok());
    assert!(!producer.state().is_room_wanted(), "the receiver has taken the request");
}

//! What one thread sees of a queue.

use super::parcels::{bundle, single};
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
        ends: false,
    }
}

#[test]
fn a_loss_that_a_delivery_has_told_counts_before_it_is_committed() {
    let (mut producer, mut consumer) = queue(1, Overflow::DropOldest);
    for sequence in 1..=3 {
        producer.push(single(sequence));
    }
    assert_eq!(consumer.try_pop().unwrap().missed(), 2);
    consumer.state.lagged.store(1, Ordering::Relaxed);
    assert_eq!(consumer.lagged(), 2, "told, though not committed");
}

#[test]
fn of_a_bundle_is_queued_what_there_is_room_for() {
    let (mut producer, mut consumer) = queue(3, Overflow::DropNewest);
    assert_eq!(producer.push(bundle(1..=5)), pushed(3, 2));
    assert_eq!((consumer.len(), consumer.lagged()), (3, 2));
    assert_eq!(producer.push(single(6)), pushed(0, 1));
    assert_eq!(drain(&mut consumer), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(producer.push(bundle(7..=9)), pushed(3, 0));
    assert_eq!(drain(&mut consumer), [(7, 3), (8, 0), (9, 0)]);
}

#[test]
fn room_is_counted_in_events_also_those_of_a_bundle_half_received() {
    let (mut producer, mut consumer) = queue(4, Overflow::DropNewest);
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
    let (mut producer, mut consumer) = queue(2, Overflow::Disconnect);
    let outcome = producer.push(bundle(1..=5));
    assert_eq!((outcome.queued, outcome.lost, outcome.ends), (2, 1, true));
    producer.state().close();
    assert_eq!(producer.push(bundle(6..=7)), pushed(0, 0));
    assert_eq!(drain(&mut consumer), [(1, 0), (2, 0)]);
    assert_eq!(consumer.lagged(), 1);
}

#[test]
fn a_bundle_displaces_the_oldest_event_by_event() {
    let (mut producer, mut consumer) = queue(3, Overflow::DropOldest);
    assert_eq!(producer.push(bundle(1..=2)), pushed(2, 0));
    assert_eq!(producer.push(bundle(3..=4)), pushed(1, 1));
    assert_eq!(consumer.len(), 3);
    assert_eq!(drain(&mut consumer), [(2, 1), (3, 0), (4, 0)]);
}

#[test]
fn what_is_kept_of_a_bundle_keeps_it_and_what_is_discarded_does_not() {
    let (mut producer, mut consumer) = queue(4, Overflow::DropNewest);
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

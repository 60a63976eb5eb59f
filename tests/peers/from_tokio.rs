//! The table "From `tokio::sync::broadcast`".

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use sharing_bus::{BusEvent, EventFilter, EventRouting, Overflow, Payload, RecvError, SharingBus, TryRecvError};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError as Lost, SendError, TryRecvError as TryLost};

use super::*;

#[test]
fn channel_of_n_becomes_a_builder_with_a_queue_capacity_of_n() {
    let (sender, mut receiver) = broadcast::channel(3);
    for n in 0..4 {
        sender.send(n).unwrap();
    }
    // Tokio rounds 3 up to 4.
    assert_eq!(receiver.try_recv(), Ok(0));

    let bus = SharingBus::builder().queue_capacity(3).build().unwrap();
    let mut receiver = bus.subscribe_all();
    publish_numbers(&bus, 0..4);
    assert_eq!((receiver.capacity(), receiver.lagged()), (3, 1));
    assert_eq!(numbers(&drain(&mut receiver)), [0, 1, 2]);
}

#[test]
fn a_cloned_value_becomes_a_shared_payload() {
    /// A foreign type needs a type of the host around it, because `Payload` is foreign too.
    struct Size(std::num::NonZeroU8);
    impl Payload for Size {}
    /// A payload must be `Sync`, which a mutex makes of any `Send` type.
    struct Counter(Mutex<std::cell::Cell<u32>>);
    impl Payload for Counter {}

    let bus = SharingBus::new();
    let (mut left, mut right) = (bus.subscribe_all(), bus.subscribe_all());
    let one = Size(std::num::NonZeroU8::MIN);
    bus.publish(BusEvent::new(EventRouting::default(), one)).unwrap();
    let (left, right) = (left.recv().unwrap(), right.recv().unwrap());
    assert!(Arc::ptr_eq(&left.event, &right.event));
    assert_eq!(left.event.0.get(), 1);

    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let counter = Counter(Mutex::new(std::cell::Cell::new(7)));
    bus.publish(BusEvent::new(EventRouting::default(), counter)).unwrap();
    assert_eq!(receiver.recv().unwrap().event.0.lock().unwrap().get(), 7);

    // These types are payloads already.
    fn is_payload<E: Payload>() {}
    is_payload::<()>();
    is_payload::<String>();
    is_payload::<Vec<u8>>();
    is_payload::<u64>();
}

#[test]
fn a_cloned_sender_becomes_a_cloned_bus() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let clone = bus.clone();
    drop(bus);
    clone.publish(number(1)).unwrap();
    drop(clone);
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
}

#[test]
fn a_send_becomes_a_publish_that_succeeds_without_receivers() {
    let (sender, receiver) = broadcast::channel(4);
    assert_eq!(sender.send(1).unwrap(), 1, "the number of receivers");
    drop(receiver);
    assert!(matches!(sender.send(2), Err(SendError(2))));

    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    bus.publish(number(1)).unwrap();
    bus.flush();
    assert_eq!(bus.stats().unmatched, 1);
    // A send never waits. A publish waits for space in the ingress, except for `try_publish`.
    let block = Block::new(&bus, number(2));
    bus.try_publish(number(3)).unwrap();
    assert!(bus.try_publish(number(4)).unwrap_err().is_full());
    block.release();
}

#[test]
fn a_subscribe_starts_with_the_next_event() {
    let (sender, _receiver) = broadcast::channel(4);
    sender.send(1).unwrap();
    let mut receiver = sender.subscribe();
    sender.send(2).unwrap();
    assert_eq!(receiver.try_recv(), Ok(2));

    assert_eq!(numbers_after_start(&SharingBus::new()), [2]);
}

#[test]
fn a_resubscribe_becomes_a_subscribe_with_the_filter_given_again() {
    let (sender, mut receiver) = broadcast::channel(4);
    sender.send(1).unwrap();
    let mut second = receiver.resubscribe();
    sender.send(2).unwrap();
    assert_eq!((second.try_recv(), receiver.try_recv()), (Ok(2), Ok(1)));

    let bus = SharingBus::new();
    let filter = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 0);
    let mut first = bus.subscribe_filtered(filter.clone(), 8);
    publish_numbers(&bus, 0..4);
    let mut second = bus.subscribe_filtered(filter, first.capacity());
    publish_numbers(&bus, 4..8);
    assert_eq!(numbers(&drain(&mut first)), [0, 2, 4, 6]);
    assert_eq!(numbers(&drain(&mut second)), [4, 6]);
}

#[tokio::test]
async fn a_recv_becomes_a_recv_async() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish_async(number(1)).await.unwrap();
    assert_eq!(receiver.recv_async().await.unwrap().event.0, 1);
}

#[test]
fn lagged_n_becomes_the_missed_of_the_next_delivery_if_the_oldest_event_is_dropped() {
    let (sender, mut receiver) = broadcast::channel(2);
    for n in 1..=5 {
        sender.send(n).unwrap();
    }
    assert_eq!(receiver.try_recv(), Err(TryLost::Lagged(3)));
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(4), Ok(5)));

    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, Overflow::DropOldest, 2);
    publish_numbers(&bus, 1..=5);
    let seen = drain(&mut receiver);
    let seen: Vec<_> = seen
        .iter()
        .map(|delivery| (delivery.event.0, delivery.missed()))
        .collect();
    assert_eq!(seen, [(4, 3), (5, 0)]);
}

#[test]
fn lagged_n_becomes_the_missed_of_the_first_delivery_after_the_gap_under_the_default_rule() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 2);
    publish_numbers(&bus, 1..=5);
    // The queued events come first. They were not lost, so they report no loss.
    let seen: Vec<_> = drain(&mut receiver)
        .iter()
        .map(|delivery| (delivery.event.0, delivery.missed()))
        .collect();
    assert_eq!(seen, [(1, 0), (2, 0)]);
    // Until an event follows the gap, only `lagged` reports it.
    assert_eq!(receiver.lagged(), 3);
    publish_numbers(&bus, [6]);
    let next = receiver.try_recv().unwrap();
    assert_eq!((next.event.0, next.missed(), receiver.lagged()), (6, 3, 3));
}

#[test]
fn lagged_n_counts_only_matching_events() {
    let bus = SharingBus::new();
    let even = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 0);
    let mut receiver = bus
        .subscription()
        .filter(even)
        .queue_capacity(1)
        .overflow(Overflow::DropOldest)
        .subscribe();
    publish_numbers(&bus, 0..=6);
    let last = receiver.try_recv().unwrap();
    assert_eq!((last.event.0, last.missed()), (6, 3));
}

#[tokio::test]
async fn closed_becomes_a_recv_error_after_the_queued_events() {
    let (sender, mut receiver) = broadcast::channel(2);
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(receiver.recv().await, Ok(1));
    assert_eq!(receiver.recv().await, Err(Lost::Closed));

    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish_async(number(1)).await.unwrap();
    drop(bus);
    assert_eq!(receiver.recv_async().await.unwrap().event.0, 1);
    assert_eq!(receiver.recv_async().await.unwrap_err(), RecvError);
}

#[test]
fn a_try_recv_finds_an_event_only_after_its_dispatch() {
    let (sender, mut receiver) = broadcast::channel(2);
    sender.send(1).unwrap();
    assert_eq!(receiver.try_recv(), Ok(1));

    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let block = Block::new(&bus, number(0));
    bus.publish(number(1)).unwrap();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    block.release();
    bus.flush();
    assert_eq!(receiver.try_recv().unwrap().event.0, 0);
    assert_eq!(receiver.try_recv().unwrap().event.0, 1);
}

#[tokio::test]
async fn a_blocking_recv_becomes_a_recv_that_does_not_panic_in_a_task() {
    let (sender, mut receiver) = broadcast::channel(2);
    sender.send(1).unwrap();
    let refused = catch_unwind(AssertUnwindSafe(|| receiver.blocking_recv()));
    assert!(refused.is_err());

    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    // Each of these calls blocks the thread of the runtime.
    bus.publish(number(1)).unwrap();
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    bus.publish(number(2)).unwrap();
    assert_eq!(receiver.recv_timeout(DEADLINE).unwrap().event.0, 2);
    bus.flush();
    bus.shutdown();
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
}

#[tokio::test]
async fn a_broadcast_stream_becomes_the_receiver_whose_items_are_deliveries() {
    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, Overflow::DropOldest, 1);
    publish_numbers(&bus, 1..=3);
    bus.close();
    // A loss is no item.
    let only = receiver.next().await.unwrap();
    assert_eq!((only.event.0, only.missed()), (3, 2));
    assert!(receiver.next().await.is_none());
}

#[test]
fn len_and_is_empty_of_a_receiver_count_queued_events() {
    let (sender, receiver) = broadcast::channel(2);
    for n in 1..=5 {
        sender.send(n).unwrap();
    }
    assert_eq!(receiver.len(), 5, "lost values count");

    let bus = SharingBus::new();
    let receiver = bus.subscribe_filtered(EventFilter::All, 2);
    assert!(receiver.is_empty());
    publish_numbers(&bus, 1..=5);
    assert_eq!((receiver.len(), receiver.lagged()), (2, 3));
}

#[test]
fn is_closed_of_a_receiver_is_true_only_after_the_bus_has_drained() {
    let (sender, receiver) = broadcast::channel(2);
    sender.send(1).unwrap();
    drop(sender);
    assert!(receiver.is_closed());

    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let block = Block::new(&bus, number(1));
    drop(bus);
    assert!(!receiver.is_closed());
    block.release();
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
    assert!(receiver.is_closed());
}

#[test]
fn len_of_a_sender_becomes_the_statistics() {
    let bus = SharingBus::new();
    let _receivers = [bus.subscribe_filtered(EventFilter::All, 2), bus.subscribe_all()];
    publish_numbers(&bus, 1..=5);
    let stats = bus.stats();
    let queued: Vec<_> = stats.subscribers.iter().map(|subscriber| subscriber.queued).collect();
    assert_eq!((queued, stats.ingress_depth), (vec![2, 5], 0));
}

#[test]
fn receiver_count_becomes_subscriber_count() {
    let (sender, receiver) = broadcast::channel::<u64>(2);
    assert_eq!(sender.receiver_count(), 1);
    drop(receiver);
    assert_eq!(sender.receiver_count(), 0);

    let bus = SharingBus::<Number>::new();
    let receiver = bus.subscribe_all();
    let (forwarded, _kept) = crossbeam_channel::bounded(2);
    bus.subscription().forward_to(forwarded);
    assert_eq!(bus.subscriber_count(), 2, "forwarded subscriptions count");
    drop(receiver);
    assert_eq!(bus.subscriber_count(), 1);
}

#[test]
fn drop_of_the_last_sender_becomes_drop_of_the_last_handle_or_close() {
    let close = |bus: &SharingBus<Number>| assert!(bus.close());
    for close in [SharingBus::shutdown, close] {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_all();
        bus.publish(number(1)).unwrap();
        close(&bus);
        assert!(bus.publish(number(2)).unwrap_err().is_closed());
        assert_eq!(receiver.recv().unwrap().event.0, 1);
        assert_eq!(receiver.recv().unwrap_err(), RecvError);
    }
}

#[test]
fn a_weak_sender_becomes_the_weak_of_a_handle_in_an_arc() {
    let (sender, _receiver) = broadcast::channel::<u64>(2);
    let weak = sender.downgrade();
    drop(sender);
    assert!(weak.upgrade().is_none());

    let bus = Arc::new(SharingBus::<Number>::new());
    let mut receiver = bus.subscribe_all();
    let weak = Arc::downgrade(&bus);
    weak.upgrade().unwrap().publish(number(1)).unwrap();
    drop(bus);
    assert!(weak.upgrade().is_none());
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
}

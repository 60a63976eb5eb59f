//! Guarantee 7: a dropped receiver frees its slot, its queue and its filter.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, SharingBus};

#[test]
fn a_dropped_receiver_is_reaped_without_any_traffic() {
    let bus = SharingBus::<Number>::new();
    let (filter, weak) = owning_filter();
    let receiver = bus.subscribe_filtered(filter, 8);
    let event = number(1);
    let payload = Arc::downgrade(&event.event);
    bus.publish(event).unwrap();
    bus.flush();
    assert!(payload.upgrade().is_some());

    drop(receiver);
    assert_eq!(bus.subscriber_count(), 0);
    assert!(payload.upgrade().is_none(), "queued events must be freed at once");
    // No event and no flush follows, so only the drop itself can wake the dispatch thread.
    wait_until("the slot is reaped", || bus.stats().reaped == 1);
    wait_until("the filter is freed", || weak.upgrade().is_none());
    assert!(bus.stats().subscribers.is_empty());
}

#[test]
fn a_receiver_whose_filter_never_matches_is_reaped_too() {
    let bus = SharingBus::<Number>::new();
    drop(bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8));
    wait_until("the slot is reaped", || bus.stats().reaped == 1);
}

/// Regression test: receivers were subscribed and dropped while dispatch was busy, and the next batch called their
/// filters.
#[test]
fn filters_of_dropped_receivers_are_not_called() {
    let bus = SharingBus::new();
    let block = Block::new(&bus, number(1));
    let (filter, calls) = counting_filter();
    for _ in 0..100 {
        drop(bus.subscribe_filtered(filter.clone(), 1));
    }
    bus.publish(number(2)).unwrap();
    block.release();
    bus.flush();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    assert_eq!(bus.stats().delivered, 0);
}

#[test]
fn ten_thousand_drops_are_reaped_once_each() {
    let bus = SharingBus::<Number>::new();
    let receivers: Vec<_> = (0..10_000)
        .map(|_| bus.subscription().queue_capacity(1).subscribe())
        .collect();
    assert_eq!(bus.subscriber_count(), 10_000);
    drop(receivers);
    assert_eq!(bus.subscriber_count(), 0);
    bus.flush();
    let stats = bus.stats();
    assert_eq!((stats.reaped, stats.subscribers.len()), (10_000, 0));
}

#[test]
fn flush_leaves_no_dead_slot() {
    let bus = SharingBus::<Number>::new();
    for round in 1..=200 {
        let (filter, weak) = owning_filter();
        drop(bus.subscribe_filtered(filter, 1));
        bus.flush();
        assert_eq!(bus.stats().reaped, round);
        assert!(weak.upgrade().is_none());
    }
}

#[test]
fn reaping_never_removes_a_concurrent_subscription() {
    let bus = SharingBus::<Number>::new();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                drop(bus.subscription().queue_capacity(1).subscribe());
            }
        });
        let mut kept = Vec::new();
        for _ in 0..500 {
            kept.push(bus.subscription().queue_capacity(1).subscribe());
        }
        stop.store(true, Ordering::Relaxed);
        bus.publish(number(1)).unwrap();
        bus.flush();
        for receiver in &mut kept {
            assert_eq!(receiver.try_recv().unwrap().event.0, 1);
        }
    });
}

#[test]
fn unsubscribing_is_idempotent_and_keeps_queued_events_readable() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    bus.flush();
    assert!(bus.unsubscribe(receiver.id()));
    assert!(!bus.unsubscribe(receiver.id()));
    assert_eq!(bus.subscriber_count(), 0);
    assert!(receiver.is_closed());
    bus.publish(number(2)).unwrap();
    bus.flush();
    assert_eq!(receiver.try_recv().unwrap().event.0, 1);
    assert_closed(&mut receiver);
    assert_closed(&mut receiver);
    assert!(!receiver.close());
    drop(receiver);
    bus.flush();
    assert_eq!(
        bus.stats().reaped,
        0,
        "an unsubscribed receiver must not count as reaped"
    );
    assert_eq!(bus.stats().unmatched, 1);
}

#[test]
fn an_old_id_does_not_unsubscribe_a_newer_subscriber() {
    let bus = SharingBus::<Number>::new();
    let old = bus.subscribe_all().id();
    bus.flush();
    let receiver = bus.subscribe_all();
    assert_ne!(old, receiver.id());
    assert!(!bus.unsubscribe(old));
    assert_eq!(bus.subscriber_count(), 1);
}

#[test]
fn a_receiver_may_close_itself_and_drain() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    bus.flush();
    assert!(receiver.close());
    assert!(!receiver.close());
    assert_eq!(bus.subscriber_count(), 0);
    wait_until("the slot is reaped", || bus.stats().reaped == 1);
    assert_eq!(receiver.try_recv().unwrap().event.0, 1);
    assert_closed(&mut receiver);
}

#[test]
fn replacing_a_filter_drops_the_old_one_without_traffic() {
    let bus = SharingBus::<Number>::new();
    let (filter, weak) = owning_filter();
    let receiver = bus.subscribe_filtered(filter, 8);
    // After the flush, the routing table holds the old filter, and only the dispatch thread can drop it.
    bus.flush();
    receiver.set_filter(EventFilter::All);
    wait_until("the old filter is freed", || weak.upgrade().is_none());
    assert_eq!(bus.stats().subscribers[0].filter, "*");
}

#[test]
fn set_filter_applies_to_every_event_published_after_it() {
    let bus = SharingBus::new();
    let kinds = [EventKind::Output, EventKind::Error];
    let mut receiver = bus.subscribe_filtered(EventFilter::Kind(kinds[0]), 64);
    for round in 0..20 {
        let expected = kinds[round % 2];
        receiver.set_filter(EventFilter::Kind(expected));
        for kind in kinds {
            let routing = EventRouting {
                kind,
                ..EventRouting::default()
            };
            bus.publish(BusEvent::new(routing, Number(round as u64))).unwrap();
        }
        let delivery = receiver.recv_timeout(DEADLINE).unwrap();
        assert_eq!((delivery.event.0, delivery.routing.kind), (round as u64, expected));
        bus.flush();
        assert_empty(&mut receiver);
    }
    bus.unsubscribe(receiver.id());
    receiver.set_filter(EventFilter::All);
    assert_eq!(bus.subscriber_count(), 0);
}

#[test]
fn a_subscription_that_dispatch_never_saw_is_freed_too() {
    let bus = SharingBus::<Number>::new();
    let block = Block::new(&bus, number(0));
    let (filter, weak) = owning_filter();
    // Dispatch is blocked during the whole lifetime of this subscription.
    drop(bus.subscribe_filtered(filter, 8));
    block.release();
    wait_until("the filter is freed", || weak.upgrade().is_none());
}

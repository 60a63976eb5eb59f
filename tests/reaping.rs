//! Promise 7: what a receiver leaves behind when it goes: nothing.

mod common;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, SharingBus};

/// A filter that owns something, and a look at whether that is still there.
fn owning_filter() -> (EventFilter<Number>, Weak<()>) {
    let owned = Arc::new(());
    let weak = Arc::downgrade(&owned);
    let filter = EventFilter::custom(move |_| {
        let _ = &owned;
        true
    });
    (filter, weak)
}

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
    assert!(payload.upgrade().is_none(), "what was queued is freed at once");
    // No event, no flush: the dispatch thread sleeps unless the drop wakes it.
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

/// While the dispatch thread was busy, a crowd came and went; then every event of the batch was held against its filters.
#[test]
fn who_has_come_and_gone_costs_the_others_nothing() {
    let bus = SharingBus::new();
    let block = Block::new(&bus, number(1));
    let asked = Arc::new(AtomicU64::new(0));
    for _ in 0..100 {
        let asked = Arc::clone(&asked);
        drop(bus.subscribe_filtered(
            EventFilter::custom(move |_| {
                asked.fetch_add(1, Ordering::Relaxed);
                true
            }),
            1,
        ));
    }
    bus.publish(number(2)).unwrap();
    block.release();
    bus.flush();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
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
fn reaping_never_costs_a_concurrent_subscribe() {
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
fn unsubscribing_is_idempotent_and_leaves_what_is_queued_readable() {
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
    assert_eq!(bus.stats().reaped, 0, "it was not found dead");
    assert_eq!(bus.stats().unmatched, 1);
}

#[test]
fn an_id_of_another_time_unsubscribes_nobody() {
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
fn a_new_filter_lets_go_of_the_old_one_without_traffic() {
    let bus = SharingBus::<Number>::new();
    let (filter, weak) = owning_filter();
    let receiver = bus.subscribe_filtered(filter, 8);
    receiver.set_filter(EventFilter::All);
    wait_until("the old filter is freed", || weak.upgrade().is_none());
    assert_eq!(bus.stats().subscribers[0].filter, "*");
}

#[test]
fn set_filter_counts_for_what_is_published_after_it() {
    let bus = SharingBus::new();
    let kinds = [EventKind::Output, EventKind::Error];
    let mut receiver = bus.subscribe_filtered(EventFilter::Kind(kinds[0]), 64);
    for round in 0..20 {
        let wanted = kinds[round % 2];
        receiver.set_filter(EventFilter::Kind(wanted));
        for kind in kinds {
            let routing = EventRouting {
                kind,
                ..EventRouting::default()
            };
            bus.publish(BusEvent::new(routing, Number(round as u64))).unwrap();
        }
        let delivery = receiver.recv_timeout(DEADLINE).unwrap();
        assert_eq!((delivery.event.0, delivery.routing.kind), (round as u64, wanted));
        bus.flush();
        assert_empty(&mut receiver);
    }
    bus.unsubscribe(receiver.id());
    receiver.set_filter(EventFilter::All);
    assert_eq!(bus.subscriber_count(), 0);
}

#[test]
fn a_subscription_that_was_never_dispatched_to_is_freed_as_well() {
    let bus = SharingBus::<Number>::new();
    let block = Block::new(&bus, number(0));
    let (filter, weak) = owning_filter();
    // Comes and goes while the dispatch thread looks elsewhere.
    drop(bus.subscribe_filtered(filter, 8));
    block.release();
    wait_until("the filter is freed", || weak.upgrade().is_none());
}

//! Guarantee 2: exact counts of lost events, with each overflow rule.

mod common;

use std::sync::Arc;
use std::thread;

use common::*;
use sharing_bus::{BusEvent, BusReceiver, Delivery, EventFilter, Overflow, SharingBus};

/// Returns the number and `missed` of each queued delivery.
fn seen(receiver: &mut BusReceiver<Number>) -> Vec<(u64, u64)> {
    let deliveries = drain(receiver);
    let seen = deliveries.iter().map(|delivery| (delivery.event.0, delivery.missed()));
    seen.collect()
}

#[test]
fn drop_newest_keeps_queued_events_and_reports_the_gap_after_them() {
    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, Overflow::DropNewest, 2);
    publish_numbers(&bus, 0..5);
    assert_eq!((receiver.len(), receiver.lagged()), (2, 3));
    assert_eq!(seen(&mut receiver), [(0, 0), (1, 0)]);
    // No delivery has reported the three lost events yet.
    assert_eq!(receiver.lagged(), 3);
    publish_numbers(&bus, 5..6);
    assert_eq!(seen(&mut receiver), [(5, 3)]);
    publish_numbers(&bus, 6..9);
    assert_eq!(seen(&mut receiver), [(6, 0), (7, 0)]);
    publish_numbers(&bus, 9..10);
    assert_eq!(seen(&mut receiver), [(9, 1)]);
    assert_eq!(receiver.lagged(), 4);
}

#[test]
fn drop_oldest_keeps_new_events_and_reports_the_gap_before_them() {
    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, Overflow::DropOldest, 2);
    publish_numbers(&bus, 0..5);
    assert_eq!((receiver.len(), receiver.lagged()), (2, 3));
    assert_eq!(seen(&mut receiver), [(3, 3), (4, 0)]);
    publish_numbers(&bus, 5..6);
    assert_eq!(seen(&mut receiver), [(5, 0)]);
    assert_eq!(receiver.lagged(), 3);
}

#[test]
fn disconnect_ends_the_subscription_after_the_queued_events() {
    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, Overflow::Disconnect, 2);
    let mut other = subscribe_with(&bus, Overflow::DropNewest, 8);
    publish_numbers(&bus, 0..5);
    assert!(receiver.is_closed());
    assert_eq!(bus.subscriber_count(), 1);
    assert_eq!(bus.stats().reaped, 1);
    assert_eq!(seen(&mut receiver), [(0, 0), (1, 0)]);
    assert_closed(&mut receiver);
    // Three events matched: two were delivered and one was lost. Events after the end do not count.
    assert_eq!(receiver.lagged(), 1);
    assert_eq!(seen(&mut other).len(), 5);
    assert!(!bus.unsubscribe(receiver.id()));
}

#[test]
fn a_queue_of_one_works_with_each_overflow_rule() {
    let bus = SharingBus::new();
    let mut newest = subscribe_with(&bus, Overflow::DropNewest, 1);
    let mut oldest = subscribe_with(&bus, Overflow::DropOldest, 1);
    let mut disconnect = subscribe_with(&bus, Overflow::Disconnect, 1);
    publish_numbers(&bus, 0..3);
    assert_eq!(seen(&mut newest), [(0, 0)]);
    assert_eq!(seen(&mut oldest), [(2, 2)]);
    assert_eq!(seen(&mut disconnect), [(0, 0)]);
    assert_closed(&mut disconnect);
}

#[test]
fn only_matching_events_count_as_lost() {
    let bus = SharingBus::new();
    let tens = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 10 == 0);
    let mut receiver = bus.subscribe_filtered(tens, 1);
    publish_numbers(&bus, 0..35);
    assert_eq!(receiver.lagged(), 3);
    assert_eq!(seen(&mut receiver), [(0, 0)]);
    publish_numbers(&bus, 35..41);
    assert_eq!(seen(&mut receiver), [(40, 3)]);
}

#[test]
fn a_lagging_subscriber_does_not_affect_others() {
    let bus = SharingBus::new();
    let slow = subscribe_with(&bus, Overflow::DropNewest, 1);
    let mut fast = subscribe_with(&bus, Overflow::DropNewest, 1000);
    publish_numbers(&bus, 0..1000);
    assert_eq!(slow.lagged(), 999);
    assert_eq!(fast.lagged(), 0);
    let expected: Vec<_> = (0..1000).map(|n| (n, 0)).collect();
    assert_eq!(seen(&mut fast), expected);
    let stats = bus.stats();
    assert_eq!((stats.delivered, stats.lagged), (1001, 999));
}

/// A receiver takes events while the dispatch thread pushes. Each event is received or missed exactly once.
fn assert_exact_counts_while_receiving(overflow: Overflow) {
    const EVENTS: u64 = 20_000;
    let bus = SharingBus::<Number>::new();
    let mut receiver = subscribe_with(&bus, overflow, 4);
    let taking = thread::spawn(move || {
        let (mut last, mut received, mut missed) = (None, 0, 0);
        for delivery in receiver.iter() {
            // Every event matches, so the events between two received numbers are exactly the missed ones.
            let expected = last.map_or(delivery.event.0, |last| delivery.event.0 - last - 1);
            assert_eq!(delivery.missed(), expected);
            last = Some(delivery.event.0);
            received += 1;
            missed += delivery.missed();
        }
        (last.unwrap(), received, missed, receiver)
    });
    for n in 0..EVENTS {
        bus.publish(number(n)).unwrap();
    }
    bus.shutdown();
    let (last, received, missed, receiver) = taking.join().unwrap();
    let tail = EVENTS - 1 - last;
    assert_eq!(receiver.lagged(), missed + tail);
    assert_eq!(received + receiver.lagged(), EVENTS);
    if overflow == Overflow::DropOldest {
        assert_eq!(tail, 0, "the newest event must not be dropped");
    }
    let stats = bus.stats();
    assert_eq!((stats.delivered, stats.lagged), (received, receiver.lagged()));
}

#[test]
fn drop_newest_counts_exactly_while_receiving() {
    assert_exact_counts_while_receiving(Overflow::DropNewest);
}

#[test]
fn drop_oldest_counts_exactly_while_receiving() {
    assert_exact_counts_while_receiving(Overflow::DropOldest);
}

#[test]
fn disconnect_counts_exactly_while_receiving() {
    const EVENTS: u64 = 5_000;
    for _ in 0..20 {
        let bus = SharingBus::<Number>::new();
        let mut receiver = subscribe_with(&bus, Overflow::Disconnect, 2);
        let taking = thread::spawn(move || {
            let received: Vec<u64> = receiver.iter().map(|delivery| delivery.event.0).collect();
            (received, receiver.lagged())
        });
        for n in 0..EVENTS {
            bus.publish(number(n)).unwrap();
        }
        bus.shutdown();
        let (received, lagged) = taking.join().unwrap();
        assert!(
            received.iter().copied().eq(0..received.len() as u64),
            "the received events must have no gap"
        );
        let expected = u64::from((received.len() as u64) < EVENTS);
        assert_eq!(lagged, expected, "only the event that did not fit must be lost");
    }
}

#[test]
fn statistics_of_a_subscriber_add_up() {
    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, Overflow::DropOldest, 4);
    publish_numbers(&bus, 0..10);
    drop(receiver.recv());
    let stats = bus.stats();
    let entry = &stats.subscribers[0];
    assert_eq!((entry.delivered, entry.lagged, entry.queued), (4, 6, 3));
    assert_eq!(entry.delivered + entry.lagged, 10);
}

/// Checks that each clone equals its original. Returns the number of events that the deliveries report as missed, and
/// the number that they report as merged.
fn assert_clones_are_equal(deliveries: &[Delivery<Number>]) -> (u64, u64) {
    for delivery in deliveries {
        let clone = delivery.clone();
        assert!(Arc::ptr_eq(&clone.event, &delivery.event));
        assert_eq!(
            (clone.sequence(), clone.missed(), clone.merged(), clone.is_backlog()),
            (
                delivery.sequence(),
                delivery.missed(),
                delivery.merged(),
                delivery.is_backlog()
            )
        );
    }
    let missed = deliveries.iter().map(Delivery::missed).sum();
    (missed, deliveries.iter().map(Delivery::merged).sum())
}

#[test]
fn a_clone_of_a_delivery_equals_the_original() {
    let bus = SharingBus::builder().history(4).build().unwrap();
    let mut complete = subscribe_with(&bus, Overflow::DropNewest, 20);
    let mut lagging = subscribe_with(&bus, Overflow::DropOldest, 10);
    let mut conflating = subscribe_with(&bus, Overflow::Conflate, 1);
    // The events that are published during the block form one batch, so they are delivered as a bundle.
    let block = Block::new(&bus, number(0));
    (1..20).for_each(|n| bus.publish(number(n)).unwrap());
    block.release();
    bus.flush();
    let complete = drain(&mut complete);
    assert_eq!(numbers(&complete), (0..20).collect::<Vec<_>>());
    assert_eq!(assert_clones_are_equal(&complete), (0, 0));
    assert_eq!(assert_clones_are_equal(&drain(&mut lagging)), (10, 0));

    assert_eq!(drain_full(&mut conflating).len(), 1);
    bus.flush();
    assert_eq!(assert_clones_are_equal(&drain(&mut conflating)), (0, 18));

    let mut late = bus.subscription().backlog(4).subscribe();
    bus.flush();
    let backlog = drain(&mut late);
    assert!(backlog.len() == 4 && backlog.iter().all(Delivery::is_backlog));
    assert_clones_are_equal(&backlog);
}

//! Promise 2: exact loss, by every overflow rule.

mod common;

use std::thread;

use common::*;
use sharing_bus::{BusReceiver, EventFilter, Overflow, SharingBus};

fn subscribe(bus: &SharingBus<Number>, overflow: Overflow, capacity: usize) -> BusReceiver<Number> {
    bus.subscription()
        .overflow(overflow)
        .queue_capacity(capacity)
        .subscribe()
}

fn publish(bus: &SharingBus<Number>, numbers: std::ops::Range<u64>) {
    for n in numbers {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
}

/// Number and missed of each delivery that is queued.
fn seen(receiver: &mut BusReceiver<Number>) -> Vec<(u64, u64)> {
    drain(receiver).iter().map(|d| (d.event.0, d.missed())).collect()
}

#[test]
fn drop_newest_keeps_what_is_queued_and_reports_the_gap_behind_it() {
    let bus = SharingBus::new();
    let mut receiver = subscribe(&bus, Overflow::DropNewest, 2);
    publish(&bus, 0..5);
    assert_eq!((receiver.len(), receiver.lagged()), (2, 3));
    assert_eq!(seen(&mut receiver), [(0, 0), (1, 0)]);
    // The tail of three is not reported by a delivery yet.
    assert_eq!(receiver.lagged(), 3);
    publish(&bus, 5..6);
    assert_eq!(seen(&mut receiver), [(5, 3)]);
    publish(&bus, 6..9);
    assert_eq!(seen(&mut receiver), [(6, 0), (7, 0)]);
    publish(&bus, 9..10);
    assert_eq!(seen(&mut receiver), [(9, 1)]);
    assert_eq!(receiver.lagged(), 4);
}

#[test]
fn drop_oldest_keeps_the_present_and_reports_the_gap_before_it() {
    let bus = SharingBus::new();
    let mut receiver = subscribe(&bus, Overflow::DropOldest, 2);
    publish(&bus, 0..5);
    assert_eq!((receiver.len(), receiver.lagged()), (2, 3));
    assert_eq!(seen(&mut receiver), [(3, 3), (4, 0)]);
    publish(&bus, 5..6);
    assert_eq!(seen(&mut receiver), [(5, 0)]);
    assert_eq!(receiver.lagged(), 3);
}

#[test]
fn disconnect_ends_the_subscription_after_what_is_queued() {
    let bus = SharingBus::new();
    let mut receiver = subscribe(&bus, Overflow::Disconnect, 2);
    let mut other = subscribe(&bus, Overflow::DropNewest, 8);
    publish(&bus, 0..5);
    assert!(receiver.is_closed());
    assert_eq!(bus.subscriber_count(), 1);
    assert_eq!(bus.stats().reaped, 1);
    assert_eq!(seen(&mut receiver), [(0, 0), (1, 0)]);
    assert_closed(&mut receiver);
    // It matched three: two delivered, one lost; what came after the end is not its any more.
    assert_eq!(receiver.lagged(), 1);
    assert_eq!(seen(&mut other).len(), 5);
    assert!(!bus.unsubscribe(receiver.id()));
}

#[test]
fn a_queue_of_one_works_by_every_rule() {
    let bus = SharingBus::new();
    let mut newest = subscribe(&bus, Overflow::DropNewest, 1);
    let mut oldest = subscribe(&bus, Overflow::DropOldest, 1);
    let mut disconnect = subscribe(&bus, Overflow::Disconnect, 1);
    publish(&bus, 0..3);
    assert_eq!(seen(&mut newest), [(0, 0)]);
    assert_eq!(seen(&mut oldest), [(2, 2)]);
    assert_eq!(seen(&mut disconnect), [(0, 0)]);
    assert_closed(&mut disconnect);
}

#[test]
fn loss_is_counted_after_the_filter() {
    let bus = SharingBus::new();
    let tens = EventFilter::custom(|event: &sharing_bus::BusEvent<Number>| event.event.0 % 10 == 0);
    let mut receiver = bus.subscribe_filtered(tens, 1);
    publish(&bus, 0..35);
    assert_eq!(receiver.lagged(), 3);
    assert_eq!(seen(&mut receiver), [(0, 0)]);
    publish(&bus, 35..41);
    assert_eq!(seen(&mut receiver), [(40, 3)]);
}

#[test]
fn a_lagging_subscriber_costs_the_others_nothing() {
    let bus = SharingBus::new();
    let slow = subscribe(&bus, Overflow::DropNewest, 1);
    let mut quick = subscribe(&bus, Overflow::DropNewest, 1000);
    publish(&bus, 0..1000);
    assert_eq!(slow.lagged(), 999);
    assert_eq!(quick.lagged(), 0);
    let expected: Vec<_> = (0..1000).map(|n| (n, 0)).collect();
    assert_eq!(seen(&mut quick), expected);
    let stats = bus.stats();
    assert_eq!((stats.delivered, stats.lagged), (1001, 999));
}

/// A receiver that takes while the dispatch thread pushes: every event is received once or missed once.
fn account_under_concurrency(overflow: Overflow) {
    const EVENTS: u64 = 20_000;
    let bus = SharingBus::new();
    let mut receiver = subscribe(&bus, overflow, 4);
    let taking = thread::spawn(move || {
        let (mut last, mut received, mut missed) = (None, 0, 0);
        for delivery in receiver.iter() {
            // Everything matches, so the missed ones are exactly those between two numbers.
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
        assert_eq!(tail, 0, "the newest is never dropped");
    }
    let stats = bus.stats();
    assert_eq!((stats.delivered, stats.lagged), (received, receiver.lagged()));
}

#[test]
fn drop_newest_accounts_exactly_while_receiving() {
    account_under_concurrency(Overflow::DropNewest);
}

#[test]
fn drop_oldest_accounts_exactly_while_receiving() {
    account_under_concurrency(Overflow::DropOldest);
}

#[test]
fn disconnect_accounts_exactly_while_receiving() {
    const EVENTS: u64 = 5_000;
    for _ in 0..20 {
        let bus = SharingBus::new();
        let mut receiver = subscribe(&bus, Overflow::Disconnect, 2);
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
            "no gap before the end"
        );
        let expected = u64::from((received.len() as u64) < EVENTS);
        assert_eq!(lagged, expected, "the one event that did not fit");
    }
}

#[test]
fn statistics_of_a_subscriber_add_up() {
    let bus = SharingBus::new();
    let mut receiver = subscribe(&bus, Overflow::DropOldest, 4);
    publish(&bus, 0..10);
    drop(receiver.recv());
    let stats = bus.stats();
    let own = &stats.subscribers[0];
    assert_eq!((own.delivered, own.lagged, own.queued), (4, 6, 3));
    assert_eq!(own.delivered + own.lagged, 10);
}

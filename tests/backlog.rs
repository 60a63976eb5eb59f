//! Backlogs that the dispatch thread delivers in slices, because they are long or expensive to search.
//!
//! `history.rs` tests short backlogs. Here, each history has more events than several slices examine.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use common::*;
use crossbeam_channel::bounded;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventKind, EventRouting, Overflow, SharingBus};

/// Number of events in the history, which is many slices.
const KEPT: u64 = 10_000;

/// Builds a bus whose history holds the numbers from 1 to [`KEPT`].
fn full_bus(assisted: bool) -> SharingBus<Number> {
    let builder = SharingBus::builder()
        .assisted_dispatch(assisted)
        .history(2 * KEPT as usize);
    let bus = builder.ingress_capacity(4096).build().unwrap();
    publish_numbers(&bus, 1..=KEPT);
    bus
}

fn error(n: u64) -> BusEvent<Number> {
    let routing = EventRouting {
        kind: EventKind::Error,
        ..EventRouting::default()
    };
    BusEvent::new(routing, Number(n))
}

/// Returns a filter that never matches and counts its calls.
fn never() -> (EventFilter<Number>, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let filter = EventFilter::custom(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    });
    (filter, calls)
}

/// The filter of the late joiner publishes an event when it is first called. That event is dispatched long before the
/// search ends.
#[test]
fn a_long_search_does_not_delay_other_subscribers() {
    for assisted in [false, true] {
        let bus = full_bus(assisted);
        let calls = Arc::new(AtomicU64::new(0));
        let at_dispatch = Arc::new(AtomicU64::new(0));
        let (counted, other_bus) = (Arc::clone(&calls), bus.clone());
        let expensive = EventFilter::custom(move |_| {
            if counted.fetch_add(1, Ordering::Relaxed) == 0 {
                other_bus.publish(error(0)).unwrap();
            }
            false
        });
        let (read, written) = (Arc::clone(&calls), Arc::clone(&at_dispatch));
        let other_filter = EventFilter::custom(move |event: &BusEvent<Number>| {
            written.store(read.load(Ordering::Relaxed), Ordering::Relaxed);
            event.routing.kind == EventKind::Error
        });
        let mut other = bus.subscribe_filtered(other_filter, 8);
        bus.flush();
        let _late = bus.subscription().filter(expensive).backlog(1).subscribe();
        assert!(other.recv_timeout(DEADLINE).is_ok());
        let examined = at_dispatch.load(Ordering::Relaxed);
        assert!(
            (1..KEPT / 4).contains(&examined),
            "{examined} of {KEPT} events were examined first"
        );
        bus.close();
    }
}

/// A search stops at the requested number of events, in the second tier of the history, too.
#[test]
fn a_search_examines_no_more_events_than_necessary() {
    let builder = SharingBus::<Number>::builder().history(2).history_per_scroll(3);
    let bus = builder.ingress_capacity(4096).build().unwrap();
    publish_all(&bus, (0..6_000).map(|n| scroll_event(n, u128::from(n % 1_000))));
    for backlog in [1, 2, 5] {
        let (filter, calls) = counting_filter();
        let mut late = bus.subscription().filter(filter).backlog(backlog).subscribe();
        bus.flush();
        assert_eq!(calls.load(Ordering::Relaxed), backlog as u64);
        let expected: Vec<_> = (6_000 - backlog as u64..6_000).collect();
        assert_eq!(numbers(&drain(&mut late)), expected);
    }
}

/// A flush returns after the backlogs of the subscribers before it are complete.
#[test]
fn a_flush_waits_for_the_backlog() {
    for assisted in [false, true] {
        let bus = full_bus(assisted);
        let (filter, calls) = never();
        let _late = bus.subscription().filter(filter).backlog(1).subscribe();
        let mut all = bus
            .subscription()
            .queue_capacity(KEPT as usize)
            .backlog(KEPT as usize)
            .subscribe();
        bus.flush();
        assert_eq!(calls.load(Ordering::Relaxed), KEPT);
        assert_eq!(
            seen(&mut all),
            (1..=KEPT).map(|sequence| (sequence, true)).collect::<Vec<_>>()
        );
    }
}

/// A backlog arrives without a flush and without an event after the subscription.
#[test]
fn a_long_backlog_arrives_without_traffic() {
    for assisted in [false, true] {
        let bus = full_bus(assisted);
        let mut late = bus
            .subscription()
            .queue_capacity(KEPT as usize)
            .backlog(KEPT as usize)
            .subscribe();
        for sequence in 1..=KEPT {
            let delivery = late.recv_timeout(DEADLINE).unwrap();
            assert_eq!((delivery.sequence(), delivery.is_backlog()), (sequence, true));
        }
    }
}

/// Sets a flag when it is dropped, also in a panic.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Late joiners and live events, while other threads publish: no gap, no duplicate, the backlog first.
#[test]
fn a_long_backlog_and_live_events_meet_without_a_gap() {
    for assisted in [false, true] {
        let bus = full_bus(assisted);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let _done = SetOnDrop(&done);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        bus.publish(number(0)).unwrap();
                    }
                });
            }
            for round in 0..20 {
                let (filter, _) = counting_filter();
                let filter = if round % 2 == 0 { filter } else { EventFilter::All };
                let builder = bus.subscription().filter(filter).queue_capacity(1 << 16);
                let mut late = builder.backlog(1 << 16).subscribe();
                bus.flush();
                // The publishers may overflow the queue, which is a loss behind the events that are checked.
                let deliveries: Vec<_> = late.try_iter().take_while(|delivery| delivery.missed() == 0).collect();
                assert!(deliveries.len() as u64 >= KEPT);
                assert!(deliveries.is_sorted_by_key(|delivery| !delivery.is_backlog()));
                let mut sequences = deliveries.iter().map(|delivery| delivery.sequence());
                let first = sequences.next().unwrap();
                assert!(
                    sequences
                        .zip(first + 1..)
                        .all(|(sequence, expected)| sequence == expected)
                );
            }
        });
    }
}

/// Returns a filter that matches every event, and that calls a function at its call of this number.
fn calling(number: u64, call: impl Fn() + Send + Sync + 'static) -> EventFilter<Number> {
    let calls = AtomicU64::new(0);
    EventFilter::custom(move |_| {
        if calls.fetch_add(1, Ordering::Relaxed) == number {
            call();
        }
        true
    })
}

/// Events that are published during the search arrive live, each once, and count as matched once.
#[test]
fn events_published_during_the_search_are_live() {
    let bus = full_bus(false);
    let other = bus.clone();
    let publish = move || (1..=3_000).for_each(|n| other.publish(number(KEPT + n)).unwrap());
    let filter = calling(1_000, publish);
    let unmatched = bus.stats().unmatched;
    let subscription = bus.subscription().filter(filter).queue_capacity(2 * KEPT as usize);
    let mut late = subscription.backlog(KEPT as usize).subscribe();
    bus.flush();
    bus.flush();
    let expected: Vec<_> = (1..=KEPT + 3_000)
        .map(|sequence| (sequence, sequence <= KEPT))
        .collect();
    assert_eq!(seen(&mut late), expected);
    let stats = bus.stats();
    assert_eq!(
        (stats.unmatched, stats.delivered, stats.lagged),
        (unmatched, KEPT + 3_000, 0)
    );
}

/// Events that no subscriber matches are counted as unmatched, even if they were dispatched during a search.
#[test]
fn events_that_nothing_matches_during_a_search_are_unmatched() {
    let bus = full_bus(false);
    let before = bus.stats().unmatched;
    let (filter, calls) = never();
    let other = bus.clone();
    let publishing = EventFilter::custom(move |event: &BusEvent<Number>| {
        if calls.load(Ordering::Relaxed) == 1_000 {
            other.publish(number(0)).unwrap();
        }
        filter.matches(event)
    });
    let _searching = bus.subscription().filter(publishing).backlog(1).subscribe();
    bus.flush();
    bus.flush();
    assert_eq!(bus.stats().unmatched, before + 1);
}

/// A filter that is replaced during the search applies to all later events.
#[test]
fn a_filter_can_be_replaced_during_the_search() {
    let bus = full_bus(false);
    let (entered, entry) = bounded::<()>(1);
    let (go, wait) = bounded::<()>(1);
    let blocking = calling(1_000, move || {
        entered.send(()).unwrap();
        let _ = wait.recv_timeout(DEADLINE);
    });
    let mut late = bus
        .subscription()
        .filter(blocking)
        .queue_capacity(2 * KEPT as usize)
        .backlog(KEPT as usize)
        .subscribe();
    entry.recv_timeout(DEADLINE).unwrap();
    late.set_filter(EventFilter::Kind(EventKind::Error));
    bus.publish(number(0)).unwrap();
    bus.publish(error(1)).unwrap();
    go.send(()).unwrap();
    bus.flush();
    let deliveries = drain(&mut late);
    assert!(deliveries.iter().rev().skip(1).all(|delivery| delivery.is_backlog()));
    let last = deliveries.last().unwrap();
    assert_eq!((last.sequence(), last.is_backlog()), (KEPT + 2, false));
    bus.publish(number(2)).unwrap();
    bus.publish(error(3)).unwrap();
    bus.flush();
    assert_eq!(seen(&mut late), [(KEPT + 4, false)]);
}

/// The end of a subscription ends its search. The filter is not called again, and is dropped.
#[test]
fn the_search_ends_with_the_subscription() {
    for end in [
        |bus: &SharingBus<Number>, late: BusReceiver<Number>| assert!(bus.unsubscribe(late.id())),
        |_: &SharingBus<Number>, mut late: BusReceiver<Number>| assert!(late.close()),
        |_: &SharingBus<Number>, late: BusReceiver<Number>| drop(late),
    ] {
        let bus = full_bus(false);
        let (entered, entry) = bounded::<()>(1);
        let (go, wait) = bounded::<()>(1);
        let (counting, calls) = never();
        let blocking = calling(1_000, move || {
            entered.send(()).unwrap();
            let _ = wait.recv_timeout(DEADLINE);
        });
        let (owning, weak) = owning_filter();
        let filter = EventFilter::all([blocking, owning, counting]);
        let late = bus.subscription().filter(filter).backlog(KEPT as usize).subscribe();
        entry.recv_timeout(DEADLINE).unwrap();
        end(&bus, late);
        // This subscriber takes the place of the other in the routing table.
        let mut next = bus.subscribe_all();
        bus.publish(number(0)).unwrap();
        go.send(()).unwrap();
        wait_until("the filter is dropped", || weak.strong_count() == 0);
        assert!(calls.load(Ordering::Relaxed) < KEPT / 4);
        bus.flush();
        assert_eq!(seen(&mut next), [(KEPT + 1, false)]);
    }
}

/// A closed bus completes the backlogs and delivers all accepted events.
#[test]
fn closing_completes_the_backlog() {
    for assisted in [false, true] {
        let bus = full_bus(assisted);
        let mut late = bus
            .subscription()
            .queue_capacity(2 * KEPT as usize)
            .backlog(KEPT as usize)
            .subscribe();
        bus.publish(number(0)).unwrap();
        bus.shutdown();
        assert_eq!(drain(&mut late).len() as u64, KEPT + 1);
        assert_closed(&mut late);
    }
}

/// The overflow rules apply to a backlog and to the events that follow it.
#[test]
fn a_long_backlog_counts_its_losses() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Conflate] {
        let bus = full_bus(false);
        let other = bus.clone();
        let publish = move || (1..=3_000).for_each(|n| other.publish(number(KEPT + n)).unwrap());
        let filter = calling(1_000, publish);
        let subscription = bus
            .subscription()
            .filter(filter)
            .overflow(overflow)
            .queue_capacity(2_000);
        let mut late = subscription.backlog(2_000).subscribe();
        bus.flush();
        bus.flush();
        let subscriber = bus.stats().subscribers.remove(0);
        let waiting = subscriber.pending;
        assert_eq!(
            subscriber.delivered + subscriber.lagged + subscriber.merged + waiting,
            5_000
        );
        let mut deliveries = drain(&mut late);
        bus.flush();
        deliveries.extend(drain(&mut late));
        let accounted = deliveries
            .iter()
            .map(|delivery| delivery.missed() + delivery.merged() + 1);
        let sum = accounted.sum::<u64>();
        assert!(sum <= 5_000 && deliveries.is_sorted_by_key(|delivery| delivery.sequence()));
        if overflow != Overflow::DropNewest {
            assert_eq!((sum, deliveries.last().unwrap().sequence()), (5_000, KEPT + 3_000));
        }
    }
}

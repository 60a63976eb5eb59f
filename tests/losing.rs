//! Controlled loss: the reserve for essential events, and conflation while a queue is full.

mod common;

use std::collections::VecDeque;
use std::thread;

use common::*;
use proptest::prelude::*;
use sharing_bus::{BusEvent, BusReceiver, Delivery, EventFilter, EventKind, EventRouting, Overflow, SharingBus};

const ESSENTIAL: EventKind = EventKind::SessionLifecycle;

fn event(n: u64, scroll_number: u8, essential: bool) -> BusEvent<Number> {
    let routing = EventRouting {
        scroll_id: Some(scroll(scroll_number.into())),
        kind: if essential { ESSENTIAL } else { EventKind::Output },
        ..EventRouting::default()
    };
    BusEvent::new(routing, Number(n))
}

fn essentials() -> EventFilter<Number> {
    EventFilter::Kind(ESSENTIAL)
}

/// Merges two events. The merged event carries the sum of their numbers.
fn sum(pending: &BusEvent<Number>, newer: BusEvent<Number>) -> Option<BusEvent<Number>> {
    let total = Number(pending.event.0 + newer.event.0);
    Some(BusEvent::new(newer.routing, total))
}

/// Returns the number, `missed` and `merged` of each queued delivery.
fn seen(receiver: &mut BusReceiver<Number>) -> Vec<(u64, u64, u64)> {
    drain_full(receiver).iter().map(counts).collect()
}

fn counts(delivery: &Delivery<Number>) -> (u64, u64, u64) {
    (delivery.event.0, delivery.missed(), delivery.merged())
}

fn deltas(numbers: std::ops::Range<u64>) -> impl Iterator<Item = BusEvent<Number>> {
    numbers.map(|n| event(n, 1, false))
}

/// The dispatch thread queues many waiting events in slices. Each arrives without a flush and without another event.
#[test]
fn many_waiting_events_arrive_without_traffic() {
    const CAPACITY: usize = 3_000;
    for assisted in [false, true] {
        let builder = SharingBus::builder().assisted_dispatch(assisted);
        let bus = builder.ingress_capacity(2 * CAPACITY).build().unwrap();
        let mut view = subscribe_with(&bus, Overflow::Conflate, CAPACITY);
        publish_all(&bus, (0..2 * CAPACITY as u64).map(|n| scroll_event(n, n.into())));
        let first = drain(&mut view);
        assert!(first.len() >= CAPACITY);
        let mut received = numbers(&first);
        while received.len() < 2 * CAPACITY {
            received.push(view.recv_timeout(DEADLINE).unwrap().event.0);
        }
        assert!(received.into_iter().eq(0..2 * CAPACITY as u64));
        assert_eq!((view.lagged(), view.merged()), (0, 0));
    }
}

#[test]
fn the_reserve_admits_only_essential_events_and_keeps_the_order() {
    let bus = SharingBus::new();
    let mut view = bus
        .subscription()
        .queue_capacity(4)
        .essential(essentials(), 2)
        .subscribe();
    publish_all(&bus, deltas(1..5));
    publish_all(
        &bus,
        [
            event(5, 1, true),
            event(6, 1, false),
            event(7, 1, true),
            event(8, 1, true),
        ],
    );
    assert_eq!((view.lagged(), view.lagged_essential()), (4, 1));
    let stats = &bus.stats().subscribers[0];
    assert_eq!((stats.delivered, stats.lagged, stats.lagged_essential), (4, 4, 1));
    assert_eq!(seen(&mut view), [(1, 0, 0), (2, 0, 0), (5, 2, 0), (7, 1, 0)]);
    publish_all(&bus, deltas(9..11));
    assert_eq!(seen(&mut view), [(9, 1, 0), (10, 0, 0)]);
}

/// Delivers the events in one batch, which holds enough of them for a bundle. Returns the queued events, and
/// the numbers of lost events and of lost essential events.
fn deliver_as_bundle(capacity: usize, reserve: usize, essential: &[bool]) -> (Vec<(u64, u64, u64)>, u64, u64) {
    assert!(essential.len() >= 8, "fewer events are delivered one by one");
    let bus = SharingBus::new();
    let block = Block::new(&bus, event(0, 2, false));
    let subscription = bus.subscription().filter(EventFilter::ScrollId(scroll(1)));
    let mut view = subscription
        .queue_capacity(capacity)
        .essential(essentials(), reserve)
        .subscribe();
    for (n, essential) in (1..).zip(essential) {
        bus.publish(event(n, 1, *essential)).unwrap();
    }
    block.release();
    bus.flush();
    (seen(&mut view), view.lagged(), view.lagged_essential())
}

#[test]
fn the_reserve_is_exact_within_a_bundle() {
    let (queued, lagged, essential) = deliver_as_bundle(10, 2, &[false; 8]);
    assert_eq!((queued.len(), lagged, essential), (8, 0, 0));
    let (queued, lagged, essential) = deliver_as_bundle(10, 2, &[false; 9]);
    assert_eq!((queued.len(), lagged, essential), (8, 1, 0));
    let (queued, lagged, essential) = deliver_as_bundle(8, 2, &[true; 9]);
    assert_eq!((queued.len(), lagged, essential), (8, 1, 1));

    // An essential event is lost right after an ordinary one, and an ordinary event right after an essential one.
    let mixed = [false, false, false, true, true, false, true, true, false];
    let (queued, lagged, essential) = deliver_as_bundle(4, 2, &mixed);
    assert_eq!(queued, [(1, 0, 0), (2, 0, 0), (4, 1, 0), (5, 0, 0)]);
    assert_eq!((lagged, essential), (5, 2));
}

#[test]
fn without_a_reserve_lost_essential_events_are_only_counted() {
    let bus = SharingBus::new();
    let view = bus
        .subscription()
        .queue_capacity(1)
        .essential(essentials(), 0)
        .subscribe();
    publish_all(&bus, [event(1, 1, false), event(2, 1, true), event(3, 1, false)]);
    assert_eq!((view.lagged(), view.lagged_essential()), (2, 1));
}

#[test]
fn a_backlog_does_not_use_the_reserve_and_loses_no_event() {
    let bus = SharingBus::builder().history(10).build().unwrap();
    publish_all(&bus, deltas(1..9));
    let subscription = bus.subscription().queue_capacity(4).essential(essentials(), 1);
    let mut late = subscription.backlog(10).subscribe();
    bus.flush();
    assert_eq!(late.lagged(), 0);
    assert_eq!(seen(&mut late), [(6, 0, 0), (7, 0, 0), (8, 0, 0)]);
}

#[test]
fn only_the_loss_of_an_essential_event_disconnects() {
    let bus = SharingBus::new();
    let mut view = bus
        .subscription()
        .queue_capacity(2)
        .overflow(Overflow::Disconnect)
        .essential(essentials(), 1)
        .subscribe();
    publish_all(&bus, deltas(1..5));
    assert!(!view.is_closed());
    publish_all(&bus, [event(5, 1, true), event(6, 1, true), event(7, 1, true)]);
    assert!(view.is_closed());
    assert_eq!((view.lagged(), view.lagged_essential()), (4, 1));
    assert_eq!(seen(&mut view), [(1, 0, 0), (5, 3, 0)]);
    assert_closed(&mut view);
}

#[test]
fn a_panicking_filter_of_essential_events_counts_as_no_match() {
    let bus = SharingBus::new();
    let panics = EventFilter::custom(|_: &BusEvent<Number>| panic!("on purpose"));
    let view = bus.subscription().queue_capacity(2).essential(panics, 1).subscribe();
    publish_all(&bus, deltas(1..4));
    assert_eq!((view.lagged(), view.lagged_essential()), (2, 0));
    // The filter is not called for the first event, because more space than the reserve is free.
    assert_eq!(bus.stats().filter_panics, 2);
}

#[test]
#[should_panic(expected = "a reserve of 2 leaves nothing of a queue of 2")]
fn a_reserve_of_the_whole_queue_is_refused() {
    let bus = SharingBus::new();
    let _ = bus
        .subscription()
        .queue_capacity(2)
        .essential(essentials(), 2)
        .subscribe();
}

#[test]
fn drop_oldest_and_conflation_cannot_be_combined_with_essential_events() {
    for overflow in [Overflow::DropOldest, Overflow::Conflate] {
        let subscribed = std::panic::catch_unwind(|| {
            let bus = SharingBus::new();
            let subscription = bus.subscription().overflow(overflow);
            subscription.essential(essentials(), 1).subscribe()
        });
        assert!(subscribed.is_err(), "{overflow:?}");
    }
}

#[test]
fn forwarding_refuses_conflation_and_essential_events() {
    let (sender, _receiver) = crossbeam_channel::bounded(1);
    for conflates in [true, false] {
        let sender = sender.clone();
        let forwarded = std::panic::catch_unwind(move || {
            let bus = SharingBus::new();
            let subscription = bus.subscription();
            let subscription = if conflates {
                subscription.overflow(Overflow::Conflate)
            } else {
                subscription.essential(essentials(), 1)
            };
            subscription.forward_to(sender)
        });
        assert!(forwarded.is_err());
    }
}

#[test]
fn the_newest_event_of_each_scroll_is_delivered_once_space_is_free() {
    let bus = SharingBus::new();
    let mut view = subscribe_with(&bus, Overflow::Conflate, 2);
    publish_all(
        &bus,
        [1, 1, 1, 2, 1].into_iter().zip(1..).map(|(id, n)| event(n, id, false)),
    );
    let stats = &bus.stats().subscribers[0];
    assert_eq!(
        (stats.delivered, stats.lagged, stats.merged, stats.pending),
        (2, 0, 0, 3)
    );
    assert_eq!(view.recv().unwrap().event.0, 1);
    bus.flush();
    assert_eq!((view.len(), view.merged()), (2, 0));
    assert_eq!(seen(&mut view), [(2, 0, 0), (4, 0, 0)]);
    bus.flush();
    assert_eq!(seen(&mut view), [(5, 0, 1)]);
    assert_eq!(
        (view.lagged(), bus.stats().merged, bus.stats().subscribers[0].pending),
        (0, 1, 0)
    );
}

/// No further event is published. The receiver frees space, and pending events fill that space.
#[test]
fn pending_events_are_delivered_without_further_traffic() {
    let bus = SharingBus::new();
    let mut view = subscribe_with(&bus, Overflow::Conflate, 4);
    publish_all(&bus, (0..8).flat_map(|id| (0..10).map(move |n| event(n, id, false))));
    let mut accounted = 0;
    while accounted < 80 {
        let delivery = view
            .recv_timeout(DEADLINE)
            .expect("every event must be delivered or merged");
        accounted += 1 + delivery.merged() + delivery.missed();
    }
    assert_eq!(accounted, 80);
    bus.flush();
    assert_empty(&mut view);
}

#[test]
fn a_later_overflow_setting_replaces_a_merge_function() {
    let bus = SharingBus::new();
    let mut view = bus.subscription().queue_capacity(1).conflate_with(sum).subscribe();
    let conflated = bus.subscription().queue_capacity(1).conflate_with(sum);
    let mut newest = conflated.overflow(Overflow::Conflate).subscribe();
    publish_all(&bus, deltas(1..5));
    for (receiver, last) in [(&mut view, 2 + 3 + 4), (&mut newest, 4)] {
        assert_eq!(seen(receiver), [(1, 0, 0)]);
        bus.flush();
        assert_eq!(seen(receiver), [(last, 0, 2)]);
    }
}

#[test]
fn an_event_is_lost_if_the_merge_function_refuses_it_or_panics() {
    let bus = SharingBus::new();
    let mut view = bus
        .subscription()
        .queue_capacity(1)
        .conflate_with(|_, newer: BusEvent<Number>| match newer.event.0 {
            3 => None,
            4 => panic!("on purpose"),
            _ => Some(newer),
        })
        .subscribe();
    publish_all(&bus, deltas(1..6));
    assert_eq!((view.lagged(), bus.stats().filter_panics), (2, 1));
    assert_eq!(seen(&mut view), [(1, 0, 0)]);
    bus.flush();
    assert_eq!(view.merged(), 1);
    assert_eq!(seen(&mut view), [(5, 2, 1)]);
}

#[test]
fn shutdown_delivers_pending_events() {
    let bus = SharingBus::new();
    let mut view = subscribe_with(&bus, Overflow::Conflate, 2);
    publish_all(
        &bus,
        [1, 1, 2, 3, 2].into_iter().zip(1..).map(|(id, n)| event(n, id, false)),
    );
    bus.shutdown();
    assert_eq!(view.len(), 4, "pending events must be delivered beyond the capacity");
    assert_eq!(seen(&mut view), [(1, 0, 0), (2, 0, 0), (4, 0, 0), (5, 0, 1)]);
    assert_closed(&mut view);
}

#[test]
fn unsubscribing_loses_pending_events() {
    let bus = SharingBus::new();
    let mut view = subscribe_with(&bus, Overflow::Conflate, 1);
    publish_all(&bus, deltas(1..5));
    assert!(bus.unsubscribe(view.id()));
    bus.flush();
    assert_eq!((view.lagged(), view.merged(), bus.stats().lagged), (3, 0, 3));
    assert_eq!(seen(&mut view), [(1, 0, 0)]);
    assert_closed(&mut view);
}

/// A receiver takes events while the dispatch thread pushes. Each event is received, merged or missed exactly once.
#[test]
fn the_counts_are_exact_while_receiving() {
    const EVENTS: u64 = 20_000;
    let bus = SharingBus::new();
    let mut view = bus.subscription().queue_capacity(4).conflate_with(sum).subscribe();
    let taking = thread::spawn(move || {
        let (mut sequence, mut accounted, mut total) = (0, 0, 0);
        while accounted < EVENTS {
            let delivery = view
                .recv_timeout(DEADLINE)
                .expect("every event must be delivered or merged");
            assert!(delivery.sequence() > sequence);
            sequence = delivery.sequence();
            accounted += 1 + delivery.merged() + delivery.missed();
            total += delivery.event.0;
        }
        (accounted, total, view.lagged())
    });
    for n in 0..EVENTS {
        bus.publish(event(n, (n % 3) as u8, false)).unwrap();
    }
    // Every number is part of exactly one sum, so no event was lost.
    assert_eq!(taking.join().unwrap(), (EVENTS, EVENTS * (EVENTS - 1) / 2, 0));
}

/// The rule by which a modeled queue loses events.
#[derive(Clone, Copy, Debug)]
enum LossRule {
    Reserve(usize),
    ReserveOrDisconnect(usize),
    Newest,
    Sum,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Publishes this many events of one scroll, and then flushes.
    Publish {
        scroll: u8,
        essential: bool,
        count: usize,
    },
    Receive(usize),
}

/// A queued or pending event.
#[derive(Clone, Debug)]
struct Entry {
    scroll: u8,
    sequence: u64,
    total: u64,
    merged: u64,
}

/// A model of the queue in plain code.
struct Model {
    rule: LossRule,
    capacity: usize,
    queue: VecDeque<Entry>,
    pending: Vec<Entry>,
    /// One entry for each lost event: the sequence at which it is reported as missed, and whether it was essential.
    /// A merged event that is lost adds one entry for each of its parts, all at the sequence of the merged event.
    lost: Vec<(u64, bool)>,
    merged: u64,
    delivered: u64,
    ended: bool,
    received: u64,
}

impl Model {
    fn push(&mut self, entry: Entry, essential: bool) {
        if self.ended {
            return;
        }
        let free = self.capacity - self.queue.len();
        let (reserve, disconnects) = match self.rule {
            LossRule::Reserve(reserve) => (reserve, false),
            LossRule::ReserveOrDisconnect(reserve) => (reserve, true),
            LossRule::Newest | LossRule::Sum => return self.conflate(entry),
        };
        if free > if essential { 0 } else { reserve } {
            self.delivered += 1;
            self.queue.push_back(entry);
        } else {
            self.ended = essential && disconnects;
            self.lost.push((entry.sequence, essential));
        }
    }

    fn conflate(&mut self, mut entry: Entry) {
        if let Some(at) = self.pending.iter().position(|pending| pending.scroll == entry.scroll) {
            let older = self.pending.remove(at);
            entry.merged = older.merged + 1;
            if let LossRule::Sum = self.rule {
                entry.total += older.total;
            }
        }
        self.pending.push(entry);
        self.fill_queue();
        if self.pending.len() > self.capacity {
            let oldest = self.pending.remove(0);
            self.lost.extend((0..=oldest.merged).map(|_| (oldest.sequence, false)));
        }
    }

    fn pending_count(&self) -> u64 {
        self.pending.iter().map(|pending| 1 + pending.merged).sum()
    }

    fn fill_queue(&mut self) {
        while !self.pending.is_empty() && self.queue.len() < self.capacity {
            let oldest = self.pending.remove(0);
            self.delivered += 1;
            self.merged += oldest.merged;
            self.queue.push_back(oldest);
        }
    }

    /// Takes the oldest queued event, and returns its number, `missed` and `merged`.
    fn pop(&mut self) -> Option<(u64, u64, u64)> {
        let entry = self.queue.pop_front()?;
        let gap = self.received + 1..entry.sequence;
        self.received = entry.sequence;
        let missed = self.lost.iter().filter(|(sequence, _)| gap.contains(sequence)).count();
        Some((entry.total, missed as u64, entry.merged))
    }
}

fn rule() -> impl Strategy<Value = (LossRule, usize)> {
    (1..5usize).prop_flat_map(|capacity| {
        let rule = prop_oneof![
            (0..capacity).prop_map(LossRule::Reserve),
            (0..capacity).prop_map(LossRule::ReserveOrDisconnect),
            Just(LossRule::Newest),
            Just(LossRule::Sum),
        ];
        (rule, Just(capacity))
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..7u8, any::<bool>(), 1..4usize)
            .prop_map(|(scroll, essential, count)| Step::Publish { scroll, essential, count }),
        2 => (1..5usize).prop_map(Step::Receive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn losses_and_merges_match_the_model(
        (rule, capacity) in rule(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let bus = SharingBus::new();
        let subscription = bus.subscription().queue_capacity(capacity);
        let mut view = match rule {
            LossRule::Reserve(reserve) => subscription.essential(essentials(), reserve),
            LossRule::ReserveOrDisconnect(reserve) => {
                subscription.overflow(Overflow::Disconnect).essential(essentials(), reserve)
            }
            LossRule::Newest => subscription.overflow(Overflow::Conflate),
            LossRule::Sum => subscription.conflate_with(sum),
        }
        .subscribe();
        let mut model = Model {
            rule,
            capacity,
            queue: VecDeque::new(),
            pending: Vec::new(),
            lost: Vec::new(),
            merged: 0,
            delivered: 0,
            ended: false,
            received: 0,
        };
        let mut matched = 0;
        let mut sequence = 0;
        for step in steps {
            match step {
                Step::Publish { scroll, essential, count } => {
                    publish_all(&bus, (1..=count as u64).map(|n| event(sequence + n, scroll, essential)));
                    for _ in 0..count {
                        sequence += 1;
                        matched += u64::from(!model.ended);
                        model.push(Entry { scroll, sequence, total: sequence, merged: 0 }, essential);
                    }
                }
                // Pending events may enter the freed space at once, or at the flush.
                Step::Receive(count) => {
                    for _ in 0..count.min(view.len()) {
                        let delivery = view.try_recv().unwrap();
                        prop_assert_eq!(Some(counts(&delivery)), model.pop());
                    }
                    bus.flush();
                    model.fill_queue();
                }
            }
            let lost_essential = model.lost.iter().filter(|(_, essential)| *essential).count() as u64;
            let lagged_essential = match rule {
                LossRule::Reserve(_) | LossRule::ReserveOrDisconnect(_) => lost_essential,
                LossRule::Newest | LossRule::Sum => 0,
            };
            prop_assert_eq!((view.len(), view.is_closed()), (model.queue.len(), model.ended));
            prop_assert_eq!((view.lagged(), view.lagged_essential()), (model.lost.len() as u64, lagged_essential));
            prop_assert_eq!(view.merged(), model.merged);
            let stats = bus.stats();
            prop_assert_eq!((stats.delivered, stats.merged), (model.delivered, model.merged));
            prop_assert_eq!(model.delivered + view.lagged() + view.merged() + model.pending_count(), matched);
            if let Some(of_view) = stats.subscribers.first() {
                prop_assert_eq!(of_view.pending, model.pending_count());
            }
        }
        bus.shutdown();
        model.queue.append(&mut model.pending.drain(..).collect());
        let rest: Vec<_> = std::iter::from_fn(|| model.pop()).collect();
        prop_assert_eq!(seen(&mut view), rest);
        prop_assert_eq!(view.lagged(), model.lost.len() as u64);
    }
}

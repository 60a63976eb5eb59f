//! Losing well: essential events and their reserve, and what is conflated while a queue is full.

mod common;

use std::collections::VecDeque;
use std::thread;

use common::*;
use proptest::prelude::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventKind, EventRouting, Overflow, SharingBus};

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

/// What a host's text deltas are: two of them make one.
fn sum(waiting: &BusEvent<Number>, newer: BusEvent<Number>) -> Option<BusEvent<Number>> {
    let total = Number(waiting.event.0 + newer.event.0);
    Some(BusEvent::new(newer.routing, total))
}

/// Number, missed and merged of each delivery that is queued.
fn seen(receiver: &mut BusReceiver<Number>) -> Vec<(u64, u64, u64)> {
    let deliveries = drain(receiver);
    let told = deliveries.iter().map(|one| (one.event.0, one.missed(), one.merged()));
    told.collect()
}

fn publish(bus: &SharingBus<Number>, events: impl IntoIterator<Item = BusEvent<Number>>) {
    events.into_iter().for_each(|event| bus.publish(event).unwrap());
    bus.flush();
}

fn deltas(numbers: std::ops::Range<u64>) -> impl Iterator<Item = BusEvent<Number>> {
    numbers.map(|n| event(n, 1, false))
}

fn subscribe(bus: &SharingBus<Number>, capacity: usize, overflow: Overflow) -> BusReceiver<Number> {
    let subscription = bus.subscription().queue_capacity(capacity).overflow(overflow);
    subscription.subscribe()
}

#[test]
fn the_reserve_is_for_essential_events_and_the_order_stays() {
    let bus = SharingBus::new();
    let mut view = bus
        .subscription()
        .queue_capacity(4)
        .essential(essentials(), 2)
        .subscribe();
    publish(&bus, deltas(1..5));
    publish(
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
    publish(&bus, deltas(9..11));
    assert_eq!(seen(&mut view), [(9, 1, 0), (10, 0, 0)]);
}

#[test]
fn without_a_reserve_the_classes_are_only_counted_apart() {
    let bus = SharingBus::new();
    let view = bus
        .subscription()
        .queue_capacity(1)
        .essential(essentials(), 0)
        .subscribe();
    publish(&bus, [event(1, 1, false), event(2, 1, true), event(3, 1, false)]);
    assert_eq!((view.lagged(), view.lagged_essential()), (2, 1));
}

#[test]
fn a_backlog_leaves_the_reserve_alone_and_so_loses_nothing() {
    let bus = SharingBus::builder().history(10).build().unwrap();
    publish(&bus, deltas(1..9));
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
    publish(&bus, deltas(1..5));
    assert!(!view.is_closed());
    publish(&bus, [event(5, 1, true), event(6, 1, true), event(7, 1, true)]);
    assert!(view.is_closed());
    assert_eq!((view.lagged(), view.lagged_essential()), (4, 1));
    assert_eq!(seen(&mut view), [(1, 0, 0), (5, 3, 0)]);
    assert_closed(&mut view);
}

#[test]
fn a_filter_of_essential_events_that_panics_says_no_and_is_counted() {
    let bus = SharingBus::new();
    let panics = EventFilter::custom(|_: &BusEvent<Number>| panic!("as told"));
    let view = bus.subscription().queue_capacity(2).essential(panics, 1).subscribe();
    publish(&bus, deltas(1..4));
    assert_eq!((view.lagged(), view.lagged_essential()), (2, 0));
    // The first had the reserve and more left for it, so nobody asked.
    assert_eq!(bus.stats().filter_panics, 2);
}

#[test]
#[should_panic(expected = "a reserve of 2 leaves nothing of a queue of 2")]
fn a_reserve_that_is_the_whole_queue_is_refused() {
    let bus = SharingBus::new();
    let _ = bus
        .subscription()
        .queue_capacity(2)
        .essential(essentials(), 2)
        .subscribe();
}

#[test]
fn essential_events_need_a_queue_that_refuses() {
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
fn a_channel_of_the_hosts_takes_neither() {
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
fn the_newest_of_each_scroll_waits_and_comes_when_there_is_room() {
    let bus = SharingBus::new();
    let mut view = subscribe(&bus, 2, Overflow::Conflate);
    publish(
        &bus,
        [1, 1, 1, 2, 1].into_iter().zip(1..).map(|(of, n)| event(n, of, false)),
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

/// Nothing is published any more: the receiver's own taking brings what waits.
#[test]
fn what_waits_comes_without_further_traffic() {
    let bus = SharingBus::new();
    let mut view = subscribe(&bus, 4, Overflow::Conflate);
    publish(&bus, (0..8).flat_map(|of| (0..10).map(move |n| event(n, of, false))));
    let mut accounted = 0;
    while accounted < 80 {
        let delivery = view.recv_timeout(DEADLINE).expect("all of it comes");
        accounted += 1 + delivery.merged() + delivery.missed();
    }
    assert_eq!(accounted, 80);
    bus.flush();
    assert_empty(&mut view);
}

#[test]
fn a_function_merges_and_a_later_overflow_takes_it_back() {
    let bus = SharingBus::new();
    let mut view = bus.subscription().queue_capacity(1).conflate_with(sum).subscribe();
    let conflated = bus.subscription().queue_capacity(1).conflate_with(sum);
    let mut newest = conflated.overflow(Overflow::Conflate).subscribe();
    publish(&bus, deltas(1..5));
    for (receiver, last) in [(&mut view, 2 + 3 + 4), (&mut newest, 4)] {
        assert_eq!(seen(receiver), [(1, 0, 0)]);
        bus.flush();
        assert_eq!(seen(receiver), [(last, 0, 2)]);
    }
}

#[test]
fn what_a_function_refuses_or_dies_of_is_lost_in_its_place() {
    let bus = SharingBus::new();
    let mut view = bus
        .subscription()
        .queue_capacity(1)
        .conflate_with(|_, newer: BusEvent<Number>| match newer.event.0 {
            3 => None,
            4 => panic!("as told"),
            _ => Some(newer),
        })
        .subscribe();
    publish(&bus, deltas(1..6));
    assert_eq!((view.lagged(), bus.stats().filter_panics), (2, 1));
    assert_eq!(seen(&mut view), [(1, 0, 0)]);
    bus.flush();
    assert_eq!(view.merged(), 1);
    assert_eq!(seen(&mut view), [(5, 2, 1)]);
}

#[test]
fn the_end_of_the_bus_delivers_what_waits() {
    let bus = SharingBus::new();
    let mut view = subscribe(&bus, 2, Overflow::Conflate);
    publish(
        &bus,
        [1, 1, 2, 3, 2].into_iter().zip(1..).map(|(of, n)| event(n, of, false)),
    );
    bus.shutdown();
    assert_eq!(view.len(), 4, "beyond its capacity");
    assert_eq!(seen(&mut view), [(1, 0, 0), (2, 0, 0), (4, 0, 0), (5, 0, 1)]);
    assert_closed(&mut view);
}

#[test]
fn an_end_before_that_loses_what_waits() {
    let bus = SharingBus::new();
    let mut view = subscribe(&bus, 1, Overflow::Conflate);
    publish(&bus, deltas(1..5));
    assert!(bus.unsubscribe(view.id()));
    bus.flush();
    assert_eq!((view.lagged(), view.merged(), bus.stats().lagged), (3, 0, 3));
    assert_eq!(seen(&mut view), [(1, 0, 0)]);
    assert_closed(&mut view);
}

/// A receiver that takes while the dispatch thread pushes: every event is received, merged or missed, once.
#[test]
fn the_account_is_exact_under_concurrency() {
    const EVENTS: u64 = 20_000;
    let bus = SharingBus::new();
    let mut view = bus.subscription().queue_capacity(4).conflate_with(sum).subscribe();
    let taking = thread::spawn(move || {
        let (mut sequence, mut accounted, mut total) = (0, 0, 0);
        while accounted < EVENTS {
            let delivery = view.recv_timeout(DEADLINE).expect("all of it comes");
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
    // Every number is in one sum or other: nothing was lost.
    assert_eq!(taking.join().unwrap(), (EVENTS, EVENTS * (EVENTS - 1) / 2, 0));
}

/// How a modelled queue loses.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Reserve(usize),
    ReserveOrDisconnect(usize),
    Newest,
    Sum,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// As many events of this scroll, flushed together.
    Publish(u8, bool, usize),
    Receive(usize),
}

/// What is queued or waits.
#[derive(Clone, Debug)]
struct Kept {
    scroll: u8,
    sequence: u64,
    total: u64,
    merged: u64,
}

/// A queue in plain code.
struct Model {
    rule: Rule,
    capacity: usize,
    queue: VecDeque<Kept>,
    pending: Vec<Kept>,
    /// What was lost: the sequence of the event that it went with, and whether it was essential.
    lost: Vec<(u64, bool)>,
    merged: u64,
    delivered: u64,
    ended: bool,
    received: u64,
}

impl Model {
    fn push(&mut self, kept: Kept, essential: bool) {
        if self.ended {
            return;
        }
        let free = self.capacity - self.queue.len();
        let (reserve, disconnects) = match self.rule {
            Rule::Reserve(reserve) => (reserve, false),
            Rule::ReserveOrDisconnect(reserve) => (reserve, true),
            Rule::Newest | Rule::Sum => return self.conflate(kept),
        };
        if free > if essential { 0 } else { reserve } {
            self.delivered += 1;
            self.queue.push_back(kept);
        } else {
            self.ended = essential && disconnects;
            self.lost.push((kept.sequence, essential));
        }
    }

    fn conflate(&mut self, mut kept: Kept) {
        if let Some(at) = self.pending.iter().position(|waits| waits.scroll == kept.scroll) {
            let older = self.pending.remove(at);
            kept.merged = older.merged + 1;
            if let Rule::Sum = self.rule {
                kept.total += older.total;
            }
        }
        self.pending.push(kept);
        self.hand_over();
        if self.pending.len() > self.capacity {
            let oldest = self.pending.remove(0);
            self.lost.extend((0..=oldest.merged).map(|_| (oldest.sequence, false)));
        }
    }

    fn waiting(&self) -> u64 {
        self.pending.iter().map(|waits| 1 + waits.merged).sum()
    }

    fn hand_over(&mut self) {
        while !self.pending.is_empty() && self.queue.len() < self.capacity {
            let oldest = self.pending.remove(0);
            self.delivered += 1;
            self.merged += oldest.merged;
            self.queue.push_back(oldest);
        }
    }

    /// Number, missed and merged.
    fn pop(&mut self) -> Option<(u64, u64, u64)> {
        let kept = self.queue.pop_front()?;
        let gap = self.received + 1..kept.sequence;
        self.received = kept.sequence;
        let missed = self.lost.iter().filter(|(sequence, _)| gap.contains(sequence)).count();
        Some((kept.total, missed as u64, kept.merged))
    }
}

fn rule() -> impl Strategy<Value = (Rule, usize)> {
    (1..5usize).prop_flat_map(|capacity| {
        let rule = prop_oneof![
            (0..capacity).prop_map(Rule::Reserve),
            (0..capacity).prop_map(Rule::ReserveOrDisconnect),
            Just(Rule::Newest),
            Just(Rule::Sum),
        ];
        (rule, Just(capacity))
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..7u8, any::<bool>(), 1..4usize).prop_map(|(of, essential, count)| Step::Publish(of, essential, count)),
        2 => (1..5usize).prop_map(Step::Receive),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_delivered_lost_or_merged_as_the_model_says(
        (rule, capacity) in rule(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let bus = SharingBus::new();
        let subscription = bus.subscription().queue_capacity(capacity);
        let mut view = match rule {
            Rule::Reserve(reserve) => subscription.essential(essentials(), reserve),
            Rule::ReserveOrDisconnect(reserve) => {
                subscription.overflow(Overflow::Disconnect).essential(essentials(), reserve)
            }
            Rule::Newest => subscription.overflow(Overflow::Conflate),
            Rule::Sum => subscription.conflate_with(sum),
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
                Step::Publish(of, essential, count) => {
                    publish(&bus, (1..=count as u64).map(|n| event(sequence + n, of, essential)));
                    for _ in 0..count {
                        sequence += 1;
                        matched += u64::from(!model.ended);
                        model.push(Kept { scroll: of, sequence, total: sequence, merged: 0 }, essential);
                    }
                }
                // What it makes room for may come at once, or at the flush.
                Step::Receive(count) => {
                    for _ in 0..count.min(view.len()) {
                        let delivery = view.try_recv().unwrap();
                        let told = (delivery.event.0, delivery.missed(), delivery.merged());
                        prop_assert_eq!(Some(told), model.pop());
                    }
                    bus.flush();
                    model.hand_over();
                }
            }
            let lost_essential = model.lost.iter().filter(|(_, essential)| *essential).count() as u64;
            let lagged_essential = match rule {
                Rule::Reserve(_) | Rule::ReserveOrDisconnect(_) => lost_essential,
                Rule::Newest | Rule::Sum => 0,
            };
            prop_assert_eq!((view.len(), view.is_closed()), (model.queue.len(), model.ended));
            prop_assert_eq!((view.lagged(), view.lagged_essential()), (model.lost.len() as u64, lagged_essential));
            prop_assert_eq!(view.merged(), model.merged);
            let stats = bus.stats();
            prop_assert_eq!((stats.delivered, stats.merged), (model.delivered, model.merged));
            prop_assert_eq!(model.delivered + view.lagged() + view.merged() + model.waiting(), matched);
            if let Some(of_view) = stats.subscribers.first() {
                prop_assert_eq!(of_view.pending, model.waiting());
            }
        }
        bus.shutdown();
        model.queue.append(&mut model.pending.drain(..).collect());
        let rest: Vec<_> = std::iter::from_fn(|| model.pop()).collect();
        prop_assert_eq!(seen(&mut view), rest);
        prop_assert_eq!(view.lagged(), model.lost.len() as u64);
    }
}

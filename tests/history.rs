//! Late joiners: the backlog and the live events meet with no gap and no duplicate, whatever is published meanwhile.

mod common;

use std::collections::BTreeMap;
use std::thread;

use common::*;
use proptest::prelude::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventKind, EventRouting, Overflow, SharingBus};

fn of_scroll(n: u64, scroll_number: u128) -> BusEvent<Number> {
    let routing = EventRouting {
        scroll_id: (scroll_number > 0).then(|| scroll(scroll_number)),
        ..EventRouting::default()
    };
    BusEvent::new(routing, Number(n))
}

fn bus_with_history(events: usize) -> SharingBus<Number> {
    SharingBus::builder().history(events).build().unwrap()
}

/// Sequences, and whether each is backlog.
fn seen(receiver: &mut BusReceiver<Number>) -> Vec<(u64, bool)> {
    let deliveries = drain(receiver);
    deliveries
        .iter()
        .map(|one| (one.sequence(), one.is_backlog()))
        .collect()
}

#[test]
fn a_late_joiner_gets_the_newest_that_match_and_then_live_ones() {
    let bus = bus_with_history(10);
    for n in 1..=6 {
        bus.publish(of_scroll(n, u128::from(n % 2))).unwrap();
    }
    bus.flush();
    let filter = EventFilter::ScrollId(scroll(1));
    let mut late = bus.subscription().filter(filter).backlog(2).subscribe();
    bus.publish(of_scroll(7, 1)).unwrap();
    bus.flush();
    assert_eq!(seen(&mut late), [(3, true), (5, true), (7, false)]);
    assert_eq!(late.lagged(), 0);
}

#[test]
fn a_backlog_comes_without_further_traffic() {
    let bus = bus_with_history(10);
    bus.publish(number(1)).unwrap();
    bus.flush();
    let mut late = bus.subscription().backlog(1).subscribe();
    assert!(late.recv_timeout(DEADLINE).unwrap().is_backlog());
}

#[test]
fn a_backlog_is_no_longer_than_the_queue_and_so_loses_nothing() {
    let bus = bus_with_history(10);
    (1..=10).for_each(|n| bus.publish(number(n)).unwrap());
    bus.flush();
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
        let subscription = bus.subscription().queue_capacity(3).overflow(overflow);
        let mut late = subscription.backlog(usize::MAX).subscribe();
        bus.flush();
        assert_eq!(seen(&mut late), [(8, true), (9, true), (10, true)]);
        assert_eq!((late.lagged(), late.is_closed()), (0, false));
    }
}

#[test]
fn who_does_not_ask_gets_none_and_neither_does_who_asks_a_bus_without_history() {
    let with = bus_with_history(10);
    let without = SharingBus::new();
    for bus in [&with, &without] {
        bus.publish(number(1)).unwrap();
        bus.flush();
    }
    let mut unasked = with.subscribe_all();
    let mut unheard = without.subscription().backlog(5).subscribe();
    with.flush();
    without.flush();
    assert_empty(&mut unasked);
    assert_empty(&mut unheard);
}

#[test]
fn another_filter_brings_no_second_backlog() {
    let bus = bus_with_history(10);
    bus.publish(number(1)).unwrap();
    bus.flush();
    let mut late = bus.subscription().backlog(5).subscribe();
    bus.flush();
    late.set_filter(EventFilter::any([EventFilter::All]));
    bus.flush();
    assert_eq!(seen(&mut late), [(1, true)]);
}

#[test]
fn a_quiet_scroll_has_its_own_history() {
    let bus = SharingBus::builder()
        .history_per_scroll(2)
        .session_capacity(2)
        .build()
        .unwrap();
    for (n, scroll_number) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 0)] {
        bus.publish(of_scroll(n, scroll_number)).unwrap();
    }
    bus.flush();
    let backlog_of = |scroll_number| {
        let filter = EventFilter::ScrollId(scroll(scroll_number));
        let mut late = bus.subscription().filter(filter).backlog(9).subscribe();
        bus.flush();
        drain(&mut late).iter().map(|one| one.sequence()).collect::<Vec<_>>()
    };
    assert_eq!(backlog_of(1), [2, 3]);
    assert_eq!(backlog_of(2), [5, 6]);
    // A third scroll takes the place of the one that was quiet for longest.
    bus.publish(of_scroll(8, 3)).unwrap();
    bus.flush();
    assert_eq!((backlog_of(1), backlog_of(3)), (vec![], vec![8]));
}

#[test]
fn what_is_kept_is_let_go_of_with_the_bus_and_by_newer_events() {
    let bus = bus_with_history(2);
    let events: Vec<_> = (1..=3).map(number).collect();
    let payloads: Vec<_> = events.iter().map(|event| event.event.clone()).collect();
    for event in events {
        bus.publish(event).unwrap();
    }
    bus.flush();
    let counts = || payloads.iter().map(std::sync::Arc::strong_count).collect::<Vec<_>>();
    assert_eq!(counts(), [1, 2, 2]);
    bus.shutdown();
    assert_eq!(counts(), [1, 1, 1]);
}

#[test]
fn a_filter_that_panics_over_the_history_is_contained() {
    let bus = bus_with_history(4);
    (1..=4).for_each(|n| bus.publish(number(n)).unwrap());
    bus.flush();
    let odd = EventFilter::custom(|event: &BusEvent<Number>| {
        assert!(event.event.0 % 2 == 1, "even");
        true
    });
    let mut late = bus.subscription().filter(odd).backlog(4).subscribe();
    bus.flush();
    assert_eq!(seen(&mut late), [(1, true), (3, true)]);
    assert_eq!(bus.stats().filter_panics, 2);
}

/// Threads join while another publishes. Whatever each has from the history, it ends where the live events begin, and is
/// as long as was asked.
#[test]
fn threads_join_amid_a_stream() {
    const EVENTS: u64 = 20_000;
    const BACKLOG: u64 = 5;
    let bus = SharingBus::builder()
        .history(64)
        .queue_capacity(EVENTS as usize)
        .build()
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while bus.stats().dispatched < EVENTS {
                    let mut late = bus.subscription().backlog(BACKLOG as usize).subscribe();
                    let deliveries: Vec<_> = (0..50).map_while(|_| late.recv().ok()).collect();
                    let backlog = deliveries.iter().filter(|one| one.is_backlog()).count() as u64;
                    let first = deliveries.first().map_or(1, |one| one.sequence());
                    assert_eq!(backlog, BACKLOG.min(first + backlog - 1));
                    for (delivery, place) in deliveries.iter().zip(0..) {
                        assert_eq!(delivery.sequence(), first + place, "a gap or a duplicate");
                        assert_eq!(delivery.is_backlog(), place < backlog);
                    }
                }
            });
        }
        (1..=EVENTS).for_each(|n| bus.publish(number(n)).unwrap());
        bus.close();
    });
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Publish { scroll: u8, tool: bool },
    Join { wanted: Wanted, backlog: usize },
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    All,
    Scroll(u8),
    EitherScroll(u8, u8),
    Tools,
    ToolsOfScroll(u8),
    Custom,
}

impl Wanted {
    fn filter(self) -> EventFilter<Number> {
        let of = |n: u8| EventFilter::ScrollId(scroll(n.into()));
        let tools = EventFilter::Kind(EventKind::Tool);
        match self {
            Wanted::All => EventFilter::All,
            Wanted::Scroll(n) => of(n),
            Wanted::EitherScroll(a, b) => EventFilter::any([of(a), of(b)]),
            Wanted::Tools => tools,
            Wanted::ToolsOfScroll(n) => EventFilter::all([tools, of(n)]),
            Wanted::Custom => EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 3 == 0),
        }
    }
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        Just(Wanted::All),
        (1..5_u8).prop_map(Wanted::Scroll),
        (1..5_u8, 1..5_u8).prop_map(|(a, b)| Wanted::EitherScroll(a, b)),
        Just(Wanted::Tools),
        (1..5_u8).prop_map(Wanted::ToolsOfScroll),
        Just(Wanted::Custom),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, any::<bool>()).prop_map(|(scroll, tool)| Step::Publish { scroll, tool }),
        1 => (wanted(), 0..12_usize).prop_map(|(wanted, backlog)| Step::Join { wanted, backlog }),
    ]
}

/// What is kept, in plain code: the numbers of all that were published, and of each scroll since it was last let go of.
#[derive(Default)]
struct Model {
    events: Vec<BusEvent<Number>>,
    scrolls: BTreeMap<u128, Vec<usize>>,
}

impl Model {
    fn publish(&mut self, event: BusEvent<Number>, scrolls: usize) {
        if let Some(id) = event.routing.scroll_id {
            self.scrolls.entry(id.as_u128()).or_default().push(self.events.len());
            if self.scrolls.len() > scrolls {
                let quietest = self.scrolls.iter().min_by_key(|(_, events)| *events.last().unwrap());
                let quietest = *quietest.unwrap().0;
                self.scrolls.remove(&quietest);
            }
        }
        self.events.push(event);
    }

    fn backlog(&self, filter: &EventFilter<Number>, limit: usize, all: usize, per_scroll: usize) -> Vec<u64> {
        let mut kept: Vec<usize> = (self.events.len().saturating_sub(all)..self.events.len()).collect();
        for events in self.scrolls.values() {
            kept.extend(events.iter().rev().take(per_scroll));
        }
        kept.sort_unstable();
        kept.dedup();
        kept.retain(|place| filter.matches(&self.events[*place]));
        let from = kept.len().saturating_sub(limit);
        kept[from..].iter().map(|place| *place as u64 + 1).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_backlog_is_what_a_plain_model_says(
        all in 0..10_usize,
        per_scroll in 0..4_usize,
        scrolls in 1..4_usize,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let bus = SharingBus::builder()
            .history(all)
            .history_per_scroll(per_scroll)
            .session_capacity(scrolls)
            .build()
            .unwrap();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Publish { scroll, tool } => {
                    let mut event = of_scroll(model.events.len() as u64, scroll.into());
                    event.routing.kind = if tool { EventKind::Tool } else { EventKind::Output };
                    model.publish(event.clone(), scrolls);
                    bus.publish(event).unwrap();
                    bus.flush();
                }
                Step::Join { wanted, backlog } => {
                    let filter = wanted.filter();
                    let expected = model.backlog(&filter, backlog, all, per_scroll);
                    let mut late = bus.subscription().filter(filter).backlog(backlog).subscribe();
                    bus.flush();
                    let seen = seen(&mut late);
                    prop_assert!(seen.iter().all(|(_, backlog)| *backlog));
                    let sequences: Vec<u64> = seen.iter().map(|(sequence, _)| *sequence).collect();
                    prop_assert_eq!(sequences, expected);
                }
            }
        }
    }
}

//! Late joiners: the backlog and the live events meet without a gap or a duplicate, even while other threads publish.

mod common;

use std::collections::BTreeMap;
use std::thread;

use common::*;
use proptest::prelude::*;
use sharing_bus::{BusEvent, EventFilter, EventKind, Overflow, SharingBus};

/// Returns an event of the scroll `id`, or of no scroll if `id` is 0.
fn event(n: u64, id: u128) -> BusEvent<Number> {
    if id == 0 { number(n) } else { scroll_event(n, id) }
}

fn bus_with_history(events: usize) -> SharingBus<Number> {
    SharingBus::builder().history(events).build().unwrap()
}

#[test]
fn a_late_joiner_receives_the_newest_matching_events_and_then_live_events() {
    let bus = bus_with_history(10);
    for n in 1..=6 {
        bus.publish(event(n, u128::from(n % 2))).unwrap();
    }
    bus.flush();
    let filter = EventFilter::ScrollId(scroll(1));
    let mut late = bus.subscription().filter(filter).backlog(2).subscribe();
    bus.publish(event(7, 1)).unwrap();
    bus.flush();
    assert_eq!(seen(&mut late), [(3, true), (5, true), (7, false)]);
    assert_eq!(late.lagged(), 0);
}

#[test]
fn a_backlog_arrives_without_further_traffic() {
    let bus = bus_with_history(10);
    bus.publish(number(1)).unwrap();
    bus.flush();
    let mut late = bus.subscription().backlog(1).subscribe();
    assert!(late.recv_timeout(DEADLINE).unwrap().is_backlog());
}

#[test]
fn a_backlog_never_exceeds_the_queue_capacity() {
    let bus = bus_with_history(10);
    publish_numbers(&bus, 1..=10);
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
        let subscription = bus.subscription().queue_capacity(3).overflow(overflow);
        let mut late = subscription.backlog(usize::MAX).subscribe();
        bus.flush();
        assert_eq!(seen(&mut late), [(8, true), (9, true), (10, true)]);
        assert_eq!((late.lagged(), late.is_closed()), (0, false));
    }
}

#[test]
fn a_backlog_needs_a_request_and_a_bus_with_a_history() {
    let with = bus_with_history(10);
    let without = SharingBus::new();
    for bus in [&with, &without] {
        bus.publish(number(1)).unwrap();
        bus.flush();
    }
    let mut not_requested = with.subscribe_all();
    let mut not_kept = without.subscription().backlog(5).subscribe();
    with.flush();
    without.flush();
    assert_empty(&mut not_requested);
    assert_empty(&mut not_kept);
}

#[test]
fn replacing_the_filter_sends_no_second_backlog() {
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
fn each_scroll_has_its_own_history() {
    let bus = SharingBus::builder()
        .history_per_scroll(2)
        .session_capacity(2)
        .build()
        .unwrap();
    for (n, id) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 2), (7, 0)] {
        bus.publish(event(n, id)).unwrap();
    }
    bus.flush();
    let backlog_of = |id| {
        let filter = EventFilter::ScrollId(scroll(id));
        let mut late = bus.subscription().filter(filter).backlog(9).subscribe();
        bus.flush();
        drain(&mut late)
            .iter()
            .map(|delivery| delivery.sequence())
            .collect::<Vec<_>>()
    };
    assert_eq!(backlog_of(1), [2, 3]);
    assert_eq!(backlog_of(2), [5, 6]);
    // The third scroll replaces the scroll whose last event is the oldest.
    bus.publish(event(8, 3)).unwrap();
    bus.flush();
    assert_eq!((backlog_of(1), backlog_of(3)), (vec![], vec![8]));
}

#[test]
fn the_history_evicts_the_oldest_events_and_is_freed_at_shutdown() {
    let bus = bus_with_history(2);
    let events: Vec<_> = (1..=3).map(number).collect();
    let payloads: Vec<_> = events.iter().map(|event| event.event.clone()).collect();
    publish_all(&bus, events);
    let counts = || payloads.iter().map(std::sync::Arc::strong_count).collect::<Vec<_>>();
    assert_eq!(counts(), [1, 2, 2]);
    bus.shutdown();
    assert_eq!(counts(), [1, 1, 1]);
}

#[test]
fn a_filter_that_panics_on_the_history_is_contained() {
    let bus = bus_with_history(4);
    publish_numbers(&bus, 1..=4);
    let odd = EventFilter::custom(|event: &BusEvent<Number>| {
        assert!(event.event.0 % 2 == 1, "even");
        true
    });
    let mut late = bus.subscription().filter(odd).backlog(4).subscribe();
    bus.flush();
    assert_eq!(seen(&mut late), [(1, true), (3, true)]);
    assert_eq!(bus.stats().filter_panics, 2);
}

/// Several threads subscribe while another thread publishes. Each backlog has the requested length and ends where the
/// live events begin.
#[test]
fn threads_join_while_events_are_published() {
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
                    let backlog = deliveries.iter().filter(|delivery| delivery.is_backlog()).count() as u64;
                    let first = deliveries.first().map_or(1, |delivery| delivery.sequence());
                    assert_eq!(backlog, BACKLOG.min(first + backlog - 1));
                    for (delivery, index) in deliveries.iter().zip(0..) {
                        assert_eq!(
                            delivery.sequence(),
                            first + index,
                            "the sequences have a gap or a duplicate"
                        );
                        assert_eq!(delivery.is_backlog(), index < backlog);
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
    Join { filter: FilterSpec, backlog: usize },
}

#[derive(Clone, Copy, Debug)]
enum FilterSpec {
    All,
    Scroll(u8),
    EitherScroll(u8, u8),
    Tools,
    ToolsOfScroll(u8),
    Custom,
}

impl FilterSpec {
    fn build(self) -> EventFilter<Number> {
        let in_scroll = |n: u8| EventFilter::ScrollId(scroll(n.into()));
        let tools = EventFilter::Kind(EventKind::Tool);
        match self {
            FilterSpec::All => EventFilter::All,
            FilterSpec::Scroll(n) => in_scroll(n),
            FilterSpec::EitherScroll(a, b) => EventFilter::any([in_scroll(a), in_scroll(b)]),
            FilterSpec::Tools => tools,
            FilterSpec::ToolsOfScroll(n) => EventFilter::all([tools, in_scroll(n)]),
            FilterSpec::Custom => EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 3 == 0),
        }
    }
}

fn filter_spec() -> impl Strategy<Value = FilterSpec> {
    prop_oneof![
        Just(FilterSpec::All),
        (1..5_u8).prop_map(FilterSpec::Scroll),
        (1..5_u8, 1..5_u8).prop_map(|(a, b)| FilterSpec::EitherScroll(a, b)),
        Just(FilterSpec::Tools),
        (1..5_u8).prop_map(FilterSpec::ToolsOfScroll),
        Just(FilterSpec::Custom),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, any::<bool>()).prop_map(|(scroll, tool)| Step::Publish { scroll, tool }),
        1 => (filter_spec(), 0..12_usize).prop_map(|(filter, backlog)| Step::Join { filter, backlog }),
    ]
}

/// A model of the history in plain code.
#[derive(Default)]
struct Model {
    /// Every published event.
    events: Vec<BusEvent<Number>>,
    /// For each kept scroll, the indexes of its events since the scroll was last evicted.
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
        kept.retain(|index| filter.matches(&self.events[*index]));
        let from = kept.len().saturating_sub(limit);
        kept[from..].iter().map(|index| *index as u64 + 1).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn backlogs_match_the_model(
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
                    let mut event = event(model.events.len() as u64, scroll.into());
                    event.routing.kind = if tool { EventKind::Tool } else { EventKind::Output };
                    model.publish(event.clone(), scrolls);
                    bus.publish(event).unwrap();
                    bus.flush();
                }
                Step::Join { filter, backlog } => {
                    let filter = filter.build();
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

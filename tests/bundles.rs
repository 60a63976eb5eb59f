//! Events of one batch that cross a boundary: the capacity of a queue, its reserve, the beginning of conflation, and
//! the batch itself. All events are published while dispatch is blocked, so they are dispatched in batches of 64, and
//! many subscribers share the bundle of a batch.

mod common;

use common::*;
use sharing_bus::{BusEvent, BusReceiver, Delivery, EventFilter, Overflow, SharingBus};

type Bus = SharingBus<Number>;

/// Numbers of events around the smallest bundle, the batch, and two batches.
const LENGTHS: [u64; 14] = [1, 2, 7, 8, 9, 61, 62, 63, 64, 65, 127, 128, 129, 200];

/// The rule of a queue, with its capacity.
#[derive(Clone, Copy, Debug)]
enum Rule {
    Newest(u64),
    Oldest(u64),
    Disconnect(u64),
    /// Every event has the same owner.
    Conflate(u64),
    /// The second number is the reserve. Each third event is essential.
    Reserve(u64, u64),
    /// The channel of a forward.
    Channel(u64),
}

/// The receiving end of a subscription.
enum End {
    Queue(BusReceiver<Number>),
    Channel(crossbeam_channel::Receiver<Delivery<Number>>),
}

/// The number, `missed` and `merged` of a delivery.
type Seen = (u64, u64, u64);

impl Rule {
    fn subscribe(self, bus: &Bus, filter: EventFilter<Number>) -> End {
        let subscribed = bus.subscription().filter(filter.clone());
        let with = |capacity: u64, overflow| subscribed.queue_capacity(capacity as usize).overflow(overflow);
        End::Queue(match self {
            Rule::Newest(capacity) => with(capacity, Overflow::DropNewest).subscribe(),
            Rule::Oldest(capacity) => with(capacity, Overflow::DropOldest).subscribe(),
            Rule::Disconnect(capacity) => with(capacity, Overflow::Disconnect).subscribe(),
            Rule::Conflate(capacity) => with(capacity, Overflow::Conflate).subscribe(),
            Rule::Reserve(capacity, reserve) => {
                let essential = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 3 == 0);
                let reserving = with(capacity, Overflow::DropNewest).essential(essential, reserve as usize);
                reserving.subscribe()
            }
            Rule::Channel(capacity) => {
                let (sender, receiver) = crossbeam_channel::bounded(capacity as usize);
                bus.subscription().filter(filter).forward_to(sender);
                return End::Channel(receiver);
            }
        })
    }

    /// Returns the deliveries of the events from 1 to `events`, which are published before the first receive.
    fn expected(self, events: u64) -> Vec<Seen> {
        let kept = |range: std::ops::RangeInclusive<u64>| range.map(|n| (n, 0, 0));
        match self {
            Rule::Newest(capacity) | Rule::Disconnect(capacity) | Rule::Channel(capacity) => {
                kept(1..=events.min(capacity)).collect()
            }
            Rule::Oldest(capacity) => {
                let lost = events.saturating_sub(capacity);
                let mut seen: Vec<_> = kept(lost + 1..=events).collect();
                seen[0].1 = lost;
                seen
            }
            Rule::Conflate(capacity) => {
                let mut seen: Vec<_> = kept(1..=events.min(capacity)).collect();
                if events > capacity {
                    seen.push((events, 0, events - capacity - 1));
                }
                seen
            }
            Rule::Reserve(capacity, reserve) => {
                let mut seen = Vec::new();
                let mut last = 0;
                for n in 1..=events {
                    let usable = if n % 3 == 0 { capacity } else { capacity - reserve };
                    if (seen.len() as u64) < usable {
                        seen.push((n, n - last - 1, 0));
                        last = n;
                    }
                }
                seen
            }
        }
    }
}

impl End {
    fn drain(&mut self, bus: &Bus) -> Vec<Delivery<Number>> {
        match self {
            End::Queue(receiver) => {
                let mut deliveries = drain(receiver);
                // The waiting event of a conflating queue now has space.
                bus.flush();
                deliveries.extend(drain(receiver));
                deliveries
            }
            End::Channel(receiver) => receiver.try_iter().collect(),
        }
    }
}

fn seen(deliveries: &[Delivery<Number>]) -> Vec<Seen> {
    let seen = deliveries
        .iter()
        .map(|delivery| (delivery.event.0, delivery.missed(), delivery.merged()));
    seen.collect()
}

/// Capacities below, at and above the lengths of bundles.
fn rules() -> Vec<Rule> {
    let mut rules = Vec::new();
    for capacity in [1, 2, 7, 8, 9, 62, 63, 64, 65, 128, 300] {
        rules.extend([
            Rule::Newest(capacity),
            Rule::Oldest(capacity),
            Rule::Disconnect(capacity),
            Rule::Newest(capacity + 1),
            Rule::Conflate(capacity),
            Rule::Reserve(capacity + 1, 1),
            Rule::Reserve(2 * capacity, capacity),
            Rule::Channel(capacity),
        ]);
    }
    rules
}

/// Publishes the numbers from 1 to `events` while dispatch is blocked. So they follow the event 0 in its batch.
fn publish_together(bus: &Bus, events: u64) {
    let block = Block::new(bus, number(0));
    (1..=events).for_each(|n| bus.publish(number(n)).unwrap());
    block.release();
    bus.flush();
}

fn not_zero() -> EventFilter<Number> {
    EventFilter::custom(|event: &BusEvent<Number>| event.event.0 > 0)
}

/// Subscribers with each rule receive the same events. They share bundles, although each rule takes another part.
#[test]
fn each_rule_takes_its_part_of_a_shared_bundle() {
    for events in LENGTHS {
        let bus = Bus::new();
        let rules = rules();
        // The block has its own subscription, and event 0 matches only that one.
        let mut ends: Vec<_> = rules.iter().map(|rule| rule.subscribe(&bus, not_zero())).collect();
        publish_together(&bus, events);
        for (rule, end) in rules.iter().zip(&mut ends) {
            let deliveries = end.drain(&bus);
            assert_eq!(seen(&deliveries), rule.expected(events), "{events} events, {rule:?}");
            if let End::Queue(receiver) = end {
                let matched = if let Rule::Disconnect(capacity) = rule {
                    events.min(capacity + 1)
                } else {
                    events
                };
                assert_eq!(
                    deliveries.len() as u64 + receiver.lagged() + receiver.merged(),
                    matched,
                    "{rule:?}"
                );
            }
        }
    }
}

/// Subscribers without a filter share one record of their matches. The event 0 is at the first place of the batch, and
/// the event 63 at the last place.
#[test]
fn subscribers_without_a_filter_receive_every_place_of_a_batch() {
    for events in LENGTHS {
        let bus = Bus::new();
        let mut ends: Vec<_> = rules()
            .iter()
            .map(|rule| (*rule, rule.subscribe(&bus, EventFilter::All)))
            .collect();
        // The numbers from 1 include the event 0, which is published as the number 1.
        let block = Block::new(&bus, number(1));
        (2..=events).for_each(|n| bus.publish(number(n)).unwrap());
        block.release();
        bus.flush();
        for (rule, end) in &mut ends {
            assert_eq!(
                seen(&end.drain(&bus)),
                rule.expected(events),
                "{events} events, {rule:?}"
            );
        }
    }
}

/// Each subscriber matches other places of the batch, so each bundle holds other events.
#[test]
fn subscribers_with_different_filters_receive_their_own_places() {
    let bus = Bus::new();
    let filters: Vec<(u64, u64)> = (1..=9)
        .flat_map(|step| (0..step).map(move |from| (step, from)))
        .collect();
    let mut receivers: Vec<_> = filters
        .iter()
        .map(|(step, from)| {
            let (step, from) = (*step, *from);
            let filter = EventFilter::custom(move |event: &BusEvent<Number>| event.event.0 % step == from);
            bus.subscribe_filtered(filter, 300)
        })
        .collect();
    publish_together(&bus, 200);
    for ((step, from), receiver) in filters.iter().zip(&mut receivers) {
        let expected: Vec<_> = (0..=200).filter(|n| n % step == *from).collect();
        let received = drain(receiver);
        assert_eq!(numbers(&received), expected, "{step} {from}");
        assert!(
            received
                .iter()
                .all(|delivery| delivery.sequence() == delivery.event.0 + 1)
        );
    }
}

/// A bus with a history shares each event with the history as well.
#[test]
fn the_history_records_each_event_of_a_batch() {
    for kept in [1, 63, 64, 65, 130] {
        let bus = Bus::builder().history(kept).build().unwrap();
        let mut live = bus.subscribe_filtered(not_zero(), 300);
        publish_together(&bus, 129);
        let expected: Vec<_> = (1..=129).collect();
        assert_eq!(numbers(&drain(&mut live)), expected);
        let mut late = bus.subscription().queue_capacity(300).backlog(300).subscribe();
        bus.flush();
        let backlog = drain(&mut late);
        let expected: Vec<_> = (130 - kept as u64..130).collect();
        assert_eq!(numbers(&backlog), expected);
        assert!(backlog.iter().all(Delivery::is_backlog) && !late.is_closed());
    }
}

/// A queue that is partly full takes a part of the next bundle. The space within a bundle is freed event by event.
#[test]
fn a_bundle_fills_the_space_that_is_left() {
    for received in [0, 1, 5, 9, 10] {
        let bus = Bus::new();
        let mut receiver = bus.subscribe_filtered(not_zero(), 10);
        publish_together(&bus, 10);
        let first: Vec<_> = receiver.try_iter().take(received).collect();
        assert_eq!(numbers(&first), (1..=received as u64).collect::<Vec<_>>());
        publish_together(&bus, 20);
        let mut expected: Vec<_> = (received as u64 + 1..=10).collect();
        expected.extend(1..=received as u64);
        assert_eq!(numbers(&drain(&mut receiver)), expected);
        assert_eq!(receiver.lagged(), 20 - received as u64);
        publish_together(&bus, 1);
        assert_eq!(receiver.try_recv().unwrap().missed(), 20 - received as u64);
    }
}

/// A subscription begins and ends in the middle of a batch.
#[test]
fn a_subscription_that_changes_within_a_batch_receives_its_part() {
    let bus = Bus::new();
    let mut ends = bus.subscribe_filtered(not_zero(), 300);
    let mut changes = bus.subscribe_filtered(not_zero(), 300);
    let block = Block::new(&bus, number(0));
    (1..=20).for_each(|n| bus.publish(number(n)).unwrap());
    changes.set_filter(EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 0));
    let mut begins = bus.subscribe_filtered(not_zero(), 300);
    (21..=40).for_each(|n| bus.publish(number(n)).unwrap());
    bus.unsubscribe(ends.id());
    block.release();
    bus.flush();
    // The events before a change may go either way, but each event counts once and in order.
    let begun = numbers(&drain(&mut begins));
    assert!(begun.ends_with(&(21..=40).collect::<Vec<_>>()) && begun.is_sorted_by(|a, b| a + 1 == *b));
    let changed = numbers(&drain(&mut changes));
    let even: Vec<_> = (21..=40).filter(|n| n % 2 == 0).collect();
    assert!(changed.ends_with(&even) && changed.is_sorted_by(|a, b| a < b));
    assert!(drain(&mut ends).is_empty());
    assert_closed(&mut ends);
}

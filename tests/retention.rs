//! The events that queues, channels and deliveries keep alive, counted by the payloads.
//!
//! Each test publishes bursts that are dispatched in one batch, so that the events are delivered as bundles.

mod common;

use std::sync::Arc;

use common::*;
use sharing_bus::{BusEvent, BusReceiver, Delivery, EventFilter, EventRouting, Overflow, Payload, SharingBus};

/// Number of events in a burst. Together with the event that blocks dispatch, a burst fits into one batch.
const BURST: usize = 63;

/// A payload whose clones of the `Arc` count the payloads that are alive.
struct Counting(#[expect(dead_code, reason = "counted by its clones")] Arc<()>);

impl Payload for Counting {}

/// A bus, and the count of payloads that are alive.
struct Fixture {
    bus: SharingBus<Counting>,
    alive: Arc<()>,
}

impl Fixture {
    fn new() -> Self {
        Self::with_history(0)
    }

    fn with_history(events: usize) -> Self {
        Fixture {
            bus: SharingBus::builder().history(events).build().unwrap(),
            alive: Arc::new(()),
        }
    }

    /// Publishes an event of each of these scrolls, in one batch.
    fn burst(&self, scrolls: impl IntoIterator<Item = u128>) {
        let block = Block::new(&self.bus, self.event(0));
        for number in scrolls {
            self.bus.publish(self.event(number)).unwrap();
        }
        block.release();
        self.bus.flush();
    }

    fn event(&self, number: u128) -> BusEvent<Counting> {
        let routing = EventRouting {
            scroll_id: Some(scroll(number)),
            ..EventRouting::default()
        };
        BusEvent::new(routing, Counting(Arc::clone(&self.alive)))
    }

    /// Returns the number of payloads that are alive. The dispatch thread drops a batch before the flush returns.
    fn alive(&self) -> usize {
        self.bus.flush();
        Arc::strong_count(&self.alive) - 1
    }

    /// Subscribes to all events, except for those that block dispatch.
    fn subscribe(&self, overflow: Overflow, capacity: usize) -> BusReceiver<Counting> {
        let subscription = self.bus.subscription().filter(burst_events());
        subscription.overflow(overflow).queue_capacity(capacity).subscribe()
    }
}

fn burst_events() -> EventFilter<Counting> {
    EventFilter::not(EventFilter::ScrollId(scroll(0)))
}

fn same_scroll() -> impl Iterator<Item = u128> {
    std::iter::repeat_n(1, BURST)
}

#[test]
fn a_full_queue_keeps_only_its_events_alive() {
    for capacity in [1, 2, 10] {
        for overflow in [Overflow::DropNewest, Overflow::Disconnect, Overflow::DropOldest] {
            let fixture = Fixture::new();
            let mut receiver = fixture.subscribe(overflow, capacity);
            fixture.burst(same_scroll());
            assert_eq!(fixture.alive(), capacity, "{overflow:?}");
            // A kept delivery keeps the events alive that its receiver received from the same batch, and no lost event.
            let kept = receiver.try_recv().unwrap();
            assert!(fixture.alive() <= capacity, "{overflow:?}");
            drop(receiver);
            assert!(fixture.alive() <= capacity, "{overflow:?}");
            drop(kept);
            assert_eq!(fixture.alive(), 0, "{overflow:?}");
        }
    }
}

/// Of each burst, a part fits into the queue.
#[test]
fn kept_deliveries_of_a_lagging_receiver_keep_no_lost_event_alive() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest] {
        let fixture = Fixture::new();
        let mut receiver = fixture.subscribe(overflow, 5);
        let mut kept = Vec::new();
        for _ in 0..10 {
            fixture.burst(same_scroll());
            kept.extend(receiver.try_iter());
            assert_eq!(fixture.alive(), kept.len());
        }
        assert_eq!((kept.len(), receiver.lagged()), (50, 10 * (BURST as u64 - 5)));
    }
}

/// The events of a bundle that was queued whole share their memory, even if a later bundle displaces some of them.
#[test]
fn a_queue_that_drops_its_oldest_events_keeps_at_most_one_displaced_part_of_a_bundle_alive() {
    let fixture = Fixture::new();
    let mut receiver = fixture.subscribe(Overflow::DropOldest, BURST);
    fixture.burst(same_scroll());
    for burst in 1..10 {
        // Each burst displaces ten events, except that the last one of a bundle displaces its rest.
        fixture.burst(std::iter::repeat_n(1, 10));
        let displaced = if burst <= 6 {
            10 * burst
        } else {
            (10 * burst - BURST) % 10
        };
        assert_eq!(fixture.alive(), BURST + displaced, "after {burst} small bursts");
    }
    drain(&mut receiver);
    assert_eq!(fixture.alive(), 0);
}

#[test]
fn a_queue_with_a_reserve_keeps_only_its_events_alive() {
    let fixture = Fixture::new();
    let subscription = fixture.bus.subscription().filter(burst_events()).queue_capacity(8);
    let essential = EventFilter::ScrollId(scroll(7));
    let mut receiver = subscription.essential(essential, 4).subscribe();
    fixture.burst((0..BURST as u128).map(|number| 1 + number % 20));
    assert_eq!((receiver.len(), fixture.alive()), (7, 7));
    let kept = receiver.try_recv().unwrap();
    drop(receiver);
    assert_eq!(fixture.alive(), 1);
    drop(kept);
}

/// A full queue of one busy scroll, and bursts in which a quiet scroll has one event each.
#[test]
fn waiting_events_do_not_keep_the_events_that_they_replaced_alive() {
    for merges in [false, true] {
        let fixture = Fixture::new();
        let subscription = fixture.bus.subscription().filter(burst_events()).queue_capacity(100);
        let subscription = match merges {
            true => subscription.conflate_with(|_, newer| Some(newer)),
            false => subscription.overflow(Overflow::Conflate),
        };
        let mut receiver = subscription.subscribe();
        for _ in 0..2 {
            fixture.burst(same_scroll());
        }
        assert_eq!((receiver.len(), fixture.alive()), (100, 101));
        for quiet in 2..52 {
            fixture.burst(std::iter::once(quiet).chain(same_scroll()).take(BURST));
        }
        let stats = &fixture.bus.stats().subscribers[0];
        assert_eq!((stats.queued, stats.lagged), (100, 0));
        assert_eq!(fixture.alive(), 100 + 51);
        let kept: Vec<_> = receiver.try_iter().take(100).collect();
        fixture.bus.flush();
        assert_eq!((receiver.len(), fixture.alive()), (51, 100 + 51));
        drop(kept);
        assert_eq!(fixture.alive(), 51);
        let first = receiver.try_recv().unwrap();
        drop(receiver);
        assert_eq!(fixture.alive(), 1);
        drop(first);
    }
}

#[test]
fn waiting_events_are_freed_with_their_subscription() {
    let fixture = Fixture::new();
    let receiver = fixture.subscribe(Overflow::Conflate, 4);
    fixture.burst((0..BURST as u128).map(|number| 1 + number % 3));
    assert_eq!(fixture.alive(), 4 + 3);
    fixture.bus.unsubscribe(receiver.id());
    assert_eq!(fixture.alive(), 4, "the queued events stay readable");
    drop(receiver);
    assert_eq!(fixture.alive(), 0);
}

/// The events of the first burst with a loss share their memory. Later events do not.
#[test]
fn a_full_channel_keeps_the_lost_events_of_one_batch_alive_at_most() {
    let fixture = Fixture::new();
    let (sender, channel) = crossbeam_channel::bounded::<Delivery<Counting>>(4);
    let forward = fixture.bus.subscription().filter(burst_events()).forward_to(sender);
    fixture.burst(same_scroll());
    assert_eq!((channel.len(), fixture.alive()), (4, BURST));
    let mut kept: Vec<_> = channel.try_iter().collect();
    for _ in 0..5 {
        fixture.burst(same_scroll());
        kept.extend(channel.try_iter());
        assert_eq!(fixture.alive(), BURST + kept.len() - 4);
    }
    drop(kept);
    assert_eq!(fixture.alive(), 0);
    assert_eq!(forward.delivered(), 6 * 4);
}

#[test]
fn a_backlog_keeps_no_event_alive_beyond_the_history() {
    let fixture = Fixture::with_history(10);
    fixture.burst(same_scroll());
    assert_eq!(fixture.alive(), 10);
    let subscription = fixture.bus.subscription().filter(burst_events()).backlog(5);
    let mut late = subscription.subscribe();
    fixture.burst(same_scroll());
    assert_eq!((late.len(), fixture.alive()), (5 + BURST, 5 + BURST));
    let kept: Vec<_> = late.try_iter().take(5).collect();
    drop(late);
    assert_eq!(fixture.alive(), 5 + 10);
    fixture.bus.publish(fixture.event(1)).unwrap();
    assert!(kept.iter().all(Delivery::is_backlog));
    assert_eq!(fixture.alive(), 5 + 10);
}

/// A delivery keeps up to 63 other events of its batch alive. The receiver's queue has held all of them.
#[test]
fn a_delivery_keeps_at_most_its_batch_alive() {
    let fixture = Fixture::new();
    let mut receiver = fixture.subscribe(Overflow::DropNewest, 1000);
    for _ in 0..5 {
        fixture.burst(same_scroll());
    }
    assert_eq!(fixture.alive(), 5 * BURST);
    let kept = receiver.try_recv().unwrap();
    drop(receiver);
    assert_eq!(fixture.alive(), BURST);
    let event = BusEvent::clone(&kept);
    drop(kept);
    assert_eq!(fixture.alive(), 1, "a clone of the event keeps only itself alive");
    drop(event);
}

#[test]
fn a_closed_receiver_keeps_only_its_queued_events_alive() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Conflate] {
        let fixture = Fixture::new();
        let mut receiver = fixture.subscribe(overflow, 5);
        fixture.burst(same_scroll());
        assert!(receiver.close());
        fixture.burst(same_scroll());
        assert_eq!(fixture.alive(), 5, "{overflow:?}");
        assert_eq!(drain(&mut receiver).len(), 5);
        assert_closed(&mut receiver);
        assert_eq!(fixture.alive(), 0, "{overflow:?}");
    }
}

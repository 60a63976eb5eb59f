//! Guarantee 4: a subscription receives no event whose `publish` returned before its `subscribe` began, apart from a
//! requested backlog.
//!
//! Most tests block dispatch, publish and subscribe in a known order, and release dispatch. The result is then exact in
//! both dispatch modes.

mod common;

use std::sync::mpsc;
use std::thread;

use common::*;
use crossbeam_channel::bounded;
use futures::executor::block_on;
use sharing_bus::{BusBuilder, BusReceiver, EventFilter, Overflow, SharingBus};

fn modes() -> [BusBuilder<Number>; 2] {
    [false, true].map(|assisted| SharingBus::builder().assisted_dispatch(assisted))
}

fn received(receiver: &mut BusReceiver<Number>) -> Vec<u64> {
    numbers(&drain(receiver))
}

#[test]
fn a_subscriber_receives_no_event_published_before_it() {
    for builder in [false, true].map(|assisted| move || SharingBus::builder().assisted_dispatch(assisted)) {
        for _ in 0..500 {
            let bus = builder().build().unwrap();
            (0..4).for_each(|n| bus.publish(number(n)).unwrap());
            let mut late = bus.subscribe_all();
            bus.publish(number(4)).unwrap();
            bus.flush();
            assert_eq!(received(&mut late), [4]);
        }
    }
}

/// Subscriptions between events that all wait in the ingress, of every overflow rule, and one into a channel.
#[test]
fn each_subscriber_receives_exactly_the_events_published_after_it() {
    let rules = [
        Overflow::DropNewest,
        Overflow::DropOldest,
        Overflow::Disconnect,
        Overflow::Conflate,
    ];
    for builder in modes() {
        let bus = builder.build().unwrap();
        let block = Block::new(&bus, number(1_000));
        let mut subscribers = Vec::new();
        let (sender, channel) = bounded(64);
        for (n, rule) in (0..).zip(rules) {
            bus.publish(number(n)).unwrap();
            subscribers.push((n, subscribe_with(&bus, rule, 64)));
        }
        bus.subscription().forward_to(sender);
        for n in 4..8 {
            bus.publish(number(n)).unwrap();
        }
        block.release();
        bus.flush();
        for (n, receiver) in &mut subscribers {
            assert_eq!(received(receiver), (*n + 1..8).collect::<Vec<_>>());
        }
        assert_eq!(numbers(&channel.try_iter().collect::<Vec<_>>()), [4, 5, 6, 7]);
    }
}

/// More events than one batch wait on each side of the cut.
#[test]
fn the_cut_is_exact_between_and_within_batches() {
    for before in [1, 63, 64, 65, 200] {
        for builder in modes() {
            let bus = builder.build().unwrap();
            let block = Block::new(&bus, number(1_000));
            let mut early = bus.subscribe_filtered(EventFilter::All, 512);
            (0..before).for_each(|n| bus.publish(number(n)).unwrap());
            let mut late = bus.subscribe_filtered(EventFilter::All, 512);
            (before..300).for_each(|n| bus.publish(number(n)).unwrap());
            block.release();
            bus.flush();
            assert_eq!(received(&mut early), (0..300).collect::<Vec<_>>());
            assert_eq!(received(&mut late), (before..300).collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_way_to_publish_respects_the_cut() {
    for builder in modes() {
        let bus = builder.build().unwrap();
        let block = Block::new(&bus, number(1_000));
        let publish = |n| {
            bus.publish(number(n)).unwrap();
            bus.try_publish(number(n)).unwrap();
            bus.publish_timeout(number(n), DEADLINE).unwrap();
            block_on(bus.publish_async(number(n))).unwrap();
        };
        publish(1);
        let mut late = bus.subscribe_all();
        publish(2);
        block.release();
        bus.flush();
        assert_eq!(received(&mut late), [2; 4]);
    }
}

#[test]
fn events_before_the_cut_are_backlog() {
    for builder in modes() {
        let bus = builder.history(10).build().unwrap();
        let block = Block::new(&bus, number(1_000));
        (1..=5).for_each(|n| bus.publish(number(n)).unwrap());
        let mut late = bus.subscription().backlog(3).subscribe();
        (6..=7).for_each(|n| bus.publish(number(n)).unwrap());
        block.release();
        bus.flush();
        let seen: Vec<_> = drain(&mut late)
            .iter()
            .map(|delivery| (delivery.event.0, delivery.is_backlog()))
            .collect();
        assert_eq!(seen, [(3, true), (4, true), (5, true), (6, false), (7, false)]);
    }
}

/// The requested backlog arrives without a flush and without an event, although other events wait in the ingress.
#[test]
fn a_backlog_waits_for_the_events_before_the_cut_and_for_nothing_else() {
    for builder in modes() {
        let bus = builder.history(10).build().unwrap();
        let block = Block::new(&bus, number(1_000));
        (1..=5).for_each(|n| bus.publish(number(n)).unwrap());
        let mut late = bus.subscription().backlog(2).subscribe();
        block.release();
        for n in [4, 5] {
            let delivery = late.recv_timeout(DEADLINE).unwrap();
            assert_eq!((delivery.event.0, delivery.is_backlog()), (n, true));
        }
        assert_empty(&mut late);
    }
}

/// A flush that was requested before the subscription does not begin it.
#[test]
fn a_flush_before_the_cut_does_not_begin_the_subscription() {
    let bus = SharingBus::<Number>::builder().build().unwrap();
    let block = Block::new(&bus, number(1_000));
    let (flushing, flushed) = mpsc::channel();
    let other = bus.clone();
    let flusher = thread::spawn(move || {
        flushing.send(()).unwrap();
        other.flush();
    });
    flushed.recv().unwrap();
    // The flush may reach the ingress before, between or after these events.
    (0..50).for_each(|n| {
        bus.publish(number(n)).unwrap();
        thread::yield_now();
    });
    let mut late = bus.subscribe_all();
    block.release();
    flusher.join().unwrap();
    bus.flush();
    assert_empty(&mut late);
    bus.publish(number(50)).unwrap();
    bus.flush();
    assert_eq!(received(&mut late), [50]);
}

#[test]
fn a_subscription_can_change_and_end_before_it_begins() {
    for builder in modes() {
        let bus = builder.build().unwrap();
        let block = Block::new(&bus, number(1_000));
        bus.publish(scroll_event(1, 1)).unwrap();
        let mut changed = bus.subscribe_filtered(EventFilter::ScrollId(scroll(1)), 8);
        let mut ended = bus.subscribe_all();
        let mut closed = bus.subscribe_all();
        drop(bus.subscribe_all());
        changed.set_filter(EventFilter::ScrollId(scroll(2)));
        assert!(bus.unsubscribe(ended.id()));
        assert!(closed.close());
        (2..=3).for_each(|n| bus.publish(scroll_event(n, n.into())).unwrap());
        block.release();
        bus.flush();
        assert_eq!(received(&mut changed), [2]);
        assert_closed(&mut ended);
        assert_closed(&mut closed);
        let stats = bus.stats();
        // The blocking subscription was dropped, too.
        assert_eq!((stats.reaped, stats.delivered, stats.lagged), (3, 1, 0));
        assert_eq!(bus.subscriber_count(), 1);
    }
}

/// A host that takes a snapshot and then subscribes shows each event once.
#[test]
fn a_snapshot_followed_by_a_subscription_shows_each_event_once() {
    for builder in modes() {
        let bus = builder.queue_capacity(4096).build().unwrap();
        let published = std::sync::Mutex::new(0);
        thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                for _ in 0..2_000 {
                    let mut next = published.lock().unwrap();
                    bus.publish(number(*next)).unwrap();
                    *next += 1;
                }
            });
            while !publisher.is_finished() {
                let snapshot = published.lock().unwrap();
                let (from, mut receiver) = (*snapshot, bus.subscribe_all());
                drop(snapshot);
                if from < 2_000 {
                    assert_eq!(receiver.recv_timeout(DEADLINE).unwrap().event.0, from);
                }
            }
        });
    }
}

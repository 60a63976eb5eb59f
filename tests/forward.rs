//! Delivering into a channel of the host's: what it takes, what it loses, and how either side ends it.

mod common;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::*;
use sharing_bus::{BusEvent, Delivery, EventFilter, Forward, Overflow, SharingBus, Sink, SinkError};

type Deliveries = crossbeam_channel::Receiver<Delivery<Number>>;

fn forwarded(bus: &SharingBus<Number>, capacity: usize) -> (Forward<Number>, Deliveries) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    (bus.subscription().label("own").forward_to(sender), receiver)
}

/// Number and missed of what is in the channel.
fn seen(deliveries: &Deliveries) -> Vec<(u64, u64)> {
    deliveries.try_iter().map(|one| (one.event.0, one.missed())).collect()
}

fn publish(bus: &SharingBus<Number>, range: std::ops::RangeInclusive<u64>) {
    range.for_each(|n| bus.publish(number(n)).unwrap());
    bus.flush();
}

#[test]
fn a_select_waits_for_the_bus_and_for_something_else() {
    let bus = SharingBus::new();
    let (_forward, deliveries) = forwarded(&bus, 8);
    let (stop, stopped) = crossbeam_channel::bounded::<()>(1);
    let view = thread::spawn(move || {
        let mut count = 0;
        loop {
            crossbeam_channel::select! {
                recv(deliveries) -> delivery => count += delivery.unwrap().event.0,
                recv(stopped) -> _ => return count + deliveries.try_iter().map(|one| one.event.0).sum::<u64>(),
            }
        }
    });
    publish(&bus, 1..=3);
    stop.send(()).unwrap();
    assert_eq!(view.join().unwrap(), 6);
}

#[test]
fn a_full_channel_loses_events_and_tells_where() {
    let bus = SharingBus::new();
    let (forward, deliveries) = forwarded(&bus, 2);
    publish(&bus, 1..=20);
    assert_eq!((forward.delivered(), forward.lagged()), (2, 18));
    assert_eq!(seen(&deliveries), [(1, 0), (2, 0)]);
    publish(&bus, 21..=21);
    assert_eq!(seen(&deliveries), [(21, 18)]);
    let stats = bus.stats();
    assert_eq!((stats.delivered, stats.lagged), (3, 18));
    let own = &stats.subscribers[0];
    assert_eq!((own.label.as_deref(), own.queued, own.capacity), (Some("own"), 0, 0));
    assert!(!forward.is_closed());
}

#[test]
fn a_closed_channel_ends_the_subscription() {
    let bus = SharingBus::new();
    let (forward, deliveries) = forwarded(&bus, 2);
    publish(&bus, 1..=1);
    drop(deliveries);
    publish(&bus, 2..=2);
    assert!(forward.is_closed());
    assert_eq!((bus.subscriber_count(), bus.stats().reaped), (0, 1));
    assert_eq!(
        (forward.delivered(), forward.lagged()),
        (1, 0),
        "what comes after the end did not match"
    );
}

#[test]
fn a_full_channel_ends_a_subscription_that_says_so() {
    let bus = SharingBus::new();
    let (sender, deliveries) = crossbeam_channel::bounded(2);
    let forward = bus.subscription().overflow(Overflow::Disconnect).forward_to(sender);
    publish(&bus, 1..=20);
    assert!(forward.is_closed());
    assert_eq!(forward.lagged(), 1);
    assert_eq!(seen(&deliveries), [(1, 0), (2, 0)]);
    assert!(
        deliveries
            .recv_timeout(DEADLINE)
            .is_err_and(|error| error.is_disconnected())
    );
}

#[test]
fn the_channel_ends_with_the_subscription_and_with_the_bus() {
    let bus = SharingBus::new();
    let (by_handle, a) = forwarded(&bus, 8);
    let (by_id, b) = forwarded(&bus, 8);
    let (dropped, c) = forwarded(&bus, 8);
    drop(dropped);
    publish(&bus, 1..=1);
    assert!(by_handle.close() && !by_handle.close());
    assert!(bus.unsubscribe(by_id.id()) && by_id.is_closed());
    publish(&bus, 2..=2);
    for deliveries in [&a, &b] {
        assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 1);
        assert!(
            deliveries
                .recv_timeout(DEADLINE)
                .is_err_and(|error| error.is_disconnected())
        );
    }
    bus.shutdown();
    assert_eq!(
        c.iter().map(|one| one.event.0).collect::<Vec<_>>(),
        [1, 2],
        "dropping the handle ends nothing"
    );
}

/// Unsubscribed before dispatch has seen it, and on a bus that has ended: nobody holds the sender.
#[test]
fn a_channel_that_was_never_used_ends_too() {
    let bus = SharingBus::new();
    let block = Block::new(&bus, number(0));
    let (forward, deliveries) = forwarded(&bus, 8);
    assert!(forward.close());
    block.release();
    assert!(
        deliveries
            .recv_timeout(DEADLINE)
            .is_err_and(|error| error.is_disconnected())
    );

    bus.shutdown();
    let (late, deliveries) = forwarded(&bus, 8);
    assert!(late.is_closed());
    assert!(
        deliveries
            .recv_timeout(DEADLINE)
            .is_err_and(|error| error.is_disconnected())
    );
}

#[test]
fn a_filter_and_a_backlog_go_with_it() {
    let bus = SharingBus::builder().history(10).build().unwrap();
    publish(&bus, 1..=6);
    let odd = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 1);
    let (sender, deliveries) = crossbeam_channel::bounded(8);
    let forward = bus.subscription().filter(odd).backlog(2).forward_to(sender);
    publish(&bus, 7..=8);
    assert_eq!(seen(&deliveries), [(3, 0), (5, 0), (7, 0)]);
    forward.set_filter(EventFilter::All);
    publish(&bus, 10..=10);
    assert_eq!(seen(&deliveries), [(10, 0)]);
}

#[test]
fn the_standard_channel_is_a_sink() {
    let bus = SharingBus::new();
    let (sender, deliveries) = mpsc::sync_channel(1);
    let forward = bus.subscription().forward_to(sender);
    publish(&bus, 1..=2);
    assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 1);
    assert_eq!(forward.lagged(), 1);
    drop(deliveries);
    publish(&bus, 3..=3);
    assert!(forward.is_closed());
}

#[cfg(feature = "tokio")]
#[test]
fn tokios_channel_is_a_sink() {
    let bus = SharingBus::new();
    let (sender, mut deliveries) = tokio::sync::mpsc::channel(1);
    let forward = bus.subscription().forward_to(sender);
    publish(&bus, 1..=2);
    assert_eq!(deliveries.blocking_recv().unwrap().event.0, 1);
    assert_eq!(forward.lagged(), 1);
    drop(deliveries);
    publish(&bus, 3..=3);
    assert!(forward.is_closed());
}

#[cfg(feature = "flume")]
#[test]
fn flumes_channel_is_a_sink() {
    let bus = SharingBus::new();
    let (sender, deliveries) = flume::bounded(1);
    let forward = bus.subscription().forward_to(sender);
    publish(&bus, 1..=2);
    assert_eq!(deliveries.recv().unwrap().event.0, 1);
    assert_eq!(forward.lagged(), 1);
    drop(deliveries);
    publish(&bus, 3..=3);
    assert!(forward.is_closed());
}

/// Panics at the second event, and as it is dropped.
struct Bad(u64);

impl Sink<Number> for Bad {
    fn try_send(&mut self, _: Delivery<Number>) -> Result<(), SinkError<Number>> {
        self.0 += 1;
        assert!(self.0 < 2, "enough");
        Ok(())
    }
}

impl Drop for Bad {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_sink_that_panics_ends_its_own_subscription_and_harms_no_other() {
    let bus = SharingBus::new();
    let bad = bus.subscription().forward_to(Bad(0));
    let mut good = bus.subscribe_all();
    publish(&bus, 1..=3);
    assert_eq!(numbers(&drain(&mut good)), [1, 2, 3]);
    assert_eq!((bad.delivered(), bad.lagged(), bad.is_closed()), (1, 1, true));
    assert_eq!(bus.subscriber_count(), 1);
}

/// One that publishes, subscribes and ends itself from within.
#[test]
fn a_sink_may_use_the_bus() {
    struct Reentrant(SharingBus<Number>);
    impl Sink<Number> for Reentrant {
        fn try_send(&mut self, delivery: Delivery<Number>) -> Result<(), SinkError<Number>> {
            if delivery.event.0 == 1 {
                self.0.publish(number(2)).unwrap();
                drop(self.0.subscribe_all());
                self.0.flush();
            }
            Ok(())
        }
    }
    let bus = SharingBus::new();
    let mut witness = bus.subscribe_all();
    let forward = bus.subscription().forward_to(Reentrant(bus.clone()));
    publish(&bus, 1..=1);
    bus.flush();
    assert_eq!(numbers(&drain(&mut witness)), [1, 2]);
    assert_eq!(forward.delivered(), 2);
    bus.shutdown();
}

#[test]
#[should_panic(expected = "a channel of the host's cannot drop its oldest event")]
fn the_oldest_is_out_of_reach() {
    let bus = SharingBus::new();
    let (sender, _deliveries) = crossbeam_channel::bounded::<Delivery<Number>>(1);
    bus.subscription().overflow(Overflow::DropOldest).forward_to(sender);
}

#[test]
fn a_slow_channel_delays_nobody() {
    let bus = SharingBus::new();
    let (_forward, deliveries) = forwarded(&bus, 1);
    let mut quick = bus.subscribe_filtered(EventFilter::All, 1000);
    publish(&bus, 1..=1000);
    assert_eq!(quick.len(), 1000);
    assert_eq!(quick.recv_timeout(Duration::ZERO).unwrap().missed(), 0);
    assert_eq!(deliveries.len(), 1);
}

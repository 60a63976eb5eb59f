//! Forwarding to a channel of the host: delivered events, lost events, and how either side ends the subscription.

mod common;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::*;
use sharing_bus::{BusEvent, Delivery, EventFilter, Forward, Overflow, SharingBus, Sink, SinkError};

type Deliveries = crossbeam_channel::Receiver<Delivery<Number>>;

fn forwarded(bus: &SharingBus<Number>, capacity: usize) -> (Forward<Number>, Deliveries) {
    let (sender, receiver) = crossbeam_channel::bounded(capacity);
    (bus.subscription().label("channel").forward_to(sender), receiver)
}

/// Returns the number and `missed` of each delivery in the channel.
fn seen(deliveries: &Deliveries) -> Vec<(u64, u64)> {
    let seen = deliveries
        .try_iter()
        .map(|delivery| (delivery.event.0, delivery.missed()));
    seen.collect()
}

#[track_caller]
fn assert_disconnected(deliveries: &Deliveries) {
    let received = deliveries.recv_timeout(DEADLINE);
    assert!(received.is_err_and(|error| error.is_disconnected()));
}

#[test]
fn a_select_waits_on_the_bus_and_on_another_channel() {
    let bus = SharingBus::new();
    let (_forward, deliveries) = forwarded(&bus, 8);
    let (stop, stopped) = crossbeam_channel::bounded::<()>(1);
    let view = thread::spawn(move || {
        let mut count = 0;
        loop {
            crossbeam_channel::select! {
                recv(deliveries) -> delivery => count += delivery.unwrap().event.0,
                recv(stopped) -> _ => return count + seen(&deliveries).iter().map(|(n, _)| n).sum::<u64>(),
            }
        }
    });
    publish_numbers(&bus, 1..=3);
    stop.send(()).unwrap();
    assert_eq!(view.join().unwrap(), 6);
}

#[test]
fn a_full_channel_loses_events_and_reports_the_gap() {
    let bus = SharingBus::new();
    let (forward, deliveries) = forwarded(&bus, 2);
    publish_numbers(&bus, 1..=20);
    assert_eq!((forward.delivered(), forward.lagged()), (2, 18));
    assert_eq!(seen(&deliveries), [(1, 0), (2, 0)]);
    publish_numbers(&bus, 21..=21);
    assert_eq!(seen(&deliveries), [(21, 18)]);
    let stats = bus.stats();
    assert_eq!((stats.delivered, stats.lagged), (3, 18));
    let entry = &stats.subscribers[0];
    assert_eq!(
        (entry.label.as_deref(), entry.queued, entry.capacity),
        (Some("channel"), 0, 0)
    );
    assert!(!forward.is_closed());
}

#[test]
fn a_closed_channel_ends_the_subscription() {
    let bus = SharingBus::new();
    let (forward, deliveries) = forwarded(&bus, 2);
    publish_numbers(&bus, 1..=1);
    drop(deliveries);
    publish_numbers(&bus, 2..=2);
    assert!(forward.is_closed());
    assert_eq!((bus.subscriber_count(), bus.stats().reaped), (0, 1));
    assert_eq!(
        (forward.delivered(), forward.lagged()),
        (1, 0),
        "an event after the end must count as neither delivered nor lost"
    );
}

#[test]
fn a_full_channel_ends_a_subscription_set_to_disconnect() {
    let bus = SharingBus::new();
    let (sender, deliveries) = crossbeam_channel::bounded(2);
    let forward = bus.subscription().overflow(Overflow::Disconnect).forward_to(sender);
    publish_numbers(&bus, 1..=20);
    assert!(forward.is_closed());
    assert_eq!(forward.lagged(), 1);
    assert_eq!(seen(&deliveries), [(1, 0), (2, 0)]);
    assert_disconnected(&deliveries);
}

#[test]
fn the_channel_disconnects_with_the_subscription_and_with_the_bus() {
    let bus = SharingBus::new();
    let (by_handle, a) = forwarded(&bus, 8);
    let (by_id, b) = forwarded(&bus, 8);
    let (dropped, c) = forwarded(&bus, 8);
    drop(dropped);
    publish_numbers(&bus, 1..=1);
    for deliveries in [&a, &b] {
        assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 1);
    }
    // The bus stays idle until both channels are disconnected.
    assert!(by_handle.close() && !by_handle.close());
    assert_disconnected(&a);
    assert!(bus.unsubscribe(by_id.id()) && by_id.is_closed());
    assert_disconnected(&b);
    publish_numbers(&bus, 2..=2);
    bus.shutdown();
    assert_eq!(
        c.iter().map(|delivery| delivery.event.0).collect::<Vec<_>>(),
        [1, 2],
        "dropping the handle must not end the subscription"
    );
}

/// One subscription ends before the dispatch thread has read it from the list. The other is made on a bus that has
/// ended.
#[test]
fn an_unused_channel_disconnects_too() {
    let bus = SharingBus::new();
    let block = Block::new(&bus, number(0));
    let (forward, deliveries) = forwarded(&bus, 8);
    assert!(forward.close());
    block.release();
    assert_disconnected(&deliveries);

    bus.shutdown();
    let (late, deliveries) = forwarded(&bus, 8);
    assert!(late.is_closed());
    assert_disconnected(&deliveries);
}

#[test]
fn forwarding_works_with_a_filter_and_a_backlog() {
    let bus = SharingBus::builder().history(10).build().unwrap();
    publish_numbers(&bus, 1..=6);
    let odd = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 % 2 == 1);
    let (sender, deliveries) = crossbeam_channel::bounded(8);
    let forward = bus.subscription().filter(odd).backlog(2).forward_to(sender);
    publish_numbers(&bus, 7..=8);
    assert_eq!(seen(&deliveries), [(3, 0), (5, 0), (7, 0)]);
    forward.set_filter(EventFilter::All);
    publish_numbers(&bus, 10..=10);
    assert_eq!(seen(&deliveries), [(10, 0)]);
}

#[test]
fn the_standard_channel_is_a_sink() {
    let bus = SharingBus::new();
    let (sender, deliveries) = mpsc::sync_channel(1);
    let forward = bus.subscription().forward_to(sender);
    publish_numbers(&bus, 1..=2);
    assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 1);
    assert_eq!(forward.lagged(), 1);
    drop(deliveries);
    publish_numbers(&bus, 3..=3);
    assert!(forward.is_closed());
}

#[cfg(feature = "tokio")]
#[test]
fn tokios_channel_is_a_sink() {
    let bus = SharingBus::new();
    let (sender, mut deliveries) = tokio::sync::mpsc::channel(1);
    let forward = bus.subscription().forward_to(sender);
    publish_numbers(&bus, 1..=2);
    assert_eq!(deliveries.blocking_recv().unwrap().event.0, 1);
    assert_eq!(forward.lagged(), 1);
    drop(deliveries);
    publish_numbers(&bus, 3..=3);
    assert!(forward.is_closed());
}

#[cfg(feature = "flume")]
#[test]
fn flumes_channel_is_a_sink() {
    let bus = SharingBus::new();
    let (sender, deliveries) = flume::bounded(1);
    let forward = bus.subscription().forward_to(sender);
    publish_numbers(&bus, 1..=2);
    assert_eq!(deliveries.recv().unwrap().event.0, 1);
    assert_eq!(forward.lagged(), 1);
    drop(deliveries);
    publish_numbers(&bus, 3..=3);
    assert!(forward.is_closed());
}

/// A sink that panics on its second event and when it is dropped.
struct PanickingSink(u64);

impl Sink<Number> for PanickingSink {
    fn try_send(&mut self, _: Delivery<Number>) -> Result<(), SinkError<Number>> {
        self.0 += 1;
        assert!(self.0 < 2, "the second event panics on purpose");
        Ok(())
    }
}

impl Drop for PanickingSink {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_panicking_sink_ends_only_its_own_subscription() {
    let bus = SharingBus::new();
    let faulty = bus.subscription().forward_to(PanickingSink(0));
    let mut healthy = bus.subscribe_all();
    publish_numbers(&bus, 1..=3);
    assert_eq!(numbers(&drain(&mut healthy)), [1, 2, 3]);
    assert_eq!((faulty.delivered(), faulty.lagged(), faulty.is_closed()), (1, 1, true));
    assert_eq!(bus.subscriber_count(), 1);
}

/// The sink publishes, subscribes and flushes while it takes an event.
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
    let mut log = bus.subscribe_all();
    let forward = bus.subscription().forward_to(Reentrant(bus.clone()));
    publish_numbers(&bus, 1..=1);
    bus.flush();
    assert_eq!(numbers(&drain(&mut log)), [1, 2]);
    assert_eq!(forward.delivered(), 2);
    bus.shutdown();
}

#[test]
#[should_panic(expected = "a channel cannot drop its oldest event")]
fn forwarding_refuses_to_drop_the_oldest_event() {
    let bus = SharingBus::new();
    let (sender, _deliveries) = crossbeam_channel::bounded::<Delivery<Number>>(1);
    bus.subscription().overflow(Overflow::DropOldest).forward_to(sender);
}

#[test]
fn a_full_channel_does_not_delay_other_subscribers() {
    let bus = SharingBus::new();
    let (_forward, deliveries) = forwarded(&bus, 1);
    let mut other = bus.subscribe_filtered(EventFilter::All, 1000);
    publish_numbers(&bus, 1..=1000);
    assert_eq!(other.len(), 1000);
    assert_eq!(other.recv_timeout(Duration::ZERO).unwrap().missed(), 0);
    assert_eq!(deliveries.len(), 1);
}

/// The backlog ends the subscription. No event is published afterward.
#[test]
fn a_channel_that_is_too_small_for_the_backlog_disconnects_without_further_traffic() {
    let bus = SharingBus::builder().history(10).build().unwrap();
    publish_numbers(&bus, 1..=6);
    let (sender, deliveries) = crossbeam_channel::bounded(2);
    let subscription = bus.subscription().overflow(Overflow::Disconnect).backlog(5);
    let forward = subscription.forward_to(sender);
    assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 2);
    assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 3);
    assert_disconnected(&deliveries);
    assert_eq!(forward.lagged(), 1);
}

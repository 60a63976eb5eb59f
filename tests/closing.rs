//! Guarantee 8: a closing bus delivers every accepted event, whichever thread or callback closes it.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, EventFilter, EventRouting, RecvError, SharingBus};

#[test]
fn accepted_events_are_delivered_before_receivers_see_closed() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 100);
    for n in 0..100 {
        bus.publish(number(n)).unwrap();
    }
    assert!(!bus.is_closed());
    assert!(bus.close());
    assert!(!bus.close());
    assert!(bus.is_closed());
    let received: Vec<u64> = receiver.iter().map(|delivery| delivery.event.0).collect();
    assert_eq!(received, (0..100).collect::<Vec<_>>());
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
    assert!(receiver.is_closed());
}

#[test]
fn a_closed_bus_returns_the_event() {
    let bus = SharingBus::new();
    bus.close();
    let event = number(7);
    let payload = Arc::clone(&event.event);
    let error = bus.publish(event).unwrap_err();
    assert!(error.is_closed() && !error.is_full());
    let event = error.into_event();
    assert!(Arc::ptr_eq(&event.event, &payload));
    let error = bus.try_publish(event).unwrap_err();
    assert!(error.is_closed());
    let error = bus.publish_timeout(error.into_event(), DEADLINE).unwrap_err();
    assert!(error.is_closed());
    let error = futures::executor::block_on(bus.publish_async(error.into_event())).unwrap_err();
    assert!(error.is_closed());
    assert_eq!(bus.stats().published, 0);
}

#[test]
fn shutdown_may_be_called_repeatedly_and_from_several_threads() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 1000);
    for n in 0..1000 {
        bus.publish(number(n)).unwrap();
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                bus.shutdown();
                // Every event is dispatched before any call of `shutdown` returns.
                assert_eq!(bus.stats().dispatched, 1000);
            });
        }
    });
    bus.shutdown();
    assert_eq!(drain(&mut receiver).len(), 1000);
    assert_closed(&mut receiver);
}

#[test]
fn a_publish_that_races_a_shutdown_is_delivered_or_returned() {
    for round in 0..200 {
        let bus = SharingBus::builder().ingress_capacity(4).build().unwrap();
        let mut receiver = bus.subscribe_filtered(EventFilter::All, 10_000);
        let accepted = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut n = 0;
                    while bus.publish(number(n)).is_ok() {
                        accepted.fetch_add(1, Ordering::Relaxed);
                        n += 1;
                    }
                });
            }
            wait_until("some events are accepted", || {
                accepted.load(Ordering::Relaxed) > round % 20
            });
            bus.shutdown();
        });
        let received = receiver.iter().count() as u64;
        assert_eq!(received + receiver.lagged(), accepted.load(Ordering::Relaxed));
        assert_eq!(bus.stats().published, accepted.load(Ordering::Relaxed));
    }
}

#[test]
fn dropping_the_last_handle_closes_the_bus_and_receivers_outlive_it() {
    let bus = SharingBus::new();
    let other = bus.clone();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    drop(bus);
    other.publish(number(2)).unwrap();
    drop(other);
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap().event.0, 2);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
    receiver.set_filter(EventFilter::All);
    assert!(!receiver.close());
}

#[test]
fn the_last_handle_may_be_dropped_by_a_payload_on_the_dispatch_thread() {
    let bus = SharingBus::<BusHolder>::builder()
        .assisted_dispatch(false)
        .build()
        .unwrap();
    let mut receiver = bus.subscribe_filtered(EventFilter::any([]), 1);
    let (dropped, on_thread) = mpsc::channel();
    let holder = BusHolder {
        bus: Some(bus.clone()),
        dropped,
    };
    // No filter matches, so the dispatch thread drops the payload and with it the last handle.
    bus.publish(BusEvent::new(EventRouting::default(), holder)).unwrap();
    drop(bus);
    let thread = on_thread.recv_timeout(DEADLINE).expect("the payload must be dropped");
    assert_ne!(thread, thread::current().id());
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
}

#[test]
fn the_last_handle_may_be_dropped_in_a_filter() {
    let bus = SharingBus::<Number>::new();
    let held = Mutex::new(Some(bus.clone()));
    let filter = EventFilter::custom(move |_| {
        held.lock().unwrap().take();
        true
    });
    let mut receiver = bus.subscribe_filtered(filter, 4);
    bus.publish(number(1)).unwrap();
    drop(bus);
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
}

#[test]
fn a_receiver_of_a_bus_that_has_ended_is_closed_at_once() {
    let bus = SharingBus::<Number>::new();
    bus.shutdown();
    let mut receiver = bus.subscribe_all();
    assert!(receiver.is_closed());
    assert_closed(&mut receiver);
    assert_eq!(bus.subscriber_count(), 0);
    assert!(!bus.unsubscribe(receiver.id()));
    drop(receiver);
    assert_eq!(bus.stats().reaped, 0);
}

#[test]
fn a_receiver_subscribed_during_close_is_closed_eventually() {
    for _ in 0..200 {
        let bus = SharingBus::<Number>::new();
        thread::scope(|scope| {
            let subscribing = scope.spawn(|| {
                let mut receivers: Vec<_> = (0..5).map(|_| bus.subscribe_all()).collect();
                receivers
                    .iter_mut()
                    .for_each(|receiver| assert_eq!(receiver.iter().count(), 0));
            });
            bus.close();
            subscribing.join().unwrap();
        });
        bus.shutdown();
        assert_eq!(bus.subscriber_count(), 0);
    }
}

#[test]
fn flush_waits_for_accepted_events_before_and_after_close() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 10_000);
    thread::scope(|scope| {
        for publisher in 0..3 {
            let bus = &bus;
            scope.spawn(move || {
                for round in 0..200 {
                    bus.publish(number(publisher)).unwrap();
                    bus.flush();
                    assert!(bus.stats().dispatched > round);
                }
            });
        }
    });
    assert_eq!(drain(&mut receiver).len(), 600);
    bus.publish(number(9)).unwrap();
    bus.close();
    bus.flush();
    assert_eq!(receiver.try_recv().unwrap().event.0, 9);
    assert_closed(&mut receiver);
    bus.flush();
    futures::executor::block_on(bus.flush_async());
}

#[test]
fn publishers_waiting_for_space_return_when_the_bus_closes() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 64);
    let block = Block::new(&bus, number(0));
    thread::scope(|scope| {
        let publishers: Vec<_> = (1..=4)
            .map(|n| {
                let bus = &bus;
                scope.spawn(move || u64::from(bus.publish(number(n)).is_ok()))
            })
            .collect();
        bus.close();
        block.release();
        let accepted: u64 = publishers.into_iter().map(|publisher| publisher.join().unwrap()).sum();
        assert_eq!(receiver.iter().count() as u64, 1 + accepted);
    });
}

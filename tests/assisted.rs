//! Assisted dispatch: which code runs on which thread, and user code that panics on a publisher's thread.
//!
//! `ci/assisted.sh` runs the other tests with assisted dispatch as the default, to check that nothing else changes.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use common::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventRouting, Payload, PublishError, SharingBus};

fn assisted<E: Payload>() -> SharingBus<E> {
    SharingBus::builder().assisted_dispatch(true).build().unwrap()
}

/// Subscribes with a filter that matches every event and sends the id of the thread that it runs on.
fn record_threads(bus: &SharingBus<Number>) -> (BusReceiver<Number>, mpsc::Receiver<ThreadId>) {
    let (sender, threads) = mpsc::channel();
    let filter = EventFilter::custom(move |_| {
        let _ = sender.send(thread::current().id());
        true
    });
    (bus.subscribe_filtered(filter, 10_000), threads)
}

/// Sleeps so that the bus can become idle. The scheduler decides whether the bus is then idle for long enough for the
/// next publisher to dispatch.
fn pause() {
    thread::sleep(Duration::from_micros(100));
}

/// Calls `publish` on an idle bus until this thread dispatches the event. The published events stay in the queues.
fn publish_until_dispatched_here(threads: &mpsc::Receiver<ThreadId>, publish: impl Fn()) {
    wait_until("this thread dispatches", || {
        pause();
        publish();
        threads.recv_timeout(DEADLINE).unwrap() == thread::current().id()
    });
}

fn dispatch_here(bus: &SharingBus<Number>, threads: &mpsc::Receiver<ThreadId>) {
    publish_until_dispatched_here(threads, || bus.publish(number(0)).unwrap());
}

#[test]
fn a_publisher_on_an_idle_bus_dispatches_within_its_call() {
    let bus = assisted();
    let (mut receiver, threads) = record_threads(&bus);
    dispatch_here(&bus, &threads);
    let last = drain(&mut receiver).len() as u64;
    assert_eq!(bus.stats().dispatched, last);
    assert!(threads.try_recv().is_err(), "each event must be matched once");
}

#[test]
fn every_publish_method_assists() {
    type Publish = fn(&SharingBus<Number>) -> Result<(), PublishError<Number>>;
    let methods: [Publish; 4] = [
        |bus| bus.publish(number(1)),
        |bus| bus.try_publish(number(1)),
        |bus| bus.publish_timeout(number(1), DEADLINE),
        |bus| futures::executor::block_on(bus.publish_async(number(1))),
    ];
    for publish in methods {
        let bus = assisted();
        let (_receiver, threads) = record_threads(&bus);
        publish_until_dispatched_here(&threads, || publish(&bus).unwrap());
    }
}

#[test]
fn a_publisher_dispatches_one_batch_and_leaves_the_rest_to_the_dispatch_thread() {
    let bus = assisted();
    let (mut receiver, threads) = record_threads(&bus);
    let block = Block::new(&bus, number(0));
    let here = thread::current().id();
    for n in 1..1000 {
        bus.publish(number(n)).unwrap();
    }
    block.release();
    bus.flush();
    assert_eq!(numbers(&drain(&mut receiver)), (0..1000).collect::<Vec<_>>());
    let threads: Vec<_> = threads.try_iter().collect();
    assert!(
        !threads.contains(&here),
        "a publisher must not dispatch while another thread does"
    );
    let last = threads[999];
    let others = threads.iter().filter(|thread| **thread != last);
    assert!(
        others.count() <= 64,
        "the blocked publisher must dispatch at most one batch"
    );
}

#[test]
fn without_assisted_dispatch_a_publisher_runs_no_user_code() {
    let bus = SharingBus::builder().assisted_dispatch(false).build().unwrap();
    let (_receiver, threads) = record_threads(&bus);
    for _ in 0..20 {
        pause();
        bus.publish(number(0)).unwrap();
        assert_ne!(threads.recv_timeout(DEADLINE).unwrap(), thread::current().id());
    }
}

#[test]
fn a_panic_on_a_publishers_thread_is_contained() {
    let bus = assisted();
    let (_receiver, threads) = record_threads(&bus);
    let panicked_here = Arc::new(AtomicU64::new(0));
    let (here, count) = (thread::current().id(), Arc::clone(&panicked_here));
    let faulty = EventFilter::custom(move |_| {
        if thread::current().id() == here {
            count.fetch_add(1, Ordering::Relaxed);
        }
        panic_quietly();
    });
    let _faulty = bus.subscribe_filtered(faulty, 4);
    let mut waiting = bus.subscribe_all();
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(waiting.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    dispatch_here(&bus, &threads);
    assert!(panicked_here.load(Ordering::Relaxed) > 0);
    assert_eq!(bus.stats().filter_panics, bus.stats().dispatched);
    assert!(waiting.try_recv().is_ok());
    // The bus and its dispatch thread still work.
    bus.shutdown();
    assert_eq!(waiting.iter().count() as u64, bus.stats().dispatched - 1);
}

/// Runs `action` once, in a filter that this thread calls as it dispatches an event.
fn run_in_dispatch_here(bus: &SharingBus<Number>, action: impl FnOnce() + Send + 'static) {
    let (here, action) = (thread::current().id(), Mutex::new(Some(action)));
    let filter = EventFilter::custom(move |_| {
        let here = thread::current().id() == here;
        let action = here.then(|| action.lock().unwrap().take()).flatten();
        if let Some(action) = action {
            action();
        }
        here
    });
    let mut ran = bus.subscribe_filtered(filter, 10_000);
    wait_until("this thread dispatches", || {
        pause();
        let _ = bus.publish(number(0));
        bus.flush();
        ran.try_recv().is_ok()
    });
}

#[test]
fn user_code_on_a_publishers_thread_may_use_the_bus() {
    let bus = assisted();
    let mut log = bus.subscribe_all();
    let inside = bus.clone();
    run_in_dispatch_here(&bus, move || {
        inside.publish(number(1)).unwrap();
        inside.flush();
        let late = inside.subscribe_all();
        assert!(inside.unsubscribe(late.id()));
        drop(inside.subscribe_all());
        inside.bind_session("c", "s", scroll(1));
        assert_eq!(inside.stats().ingress_capacity, 1024);
    });
    bus.flush();
    assert_eq!(numbers(&drain(&mut log)).iter().filter(|n| **n == 1).count(), 1);
    assert_eq!(bus.subscriber_count(), 1);
}

#[test]
fn user_code_on_a_publishers_thread_never_waits_for_space() {
    let bus = SharingBus::builder()
        .assisted_dispatch(true)
        .ingress_capacity(2)
        .build()
        .unwrap();
    let inside = bus.clone();
    let (sender, results) = mpsc::channel();
    run_in_dispatch_here(&bus, move || {
        let full = |n| inside.publish(number(n)).is_err_and(|error| error.is_full());
        sender.send([full(1), full(2), full(3)]).unwrap();
    });
    assert_eq!(results.recv().unwrap(), [false, false, true]);
}

#[test]
fn user_code_on_a_publishers_thread_may_close_or_shut_down_the_bus() {
    let ends: [fn(&SharingBus<Number>); 2] = [|bus| assert!(bus.close()), SharingBus::shutdown];
    for end in ends {
        let bus = assisted();
        let mut log = bus.subscribe_all();
        let inside = bus.clone();
        run_in_dispatch_here(&bus, move || end(&inside));
        bus.shutdown();
        assert_eq!(log.iter().count() as u64, bus.stats().dispatched);
        assert!(bus.publish(number(1)).unwrap_err().is_closed());
    }
}

#[test]
fn the_last_handle_may_be_dropped_on_a_publishers_thread() {
    wait_until("a publisher drops the payload", || {
        let bus = assisted::<BusHolder>();
        let mut receiver = bus.subscribe_filtered(EventFilter::any([]), 1);
        let (dropped, dropped_on) = mpsc::channel();
        let holder = BusHolder {
            bus: Some(bus.clone()),
            dropped,
        };
        pause();
        bus.publish(BusEvent::new(EventRouting::default(), holder)).unwrap();
        drop(bus);
        let dropped_on = dropped_on.recv_timeout(DEADLINE).expect("the payload must be dropped");
        assert!(receiver.recv().is_err());
        dropped_on == thread::current().id()
    });
}

#[test]
fn two_buses_may_publish_to_each_other_on_one_thread() {
    let (first, second) = (assisted(), assisted());
    let mut log = second.subscribe_all();
    let mut looped = first.subscribe_all();
    let forward = second.clone();
    let _bridge = first.subscribe_filtered(
        EventFilter::custom(move |event: &BusEvent<Number>| {
            if event.event.0 < 1000 {
                forward.publish(number(event.event.0 + 1000)).unwrap();
            }
            false
        }),
        1,
    );
    let back = first.clone();
    let _bridge_back = second.subscribe_filtered(
        EventFilter::custom(move |event: &BusEvent<Number>| {
            back.publish(number(event.event.0)).unwrap();
            back.flush();
            false
        }),
        1,
    );
    for n in 0..50 {
        pause();
        first.publish(number(n)).unwrap();
    }
    first.flush();
    second.flush();
    first.flush();
    assert_eq!(numbers(&drain(&mut log)), (1000..1050).collect::<Vec<_>>());
    assert_eq!(
        looped.try_iter().filter(|delivery| delivery.event.0 >= 1000).count(),
        50
    );
    // Each filter holds a handle to the other bus, so dropping these handles would close neither bus.
    first.shutdown();
    second.shutdown();
}

#[test]
fn a_bus_that_has_ended_drops_its_filters() {
    let bus = assisted();
    let (filter, weak) = owning_filter();
    let mut receiver = bus.subscribe_filtered(filter, 4);
    bus.publish(number(1)).unwrap();
    drop(bus);
    assert_eq!(receiver.iter().count(), 1);
    drop(receiver);
    wait_until("the filter is dropped", || weak.upgrade().is_none());
}

#[test]
fn a_dropped_receiver_is_reaped_without_traffic() {
    let bus = assisted::<Number>();
    drop(bus.subscribe_all());
    wait_until("the slot is reaped", || bus.stats().reaped == 1);
}

//! Guarantee 3 and reentrancy: user code that panics during dispatch, and user code that calls the bus during dispatch.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventRouting, Payload, SessionChange, SharingBus};

#[test]
fn a_panicking_filter_counts_as_no_match() {
    let bus = SharingBus::new();
    let odd_panics = EventFilter::custom(|event: &BusEvent<Number>| {
        if event.event.0 % 2 == 1 {
            panic_quietly();
        }
        true
    });
    let mut faulty = bus.subscribe_filtered(odd_panics, 16);
    let mut healthy = bus.subscribe_all();
    for n in 0..6 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    assert_eq!(numbers(&drain(&mut healthy)), [0, 1, 2, 3, 4, 5]);
    assert_eq!(numbers(&drain(&mut faulty)), [0, 2, 4]);
    assert_eq!(bus.stats().filter_panics, 3);
    assert_eq!(faulty.lagged(), 0);
}

#[test]
fn a_panicking_waker_is_contained() {
    let bus = SharingBus::new();
    let mut faulty = bus.subscribe_all();
    let mut healthy = bus.subscribe_all();
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(faulty.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    bus.publish(number(1)).unwrap();
    assert_eq!(healthy.recv_timeout(DEADLINE).unwrap().event.0, 1);
    assert_eq!(faulty.try_recv().unwrap().event.0, 1);
    assert!(faulty.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    bus.shutdown();
    assert_closed(&mut faulty);
    assert_closed(&mut healthy);
}

/// A payload that runs a closure on drop, and whose session hook can panic.
struct Hooked {
    on_drop: Option<Box<dyn FnOnce() + Send + Sync>>,
    hook_panics: bool,
}

impl Payload for Hooked {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        if self.hook_panics {
            panic_quietly();
        }
        None
    }
}

impl Drop for Hooked {
    fn drop(&mut self) {
        if let Some(on_drop) = self.on_drop.take() {
            on_drop();
        }
    }
}

fn hooked(on_drop: impl FnOnce() + Send + Sync + 'static) -> BusEvent<Hooked> {
    let payload = Hooked {
        on_drop: Some(Box::new(on_drop)),
        hook_panics: false,
    };
    BusEvent::new(EventRouting::default(), payload)
}

#[test]
fn payloads_that_panic_on_drop_are_contained_wherever_they_are_dropped() {
    let bus = SharingBus::new();
    // Unmatched: dropped by the dispatch thread.
    bus.publish(hooked(|| panic_quietly())).unwrap();
    bus.flush();
    // Displaced: dropped by the dispatch thread, in the middle of a push.
    let overflow = sharing_bus::Overflow::DropOldest;
    let mut newest = bus.subscription().overflow(overflow).queue_capacity(1).subscribe();
    for _ in 0..3 {
        bus.publish(hooked(|| panic_quietly())).unwrap();
    }
    bus.flush();
    assert_eq!(newest.lagged(), 2);
    // Received: dropped with the delivery.
    drop(newest.try_recv().unwrap());
    // Queued: dropped with the receiver.
    bus.publish(hooked(|| panic_quietly())).unwrap();
    bus.publish(hooked(|| panic_quietly())).unwrap();
    bus.flush();
    drop(newest);
    bus.flush();
    let mut healthy = bus.subscribe_all();
    bus.publish(hooked(|| {})).unwrap();
    assert!(healthy.recv_timeout(DEADLINE).is_ok());
}

#[test]
fn a_payload_that_panics_on_drop_after_its_subscription_ended_is_contained() {
    let bus = SharingBus::new();
    let overflow = sharing_bus::Overflow::Disconnect;
    let mut ended = bus.subscription().overflow(overflow).queue_capacity(1).subscribe();
    // The first event is queued. The second is lost and ends the subscription. The third arrives after the end.
    let block = Block::new(&bus, hooked(|| {}));
    for _ in 0..2 {
        bus.publish(hooked(|| panic_quietly())).unwrap();
    }
    block.release();
    bus.flush();
    assert_eq!(drain(&mut ended).len(), 1);
    assert_closed(&mut ended);
    let mut healthy = bus.subscribe_all();
    bus.publish(hooked(|| {})).unwrap();
    assert!(healthy.recv_timeout(DEADLINE).is_ok());
}

#[test]
fn a_panicking_session_hook_is_counted_and_the_event_delivered() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let payload = Hooked {
        on_drop: None,
        hook_panics: true,
    };
    bus.publish(BusEvent::new(EventRouting::default(), payload)).unwrap();
    bus.flush();
    assert!(receiver.try_recv().is_ok());
    assert_eq!(bus.stats().payload_panics, 1);
}

struct PanicsOnDrop;

impl Drop for PanicsOnDrop {
    fn drop(&mut self) {
        panic_quietly();
    }
}

fn filter_that_panics_on_drop() -> EventFilter<Number> {
    let owned = PanicsOnDrop;
    EventFilter::custom(move |_| {
        let _ = &owned;
        true
    })
}

#[test]
fn filters_that_panic_on_drop_are_contained() {
    let bus = SharingBus::new();
    let receivers: Vec<_> = (0..3)
        .map(|_| bus.subscribe_filtered(filter_that_panics_on_drop(), 4))
        .collect();
    receivers[0].set_filter(filter_that_panics_on_drop());
    bus.publish(number(1)).unwrap();
    bus.flush();
    drop(receivers);
    bus.flush();
    assert_eq!(bus.stats().reaped, 3);
    let mut healthy = bus.subscribe_all();
    bus.publish(number(2)).unwrap();
    assert_eq!(healthy.recv_timeout(DEADLINE).unwrap().event.0, 2);
    bus.shutdown();
    drop(bus.subscribe_filtered(filter_that_panics_on_drop(), 4));
}

/// The first receiver is dropped before the dispatch thread attaches its queue, the second one afterwards.
#[test]
fn a_merge_function_that_panics_on_drop_is_contained() {
    let bus = SharingBus::new();
    let mut healthy = bus.subscribe_all();
    for n in 1..=2 {
        let owned = PanicsOnDrop;
        let merging = bus
            .subscription()
            .conflate_with(move |_, newer| {
                let _ = &owned;
                Some(newer)
            })
            .subscribe();
        if n == 2 {
            bus.flush();
        }
        drop(merging);
        bus.flush();
        assert!(!bus.is_closed(), "the panic ended the bus");
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    assert_eq!(numbers(&drain(&mut healthy)), [1, 2]);
}

/// Runs `action` once in a filter during dispatch, and returns its result.
fn run_in_filter<T: Send + 'static>(bus: &SharingBus<Number>, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = mpsc::channel();
    let action = Mutex::new(Some(action));
    let filter = EventFilter::custom(move |_| {
        let action = action.lock().unwrap().take();
        if let Some(action) = action {
            done.send(action()).unwrap();
        }
        false
    });
    let receiver = bus.subscribe_filtered(filter, 1);
    bus.publish(number(0)).unwrap();
    let result = result.recv_timeout(DEADLINE).expect("the action must return");
    drop(receiver);
    result
}

#[test]
fn a_filter_may_use_the_bus() {
    let bus = SharingBus::<Number>::new();
    let mut log = bus.subscribe_all();
    let inside = bus.clone();
    let (mut late, unsubscribed) = run_in_filter(&bus, move || {
        inside.publish(number(1)).unwrap();
        inside.flush();
        futures::executor::block_on(inside.publish_async(number(2))).unwrap();
        let late = inside.subscribe_all();
        let gone = inside.subscribe_all();
        let unsubscribed = inside.unsubscribe(gone.id());
        late.set_filter(EventFilter::All);
        inside.publish(number(3)).unwrap();
        inside.bind_session("c", "s", scroll(1));
        assert_eq!(inside.scroll_id("c", "s"), Some(scroll(1)));
        assert!(inside.stats().subscribers.len() >= 2);
        (late, unsubscribed)
    });
    assert!(unsubscribed);
    bus.flush();
    assert_eq!(numbers(&drain(&mut log)), [0, 1, 2, 3]);
    assert_eq!(numbers(&drain(&mut late)), [3]);
}

#[test]
fn publishing_during_dispatch_never_waits() {
    let bus = SharingBus::builder().ingress_capacity(2).build().unwrap();
    let inside = bus.clone();
    let errors = run_in_filter(&bus, move || {
        let full = |n| inside.publish(number(n)).err().map(|error| error.is_full());
        let timed = |n| {
            inside
                .publish_timeout(number(n), DEADLINE)
                .err()
                .map(|error| error.is_full())
        };
        [full(1), full(2), full(3), timed(4)]
    });
    assert_eq!(errors, [None, None, Some(true), Some(true)]);
    bus.flush();
    assert_eq!(bus.stats().dispatched, 3);
}

#[test]
fn async_calls_during_dispatch_never_wait() {
    let bus = SharingBus::builder().ingress_capacity(2).build().unwrap();
    let inside = bus.clone();
    let refused = run_in_filter(&bus, move || {
        use futures::executor::block_on;
        block_on(inside.flush_async());
        let refused = [1, 2, 3].map(|n| block_on(inside.publish_async(number(n))).err());
        // The ingress is full now.
        block_on(inside.flush_async());
        inside.flush();
        inside.close();
        block_on(inside.flush_async());
        refused
    });
    let [None, None, Some(refused)] = refused else {
        panic!("the ingress has space for two events");
    };
    assert!(refused.is_full());
    assert_eq!(refused.into_event().event.0, 3);
    bus.shutdown();
    assert_eq!(bus.stats().dispatched, 3);
}

/// A future is polled elsewhere first, and then during dispatch.
#[test]
fn an_async_call_that_moves_into_dispatch_never_waits() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let block = Block::new(&bus, number(0));
    let (flushing, publishing) = (bus.clone(), bus.clone());
    let mut flush = Box::pin(async move { flushing.flush_async().await });
    let mut publish = Box::pin(async move { publishing.publish_async(number(1)).await });
    let mut cx = Context::from_waker(Waker::noop());
    // The request of the flush fills the ingress.
    assert!(flush.as_mut().poll(&mut cx).is_pending());
    assert!(publish.as_mut().poll(&mut cx).is_pending());
    block.release();
    let inside = bus.clone();
    let refused = run_in_filter(&bus, move || {
        let _ = inside.try_publish(number(2));
        let published = futures::executor::block_on(publish);
        futures::executor::block_on(flush);
        published.err().map(|error| error.is_full())
    });
    assert_eq!(refused, Some(true));
}

#[test]
fn a_filter_may_close_and_shut_down_the_bus() {
    let bus = SharingBus::<Number>::new();
    let mut log = bus.subscribe_all();
    let inside = bus.clone();
    run_in_filter(&bus, move || inside.shutdown());
    bus.shutdown();
    assert_eq!(numbers(&drain(&mut log)), [0]);
    assert_closed(&mut log);
}

#[test]
fn a_filter_may_end_its_own_subscription() {
    let bus = SharingBus::<Number>::new();
    let own_id = Arc::new(OnceLock::new());
    let (inside, id) = (bus.clone(), Arc::clone(&own_id));
    let filter = EventFilter::custom(move |_| id.get().is_none_or(|id| !inside.unsubscribe(*id)));
    let mut receiver = bus.subscribe_filtered(filter, 4);
    bus.publish(number(1)).unwrap();
    bus.flush();
    own_id.set(receiver.id()).unwrap();
    bus.publish(number(2)).unwrap();
    bus.publish(number(3)).unwrap();
    bus.flush();
    assert_eq!(numbers(&drain(&mut receiver)), [1]);
    assert_closed(&mut receiver);
    // The filter still holds a handle. `shutdown` ends the bus regardless.
    bus.shutdown();
}

#[test]
fn a_payloads_drop_may_use_the_bus() {
    let bus = SharingBus::<Hooked>::new();
    let (inside, receiver) = (
        bus.clone(),
        Mutex::new(Some(bus.subscribe_filtered(EventFilter::any([]), 1))),
    );
    let subscribed: Arc<Mutex<Option<BusReceiver<Hooked>>>> = Arc::default();
    let slot = Arc::clone(&subscribed);
    bus.publish(hooked(move || {
        inside.publish(hooked(|| {})).unwrap();
        drop(receiver.lock().unwrap().take());
        *slot.lock().unwrap() = Some(inside.subscribe_all());
        inside.flush();
    }))
    .unwrap();
    wait_until("the drop of the payload has returned", || {
        subscribed.lock().unwrap().is_some()
    });
    bus.flush();
    let stats = bus.stats();
    assert_eq!((stats.published, stats.reaped, stats.subscribers.len()), (2, 1, 1));
    bus.shutdown();
}

/// Runs `test` on another thread, so that a deadlock fails the test.
fn within_deadline(test: impl FnOnce() + Send + 'static) {
    let running = thread::spawn(test);
    wait_until("the test has ended", || running.is_finished());
    running.join().unwrap();
}

/// A part of a filter, or a waker. It uses the bus when it is dropped or woken, and counts its uses.
struct UsesBus {
    bus: SharingBus<Number>,
    uses: Arc<AtomicU64>,
}

impl UsesBus {
    /// Calls methods that take the locks of the bus. With an ingress of one, at least the second publish finds no
    /// space. Except during dispatch, it is registered in the list of waiting tasks. Both publishes are canceled.
    fn use_bus(&self) {
        for n in [8, 9] {
            let mut publish = pin!(self.bus.publish_async(number(n)));
            let mut cx = Context::from_waker(Waker::noop());
            let _ = publish.as_mut().poll(&mut cx);
        }
        let receiver = self.bus.subscribe_filtered(EventFilter::any([]), 1);
        receiver.set_filter(EventFilter::all([]));
        self.bus.unsubscribe(receiver.id());
        self.bus.bind_session("c", "s", scroll(1));
        let _ = (self.bus.session_count(), self.bus.stats());
        self.uses.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wake for UsesBus {
    fn wake(self: Arc<Self>) {
        self.use_bus();
    }
}

impl Drop for UsesBus {
    fn drop(&mut self) {
        self.use_bus();
    }
}

#[test]
fn a_filters_drop_may_use_the_bus() {
    within_deadline(|| {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let uses = Arc::new(AtomicU64::new(0));
        let filter = || {
            let (bus, uses) = (bus.clone(), Arc::clone(&uses));
            let owned = UsesBus { bus, uses };
            let owning = EventFilter::custom(move |_| {
                let _ = &owned;
                true
            });
            EventFilter::any([EventFilter::not(EventFilter::all([owning, EventFilter::All]))])
        };
        let receiver = bus.subscribe_filtered(filter(), 4);
        // The first two filters are replaced, one before a flush and one after it. The third ends with its receiver.
        receiver.set_filter(filter());
        bus.flush();
        receiver.set_filter(filter());
        drop(receiver);
        let unsubscribed = bus.subscribe_filtered(filter(), 4);
        assert!(bus.unsubscribe(unsubscribed.id()));
        wait_until("four filters are dropped", || uses.load(Ordering::SeqCst) == 4);
        // The subscription has ended, so `set_filter` drops the filter.
        unsubscribed.set_filter(filter());
        assert_eq!(uses.load(Ordering::SeqCst), 5);
        let _open = bus.subscribe_filtered(filter(), 4);
        bus.shutdown();
        wait_until("six filters are dropped", || uses.load(Ordering::SeqCst) == 6);
        // The bus has ended, so it drops these filters at once.
        drop(bus.subscribe_filtered(filter(), 4));
        assert_eq!(uses.load(Ordering::SeqCst), 7);
        drop(bus.subscription().essential(filter(), 1).subscribe());
        assert_eq!(uses.load(Ordering::SeqCst), 8);
    });
}

#[test]
fn a_waker_may_use_the_bus() {
    within_deadline(|| {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let block = Block::new(&bus, number(0));
        bus.try_publish(number(1)).unwrap();
        let uses = Arc::new(AtomicU64::new(0));
        let mut publish = pin!(bus.publish_async(number(2)));
        // The waker of the second poll replaces the waker of the first one, which is dropped.
        for _ in 0..2 {
            let (bus, uses) = (bus.clone(), Arc::clone(&uses));
            let waker = Waker::from(Arc::new(UsesBus { bus, uses }));
            assert!(publish.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(uses.load(Ordering::SeqCst), 1);
        block.release();
        // The second waker is woken, and then dropped.
        wait_until("the second waker is dropped", || uses.load(Ordering::SeqCst) == 3);
        futures::executor::block_on(publish).unwrap();
    });
}

#[test]
fn a_subscription_that_ends_within_a_batch_counts_its_losses_exactly() {
    // The queue is full. The payload of the first lost event ends the subscription when it is dropped. A small batch is
    // pushed event by event, so its second event arrives after the end. The events of a large batch are lost together.
    for (events, lost) in [(2, 1), (20, 20)] {
        let bus = SharingBus::<Hooked>::new();
        let mut receiver = bus.subscribe_filtered(EventFilter::All, 1);
        let block = Block::new(&bus, hooked(|| {}));
        let (inside, id) = (bus.clone(), receiver.id());
        bus.publish(hooked(move || assert!(inside.unsubscribe(id)))).unwrap();
        for _ in 1..events {
            bus.publish(hooked(|| {})).unwrap();
        }
        block.release();
        bus.flush();
        assert_eq!(drain(&mut receiver).len(), 1);
        assert_eq!(receiver.lagged(), lost);
    }
}

#[test]
fn a_stuck_receiver_delays_no_other_subscriber() {
    let bus = SharingBus::new();
    let stuck = bus.subscribe_filtered(EventFilter::All, 1);
    let mut healthy = bus.subscribe_filtered(EventFilter::All, 10_000);
    let received = AtomicU64::new(0);
    thread::scope(|scope| {
        let (received, healthy) = (&received, &mut healthy);
        scope.spawn(move || {
            for delivery in healthy.iter() {
                assert_eq!(delivery.missed(), 0);
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
        for n in 0..10_000 {
            bus.publish(number(n)).unwrap();
        }
        bus.close();
    });
    assert_eq!(received.load(Ordering::Relaxed), 10_000);
    assert_eq!(stuck.lagged(), 9_999);
}

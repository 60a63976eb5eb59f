//! Helpers that several test files share: events, filters, user code that panics, and waiting with a deadline.

#![allow(dead_code, reason = "each test file uses only some of the helpers")]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use sharing_bus::{
    BusEvent, BusReceiver, Delivery, Event, EventFilter, EventKind, EventRouting, Overflow, Payload, SharingBus,
    TryRecvError,
};
use uuid::Uuid;

/// Time limit of every wait. A correct test never takes this long, so a test that reaches the limit fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A payload that holds a number.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Number(pub(crate) u64);

impl Payload for Number {}

/// Returns an event that carries `n`, with the default routing.
pub(crate) fn number(n: u64) -> BusEvent<Number> {
    BusEvent::new(EventRouting::default(), Number(n))
}

/// Returns an event that carries `n` and belongs to the scroll `id`.
pub(crate) fn scroll_event(n: u64, id: u128) -> BusEvent<Number> {
    let routing = EventRouting {
        scroll_id: Some(scroll(id)),
        ..EventRouting::default()
    };
    BusEvent::new(routing, Number(n))
}

/// Returns an event of the session `s` of the connector `c`.
pub(crate) fn session_event(kind: EventKind) -> BusEvent {
    BusEvent::new(EventRouting::session("c", "s", kind), Event::Connected)
}

/// Returns the registration of the session `s` of the connector `c`.
pub(crate) fn registration(scroll_id: &str) -> BusEvent {
    let event = Event::SessionRegistered {
        connector_id: "c".into(),
        session_id: "s".into(),
        scroll_id: scroll_id.into(),
    };
    BusEvent::new(EventRouting::session("c", "s", EventKind::SessionLifecycle), event)
}

/// Returns an event with the default routing.
pub(crate) fn plain() -> BusEvent {
    BusEvent::new(EventRouting::default(), Event::Connected)
}

/// Returns the scroll id with this number.
pub(crate) fn scroll(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// Publishes the events, and waits until all of them are dispatched.
pub(crate) fn publish_all<E: Payload>(bus: &SharingBus<E>, events: impl IntoIterator<Item = BusEvent<E>>) {
    events.into_iter().for_each(|event| bus.publish(event).unwrap());
    bus.flush();
}

/// Publishes one event for each number, and waits until all of them are dispatched.
pub(crate) fn publish_numbers(bus: &SharingBus<Number>, numbers: impl IntoIterator<Item = u64>) {
    publish_all(bus, numbers.into_iter().map(number));
}

/// Subscribes to all events with this overflow rule and queue capacity.
pub(crate) fn subscribe_with<E: Payload>(bus: &SharingBus<E>, overflow: Overflow, capacity: usize) -> BusReceiver<E> {
    let subscription = bus.subscription().overflow(overflow).queue_capacity(capacity);
    subscription.subscribe()
}

/// Returns the queued deliveries, without waiting.
pub(crate) fn drain<E: Payload>(receiver: &mut BusReceiver<E>) -> Vec<Delivery<E>> {
    receiver.try_iter().collect()
}

/// Returns the deliveries that are queued at the time of the call. A conflating queue may be filled again meanwhile, and
/// these events stay queued.
pub(crate) fn drain_full<E: Payload>(receiver: &mut BusReceiver<E>) -> Vec<Delivery<E>> {
    let queued = receiver.len();
    receiver.try_iter().take(queued).collect()
}

/// Returns the sequence of each queued delivery, and whether the delivery belongs to the backlog.
pub(crate) fn seen(receiver: &mut BusReceiver<Number>) -> Vec<(u64, bool)> {
    let deliveries = drain(receiver);
    deliveries
        .iter()
        .map(|delivery| (delivery.sequence(), delivery.is_backlog()))
        .collect()
}

/// Returns the numbers that the deliveries carry.
pub(crate) fn numbers(deliveries: &[Delivery<Number>]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.event.0).collect()
}

#[track_caller]
pub(crate) fn assert_empty<E: Payload>(receiver: &mut BusReceiver<E>) {
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[track_caller]
pub(crate) fn assert_closed<E: Payload>(receiver: &mut BusReceiver<E>) {
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
}

/// Waits until `condition` holds, and panics at the [`DEADLINE`].
#[track_caller]
pub(crate) fn wait_until(expected: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting until {expected}");
        thread::yield_now();
    }
}

/// Locks a mutex, even if a failed test has poisoned it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Returns a filter that matches every event, and a counter of its calls.
pub(crate) fn counting_filter() -> (EventFilter<Number>, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let filter = EventFilter::custom(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        true
    });
    (filter, calls)
}

/// Returns a filter that owns a value, and a weak reference that dangles once the filter is dropped.
pub(crate) fn owning_filter() -> (EventFilter<Number>, Weak<()>) {
    let owned = Arc::new(());
    let weak = Arc::downgrade(&owned);
    let filter = EventFilter::custom(move |_| {
        let _ = &owned;
        true
    });
    (filter, weak)
}

/// Panics without a report on standard error.
pub(crate) fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new("on purpose"))
}

/// A waker that panics when it is woken.
pub(crate) struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic_quietly();
    }
}

/// A payload that holds a handle to its own bus. When dropped, it shuts the bus down and sends the id of
/// the dropping thread.
pub(crate) struct BusHolder {
    pub(crate) bus: Option<SharingBus<BusHolder>>,
    pub(crate) dropped: mpsc::Sender<ThreadId>,
}

impl Payload for BusHolder {}

impl Drop for BusHolder {
    fn drop(&mut self) {
        // This may run during dispatch, where `flush` and `shutdown` must not wait for the thread that they run on.
        if let Some(bus) = self.bus.take() {
            bus.flush();
            bus.shutdown();
        }
        let _ = self.dropped.send(thread::current().id());
    }
}

/// A subscription whose filter blocks dispatch until the `Block` is released or dropped.
pub(crate) struct Block<E: Payload> {
    release: Option<mpsc::Sender<()>>,
    _receiver: BusReceiver<E>,
}

impl<E: Payload> Block<E> {
    /// Publishes `event`, and returns once its dispatch is blocked.
    pub(crate) fn new(bus: &SharingBus<E>, event: BusEvent<E>) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (entered_sender, entered) = mpsc::channel::<()>();
        let gate = Mutex::new(Some((released, entered_sender)));
        let filter = EventFilter::custom(move |_| {
            let first_call = gate.lock().unwrap().take();
            if let Some((released, entered)) = first_call {
                entered.send(()).unwrap();
                let _ = released.recv_timeout(DEADLINE);
            }
            false
        });
        let receiver = bus.subscribe_filtered(filter, 1);
        let publisher = bus.clone();
        let before = bus.stats().published;
        // With assisted dispatch, the filter may block the publishing thread, so another thread publishes.
        thread::spawn(move || publisher.publish(event).unwrap());
        entered.recv_timeout(DEADLINE).expect("the filter must be called");
        // The publisher counts the event after it was accepted, so the filter may be called first.
        wait_until("the event counts as published", || bus.stats().published > before);
        Block {
            release: Some(release),
            _receiver: receiver,
        }
    }

    pub(crate) fn release(mut self) {
        self.release.take();
    }
}

/// Polls a future once, and then drops it.
pub(crate) fn poll_once<T>(future: impl Future<Output = T>, waker: &Waker) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(waker))
}

/// Calls the methods of the bus that never wait. The calls take each lock of the bus.
pub(crate) fn use_bus<E: Payload>(bus: &SharingBus<E>, event: fn() -> BusEvent<E>) {
    let receiver = bus.subscribe_filtered(EventFilter::any([]), 1);
    receiver.set_filter(EventFilter::all([]));
    let _ = bus.try_publish(event());
    // With an ingress of one, at least one of these futures registers in the list of waiting tasks.
    for _ in 0..2 {
        let _ = poll_once(bus.publish_async(event()), Waker::noop());
        let _ = poll_once(bus.flush_async(), Waker::noop());
    }
    bus.unsubscribe(receiver.id());
    drop(bus.subscribe_all());
    let (sender, _deliveries) = mpsc::sync_channel(1);
    bus.subscription().forward_to(sender).close();
    bus.bind_session("c", "s", scroll(2));
    bus.bind_session("c", "t", scroll(3));
    assert!(bus.scroll_id("c", "t").is_some());
    bus.forget_session("c", "t");
    let _ = (
        bus.session_count(),
        bus.subscriber_count(),
        bus.stats(),
        format!("{bus:?}"),
    );
    bus.is_interested(&EventRouting::default());
}

/// Calls the methods of the bus that wait for the dispatch thread, except on that thread.
pub(crate) fn wait_for_bus<E: Payload>(bus: &SharingBus<E>, event: fn() -> BusEvent<E>) {
    let _ = bus.publish(event());
    let _ = bus.publish_timeout(event(), DEADLINE);
    bus.flush();
}

//! What several test files need: numbered events, and waiting for a condition with a deadline.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use sharing_bus::{
    BusEvent, BusReceiver, Delivery, Event, EventFilter, EventKind, EventRouting, Payload, SharingBus, TryRecvError,
};
use uuid::Uuid;

/// Longer than anything takes; a test that gets there has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A payload that is a number.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(crate) struct Number(pub(crate) u64);

impl Payload for Number {}

pub(crate) fn number(n: u64) -> BusEvent<Number> {
    BusEvent::new(EventRouting::default(), Number(n))
}

/// An event of the session `s` of connector `c`.
pub(crate) fn of_session(kind: EventKind) -> BusEvent {
    BusEvent::new(EventRouting::session("c", "s", kind), Event::Connected)
}

/// The registration of the session `s` of connector `c`.
pub(crate) fn registration(scroll_id: &str) -> BusEvent {
    let event = Event::SessionRegistered {
        connector_id: "c".into(),
        session_id: "s".into(),
        scroll_id: scroll_id.into(),
    };
    BusEvent::new(EventRouting::session("c", "s", EventKind::SessionLifecycle), event)
}

pub(crate) fn plain() -> BusEvent {
    BusEvent::new(EventRouting::default(), Event::Connected)
}

pub(crate) fn scroll(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

/// What is queued, without waiting.
pub(crate) fn drain<E: Payload>(receiver: &mut BusReceiver<E>) -> Vec<Delivery<E>> {
    receiver.try_iter().collect()
}

pub(crate) fn numbers(deliveries: &[Delivery<Number>]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.event.0).collect()
}

pub(crate) fn assert_empty<E: Payload>(receiver: &mut BusReceiver<E>) {
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
}

pub(crate) fn assert_closed<E: Payload>(receiver: &mut BusReceiver<E>) {
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
}

/// Waits for what another thread will bring about.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        thread::yield_now();
    }
}

/// Holds dispatch inside a filter until it is dropped, or released.
pub(crate) struct Block<E: Payload> {
    release: Option<mpsc::Sender<()>>,
    _receiver: BusReceiver<E>,
}

impl<E: Payload> Block<E> {
    /// Returns once dispatch is held; takes one event to get it there.
    pub(crate) fn new(bus: &SharingBus<E>, event: BusEvent<E>) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (entered_sender, entered) = mpsc::channel::<()>();
        let gate = std::sync::Mutex::new(Some((released, entered_sender)));
        let filter = EventFilter::custom(move |_| {
            let taken = gate.lock().unwrap().take();
            if let Some((released, entered)) = taken {
                entered.send(()).unwrap();
                let _ = released.recv_timeout(DEADLINE);
            }
            false
        });
        let receiver = bus.subscribe_filtered(filter, 1);
        let publisher = bus.clone();
        // Where publishers assist, it is this one that is held.
        thread::spawn(move || publisher.publish(event).unwrap());
        entered.recv_timeout(DEADLINE).expect("dispatch is there");
        Block {
            release: Some(release),
            _receiver: receiver,
        }
    }

    pub(crate) fn release(mut self) {
        self.release.take();
    }
}

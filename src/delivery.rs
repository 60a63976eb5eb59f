//! What arrives: [`Delivery`], a counted handle on an event that the dispatch thread has put in order.
//!
//! One allocation per event holds the event and its sequence for all subscribers; a delivery adds the loss that its
//! own subscriber had right before it.

use std::fmt;
use std::ops::Deref;

use crate::event::{BusEvent, Event};
use crate::sync::Arc;

/// An event with its place in the bus-wide order, allocated once and shared by all that match it.
pub(crate) struct Envelope<E> {
    pub(crate) sequence: u64,
    pub(crate) event: BusEvent<E>,
}

/// An event as one subscriber receives it: the event (by `Deref`), its [`sequence`](Delivery::sequence), and what this
/// subscriber lost right before it ([`missed`](Delivery::missed)).
///
/// Cloning is one reference count. A delivery that is kept keeps its event alive and nothing else.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
///
/// let bus = SharingBus::new();
/// let mut receiver = bus.subscribe_all();
/// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
///
/// let delivery = receiver.recv().unwrap();
/// assert_eq!(*delivery.event, Event::Connected);
/// assert_eq!((delivery.sequence(), delivery.missed()), (1, 0));
/// ```
pub struct Delivery<E = Event> {
    pub(crate) envelope: Arc<Envelope<E>>,
    pub(crate) missed: u64,
}

impl<E> Delivery<E> {
    /// How many events that matched this subscriber's filter it lost right before this one: after the previous
    /// delivery, or since it subscribed.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The event's place in the order in which the bus dispatched events, from 1. It is the same for every subscriber
    /// and strictly increases from one delivery of a subscriber to its next. A gap says only that events were
    /// dispatched in between, matching or not; for loss, see [`missed`](Delivery::missed).
    pub fn sequence(&self) -> u64 {
        self.envelope.sequence
    }
}

impl<E> Deref for Delivery<E> {
    type Target = BusEvent<E>;

    fn deref(&self) -> &BusEvent<E> {
        &self.envelope.event
    }
}

impl<E> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Delivery {
            envelope: Arc::clone(&self.envelope),
            missed: self.missed,
        }
    }
}

impl<E> fmt::Debug for Delivery<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("sequence", &self.sequence())
            .field("missed", &self.missed)
            .field("event", &self.envelope.event)
            .finish()
    }
}

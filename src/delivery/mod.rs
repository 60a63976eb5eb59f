//! What arrives: [`Delivery`], a counted handle on an event that the dispatch thread has put in order.
//!
//! The event and its sequence are the same for all subscribers and held once; a delivery adds the loss that its own
//! subscriber had right before it. Deliveries of one bundle are counted by a count of their receiver's own, which no
//! other receiver's core contends for.

pub(crate) mod parcel;

use std::fmt;
use std::ops::Deref;

use crate::delivery::parcel::{Bundle, Envelope, Merged, Parcel};
use crate::event::{BusEvent, Event};
use crate::sync::counted::Counted;

/// An event as one subscriber receives it: the event (by `Deref`), its [`sequence`](Delivery::sequence), and what this
/// subscriber lost right before it ([`missed`](Delivery::missed)).
///
/// Cloning is one reference count. Events that were dispatched together are held together: a delivery that is kept may
/// keep up to 63 others alive, all of which its receiver got too. To keep an event for long and nothing else, keep
/// `delivery.event.clone()` or `BusEvent::clone(&delivery)`.
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
    pub(crate) held: Held<E>,
    pub(crate) missed: u64,
}

/// What keeps a delivery's event alive.
pub(crate) enum Held<E> {
    Event(Counted<Envelope<E>>),
    Backlog(Counted<Envelope<E>>),
    Merged(Counted<Merged<E>>),
    /// The only event that its receiver has of a bundle.
    Part(Counted<Bundle<E>>, u8),
    /// One of several; counted apart from what other receivers have of the bundle.
    Shared(Counted<Share<E>>, u8),
}

/// One receiver's hold on a bundle.
pub(crate) struct Share<E>(pub(crate) Counted<Bundle<E>>);

impl<E> Held<E> {
    /// The first event of a parcel, without the others.
    pub(crate) fn single(parcel: Parcel<E>) -> Self {
        match parcel {
            Parcel::Event(envelope) => Held::Event(envelope),
            Parcel::Backlog(envelope) => Held::Backlog(envelope),
            Parcel::Merged(merged) => Held::Merged(merged),
            Parcel::Bundle { bundle, from, .. } => Held::Part(bundle, from),
        }
    }

    fn envelope(&self) -> &Envelope<E> {
        match self {
            Held::Event(envelope) | Held::Backlog(envelope) => envelope,
            Held::Merged(merged) => merged.parcel.first(),
            Held::Part(bundle, place) => bundle.envelope(*place),
            Held::Shared(share, place) => share.0.envelope(*place),
        }
    }
}

impl<E> Clone for Held<E> {
    fn clone(&self) -> Self {
        match self {
            Held::Event(envelope) => Held::Event(Counted::clone(envelope)),
            Held::Backlog(envelope) => Held::Backlog(Counted::clone(envelope)),
            Held::Merged(merged) => Held::Merged(Counted::clone(merged)),
            Held::Part(bundle, place) => Held::Part(Counted::clone(bundle), *place),
            Held::Shared(share, place) => Held::Shared(Counted::clone(share), *place),
        }
    }
}

impl<E> Delivery<E> {
    /// How many events that matched this subscriber's filter it lost right before this one: after the previous
    /// delivery, or since it subscribed.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// How many earlier events of its scroll went into this one while it waited for room, replaced by it or merged with
    /// it; always 0 but where the queue conflates ([`Overflow::Conflate`](crate::Overflow::Conflate)). They matched, and
    /// are neither lost nor delivered by themselves. Its [`sequence`](Delivery::sequence) is that of the newest of them.
    pub fn merged(&self) -> u64 {
        match &self.held {
            Held::Merged(merged) => merged.merged,
            Held::Event(_) | Held::Backlog(_) | Held::Part(..) | Held::Shared(..) => 0,
        }
    }

    /// Whether the event was dispatched before its subscriber joined, and is given to it from the bus's history (see
    /// [`backlog`](crate::SubscriptionBuilder::backlog)). After the first live event there is no more of them.
    pub fn is_backlog(&self) -> bool {
        matches!(self.held, Held::Backlog(_))
    }

    /// The event's place in the order in which the bus dispatched events, from 1. It is the same for every subscriber
    /// and strictly increases from one delivery of a subscriber to its next. A gap says only that events were
    /// dispatched in between, matching or not; for loss, see [`missed`](Delivery::missed).
    pub fn sequence(&self) -> u64 {
        self.held.envelope().sequence
    }
}

impl<E> Deref for Delivery<E> {
    type Target = BusEvent<E>;

    fn deref(&self) -> &BusEvent<E> {
        self.held.envelope().event()
    }
}

impl<E> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Delivery {
            held: self.held.clone(),
            missed: self.missed,
        }
    }
}

impl<E> fmt::Debug for Delivery<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("sequence", &self.sequence())
            .field("missed", &self.missed)
            .field("event", self.held.envelope().event())
            .finish()
    }
}

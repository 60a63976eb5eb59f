//! Deliveries: [`Delivery`], a counted handle to a dispatched event.
//!
//! 1. `parcel`: one event, or several behind one reference count, on their way to a receiver.
//!
//! All subscribers share one copy of an event and its sequence. A delivery adds the number of events that its
//! subscriber lost directly before it. `sync/counted.rs` counts the references. Each receiver has its own reference
//! count for the deliveries of a bundle. So receivers on different cores do not contend for one count.

pub(crate) mod parcel;

use std::fmt;
use std::ops::Deref;

use crate::delivery::parcel::Parcel;
use crate::event::{BusEvent, Event};

/// An event as one subscriber receives it. It dereferences to the [`BusEvent`].
///
/// A delivery also holds the event's [`sequence`](Delivery::sequence) and the number of events that this subscriber
/// lost directly before it ([`missed`](Delivery::missed)).
///
/// A clone costs one increment of a reference count. Events that were dispatched in one batch are stored together. A
/// long-lived delivery may therefore keep up to 63 other events alive, all of which its subscription delivered too.
/// Lost events are not among them, with two exceptions: events that a later batch displaced
/// ([`Overflow::DropOldest`](crate::Overflow::DropOldest)), and events of the first batch that did not fit into a
/// channel ([`forward_to`](crate::SubscriptionBuilder::forward_to)). To keep a single event for a long time, keep
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
    pub(crate) parcel: Parcel<E>,
    pub(crate) missed: u64,
}

impl<E> Delivery<E> {
    /// Returns the number of matching events that this subscriber lost directly before this event. For the first
    /// delivery, it counts the losses since the subscription began; otherwise, those since the previous delivery.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Returns the number of earlier events of the same scroll that this event replaced or absorbed.
    ///
    /// The number is always 0, unless the queue conflates ([`Overflow::Conflate`](crate::Overflow::Conflate)). Then
    /// events that wait for space in the queue are merged. Merged events matched the filter and are neither lost nor
    /// delivered by themselves. The [`sequence`](Delivery::sequence) is that of the newest merged event.
    pub fn merged(&self) -> u64 {
        match &self.parcel {
            Parcel::Merged(merged) => merged.merged,
            Parcel::Event(_) | Parcel::Backlog(_) | Parcel::Bundle { .. } | Parcel::Part(..) => 0,
        }
    }

    /// Returns `true` if the event is part of the backlog from the bus's history (see
    /// [`backlog`](crate::SubscriptionBuilder::backlog)). The bus dispatched such an event before live delivery to this
    /// subscription began. After the first live event, no backlog event follows.
    pub fn is_backlog(&self) -> bool {
        matches!(self.parcel, Parcel::Backlog(_))
    }

    /// Returns the event's position in the order in which the bus dispatched events, starting at 1.
    ///
    /// The sequence of an event is the same for all subscribers. For each subscriber, it strictly increases from one
    /// delivery to the next. A gap does not mean a loss, because the events in between may not match the filter. For
    /// losses, see [`missed`](Delivery::missed).
    pub fn sequence(&self) -> u64 {
        self.parcel.first().sequence
    }
}

impl<E> Deref for Delivery<E> {
    type Target = BusEvent<E>;

    fn deref(&self) -> &BusEvent<E> {
        self.parcel.first().event()
    }
}

impl<E> Clone for Delivery<E> {
    fn clone(&self) -> Self {
        Delivery {
            parcel: self.parcel.clone(),
            missed: self.missed,
        }
    }
}

impl<E> fmt::Debug for Delivery<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("sequence", &self.sequence())
            .field("missed", &self.missed)
            .field("event", self.parcel.first().event())
            .finish()
    }
}

//! Parcels: one event, or several behind one reference count, on their way from dispatch to a receiver.
//!
//! Events of a batch that go to the same subscribers are put into one [`Bundle`]. A batch for a thousand subscribers
//! then costs a thousand reference counts and a thousand queue entries in total, not per event. A bundle holds only
//! events that matched all of its subscribers. So a queue keeps no event alive that its subscriber did not match. A
//! delivery keeps its whole bundle alive, which is at most one batch of events.
//!
//! If a subscriber loses a part of a bundle, the rest is packed again for this subscriber alone
//! ([`repacked`](Parcel::repacked), [`detach`](Parcel::detach)). So the rest does not keep the lost events alive.
//!
//! A parcel is immutable once it is made, so only the reference counts need synchronization.

use crate::event::BusEvent;
use crate::sync::BATCH;
use crate::sync::counted::Counted;
use crate::sync::panic::DropGuarded;

/// An event with its sequence, which is its position in the bus-wide order.
///
/// Any thread may drop the last reference to an envelope, and may drop many envelopes at once. So the envelope catches
/// a panic of the payload's `Drop`.
pub(crate) struct Envelope<E> {
    pub(crate) sequence: u64,
    event: DropGuarded<BusEvent<E>>,
}

impl<E> Envelope<E> {
    pub(crate) fn new(sequence: u64, event: BusEvent<E>) -> Self {
        Envelope {
            sequence,
            event: DropGuarded::new(event),
        }
    }

    pub(crate) fn event(&self) -> &BusEvent<E> {
        &self.event
    }

    /// Returns an envelope that shares the payload.
    fn copy(&self) -> Self {
        Envelope::new(self.sequence, self.event().clone())
    }
}

/// Events of one batch, in dispatch order.
pub(crate) enum Bundle<E> {
    /// Events that only this bundle holds.
    Owned(Vec<Envelope<E>>),
    /// Events, some of which other bundles or queues also hold.
    Counted(Vec<Counted<Envelope<E>>>),
}

// The place of an event in a bundle is a `u8`.
const _: () = assert!(BATCH < 256);

impl<E> Bundle<E> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Bundle::Owned(events) => events.len(),
            Bundle::Counted(events) => events.len(),
        }
    }

    pub(crate) fn envelope(&self, place: u8) -> &Envelope<E> {
        let place = usize::from(place);
        match self {
            Bundle::Owned(events) => &events[place],
            Bundle::Counted(events) => &events[place],
        }
    }

    /// Returns the event at this place with a reference count of its own, so that it does not keep the bundle alive.
    fn detached(&self, place: u8) -> Counted<Envelope<E>> {
        match self {
            Bundle::Owned(_) => Counted::new(self.envelope(place).copy()),
            Bundle::Counted(events) => Counted::clone(&events[usize::from(place)]),
        }
    }
}

/// An event into which earlier events were merged.
pub(crate) struct Merged<E> {
    /// The resulting event, as a parcel of one event.
    pub(crate) parcel: Parcel<E>,
    /// Number of earlier events that were merged into it.
    pub(crate) merged: u64,
}

/// The content of one queue entry, and of one delivery.
pub(crate) enum Parcel<E> {
    Event(Counted<Envelope<E>>),
    /// An event that was dispatched before its receiver subscribed.
    Backlog(Counted<Envelope<E>>),
    Merged(Counted<Merged<E>>),
    /// The events of a bundle at the places `from..to`, which is at least one event.
    Bundle {
        bundle: Counted<Bundle<E>>,
        from: u8,
        to: u8,
    },
    /// One event of a bundle from which the receiver takes several events. Each receiver has its own outer reference
    /// count, so the receivers of one bundle do not contend for a cache line.
    Part(Counted<Counted<Bundle<E>>>, u8),
}

impl<E> Parcel<E> {
    /// Returns a parcel of all events of a bundle.
    pub(crate) fn whole(bundle: Counted<Bundle<E>>) -> Self {
        let to = bundle.len() as u8;
        Parcel::Bundle { bundle, from: 0, to }
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Parcel::Bundle { from, to, .. } => u64::from(to - from),
            Parcel::Event(_) | Parcel::Backlog(_) | Parcel::Merged(_) | Parcel::Part(..) => 1,
        }
    }

    /// Returns the first event.
    pub(crate) fn first(&self) -> &Envelope<E> {
        match self {
            Parcel::Event(envelope) | Parcel::Backlog(envelope) => envelope,
            Parcel::Merged(merged) => merged.parcel.first(),
            Parcel::Bundle { bundle, from, .. } => bundle.envelope(*from),
            Parcel::Part(bundle, place) => bundle.envelope(*place),
        }
    }

    /// Returns the first `len` events, at least one, in a parcel that does not keep the other events alive.
    #[inline(never)]
    pub(crate) fn repacked(&self, len: u64) -> Self {
        match self {
            Parcel::Bundle { bundle, from, .. } if len > 1 => {
                let events = (*from..*from + len as u8).map(|place| bundle.detached(place));
                Parcel::whole(Counted::new(Bundle::Counted(events.collect())))
            }
            Parcel::Bundle { bundle, from, .. } => Parcel::Event(bundle.detached(*from)),
            single => single.clone(),
        }
    }

    /// Makes a parcel of one event independent of the event's bundle, so that it does not keep the bundle alive.
    pub(crate) fn detach(&mut self) {
        if let Parcel::Bundle { bundle, from, .. } = self {
            *self = Parcel::Event(bundle.detached(*from));
        }
    }

    /// Removes the first `events` events. At least one must be left.
    pub(crate) fn skip(&mut self, events: u64) {
        if let Parcel::Bundle { from, .. } = self {
            *from += events as u8;
        }
    }

    /// Returns the same events, each in its own parcel.
    pub(crate) fn into_singles(self) -> impl Iterator<Item = Self> {
        let (single, bundled) = match self {
            Parcel::Bundle { bundle, from, to } => (None, Some((bundle, from..to))),
            single => (Some(single), None),
        };
        let parts = bundled.into_iter().flat_map(|(bundle, places)| {
            places.map(move |place| Parcel::Bundle {
                bundle: Counted::clone(&bundle),
                from: place,
                to: place + 1,
            })
        });
        single.into_iter().chain(parts)
    }
}

impl<E> Clone for Parcel<E> {
    fn clone(&self) -> Self {
        match self {
            Parcel::Event(envelope) => Parcel::Event(Counted::clone(envelope)),
            Parcel::Backlog(envelope) => Parcel::Backlog(Counted::clone(envelope)),
            Parcel::Merged(merged) => Parcel::Merged(Counted::clone(merged)),
            Parcel::Bundle { bundle, from, to } => Parcel::Bundle {
                bundle: Counted::clone(bundle),
                from: *from,
                to: *to,
            },
            Parcel::Part(bundle, place) => Parcel::Part(Counted::clone(bundle), *place),
        }
    }
}

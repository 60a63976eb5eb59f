//! Parcels: the items that the dispatch thread puts into queues. A parcel is one event or several events that share one
//! reference count.
//!
//! Events of a batch that go to the same subscribers form one [`Bundle`]. A bundle for a thousand subscribers costs a
//! thousand steps of one reference count and a thousand queue places. Single parcels would cost that many for each
//! event. All events of a bundle matched all subscribers that receive it. So no queue keeps an event alive that its
//! subscriber did not match. A delivery that is kept also keeps its bundle, which holds at most a batch of events.
//!
//! Parcels are immutable, so only their reference counts need synchronization.

use crate::boundary;
use crate::event::BusEvent;
use crate::lot::Counted;
use crate::sync::BATCH;

/// An event with its position in the bus-wide order.
pub(crate) struct Envelope<E> {
    pub(crate) sequence: u64,
    /// The event, until the envelope is dropped.
    event: Option<BusEvent<E>>,
}

impl<E> Envelope<E> {
    pub(crate) fn new(sequence: u64, event: BusEvent<E>) -> Self {
        Envelope {
            sequence,
            event: Some(event),
        }
    }

    pub(crate) fn event(&self) -> &BusEvent<E> {
        match &self.event {
            Some(event) => event,
            None => unreachable!("an envelope holds its event until it is dropped"),
        }
    }
}

impl<E> Drop for Envelope<E> {
    /// Drops the event behind the panic boundary. Any thread may drop an envelope, often many at once, and the
    /// payload's `Drop` may panic.
    fn drop(&mut self) {
        // Drop the event in place, because it is large and a move would cost time.
        let _ = boundary::run(|| self.event = None);
    }
}

/// Several events in order of their sequence.
pub(crate) enum Bundle<E> {
    /// Events that are only in this bundle.
    Owned(Vec<Envelope<E>>),
    /// Events of which some also go to other subscribers.
    Shared(Vec<Counted<Envelope<E>>>),
}

// The place of an event in a bundle is a `u8`.
const _: () = assert!(BATCH < 256);

impl<E> Bundle<E> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Bundle::Owned(events) => events.len(),
            Bundle::Shared(events) => events.len(),
        }
    }

    pub(crate) fn envelope(&self, place: u8) -> &Envelope<E> {
        let place = usize::from(place);
        match self {
            Bundle::Owned(events) => &events[place],
            Bundle::Shared(events) => &events[place],
        }
    }
}

/// An event into which earlier events were merged.
pub(crate) struct Merged<E> {
    /// The resulting single event.
    pub(crate) parcel: Parcel<E>,
    /// Number of earlier events.
    pub(crate) merged: u64,
}

/// An item of a queue: one or more events.
pub(crate) enum Parcel<E> {
    Event(Counted<Envelope<E>>),
    /// An event from the history.
    Backlog(Counted<Envelope<E>>),
    Merged(Counted<Merged<E>>),
    /// The events of a bundle in the places `from..to`, at least one.
    Bundle {
        bundle: Counted<Bundle<E>>,
        from: u8,
        to: u8,
    },
}

impl<E> Parcel<E> {
    /// Makes a parcel of all events of a bundle.
    pub(crate) fn whole(bundle: Counted<Bundle<E>>) -> Self {
        let to = bundle.len() as u8;
        Parcel::Bundle { bundle, from: 0, to }
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Parcel::Event(_) | Parcel::Backlog(_) | Parcel::Merged(_) => 1,
            Parcel::Bundle { from, to, .. } => u64::from(to - from),
        }
    }

    /// Returns the first event.
    pub(crate) fn first(&self) -> &Envelope<E> {
        match self {
            Parcel::Event(envelope) | Parcel::Backlog(envelope) => envelope,
            Parcel::Merged(merged) => merged.parcel.first(),
            Parcel::Bundle { bundle, from, .. } => bundle.envelope(*from),
        }
    }

    /// Keeps only the first `len` events; `len` must be at least 1.
    pub(crate) fn truncate(&mut self, len: u64) {
        if let Parcel::Bundle { from, to, .. } = self {
            *to = (*to).min(*from + len as u8);
        }
    }

    /// Removes the first `len` events and returns them, if both parts would contain at least one event.
    pub(crate) fn split(&mut self, len: u64) -> Option<Self> {
        match self {
            Parcel::Bundle { bundle, from, to } if len > 0 && len < u64::from(*to - *from) => {
                let first = Parcel::Bundle {
                    bundle: Counted::clone(bundle),
                    from: *from,
                    to: *from + len as u8,
                };
                *from += len as u8;
                Some(first)
            }
            _ => None,
        }
    }

    /// Returns one parcel for each event, in order.
    pub(crate) fn apart(self) -> impl Iterator<Item = Self> {
        let (single, bundled) = match self {
            Parcel::Event(_) | Parcel::Backlog(_) | Parcel::Merged(_) => (Some(self), None),
            Parcel::Bundle { bundle, from, to } => (None, Some((bundle, from..to))),
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

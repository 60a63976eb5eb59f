//! What travels from the dispatch thread to the queues: one event, or several behind one count.
//!
//! Events of a batch that go to the same subscribers are made into one [`Bundle`]. A batch for a thousand subscribers
//! then costs a thousand steps of one reference count and a thousand places in their queues, not that for each event.
//! A bundle holds only what matched everybody it is pushed to, so no queue keeps an event alive that its subscriber did
//! not ask for; a delivery that is kept keeps its bundle, a batch of events at most.
//!
//! Immutable once made: there is nothing to synchronise but the counts.

use crate::event::BusEvent;
use crate::sync::BATCH;
use crate::sync::counted::Counted;
use crate::sync::panic;

/// An event with its place in the bus-wide order.
pub(crate) struct Envelope<E> {
    pub(crate) sequence: u64,
    /// Taken when it is dropped.
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
    /// Envelopes are dropped by whoever comes last, many at once, so a payload that panics does so behind a boundary.
    fn drop(&mut self) {
        // In place: an event is too large to be moved for that.
        let _ = panic::run(|| self.event = None);
    }
}

/// Events in their order.
pub(crate) enum Bundle<E> {
    /// Which are nobody else's.
    Owned(Vec<Envelope<E>>),
    /// Some of which others get too.
    Shared(Vec<Counted<Envelope<E>>>),
}

// A place in a bundle is a `u8`.
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

/// An event that others went into.
pub(crate) struct Merged<E> {
    /// What became of them: a single event.
    pub(crate) parcel: Parcel<E>,
    /// How many others.
    pub(crate) merged: u64,
}

/// What is put into a queue at once.
pub(crate) enum Parcel<E> {
    Event(Counted<Envelope<E>>),
    /// One that was dispatched before its receiver joined.
    Backlog(Counted<Envelope<E>>),
    Merged(Counted<Merged<E>>),
    /// The events of a bundle from one place to another, at least one.
    Bundle {
        bundle: Counted<Bundle<E>>,
        from: u8,
        to: u8,
    },
}

impl<E> Parcel<E> {
    pub(crate) fn whole(bundle: Counted<Bundle<E>>) -> Self {
        let to = bundle.len() as u8;
        Parcel::Bundle { bundle, from: 0, to }
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Parcel::Event(_) | Parcel::Backlog(_) | Parcel::Merged(_) => 1,
            Parcel::Bundle { from, to, .. } => u64::from(to - from),
        }
    }

    /// The first event.
    pub(crate) fn first(&self) -> &Envelope<E> {
        match self {
            Parcel::Event(envelope) | Parcel::Backlog(envelope) => envelope,
            Parcel::Merged(merged) => merged.parcel.first(),
            Parcel::Bundle { bundle, from, .. } => bundle.envelope(*from),
        }
    }

    /// Keeps the first `len` events, at least one.
    pub(crate) fn truncate(&mut self, len: u64) {
        if let Parcel::Bundle { from, to, .. } = self {
            *to = (*to).min(*from + len as u8);
        }
    }

    /// Takes the first `len` events out, if there are as many and more; both parts have at least one.
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

    /// The same events, a parcel each.
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

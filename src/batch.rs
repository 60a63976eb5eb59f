//! The events that the dispatch thread has matched and not yet pushed.
//!
//! Private to the dispatch thread. Each event waits here with so many pushes ahead of it; the marks in the routing table
//! tell for whom. When the batch ends, each subscriber's events are handed out as one [`Parcel`]. The bundle in it is made
//! once for all that get the same events; those that nobody else gets move into it, and else it holds references.

use crate::lot::{Counted, Lot};
use crate::parcel::{Bundle, Envelope, Parcel};
use crate::sync::BATCH;

pub(crate) struct Batch<E> {
    events: Vec<Matched<E>>,
    /// The bundle made last, and the places it was made of: whoever is next probably gets the same.
    last: Option<(u64, Lot<Bundle<E>>)>,
}

struct Matched<E> {
    held: Held<E>,
    /// How many pushes there are, at most.
    pushes: usize,
}

enum Held<E> {
    /// By nobody else so far.
    Owned(Envelope<E>),
    /// With a handle for each push that is ahead.
    Shared(Lot<Envelope<E>>),
    Gone,
}

impl<E> Matched<E> {
    /// Whether nobody gets the event but those of `count` pushes.
    fn is_only_for(&self, count: usize) -> bool {
        self.pushes == count && matches!(self.held, Held::Owned(_))
    }

    fn take_owned(&mut self) -> Option<Envelope<E>> {
        match std::mem::replace(&mut self.held, Held::Gone) {
            Held::Owned(envelope) => Some(envelope),
            Held::Shared(_) | Held::Gone => None,
        }
    }

    /// A handle for a push, or for several at once.
    fn hand_out(&mut self) -> Option<Counted<Envelope<E>>> {
        if let Held::Shared(lot) = &mut self.held {
            return lot.take();
        }
        let envelope = self.take_owned()?;
        let (first, others) = Lot::new(envelope, self.pushes - 1);
        self.held = Held::Shared(others);
        Some(first)
    }
}

impl<E> Batch<E> {
    pub(crate) fn new() -> Self {
        Batch {
            events: Vec::with_capacity(BATCH),
            last: None,
        }
    }

    /// The place of the next event that is added.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Adds an event that so many subscribers get, at least one.
    pub(crate) fn add(&mut self, envelope: Envelope<E>, pushes: usize) {
        self.events.push(Matched {
            held: Held::Owned(envelope),
            pushes,
        });
    }

    /// The events at these places, a bit each, for a subscriber that matched them. `alike` is how many subscribers get just
    /// these and are served one after the other, this one being the first.
    pub(crate) fn parcel(&mut self, places: u64, alike: usize) -> Option<Parcel<E>> {
        if places.is_power_of_two() {
            let event = self.events[places.trailing_zeros() as usize].hand_out()?;
            return Some(Parcel::Event(event));
        }
        let bundle = match &mut self.last {
            Some((made_of, bundles)) if *made_of == places => bundles.take_or_clone()?,
            _ => {
                let (bundle, bundles) = Lot::new(self.bundle(places, alike), alike);
                self.last = Some((places, bundles));
                bundle
            }
        };
        Some(Parcel::whole(bundle))
    }

    fn bundle(&mut self, places: u64, alike: usize) -> Bundle<E> {
        let count = places.count_ones() as usize;
        if ones(places).all(|place| self.events[place].is_only_for(alike)) {
            let mut events = Vec::with_capacity(count);
            events.extend(ones(places).filter_map(|place| self.events[place].take_owned()));
            Bundle::Owned(events)
        } else {
            let mut events = Vec::with_capacity(count);
            events.extend(ones(places).filter_map(|place| self.events[place].hand_out()));
            Bundle::Shared(events)
        }
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.events.clear();
    }
}

/// The places of the ones in a word, from the lowest.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = word.trailing_zeros();
        word &= word.checked_sub(1)?;
        Some(place as usize)
    })
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::event::{BusEvent, EventRouting};
    use crate::sync::Arc;

    /// A batch of events with these numbers of pushes, and their payloads.
    fn batch(pushes: &[usize]) -> (Batch<u64>, Vec<Arc<u64>>) {
        let mut batch = Batch::new();
        let payloads = pushes.iter().zip(1..).map(|(pushes, sequence)| {
            let event = BusEvent::new(EventRouting::default(), sequence);
            let payload = Arc::clone(&event.event);
            batch.add(Envelope::new(sequence, event), *pushes);
            payload
        });
        let payloads = payloads.collect();
        (batch, payloads)
    }

    fn sequences(parcel: &Parcel<u64>) -> Vec<u64> {
        match parcel {
            Parcel::Event(envelope) => vec![envelope.sequence],
            Parcel::Bundle { bundle, from, to } => (*from..*to).map(|place| bundle.envelope(place).sequence).collect(),
        }
    }

    fn bundle(parcel: &Parcel<u64>) -> &Counted<Bundle<u64>> {
        match parcel {
            Parcel::Event(_) => panic!("a single event"),
            Parcel::Bundle { bundle, .. } => bundle,
        }
    }

    #[test]
    fn who_gets_the_same_shares_a_bundle_and_who_does_not_has_another() {
        let (mut batch, _) = batch(&[3, 2, 3]);
        let parcels = [0b111, 0b111, 0b101].map(|places| batch.parcel(places, 1).unwrap());
        assert_eq!(
            parcels.each_ref().map(sequences),
            [vec![1, 2, 3], vec![1, 2, 3], vec![1, 3]]
        );
        assert!(bundle(&parcels[0]).same(bundle(&parcels[1])));
        assert!(!bundle(&parcels[0]).same(bundle(&parcels[2])));
    }

    #[test]
    fn the_place_of_a_single_event_is_found() {
        let (mut batch, _) = batch(&[1, 2]);
        let [second, first, again] = [0b10, 0b01, 0b10].map(|places| batch.parcel(places, 1).unwrap());
        assert_eq!([second, first, again].each_ref().map(sequences), [[2], [1], [2]]);
    }

    /// Nothing is counted that can be moved, and what has been handed out is not held on to.
    #[test]
    fn events_move_into_the_only_bundle_that_they_are_for() {
        let (mut batch, payloads) = batch(&[2, 2, 3, 2]);
        let exclusive = batch.parcel(0b0011, 2).unwrap();
        assert!(matches!(**bundle(&exclusive), Bundle::Owned(_)));
        let shared = batch.parcel(0b1100, 2).unwrap();
        assert!(
            matches!(**bundle(&shared), Bundle::Shared(_)),
            "the third one has a push ahead"
        );
        let single = batch.parcel(0b0100, 1).unwrap();
        batch.clear();
        let counts = || payloads.iter().map(Arc::strong_count).collect::<Vec<_>>();
        drop((exclusive, shared));
        assert_eq!(counts(), [1, 1, 2, 1]);
        drop(single);
        assert_eq!(counts(), [1; 4]);
    }

    #[test]
    fn a_batch_begins_anew() {
        let (mut batch, _) = batch(&[1, 1]);
        let before = batch.parcel(0b11, 1).unwrap();
        batch.clear();
        assert_eq!(batch.len(), 0);
        for sequence in 3..=4 {
            batch.add(
                Envelope::new(sequence, BusEvent::new(EventRouting::default(), sequence)),
                1,
            );
        }
        let after = batch.parcel(0b11, 1).unwrap();
        assert_eq!([before, after].each_ref().map(sequences), [[1, 2], [3, 4]]);
    }
}

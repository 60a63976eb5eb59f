//! The events that the dispatch thread has matched and not yet pushed.
//!
//! Private to the dispatch thread. Each event waits here with so many pushes ahead of it; the marks in the routing table
//! tell for whom. When the batch ends, each subscriber's events are handed out in [`Parcel`]s: few go one by one, many as
//! one bundle. It is made once for all that get the same events; those that nobody else gets move into it, and else it
//! holds references.

use crate::delivery::parcel::{Bundle, Envelope, Parcel};
use crate::sync::counted::{Counted, Lot};
use crate::sync::{BATCH, BUNDLE};

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
        let held = Held::Owned(envelope);
        self.events.push(Matched { held, pushes });
    }

    /// The same for an event that somebody else has as well, with a handle for each push.
    pub(crate) fn add_shared(&mut self, lot: Lot<Envelope<E>>, pushes: usize) {
        let held = Held::Shared(lot);
        self.events.push(Matched { held, pushes });
    }

    /// Hands out the events at these places, a bit each, for a subscriber that matched them. `alike` is how many
    /// subscribers get just these and are served one after the other, this one being the first.
    pub(crate) fn hand_out(&mut self, places: u64, alike: usize, mut push: impl FnMut(Parcel<E>)) {
        if let Some(bundle) = self.bundle_of(places, alike) {
            return push(Parcel::whole(bundle));
        }
        for place in ones(places) {
            if let Some(event) = self.events[place].hand_out() {
                push(Parcel::Event(event));
            }
        }
    }

    /// The bundle of these events, unless they are too few for one to be worth its allocations.
    fn bundle_of(&mut self, places: u64, alike: usize) -> Option<Counted<Bundle<E>>> {
        match &mut self.last {
            Some((made_of, bundles)) if *made_of == places => bundles.take_or_clone(),
            _ => {
                let count = places.count_ones() as usize;
                if count == 1 || count * alike < BUNDLE {
                    return None;
                }
                let (bundle, bundles) = Lot::new(self.bundle(places, alike), alike);
                self.last = Some((places, bundles));
                Some(bundle)
            }
        }
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

    fn hand_out(batch: &mut Batch<u64>, places: u64, alike: usize) -> Vec<Parcel<u64>> {
        let mut parcels = Vec::new();
        batch.hand_out(places, alike, |parcel| parcels.push(parcel));
        parcels
    }

    fn sequences(parcels: &[Parcel<u64>]) -> Vec<u64> {
        let of = |parcel: &Parcel<u64>| match parcel {
            Parcel::Bundle { bundle, from, to } => (*from..*to).map(|place| bundle.envelope(place).sequence).collect(),
            single => vec![single.first().sequence],
        };
        parcels.iter().flat_map(of).collect()
    }

    fn bundle(parcels: &[Parcel<u64>]) -> &Counted<Bundle<u64>> {
        match parcels {
            [Parcel::Bundle { bundle, .. }] => bundle,
            _ => panic!("no bundle, or not alone"),
        }
    }

    const ALL: u64 = 0xff;
    const SOME: u64 = 0xf7;

    #[test]
    fn who_gets_the_same_shares_a_bundle_and_who_does_not_has_another() {
        let (mut batch, _) = batch(&[4; 8]);
        let parcels =
            [(ALL, 2), (ALL, 1), (SOME, 2), (ALL, 1)].map(|(places, alike)| hand_out(&mut batch, places, alike));
        let all: Vec<u64> = (1..=8).collect();
        let some = vec![1, 2, 3, 5, 6, 7, 8];
        assert_eq!(
            parcels.each_ref().map(|parcels| sequences(parcels)),
            [all.clone(), all.clone(), some, all]
        );
        assert!(bundle(&parcels[0]).same(bundle(&parcels[1])));
        assert!(!bundle(&parcels[0]).same(bundle(&parcels[2])));
    }

    #[test]
    fn few_events_go_one_by_one() {
        let (mut batch, _) = batch(&[1, 2, 1]);
        let parcels = [0b110, 0b001, 0b010].map(|places| hand_out(&mut batch, places, 1));
        assert_eq!(
            parcels.each_ref().map(|parcels| sequences(parcels)),
            [vec![2, 3], vec![1], vec![2]]
        );
        assert_eq!(parcels.each_ref().map(Vec::len), [2, 1, 1]);
    }

    /// Few for each are many for a row, which gets one bundle to its end.
    #[test]
    fn a_row_that_begins_with_a_bundle_ends_with_it() {
        let (mut batch, payloads) = batch(&[4; 2]);
        let parcels = [4, 3, 2, 1].map(|alike| hand_out(&mut batch, 0b11, alike));
        assert!(parcels.iter().all(|parcels| sequences(parcels) == [1, 2]));
        assert!(parcels.iter().all(|one| bundle(one).same(bundle(&parcels[0]))));
        assert!(matches!(**bundle(&parcels[3]), Bundle::Owned(_)));
        batch.clear();
        drop(parcels);
        assert_eq!(payloads.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1; 2]);
    }

    /// Nothing is counted that can be moved, and what has been handed out is not held on to.
    #[test]
    fn events_move_into_the_only_bundle_that_they_are_for() {
        let (mut batch, payloads) = batch(&[4, 4, 5, 4]);
        let exclusive = hand_out(&mut batch, 0b0011, 4);
        assert!(matches!(**bundle(&exclusive), Bundle::Owned(_)));
        let shared = hand_out(&mut batch, 0b1100, 4);
        assert!(
            matches!(**bundle(&shared), Bundle::Shared(_)),
            "the third one has a push ahead"
        );
        let single = hand_out(&mut batch, 0b0100, 1);
        batch.clear();
        let counts = || payloads.iter().map(Arc::strong_count).collect::<Vec<_>>();
        drop((exclusive, shared));
        assert_eq!(counts(), [1, 1, 2, 1]);
        drop(single);
        assert_eq!(counts(), [1; 4]);
    }

    #[test]
    fn a_batch_begins_anew() {
        let (mut batch, _) = batch(&[4; 2]);
        let before = hand_out(&mut batch, 0b11, 4);
        batch.clear();
        assert_eq!(batch.len(), 0);
        for sequence in 3..=4 {
            batch.add(
                Envelope::new(sequence, BusEvent::new(EventRouting::default(), sequence)),
                4,
            );
        }
        let after = hand_out(&mut batch, 0b11, 4);
        assert_eq!(
            [before, after].each_ref().map(|parcels| sequences(parcels)),
            [[1, 2], [3, 4]]
        );
    }
}

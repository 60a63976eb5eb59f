//! The matched events of a batch that are not yet delivered.
//!
//! Private to the dispatch thread. Each event is stored with its number of pushes, one for each matching subscriber.
//! The marks in the routing table record these subscribers. When the batch ends, the events of each subscriber are
//! taken as [`Parcel`]s: a few events one by one, many events as one bundle. Subscribers that matched the same events
//! share one bundle. If only these subscribers matched the events, the events move into the bundle. Otherwise, the
//! bundle holds references to the events.

use crate::delivery::parcel::{Bundle, Envelope, Parcel};
use crate::sync::counted::{Counted, Handles};
use crate::sync::{BATCH, BUNDLE};

pub(crate) struct Batch<E> {
    events: Vec<Matched<E>>,
    /// The last bundle, and the places of its events. The next subscriber often matches the same events.
    last: Option<(u64, Handles<Bundle<E>>)>,
}

/// A matched event.
enum Matched<E> {
    /// An event that only the batch holds so far, and the number of its pushes.
    Owned(Envelope<E>, usize),
    /// An event with one handle for each remaining push.
    Counted(Handles<Envelope<E>>),
    Taken,
}

impl<E> Matched<E> {
    /// Returns `true` if the event has exactly `count` pushes and no other owner.
    fn is_only_for(&self, count: usize) -> bool {
        matches!(self, Matched::Owned(_, pushes) if *pushes == count)
    }

    fn take_owned(&mut self) -> Option<Envelope<E>> {
        match std::mem::replace(self, Matched::Taken) {
            Matched::Owned(envelope, _) => Some(envelope),
            Matched::Counted(_) | Matched::Taken => None,
        }
    }

    /// Takes a handle for one push, or for several pushes of one bundle.
    fn take_handle(&mut self) -> Option<Counted<Envelope<E>>> {
        if let Matched::Counted(handles) = self {
            return handles.take();
        }
        let Matched::Owned(envelope, pushes) = std::mem::replace(self, Matched::Taken) else {
            return None;
        };
        let (first, others) = Handles::new(envelope, pushes - 1);
        *self = Matched::Counted(others);
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

    /// Returns the place of the next event.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Adds an event for `pushes` subscribers, at least one.
    pub(crate) fn add(&mut self, envelope: Envelope<E>, pushes: usize) {
        self.events.push(Matched::Owned(envelope, pushes));
    }

    /// Adds an event that has another owner as well, with a handle for each push.
    pub(crate) fn add_shared(&mut self, handles: Handles<Envelope<E>>) {
        self.events.push(Matched::Counted(handles));
    }

    /// Takes the events at these places, one bit each, as one bundle. `alike` is the number of consecutive subscribers,
    /// including this one, that matched exactly these events. Returns `None` if too few events match for a bundle to be
    /// worth its allocations.
    pub(crate) fn take_bundle(&mut self, places: u64, alike: usize) -> Option<Parcel<E>> {
        let bundle = match &mut self.last {
            Some((made_of, bundles)) if *made_of == places => bundles.take_or_clone()?,
            _ => {
                let count = places.count_ones() as usize;
                if count == 1 || count * alike < BUNDLE {
                    return None;
                }
                let (bundle, bundles) = Handles::new(self.bundle(places, alike), alike);
                self.last = Some((places, bundles));
                bundle
            }
        };
        Some(Parcel::whole(bundle))
    }

    /// Takes the events at these places, one bit each, as one parcel per event.
    pub(crate) fn take_each(&mut self, places: u64) -> impl Iterator<Item = Parcel<E>> {
        ones(places).filter_map(|place| self.events[place].take_handle().map(Parcel::Event))
    }

    fn bundle(&mut self, places: u64, alike: usize) -> Bundle<E> {
        let count = places.count_ones() as usize;
        if ones(places).all(|place| self.events[place].is_only_for(alike)) {
            let mut events = Vec::with_capacity(count);
            events.extend(ones(places).filter_map(|place| self.events[place].take_owned()));
            Bundle::Owned(events)
        } else {
            let mut events = Vec::with_capacity(count);
            events.extend(ones(places).filter_map(|place| self.events[place].take_handle()));
            Bundle::Counted(events)
        }
    }

    /// Drops all events.
    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.events.clear();
    }
}

/// Returns the positions of the set bits of a word, lowest first.
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

    /// Creates a batch of events with these numbers of pushes. Also returns the payloads.
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

    fn take(batch: &mut Batch<u64>, places: u64, alike: usize) -> Vec<Parcel<u64>> {
        match batch.take_bundle(places, alike) {
            Some(bundle) => vec![bundle],
            None => batch.take_each(places).collect(),
        }
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
            _ => panic!("a single bundle"),
        }
    }

    const ALL: u64 = 0xff;
    const SOME: u64 = 0xf7;

    #[test]
    fn subscribers_with_the_same_events_share_a_bundle() {
        let (mut batch, _) = batch(&[4; 8]);
        let parcels = [(ALL, 2), (ALL, 1), (SOME, 2), (ALL, 1)].map(|(places, alike)| take(&mut batch, places, alike));
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
    fn a_few_events_are_taken_one_by_one() {
        let (mut batch, _) = batch(&[1, 2, 1]);
        let parcels = [0b110, 0b001, 0b010].map(|places| take(&mut batch, places, 1));
        assert_eq!(
            parcels.each_ref().map(|parcels| sequences(parcels)),
            [vec![2, 3], vec![1], vec![2]]
        );
        assert_eq!(parcels.each_ref().map(Vec::len), [2, 1, 1]);
    }

    /// Even a few events form a bundle if enough consecutive subscribers share it.
    #[test]
    fn consecutive_subscribers_share_one_bundle() {
        let (mut batch, payloads) = batch(&[4; 2]);
        let parcels = [4, 3, 2, 1].map(|alike| take(&mut batch, 0b11, alike));
        assert!(parcels.iter().all(|parcels| sequences(parcels) == [1, 2]));
        assert!(parcels.iter().all(|one| bundle(one).same(bundle(&parcels[0]))));
        assert!(matches!(**bundle(&parcels[3]), Bundle::Owned(_)));
        batch.clear();
        drop(parcels);
        assert_eq!(payloads.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1; 2]);
    }

    /// Events are moved where possible, and the batch keeps no reference to taken events.
    #[test]
    fn events_move_into_a_bundle_that_is_their_only_owner() {
        let (mut batch, payloads) = batch(&[4, 4, 5, 4]);
        let exclusive = take(&mut batch, 0b0011, 4);
        assert!(matches!(**bundle(&exclusive), Bundle::Owned(_)));
        let shared = take(&mut batch, 0b1100, 4);
        assert!(
            matches!(**bundle(&shared), Bundle::Counted(_)),
            "the third event has another push"
        );
        let single = take(&mut batch, 0b0100, 1);
        batch.clear();
        let counts = || payloads.iter().map(Arc::strong_count).collect::<Vec<_>>();
        drop((exclusive, shared));
        assert_eq!(counts(), [1, 1, 2, 1]);
        drop(single);
        assert_eq!(counts(), [1; 4]);
    }

    #[test]
    fn a_cleared_batch_starts_from_the_first_place() {
        let (mut batch, _) = batch(&[4; 2]);
        let before = take(&mut batch, 0b11, 4);
        batch.clear();
        assert_eq!(batch.len(), 0);
        for sequence in 3..=4 {
            batch.add(
                Envelope::new(sequence, BusEvent::new(EventRouting::default(), sequence)),
                4,
            );
        }
        let after = take(&mut batch, 0b11, 4);
        assert_eq!(
            [before, after].each_ref().map(|parcels| sequences(parcels)),
            [[1, 2], [3, 4]]
        );
    }
}

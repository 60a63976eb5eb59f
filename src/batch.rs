//! The events that the dispatch thread has matched and not yet pushed.
//!
//! Private to the dispatch thread. Each event waits here with so many pushes ahead of it; the marks in the routing table
//! tell for whom. When the batch ends, each subscriber's events are handed out as one [`Parcel`]. The bundle in it is made
//! once for all that get the same events, and an event that nobody else gets moves into it.

use crate::parcel::{Bundle, Enclosed, Envelope, Parcel};
use crate::sync::{Arc, BATCH};

pub(crate) struct Batch<E> {
    events: Vec<Matched<E>>,
    /// The bundle made last, and the places it was made of: whoever is next probably gets the same.
    last: Option<(u64, Arc<Bundle<E>>)>,
}

struct Matched<E> {
    event: Option<Enclosed<E>>,
    /// How many pushes are ahead, at most.
    pushes: usize,
}

impl<E> Matched<E> {
    /// The event for `count` of its pushes. The last one is moved, not counted.
    fn hand_out(&mut self, count: usize) -> Option<Enclosed<E>> {
        self.pushes -= count;
        let event = self.event.take()?;
        if self.pushes == 0 {
            return Some(event);
        }
        let shared = event.into_shared();
        self.event = Some(Enclosed::Shared(Arc::clone(&shared)));
        Some(Enclosed::Shared(shared))
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

    pub(crate) fn add(&mut self, envelope: Envelope<E>, pushes: usize) {
        self.events.push(Matched {
            event: Some(Enclosed::Owned(envelope)),
            pushes,
        });
    }

    /// The events at these places, a bit each, for a subscriber that matched them. `alike` is how many subscribers get just
    /// these and are served one after the other, this one being the first.
    pub(crate) fn parcel(&mut self, places: u64, alike: usize) -> Option<Parcel<E>> {
        if places.is_power_of_two() {
            let event = self.events[places.trailing_zeros() as usize].hand_out(1)?;
            return Some(Parcel::Event(event.into_shared()));
        }
        match &self.last {
            Some((made_of, bundle)) if *made_of == places => Some(Parcel::whole(Arc::clone(bundle))),
            _ => Some(Parcel::whole(self.bundle(places, alike))),
        }
    }

    fn bundle(&mut self, places: u64, alike: usize) -> Arc<Bundle<E>> {
        let mut events = Vec::with_capacity(places.count_ones() as usize);
        events.extend(ones(places).filter_map(|place| self.events[place].hand_out(alike)));
        let bundle = Bundle::new(events);
        self.last = Some((places, Arc::clone(&bundle)));
        bundle
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

    fn bundle(parcel: &Parcel<u64>) -> &Arc<Bundle<u64>> {
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
        assert!(Arc::ptr_eq(bundle(&parcels[0]), bundle(&parcels[1])));
        assert!(!Arc::ptr_eq(bundle(&parcels[0]), bundle(&parcels[2])));
    }

    #[test]
    fn the_place_of_a_single_event_is_found() {
        let (mut batch, _) = batch(&[1, 2]);
        let [second, first, again] = [0b10, 0b01, 0b10].map(|places| batch.parcel(places, 1).unwrap());
        assert_eq!([second, first, again].each_ref().map(sequences), [[2], [1], [2]]);
    }

    /// Nothing is counted that can be moved, and what has been handed out is not held on to.
    #[test]
    fn the_last_push_takes_the_event_along() {
        let (mut alike, payloads) = batch(&[2, 3]);
        let parcel = alike.parcel(0b11, 2).unwrap();
        let owned = |place: usize| matches!(bundle(&parcel).enclosed(place), Enclosed::Owned(_));
        assert_eq!([owned(0), owned(1)], [true, false], "the second one has a push ahead");
        let single = alike.parcel(0b10, 1).unwrap();
        alike.clear();
        drop(parcel);
        assert_eq!(payloads.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1, 2]);
        drop(single);
        assert_eq!(payloads.iter().map(Arc::strong_count).collect::<Vec<_>>(), [1, 1]);
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

//! What waits for room in a queue that conflates: one event for each scroll, in order of their sequence.
//!
//! Private to the dispatch thread. Each that waits knows what was lost right before it, so that the loss is told where it
//! was.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::delivery::parcel::{Envelope, Merged, Parcel};
use crate::event::{BusEvent, EventRouting};
use crate::sync::Arc;
use crate::sync::counted::Counted;
use crate::sync::panic;

/// Makes one event of the one that waits and a newer one, or refuses the newer one.
pub(crate) type Merge<E> = Box<dyn Fn(&BusEvent<E>, BusEvent<E>) -> Option<BusEvent<E>> + Send + Sync>;

/// Whose event it is: only one for each waits.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Owner {
    Scroll(Uuid),
    /// Without a scroll: its connector and session, as far as it names them.
    Session(Option<Arc<str>>, Option<Arc<str>>),
}

impl Owner {
    fn of(routing: &EventRouting) -> Self {
        match routing.scroll_id {
            Some(scroll) => Owner::Scroll(scroll),
            None => Owner::Session(routing.connector_id.clone(), routing.native_session_id.clone()),
        }
    }
}

struct Pending<E> {
    owner: Owner,
    /// A single event.
    parcel: Parcel<E>,
    /// How many others went into it.
    merged: u64,
    lost_before: u64,
}

/// What became of an event that has to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// It, or older ones in its favour.
    pub(super) lost: u64,
    pub(super) panics: u64,
}

/// The oldest of what has waited.
pub(super) struct Taken<E> {
    pub(super) parcel: Parcel<E>,
    /// How many others went into it.
    pub(super) merged: u64,
    pub(super) lost_before: u64,
}

pub(super) struct Conflation<E> {
    limit: usize,
    merge: Option<Merge<E>>,
    /// By sequence.
    pending: BTreeMap<u64, Pending<E>>,
    /// The sequence of what waits for each owner.
    sequences: HashMap<Owner, u64>,
    /// How many events wait, those that went into others included.
    waiting: u64,
    /// Behind all that waits.
    lost_after: u64,
}

impl<E> Conflation<E> {
    pub(super) fn new(limit: usize, merge: Option<Merge<E>>) -> Self {
        Conflation {
            limit,
            merge,
            pending: BTreeMap::new(),
            sequences: HashMap::new(),
            waiting: 0,
            lost_after: 0,
        }
    }

    /// How many events wait, those that went into others included.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Takes what was lost since the last event, to be told before the next one, which does not wait.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_after)
    }

    /// Takes the oldest.
    pub(super) fn pop(&mut self) -> Option<Taken<E>> {
        let Pending {
            parcel,
            merged,
            lost_before,
            ..
        } = self.take_oldest()?;
        let parcel = match merged {
            0 => parcel,
            _ => Parcel::Merged(Counted::new(Merged { parcel, merged })),
        };
        Some(Taken {
            parcel,
            merged,
            lost_before,
        })
    }

    fn take_oldest(&mut self) -> Option<Pending<E>> {
        let (_, oldest) = self.pending.pop_first()?;
        self.sequences.remove(&oldest.owner);
        self.waiting -= oldest.merged + 1;
        Some(oldest)
    }

    /// Lets go of all that waits, and returns how many events it was.
    pub(super) fn clear(&mut self) -> u64 {
        self.sequences.clear();
        self.pending.clear();
        std::mem::take(&mut self.waiting)
    }

    /// Adds a single event, the newest so far.
    pub(super) fn add(&mut self, parcel: Parcel<E>) -> Added {
        let owner = Owner::of(&parcel.first().event().routing);
        match self.sequences.get(&owner) {
            Some(&sequence) => self.merge_into(sequence, parcel),
            None => self.insert(owner, parcel),
        }
    }

    fn insert(&mut self, owner: Owner, parcel: Parcel<E>) -> Added {
        let mut added = Added::default();
        if self.pending.len() == self.limit {
            if let Some(oldest) = self.take_oldest() {
                // With all that went into it.
                added.lost = oldest.merged + 1;
                self.lose_before_first(oldest.lost_before + added.lost);
            }
        }
        self.append(Pending {
            owner,
            parcel,
            merged: 0,
            lost_before: 0,
        });
        added
    }

    /// Puts a newer event in the place of the one that waits, or merges it into that; either then stands last.
    fn merge_into(&mut self, sequence: u64, newer: Parcel<E>) -> Added {
        let merged = match (&self.merge, self.pending.get(&sequence)) {
            (Some(merge), Some(older)) => {
                let (older, newer) = (older.parcel.first(), newer.first());
                let merged = panic::run(|| merge(older.event(), newer.event().clone()));
                merged.map(|event| event.map(|event| Parcel::Event(Counted::new(Envelope::new(newer.sequence, event)))))
            }
            _ => Ok(Some(newer)),
        };
        match merged {
            Ok(Some(parcel)) => {
                self.replace(sequence, parcel);
                Added::default()
            }
            refused => {
                self.lost_after += 1;
                Added {
                    lost: 1,
                    panics: u64::from(refused.is_err()),
                }
            }
        }
    }

    fn replace(&mut self, sequence: u64, parcel: Parcel<E>) {
        let Some(older) = self.pending.remove(&sequence) else {
            return;
        };
        // What was lost before the one that goes is lost before the one that followed it.
        match self.pending.range_mut(sequence..).next() {
            Some((_, following)) => following.lost_before += older.lost_before,
            None => self.lost_after += older.lost_before,
        }
        self.append(Pending {
            owner: older.owner,
            parcel,
            merged: older.merged + 1,
            lost_before: 0,
        });
    }

    /// Adds one that is newer than all, and for whose owner none waits.
    fn append(&mut self, mut newest: Pending<E>) {
        self.waiting += 1;
        newest.lost_before += self.take_lost();
        let sequence = newest.parcel.first().sequence;
        self.sequences.insert(newest.owner.clone(), sequence);
        self.pending.insert(sequence, newest);
    }

    fn lose_before_first(&mut self, lost: u64) {
        match self.pending.first_entry() {
            Some(mut first) => first.get_mut().lost_before += lost,
            None => self.lost_after += lost,
        }
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::event::EventKind;

    /// An event of this scroll; 0 is none.
    fn event(sequence: u64, scroll: u128) -> Parcel<u64> {
        let routing = EventRouting {
            scroll_id: (scroll > 0).then(|| Uuid::from_u128(scroll)),
            ..EventRouting::default()
        };
        let event = BusEvent::new(routing, sequence);
        Parcel::Event(Counted::new(Envelope::new(sequence, event)))
    }

    fn add(conflation: &mut Conflation<u64>, scrolls: &[u128]) -> Vec<Added> {
        let events = scrolls.iter().zip(1..);
        events
            .map(|(scroll, sequence)| conflation.add(event(sequence, *scroll)))
            .collect()
    }

    /// Sequence, lost before, merged.
    fn drain(conflation: &mut Conflation<u64>) -> Vec<(u64, u64, u64)> {
        std::iter::from_fn(|| conflation.pop())
            .map(|taken| (taken.parcel.first().sequence, taken.lost_before, taken.merged))
            .collect()
    }

    #[test]
    fn the_newest_of_each_scroll_waits_where_it_would_stand_alone() {
        let mut conflation = Conflation::new(9, None);
        let added = add(&mut conflation, &[1, 2, 1, 3, 2, 2]);
        assert_eq!(added, [Added::default(); 6]);
        assert_eq!(conflation.waiting(), 6);
        assert_eq!(drain(&mut conflation), [(3, 0, 1), (4, 0, 0), (6, 0, 2)]);
        assert_eq!((conflation.sequences.len(), conflation.waiting()), (0, 0));
    }

    #[test]
    fn beyond_the_limit_the_oldest_is_lost_and_told_before_the_next() {
        let mut conflation = Conflation::new(2, None);
        add(&mut conflation, &[1, 2, 3, 4]);
        assert_eq!(drain(&mut conflation), [(3, 2, 0), (4, 0, 0)]);
        let mut conflation = Conflation::new(1, None);
        let added = add(&mut conflation, &[1, 1, 2, 3]);
        let lost: Vec<_> = added.iter().map(|added| added.lost).collect();
        assert_eq!(lost, [0, 0, 2, 1], "with what went into it");
        assert_eq!(drain(&mut conflation), [(4, 3, 0)]);
    }

    /// The loss before one that moves on stays where it was.
    #[test]
    fn a_loss_stays_in_its_place_as_the_event_behind_it_is_replaced() {
        let mut conflation = Conflation::new(2, None);
        add(&mut conflation, &[1, 2, 3]);
        conflation.add(event(4, 2));
        assert_eq!(drain(&mut conflation), [(3, 1, 0), (4, 0, 1)]);
        let mut conflation = Conflation::new(1, None);
        add(&mut conflation, &[1, 2, 2]);
        assert_eq!(drain(&mut conflation), [(3, 1, 1)]);
    }

    #[test]
    fn a_newer_one_that_is_refused_is_lost_behind_what_waits() {
        let mut conflation = Conflation::new(9, Some(Box::new(|_: &BusEvent<u64>, _| None)));
        let added = add(&mut conflation, &[1, 1, 2, 2]);
        assert_eq!(added.iter().map(|added| added.lost).sum::<u64>(), 2);
        assert_eq!(drain(&mut conflation), [(1, 0, 0), (3, 1, 0)]);
        assert_eq!(conflation.take_lost(), 1);
    }

    #[test]
    fn a_function_makes_one_of_two_under_the_sequence_of_the_newer() {
        let sum = |older: &BusEvent<u64>, newer: BusEvent<u64>| {
            Some(BusEvent::new(newer.routing.clone(), *older.event + *newer.event))
        };
        let mut conflation = Conflation::new(9, Some(Box::new(sum)));
        add(&mut conflation, &[1, 1, 1]);
        let parcel = conflation.pop().unwrap().parcel;
        assert_eq!((parcel.first().sequence, *parcel.first().event().event), (3, 6));
    }

    #[test]
    fn a_function_that_panics_loses_the_newer_one() {
        let mut conflation = Conflation::new(9, Some(Box::new(|_: &BusEvent<u64>, _| panic!("as told"))));
        let added = add(&mut conflation, &[1, 1]);
        assert_eq!((added[1].lost, added[1].panics), (1, 1));
        assert_eq!(drain(&mut conflation), [(1, 0, 0)]);
    }

    #[test]
    fn without_a_scroll_each_session_has_its_own() {
        let mut conflation = Conflation::new(9, None);
        for (sequence, session) in [(1, "a"), (2, "b"), (3, "a")] {
            let routing = EventRouting::session("c", session, EventKind::Output);
            let event = BusEvent::new(routing, sequence);
            conflation.add(Parcel::Event(Counted::new(Envelope::new(sequence, event))));
        }
        conflation.add(event(4, 0));
        conflation.add(event(5, 0));
        assert_eq!(drain(&mut conflation), [(2, 0, 0), (3, 0, 1), (5, 0, 1)]);
    }
}

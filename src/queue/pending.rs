//! The events that wait beside a full conflating queue: one for each scroll, in order of sequence.
//!
//! Private to the dispatch thread. Each waiting event holds the number of events lost directly before it, so that the
//! loss is reported in its place.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use crate::delivery::parcel::{Envelope, Merged, Parcel};
use crate::event::{BusEvent, EventRouting};
use crate::sync::Arc;
use crate::sync::counted::Counted;
use crate::sync::panic::{self, DropGuarded, Streak};

/// A function that merges a newer event into a waiting one. It returns `None` to refuse the newer event. The function is
/// dropped with its queue, on any thread, so it is guarded.
pub(crate) type Merge<E> = DropGuarded<MergeFunction<E>>;

type MergeFunction<E> = Box<dyn Fn(&BusEvent<E>, BusEvent<E>) -> Option<BusEvent<E>> + Send + Sync>;

/// The scroll or session of an event. At most one event of each owner waits.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Owner {
    Scroll(Uuid),
    /// The connector and the session of an event without a scroll, if the event names them.
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
    /// A parcel of one event.
    parcel: Parcel<E>,
    /// Number of other events that were merged into it.
    merged: u64,
    lost_before: u64,
}

/// The result of adding an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Added {
    /// Number of lost events: the added one, or older ones that it displaced.
    pub(super) lost: u64,
    /// The merge function panicked.
    pub(super) panicked: bool,
    /// The merge function has panicked too often in a row.
    pub(super) failed: bool,
}

/// An event that no longer waits.
pub(super) struct Taken<E> {
    pub(super) parcel: Parcel<E>,
    /// Number of other events that were merged into it.
    pub(super) merged: u64,
    pub(super) lost_before: u64,
}

pub(super) struct PendingEvents<E> {
    limit: usize,
    merge: Option<Merge<E>>,
    /// The consecutive panics of the merge function.
    merge_panics: Streak,
    by_sequence: BTreeMap<u64, Pending<E>>,
    /// The sequence of the event that waits for each owner.
    sequences: HashMap<Owner, u64>,
    /// Number of waiting events, including those merged into others.
    waiting: u64,
    /// Number of events lost after the last waiting event.
    lost_after: u64,
}

impl<E> PendingEvents<E> {
    pub(super) fn new(limit: usize, merge: Option<Merge<E>>) -> Self {
        PendingEvents {
            limit,
            merge,
            merge_panics: Streak::default(),
            by_sequence: BTreeMap::new(),
            sequences: HashMap::new(),
            waiting: 0,
            lost_after: 0,
        }
    }

    /// Returns the number of waiting events, including those merged into others.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_sequence.is_empty()
    }

    /// Returns and resets the number of events lost after the last waiting event. The next event reports this number.
    pub(super) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost_after)
    }

    /// Removes the oldest event.
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
        let (_, oldest) = self.by_sequence.pop_first()?;
        self.sequences.remove(&oldest.owner);
        self.waiting -= oldest.merged + 1;
        Some(oldest)
    }

    /// Drops all waiting events, and returns their number.
    pub(super) fn clear(&mut self) -> u64 {
        self.sequences.clear();
        self.by_sequence.clear();
        std::mem::take(&mut self.waiting)
    }

    /// Adds an event, the newest so far, in a parcel of its own.
    pub(super) fn add(&mut self, parcel: Parcel<E>) -> Added {
        let owner = Owner::of(&parcel.first().event().routing);
        match self.sequences.get(&owner) {
            Some(&sequence) => self.merge_into(sequence, parcel),
            None => self.insert(owner, parcel),
        }
    }

    /// Makes the events from this sequence on independent of their bundles, which hold events that no longer wait.
    pub(super) fn detach_from(&mut self, sequence: u64) {
        for (_, pending) in self.by_sequence.range_mut(sequence..) {
            pending.parcel.detach();
        }
    }

    fn insert(&mut self, owner: Owner, parcel: Parcel<E>) -> Added {
        let mut added = Added::default();
        if self.by_sequence.len() == self.limit {
            if let Some(oldest) = self.take_oldest() {
                // The events merged into the oldest event are lost with it.
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

    /// Replaces the waiting event with a newer one, or merges the two events. The result moves to the end.
    fn merge_into(&mut self, sequence: u64, newer: Parcel<E>) -> Added {
        let mut failed = false;
        let merged = match (&self.merge, self.by_sequence.get(&sequence)) {
            (Some(merge), Some(older)) => {
                let (older, newer) = (older.parcel.first(), newer.first());
                let merged = panic::run(|| merge(older.event(), newer.event().clone()));
                failed = self.merge_panics.record(&merged);
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
                    panicked: refused.is_err(),
                    failed,
                }
            }
        }
    }

    fn replace(&mut self, sequence: u64, parcel: Parcel<E>) {
        let Some(older) = self.by_sequence.remove(&sequence) else {
            return;
        };
        // Events lost before the removed event are now lost before the event that followed it.
        match self.by_sequence.range_mut(sequence..).next() {
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

    /// Adds an event that is newer than all others and whose owner has no waiting event.
    fn append(&mut self, mut newest: Pending<E>) {
        self.waiting += 1;
        newest.lost_before += self.take_lost();
        let sequence = newest.parcel.first().sequence;
        self.sequences.insert(newest.owner.clone(), sequence);
        self.by_sequence.insert(sequence, newest);
    }

    fn lose_before_first(&mut self, lost: u64) {
        match self.by_sequence.first_entry() {
            Some(mut first) => first.get_mut().lost_before += lost,
            None => self.lost_after += lost,
        }
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::event::EventKind;

    /// Creates an event of this scroll. 0 means no scroll.
    fn event(sequence: u64, scroll: u128) -> Parcel<u64> {
        let routing = EventRouting {
            scroll_id: (scroll > 0).then(|| Uuid::from_u128(scroll)),
            ..EventRouting::default()
        };
        let event = BusEvent::new(routing, sequence);
        Parcel::Event(Counted::new(Envelope::new(sequence, event)))
    }

    fn add(pending: &mut PendingEvents<u64>, scrolls: &[u128]) -> Vec<Added> {
        let events = scrolls.iter().zip(1..);
        events
            .map(|(scroll, sequence)| pending.add(event(sequence, *scroll)))
            .collect()
    }

    /// Removes all events. Returns the sequence, the losses before it, and the number of merged events of each.
    fn drain(pending: &mut PendingEvents<u64>) -> Vec<(u64, u64, u64)> {
        std::iter::from_fn(|| pending.pop())
            .map(|taken| (taken.parcel.first().sequence, taken.lost_before, taken.merged))
            .collect()
    }

    #[test]
    fn the_newest_event_of_each_scroll_waits_in_order_of_sequence() {
        let mut pending = PendingEvents::new(9, None);
        let added = add(&mut pending, &[1, 2, 1, 3, 2, 2]);
        assert_eq!(added, [Added::default(); 6]);
        assert_eq!(pending.waiting(), 6);
        assert_eq!(drain(&mut pending), [(3, 0, 1), (4, 0, 0), (6, 0, 2)]);
        assert_eq!((pending.sequences.len(), pending.waiting()), (0, 0));
    }

    #[test]
    fn beyond_the_limit_the_oldest_event_is_lost_and_the_next_one_reports_it() {
        let mut pending = PendingEvents::new(2, None);
        add(&mut pending, &[1, 2, 3, 4]);
        assert_eq!(drain(&mut pending), [(3, 2, 0), (4, 0, 0)]);
        let mut pending = PendingEvents::new(1, None);
        let added = add(&mut pending, &[1, 1, 2, 3]);
        let lost: Vec<_> = added.iter().map(|added| added.lost).collect();
        assert_eq!(lost, [0, 0, 2, 1], "the events merged into it are lost too");
        assert_eq!(drain(&mut pending), [(4, 3, 0)]);
    }

    #[test]
    fn a_loss_keeps_its_place_when_the_event_behind_it_is_replaced() {
        let mut pending = PendingEvents::new(2, None);
        add(&mut pending, &[1, 2, 3]);
        pending.add(event(4, 2));
        assert_eq!(drain(&mut pending), [(3, 1, 0), (4, 0, 1)]);
        let mut pending = PendingEvents::new(1, None);
        add(&mut pending, &[1, 2, 2]);
        assert_eq!(drain(&mut pending), [(3, 1, 1)]);
    }

    #[test]
    fn a_refused_newer_event_is_lost_after_the_waiting_ones() {
        let mut pending = PendingEvents::new(9, Some(DropGuarded::new(Box::new(|_: &BusEvent<u64>, _| None))));
        let added = add(&mut pending, &[1, 1, 2, 2]);
        assert_eq!(added.iter().map(|added| added.lost).sum::<u64>(), 2);
        assert_eq!(drain(&mut pending), [(1, 0, 0), (3, 1, 0)]);
        assert_eq!(pending.take_lost(), 1);
    }

    #[test]
    fn a_merged_event_has_the_sequence_of_the_newer_one() {
        let sum = |older: &BusEvent<u64>, newer: BusEvent<u64>| {
            Some(BusEvent::new(newer.routing.clone(), *older.event + *newer.event))
        };
        let mut pending = PendingEvents::new(9, Some(DropGuarded::new(Box::new(sum))));
        add(&mut pending, &[1, 1, 1]);
        let parcel = pending.pop().unwrap().parcel;
        assert_eq!((parcel.first().sequence, *parcel.first().event().event), (3, 6));
    }

    #[test]
    fn a_merge_function_that_panics_loses_the_newer_event() {
        let mut pending = PendingEvents::new(
            9,
            Some(DropGuarded::new(Box::new(|_: &BusEvent<u64>, _| panic!("on purpose")))),
        );
        let added = add(&mut pending, &[1, 1]);
        assert_eq!((added[1].lost, added[1].panicked, added[1].failed), (1, true, false));
        assert_eq!(drain(&mut pending), [(1, 0, 0)]);
    }

    #[test]
    fn without_a_scroll_one_event_of_each_session_waits() {
        let mut pending = PendingEvents::new(9, None);
        for (sequence, session) in [(1, "a"), (2, "b"), (3, "a")] {
            let routing = EventRouting::session("c", session, EventKind::Output);
            let event = BusEvent::new(routing, sequence);
            pending.add(Parcel::Event(Counted::new(Envelope::new(sequence, event))));
        }
        pending.add(event(4, 0));
        pending.add(event(5, 0));
        assert_eq!(drain(&mut pending), [(2, 0, 0), (3, 0, 1), (5, 0, 1)]);
    }
}

//! One state of the subscriber list: an immutable sequence of slots, in order of id.
//!
//! A state never changes, so nothing here is synchronized. A change creates a new state, which shares the unchanged
//! parts with the old state. The slots are stored in chunks, each behind an `Arc`. So a change copies the affected
//! chunks and the list of chunks, instead of one reference for every subscriber. A comparison of two states skips the
//! chunks that both contain.

use crate::event::Event;
use crate::filter::EventFilter;
use crate::queue::{QueueProducer, QueueState};
use crate::subscribers::id::SubscriberId;
use crate::subscribers::terms::IndexTerms;
use crate::sync::{Arc, CHUNK, Mutex};

/// The part of a subscription that never changes.
pub(crate) struct Subscription<E> {
    pub(crate) id: SubscriberId,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) queue: Arc<QueueState>,
    /// Number of earlier events that the subscriber requested.
    pub(crate) backlog: usize,
    /// The producer, until the dispatch thread takes it.
    pub(crate) producer: Mutex<Option<QueueProducer<E>>>,
}

/// An entry of the list: a subscription with its current filter.
pub(crate) struct Slot<E = Event> {
    pub(crate) subscription: Arc<Subscription<E>>,
    pub(crate) filter: EventFilter<E>,
    /// The index terms of the filter.
    pub(crate) terms: IndexTerms,
}

/// A filter with its index terms. The analysis of a large filter takes long, so it precedes the lock of the list.
pub(crate) struct Analyzed<E> {
    filter: EventFilter<E>,
    terms: IndexTerms,
}

impl<E> Analyzed<E> {
    pub(crate) fn new(filter: EventFilter<E>) -> Self {
        let terms = IndexTerms::of(&filter);
        Analyzed { filter, terms }
    }
}

impl<E> Slot<E> {
    pub(crate) fn new(subscription: Arc<Subscription<E>>, analyzed: Analyzed<E>) -> Self {
        let Analyzed { filter, terms } = analyzed;
        Slot {
            subscription,
            filter,
            terms,
        }
    }

    pub(crate) fn id(&self) -> SubscriberId {
        self.subscription.id
    }
}

/// A chunk is never empty and never longer than `CHUNK`.
type Chunk<E> = Vec<Arc<Slot<E>>>;

pub(crate) type SlotRefs<'a, E> = Vec<&'a Arc<Slot<E>>>;

/// One state of the list.
pub(crate) struct SubscriberList<E> {
    chunks: Vec<Arc<Chunk<E>>>,
}

impl<E> SubscriberList<E> {
    pub(crate) fn new() -> Self {
        SubscriberList { chunks: Vec::new() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Slot<E>>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn get(&self, id: SubscriberId) -> Option<&Arc<Slot<E>>> {
        let (chunk, place) = self.position(id)?;
        Some(&self.chunks[chunk][place])
    }

    /// Returns the list with one more slot, whose id is the highest.
    pub(crate) fn with(&self, slot: Arc<Slot<E>>) -> Self {
        let mut next = self.copy();
        match next.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => {
                let mut longer = Vec::with_capacity(last.len() + 1);
                longer.extend_from_slice(last);
                longer.push(slot);
                *last = Arc::new(longer);
            }
            _ => next.chunks.push(Arc::new(vec![slot])),
        }
        next
    }

    /// Returns the list with the slot of the same id replaced by this slot.
    pub(crate) fn with_replaced(&self, slot: Arc<Slot<E>>) -> Self {
        let mut next = self.copy();
        if let Some((chunk, place)) = self.position(slot.id()) {
            let mut changed = self.chunks[chunk].to_vec();
            changed[place] = slot;
            next.chunks[chunk] = Arc::new(changed);
        }
        next
    }

    /// Returns the list without the slots of these ids, and the removed slots. `ids` is sorted; ids that are not listed
    /// have no effect.
    pub(crate) fn without(&self, ids: &[SubscriberId]) -> (Self, SlotRefs<'_, E>) {
        let mut next = SubscriberList {
            chunks: Vec::with_capacity(self.chunks.len()),
        };
        let mut removed = SlotRefs::new();
        let mut ids = ids;
        for chunk in &self.chunks {
            let here = chunk
                .last()
                .map_or(0, |last| ids.partition_point(|id| *id <= last.id()));
            let (gone, later) = ids.split_at(here);
            ids = later;
            if gone.is_empty() {
                next.chunks.push(Arc::clone(chunk));
            } else {
                let is_gone = |slot: &&Arc<Slot<E>>| gone.binary_search(&slot.id()).is_ok();
                let (leave, stay): (SlotRefs<'_, E>, SlotRefs<'_, E>) = chunk.iter().partition(is_gone);
                removed.extend(leave);
                next.append(stay.into_iter().cloned().collect());
            }
        }
        (next, removed)
    }

    /// Appends the rest of a chunk, to the last chunk if both fit into one. So chunks are at least half full on
    /// average.
    fn append(&mut self, rest: Chunk<E>) {
        match self.chunks.last_mut() {
            _ if rest.is_empty() => {}
            Some(last) if last.len() + rest.len() <= CHUNK => *last = Arc::new([&last[..], &rest[..]].concat()),
            _ => self.chunks.push(Arc::new(rest)),
        }
    }

    /// Compares two states. Returns the slots that only `before` contains and those that only `self` contains, each in
    /// order of id. A replaced subscription has a slot in both. The cost is one step per chunk, and one per slot of the
    /// chunks that differ.
    pub(crate) fn changes<'a>(&'a self, before: &'a Self) -> (SlotRefs<'a, E>, SlotRefs<'a, E>) {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let mut befores = before.chunks.iter().peekable();
        let mut nows = self.chunks.iter().peekable();
        loop {
            match (befores.peek(), nows.peek()) {
                (Some(before), Some(now)) if Arc::ptr_eq(before, now) => {
                    befores.next();
                    nows.next();
                }
                // A common chunk begins with the same id in both, so the chunk with the lower id is only in its own
                // list.
                (Some(before), Some(now)) if before[0].id() <= now[0].id() => old.extend(befores.next()),
                (_, Some(_)) => new.extend(nows.next()),
                (Some(_), None) => old.extend(befores.next()),
                (None, None) => break,
            }
        }
        let old: SlotRefs<E> = old.into_iter().flat_map(|chunk| chunk.iter()).collect();
        let new: SlotRefs<E> = new.into_iter().flat_map(|chunk| chunk.iter()).collect();
        (missing(&old, &new), missing(&new, &old))
    }

    /// Returns the chunk of a subscription and its place in the chunk.
    fn position(&self, id: SubscriberId) -> Option<(usize, usize)> {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk[0].id() <= id)
            .checked_sub(1)?;
        let place = self.chunks[chunk].binary_search_by_key(&id, |slot| slot.id()).ok()?;
        Some((chunk, place))
    }

    /// Copies the list of chunks, with capacity for one more.
    fn copy(&self) -> Self {
        let mut chunks = Vec::with_capacity(self.chunks.len() + 1);
        chunks.extend_from_slice(&self.chunks);
        SubscriberList { chunks }
    }
}

/// Returns the slots that are not among `others`. Both are in order of id.
fn missing<'a, E>(slots: &[&'a Arc<Slot<E>>], others: &[&'a Arc<Slot<E>>]) -> SlotRefs<'a, E> {
    let is_missing = |slot: &&'a Arc<Slot<E>>| {
        let same_id = others.binary_search_by_key(&slot.id(), |other| other.id());
        !same_id.is_ok_and(|at| Arc::ptr_eq(others[at], slot))
    };
    slots.iter().copied().filter(is_missing).collect()
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use std::collections::BTreeMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::overflow::Overflow;
    use crate::queue::{QueueConfig, queue};

    fn slot(number: u64) -> Arc<Slot<()>> {
        let config = QueueConfig::new(1, Overflow::DropNewest);
        let (producer, _) = queue(config, || unreachable!("the queue does not conflate"));
        let subscription = Subscription {
            id: SubscriberId::new(number),
            label: None,
            queue: Arc::clone(producer.state()),
            backlog: 0,
            producer: Mutex::new(Some(producer)),
        };
        Arc::new(Slot::new(Arc::new(subscription), Analyzed::new(EventFilter::All)))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(usize),
        Replace(prop::sample::Index),
        Remove(Vec<prop::sample::Index>),
        RemoveMost,
        Compare,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..400_usize).prop_map(Step::Add),
            2 => any::<prop::sample::Index>().prop_map(Step::Replace),
            3 => vec(any::<prop::sample::Index>(), 1..200).prop_map(Step::Remove),
            1 => Just(Step::RemoveMost),
            3 => Just(Step::Compare),
        ];
        vec(step, 1..20)
    }

    type Model = BTreeMap<SubscriberId, Arc<Slot<()>>>;

    fn pick(model: &Model, index: &prop::sample::Index) -> Option<SubscriberId> {
        (!model.is_empty()).then(|| *model.keys().nth(index.index(model.len())).unwrap())
    }

    fn pointers<'a>(slots: impl IntoIterator<Item = &'a Arc<Slot<()>>>) -> Vec<*const Slot<()>> {
        slots.into_iter().map(Arc::as_ptr).collect()
    }

    fn only_in(model: &Model, other: &Model) -> Vec<*const Slot<()>> {
        let only = model
            .iter()
            .filter(|(id, slot)| !other.get(id).is_some_and(|same| Arc::ptr_eq(same, slot)));
        pointers(only.map(|(_, slot)| slot))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// After any steps, the list holds the same slots as a map, in chunks of a valid length, and reports its
        /// changes.
        #[test]
        fn the_list_behaves_as_an_ordered_map(steps in steps()) {
            let (mut list, mut model) = (SubscriberList::new(), Model::new());
            let (mut seen, mut seen_model) = (list.copy(), model.clone());
            let mut next = 1;
            for step in steps {
                match step {
                    Step::Add(count) => for _ in 0..count {
                        let added = slot(next);
                        next += 1;
                        list = list.with(Arc::clone(&added));
                        model.insert(added.id(), added);
                    },
                    Step::Replace(index) => if let Some(id) = pick(&model, &index) {
                        let replaced = slot(id.0);
                        list = list.with_replaced(Arc::clone(&replaced));
                        model.insert(id, replaced);
                    },
                    Step::Remove(indices) => {
                        let mut ids: Vec<_> = indices.iter().filter_map(|index| pick(&model, index)).collect();
                        ids.push(SubscriberId::new(next));
                        ids.sort();
                        let (fewer, removed) = list.without(&ids);
                        let listed = model.iter().filter(|(id, _)| ids.contains(id));
                        prop_assert_eq!(pointers(removed), pointers(listed.map(|(_, slot)| slot)));
                        list = fewer;
                        model.retain(|id, _| !ids.contains(id));
                    }
                    Step::RemoveMost => {
                        let ids: Vec<_> = model.keys().copied().filter(|id| id.0 % 50 != 0).collect();
                        list = list.without(&ids).0;
                        model.retain(|id, _| id.0 % 50 == 0);
                    }
                    Step::Compare => {
                        let (gone, fresh) = list.changes(&seen);
                        prop_assert_eq!(pointers(gone), only_in(&seen_model, &model));
                        prop_assert_eq!(pointers(fresh), only_in(&model, &seen_model));
                        (seen, seen_model) = (list.copy(), model.clone());
                    }
                }
                prop_assert_eq!(pointers(list.iter()), pointers(model.values()));
                prop_assert!(list.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
                for (id, slot) in &model {
                    prop_assert!(list.get(*id).is_some_and(|found| Arc::ptr_eq(found, slot)));
                }
                prop_assert!(list.get(SubscriberId::new(next)).is_none());
            }
        }
    }

    #[test]
    fn chunks_are_freed_when_most_subscribers_leave() {
        let mut list = SubscriberList::new();
        for number in 1..=10_000 {
            list = list.with(slot(number));
        }
        for id in (1..=10_000).filter(|number| number % 50 != 0) {
            list = list.without(&[SubscriberId::new(id)]).0;
        }
        assert_eq!(list.iter().count(), 200);
        assert!(list.chunks.len() <= 3, "{}", list.chunks.len());
    }
}

//! One state of the subscriber list: an immutable sequence of slots, in order of id.
//!
//! Nothing here is synchronised: a state never changes, and the next one shares with it what stays the same. The slots
//! stand in chunks behind an `Arc` each, so that a change copies the chunks that it touches and the list of chunks, not
//! a reference for every subscriber; and whoever follows the list skips the chunks that it has seen.

use std::fmt;

use crate::event::Event;
use crate::filter::EventFilter;
use crate::queue::{QueueProducer, QueueState};
use crate::subscribers::terms::Cover;
use crate::sync::{Arc, CHUNK, Mutex};

/// Names a subscription for the life of its bus; ids are not used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SubscriberId(u64);

impl SubscriberId {
    pub(crate) fn new(number: u64) -> Self {
        SubscriberId(number)
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What stays the same for the life of a subscription.
pub(crate) struct Subscription<E> {
    pub(crate) id: SubscriberId,
    pub(crate) label: Option<Arc<str>>,
    pub(crate) queue: Arc<QueueState>,
    /// How many earlier events it asks for.
    pub(crate) backlog: usize,
    /// Waits here for the dispatch thread, which takes it once.
    pub(crate) producer: Mutex<Option<QueueProducer<E>>>,
}

/// A subscription with its filter of the moment: an entry of the list.
pub(crate) struct Slot<E = Event> {
    pub(crate) subscription: Arc<Subscription<E>>,
    pub(crate) filter: EventFilter<E>,
    /// Of the filter.
    pub(crate) cover: Cover,
}

impl<E> Slot<E> {
    pub(crate) fn new(subscription: Arc<Subscription<E>>, filter: EventFilter<E>) -> Self {
        Slot {
            cover: Cover::of(&filter),
            subscription,
            filter,
        }
    }

    pub(crate) fn id(&self) -> SubscriberId {
        self.subscription.id
    }
}

/// Never empty, never longer than `CHUNK`.
type Chunk<E> = Vec<Arc<Slot<E>>>;

pub(crate) type SlotRefs<'a, E> = Vec<&'a Arc<Slot<E>>>;

/// A state of the list.
pub(crate) struct Slots<E> {
    chunks: Vec<Arc<Chunk<E>>>,
}

impl<E> Slots<E> {
    pub(crate) fn new() -> Self {
        Slots { chunks: Vec::new() }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Slot<E>>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    pub(crate) fn get(&self, id: SubscriberId) -> Option<&Arc<Slot<E>>> {
        let (chunk, place) = self.position(id)?;
        Some(&self.chunks[chunk][place])
    }

    /// With one more, whose id is higher than all.
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

    /// With this one in place of the listed one of the same id.
    pub(crate) fn with_replaced(&self, slot: Arc<Slot<E>>) -> Self {
        let mut next = self.copy();
        if let Some((chunk, place)) = self.position(slot.id()) {
            let mut changed = self.chunks[chunk].to_vec();
            changed[place] = slot;
            next.chunks[chunk] = Arc::new(changed);
        }
        next
    }

    /// Without those listed among these, which are in order; and those that were.
    pub(crate) fn without(&self, ids: &[SubscriberId]) -> (Self, SlotRefs<'_, E>) {
        let mut next = Slots {
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

    /// Appends what a chunk has left, to the chunk before if both fit into one: so chunks are half full or more on the
    /// average, whoever leaves.
    fn append(&mut self, rest: Chunk<E>) {
        match self.chunks.last_mut() {
            _ if rest.is_empty() => {}
            Some(last) if last.len() + rest.len() <= CHUNK => *last = Arc::new([&last[..], &rest[..]].concat()),
            _ => self.chunks.push(Arc::new(rest)),
        }
    }

    /// What the list had before and has no more, and what it has now and had not, each in order of id; a slot that was
    /// replaced is among both. Costs a look at each chunk, and at each slot of those that are not the same.
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
                // A chunk that both have begins with the same id in both, so the lower one is not in the other.
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

    /// Where a subscription stands: its chunk, and its place there.
    fn position(&self, id: SubscriberId) -> Option<(usize, usize)> {
        let chunk = self
            .chunks
            .partition_point(|chunk| chunk[0].id() <= id)
            .checked_sub(1)?;
        let place = self.chunks[chunk].binary_search_by_key(&id, |slot| slot.id()).ok()?;
        Some((chunk, place))
    }

    /// The same state, to be changed; one chunk more fits.
    fn copy(&self) -> Self {
        let mut chunks = Vec::with_capacity(self.chunks.len() + 1);
        chunks.extend_from_slice(&self.chunks);
        Slots { chunks }
    }
}

/// Those of the first that are not among the second; both are in order of id.
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
    use crate::queue::{Overflow, Rules, queue};

    fn slot(number: u64) -> Arc<Slot<()>> {
        let rules = Rules::new(1, Overflow::DropNewest);
        let (producer, _) = queue(rules, || unreachable!("it does not conflate"));
        let subscription = Subscription {
            id: SubscriberId::new(number),
            label: None,
            queue: Arc::clone(producer.state()),
            backlog: 0,
            producer: Mutex::new(Some(producer)),
        };
        Arc::new(Slot::new(Arc::new(subscription), EventFilter::All))
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

        /// Whatever is done to it, the list is what a map would be, in chunks that are neither empty nor too long nor
        /// too many, and tells what has changed.
        #[test]
        fn the_list_is_a_map_in_order(steps in steps()) {
            let (mut slots, mut model) = (Slots::new(), Model::new());
            let (mut seen, mut seen_model) = (slots.copy(), model.clone());
            let mut next = 1;
            for step in steps {
                match step {
                    Step::Add(count) => for _ in 0..count {
                        let added = slot(next);
                        next += 1;
                        slots = slots.with(Arc::clone(&added));
                        model.insert(added.id(), added);
                    },
                    Step::Replace(index) => if let Some(id) = pick(&model, &index) {
                        let replaced = slot(id.0);
                        slots = slots.with_replaced(Arc::clone(&replaced));
                        model.insert(id, replaced);
                    },
                    Step::Remove(indices) => {
                        let mut ids: Vec<_> = indices.iter().filter_map(|index| pick(&model, index)).collect();
                        ids.push(SubscriberId::new(next));
                        ids.sort();
                        let (fewer, removed) = slots.without(&ids);
                        let listed = model.iter().filter(|(id, _)| ids.contains(id));
                        prop_assert_eq!(pointers(removed), pointers(listed.map(|(_, slot)| slot)));
                        slots = fewer;
                        model.retain(|id, _| !ids.contains(id));
                    }
                    Step::RemoveMost => {
                        let ids: Vec<_> = model.keys().copied().filter(|id| id.0 % 50 != 0).collect();
                        slots = slots.without(&ids).0;
                        model.retain(|id, _| id.0 % 50 == 0);
                    }
                    Step::Compare => {
                        let (gone, fresh) = slots.changes(&seen);
                        prop_assert_eq!(pointers(gone), only_in(&seen_model, &model));
                        prop_assert_eq!(pointers(fresh), only_in(&model, &seen_model));
                        (seen, seen_model) = (slots.copy(), model.clone());
                    }
                }
                prop_assert_eq!(pointers(slots.iter()), pointers(model.values()));
                prop_assert!(slots.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
                for (id, slot) in &model {
                    prop_assert!(slots.get(*id).is_some_and(|found| Arc::ptr_eq(found, slot)));
                }
                prop_assert!(slots.get(SubscriberId::new(next)).is_none());
            }
        }
    }

    #[test]
    fn a_crowd_that_leaves_leaves_no_chunks_behind() {
        let mut slots = Slots::new();
        for number in 1..=10_000 {
            slots = slots.with(slot(number));
        }
        for id in (1..=10_000).filter(|number| number % 50 != 0) {
            slots = slots.without(&[SubscriberId::new(id)]).0;
        }
        assert_eq!(slots.iter().count(), 200);
        assert!(slots.chunks.len() <= 3, "{}", slots.chunks.len());
    }
}

//! Which events may be on their way to the server at once: [`SendOrder`].
//!
//! A plain value of the writer's. An event may go once no earlier one that shares a key with it, its session or its scroll,
//! is unsettled. So whatever is tried again, and how often, the order within a key is that of admission; events of other
//! keys do not wait.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Names an admitted item until it is settled.
pub(super) type Ticket = u64;

struct Entry<K, T> {
    keys: Vec<K>,
    /// Gone once it may go.
    item: Option<T>,
}

pub(super) struct SendOrder<K, T> {
    /// The unsettled items of each key, in order of admission. None is empty.
    queues: HashMap<K, VecDeque<Ticket>>,
    entries: HashMap<Ticket, Entry<K, T>>,
    next: Ticket,
}

impl<K: Clone + Eq + Hash, T> SendOrder<K, T> {
    pub(super) fn new() -> Self {
        SendOrder {
            queues: HashMap::new(),
            entries: HashMap::new(),
            next: 0,
        }
    }

    /// How many are admitted and not settled.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Takes an item in; gives it back at once if it may go.
    pub(super) fn push(&mut self, keys: Vec<K>, item: T) -> Option<(Ticket, T)> {
        let ticket = self.next;
        self.next += 1;
        for key in &keys {
            self.queues.entry(key.clone()).or_default().push_back(ticket);
        }
        let item = Some(item);
        self.entries.insert(ticket, Entry { keys, item });
        self.release(ticket)
    }

    /// Lets those go that waited for this one alone.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Vec<(Ticket, T)> {
        let Some(settled) = self.entries.remove(&ticket) else {
            return Vec::new();
        };
        let mut ready = Vec::new();
        for key in settled.keys {
            let Some(queue) = self.queues.get_mut(&key) else {
                continue;
            };
            queue.pop_front();
            match queue.front().copied() {
                Some(first) => ready.extend(self.release(first)),
                None => drop(self.queues.remove(&key)),
            }
        }
        ready
    }

    fn release(&mut self, ticket: Ticket) -> Option<(Ticket, T)> {
        let entry = self.entries.get_mut(&ticket)?;
        let is_first = |key| self.queues.get(key).is_some_and(|queue| queue.front() == Some(&ticket));
        if !entry.keys.iter().all(is_first) {
            return None;
        }
        entry.item.take().map(|item| (ticket, item))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Items of up to two keys each, settled in whatever order: all go, no two of one key at once, and each key's in
        /// order of admission.
        #[test]
        fn each_key_is_in_order(
            keys in prop::collection::vec(prop::collection::hash_set(0..5u8, 1..3), 1..40),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut send_order = SendOrder::new();
            let mut in_flight: Vec<(Ticket, usize)> = Vec::new();
            let mut gone = Vec::new();
            let mut waiting = keys.iter().enumerate();
            for pick in picks {
                // Admits and settles by turns, then settles what is left.
                if let Some((index, keys)) = waiting.next() {
                    in_flight.extend(send_order.push(keys.iter().copied().collect(), index));
                }
                let mut busy = HashSet::new();
                for (_, index) in &in_flight {
                    for key in &keys[*index] {
                        prop_assert!(busy.insert(*key), "two of key {} at once", key);
                    }
                }
                if !in_flight.is_empty() && (pick.index(3) > 0 || waiting.len() == 0) {
                    let (ticket, index) = in_flight.swap_remove(pick.index(in_flight.len()));
                    gone.push(index);
                    in_flight.extend(send_order.settle(ticket));
                }
            }
            prop_assert_eq!(gone.len(), keys.len());
            prop_assert!(send_order.len() == 0 && send_order.queues.is_empty());
            for key in 0..5 {
                let order: Vec<_> = gone.iter().filter(|index| keys[**index].contains(&key)).collect();
                prop_assert!(order.is_sorted(), "key {}: {:?}", key, order);
            }
        }
    }
}

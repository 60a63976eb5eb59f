//! The order in which events are sent: [`SendOrder`], a plain value that the writer owns.
//!
//! An event has up to two keys: its session and its scroll. The event is ready to send when no earlier unsettled event
//! shares a key with it. The events of one key are therefore stored in the order in which they were pushed, even if
//! some are sent several times. Events without a common key do not wait for each other.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The number of a pushed item. It identifies the item until the item is settled.
pub(super) type Ticket = u64;

struct Entry<K, T> {
    keys: Vec<K>,
    /// `None` once the item is ready and was returned.
    item: Option<T>,
}

/// The unsettled items, and their order by key.
pub(super) struct SendOrder<K, T> {
    /// The unsettled items of each key in push order. No queue is empty.
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

    /// Returns the number of unsettled items.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds an item, and returns it if it is ready.
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

    /// Removes a settled item, and returns the items that are ready now.
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

    /// Returns an item if it is first in the queues of all its keys.
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

        /// Pushes items with one or two keys and settles them in random order. All items become ready, no two with a
        /// common key are ready at once, and the items of each key are settled in push order.
        #[test]
        fn items_of_a_key_stay_in_order(
            keys in prop::collection::vec(prop::collection::hash_set(0..5u8, 1..3), 1..40),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 80),
        ) {
            let mut send_order = SendOrder::new();
            let mut in_flight: Vec<(Ticket, usize)> = Vec::new();
            let mut settled = Vec::new();
            let mut waiting = keys.iter().enumerate();
            for pick in picks {
                // Alternates between pushing and settling, then settles the remaining items.
                if let Some((index, keys)) = waiting.next() {
                    in_flight.extend(send_order.push(keys.iter().copied().collect(), index));
                }
                let mut busy = HashSet::new();
                for (_, index) in &in_flight {
                    for key in &keys[*index] {
                        prop_assert!(busy.insert(*key), "two items with key {} are in flight", key);
                    }
                }
                if !in_flight.is_empty() && (pick.index(3) > 0 || waiting.len() == 0) {
                    let (ticket, index) = in_flight.swap_remove(pick.index(in_flight.len()));
                    settled.push(index);
                    in_flight.extend(send_order.settle(ticket));
                }
            }
            prop_assert_eq!(settled.len(), keys.len());
            prop_assert!(send_order.len() == 0 && send_order.queues.is_empty());
            for key in 0..5 {
                let order: Vec<_> = settled.iter().filter(|index| keys[**index].contains(&key)).collect();
                prop_assert!(order.is_sorted(), "key {}: {:?}", key, order);
            }
        }
    }
}

//! Term counts: a multiset of hashes. Any thread can check without waiting whether it contains a hash.
//!
//! The counts are in an open-addressed hash table of atomics behind an `ArcSwap`. The owner ensures that there is one
//! writer at a time. The writer changes counts in place. When the table is too full or too empty, the writer copies the
//! keys with nonzero counts into a new table and swaps it in. Until then, a key with a count of zero keeps its cell.
//! Readers take no lock: a reader probes cells, starting at the key's home cell, until it finds the key or a vacant
//! cell. At most half of the cells of a table contain keys.
//!
//! A thread that has synchronized with an `add` sees the added key. A thread that observes a `remove` has synchronized
//! with it. Two keys with the same hash count as one key, so a positive answer may be wrong, but a negative answer is
//! always right.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, ArcSwap, CELLS};

/// The key of a vacant cell. No hash in the table has this value.
const VACANT: u64 = 0;

struct Cell {
    /// The hash, or `VACANT`. It is set once.
    key: AtomicU64,
    count: AtomicUsize,
}

/// The cells. Their number is a power of two.
struct Table(Box<[Cell]>);

impl Table {
    /// Creates a table of which `keys` keys fill at most a third.
    fn for_keys(keys: usize) -> Self {
        let cell = || Cell {
            key: AtomicU64::new(VACANT),
            count: AtomicUsize::new(0),
        };
        let cells = (3 * keys).next_power_of_two().max(CELLS);
        Table((0..cells).map(|_| cell()).collect())
    }

    /// Returns the cell of the key and `true`, or the vacant cell where the key belongs and `false`.
    fn find(&self, key: u64) -> (&Cell, bool) {
        let mask = self.0.len() - 1;
        let mut index = key as usize & mask;
        loop {
            let cell = &self.0[index];
            // Ordering: Relaxed, because a reader that must not miss the key has synchronized with its `add`.
            match cell.key.load(Ordering::Relaxed) {
                found if found == key => return (cell, true),
                VACANT => return (cell, false),
                _ => index = (index + 1) & mask,
            }
        }
    }

    /// Returns `true` if the count of the key is above zero.
    fn counts(&self, key: u64) -> bool {
        let (cell, found) = self.find(key.max(1));
        // Ordering: Acquire, pairs with `TermCounts::remove`.
        found && cell.count.load(Ordering::Acquire) > 0
    }

    /// Stores a key that is not yet in the table, and its count.
    fn insert(&self, key: u64, count: usize) {
        let (cell, _) = self.find(key);
        // Ordering: Relaxed for both, as in `find`.
        cell.count.store(count, Ordering::Relaxed);
        cell.key.store(key, Ordering::Relaxed);
    }
}

pub(crate) struct TermCounts {
    table: ArcSwap<Table>,
    /// Number of cells with a key. Only the writer changes `used` and `live`.
    used: AtomicUsize,
    /// Number of keys with a count above zero.
    live: AtomicUsize,
}

impl TermCounts {
    pub(crate) fn new() -> Self {
        TermCounts {
            table: ArcSwap::from_pointee(Table::for_keys(0)),
            used: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
        }
    }

    /// Returns `true` if the count of at least one of the keys is above zero. Never waits and allocates nothing.
    pub(crate) fn contains_any(&self, mut keys: impl Iterator<Item = u64>) -> bool {
        let Some(first) = keys.next() else {
            return false;
        };
        let table = self.table.load();
        table.counts(first) || keys.any(|key| table.counts(key))
    }

    /// Increments the count of the key. The caller must be the only writer.
    pub(crate) fn add(&self, key: u64) {
        let key = key.max(1);
        let table = self.table.load_full();
        let (cell, found) = table.find(key);
        if found {
            // Ordering: Relaxed, because the owner publishes the added key.
            let before = cell.count.fetch_add(1, Ordering::Relaxed);
            self.change_live(|live| live + usize::from(before == 0));
            return;
        }
        self.change_live(|live| live + 1);
        // Ordering: Relaxed, because only the writer uses this value.
        let used = self.used.load(Ordering::Relaxed) + 1;
        if 2 * used > table.0.len() {
            self.rebuild(&table, Some(key));
        } else {
            table.insert(key, 1);
            self.used.store(used, Ordering::Relaxed);
        }
    }

    /// Decrements the count of the key, which must be above zero. The caller must be the only writer.
    pub(crate) fn remove(&self, key: u64) {
        let table = self.table.load_full();
        let (cell, _) = table.find(key.max(1));
        // Ordering: Release, pairs with `Table::counts`: a reader that misses the key sees the writer's stores from
        // before the removal.
        if cell.count.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        let live = self.change_live(|live| live - 1);
        if table.0.len() > CELLS && 16 * live < table.0.len() {
            self.rebuild(&table, None);
        }
    }

    /// Replaces the number of live keys and returns the new number.
    fn change_live(&self, change: impl FnOnce(usize) -> usize) -> usize {
        // Ordering: Relaxed for both, because only the writer uses this value.
        let live = change(self.live.load(Ordering::Relaxed));
        self.live.store(live, Ordering::Relaxed);
        live
    }

    /// Replaces the table with a new one that contains the live keys and, if given, a new key.
    fn rebuild(&self, table: &Table, new: Option<u64>) {
        let live = self.live.load(Ordering::Relaxed);
        let next = Arc::new(Table::for_keys(live));
        for cell in &table.0 {
            // Ordering: Relaxed for all, because only the writer uses these values. The swap publishes the copy.
            let count = cell.count.load(Ordering::Relaxed);
            if count > 0 {
                next.insert(cell.key.load(Ordering::Relaxed), count);
            }
        }
        if let Some(key) = new {
            next.insert(key, 1);
        }
        self.used.store(live, Ordering::Relaxed);
        self.table.store(next);
    }
}

#[cfg(test)]
impl TermCounts {
    fn contains(&self, key: u64) -> bool {
        self.contains_any(std::iter::once(key))
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Some of the keys share a home cell.
        #[test]
        fn counts_agree_with_a_hash_map(steps in prop::collection::vec((any::<bool>(), 0..40u64, 0..3u64), 1..400)) {
            let counts = TermCounts::new();
            let mut model = HashMap::<u64, usize>::new();
            for (add, low, high) in steps {
                let key = low | high << 40;
                let count = model.entry(key.max(1)).or_default();
                if add {
                    counts.add(key);
                    *count += 1;
                } else if *count > 0 {
                    counts.remove(key);
                    *count -= 1;
                }
                for key in (0..40).flat_map(|low| (0..3).map(move |high| low | high << 40)) {
                    let expected = model.get(&key.max(1)).is_some_and(|count| *count > 0);
                    prop_assert_eq!(counts.contains(key), expected);
                }
            }
        }
    }

    #[test]
    fn the_table_shrinks_after_many_keys_are_removed() {
        let counts = TermCounts::new();
        for key in 1..=100_000 {
            counts.add(key);
        }
        let cells = counts.table.load().0.len();
        assert!((200_000..=600_000).contains(&cells), "{cells}");
        assert!((1..=100_000).all(|key| counts.contains(key)));
        (1..=100_000).for_each(|key| counts.remove(key));
        assert_eq!(counts.table.load().0.len(), CELLS);
        assert!(!(1..=100_000).any(|key| counts.contains(key)));
    }

    #[test]
    fn removed_keys_do_not_fill_the_table() {
        let counts = TermCounts::new();
        for key in 1..=100_000 {
            counts.add(key);
            counts.remove(key);
        }
        assert_eq!(counts.table.load().0.len(), CELLS);
    }
}

#[cfg(all(test, sharing_bus_loom))]
mod models {
    use loom::thread;

    use super::*;

    /// A reader finds a key that stays in every table, while the writer adds and removes other keys.
    #[test]
    fn a_lookup_races_a_change_of_table() {
        loom::model(|| {
            let counts = Arc::new(TermCounts::new());
            counts.add(1);
            let reader = Arc::clone(&counts);
            let lookup = thread::spawn(move || [reader.contains(1), reader.contains(2)]);
            for key in 2..=3 {
                counts.add(key);
            }
            counts.remove(3);
            let [stays, _added] = lookup.join().unwrap();
            assert!(stays, "a key that stays was missed");
            assert!(counts.contains(1) && counts.contains(2) && !counts.contains(3));
        });
    }

    /// A reader that misses a removed key sees the writer's stores from before the removal.
    #[test]
    fn a_lookup_races_a_removal() {
        loom::model(|| {
            let shared = Arc::new((TermCounts::new(), AtomicUsize::new(0)));
            shared.0.add(1);
            shared.0.add(2);
            let other = Arc::clone(&shared);
            let lookup = thread::spawn(move || {
                let (counts, stored) = &*other;
                counts.contains(1) || stored.load(Ordering::Relaxed) == 1
            });
            let (counts, stored) = &*shared;
            stored.store(1, Ordering::Relaxed);
            counts.remove(1);
            // This call moves the keys to a new table, in which key 1 has no cell.
            counts.add(3);
            assert!(lookup.join().unwrap(), "the removal was visible before the store");
        });
    }
}

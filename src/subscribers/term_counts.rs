//! A multiset of hashes that anybody may ask without waiting: how often each is in it.
//!
//! An open-addressed table of atomics behind an `ArcSwap`. One writer at a time, which the owner sees to, changes
//! counts in place and, when the table is too full or too empty, copies what is left into another and swaps it in; a
//! key whose count is down to zero keeps its cell until then. Readers take no lock: they look at the cells from a key's
//! place on until they meet it or a vacant one, and no table is ever more than half full of keys.
//!
//! Who has synchronised with an `add` sees it, and who sees a `remove` has synchronised with it. Two keys that are one
//! hash count as one, so an answer may be "yes" in error, never "no".

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, ArcSwap, CELLS};

/// No key is this.
const VACANT: u64 = 0;

struct Cell {
    /// Set once, from `VACANT`.
    key: AtomicU64,
    count: AtomicUsize,
}

/// A power of two of cells.
struct Table(Box<[Cell]>);

impl Table {
    /// A table for so many keys, a third full with them at most.
    fn for_keys(keys: usize) -> Self {
        let cell = || Cell {
            key: AtomicU64::new(VACANT),
            count: AtomicUsize::new(0),
        };
        let cells = (3 * keys).next_power_of_two().max(CELLS);
        Table((0..cells).map(|_| cell()).collect())
    }

    /// The cell that has the key, or else the vacant one where it belongs.
    fn find(&self, key: u64) -> (&Cell, bool) {
        let mask = self.0.len() - 1;
        let mut place = key as usize & mask;
        loop {
            let cell = &self.0[place];
            // Ordering: Relaxed; who may not miss the key has synchronised with its `add`.
            match cell.key.load(Ordering::Relaxed) {
                found if found == key => return (cell, true),
                VACANT => return (cell, false),
                _ => place = (place + 1) & mask,
            }
        }
    }

    fn counts(&self, key: u64) -> bool {
        let (cell, found) = self.find(key.max(1));
        // Ordering: Acquire, pairs with `Census::remove`.
        found && cell.count.load(Ordering::Acquire) > 0
    }

    /// Gives a key that is not in the table a cell.
    fn insert(&self, key: u64, count: usize) {
        let (cell, _) = self.find(key);
        // Ordering: Relaxed for both, as above.
        cell.count.store(count, Ordering::Relaxed);
        cell.key.store(key, Ordering::Relaxed);
    }
}

pub(crate) struct Census {
    table: ArcSwap<Table>,
    /// Cells that have a key. Changed by the writer alone, as is `live`.
    used: AtomicUsize,
    /// Keys that count.
    live: AtomicUsize,
}

impl Census {
    pub(crate) fn new() -> Self {
        Census {
            table: ArcSwap::from_pointee(Table::for_keys(0)),
            used: AtomicUsize::new(0),
            live: AtomicUsize::new(0),
        }
    }

    /// Whether one of the keys was added more often than removed. Waits for nobody and allocates nothing.
    pub(crate) fn contains_any(&self, mut keys: impl Iterator<Item = u64>) -> bool {
        let Some(first) = keys.next() else {
            return false;
        };
        let table = self.table.load();
        table.counts(first) || keys.any(|key| table.counts(key))
    }

    /// Counts the key once more. One writer at a time.
    pub(crate) fn add(&self, key: u64) {
        let key = key.max(1);
        let table = self.table.load_full();
        let (cell, found) = table.find(key);
        if found {
            // Ordering: Relaxed; the owner publishes what was added.
            let before = cell.count.fetch_add(1, Ordering::Relaxed);
            self.change_live(|live| live + usize::from(before == 0));
            return;
        }
        self.change_live(|live| live + 1);
        // Ordering: Relaxed, the writer's own.
        let used = self.used.load(Ordering::Relaxed) + 1;
        if 2 * used > table.0.len() {
            self.rebuild(&table, Some(key));
        } else {
            table.insert(key, 1);
            self.used.store(used, Ordering::Relaxed);
        }
    }

    /// Counts the key once less, which was added. One writer at a time.
    pub(crate) fn remove(&self, key: u64) {
        let table = self.table.load_full();
        let (cell, _) = table.find(key.max(1));
        // Ordering: Release, pairs with `Table::counts`: who misses the key sees what the writer did before it took it
        // out.
        if cell.count.fetch_sub(1, Ordering::Release) > 1 {
            return;
        }
        let live = self.change_live(|live| live - 1);
        if table.0.len() > CELLS && 16 * live < table.0.len() {
            self.rebuild(&table, None);
        }
    }

    fn change_live(&self, change: impl FnOnce(usize) -> usize) -> usize {
        // Ordering: Relaxed for both, the writer's own.
        let live = change(self.live.load(Ordering::Relaxed));
        self.live.store(live, Ordering::Relaxed);
        live
    }

    /// Swaps in a table of what counts, and of a new key.
    fn rebuild(&self, table: &Table, new: Option<u64>) {
        let live = self.live.load(Ordering::Relaxed);
        let next = Arc::new(Table::for_keys(live));
        for cell in &table.0 {
            // Ordering: Relaxed for all, the writer's own; the swap publishes the copy.
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
impl Census {
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

        /// Whatever is added and removed, keys that fall on one place included, it is what a map of counts would be.
        #[test]
        fn it_counts_as_a_map_does(steps in prop::collection::vec((any::<bool>(), 0..40u64, 0..3u64), 1..400)) {
            let census = Census::new();
            let mut model = HashMap::<u64, usize>::new();
            for (add, low, high) in steps {
                let key = low | high << 40;
                let count = model.entry(key.max(1)).or_default();
                if add {
                    census.add(key);
                    *count += 1;
                } else if *count > 0 {
                    census.remove(key);
                    *count -= 1;
                }
                for key in (0..40).flat_map(|low| (0..3).map(move |high| low | high << 40)) {
                    let counts = model.get(&key.max(1)).is_some_and(|count| *count > 0);
                    prop_assert_eq!(census.contains(key), counts);
                }
            }
        }
    }

    #[test]
    fn a_crowd_of_keys_leaves_no_table_behind() {
        let census = Census::new();
        for key in 1..=100_000 {
            census.add(key);
        }
        let cells = census.table.load().0.len();
        assert!((200_000..=600_000).contains(&cells), "{cells}");
        assert!((1..=100_000).all(|key| census.contains(key)));
        (1..=100_000).for_each(|key| census.remove(key));
        assert_eq!(census.table.load().0.len(), CELLS);
        assert!(!(1..=100_000).any(|key| census.contains(key)));
    }

    #[test]
    fn keys_that_come_and_go_do_not_fill_the_table() {
        let census = Census::new();
        for key in 1..=100_000 {
            census.add(key);
            census.remove(key);
        }
        assert_eq!(census.table.load().0.len(), CELLS);
    }
}

#[cfg(all(test, sharing_bus_loom))]
mod models {
    use loom::thread;

    use super::*;

    /// Keys that stay are found in every table, whatever comes and goes meanwhile.
    #[test]
    fn a_look_races_a_change_of_table() {
        loom::model(|| {
            let census = Arc::new(Census::new());
            census.add(1);
            let reader = Arc::clone(&census);
            let looking = thread::spawn(move || [reader.contains(1), reader.contains(2)]);
            for key in 2..=3 {
                census.add(key);
            }
            census.remove(3);
            let [stays, _comes] = looking.join().unwrap();
            assert!(stays, "a key that stays was missed");
            assert!(census.contains(1) && census.contains(2) && !census.contains(3));
        });
    }

    /// Who misses a key that was there sees what was done before it was taken out.
    #[test]
    fn a_look_races_a_removal() {
        loom::model(|| {
            let shared = Arc::new((Census::new(), AtomicUsize::new(0)));
            shared.0.add(1);
            shared.0.add(2);
            let other = Arc::clone(&shared);
            let looking = thread::spawn(move || {
                let (census, told) = &*other;
                census.contains(1) || told.load(Ordering::Relaxed) == 1
            });
            let (census, told) = &*shared;
            told.store(1, Ordering::Relaxed);
            census.remove(1);
            // Into another table, where it has no cell.
            census.add(3);
            assert!(looking.join().unwrap(), "taken out unseen");
        });
    }
}

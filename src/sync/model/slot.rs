//! A cell of a queue: a value that loom does not track, and a stamp that loom tracks.
//!
//! The stamp is relaxed, so it orders nothing. A correct queue orders each access to a cell after the previous access
//! of the other side. If a queue does not, some execution reads a stale stamp, and the check panics.

use std::sync::{Mutex, PoisonError};

use loom::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Slot<T> {
    value: Mutex<Option<T>>,
    /// Number of times that the cell was filled, plus the number of times that it was emptied.
    stamp: AtomicUsize,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Slot {
            value: Mutex::new(None),
            stamp: AtomicUsize::new(0),
        }
    }

    /// Fills the cell for the `lap`th time, counted from 0.
    pub(super) fn fill(&self, lap: usize, value: T) {
        self.check(2 * lap);
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.stamp.store(2 * lap + 1, Ordering::Relaxed);
    }

    /// Empties the cell for the `lap`th time, counted from 0.
    pub(super) fn empty(&self, lap: usize) -> T {
        self.check(2 * lap + 1);
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.stamp.store(2 * lap + 2, Ordering::Relaxed);
        value.expect("a stamped cell is filled")
    }

    fn check(&self, expected: usize) {
        let stamp = self.stamp.load(Ordering::Relaxed);
        assert_eq!(stamp, expected, "a cell of a queue was accessed out of order");
    }
}

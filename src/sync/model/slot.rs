//! A cell of a queue: a value that loom does not see, and a stamp that it does.
//!
//! The stamp is relaxed, so it orders nothing. A queue that lets one side touch the cell before the other side's access
//! is ordered before it makes the stamp lie in some execution, and the check panics there.

use std::sync::{Mutex, PoisonError};

use loom::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Slot<T> {
    value: Mutex<Option<T>>,
    /// Twice the number of times it was filled and emptied, plus one while it is filled.
    stamp: AtomicUsize,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Self {
        Slot {
            value: Mutex::new(None),
            stamp: AtomicUsize::new(0),
        }
    }

    /// Fills the cell for the `lap`th time, from 0.
    pub(super) fn fill(&self, lap: usize, value: T) {
        self.check(2 * lap);
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.stamp.store(2 * lap + 1, Ordering::Relaxed);
    }

    /// Empties the cell for the `lap`th time.
    pub(super) fn empty(&self, lap: usize) -> T {
        self.check(2 * lap + 1);
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.stamp.store(2 * lap + 2, Ordering::Relaxed);
        value.expect("a stamped cell is filled")
    }

    fn check(&self, expected: usize) {
        let stamp = self.stamp.load(Ordering::Relaxed);
        assert_eq!(stamp, expected, "a queue cell was reached out of order");
    }
}

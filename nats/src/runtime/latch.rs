//! A one-shot signal between threads: [`Latch`].

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A flag that is opened once and that threads can wait for.
#[derive(Default)]
pub(crate) struct Latch {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Latch {
    /// Opens the latch and wakes all waiting threads.
    pub(crate) fn open(&self) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    pub(crate) fn is_open(&self) -> bool {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks the calling thread until the latch is open, for at most `timeout`. Returns whether the latch is open.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.opened.wait_timeout_while(open, timeout, |open| !*open);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

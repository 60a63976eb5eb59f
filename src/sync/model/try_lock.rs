//! A mutex whose `try_lock` can fail. loom's own mutex does not explore a `try_lock` while another thread holds the
//! lock.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

use loom::sync::atomic::{AtomicBool, Ordering};

pub(crate) struct TryMutex<T> {
    held: AtomicBool,
    value: Mutex<T>,
}

impl<T> TryMutex<T> {
    pub(crate) fn new(value: T) -> Self {
        TryMutex {
            held: AtomicBool::new(false),
            value: Mutex::new(value),
        }
    }

    pub(crate) fn lock(&self) -> TryGuard<'_, T> {
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            loom::thread::yield_now();
        }
    }

    pub(crate) fn try_lock(&self) -> Option<TryGuard<'_, T>> {
        let taken = self
            .held
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        Some(TryGuard {
            held: &self.held,
            value: Some(self.value.lock().unwrap_or_else(PoisonError::into_inner)),
        })
    }
}

pub(crate) struct TryGuard<'a, T> {
    held: &'a AtomicBool,
    value: Option<MutexGuard<'a, T>>,
}

impl<T> Deref for TryGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("only `drop` takes the guard")
    }
}

impl<T> DerefMut for TryGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("only `drop` takes the guard")
    }
}

impl<T> Drop for TryGuard<'_, T> {
    fn drop(&mut self) {
        self.value = None;
        self.held.swap(false, Ordering::Release);
    }
}

//! Stand-ins for the primitives, built on loom; see each room for what it leaves out.
//!
//! Rule of the house: a stand-in orders no more than the type it stands for. Values travel in plain `std` cells, which
//! loom does not see and which order nothing; only loom's atomics and locks do, placed where the real type has them.
//! Where a reader could see a value that was not ordered before its read, a stamp in a relaxed atomic gives it away.

mod array_queue;
mod channel_model;
mod dash_map;
mod parker;
mod ring_model;
mod slot;
mod swap;

pub(crate) use array_queue::ArrayQueue;
pub(crate) use dash_map::DashMap;
pub(crate) use parker::Parker;
pub(crate) use swap::{ArcSwap, ArcSwapOption, Cache};

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::task::Waker;

/// The same in every execution, as loom needs it.
pub(crate) type Hashing = BuildHasherDefault<DefaultHasher>;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

/// For the counts of handles. The room that counts is modelled by itself; in models of the whole bus loom would try every
/// order of steps that nothing else depends on.
pub(crate) mod count {
    #[cfg(test)]
    pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering};
    #[cfg(not(test))]
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
}

pub(crate) mod channel {
    pub(crate) use super::channel_model::{Receiver, Sender, bounded};
    pub(crate) use crossbeam_channel::{SendTimeoutError, TrySendError};
}

pub(crate) mod ring {
    pub(crate) use super::ring_model::{Consumer, Producer, RingBuffer};
}

pub(crate) mod thread {
    pub(crate) use loom::thread::{Builder, JoinHandle};

    /// Tells the calling thread from every other, also from those that have ended; never zero.
    pub(crate) fn token() -> usize {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        loom::thread_local! {
            static TOKEN: usize = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        TOKEN.with(|token| *token)
    }
}

/// There is no time in a model: every second lull has lasted, the first one included, so that a model sees both.
pub(crate) struct Lull(atomic::AtomicBool);

impl Lull {
    pub(crate) fn new() -> Self {
        Lull(atomic::AtomicBool::new(true))
    }

    pub(crate) fn begin(&self) {}

    pub(crate) fn has_lasted(&self) -> bool {
        self.0.fetch_xor(true, atomic::Ordering::Relaxed)
    }
}

/// Waits not at all.
pub(crate) fn linger(_seen: impl Fn() -> bool) {}

/// A mutex without poisoning.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        // A panic ends the model anyway.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// loom's own model of a waker cell, under the real one's method names.
pub(crate) struct AtomicWaker(loom::future::AtomicWaker);

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        AtomicWaker(loom::future::AtomicWaker::new())
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.0.register_by_ref(waker);
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        self.0.take_waker()
    }
}

/// Runs `f`. No boundary here: a panic in a model is how loom reports what it found.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    Ok(f())
}

/// User code panicked; never in a model.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Small, so that a model reaches the end of a batch.
pub(crate) const BATCH: usize = 2;

/// Small, so that a model has bundles.
pub(crate) const BUNDLE: usize = 2;

/// Small, so that a model has more than one.
pub(crate) const CHUNK: usize = 2;

/// Small, so that a model fills it.
pub(crate) const CELLS: usize = 4;

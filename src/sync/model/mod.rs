//! Stand-ins for the primitives, built on loom. The documentation of each module lists the differences from the real
//! type.
//!
//! A stand-in orders no more than the type that it replaces. Its values are in plain `std` cells, which loom does not
//! track and which create no order in a model. Only loom's atomics and locks create order, and each is at the place
//! where the real type has one. Where a reader could see a value whose write does not happen before the read, a stamp
//! in a relaxed atomic detects the error.

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

/// A hasher without random keys, because loom needs the same hashes in every execution.
pub(crate) type Hashing = BuildHasherDefault<DefaultHasher>;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
}

/// The atomics of reference counts. Only the unit models of the crate use loom atomics here. In models of the whole
/// bus, loom would otherwise try every order of steps that do not affect each other.
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

    /// Returns a number that identifies the calling thread among all threads, including ended ones. It is never zero.
    pub(crate) fn token() -> usize {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(1);
        loom::thread_local! {
            static TOKEN: usize = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        TOKEN.with(|token| *token)
    }
}

/// A stand-in without time. Every second check, starting with the first, reports a long enough idle time, so that a
/// model covers both results.
pub(crate) struct IdleSince(atomic::AtomicBool);

impl IdleSince {
    pub(crate) fn new() -> Self {
        IdleSince(atomic::AtomicBool::new(true))
    }

    pub(crate) fn set_now(&self) {}

    pub(crate) fn is_long_ago(&self) -> bool {
        self.0.fetch_xor(true, atomic::Ordering::Relaxed)
    }
}

/// Returns at once.
pub(crate) fn spin_until(_seen: impl Fn() -> bool) {}

/// A mutex without poisoning.
pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Mutex(loom::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        // Poisoning has no effect, because a panic ends the model.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// loom's model of a waker cell, with the method names of the real type.
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

/// A small batch, so that a model reaches its end.
pub(crate) const BATCH: usize = 2;

/// A small slice, so that a model divides a backlog.
pub(crate) const SLICE: usize = 3;

/// A small minimum, so that a model makes bundles.
pub(crate) const BUNDLE: usize = 2;

/// A small chunk, so that a model has more than one.
pub(crate) const CHUNK: usize = 2;

/// A small table, so that a model fills it.
pub(crate) const CELLS: usize = 4;

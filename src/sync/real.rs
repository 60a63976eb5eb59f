//! The primitives of a plain build.

pub(crate) use std::hash::RandomState as Hashing;
use std::time::{Duration, Instant};

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, cache::Cache};
pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use crossbeam_queue::ArrayQueue;
use crossbeam_utils::Backoff;
pub(crate) use dashmap::DashMap;
pub(crate) use parking::Parker;
pub(crate) use parking_lot::Mutex;

use atomic::{AtomicU64, Ordering};

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
}

/// The atomics of reference counts. A loom build selects them separately from the other atomics.
pub(crate) mod count {
    pub(crate) use std::sync::atomic::{AtomicUsize, Ordering};
}

pub(crate) mod channel {
    pub(crate) use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};
}

pub(crate) mod ring {
    pub(crate) use rtrb::{Consumer, Producer, RingBuffer};
}

pub(crate) mod thread {
    pub(crate) use std::thread::{Builder, JoinHandle};

    /// Returns a number that identifies the calling thread among all running threads. It is never zero.
    pub(crate) fn token() -> usize {
        thread_local! {
            static HERE: u8 = const { 0 };
        }
        HERE.with(|here| std::ptr::from_ref(here).addr())
    }
}

/// The time at which the dispatcher last became idle.
pub(crate) struct IdleSince {
    origin: Instant,
    /// Nanoseconds since `origin`.
    since: AtomicU64,
}

impl IdleSince {
    /// Shortest idle time after which a publisher runs the dispatcher. After a shorter time, the dispatch thread runs
    /// it, so that a burst is dispatched in batches.
    const LONG: Duration = Duration::from_micros(20);

    pub(crate) fn new() -> Self {
        IdleSince {
            origin: Instant::now(),
            since: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_now(&self) {
        // Ordering: Relaxed for the store and the load. Only the thread that runs the dispatcher accesses the field,
        // and the assist state orders these threads.
        self.since.store(self.now(), Ordering::Relaxed);
    }

    pub(crate) fn is_long_ago(&self) -> bool {
        let idle = self.now().saturating_sub(self.since.load(Ordering::Relaxed));
        u128::from(idle) >= Self::LONG.as_nanos()
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// Spins and yields for a short time, or until `seen` returns `true`.
pub(crate) fn spin_until(seen: impl Fn() -> bool) {
    let backoff = Backoff::new();
    while !seen() && !backoff.is_completed() {
        backoff.snooze();
    }
}

/// Maximum number of commands that the dispatch thread takes before it wakes receivers.
pub(crate) const BATCH: usize = 64;

/// Maximum number of events that one slice of a backlog examines or delivers.
pub(crate) const SLICE: usize = 512;

/// Minimum number of queue slots that a bundle must save to be worth its allocations.
pub(crate) const BUNDLE: usize = 8;

/// Maximum number of subscribers in a chunk of the subscriber list.
pub(crate) const CHUNK: usize = 128;

/// Number of cells in the smallest table of term counts.
pub(crate) const CELLS: usize = 16;

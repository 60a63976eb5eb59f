//! The primitives of a shipped build.

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
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

/// For the counts of handles.
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

    /// Tells the calling thread from every other that runs now; never zero.
    pub(crate) fn token() -> usize {
        thread_local! {
            static HERE: u8 = const { 0 };
        }
        HERE.with(|here| std::ptr::from_ref(here).addr())
    }
}

/// When the dispatcher last came to rest.
pub(crate) struct Lull {
    origin: Instant,
    /// In nanoseconds from the origin.
    begun: AtomicU64,
}

impl Lull {
    /// Below it, a publisher leaves the batch to the dispatch thread, so that a burst is dispatched in batches.
    const LENGTH: Duration = Duration::from_micros(20);

    pub(crate) fn new() -> Self {
        Lull {
            origin: Instant::now(),
            begun: AtomicU64::new(0),
        }
    }

    pub(crate) fn begin(&self) {
        // Ordering: Relaxed for both, whose turn it is orders them.
        self.begun.store(self.now(), Ordering::Relaxed);
    }

    pub(crate) fn has_lasted(&self) -> bool {
        let lasted = self.now().saturating_sub(self.begun.load(Ordering::Relaxed));
        u128::from(lasted) >= Self::LENGTH.as_nanos()
    }

    fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// Waits a little, as long as it takes to see whether there is more to come.
pub(crate) fn linger(seen: impl Fn() -> bool) {
    let backoff = Backoff::new();
    while !seen() && !backoff.is_completed() {
        backoff.snooze();
    }
}

/// Runs `f` and turns a panic into `Err`, so that user code cannot unwind through the bus.
pub(crate) fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|payload| {
        // The payload is user code too: one that panics as it is dropped is leaked.
        if let Err(second) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Panicked
    })
}

/// User code panicked.
#[derive(Debug)]
pub(crate) struct Panicked;

/// How many messages the dispatch thread takes before it wakes receivers.
pub(crate) const BATCH: usize = 64;

/// How many places in queues a bundle must save to be worth its allocations.
pub(crate) const BUNDLE: usize = 8;

/// How many subscribers a chunk of the list holds.
pub(crate) const CHUNK: usize = 128;

/// How many cells the smallest table of counts has.
pub(crate) const CELLS: usize = 16;

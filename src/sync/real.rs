//! The primitives of a shipped build.

pub(crate) use arc_swap::{ArcSwap, ArcSwapOption, cache::Cache};
pub(crate) use atomic_waker::AtomicWaker;
pub(crate) use crossbeam_queue::ArrayQueue;
pub(crate) use dashmap::DashMap;
pub(crate) use parking::Parker;
pub(crate) use parking_lot::Mutex;

pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

pub(crate) mod channel {
    pub(crate) use crossbeam_channel::{Receiver, SendTimeoutError, Sender, TrySendError, bounded};
}

pub(crate) mod ring {
    pub(crate) use rtrb::{Consumer, Producer, RingBuffer};
}

pub(crate) mod thread {
    pub(crate) use std::thread::{Builder, JoinHandle, ThreadId, current};
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

/// How many subscribers a chunk of the list holds.
pub(crate) const CHUNK: usize = 128;

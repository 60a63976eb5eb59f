//! A cell for the waker of one receiver: [`WakerCell`].
//!
//! The receiver registers a waker. The threads that signal the receiver take it: the dispatch thread, and any thread
//! that ends the subscription. `atomic-waker` does both without a lock. But it clones and drops wakers, which are user
//! code, while its cell is marked as busy. A panic there would leave the cell busy forever, and the receiver without
//! wake-ups. After such a panic, the receiver therefore registers its wakers in a mutex beside the cell. User code
//! never runs under that mutex.

use std::task::Waker;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::panic::{self, Panicked};
use crate::sync::{AtomicWaker, Mutex};

/// The waker of one receiver, while the receiver waits.
pub(crate) struct WakerCell {
    cell: AtomicWaker,
    /// A waker has panicked in `cell`, which is not used any more. Only the receiver writes the flag.
    failed: AtomicBool,
    /// The waker after `cell` has failed.
    fallback: Mutex<Option<Waker>>,
}

impl WakerCell {
    pub(crate) fn new() -> Self {
        WakerCell {
            cell: AtomicWaker::new(),
            failed: AtomicBool::new(false),
            fallback: Mutex::new(None),
        }
    }

    /// Stores a waker, which replaces any earlier one. Only the receiver calls this method, and afterward checks the
    /// condition that it waits for.
    ///
    /// A panic of a waker is contained, unless the clone of this waker panics twice. The cell works also after that.
    pub(crate) fn register(&self, waker: &Waker) {
        // Ordering: Relaxed for the load and the store. Only this thread writes the flag, and `register_fallback` makes
        // it visible.
        if !self.failed.load(Ordering::Relaxed) {
            match panic::run(|| self.cell.register(waker)) {
                Ok(()) => return,
                Err(Panicked) => self.failed.store(true, Ordering::Relaxed),
            }
        }
        self.register_fallback(waker);
    }

    #[cold]
    fn register_fallback(&self, waker: &Waker) {
        let waker = waker.clone();
        let replaced = self.fallback.lock().replace(waker);
        // Both this call and the one in `take` are a read-modify-write of the cell's state. If this one comes first, the
        // signaling thread sees the flag and the waker. If it comes second, the receiver sees the signaled condition.
        let stale = self.cell.take();
        panic::discard(replaced);
        panic::discard(stale);
    }

    /// Takes the waker, if there is one. The caller has changed the condition that the receiver waits for.
    pub(crate) fn take(&self) -> Option<Waker> {
        let waker = self.cell.take();
        // Ordering: Relaxed, because the call above synchronizes with `register_fallback`.
        if self.failed.load(Ordering::Relaxed) {
            return self.take_fallback(waker);
        }
        waker
    }

    #[cold]
    fn take_fallback(&self, stale: Option<Waker>) -> Option<Waker> {
        panic::discard(stale);
        self.fallback.lock().take()
    }

    /// Wakes the receiver if it waits.
    #[inline]
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.take() {
            let _ = panic::run(|| waker.wake());
        }
    }
}

/// These models are small enough for every execution.
#[cfg(all(test, sharing_bus_loom))]
mod models {
    use super::*;
    use crate::sync::Arc;
    use crate::sync::atomic::AtomicUsize;
    use crate::sync::wait::models::Count;

    /// A cell, and the number of signals so far. Only the cell orders the signals.
    struct Signals {
        cell: WakerCell,
        sent: AtomicUsize,
    }

    impl Signals {
        fn new() -> Arc<Self> {
            Arc::new(Signals {
                cell: WakerCell::new(),
                sent: AtomicUsize::new(0),
            })
        }

        fn send(self: &Arc<Self>) -> loom::thread::JoinHandle<()> {
            let signals = Arc::clone(self);
            loom::thread::spawn(move || {
                signals.sent.fetch_add(1, Ordering::Relaxed);
                signals.cell.wake();
            })
        }

        /// Registers the waker, and returns `true` if fewer than `expected` signals are visible then.
        fn waits(&self, waker: &Waker, expected: usize) -> bool {
            self.cell.register(waker);
            self.sent.load(Ordering::Relaxed) < expected
        }
    }

    #[test]
    fn wake_races_a_registration() {
        loom::model(|| {
            let signals = Signals::new();
            let signaling = signals.send();
            let count = Count::new();
            let waits = signals.waits(&Count::waker(&count), 1);
            signaling.join().unwrap();
            assert!(!waits || count.get() == 1, "the wake-up is lost");
        });
    }

    #[test]
    fn wake_races_the_second_registration_of_a_task() {
        loom::model(|| {
            let signals = Signals::new();
            let count = Count::new();
            let waker = Count::waker(&count);
            signals.cell.register(&waker);
            let signaling = signals.send();
            let waits = signals.waits(&waker, 1);
            signaling.join().unwrap();
            assert!(!waits || count.get() == 1, "the wake-up is lost");
        });
    }

    /// A receiver is signaled by the dispatch thread and by a thread that ends the subscription.
    #[test]
    fn two_wakes_race_a_task_that_replaces_another() {
        loom::model(|| {
            let signals = Signals::new();
            let (first, second) = (Count::new(), Count::new());
            signals.cell.register(&Count::waker(&first));
            let signaling = [signals.send(), signals.send()];
            let waits = signals.waits(&Count::waker(&second), 2);
            for thread in signaling {
                thread.join().unwrap();
            }
            assert!(!waits || second.get() >= 1, "the wake-up is lost");
        });
    }

    /// The wakers of the receiver move to the mutex while it is signaled.
    #[test]
    fn wake_races_a_registration_after_a_panic() {
        loom::model(|| {
            let signals = Signals::new();
            let signaling = signals.send();
            let count = Count::new();
            signals.cell.failed.store(true, Ordering::Relaxed);
            let waits = signals.waits(&Count::waker(&count), 1);
            signaling.join().unwrap();
            assert!(!waits || count.get() == 1, "the wake-up is lost");
        });
    }

    #[test]
    fn wake_races_a_canceled_wait() {
        loom::model(|| {
            let signals = Signals::new();
            let count = Count::new();
            signals.cell.register(&Count::waker(&count));
            let signaling = signals.send();
            drop(signals.cell.take());
            signaling.join().unwrap();
            assert!(count.get() <= 1);
            assert!(signals.cell.take().is_none(), "the cell keeps the waker");
        });
    }
}

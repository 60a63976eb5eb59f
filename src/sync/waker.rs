//! A cell for the waker of one receiver: [`WakerCell`].
//!
//! The receiver registers a waker. The threads that signal the receiver take it: the dispatch thread, and any thread
//! that ends the subscription. A signaling thread never waits for the receiver. The receiver may wait while a signaling
//! thread moves the waker out, which takes some instructions.
//!
//! Wakers are user code. All of their code runs outside the mutex and between complete steps: a waker is cloned before
//! a registration and dropped after it. So the cell works after a waker has panicked. (`atomic-waker` clones and drops
//! in the middle of a registration, and a panic there leaves its cell locked forever.)

use std::task::Waker;

use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{TryMutex, panic};

/// The waker of one receiver, while the receiver waits.
pub(crate) struct WakerCell {
    /// Set by each registration. The thread that clears it takes the waker.
    registered: AtomicBool,
    waker: TryMutex<Option<Waker>>,
}

impl WakerCell {
    pub(crate) fn new() -> Self {
        WakerCell {
            registered: AtomicBool::new(false),
            waker: TryMutex::new(None),
        }
    }

    /// Stores a waker, which replaces any earlier one. Only the receiver calls this method, and afterward checks the
    /// condition that it waits for.
    ///
    /// If cloning the waker panics, the cell is unchanged.
    pub(crate) fn register(&self, waker: &Waker) {
        if self.holds(waker) {
            self.announce();
            return;
        }
        let waker = waker.clone();
        let replaced = self.waker.lock().replace(waker);
        self.announce();
        if replaced.is_some() {
            panic::discard(replaced);
        }
    }

    /// Takes the waker, if there is one. The caller has changed the condition that the receiver waits for.
    pub(crate) fn take(&self) -> Option<Waker> {
        // Ordering: AcqRel, pairs with `announce`. If this swap comes first, the receiver sees the caller's change. If
        // it comes second, this call sees the waker.
        if !self.registered.swap(false, Ordering::AcqRel) {
            return None;
        }
        // If the lock is held, one of two threads holds it. Another signaling thread takes the waker. Or the receiver
        // replaces it, and its later call of `announce` makes the caller's change visible.
        self.waker.try_lock()?.take()
    }

    /// Wakes the receiver if it waits.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.take() {
            let _ = panic::run(|| waker.wake());
        }
    }

    /// Returns `true` if the cell holds a waker of the same task. The comparison runs no user code.
    fn holds(&self, waker: &Waker) -> bool {
        // Ordering: Relaxed, a hint that spares the lock after a wake-up.
        self.registered.load(Ordering::Relaxed) && self.waker.lock().as_ref().is_some_and(|held| held.will_wake(waker))
    }

    /// Makes the stored waker visible. This step comes after the mutex is unlocked (see `take`).
    fn announce(&self) {
        // Ordering: AcqRel, a read-modify-write, pairs with the one in `take`.
        self.registered.swap(true, Ordering::AcqRel);
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

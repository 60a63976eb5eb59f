//! Assisted dispatch: a publisher that finds the dispatcher idle runs it, which saves a wake-up. The dispatch thread
//! sleeps until a publisher hands the remaining work to it.
//!
//! [`Assist`] owns the dispatcher while no thread runs it. Its state records whether a thread runs the dispatcher:
//!
//! | operation | IDLE | RUNNING | NOTIFIED |
//! |---|---|---|---|
//! | `notify`, after a command was sent | NOTIFIED, and the caller runs the dispatcher | NOTIFIED | NOTIFIED |
//! | `clear`, before the runner receives commands | | RUNNING | RUNNING |
//! | `release`, after the runner received all commands | | IDLE | NOTIFIED, and the runner continues |
//!
//! A thread that sends a command sets the state to NOTIFIED. If the dispatcher was idle, that thread runs it. Otherwise
//! the current runner sees the flag before it stops. All three operations are read-modify-writes of one atomic, so no
//! command is missed and no thread waits. This is a form of flat combining (Hendler, Incze, Shavit and Tzafrir, SPAA
//! 2010).
//!
//! A publisher runs at most one batch, and only if the dispatcher was idle for some time. It leaves bursts, upkeep and
//! the end of the bus to the dispatch thread, which runs until no work is left. After the bus is closed, the dispatch
//! thread takes the dispatcher and does not return it.
//!
//! The mutex is held only while the dispatcher is moved in or out.

use std::task::Waker;

use crate::ingress::Ingress;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{CachePadded, IdleSince, Mutex, Parker, spin_until};

/// No thread runs the dispatcher, and every command whose sender has notified was received.
const IDLE: usize = 0;
/// A thread runs the dispatcher, and no sender has notified since the runner last cleared the state.
const RUNNING: usize = 1;
/// A thread runs the dispatcher, and a sender has notified.
const NOTIFIED: usize = 2;

/// The operations of the dispatcher for the threads that run it.
pub(crate) trait BatchRunner: Send {
    /// Dispatches the commands in the ingress, at most one batch. Returns `true` if there may be more.
    fn run_batch(&mut self) -> bool;

    /// Dispatches until the ingress is closed and empty, and ends the bus.
    fn run_to_end(self: Box<Self>);
}

pub(crate) struct Assist {
    state: CachePadded<AtomicUsize>,
    /// The dispatcher while no thread runs it. Always `None` after the bus has ended.
    dispatcher: Mutex<Option<Box<dyn BatchRunner>>>,
    /// Set when a runner hands the run to the dispatch thread. That thread clears it.
    handed_over: AtomicBool,
    thread: Waker,
    idle_since: IdleSince,
}

impl Assist {
    /// Creates the state without a dispatcher, and the parker that the dispatch thread sleeps on.
    pub(crate) fn new() -> (Self, Parker) {
        let parker = Parker::new();
        let assist = Assist {
            state: CachePadded::new(AtomicUsize::new(IDLE)),
            dispatcher: Mutex::new(None),
            handed_over: AtomicBool::new(false),
            thread: Waker::from(parker.unparker()),
            idle_since: IdleSince::new(),
        };
        (assist, parker)
    }

    /// Stores the dispatcher.
    pub(crate) fn put(&self, dispatcher: Box<dyn BatchRunner>) {
        *self.dispatcher.lock() = Some(dispatcher);
    }

    fn take(&self) -> Option<Box<dyn BatchRunner>> {
        self.dispatcher.lock().take()
    }

    /// Runs the dispatcher for one batch, or leaves the run to the dispatch thread. If another thread already runs the
    /// dispatcher, this call only notifies that thread. The caller has sent a command. This call dispatches it, or
    /// another thread soon does.
    pub(crate) fn assist<E>(&self, ingress: &Ingress<E>) {
        if !self.notify() {
            return;
        }
        let run = RunGuard(self);
        if !self.idle_since.is_long_ago() {
            return;
        }
        let dispatching = ingress.enter();
        self.clear();
        // The dispatch thread ends the bus. A close after this check sends its notification after `clear`, so `release`
        // sees it.
        if ingress.is_closed() {
            return;
        }
        let Some(mut dispatcher) = self.take() else {
            return;
        };
        let more = dispatcher.run_batch();
        self.put(dispatcher);
        // Remove the mark before the release, because the next runner sets the same mark.
        drop(dispatching);
        if !more && self.release() {
            std::mem::forget(run);
        }
    }

    /// Leaves the commands to the dispatch thread, and wakes it.
    pub(crate) fn wake_thread(&self) {
        if self.notify() {
            drop(RunGuard(self));
        }
    }

    /// Runs the dispatch thread. It sleeps until a runner hands the run to it, and then runs the dispatcher until no
    /// work is left.
    pub(crate) fn run_thread<E>(&self, ingress: &Ingress<E>, parker: &Parker) {
        loop {
            self.wait_for_handover(parker);
            loop {
                let dispatching = ingress.enter();
                self.clear();
                let Some(mut dispatcher) = self.take() else {
                    return;
                };
                if ingress.is_closed() {
                    return dispatcher.run_to_end();
                }
                while dispatcher.run_batch() {}
                // On a busy bus, the next event arrives soon. So the thread spins before it sleeps, as channels do.
                spin_until(|| self.is_notified());
                self.put(dispatcher);
                drop(dispatching);
                if self.release() {
                    break;
                }
            }
        }
    }

    fn wait_for_handover(&self, parker: &Parker) {
        // Ordering: Acquire, pairs with the Release in `RunGuard`: this thread sees the dispatcher as it was left.
        while !self.handed_over.swap(false, Ordering::Acquire) {
            parker.park();
        }
    }

    /// Announces a command that the caller has sent. Returns `true` if the caller is now the runner.
    fn notify(&self) -> bool {
        // Ordering: AcqRel. Release pairs with `clear`: the runner sees the command. Acquire pairs with `release`: a
        // new runner sees all that the last one did.
        self.state.swap(NOTIFIED, Ordering::AcqRel) == IDLE
    }

    /// Clears the notification before the runner receives commands. A command whose sender notifies later may be
    /// missed.
    fn clear(&self) {
        // Ordering: Acquire, pairs with `notify`. A swap reads the latest state, so it never overwrites a notification
        // that it has not acquired.
        self.state.swap(RUNNING, Ordering::Acquire);
    }

    fn is_notified(&self) -> bool {
        // Ordering: Relaxed, a hint; `release` decides.
        self.state.load(Ordering::Relaxed) == NOTIFIED
    }

    /// Ends the run unless a sender has notified since the last `clear`. The caller has stored the dispatcher. Returns
    /// `true` if the run ended.
    fn release(&self) -> bool {
        self.idle_since.set_now();
        // Ordering: Release, pairs with `notify`. Relaxed on failure, because the next `clear` acquires.
        self.state
            .compare_exchange(RUNNING, IDLE, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}

/// The right to run the dispatcher. Dropping it hands the run to the dispatch thread, also in a panic.
struct RunGuard<'a>(&'a Assist);

impl Drop for RunGuard<'_> {
    fn drop(&mut self) {
        // Ordering: Release, pairs with `wait_for_handover`: the thread sees the dispatcher as this runner left it. A
        // swap, because loom does not order a plain store before a later read-modify-write of another thread.
        self.0.handed_over.swap(true, Ordering::Release);
        self.0.thread.wake_by_ref();
    }
}

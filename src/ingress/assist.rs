//! Assisted dispatch: a publisher that finds the dispatcher at rest runs it itself and so saves a wake-up; the dispatch
//! thread sleeps until it is handed the rest.
//!
//! Owns the dispatcher between its stints, and the turn: the right to run it. Whoever has sent a command asks. If the
//! turn is free, the asker has it; if not, whoever has it finds out before it lets go, and sees what was sent. Both are
//! read-modify-writes of one atomic, so no command is left behind and nobody waits. A publisher runs one batch at most,
//! and only after a lull: it hands a backlog, a burst, upkeep and the end of the bus to the thread, which keeps the turn
//! until there is nothing left to do. Once the bus is closed, the thread keeps it for good.
//!
//! The mutex guards the move of the dispatcher in and out, and nothing runs under it.

use std::task::Waker;

use crate::ingress::Ingress;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{CachePadded, Lull, Mutex, Parker, linger};

/// Nobody has the turn, and the ingress holds nothing whose sender has asked.
const FREE: usize = 0;
/// Somebody has the turn, and nobody has asked since it last looked.
const TAKEN: usize = 1;
/// Somebody has the turn, and somebody has asked.
const ASKED: usize = 2;

/// What a turn runs.
pub(crate) trait Dispatch: Send {
    /// Dispatches what there is, up to a batch; true if there may be more.
    fn run_batch(&mut self) -> bool;

    /// Dispatches until the ingress is closed and drained, and ends the bus.
    fn run_to_end(self: Box<Self>);
}

pub(crate) struct Turn {
    state: CachePadded<AtomicUsize>,
    /// At home while nobody runs it. Empty for good once the bus has ended.
    dispatcher: Mutex<Option<Box<dyn Dispatch>>>,
    /// The turn is the thread's.
    handed: AtomicBool,
    thread: Waker,
    lull: Lull,
}

impl Turn {
    /// A turn without a dispatcher yet, and what its thread sleeps on.
    pub(crate) fn new() -> (Self, Parker) {
        let parker = Parker::new();
        let turn = Turn {
            state: CachePadded::new(AtomicUsize::new(FREE)),
            dispatcher: Mutex::new(None),
            handed: AtomicBool::new(false),
            thread: Waker::from(parker.unparker()),
            lull: Lull::new(),
        };
        (turn, parker)
    }

    /// Brings the dispatcher home.
    pub(crate) fn put(&self, dispatcher: Box<dyn Dispatch>) {
        *self.dispatcher.lock() = Some(dispatcher);
    }

    fn take(&self) -> Option<Box<dyn Dispatch>> {
        self.dispatcher.lock().take()
    }

    /// Called by who has sent a command: it is dispatched now, or soon by somebody else.
    pub(crate) fn assist<E>(&self, ingress: &Ingress<E>) {
        if !self.ask() {
            return;
        }
        let stint = Stint(self);
        if !self.lull.has_lasted() {
            return;
        }
        let here = ingress.enter();
        self.look();
        // The end is the thread's. Who closes from here on asks too late to be seen by this look, so `release` tells.
        if ingress.is_closed() {
            return;
        }
        let Some(mut dispatcher) = self.take() else {
            return;
        };
        let more = dispatcher.run_batch();
        self.put(dispatcher);
        // Before the turn goes: whoever has it next says so in the same place.
        drop(here);
        if !more && self.release() {
            std::mem::forget(stint);
        }
    }

    /// Like `assist`, and leaves the work to the thread in any case.
    pub(crate) fn call_thread(&self) {
        if self.ask() {
            drop(Stint(self));
        }
    }

    /// The thread's life: asleep until it is handed the turn, and at work until there is nothing left to do.
    pub(crate) fn serve<E>(&self, ingress: &Ingress<E>, parker: &Parker) {
        loop {
            self.wait_for_turn(parker);
            loop {
                let here = ingress.enter();
                self.look();
                let Some(mut dispatcher) = self.take() else {
                    return;
                };
                if ingress.is_closed() {
                    return dispatcher.run_to_end();
                }
                while dispatcher.run_batch() {}
                // As a channel does before it blocks: in a busy bus the next event is on its way.
                linger(|| self.is_asked());
                self.put(dispatcher);
                drop(here);
                if self.release() {
                    break;
                }
            }
        }
    }

    fn wait_for_turn(&self, parker: &Parker) {
        // Ordering: Acquire, pairs with the Release in `Stint`: the dispatcher is taken over as it was left.
        while !self.handed.swap(false, Ordering::Acquire) {
            parker.park();
        }
    }

    /// Asks for what the caller has sent to be dispatched; true if the caller has the turn for it.
    fn ask(&self) -> bool {
        // Ordering: AcqRel. Release pairs with `look`: who has the turn sees what was sent. Acquire pairs with
        // `release`: who gets the turn sees the last stint's end.
        self.state.swap(ASKED, Ordering::AcqRel) == FREE
    }

    /// Called before each drain: whoever asks from now on may be too late for it.
    fn look(&self) {
        // Ordering: Acquire, pairs with `ask`. A swap, and so never later than an ask that it does not see.
        self.state.swap(TAKEN, Ordering::Acquire);
    }

    fn is_asked(&self) -> bool {
        // Ordering: Relaxed, a hint; `release` decides.
        self.state.load(Ordering::Relaxed) == ASKED
    }

    /// Lets go of the turn, with the dispatcher at home, unless somebody has asked since the last look.
    fn release(&self) -> bool {
        self.lull.begin();
        // Ordering: Release, pairs with `ask`. Relaxed where it fails, since the next look acquires.
        self.state
            .compare_exchange(TAKEN, FREE, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }
}

/// The turn in a caller's hands. What is not released goes to the thread, in a panic too.
struct Stint<'a>(&'a Turn);

impl Drop for Stint<'_> {
    fn drop(&mut self) {
        // Ordering: Release, pairs with `wait_for_turn`: what the last stint left is passed on. A swap, as loom orders
        // plain stores and read-modify-writes of one atomic by what happens before alone.
        self.0.handed.swap(true, Ordering::Release);
        self.0.thread.wake_by_ref();
    }
}

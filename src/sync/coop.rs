//! Cooperation: a task that never has to wait yields to the other tasks of its executor from time to time.
//!
//! An executor runs another task only when the current one waits. A task whose calls are all ready at once would keep
//! the thread for itself. So each task has a budget. A call that finds the budget spent wakes the task and returns
//! `Pending` once, before it has taken or sent anything. A wait renews the budget. Threads that block have no budget.
//!
//! A receiver owns a [`Budget`]. To yield costs as much as some dozens of receives, so the budget of a fast receiver is
//! measured in time. The calls that send cost more and have no owner, so they are only counted, in a variable of the
//! thread ([`poll_call`]).

use std::task::{Context, Poll};

/// Number of calls that send, after which their task yields.
const CALLS: u32 = 128;

/// Number of events before the first look at the clock. A receiver that waits earlier never reads the clock.
const FIRST_CHECK: u64 = 128;

/// Number of events from the first look at the clock to the second.
const FIRST_STEP: u64 = 64;

/// Maximum number of events between two looks at the clock.
const MAX_STEP: u64 = 256;

/// The budget of a task that receives.
pub(crate) struct Budget {
    /// Number of received events at which the clock is read next.
    check_at: u64,
    /// Number of events after the next check until the following one.
    step: u64,
    clock: clock::Clock,
}

impl Budget {
    /// Creates the budget of a task that has received this many events.
    pub(crate) fn new(received: u64) -> Self {
        Budget {
            check_at: received + FIRST_CHECK,
            step: FIRST_STEP,
            clock: clock::Clock::new(),
        }
    }

    /// Returns `true` if [`is_spent`](Self::is_spent) must be called before the next receive.
    #[inline]
    pub(crate) fn needs_check(&self, received: u64) -> bool {
        received >= self.check_at
    }

    /// Reads the clock. The first call only begins to measure the time, so a budget has at least two checks.
    pub(crate) fn is_spent(&mut self, received: u64) -> bool {
        let spent = self.clock.is_long();
        if !spent {
            self.check_at = received + self.step;
            self.step = MAX_STEP.min(2 * self.step);
        }
        spent
    }

    /// Counts an operation that receives no event.
    pub(crate) fn spend(&mut self) {
        self.check_at = self.check_at.saturating_sub(1);
    }
}

/// Returns `Pending` and wakes the calling task, so that its executor runs other tasks first.
pub(crate) fn yield_once<T>(cx: &Context<'_>) -> Poll<T> {
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Counts a call of a task on this thread. Returns `Pending` if the task must yield first.
pub(crate) fn poll_call(cx: &Context<'_>) -> Poll<()> {
    if calls::get() >= CALLS {
        renew();
        return yield_once(cx);
    }
    calls::set(calls::get() + 1);
    Poll::Ready(())
}

/// Renews the budget of the calls on this thread, because one of them waits.
pub(crate) fn renew() {
    calls::set(0);
}

#[cfg(not(sharing_bus_loom))]
mod clock {
    use std::time::{Duration, Instant};

    /// Time after which a task yields.
    const LONG: Duration = Duration::from_micros(100);

    /// The time since the first check of a budget.
    pub(super) struct Clock(Option<Instant>);

    impl Clock {
        pub(super) fn new() -> Self {
            Clock(None)
        }

        pub(super) fn is_long(&mut self) -> bool {
            let now = Instant::now();
            let started = *self.0.get_or_insert(now);
            now.duration_since(started) >= LONG
        }
    }
}

#[cfg(not(sharing_bus_loom))]
mod calls {
    use std::cell::Cell;

    thread_local! {
        /// Number of calls on this thread since a call last waited.
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }

    pub(super) fn get() -> u32 {
        CALLS.get()
    }

    pub(super) fn set(calls: u32) {
        CALLS.set(calls);
    }
}

/// A stand-in without time.
#[cfg(sharing_bus_loom)]
mod clock {
    pub(super) struct Clock;

    impl Clock {
        pub(super) fn new() -> Self {
            Clock
        }

        pub(super) fn is_long(&mut self) -> bool {
            false
        }
    }
}

/// A stand-in that counts no calls, because all threads of a model are one thread of the system.
#[cfg(sharing_bus_loom)]
mod calls {
    pub(super) fn get() -> u32 {
        0
    }

    pub(super) fn set(_calls: u32) {}
}

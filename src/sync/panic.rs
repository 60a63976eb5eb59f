//! The panic boundary around user code: filters, wakers, sinks, loggers, and payloads as they are dropped.
//!
//! The module owns no state. The bus runs all user code through this module, so a panic ends only that call and not the
//! dispatch thread. A host built with `panic = "abort"` has no such boundary.

use std::ops::{Deref, DerefMut};

/// User code panicked.
#[derive(Debug)]
pub(crate) struct Panicked;

/// Runs user code. Returns `Err` if it panicked, so that a panic cannot unwind through the bus.
#[cfg(not(sharing_bus_loom))]
pub(crate) fn run<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).map_err(|payload| {
        // The payload is user code too. If it panics as it is dropped, the second payload is leaked.
        if let Err(second) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Panicked
    })
}

/// Runs `f` and catches no panic, because loom reports its findings by a panic.
#[cfg(sharing_bus_loom)]
pub(crate) fn run<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    Ok(f())
}

/// Number of consecutive panics of a subscriber's function that end its subscription. Each panic can take a
/// millisecond, because the panic hook may print a backtrace, and all subscribers wait meanwhile.
pub(crate) const MAX_PANICS: u8 = 8;

/// The consecutive panics of one function of a subscriber.
#[derive(Default)]
pub(crate) struct Streak(u8);

impl Streak {
    /// Records the result of a call. Returns `true` if the function has now panicked [`MAX_PANICS`] times in a row.
    pub(crate) fn record<T>(&mut self, result: &Result<T, Panicked>) -> bool {
        match result {
            Ok(_) => self.reset(),
            Err(Panicked) => self.0 += 1,
        }
        self.is_over()
    }

    /// Records a call that returned.
    #[inline]
    pub(crate) fn reset(&mut self) {
        // Usually nothing is written, so that evaluating many filters does not dirty their cache lines.
        if self.0 > 0 {
            self.0 = 0;
        }
    }

    /// Returns `true` if the function has panicked [`MAX_PANICS`] times in a row.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.0 >= MAX_PANICS
    }
}

/// Drops a user value. A panic of its `Drop` is reported by the panic hook and caught here.
pub(crate) fn discard<T>(value: T) {
    let _ = run(|| drop(value));
}

/// A user value whose `Drop` may panic. The panic is caught wherever the value is dropped.
pub(crate) struct DropGuarded<T>(Option<T>);

impl<T> DropGuarded<T> {
    pub(crate) fn new(value: T) -> Self {
        DropGuarded(Some(value))
    }
}

impl<T> Deref for DropGuarded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("only `drop` takes the value"),
        }
    }
}

impl<T> DerefMut for DropGuarded<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(value) => value,
            None => unreachable!("only `drop` takes the value"),
        }
    }
}

impl<T> Drop for DropGuarded<T> {
    fn drop(&mut self) {
        // The value is dropped in place, which saves the move of a large event.
        let _ = run(|| self.0 = None);
    }
}

/// Logs a warning. The logger is user code too.
macro_rules! log_warning {
    ($($message:tt)+) => {
        if let Err($crate::sync::panic::Panicked) = $crate::sync::panic::run(|| log::warn!($($message)+)) {}
    };
}
pub(crate) use log_warning;

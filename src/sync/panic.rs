//! The panic boundary around user code: filters, wakers, sinks, loggers, and payloads as they are dropped.
//!
//! The module owns no state. The bus runs all user code through this module, so a panic ends only that call and not the
//! dispatch thread. A host built with `panic = "abort"` has no such boundary.

use std::ops::{Deref, DerefMut};

use crate::sync::{Panicked, catch};

/// Runs user code. Returns `Err` if it panicked.
pub(crate) fn run<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch(f)
}

/// Drops a user value. A panic of its `Drop` is reported by the panic hook and caught here.
pub(crate) fn discard<T>(value: T) {
    let _ = catch(|| drop(value));
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
        let _ = catch(|| self.0 = None);
    }
}

/// Logs a warning. The logger is user code too.
macro_rules! log_warning {
    ($($message:tt)+) => {
        if let Err($crate::sync::Panicked) = $crate::sync::panic::run(|| log::warn!($($message)+)) {}
    };
}
pub(crate) use log_warning;

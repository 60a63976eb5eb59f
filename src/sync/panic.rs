//! The panic boundary around user code: filters, wakers, payloads as they are dropped, loggers.
//!
//! Owns nothing. Whatever the bus runs that it did not write goes through here, so that a panic ends that one call and
//! not the dispatch thread. A host built with `panic = "abort"` has no such boundary.

use crate::sync::{Panicked, catch};

/// Runs user code; `Err` if it panicked.
pub(crate) fn run<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch(f)
}

/// Drops a value of the user's. A panic in its `Drop` has been reported by the panic hook and ends here.
pub(crate) fn discard<T>(value: T) {
    let _ = catch(|| drop(value));
}

/// Logs a warning; the logger is user code too.
macro_rules! log_warning {
    ($($message:tt)+) => {
        if let Err($crate::sync::Panicked) = $crate::sync::panic::run(|| log::warn!($($message)+)) {}
    };
}
pub(crate) use log_warning;

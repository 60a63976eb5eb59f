//! The panic boundary around user code: filters, wakers, drops of payloads, and loggers.
//!
//! The bus calls user code only through these functions. So a panic ends that one call and not the dispatch thread. A
//! host built with `panic = "abort"` has no panic boundary.

use crate::sync::{Panicked, catch};

/// Runs user code. Returns `Err` if the code panicked.
pub(crate) fn run<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch(f)
}

/// Drops a value whose `Drop` may be user code. A panic in it ends here, after the panic hook has reported it.
pub(crate) fn discard<T>(value: T) {
    let _ = catch(|| drop(value));
}

/// Logs a warning behind the panic boundary, because the logger is user code too.
macro_rules! log_warning {
    ($($message:tt)+) => {
        if let Err($crate::sync::Panicked) = $crate::boundary::run(|| log::warn!($($message)+)) {}
    };
}
pub(crate) use log_warning;

//! Containment of panics in the host's code: codecs, filters and loggers. Such a panic loses one event or one log line,
//! but never ends the bridge.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns the result of `code`, or `None` if it panicked. The panic hook has reported the panic.
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}

/// Logs a warning and contains panics of the host's logger.
macro_rules! log_warning {
    ($($text:tt)+) => { $crate::runtime::panic::catch(|| log::warn!($($text)+)).unwrap_or_default() };
}

/// Logs at level `info` and contains panics of the host's logger.
macro_rules! log_info {
    ($($text:tt)+) => { $crate::runtime::panic::catch(|| log::info!($($text)+)).unwrap_or_default() };
}

pub(crate) use {log_info, log_warning};

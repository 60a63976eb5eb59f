//! The panic boundary around the host's code: codecs, filters and loggers. A panic there costs one event or one line, never
//! the bridge.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `code` returns, or `None` if it panicked; the panic hook has told of it.
pub(crate) fn catch<T>(code: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(code)).ok()
}

macro_rules! log_warning {
    ($($text:tt)+) => { $crate::runtime::panic::catch(|| log::warn!($($text)+)).unwrap_or_default() };
}

macro_rules! log_info {
    ($($text:tt)+) => { $crate::runtime::panic::catch(|| log::info!($($text)+)).unwrap_or_default() };
}

pub(crate) use {log_info, log_warning};

//! Error reports on standard error. The exit code depends on whether any error was reported.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::progress::Progress;

pub(crate) struct ErrorReporter {
    progress: Progress,
    reported: AtomicBool,
}

impl ErrorReporter {
    pub(crate) fn new(progress: Progress) -> Self {
        ErrorReporter {
            progress,
            reported: AtomicBool::new(false),
        }
    }

    /// Prints an error to standard error.
    pub(crate) fn report(&self, error: impl Display) {
        // Ordering: Relaxed. The flag is read after the reporting threads have been joined.
        self.reported.store(true, Ordering::Relaxed);
        self.progress.suspend(|| eprintln!("mux: {error}"));
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.reported.load(Ordering::Relaxed)
    }
}

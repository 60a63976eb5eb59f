//! What went wrong: said at once on standard error, and remembered for the exit code.

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

    /// Says what went wrong and goes on.
    pub(crate) fn report(&self, error: impl Display) {
        // Ordering: Relaxed; read after the reporting threads were joined.
        self.reported.store(true, Ordering::Relaxed);
        self.progress.suspend(|| eprintln!("mux: {error}"));
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.reported.load(Ordering::Relaxed)
    }
}

//! What went wrong: said at once on standard error, and remembered for the exit code.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::progress::Progress;

pub(crate) struct Troubles {
    progress: Progress,
    any: AtomicBool,
}

impl Troubles {
    pub(crate) fn new(progress: Progress) -> Self {
        Troubles {
            progress,
            any: AtomicBool::new(false),
        }
    }

    /// Says what went wrong and goes on.
    pub(crate) fn report(&self, trouble: impl Display) {
        // Ordering: Relaxed; read after the reporting threads were joined.
        self.any.store(true, Ordering::Relaxed);
        self.progress.aside(|| eprintln!("mux: {trouble}"));
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }
}

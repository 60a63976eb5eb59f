//! The progress line: a subscriber that shows the number of events and of open sessions on a terminal.

use std::collections::HashSet;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sharing_bus::BusReceiver;
use sharing_bus_example_sessions::{Record, SESSION_ENDED};

use crate::summary::Tally;

/// A handle to the progress line. All other output must be printed inside [`suspend`](Self::suspend).
#[derive(Clone)]
pub(crate) struct Progress {
    /// The line on standard error. It is hidden if standard error is not a terminal.
    line: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} events: {pos}, open sessions: {msg} [{elapsed}]")
            .expect("the template is valid");
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())
            .with_style(style)
            .with_message("0");
        Progress { line }
    }

    /// Counts events and sessions until the bus closes.
    pub(crate) fn follow(&self, mut receiver: BusReceiver<Record>) -> Tally {
        let mut tally = Tally::default();
        let mut open = HashSet::new();
        for delivery in receiver.iter() {
            tally.count(&delivery);
            let Record {
                connector_id,
                native_session_id,
                kind,
                ..
            } = &*delivery.event;
            if let Some(session) = native_session_id {
                let session = (connector_id.clone(), session.clone());
                let changed = if kind == SESSION_ENDED {
                    open.remove(&session)
                } else {
                    open.insert(session)
                };
                if changed {
                    self.line.set_message(open.len().to_string());
                }
            }
            self.line.set_position(tally.received() + tally.missed());
        }
        tally.finish(&receiver)
    }

    /// Runs `print` while the line is hidden.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        if self.line.is_hidden() {
            print()
        } else {
            self.line.suspend(print)
        }
    }

    /// Removes the line from the terminal.
    pub(crate) fn finish(&self) {
        self.line.finish_and_clear();
    }
}

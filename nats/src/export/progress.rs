//! The exporter's numbering and accounting: [`Progress`], a plain value.

use std::collections::HashMap;

use crate::wire::headers::MAX_TRACKED_SUBJECTS;

/// What has been sent, and how much of it is certain.
#[derive(Default)]
pub(crate) struct Progress {
    /// Events that were this bridge's to export so far, lost ones included.
    pub(super) sequence: u64,
    /// Those that its own queue lost.
    pub(super) lost: u64,
    /// How many there were of each subject.
    pub(super) subject_sequences: HashMap<String, u64>,
    /// Events handed to the client.
    pub(super) handed: u64,
    /// Those of them whose fate is decided: confirmed, or uncertain for good.
    pub(super) settled: u64,
    /// The connection that all others were handed to.
    pub(super) connect_count: u64,
    pub(super) max_payload: usize,
}

impl Progress {
    pub(super) fn unsettled(&self) -> usize {
        usize::try_from(self.handed - self.settled).unwrap_or(usize::MAX)
    }

    /// Counts one more of this subject. Past the limit all begin anew, which those who receive take for what it is.
    pub(super) fn next_in_subject(&mut self, subject: &str) -> u64 {
        if let Some(nth) = self.subject_sequences.get_mut(subject) {
            *nth += 1;
            return *nth;
        }
        if self.subject_sequences.len() >= MAX_TRACKED_SUBJECTS {
            self.subject_sequences.clear();
        }
        self.subject_sequences.insert(subject.to_owned(), 1);
        1
    }
}

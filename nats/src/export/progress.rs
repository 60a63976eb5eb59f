//! The exporter's numbers and counts: [`Progress`], a plain value.

use std::collections::HashMap;

use crate::wire::headers::MAX_TRACKED_SUBJECTS;

/// The numbers of the events so far, and how many of these events are settled.
#[derive(Default)]
pub(crate) struct Progress {
    /// Number of events that matched the export filter so far, including lost events.
    pub(super) sequence: u64,
    /// Number of events that the bridge's queue lost.
    pub(super) lost: u64,
    /// Number of events of each subject.
    pub(super) subject_sequences: HashMap<String, u64>,
    /// Number of events passed to the client.
    pub(super) sent: u64,
    /// Number of these events that are settled: confirmed, or counted as possibly lost.
    pub(super) settled: u64,
    /// The connection that the unsettled events were sent over, as a number of connects.
    pub(super) connect_count: u64,
    pub(super) max_payload: usize,
}

impl Progress {
    pub(super) fn unsettled(&self) -> usize {
        usize::try_from(self.sent - self.settled).unwrap_or(usize::MAX)
    }

    /// Returns the next number of a subject. Above the limit, all subjects start again at 1. A receiver recognizes
    /// such a restart and does not count it as a loss.
    pub(super) fn next_in_subject(&mut self, subject: &str) -> u64 {
        if let Some(last) = self.subject_sequences.get_mut(subject) {
            *last += 1;
            return *last;
        }
        if self.subject_sequences.len() >= MAX_TRACKED_SUBJECTS {
            self.subject_sequences.clear();
        }
        self.subject_sequences.insert(subject.to_owned(), 1);
        1
    }
}

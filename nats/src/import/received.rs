//! The record of the messages received from each source: [`Received`]. It detects duplicates and losses.
//!
//! Only the importer uses this record. The messages of a source arrive in the order of their sequences. A message
//! whose sequence is not above the last one is therefore a duplicate.
//!
//! A jump in the sequence is not a loss, because the messages in between may belong to subjects that this node did not
//! subscribe to. Losses are therefore counted per subject: the server delivers all messages of a subject or none, and
//! each message carries its number within its subject.

use std::collections::HashMap;

use crate::wire::headers::{MAX_TRACKED_SUBJECTS, Numbers, Source};

/// Maximum number of sources. Above this limit, the source whose last message is the oldest is forgotten.
const MAX_SOURCES: usize = 4096;

/// The result of recording a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// This message or a later message of its source has already been recorded.
    Duplicate,
    /// The message is new.
    New(Gap),
}

/// Losses directly before a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    /// Number of messages of the same subject that did not arrive.
    pub(crate) of_subject: u64,
    /// Number of events, of any subject, that the source's bridge lost before it could send them.
    pub(crate) at_source: u64,
}

impl Gap {
    pub(crate) fn is_none(&self) -> bool {
        *self == Gap::default()
    }

    pub(crate) fn plus(self, later: Gap) -> Gap {
        Gap {
            of_subject: self.of_subject + later.of_subject,
            at_source: self.at_source + later.at_source,
        }
    }
}

/// The record of one source.
#[derive(Default)]
struct SourceState {
    /// The sequence of the last message.
    last: u64,
    /// Number of events that the source has reported as lost.
    lost: u64,
    /// Value of [`Received::records`] when this source was last recorded.
    last_record: u64,
    /// The number of the last message of each subject.
    subject_sequences: HashMap<String, u64>,
}

/// The record of all received messages.
#[derive(Default)]
pub(crate) struct Received {
    sources: HashMap<Source, SourceState>,
    /// Number of calls of [`record`](Self::record).
    records: u64,
}

impl Received {
    /// Records a message.
    pub(crate) fn record(&mut self, source: Source, subject: &str, numbers: Numbers) -> Arrival {
        self.records += 1;
        let last_record = self.records;
        if !self.sources.contains_key(&source) {
            self.evict_least_recent();
            // Events that the source lost before this node subscribed do not concern this node.
            let lost = numbers.lost;
            self.sources.insert(
                source,
                SourceState {
                    lost,
                    ..SourceState::default()
                },
            );
        }
        let Some(state) = self.sources.get_mut(&source) else {
            return Arrival::New(Gap::default());
        };
        state.last_record = last_record;
        if numbers.sequence <= state.last {
            return Arrival::Duplicate;
        }
        state.last = numbers.sequence;
        let at_source = numbers.lost.saturating_sub(state.lost);
        state.lost = state.lost.max(numbers.lost);
        let of_subject = state.missing_before(subject, numbers.subject_sequence);
        Arrival::New(Gap { of_subject, at_source })
    }

    /// Forgets all subjects except those that `keep` accepts. If a forgotten subject is subscribed to again, the
    /// messages in between do not count as missing.
    pub(crate) fn retain_subjects(&mut self, keep: impl Fn(&str) -> bool) {
        for state in self.sources.values_mut() {
            state.subject_sequences.retain(|subject, _| keep(subject));
        }
    }

    fn evict_least_recent(&mut self) {
        if self.sources.len() < MAX_SOURCES {
            return;
        }
        let least_recent = self.sources.iter().min_by_key(|(_, state)| state.last_record);
        if let Some(source) = least_recent.map(|(source, _)| *source) {
            self.sources.remove(&source);
        }
    }
}

impl SourceState {
    /// Records the number of a message within its subject, and returns how many messages are missing before it. A
    /// subject without a record may have had messages before this node subscribed, so no message counts as missing. If
    /// the number is lower than the recorded one, the source has restarted the subject's numbers, and no message counts
    /// as missing either.
    fn missing_before(&mut self, subject: &str, subject_sequence: u64) -> u64 {
        if let Some(last) = self.subject_sequences.get_mut(subject) {
            let missing = subject_sequence.saturating_sub(*last).saturating_sub(1);
            *last = subject_sequence;
            return missing;
        }
        if self.subject_sequences.len() >= MAX_TRACKED_SUBJECTS {
            self.subject_sequences.clear();
        }
        self.subject_sequences.insert(subject.to_owned(), subject_sequence);
        0
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn source(n: u128) -> Source {
        Source {
            origin: Uuid::from_u128(n),
            epoch: Uuid::from_u128(1),
        }
    }

    fn numbers(sequence: u64, subject_sequence: u64, lost: u64) -> Numbers {
        Numbers {
            sequence,
            subject_sequence,
            lost,
        }
    }

    fn gap(of_subject: u64, at_source: u64) -> Arrival {
        Arrival::New(Gap { of_subject, at_source })
    }

    #[test]
    fn repeated_or_lower_sequence_is_a_duplicate() {
        let mut received = Received::default();
        assert_eq!(received.record(source(1), "a", numbers(5, 1, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(5, 1, 0)), Arrival::Duplicate);
        assert_eq!(received.record(source(1), "b", numbers(4, 1, 0)), Arrival::Duplicate);
        assert_eq!(received.record(source(2), "a", numbers(5, 1, 0)), gap(0, 0));
    }

    #[test]
    fn new_epoch_is_a_new_source() {
        let mut received = Received::default();
        let later = Source {
            epoch: Uuid::from_u128(2),
            ..source(1)
        };
        assert_eq!(received.record(source(1), "a", numbers(9, 9, 0)), gap(0, 0));
        assert_eq!(received.record(later, "a", numbers(1, 1, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(10, 10, 0)), gap(0, 0));
    }

    #[test]
    fn loss_is_counted_per_subject() {
        let mut received = Received::default();
        assert_eq!(received.record(source(1), "a", numbers(10, 4, 0)), gap(0, 0));
        // The sequences in between belong to a subject without a subscription.
        assert_eq!(received.record(source(1), "a", numbers(20, 5, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(30, 8, 0)), gap(2, 0));
        assert_eq!(received.record(source(1), "b", numbers(31, 8, 0)), gap(0, 0));
        // The source has restarted the subject's numbers.
        assert_eq!(received.record(source(1), "a", numbers(32, 1, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(33, 3, 0)), gap(1, 0));
    }

    #[test]
    fn subject_without_subscription_has_no_losses() {
        let mut received = Received::default();
        for subject in ["a", "b"] {
            received.record(source(1), subject, numbers(if subject == "a" { 1 } else { 2 }, 1, 0));
        }
        received.retain_subjects(|subject| subject == "a");
        assert_eq!(received.record(source(1), "a", numbers(8, 5, 0)), gap(3, 0));
        assert_eq!(received.record(source(1), "b", numbers(9, 5, 0)), gap(0, 0));
    }

    #[test]
    fn loss_at_the_source_is_reported_once() {
        let mut received = Received::default();
        assert_eq!(received.record(source(1), "a", numbers(10, 1, 7)), gap(0, 0));
        assert_eq!(received.record(source(1), "b", numbers(20, 1, 9)), gap(0, 2));
        assert_eq!(received.record(source(1), "a", numbers(21, 2, 9)), gap(0, 0));
    }

    #[test]
    fn least_recent_source_is_evicted_first() {
        let mut received = Received::default();
        for n in 0..MAX_SOURCES as u128 {
            received.record(source(n), "a", numbers(1, 1, 0));
        }
        received.record(source(0), "a", numbers(2, 2, 0));
        received.record(source(u128::MAX), "a", numbers(1, 1, 0));
        assert_eq!(received.sources.len(), MAX_SOURCES);
        assert_eq!(received.record(source(0), "a", numbers(2, 2, 0)), Arrival::Duplicate);
        assert_eq!(received.record(source(1), "a", numbers(1, 1, 0)), gap(0, 0));
    }
}

//! What this node has seen of every source: duplicates, and what is missing.
//!
//! Owned by the importer alone, not shared. A source's messages come in the order of their sequences; what is not beyond the
//! last is a duplicate. With filters pushed down to the server a jump in the sequence says nothing, for what lies between
//! may belong to subjects that nobody here asked for. So loss is counted by subject: the server delivers a subject whole or
//! not at all, and each message tells its number there.

use std::collections::HashMap;

use crate::wire::headers::{MAX_TRACKED_SUBJECTS, Numbers, Source};

/// How many sources are remembered; the one that has been quiet for longest is forgotten first.
const MAX_SOURCES: usize = 4096;
/// What is known of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It, or a later one of its source, has been here.
    Duplicate,
    /// It is new.
    New(Gap),
}

/// What is missing right before a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gap {
    /// So many messages of the same subject.
    pub(crate) of_subject: u64,
    /// So many events that the source's bridge never sent, of whatever subject.
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

#[derive(Default)]
struct SourceState {
    last: u64,
    lost: u64,
    /// When it was last last_record of, by the received's own count.
    last_record: u64,
    subject_sequences: HashMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Received {
    sources: HashMap<Source, SourceState>,
    records: u64,
}

impl Received {
    /// Enters a message.
    pub(crate) fn record(&mut self, source: Source, subject: &str, numbers: Numbers) -> Arrival {
        self.records += 1;
        let last_record = self.records;
        if !self.sources.contains_key(&source) {
            self.evict_least_recent();
            // What was lost there before this node listened is none of its business.
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

    /// Forgets all subjects but these: what is missing of the others, should they come again, was never asked for.
    pub(crate) fn retain_subjects(&mut self, keep: impl Fn(&str) -> bool) {
        for state in self.sources.values_mut() {
            state.subject_sequences.retain(|subject, _| keep(subject));
        }
    }

    fn evict_least_recent(&mut self) {
        if self.sources.len() < MAX_SOURCES {
            return;
        }
        let quietest = self.sources.iter().min_by_key(|(_, state)| state.last_record);
        if let Some(source) = quietest.map(|(source, _)| *source) {
            self.sources.remove(&source);
        }
    }
}

impl SourceState {
    /// Notes the number of a message of this subject, and says how many are missing before it. A subject that is new here
    /// may have had messages before this node listened; one that begins anew was forgotten by its source.
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
    fn a_sequence_that_was_here_is_a_duplicate() {
        let mut received = Received::default();
        assert_eq!(received.record(source(1), "a", numbers(5, 1, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(5, 1, 0)), Arrival::Duplicate);
        assert_eq!(received.record(source(1), "b", numbers(4, 1, 0)), Arrival::Duplicate);
        assert_eq!(received.record(source(2), "a", numbers(5, 1, 0)), gap(0, 0));
    }

    #[test]
    fn a_new_epoch_begins_anew() {
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
    fn loss_is_counted_by_subject() {
        let mut received = Received::default();
        assert_eq!(received.record(source(1), "a", numbers(10, 4, 0)), gap(0, 0));
        // What lies between is of a subject that was not asked for.
        assert_eq!(received.record(source(1), "a", numbers(20, 5, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(30, 8, 0)), gap(2, 0));
        assert_eq!(received.record(source(1), "b", numbers(31, 8, 0)), gap(0, 0));
        // Its source has forgotten the subject.
        assert_eq!(received.record(source(1), "a", numbers(32, 1, 0)), gap(0, 0));
        assert_eq!(received.record(source(1), "a", numbers(33, 3, 0)), gap(1, 0));
    }

    #[test]
    fn what_nobody_listens_to_is_not_missed() {
        let mut received = Received::default();
        for subject in ["a", "b"] {
            received.record(source(1), subject, numbers(if subject == "a" { 1 } else { 2 }, 1, 0));
        }
        received.retain_subjects(|subject| subject == "a");
        assert_eq!(received.record(source(1), "a", numbers(8, 5, 0)), gap(3, 0));
        assert_eq!(received.record(source(1), "b", numbers(9, 5, 0)), gap(0, 0));
    }

    #[test]
    fn what_a_source_lost_is_told_once() {
        let mut received = Received::default();
        assert_eq!(received.record(source(1), "a", numbers(10, 1, 7)), gap(0, 0));
        assert_eq!(received.record(source(1), "b", numbers(20, 1, 9)), gap(0, 2));
        assert_eq!(received.record(source(1), "a", numbers(21, 2, 9)), gap(0, 0));
    }

    #[test]
    fn the_quietest_source_makes_room() {
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

//! What this node has seen of every source: duplicates, and what is missing.
//!
//! Owned by the importer alone, not shared. A source's messages come in the order of their sequences; what is not beyond the
//! last is a duplicate. With filters pushed down to the server a jump in the sequence says nothing, for what lies between
//! may belong to subjects that nobody here asked for. So loss is counted by subject: the server delivers a subject whole or
//! not at all, and each message tells its number there.

use std::collections::HashMap;

use crate::wire::headers::{MAX_TRACKED_SUBJECTS, Place, Source};

/// How many sources are remembered; the one that has been quiet for longest is forgotten first.
const SOURCES: usize = 4096;
/// What is known of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
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

    pub(crate) fn and(self, later: Gap) -> Gap {
        Gap {
            of_subject: self.of_subject + later.of_subject,
            at_source: self.at_source + later.at_source,
        }
    }
}

#[derive(Default)]
struct Account {
    last: u64,
    lost: u64,
    /// When it was last heard of, by the ledger's own count.
    heard: u64,
    nths: HashMap<String, u64>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    accounts: HashMap<Source, Account>,
    entries: u64,
}

impl Ledger {
    /// Enters a message.
    pub(crate) fn enter(&mut self, source: Source, subject: &str, place: Place) -> Entry {
        self.entries += 1;
        let heard = self.entries;
        if !self.accounts.contains_key(&source) {
            self.make_room();
            // What was lost there before this node listened is none of its business.
            let lost = place.lost;
            self.accounts.insert(
                source,
                Account {
                    lost,
                    ..Account::default()
                },
            );
        }
        let Some(account) = self.accounts.get_mut(&source) else {
            return Entry::New(Gap::default());
        };
        account.heard = heard;
        if place.sequence <= account.last {
            return Entry::Duplicate;
        }
        account.last = place.sequence;
        let at_source = place.lost.saturating_sub(account.lost);
        account.lost = account.lost.max(place.lost);
        let of_subject = account.next_of(subject, place.nth);
        Entry::New(Gap { of_subject, at_source })
    }

    /// Forgets all subjects but these: what is missing of the others, should they come again, was never asked for.
    pub(crate) fn keep_subjects(&mut self, keep: impl Fn(&str) -> bool) {
        for account in self.accounts.values_mut() {
            account.nths.retain(|subject, _| keep(subject));
        }
    }

    fn make_room(&mut self) {
        if self.accounts.len() < SOURCES {
            return;
        }
        let quietest = self.accounts.iter().min_by_key(|(_, account)| account.heard);
        if let Some(source) = quietest.map(|(source, _)| *source) {
            self.accounts.remove(&source);
        }
    }
}

impl Account {
    /// Notes the number of a message of this subject, and says how many are missing before it. A subject that is new here
    /// may have had messages before this node listened; one that begins anew was forgotten by its source.
    fn next_of(&mut self, subject: &str, nth: u64) -> u64 {
        if let Some(last) = self.nths.get_mut(subject) {
            let missing = nth.saturating_sub(*last).saturating_sub(1);
            *last = nth;
            return missing;
        }
        if self.nths.len() >= MAX_TRACKED_SUBJECTS {
            self.nths.clear();
        }
        self.nths.insert(subject.to_owned(), nth);
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

    fn place(sequence: u64, nth: u64, lost: u64) -> Place {
        Place { sequence, nth, lost }
    }

    fn gap(of_subject: u64, at_source: u64) -> Entry {
        Entry::New(Gap { of_subject, at_source })
    }

    #[test]
    fn a_sequence_that_was_here_is_a_duplicate() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.enter(source(1), "a", place(5, 1, 0)), gap(0, 0));
        assert_eq!(ledger.enter(source(1), "a", place(5, 1, 0)), Entry::Duplicate);
        assert_eq!(ledger.enter(source(1), "b", place(4, 1, 0)), Entry::Duplicate);
        assert_eq!(ledger.enter(source(2), "a", place(5, 1, 0)), gap(0, 0));
    }

    #[test]
    fn a_new_epoch_begins_anew() {
        let mut ledger = Ledger::default();
        let later = Source {
            epoch: Uuid::from_u128(2),
            ..source(1)
        };
        assert_eq!(ledger.enter(source(1), "a", place(9, 9, 0)), gap(0, 0));
        assert_eq!(ledger.enter(later, "a", place(1, 1, 0)), gap(0, 0));
        assert_eq!(ledger.enter(source(1), "a", place(10, 10, 0)), gap(0, 0));
    }

    #[test]
    fn loss_is_counted_by_subject() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.enter(source(1), "a", place(10, 4, 0)), gap(0, 0));
        // What lies between is of a subject that was not asked for.
        assert_eq!(ledger.enter(source(1), "a", place(20, 5, 0)), gap(0, 0));
        assert_eq!(ledger.enter(source(1), "a", place(30, 8, 0)), gap(2, 0));
        assert_eq!(ledger.enter(source(1), "b", place(31, 8, 0)), gap(0, 0));
        // Its source has forgotten the subject.
        assert_eq!(ledger.enter(source(1), "a", place(32, 1, 0)), gap(0, 0));
        assert_eq!(ledger.enter(source(1), "a", place(33, 3, 0)), gap(1, 0));
    }

    #[test]
    fn what_nobody_listens_to_is_not_missed() {
        let mut ledger = Ledger::default();
        for subject in ["a", "b"] {
            ledger.enter(source(1), subject, place(if subject == "a" { 1 } else { 2 }, 1, 0));
        }
        ledger.keep_subjects(|subject| subject == "a");
        assert_eq!(ledger.enter(source(1), "a", place(8, 5, 0)), gap(3, 0));
        assert_eq!(ledger.enter(source(1), "b", place(9, 5, 0)), gap(0, 0));
    }

    #[test]
    fn what_a_source_lost_is_told_once() {
        let mut ledger = Ledger::default();
        assert_eq!(ledger.enter(source(1), "a", place(10, 1, 7)), gap(0, 0));
        assert_eq!(ledger.enter(source(1), "b", place(20, 1, 9)), gap(0, 2));
        assert_eq!(ledger.enter(source(1), "a", place(21, 2, 9)), gap(0, 0));
    }

    #[test]
    fn the_quietest_source_makes_room() {
        let mut ledger = Ledger::default();
        for n in 0..SOURCES as u128 {
            ledger.enter(source(n), "a", place(1, 1, 0));
        }
        ledger.enter(source(0), "a", place(2, 2, 0));
        ledger.enter(source(u128::MAX), "a", place(1, 1, 0));
        assert_eq!(ledger.accounts.len(), SOURCES);
        assert_eq!(ledger.enter(source(0), "a", place(2, 2, 0)), Entry::Duplicate);
        assert_eq!(ledger.enter(source(1), "a", place(1, 1, 0)), gap(0, 0));
    }
}

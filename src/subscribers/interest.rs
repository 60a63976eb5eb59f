//! Interest: whether any subscriber may match an event. A publisher checks this before it creates the event.
//!
//! [`Interest`] owns counts of the listed filters: one count for each [`Term`], and one for the filters without terms.
//! Only the writer of the subscriber list updates them, so one thread at a time. A filter is added before the list with
//! it is stored, and removed after a list without it is stored. Publishers read the counts. They take no lock, wait for
//! no thread and allocate nothing.
//!
//! The answer "no subscriber" must be correct. A publisher reads one count after another. Meanwhile, a filter may be
//! replaced. The publisher could then read the new term too early and the old term too late, and miss both. So the
//! writer announces each removal before it changes a count. If a publisher finds no subscriber, but the number of
//! removals has changed, the answer is "maybe".

use std::hash::BuildHasher;

use uuid::Uuid;

use crate::event::{EventKind, EventOrigin, EventRouting};
use crate::sessions::key::SessionName;
use crate::subscribers::term_counts::TermCounts;
use crate::subscribers::terms::{IndexTerms, Term};
use crate::sync::Hashing;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// A borrowed term, so that a lookup allocates nothing. Its hash is the key of its count.
#[derive(Clone, Copy, Hash)]
enum TermRef<'a> {
    Scroll(Uuid),
    Session((&'a str, &'a str)),
    ConnectorUid(Uuid),
    ConnectorId(&'a str),
    Kind(EventKind),
    Origin(EventOrigin),
}

/// Number of sorts of terms, such as scrolls and kinds. [`TermRef::sort`] numbers the sorts.
const SORTS: usize = 6;

impl<'a> TermRef<'a> {
    fn of(term: &'a Term) -> Self {
        match term {
            Term::Scroll(id) => TermRef::Scroll(*id),
            Term::Session(key) => TermRef::Session(key.parts()),
            Term::ConnectorUid(uid) => TermRef::ConnectorUid(*uid),
            Term::ConnectorId(id) => TermRef::ConnectorId(id),
            Term::Kind(kind) => TermRef::Kind(*kind),
            Term::Origin(origin) => TermRef::Origin(*origin),
        }
    }

    fn sort(self) -> usize {
        match self {
            TermRef::Scroll(_) => SCROLL,
            TermRef::Session(_) => 1,
            TermRef::ConnectorUid(_) => 2,
            TermRef::ConnectorId(_) => 3,
            TermRef::Kind(_) => 4,
            TermRef::Origin(_) => ORIGIN,
        }
    }
}

const SCROLL: usize = 0;
const ORIGIN: usize = 5;

pub(crate) struct Interest {
    /// Number of filters without terms.
    everything: AtomicUsize,
    /// Number of terms of each sort. If no filter uses a sort, a lookup does not hash it.
    sorts: [AtomicUsize; SORTS],
    terms: TermCounts,
    hashing: Hashing,
    /// Number of removals. It is incremented before the counts of a removal change.
    removals: AtomicUsize,
}

/// # For publishers
impl Interest {
    /// Returns `true` if an event with this routing may match a filter, or must be dispatched in any case. `None` as
    /// the origin stands for any origin. False positives are possible, false negatives are not.
    pub(crate) fn may_match(&self, routing: &EventRouting, origin: Option<EventOrigin>) -> bool {
        // Such an event may bind or end a session, even without subscribers.
        if routing.kind == EventKind::SessionLifecycle {
            return true;
        }
        // Ordering: Acquire, pairs with `remove`: a publisher that sees a removal sees the filters added before it.
        let before = self.removals.load(Ordering::Acquire);
        if self.is_counted(routing, origin) {
            return true;
        }
        // Ordering: Relaxed. A publisher that read a count after a removal has synchronized with the removal, and so
        // with its announcement.
        self.removals.load(Ordering::Relaxed) != before
    }

    fn is_counted(&self, routing: &EventRouting, origin: Option<EventOrigin>) -> bool {
        if is_any(&self.everything) {
            return true;
        }
        let connector_id = routing.connector_id.as_deref();
        let session = connector_id.zip(routing.native_session_id.as_deref());
        // The dispatch thread may bind the event to any scroll, because a registration may be in the ingress.
        let may_be_bound = routing.scroll_id.is_none() && session.is_some();
        if may_be_bound && is_any(&self.sorts[SCROLL]) {
            return true;
        }
        if origin.is_none() && is_any(&self.sorts[ORIGIN]) {
            return true;
        }
        let terms = [
            routing.scroll_id.map(TermRef::Scroll),
            session.map(TermRef::Session),
            routing.connector_uid.map(TermRef::ConnectorUid),
            connector_id.map(TermRef::ConnectorId),
            Some(TermRef::Kind(routing.kind)),
            origin.map(TermRef::Origin),
        ];
        let asked_for = terms
            .into_iter()
            .flatten()
            .filter(|term| is_any(&self.sorts[term.sort()]));
        self.terms
            .contains_any(asked_for.map(|term| self.hashing.hash_one(term)))
    }
}

fn is_any(count: &AtomicUsize) -> bool {
    // Ordering: Acquire, pairs with `remove_terms`: a publisher that reads the count of a removal sees its
    // announcement.
    count.load(Ordering::Acquire) > 0
}

/// # For the writer of the subscriber list
impl Interest {
    /// Creates empty counts. With `always`, every event must be dispatched.
    pub(crate) fn new(always: bool) -> Self {
        Interest {
            everything: AtomicUsize::new(usize::from(always)),
            sorts: std::array::from_fn(|_| AtomicUsize::new(0)),
            terms: TermCounts::new(),
            hashing: Hashing::default(),
            removals: AtomicUsize::new(0),
        }
    }

    /// Adds a filter by its terms.
    pub(crate) fn add(&self, terms: &IndexTerms) {
        // Ordering: Relaxed, because the store of the list publishes the counts. When a filter is replaced, the next
        // `remove` publishes them as well.
        match terms {
            IndexTerms::ScanAll { .. } => {
                self.everything.fetch_add(1, Ordering::Relaxed);
            }
            IndexTerms::Terms(terms) => {
                for (term, _) in terms {
                    let term = TermRef::of(term);
                    self.terms.add(self.hashing.hash_one(term));
                    self.sorts[term.sort()].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Removes filters that are no longer listed.
    pub(crate) fn remove<'a>(&self, filters: impl ExactSizeIterator<Item = &'a IndexTerms>) {
        if filters.len() == 0 {
            return;
        }
        // Ordering: Release, pairs with `may_match`: a publisher that sees this increment sees the filters added before
        // it.
        self.removals.fetch_add(1, Ordering::Release);
        for terms in filters {
            self.remove_terms(terms);
        }
    }

    fn remove_terms(&self, terms: &IndexTerms) {
        // Ordering: Release, here and in the term counts, pairs with `is_any`.
        match terms {
            IndexTerms::ScanAll { .. } => {
                self.everything.fetch_sub(1, Ordering::Release);
            }
            IndexTerms::Terms(terms) => {
                for (term, _) in terms {
                    let term = TermRef::of(term);
                    self.sorts[term.sort()].fetch_sub(1, Ordering::Release);
                    self.terms.remove(self.hashing.hash_one(term));
                }
            }
        }
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::filter::EventFilter;

    type Filter = EventFilter<()>;

    fn routing() -> EventRouting {
        EventRouting {
            scroll_id: Some(Uuid::from_u128(1)),
            connector_uid: Some(Uuid::from_u128(2)),
            ..EventRouting::session("c", "s", EventKind::Tool)
        }
    }

    /// Returns one equality of each sort that an event with `routing()` and the origin `User` satisfies.
    fn equalities() -> [Filter; 6] {
        [
            EventFilter::ScrollId(Uuid::from_u128(1)),
            EventFilter::Session {
                connector_id: "c".into(),
                native_session_id: "s".into(),
            },
            EventFilter::ConnectorUid(Uuid::from_u128(2)),
            EventFilter::ConnectorId("c".into()),
            EventFilter::Kind(EventKind::Tool),
            EventFilter::Origin(EventOrigin::User),
        ]
    }

    /// Returns the answers for an event with all routing fields set, and for an event with none.
    fn answers(interest: &Interest) -> [bool; 2] {
        [
            interest.may_match(&routing(), Some(EventOrigin::User)),
            interest.may_match(&EventRouting::default(), Some(EventOrigin::Runtime)),
        ]
    }

    #[test]
    fn each_term_is_counted_until_it_is_removed_as_often_as_added() {
        for filter in equalities() {
            let interest = Interest::new(false);
            let terms = IndexTerms::of(&filter);
            interest.add(&terms);
            assert_eq!(answers(&interest), [true, false], "{filter}");
            interest.add(&terms);
            interest.remove([&terms].into_iter());
            assert_eq!(answers(&interest), [true, false], "{filter}, of two");
            interest.remove([&terms].into_iter());
            assert_eq!(answers(&interest), [false, false], "{filter}");
        }
    }

    #[test]
    fn all_added_filters_can_be_removed_at_once() {
        let interest = Interest::new(false);
        let mut filters = Vec::from(equalities());
        filters.extend([
            EventFilter::All,
            EventFilter::not(EventFilter::All),
            EventFilter::any(equalities()),
            EventFilter::any([]),
        ]);
        let filters: Vec<_> = filters.iter().map(IndexTerms::of).collect();
        filters.iter().for_each(|terms| interest.add(terms));
        assert_eq!(answers(&interest), [true, true]);
        interest.remove(filters.iter());
        assert_eq!(answers(&interest), [false, false]);
    }

    #[test]
    fn an_unbound_session_may_match_any_scroll_and_an_unknown_origin_any_origin() {
        let interest = Interest::new(false);
        let mut routing = routing();
        routing.scroll_id = None;
        interest.add(&IndexTerms::of(&Filter::ScrollId(Uuid::from_u128(9))));
        assert!(interest.may_match(&routing, Some(EventOrigin::User)));
        routing.native_session_id = None;
        assert!(!interest.may_match(&routing, None));
        interest.add(&IndexTerms::of(&Filter::Origin(EventOrigin::Replay)));
        assert!(interest.may_match(&routing, None));
        assert!(!interest.may_match(&routing, Some(EventOrigin::User)));
    }

    #[test]
    fn lifecycle_events_and_buses_with_a_history_skip_nothing() {
        let lifecycle = EventRouting {
            kind: EventKind::SessionLifecycle,
            ..EventRouting::default()
        };
        assert!(Interest::new(false).may_match(&lifecycle, None));
        assert_eq!(answers(&Interest::new(true)), [true, true]);
    }
}

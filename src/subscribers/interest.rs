//! Whether anybody may want an event, asked before there is one.
//!
//! Owns counts of what the listed filters ask for: of every [`Term`] of their covers, and of the filters that no term
//! covers. The writer of the subscriber list, and so one thread at a time, keeps them: a filter is counted in before
//! the list that has it is stored, and counted out after the list that has it no more. Askers are publishers; they take
//! no lock, wait for nobody and allocate nothing.
//!
//! "Nobody" must be true. An asker looks at one count after the other, so a filter that is replaced meanwhile might be
//! missed under the new term, which it looks at too early, and under the old one, which it looks at too late. The
//! writer therefore announces each withdrawal before it counts anything out, and an asker that finds nobody and another
//! number of withdrawals than before says "somebody".

use std::hash::BuildHasher;

use uuid::Uuid;

use crate::event::{EventKind, EventOrigin, EventRouting};
use crate::sessions::SessionName;
use crate::subscribers::term_counts::Census;
use crate::subscribers::terms::{Cover, Term};
use crate::sync::Hashing;
use crate::sync::atomic::{AtomicUsize, Ordering};

/// A term by reference, so that asking builds none. Its hash is what is counted.
#[derive(Clone, Copy, Hash)]
enum TermRef<'a> {
    Scroll(Uuid),
    Session((&'a str, &'a str)),
    ConnectorUid(Uuid),
    ConnectorId(&'a str),
    Kind(EventKind),
    Origin(EventOrigin),
}

/// The sorts of terms, in the order of [`TermRef::sort`].
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
    /// Filters that may match any event.
    everything: AtomicUsize,
    /// Terms by sort, so that what nobody asks for need not be hashed.
    sorts: [AtomicUsize; SORTS],
    terms: Census,
    hashing: Hashing,
    /// Moves on before anything is counted out.
    withdrawals: AtomicUsize,
}

/// # For publishers
impl Interest {
    /// Whether an event of this routing may match a filter, or must be dispatched whoever listens. Without an origin,
    /// one of any origin. Never false in error.
    pub(crate) fn may_match(&self, routing: &EventRouting, origin: Option<EventOrigin>) -> bool {
        // It may bind a session, or end it, whoever listens.
        if routing.kind == EventKind::SessionLifecycle {
            return true;
        }
        // Ordering: Acquire, pairs with `count_out`: who sees a withdrawal sees what was counted in before it.
        let before = self.withdrawals.load(Ordering::Acquire);
        if self.is_counted(routing, origin) {
            return true;
        }
        // Ordering: Relaxed; who has missed what was counted out has synchronised with that, so with its announcement.
        self.withdrawals.load(Ordering::Relaxed) != before
    }

    fn is_counted(&self, routing: &EventRouting, origin: Option<EventOrigin>) -> bool {
        if is_any(&self.everything) {
            return true;
        }
        let connector_id = routing.connector_id.as_deref();
        let session = connector_id.zip(routing.native_session_id.as_deref());
        // Dispatch may bind it to any scroll: the registration may be on its way.
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
    // Ordering: Acquire, pairs with `count_one_out`: who misses what was counted out sees that it was announced.
    count.load(Ordering::Acquire) > 0
}

/// # For the writer of the subscriber list
impl Interest {
    /// Nobody's yet. `always`: every event is wanted, whoever listens now.
    pub(crate) fn new(always: bool) -> Self {
        Interest {
            everything: AtomicUsize::new(usize::from(always)),
            sorts: std::array::from_fn(|_| AtomicUsize::new(0)),
            terms: Census::new(),
            hashing: Hashing::default(),
            withdrawals: AtomicUsize::new(0),
        }
    }

    /// Counts a filter in, by its cover. The store of the list publishes it.
    pub(crate) fn count_in(&self, cover: &Cover) {
        // Ordering: Relaxed throughout, as just said; for askers amid a change of filter, the next `count_out`
        // publishes it.
        match cover {
            Cover::Residual { .. } => {
                self.everything.fetch_add(1, Ordering::Relaxed);
            }
            Cover::Terms(terms) => {
                for (term, _) in terms {
                    let term = TermRef::of(term);
                    self.terms.add(self.hashing.hash_one(term));
                    self.sorts[term.sort()].fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Counts filters out that are listed no more.
    pub(crate) fn count_out<'a>(&self, covers: impl ExactSizeIterator<Item = &'a Cover>) {
        if covers.len() == 0 {
            return;
        }
        // Ordering: Release, pairs with `may_match`: who sees this sees what was counted in before it.
        self.withdrawals.fetch_add(1, Ordering::Release);
        for cover in covers {
            self.count_one_out(cover);
        }
    }

    fn count_one_out(&self, cover: &Cover) {
        // Ordering: Release, here and in the census, pairs with `is_any`.
        match cover {
            Cover::Residual { .. } => {
                self.everything.fetch_sub(1, Ordering::Release);
            }
            Cover::Terms(terms) => {
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

    /// Each of these is asked for by that event.
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

    /// Of an event that says all, and of one that says nothing.
    fn answers(interest: &Interest) -> [bool; 2] {
        [
            interest.may_match(&routing(), Some(EventOrigin::User)),
            interest.may_match(&EventRouting::default(), Some(EventOrigin::Runtime)),
        ]
    }

    #[test]
    fn a_term_is_counted_as_it_is_asked_for() {
        for filter in equalities() {
            let interest = Interest::new(false);
            let cover = Cover::of(&filter);
            interest.count_in(&cover);
            assert_eq!(answers(&interest), [true, false], "{filter}");
            interest.count_in(&cover);
            interest.count_out([&cover].into_iter());
            assert_eq!(answers(&interest), [true, false], "{filter}, of two");
            interest.count_out([&cover].into_iter());
            assert_eq!(answers(&interest), [false, false], "{filter}");
        }
    }

    #[test]
    fn all_that_was_counted_in_is_counted_out_at_once() {
        let interest = Interest::new(false);
        let mut filters = Vec::from(equalities());
        filters.extend([
            EventFilter::All,
            EventFilter::not(EventFilter::All),
            EventFilter::any(equalities()),
            EventFilter::any([]),
        ]);
        let covers: Vec<_> = filters.iter().map(Cover::of).collect();
        covers.iter().for_each(|cover| interest.count_in(cover));
        assert_eq!(answers(&interest), [true, true]);
        interest.count_out(covers.iter());
        assert_eq!(answers(&interest), [false, false]);
    }

    #[test]
    fn what_may_be_bound_meets_every_scroll_and_an_unknown_origin_every_origin() {
        let interest = Interest::new(false);
        let mut routing = routing();
        routing.scroll_id = None;
        interest.count_in(&Cover::of(&Filter::ScrollId(Uuid::from_u128(9))));
        assert!(interest.may_match(&routing, Some(EventOrigin::User)));
        routing.native_session_id = None;
        assert!(!interest.may_match(&routing, None));
        interest.count_in(&Cover::of(&Filter::Origin(EventOrigin::Replay)));
        assert!(interest.may_match(&routing, None));
        assert!(!interest.may_match(&routing, Some(EventOrigin::User)));
    }

    #[test]
    fn a_lifecycle_is_never_skipped_and_who_keeps_everything_skips_nothing() {
        let lifecycle = EventRouting {
            kind: EventKind::SessionLifecycle,
            ..EventRouting::default()
        };
        assert!(Interest::new(false).may_match(&lifecycle, None));
        assert_eq!(answers(&Interest::new(true)), [true, true]);
    }
}

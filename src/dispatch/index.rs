//! The index of filters by their terms. It finds the candidates for an event without a scan of all filters.
//!
//! Private to the dispatch thread. A filter is listed under each of its [`IndexTerms`]. For each event, the index looks
//! up the few terms that the event satisfies. The filters found there are candidates, which are evaluated only if the
//! term is not exact.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use uuid::Uuid;

use crate::event::{BusEvent, EventKind, EventOrigin};
use crate::sessions::key::{SessionKey, SessionName};
use crate::subscribers::terms::{IndexTerms, Term};
use crate::sync::Arc;

/// The place of a subscriber in the routing table. It stays the same while the subscriber is attached.
pub(crate) type SubscriberKey = usize;

/// The entry of a filter under a term, or among the filters without terms.
#[derive(Clone, Copy)]
pub(crate) struct Posting {
    pub(crate) subscriber: SubscriberKey,
    /// `true` if the term alone implies the filter.
    pub(crate) exact: bool,
}

/// Returns the capacity to shrink to, if fewer than a quarter of the entries are in use. The new capacity is far from
/// both thresholds, so a collection that grows and shrinks around one size rarely reallocates.
pub(crate) fn shrunk(capacity: usize, len: usize) -> Option<usize> {
    let used = len.max(16);
    (capacity > 4 * used).then_some(2 * used)
}

/// Removes entries, and shrinks the vector when fewer than a quarter of its capacity is in use.
fn remove<T>(entries: &mut Vec<T>, removed: impl Fn(&T) -> bool) {
    entries.retain(|entry| !removed(entry));
    if let Some(capacity) = shrunk(entries.capacity(), entries.len()) {
        entries.shrink_to(capacity);
    }
}

/// The postings of one sort of term, by value.
struct TermIndex<K>(HashMap<K, Vec<Posting>>);

impl<K: Hash + Eq> TermIndex<K> {
    fn new() -> Self {
        TermIndex(HashMap::new())
    }

    fn add(&mut self, key: K, posting: Posting) {
        self.0.entry(key).or_default().push(posting);
    }

    fn remove<Q>(&mut self, key: &Q, removed: impl Fn(&Posting) -> bool)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(postings) = self.0.get_mut(key) {
            remove(postings, removed);
            if postings.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Shrinks the map when fewer than a quarter of its capacity is in use.
    fn trim(&mut self) {
        if let Some(capacity) = shrunk(self.0.capacity(), self.0.len()) {
            self.0.shrink_to(capacity);
        }
    }

    fn postings<Q>(&self, key: &Q) -> &[Posting]
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.0.is_empty() {
            return &[];
        }
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

/// The index of all attached filters.
pub(crate) struct FilterIndex {
    scrolls: TermIndex<Uuid>,
    sessions: TermIndex<SessionKey>,
    connector_uids: TermIndex<Uuid>,
    connector_ids: TermIndex<Arc<str>>,
    kinds: TermIndex<EventKind>,
    origins: TermIndex<EventOrigin>,
    /// Subscribers whose filter matches every event. One shared bit mask records the matches of all of them.
    pub(crate) match_all: Vec<SubscriberKey>,
    /// Subscribers whose filter has no terms and is evaluated for every event.
    scanned: Vec<Posting>,
}

impl FilterIndex {
    pub(crate) fn new() -> Self {
        FilterIndex {
            scrolls: TermIndex::new(),
            sessions: TermIndex::new(),
            connector_uids: TermIndex::new(),
            connector_ids: TermIndex::new(),
            kinds: TermIndex::new(),
            origins: TermIndex::new(),
            match_all: Vec::new(),
            scanned: Vec::new(),
        }
    }

    /// Adds a filter by its terms.
    pub(crate) fn add(&mut self, terms: &IndexTerms, subscriber: SubscriberKey) {
        match terms {
            IndexTerms::ScanAll { exact: true } => self.match_all.push(subscriber),
            IndexTerms::ScanAll { exact: false } => self.scanned.push(Posting {
                subscriber,
                exact: false,
            }),
            IndexTerms::Terms(terms) => {
                for (term, exact) in terms {
                    let exact = *exact;
                    self.add_term(term.clone(), Posting { subscriber, exact });
                }
            }
        }
    }

    fn add_term(&mut self, term: Term, posting: Posting) {
        match term {
            Term::Scroll(id) => self.scrolls.add(id, posting),
            Term::Session(key) => self.sessions.add(key, posting),
            Term::ConnectorUid(uid) => self.connector_uids.add(uid, posting),
            Term::ConnectorId(id) => self.connector_ids.add(id, posting),
            Term::Kind(kind) => self.kinds.add(kind, posting),
            Term::Origin(origin) => self.origins.add(origin, posting),
        }
    }

    /// Removes the filters of these subscribers. The postings of each term are visited once.
    pub(crate) fn remove(&mut self, filters: &[(SubscriberKey, &IndexTerms)]) {
        let subscribers: HashSet<SubscriberKey> = filters.iter().map(|(key, _)| *key).collect();
        let removed = |posting: &Posting| subscribers.contains(&posting.subscriber);
        let mut terms = HashSet::new();
        let mut any_scanned = false;
        for (_, filter) in filters {
            match filter {
                IndexTerms::ScanAll { .. } => any_scanned = true,
                IndexTerms::Terms(of_filter) => terms.extend(of_filter.iter().map(|(term, _)| term)),
            }
        }
        for term in terms {
            self.remove_term(term, removed);
        }
        if any_scanned {
            remove(&mut self.match_all, |subscriber| subscribers.contains(subscriber));
            remove(&mut self.scanned, removed);
        }
    }

    fn remove_term(&mut self, term: &Term, removed: impl Fn(&Posting) -> bool) {
        match term {
            Term::Scroll(id) => self.scrolls.remove(id, removed),
            Term::Session(key) => self.sessions.remove(key, removed),
            Term::ConnectorUid(uid) => self.connector_uids.remove(uid, removed),
            Term::ConnectorId(id) => self.connector_ids.remove(id, removed),
            Term::Kind(kind) => self.kinds.remove(kind, removed),
            Term::Origin(origin) => self.origins.remove(origin, removed),
        }
    }

    /// Frees the memory of removed terms.
    pub(crate) fn trim(&mut self) {
        self.scrolls.trim();
        self.sessions.trim();
        self.connector_uids.trim();
        self.connector_ids.trim();
    }

    /// Returns the postings under each term that the event satisfies, and the filters without terms.
    #[inline]
    pub(crate) fn candidates<E>(&self, event: &BusEvent<E>) -> [&[Posting]; 7] {
        let routing = &event.routing;
        let connector_id = routing.connector_id.as_deref();
        let native_session_id = routing.native_session_id.as_deref();
        let sessions = connector_id.zip(native_session_id).map(|names| {
            let name: &dyn SessionName = &names;
            self.sessions.postings(name)
        });
        [
            &self.scanned,
            routing
                .scroll_id
                .map(|id| self.scrolls.postings(&id))
                .unwrap_or_default(),
            sessions.unwrap_or_default(),
            routing
                .connector_uid
                .map(|uid| self.connector_uids.postings(&uid))
                .unwrap_or_default(),
            connector_id
                .map(|id| self.connector_ids.postings(id))
                .unwrap_or_default(),
            self.kinds.postings(&routing.kind),
            self.origins.postings(&event.origin),
        ]
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_is_kept_until_less_than_a_quarter_is_used() {
        assert_eq!(shrunk(400, 100), None);
        assert_eq!(shrunk(401, 100), Some(200));
    }

    #[test]
    fn a_small_capacity_is_kept() {
        assert_eq!(shrunk(64, 0), None);
        assert_eq!(shrunk(65, 0), Some(32));
    }

    #[test]
    fn an_index_frees_the_memory_of_removed_filters() {
        let mut index = TermIndex::new();
        for subscriber in 0..10_000 {
            let posting = Posting {
                subscriber,
                exact: true,
            };
            index.add(Uuid::from_u128(subscriber as u128 + 1), posting);
            index.add(Uuid::nil(), posting);
        }
        for id in 1..=10_000 {
            index.remove(&Uuid::from_u128(id), |_| true);
        }
        index.remove(&Uuid::nil(), |posting| posting.subscriber >= 100);
        index.trim();
        assert!(index.0.capacity() < 128, "{}", index.0.capacity());
        let postings = &index.0[&Uuid::nil()];
        assert_eq!((postings.len(), postings.capacity()), (100, 200));
    }
}

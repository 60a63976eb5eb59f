//! The routing table: who gets an event, without asking everybody.
//!
//! Private to the dispatch thread, so nothing here is shared or synchronised. It follows the subscriber list: each
//! state of the list tells what has changed since the last one seen, and only that is filed anew. A filter is filed under
//! the terms of its [`Cover`]; an event probes the few terms that it could satisfy, and what it finds there is
//! evaluated in full only where the term is not exact. So an event costs what its candidates cost, not what the list
//! is long.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use uuid::Uuid;

use crate::delivery::parcel::Envelope;
use crate::dispatch::history::History;
use crate::event::{BusEvent, EventKind, EventOrigin};
use crate::queue::QueueProducer;
use crate::sessions::{SessionKey, SessionName};
use crate::subscribers::list::{Slot, Slots, SubscriberId};
use crate::subscribers::terms::{Cover, Term};
use crate::sync::Arc;
use crate::sync::counted::Counted;
use crate::sync::panic;
use crate::telemetry::OutletWatch;

/// An outlet's place in the table; stays the same while it is attached.
pub(crate) type OutletKey = usize;

/// A subscription as the dispatch thread sees it.
pub(crate) struct Outlet<E> {
    pub(crate) slot: Arc<Slot<E>>,
    pub(crate) producer: QueueProducer<E>,
    pub(crate) watch: OutletWatch,
    warned_of_panic: bool,
}

impl<E> Outlet<E> {
    /// The events that its subscription asked to begin with.
    pub(crate) fn backlog(&mut self, history: &History<E>, panics: &mut u64) -> Vec<Counted<Envelope<E>>> {
        let scrolls = self.slot.cover.scrolls();
        let limit = self.slot.subscription.backlog;
        history.newest(limit, scrolls.as_deref(), |event| self.matches(event, panics))
    }

    /// Evaluates the filter. A panic is no match, and is counted.
    fn matches(&mut self, event: &BusEvent<E>, panics: &mut u64) -> bool {
        let filter = &self.slot.filter;
        panic::run(|| filter.matches(event)).unwrap_or_else(|_| {
            *panics += 1;
            self.warn_of_panic("a filter", "counted as no match");
            false
        })
    }

    /// Warns, the first time, that a function of the subscriber's has panicked, and says what its panics count as.
    pub(crate) fn warn_of_panic(&mut self, function: &str, outcome: &str) {
        if !self.warned_of_panic {
            self.warned_of_panic = true;
            let id = self.slot.subscription.id;
            panic::log_warning!("{function} of subscriber {id} panicked; {outcome} from here on");
        }
    }
}

/// Whether the outlet is there and its filter matches.
fn matches<E>(outlet: &mut Option<Outlet<E>>, event: &BusEvent<E>, panics: &mut u64) -> bool {
    outlet.as_mut().is_some_and(|outlet| outlet.matches(event, panics))
}

/// What matching writes about an outlet, apart from it: an event that many match touches many of these and nothing else.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The last event that was held against this filter, so that several terms of one cover count once.
    considered: u64,
    /// The events of the batch that matched, a bit each.
    matched: u64,
}

/// A filter filed under a term, or among what every event meets.
#[derive(Clone, Copy)]
struct Posting {
    outlet: OutletKey,
    /// The term alone implies the filter.
    exact: bool,
}

/// The capacity to shrink to, where entries that are gone were most of it. Far enough from both ends that a table which
/// grows and shrinks around one size moves rarely.
fn shrunk(capacity: usize, len: usize) -> Option<usize> {
    let used = len.max(16);
    (capacity > 4 * used).then_some(2 * used)
}

/// Takes out what is gone, and gives back its memory once it was most.
fn remove<T>(filed: &mut Vec<T>, gone: impl Fn(&T) -> bool) {
    filed.retain(|one| !gone(one));
    if let Some(capacity) = shrunk(filed.capacity(), filed.len()) {
        filed.shrink_to(capacity);
    }
}

/// The postings of one sort of term, by value.
struct Index<K>(HashMap<K, Vec<Posting>>);

impl<K: Hash + Eq> Index<K> {
    fn new() -> Self {
        Index(HashMap::new())
    }

    fn file(&mut self, key: K, posting: Posting) {
        self.0.entry(key).or_default().push(posting);
    }

    fn unfile<Q>(&mut self, key: &Q, gone: impl Fn(&Posting) -> bool)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if let Some(postings) = self.0.get_mut(key) {
            remove(postings, gone);
            if postings.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Gives back the memory of terms that are gone, once they were most.
    fn trim(&mut self) {
        if let Some(capacity) = shrunk(self.0.capacity(), self.0.len()) {
            self.0.shrink_to(capacity);
        }
    }

    fn probe<Q>(&self, key: &Q) -> &[Posting]
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

/// All postings.
struct Indexes {
    scrolls: Index<Uuid>,
    sessions: Index<SessionKey>,
    connector_uids: Index<Uuid>,
    connector_ids: Index<Arc<str>>,
    kinds: Index<EventKind>,
    origins: Index<EventOrigin>,
    /// Who gets every event: one mark does for all of them.
    everyone: Vec<OutletKey>,
    /// Who has to be asked about every event.
    residual: Vec<Posting>,
}

impl Indexes {
    fn new() -> Self {
        Indexes {
            scrolls: Index::new(),
            sessions: Index::new(),
            connector_uids: Index::new(),
            connector_ids: Index::new(),
            kinds: Index::new(),
            origins: Index::new(),
            everyone: Vec::new(),
            residual: Vec::new(),
        }
    }

    fn file(&mut self, cover: &Cover, outlet: OutletKey) {
        match cover {
            Cover::Residual { exact: true } => self.everyone.push(outlet),
            Cover::Residual { exact: false } => self.residual.push(Posting { outlet, exact: false }),
            Cover::Terms(terms) => {
                for (term, exact) in terms {
                    let posting = Posting { outlet, exact: *exact };
                    match term.clone() {
                        Term::Scroll(id) => self.scrolls.file(id, posting),
                        Term::Session(key) => self.sessions.file(key, posting),
                        Term::ConnectorUid(uid) => self.connector_uids.file(uid, posting),
                        Term::ConnectorId(id) => self.connector_ids.file(id, posting),
                        Term::Kind(kind) => self.kinds.file(kind, posting),
                        Term::Origin(origin) => self.origins.file(origin, posting),
                    }
                }
            }
        }
    }

    fn unfile(&mut self, term: &Term, gone: impl Fn(&Posting) -> bool) {
        match term {
            Term::Scroll(id) => self.scrolls.unfile(id, gone),
            Term::Session(key) => self.sessions.unfile(key, gone),
            Term::ConnectorUid(uid) => self.connector_uids.unfile(uid, gone),
            Term::ConnectorId(id) => self.connector_ids.unfile(id, gone),
            Term::Kind(kind) => self.kinds.unfile(kind, gone),
            Term::Origin(origin) => self.origins.unfile(origin, gone),
        }
    }

    /// Takes out what these outlets were filed under, passing over each term's postings once.
    fn unfile_all(&mut self, stale: &[(OutletKey, &Cover)]) {
        let outlets: HashSet<OutletKey> = stale.iter().map(|(key, _)| *key).collect();
        let gone = |posting: &Posting| outlets.contains(&posting.outlet);
        let mut terms = HashSet::new();
        let mut residual = false;
        for (_, cover) in stale {
            match cover {
                Cover::Residual { .. } => residual = true,
                Cover::Terms(filed) => terms.extend(filed.iter().map(|(term, _)| term)),
            }
        }
        for term in terms {
            self.unfile(term, gone);
        }
        if residual {
            remove(&mut self.everyone, |outlet| outlets.contains(outlet));
            remove(&mut self.residual, gone);
        }
    }

    fn trim(&mut self) {
        self.scrolls.trim();
        self.sessions.trim();
        self.connector_uids.trim();
        self.connector_ids.trim();
    }

    /// The postings under each term that the event satisfies.
    fn candidates<E>(&self, event: &BusEvent<E>) -> [&[Posting]; 7] {
        let routing = &event.routing;
        let connector_id = routing.connector_id.as_deref();
        let native_session_id = routing.native_session_id.as_deref();
        let sessions = connector_id.zip(native_session_id).map(|names| {
            let name: &dyn SessionName = &names;
            self.sessions.probe(name)
        });
        [
            &self.residual,
            optional(routing.scroll_id.map(|id| self.scrolls.probe(&id))),
            optional(sessions),
            optional(routing.connector_uid.map(|uid| self.connector_uids.probe(&uid))),
            optional(connector_id.map(|id| self.connector_ids.probe(id))),
            self.kinds.probe(&routing.kind),
            self.origins.probe(&event.origin),
        ]
    }
}

fn optional(postings: Option<&[Posting]>) -> &[Posting] {
    postings.unwrap_or(&[])
}

/// What a new state of the list changes.
struct Changes<'a, E> {
    /// Filed under these covers until now.
    stale: Vec<(OutletKey, &'a Cover)>,
    /// To be filed under the covers they have now.
    fresh: Vec<OutletKey>,
    gone: Vec<(OutletKey, Outlet<E>)>,
}

/// The table: outlets by key, their keys by id, and the indexes.
pub(crate) struct Routes<E> {
    outlets: Vec<Option<Outlet<E>>>,
    /// One for each place in `outlets`.
    marks: Vec<Mark>,
    /// The outlets that an event of this batch has matched.
    touched: Vec<OutletKey>,
    /// The events of the batch, a bit each, that were matched while there was somebody who gets everything.
    matched_everyone: u64,
    /// Attached since it was last asked, and to begin with a backlog.
    joined: Vec<OutletKey>,
    vacant: Vec<OutletKey>,
    keys: HashMap<SubscriberId, OutletKey>,
    indexes: Indexes,
    followed: Arc<Slots<E>>,
}

impl<E> Routes<E> {
    pub(crate) fn new() -> Self {
        Routes {
            outlets: Vec::new(),
            marks: Vec::new(),
            touched: Vec::new(),
            matched_everyone: 0,
            joined: Vec::new(),
            vacant: Vec::new(),
            keys: HashMap::new(),
            indexes: Indexes::new(),
            followed: Arc::new(Slots::new()),
        }
    }

    /// Marks the outlets whose filter matches the event, each once, and returns how many. `sequence` is the event's, from
    /// 1, and `place` its place in the batch.
    pub(crate) fn mark(&mut self, event: &BusEvent<E>, sequence: u64, place: usize, panics: &mut u64) -> usize {
        let mut matched = self.indexes.everyone.len();
        if matched > 0 {
            self.matched_everyone |= 1 << place;
        }
        for postings in self.indexes.candidates(event) {
            for posting in postings {
                let mark = &mut self.marks[posting.outlet];
                if mark.considered == sequence {
                    continue;
                }
                mark.considered = sequence;
                if !posting.exact && !matches(&mut self.outlets[posting.outlet], event, panics) {
                    continue;
                }
                if mark.matched == 0 {
                    self.touched.push(posting.outlet);
                }
                mark.matched |= 1 << place;
                matched += 1;
            }
        }
        matched
    }

    /// Takes the marks of this batch and calls `each` with every outlet that has some, its marks, and how many outlets in
    /// a row, from this one on, have just these.
    pub(crate) fn drain_marked(&mut self, mut each: impl FnMut(&mut Outlet<E>, u64, usize)) {
        let everyone = &self.indexes.everyone;
        let matched = std::mem::take(&mut self.matched_everyone);
        if matched != 0 {
            for (passed, key) in everyone.iter().enumerate() {
                if let Some(outlet) = &mut self.outlets[*key] {
                    each(outlet, matched, everyone.len() - passed);
                }
            }
        }
        while let Some(key) = self.touched.pop() {
            let matched = std::mem::take(&mut self.marks[key].matched);
            if let Some(outlet) = &mut self.outlets[key] {
                each(outlet, matched, 1);
            }
        }
    }

    /// Calls `each` with every outlet that has been attached since the last time and asks for a backlog.
    pub(crate) fn drain_joined(&mut self, mut each: impl FnMut(&mut Outlet<E>)) {
        for key in self.joined.drain(..) {
            if let Some(outlet) = &mut self.outlets[key] {
                each(outlet);
            }
        }
    }

    /// Whether the list is the one that the table is up to date with.
    pub(crate) fn is_current(&self, list: &Arc<Slots<E>>) -> bool {
        Arc::ptr_eq(&self.followed, list)
    }

    /// The outlet of a subscriber, if it is attached.
    pub(crate) fn outlet(&mut self, id: SubscriberId) -> Option<&mut Outlet<E>> {
        let key = self.keys.get(&id)?;
        self.outlets[*key].as_mut()
    }

    /// Brings the table up to date with the list, between batches: marks do not outlive their outlet. Returns how many
    /// events are lost by that, which were waiting for room in the queues of those who have left.
    pub(crate) fn follow(&mut self, list: &Arc<Slots<E>>) -> u64 {
        let mut lost = 0;
        if self.is_current(list) {
            return lost;
        }
        let before = std::mem::replace(&mut self.followed, Arc::clone(list));
        let changes = self.apply(&before, list);
        self.indexes.unfile_all(&changes.stale);
        for key in changes.fresh {
            if let Some(outlet) = &self.outlets[key] {
                self.indexes.file(&outlet.slot.cover, key);
            }
        }
        // The outlets and the previous list may be the last owners of queued payloads.
        for (key, mut outlet) in changes.gone {
            self.vacant.push(key);
            let rest = outlet.producer.lose_rest();
            outlet.watch.left(&outlet.slot.subscription, rest);
            lost += rest;
            panic::discard(outlet);
        }
        panic::discard(before);
        self.indexes.trim();
        self.trim();
        lost
    }

    /// Gives back the memory of a crowd that has left: the vacant end of the table.
    fn trim(&mut self) {
        let used = self
            .outlets
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        let Some(capacity) = shrunk(self.outlets.capacity(), used) else {
            return;
        };
        self.outlets.truncate(used);
        self.outlets.shrink_to(capacity);
        self.marks.truncate(used);
        self.marks.shrink_to(capacity);
        self.vacant.retain(|key| *key < used);
        self.vacant.shrink_to_fit();
        self.keys.shrink_to(capacity);
    }

    /// Attaches, detaches and replaces filters, and leaves the indexes to the caller.
    fn apply<'a>(&mut self, before: &'a Slots<E>, list: &'a Slots<E>) -> Changes<'a, E> {
        let mut changes = Changes {
            stale: Vec::new(),
            fresh: Vec::new(),
            gone: Vec::new(),
        };
        let (old, new) = list.changes(before);
        for slot in new {
            let outlet = self.keys.get(&slot.id()).map(|key| (*key, &mut self.outlets[*key]));
            match outlet {
                Some((key, Some(outlet))) => {
                    outlet.slot = Arc::clone(slot);
                    changes.fresh.push(key);
                }
                _ => changes.fresh.extend(self.attach(slot)),
            }
        }
        for slot in old {
            let Some(&key) = self.keys.get(&slot.id()) else {
                continue;
            };
            changes.stale.push((key, &slot.cover));
            // One that was replaced above is not gone.
            if let Some(outlet) = self.outlets[key].take_if(|outlet| Arc::ptr_eq(&outlet.slot, slot)) {
                self.keys.remove(&slot.id());
                changes.gone.push((key, outlet));
            }
        }
        changes
    }

    /// Gives a newly listed slot an outlet. Its producer waits in the subscription since it was made.
    fn attach(&mut self, slot: &Arc<Slot<E>>) -> Option<OutletKey> {
        // One that has ended already matches nothing; it is about to be reaped.
        if slot.subscription.queue.is_closed() {
            return None;
        }
        let producer = slot.subscription.producer.lock().take()?;
        let outlet = Outlet {
            slot: Arc::clone(slot),
            producer,
            watch: OutletWatch::new(&slot.subscription),
            warned_of_panic: false,
        };
        let key = self.vacant.pop().unwrap_or_else(|| {
            self.outlets.push(None);
            self.marks.push(Mark::default());
            self.outlets.len() - 1
        });
        self.outlets[key] = Some(outlet);
        self.marks[key] = Mark::default();
        self.keys.insert(slot.id(), key);
        if slot.subscription.backlog > 0 {
            self.joined.push(key);
        }
        Some(key)
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_capacity_is_kept_until_a_quarter_is_used_and_then_halved() {
        assert_eq!(shrunk(400, 100), None);
        assert_eq!(shrunk(401, 100), Some(200));
    }

    #[test]
    fn what_is_small_stays() {
        assert_eq!(shrunk(64, 0), None);
        assert_eq!(shrunk(65, 0), Some(32));
    }

    #[test]
    fn an_index_gives_back_what_a_crowd_took() {
        let mut index = Index::new();
        for outlet in 0..10_000 {
            let posting = Posting { outlet, exact: true };
            index.file(Uuid::from_u128(outlet as u128 + 1), posting);
            index.file(Uuid::nil(), posting);
        }
        for outlet in 1..=10_000 {
            index.unfile(&Uuid::from_u128(outlet), |_| true);
        }
        index.unfile(&Uuid::nil(), |posting| posting.outlet >= 100);
        index.trim();
        assert!(index.0.capacity() < 128, "{}", index.0.capacity());
        let postings = &index.0[&Uuid::nil()];
        assert_eq!((postings.len(), postings.capacity()), (100, 200));
    }
}

//! The routing table: it finds the subscribers that match an event, and delivers each batch to them.
//!
//! Private to the dispatch thread, so nothing here is shared or synchronized. The table follows the subscriber list: it
//! compares each new state of the list with the last one, and indexes only the filters that changed. The cost of an
//! event depends on its candidates, not on the length of the list.

use std::collections::{BTreeMap, HashMap};

use crate::dispatch::backlog::Backlogs;
use crate::dispatch::batch::Batch;
use crate::dispatch::history::{History, Kept};
use crate::dispatch::index::{FilterIndex, SubscriberKey, shrunk};
use crate::dispatch::subscriber_state::{SubscriberState, Tally};
use crate::end_reason::EndReason;
use crate::event::{BusEvent, Payload};
use crate::queue::{Pushed, QueueProducer};
use crate::subscribers::Subscribers;
use crate::subscribers::id::SubscriberId;
use crate::subscribers::list::{Slot, SubscriberList};
use crate::subscribers::terms::IndexTerms;
use crate::sync::{Arc, panic};

/// The fields of a subscriber that matching writes. They are stored apart from the other fields, so that matching an
/// event against many subscribers touches less memory.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// The sequence of the last event for which the filter was considered. So a filter with several terms is considered
    /// once per event.
    considered: u64,
    /// The events of the batch that matched, one bit each.
    matched: u64,
}

/// The changes from one state of the list to the next.
struct Changes<'a, E> {
    /// Filters to remove from the index.
    old: Vec<(SubscriberKey, &'a IndexTerms)>,
    /// Subscribers whose current filter is to be added to the index.
    new: Vec<SubscriberKey>,
    detached: Vec<(SubscriberKey, SubscriberState<E>)>,
}

/// The routing table: subscribers by key, their keys by id, and the index of their filters.
pub(crate) struct Routes<E> {
    subscribers: Vec<Option<SubscriberState<E>>>,
    /// One mark for each place in `subscribers`.
    marks: Vec<Mark>,
    /// Subscribers that an event of this batch has matched.
    matched: Vec<SubscriberKey>,
    /// The events of the batch, one bit each, that the subscribers without a filter have matched.
    matched_all: u64,
    /// Listed subscribers that are not attached yet. The ingress may still hold events that were published before they
    /// subscribed.
    joining: BTreeMap<SubscriberId, Arc<Slot<E>>>,
    /// The lowest id in `joining`, or the end of the ids.
    first_joining: SubscriberId,
    /// Attached subscribers whose filter is not in the index yet, because they still receive their backlog.
    backlogs: Backlogs<E>,
    vacant: Vec<SubscriberKey>,
    keys: HashMap<SubscriberId, SubscriberKey>,
    index: FilterIndex,
    /// The list state that the table reflects.
    followed: Arc<SubscriberList<E>>,
}

impl<E> Routes<E> {
    pub(crate) fn new() -> Self {
        Routes {
            subscribers: Vec::new(),
            marks: Vec::new(),
            matched: Vec::new(),
            matched_all: 0,
            joining: BTreeMap::new(),
            first_joining: SubscriberId::END,
            backlogs: Backlogs::new(),
            vacant: Vec::new(),
            keys: HashMap::new(),
            index: FilterIndex::new(),
            followed: Arc::new(SubscriberList::new()),
        }
    }

    /// Marks each subscriber whose filter matches the event, and returns their number. `sequence` is the sequence of
    /// the event, and `place` is its place in the batch.
    pub(crate) fn mark(&mut self, event: &BusEvent<E>, sequence: u64, place: usize, tally: &mut Tally) -> usize {
        let mut count = self.index.match_all.len();
        if count > 0 {
            self.matched_all |= 1 << place;
        }
        for postings in self.index.candidates(event) {
            for posting in postings {
                let mark = &mut self.marks[posting.subscriber];
                if mark.considered == sequence {
                    continue;
                }
                mark.considered = sequence;
                if !posting.exact && !matches(&mut self.subscribers[posting.subscriber], event, tally) {
                    continue;
                }
                if mark.matched == 0 {
                    self.matched.push(posting.subscriber);
                }
                mark.matched |= 1 << place;
                count += 1;
            }
        }
        count
    }

    /// Returns `true` if the table reflects this state of the list.
    pub(crate) fn is_current(&self, list: &Arc<SubscriberList<E>>) -> bool {
        Arc::ptr_eq(&self.followed, list)
    }

    /// Updates the table to this state of the list. The batch must be delivered before, because a detached subscriber
    /// loses its marks. Returns the number of lost events: those that waited for space in the queues of detached
    /// subscribers.
    pub(crate) fn follow(&mut self, list: &Arc<SubscriberList<E>>) -> u64 {
        let before = std::mem::replace(&mut self.followed, Arc::clone(list));
        let changes = self.apply(&before, list);
        self.update_first_joining();
        self.index.remove(&changes.old);
        for key in changes.new {
            if let Some(subscriber) = &self.subscribers[key] {
                self.index.add(&subscriber.slot.terms, key);
            }
        }
        let mut lost = 0;
        for (key, subscriber) in changes.detached {
            self.vacant.push(key);
            lost += subscriber.detach();
        }
        // The previous list may be the last owner of queued payloads.
        panic::discard(before);
        self.index.trim();
        self.trim();
        lost
    }

    /// Returns `true` if a subscriber with an id below `cut` is listed and not attached.
    pub(crate) fn is_joining(&self, cut: SubscriberId) -> bool {
        self.first_joining < cut
    }

    fn update_first_joining(&mut self) {
        let first = self.joining.first_key_value();
        self.first_joining = first.map_or(SubscriberId::END, |(id, _)| *id);
    }

    /// Attaches the listed subscribers with ids below `cut`, and begins the backlogs that they requested. `next` is the
    /// sequence of the next event. The batch must be delivered before, because its events came before these subscribers.
    pub(crate) fn attach_before(&mut self, cut: SubscriberId, next: u64, history: Option<&History<E>>) {
        let later = self.joining.split_off(&cut);
        let slots = std::mem::replace(&mut self.joining, later);
        self.update_first_joining();
        for slot in slots.into_values() {
            let Some(key) = self.attach(&slot) else {
                continue;
            };
            match (&mut self.subscribers[key], history) {
                (Some(subscriber), Some(history)) if slot.subscription.backlog > 0 => {
                    let search = subscriber.search(history, next);
                    self.backlogs.begin(key, slot.id(), search, next);
                }
                (Some(subscriber), _) => {
                    subscriber.indexed = true;
                    self.index.add(&slot.terms, key);
                }
                (None, _) => {}
            }
        }
    }

    /// Returns `true` if a subscriber still receives its backlog.
    pub(crate) fn is_catching_up(&self) -> bool {
        !self.backlogs.is_empty()
    }

    /// Returns `true` if a subscriber with an id below `cut` still receives its backlog.
    pub(crate) fn is_catching_up_before(&self, cut: SubscriberId) -> bool {
        self.backlogs.is_unfinished_before(cut)
    }

    /// Records a dispatched event for the subscribers that still receive their backlog. Returns `false` if there are
    /// none.
    pub(crate) fn record(&mut self, event: &Kept<E>, matched: bool) -> bool {
        self.backlogs.record(event, matched)
    }

    /// Detaches subscribers, replaces filters, and records new subscribers as joining. The caller updates the index.
    fn apply<'a>(&mut self, before: &'a SubscriberList<E>, list: &'a SubscriberList<E>) -> Changes<'a, E> {
        let mut changes = Changes {
            old: Vec::new(),
            new: Vec::new(),
            detached: Vec::new(),
        };
        let (old, new) = list.changes(before);
        for slot in new {
            let attached = self.keys.get(&slot.id()).map(|key| (*key, &mut self.subscribers[*key]));
            match attached {
                Some((key, Some(subscriber))) => {
                    subscriber.replace_slot(Arc::clone(slot));
                    changes.new.extend(subscriber.indexed.then_some(key));
                }
                _ => {
                    self.joining.insert(slot.id(), Arc::clone(slot));
                }
            }
        }
        for slot in old {
            let Some(&key) = self.keys.get(&slot.id()) else {
                self.leave_joining(slot);
                continue;
            };
            changes.old.push((key, &slot.terms));
            // A slot that was replaced above does not detach its subscriber.
            if let Some(subscriber) = self.subscribers[key].take_if(|attached| Arc::ptr_eq(&attached.slot, slot)) {
                self.keys.remove(&slot.id());
                self.backlogs.cancel(key);
                changes.detached.push((key, subscriber));
            }
        }
        changes
    }

    /// Removes a slot that has left the list before it was attached.
    fn leave_joining(&mut self, slot: &Arc<Slot<E>>) {
        if self
            .joining
            .get(&slot.id())
            .is_some_and(|listed| Arc::ptr_eq(listed, slot))
        {
            self.joining.remove(&slot.id());
        }
    }

    /// Attaches a newly listed subscriber, and takes its producer out of the subscription.
    fn attach(&mut self, slot: &Arc<Slot<E>>) -> Option<SubscriberKey> {
        // A subscription that has ended matches nothing, and the next reap removes it.
        if slot.subscription.queue.is_closed() {
            return None;
        }
        let producer = slot.subscription.producer.lock().take()?;
        let key = self.vacant.pop().unwrap_or_else(|| {
            self.subscribers.push(None);
            self.marks.push(Mark::default());
            self.subscribers.len() - 1
        });
        self.subscribers[key] = Some(SubscriberState::new(Arc::clone(slot), producer));
        self.marks[key] = Mark::default();
        self.keys.insert(slot.id(), key);
        Some(key)
    }

    /// Frees the vacant end of the table when fewer than a quarter of its places are in use.
    fn trim(&mut self) {
        let used = self
            .subscribers
            .iter()
            .rposition(Option::is_some)
            .map_or(0, |last| last + 1);
        let Some(capacity) = shrunk(self.subscribers.capacity(), used) else {
            return;
        };
        self.subscribers.truncate(used);
        self.subscribers.shrink_to(capacity);
        self.marks.truncate(used);
        self.marks.shrink_to(capacity);
        self.vacant.retain(|key| *key < used);
        self.vacant.shrink_to_fit();
        self.keys.shrink_to(capacity);
    }
}

/// # Delivery
impl<E: Payload> Routes<E> {
    /// Delivers the batch to the marked subscribers, and clears the marks and the batch.
    pub(crate) fn deliver(&mut self, batch: &mut Batch<E>, list: &Subscribers<E>, tally: &mut Tally) {
        let match_all = &self.index.match_all;
        let places = std::mem::take(&mut self.matched_all);
        if places != 0 {
            for (passed, key) in match_all.iter().enumerate() {
                if let Some(subscriber) = &mut self.subscribers[*key] {
                    subscriber.deliver(batch, places, match_all.len() - passed, list, tally);
                }
            }
        }
        while let Some(key) = self.matched.pop() {
            let places = std::mem::take(&mut self.marks[key].matched);
            if let Some(subscriber) = &mut self.subscribers[key] {
                subscriber.deliver(batch, places, 1, list, tally);
            }
        }
        batch.clear();
        self.end_failing(list, tally);
    }

    /// Delivers one slice of each unfinished backlog. A subscriber whose backlog has ended receives live events. The
    /// batch must be delivered before.
    pub(crate) fn catch_up(&mut self, history: &History<E>, list: &Subscribers<E>, tally: &mut Tally) {
        let Routes {
            backlogs,
            subscribers,
            index,
            ..
        } = self;
        backlogs.advance(subscribers, history, list, tally, |key, subscriber| {
            subscriber.indexed = true;
            index.add(&subscriber.slot.terms, key);
        });
        self.end_failing(list, tally);
    }

    /// Ends the subscriptions whose filter has panicked too often in a row.
    fn end_failing(&mut self, list: &Subscribers<E>, tally: &mut Tally) {
        while let Some(id) = tally.failing.pop() {
            if let Some(subscriber) = self.attached(id) {
                subscriber.end(EndReason::Failed, list, &mut tally.totals);
            }
        }
    }

    /// Calls `push` on each producer with waiting events, and settles the results.
    pub(crate) fn deliver_pending(
        &mut self,
        push: fn(&mut QueueProducer<E>, &mut Pushed),
        list: &Subscribers<E>,
        tally: &mut Tally,
    ) {
        for id in std::mem::take(&mut tally.waiting) {
            if let Some(subscriber) = self.attached(id) {
                subscriber.deliver_pending(push, list, tally);
            }
        }
    }

    fn attached(&mut self, id: SubscriberId) -> Option<&mut SubscriberState<E>> {
        self.keys.get(&id).and_then(|key| self.subscribers[*key].as_mut())
    }
}

/// Returns `true` if the subscriber is attached and its filter matches.
fn matches<E>(subscriber: &mut Option<SubscriberState<E>>, event: &BusEvent<E>, tally: &mut Tally) -> bool {
    subscriber
        .as_mut()
        .is_some_and(|subscriber| subscriber.matches(event, tally))
}

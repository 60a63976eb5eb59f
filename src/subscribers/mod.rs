//! The subscriber list, copied on write.
//!
//! 1. `id`: subscriber ids.
//! 2. `list`: one immutable state of the list, and its slots.
//! 3. `terms`: the index terms of a filter.
//! 4. `interest`: counts of the listed filters' terms. A publisher reads them before it creates an event.
//! 5. `term_counts`: the concurrent multiset behind these counts.
//!
//! [`Subscribers`] owns an `ArcSwap` of the current [`SubscriberList`], in order of id. Readers (the dispatch thread,
//! statistics) load the list and never wait. Writers (subscribe, set filter, unsubscribe, reap, end) alternate under a
//! mutex. Before that, the writer computes the index terms of a new filter, because the analysis of a large filter takes
//! long. A writer copies the affected parts of the list and stores the new list. The slots that a write removes are
//! dropped after the mutex is released, because a filter may hold user values. Each write also updates the counts of
//! the filters. A new filter is counted before the list with it is stored, and an old filter until a list without it is
//! stored.
//!
//! A subscription ends when the state of its queue gets an end reason, which closes the queue. An unsubscribe closes
//! the queue and removes the slot in one write. All other ends close the queue and record the id for the next reap: a
//! close or drop of the receiver, an overflow that disconnects, and user code that keeps panicking.
//!
//! The dispatch thread reaps: one write removes all recorded slots, so ten thousand dropped receivers cost one copy.
//! The routing table then detaches the removed subscribers (`dispatch/routes.rs`) and drops their producers. This frees
//! the queues of dropped receivers.

pub(crate) mod id;
pub(crate) mod interest;
pub(crate) mod list;
mod term_counts;
pub(crate) mod terms;

use crate::end_reason::EndReason;
use crate::filter::EventFilter;
use crate::queue::QueueProducer;
use crate::subscribers::id::SubscriberId;
use crate::subscribers::interest::Interest;
use crate::subscribers::list::{Analyzed, Slot, SlotRefs, SubscriberList, Subscription};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, ArcSwap, Cache, CachePadded, Mutex};

/// A reader's cached view of the list.
pub(crate) type ListReader<E> = Cache<Arc<ArcSwap<SubscriberList<E>>>, Arc<SubscriberList<E>>>;

pub(crate) struct Subscribers<E> {
    list: Arc<ArcSwap<SubscriberList<E>>>,
    /// Serializes writers, from the load of the list to the store.
    writer: Mutex<()>,
    /// Counts of the listed filters. Changed only under `writer`.
    interest: Interest,
    /// The id of the next subscription. Changed only under `writer`. Every publisher reads it, so it has a cache line of
    /// its own.
    next_id: CachePadded<AtomicU64>,
    /// Set when the bus ends. A new subscription is then closed from the start. Changed only under `writer`.
    ended: AtomicBool,
    /// Number of subscriptions that are not closed.
    live: AtomicUsize,
    /// Subscriptions that are closed and listed, which the next reap removes.
    closed: Mutex<Vec<SubscriberId>>,
    /// Set while a request for upkeep is pending.
    upkeep: AtomicBool,
    reaped: AtomicU64,
}

/// A change of the list: the next state, the slot that it adds, and the slots that it removes.
struct Change<'a, E> {
    next: SubscriberList<E>,
    added: Option<Arc<Slot<E>>>,
    removed: SlotRefs<'a, E>,
}

impl<'a, E> Change<'a, E> {
    fn without(list: &'a SubscriberList<E>, ids: &[SubscriberId]) -> Self {
        let (next, removed) = list.without(ids);
        let added = None;
        Change { next, added, removed }
    }
}

impl<E> Subscribers<E> {
    /// Creates an empty list. With `always_interested`, every event must be dispatched, even without subscribers.
    pub(crate) fn new(always_interested: bool) -> Self {
        Subscribers {
            list: Arc::new(ArcSwap::from_pointee(SubscriberList::new())),
            writer: Mutex::new(()),
            interest: Interest::new(always_interested),
            next_id: CachePadded::new(AtomicU64::new(1)),
            ended: AtomicBool::new(false),
            live: AtomicUsize::new(0),
            closed: Mutex::new(Vec::new()),
            upkeep: AtomicBool::new(false),
            reaped: AtomicU64::new(0),
        }
    }

    pub(crate) fn reader(&self) -> ListReader<E> {
        Cache::new(Arc::clone(&self.list))
    }

    /// Returns the id of the next subscription. A publisher reads it before it sends an event.
    pub(crate) fn cut(&self) -> SubscriberId {
        // Ordering: Relaxed, because coherence suffices. If a subscribe returned before the caller's publish began, this
        // load sees its increment or a later one. If the publish returned before a subscribe began, the load came before
        // that increment.
        SubscriberId::new(self.next_id.load(Ordering::Relaxed))
    }

    /// Returns the counts of the listed filters. Any thread may read them.
    pub(crate) fn interest(&self) -> &Interest {
        &self.interest
    }

    pub(crate) fn snapshot(&self) -> Arc<SubscriberList<E>> {
        self.list.load_full()
    }

    /// Adds a subscription. On a bus that has ended, it is closed at once and not listed.
    pub(crate) fn subscribe(
        &self,
        label: Option<Arc<str>>,
        filter: EventFilter<E>,
        producer: QueueProducer<E>,
        backlog: usize,
    ) -> Arc<Subscription<E>> {
        let queue = Arc::clone(producer.state());
        let filter = Analyzed::new(filter);
        let (subscription, unused) = self.write(|list| {
            // Ordering: Relaxed for both, `writer` guards them.
            let id = SubscriberId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
            let subscription = Arc::new(Subscription {
                id,
                label,
                queue,
                backlog,
                producer: Mutex::new(Some(producer)),
            });
            if self.ended.load(Ordering::Relaxed) {
                subscription.queue.close(EndReason::Closed);
                return (None, (subscription, Some(filter)));
            }
            // Ordering: Relaxed, a count that publishes nothing.
            self.live.fetch_add(1, Ordering::Relaxed);
            let slot = Arc::new(Slot::new(Arc::clone(&subscription), filter));
            let change = Change {
                next: list.with(Arc::clone(&slot)),
                added: Some(slot),
                removed: SlotRefs::new(),
            };
            (Some(change), (subscription, None))
        });
        drop(unused);
        subscription
    }

    /// Replaces the filter of a listed subscription. Does nothing if the subscription is not listed.
    pub(crate) fn set_filter(&self, id: SubscriberId, filter: EventFilter<E>) {
        let filter = Analyzed::new(filter);
        let unused = self.write(|list| match list.get(id) {
            Some(old) => {
                let slot = Arc::new(Slot::new(Arc::clone(&old.subscription), filter));
                let change = Change {
                    next: list.with_replaced(Arc::clone(&slot)),
                    added: Some(slot),
                    removed: vec![old],
                };
                (Some(change), None)
            }
            None => (None, Some(filter)),
        });
        drop(unused);
    }

    /// Ends a subscription and removes it from the list. Returns `true` if this call ended it.
    pub(crate) fn unsubscribe(&self, id: SubscriberId) -> bool {
        let removed = self.write(|list| {
            let Some(slot) = list.get(id) else {
                return (None, None);
            };
            if !slot.subscription.queue.close(EndReason::Unsubscribed) {
                return (None, None);
            }
            (Some(Change::without(list, &[id])), Some(Arc::clone(&slot.subscription)))
        });
        if let Some(subscription) = &removed {
            self.finish_close(subscription);
        }
        removed.is_some()
    }

    /// Ends a subscription, which stays listed until the next reap. Returns `true` if this call ended it.
    pub(crate) fn close(&self, subscription: &Subscription<E>, reason: EndReason) -> bool {
        let closed = subscription.queue.close(reason);
        if closed {
            self.closed.lock().push(subscription.id);
            self.finish_close(subscription);
        }
        closed
    }

    /// Removes a closed subscription from the live count, and wakes its receiver.
    fn finish_close(&self, subscription: &Subscription<E>) {
        // Ordering: Relaxed, a count that publishes nothing.
        self.live.fetch_sub(1, Ordering::Relaxed);
        subscription.queue.wake();
    }

    /// Removes every closed subscription from the list.
    pub(crate) fn reap(&self) {
        let mut closed = std::mem::take(&mut *self.closed.lock());
        if closed.is_empty() {
            return;
        }
        closed.sort_unstable();
        let removed = self.write(|list| {
            let change = Change::without(list, &closed);
            let removed = change.removed.len();
            (Some(change), removed)
        });
        // Ordering: Relaxed, a statistic.
        self.reaped.fetch_add(removed as u64, Ordering::Relaxed);
    }

    /// Ends all subscriptions, because the bus has ended. A later subscription is closed from the start.
    pub(crate) fn end(&self) {
        let last = self.write(|list| {
            // Ordering: Relaxed, `writer` guards it.
            self.ended.store(true, Ordering::Relaxed);
            let last: Vec<_> = list.iter().cloned().collect();
            let change = Change {
                next: SubscriberList::new(),
                added: None,
                removed: list.iter().collect(),
            };
            (Some(change), last)
        });
        for slot in last {
            self.close(&slot.subscription, EndReason::Closed);
        }
        // The subscriptions just recorded as closed are no longer listed.
        *self.closed.lock() = Vec::new();
    }

    /// Requests upkeep of the list from the dispatch thread. Returns `true` if no request was pending. If so, the
    /// caller must wake the dispatch thread.
    pub(crate) fn request_upkeep(&self) -> bool {
        // Ordering: AcqRel, pairs with `take_upkeep`. Release: the thread that takes the request sees its cause.
        // Acquire: if `take_upkeep` came first, this thread sees the ingress as it was then or later. So if the wake-up
        // finds the ingress full, the dispatch thread still has to receive those commands, and takes this request after
        // them.
        !self.upkeep.swap(true, Ordering::AcqRel)
    }

    /// Takes the request for upkeep, if there is one. The caller reads the list afterward, so no request is lost.
    pub(crate) fn take_upkeep(&self) -> bool {
        // Ordering: AcqRel, pairs with `request_upkeep`. A read-modify-write even if there is no request.
        self.upkeep.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn live(&self) -> usize {
        // Ordering: Relaxed, a count. The caller's own subscribe or drop came before in program order.
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn reaped(&self) -> u64 {
        // Ordering: Relaxed, a statistic.
        self.reaped.load(Ordering::Relaxed)
    }

    /// Writes the list. `change` reads the current list and returns the change, if there is one, and a result.
    fn write<R>(&self, change: impl FnOnce(&SubscriberList<E>) -> (Option<Change<'_, E>>, R)) -> R {
        let writer = self.writer.lock();
        let current = self.list.load_full();
        let (change, result) = change(&current);
        if let Some(Change { next, added, removed }) = change {
            if let Some(slot) = &added {
                self.interest.add(&slot.terms);
            }
            self.list.store(Arc::new(next));
            self.interest.remove(removed.iter().map(|slot| &slot.terms));
        }
        drop(writer);
        // This list may be the last owner of removed slots.
        drop(current);
        result
    }
}

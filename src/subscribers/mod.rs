//! The subscriber list, copied on write.
//!
//! Owns an `ArcSwap` of the list's present state ([`Slots`]), in order of subscription and so of id. Readers (the
//! dispatch thread, statistics) load it and never wait. Writers (subscribe, a new filter, unsubscribe, reap, end) copy
//! what they change of it and store it one at a time, under a mutex; slots that a write leaves without an owner are
//! dropped after it is released, since a filter may hold user values. Each write also keeps the counts of what the
//! listed filters ask for (see `interest.rs`): who comes is counted before the list shows it, and who leaves as long as
//! it does.
//!
//! A subscription ends by its queue's closed flag. Unsubscribing sets it and takes the slot out in one write. Whoever
//! else sets it (a receiver that closes or is dropped, an overflow that disconnects) notes the id for the next reap, on
//! the dispatch thread: one reap takes out all that are noted, so ten thousand receivers dropped at once cost one copy.

pub(crate) mod interest;
pub(crate) mod list;
mod term_counts;
pub(crate) mod terms;

use crate::filter::EventFilter;
use crate::queue::QueueProducer;
use crate::subscribers::interest::Interest;
use crate::subscribers::list::SlotRefs;
pub use crate::subscribers::list::SubscriberId;
pub(crate) use crate::subscribers::list::{Slot, Slots, Subscription};
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Arc, ArcSwap, Cache, Mutex};

/// A reader's own view of the list, cheap to bring up to date.
pub(crate) type ListReader<E> = Cache<Arc<ArcSwap<Slots<E>>>, Arc<Slots<E>>>;

pub(crate) struct Subscribers<E> {
    list: Arc<ArcSwap<Slots<E>>>,
    /// Serialises writers, from their load of the list to their store.
    writer: Mutex<()>,
    /// What the filters of the list ask for. Changed under `writer` alone.
    interest: Interest,
    /// Changed under `writer` alone.
    next_id: AtomicU64,
    /// The bus has ended: whoever subscribes now is born closed. Changed under `writer` alone.
    ended: AtomicBool,
    /// Subscriptions that have not been closed, whether or not a reap has come by.
    live: AtomicUsize,
    /// Closed and still listed: what the next reap takes out.
    closed: Mutex<Vec<SubscriberId>>,
    /// Somebody wants the dispatch thread to look after the list.
    upkeep: AtomicBool,
    reaped: AtomicU64,
}

/// A change of the list: its next state, whose filter comes with it, and whose leave.
struct Change<'a, E> {
    next: Slots<E>,
    joins: Option<Arc<Slot<E>>>,
    leave: SlotRefs<'a, E>,
}

impl<'a, E> Change<'a, E> {
    fn without(slots: &'a Slots<E>, ids: &[SubscriberId]) -> Self {
        let (next, leave) = slots.without(ids);
        let joins = None;
        Change { next, joins, leave }
    }
}

impl<E> Subscribers<E> {
    /// A list of nobody. `always_interested`: every event counts, whoever listens now.
    pub(crate) fn new(always_interested: bool) -> Self {
        Subscribers {
            list: Arc::new(ArcSwap::from_pointee(Slots::new())),
            writer: Mutex::new(()),
            interest: Interest::new(always_interested),
            next_id: AtomicU64::new(1),
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

    /// What the filters of the list ask for, to be asked from any thread.
    pub(crate) fn interest(&self) -> &Interest {
        &self.interest
    }

    pub(crate) fn snapshot(&self) -> Arc<Slots<E>> {
        self.list.load_full()
    }

    /// Adds a subscription. On a bus that has ended it is closed at once and not listed.
    pub(crate) fn subscribe(
        &self,
        label: Option<Arc<str>>,
        filter: EventFilter<E>,
        producer: QueueProducer<E>,
        backlog: usize,
    ) -> Arc<Subscription<E>> {
        let queue = Arc::clone(producer.state());
        let (subscription, unused) = self.write(|slots| {
            // Ordering: Relaxed for both, they are guarded by `writer`.
            let id = SubscriberId::new(self.next_id.fetch_add(1, Ordering::Relaxed));
            let subscription = Arc::new(Subscription {
                id,
                label,
                queue,
                backlog,
                producer: Mutex::new(Some(producer)),
            });
            if self.ended.load(Ordering::Relaxed) {
                subscription.queue.close();
                return (None, (subscription, Some(filter)));
            }
            // Ordering: Relaxed, a count that publishes nothing.
            self.live.fetch_add(1, Ordering::Relaxed);
            let slot = Arc::new(Slot::new(Arc::clone(&subscription), filter));
            let change = Change {
                next: slots.with(Arc::clone(&slot)),
                joins: Some(slot),
                leave: SlotRefs::new(),
            };
            (Some(change), (subscription, None))
        });
        drop(unused);
        subscription
    }

    /// Gives a listed subscription another filter; does nothing if it is no longer listed.
    pub(crate) fn set_filter(&self, id: SubscriberId, filter: EventFilter<E>) {
        let unused = self.write(|slots| match slots.get(id) {
            Some(old) => {
                let slot = Arc::new(Slot::new(Arc::clone(&old.subscription), filter));
                let change = Change {
                    next: slots.with_replaced(Arc::clone(&slot)),
                    joins: Some(slot),
                    leave: vec![old],
                };
                (Some(change), None)
            }
            None => (None, Some(filter)),
        });
        drop(unused);
    }

    /// Ends a subscription and takes it out of the list; true for the call that did it.
    pub(crate) fn unsubscribe(&self, id: SubscriberId) -> bool {
        let removed = self.write(|slots| {
            let Some(slot) = slots.get(id) else {
                return (None, None);
            };
            if !slot.subscription.queue.close() {
                return (None, None);
            }
            (
                Some(Change::without(slots, &[id])),
                Some(Arc::clone(&slot.subscription)),
            )
        });
        if let Some(subscription) = &removed {
            self.ended_one(subscription);
        }
        removed.is_some()
    }

    /// Ends a subscription; true for the call that did it. It stays listed until the next reap.
    pub(crate) fn close(&self, subscription: &Subscription<E>) -> bool {
        let closed = subscription.queue.close();
        if closed {
            self.closed.lock().push(subscription.id);
            self.ended_one(subscription);
        }
        closed
    }

    /// What the one who closed a subscription owes.
    fn ended_one(&self, subscription: &Subscription<E>) {
        // Ordering: Relaxed, a count that publishes nothing.
        self.live.fetch_sub(1, Ordering::Relaxed);
        subscription.queue.wake();
    }

    /// Takes every subscription that was closed out of the list.
    pub(crate) fn reap(&self) {
        let mut closed = std::mem::take(&mut *self.closed.lock());
        if closed.is_empty() {
            return;
        }
        closed.sort_unstable();
        let found = self.write(|slots| {
            let change = Change::without(slots, &closed);
            let found = change.leave.len();
            (Some(change), found)
        });
        // Ordering: Relaxed, a statistic.
        self.reaped.fetch_add(found as u64, Ordering::Relaxed);
    }

    /// The bus has ended: closes and takes out everybody, and whoever comes later is born closed.
    pub(crate) fn end(&self) {
        let last = self.write(|slots| {
            // Ordering: Relaxed, guarded by `writer`.
            self.ended.store(true, Ordering::Relaxed);
            let last: Vec<_> = slots.iter().cloned().collect();
            let change = Change {
                next: Slots::new(),
                joins: None,
                leave: slots.iter().collect(),
            };
            (Some(change), last)
        });
        for slot in last {
            self.close(&slot.subscription);
        }
        // What has just been noted is listed no more.
        *self.closed.lock() = Vec::new();
    }

    /// Asks the dispatch thread to look after the list; true if nobody else has since it last did, in which case the
    /// caller has to nudge it.
    pub(crate) fn request_upkeep(&self) -> bool {
        // Ordering: AcqRel, pairs with `take_upkeep`. Release: who takes the request sees what it was made for.
        // Acquire: if that read-modify-write came first, this thread then sees the ingress as drained at least up to
        // it, so a nudge that finds the ingress full leaves commands to be drained, and the request to be found, after.
        !self.upkeep.swap(true, Ordering::AcqRel)
    }

    /// Whether upkeep was requested; the request is taken before the list is looked at, so none is lost.
    pub(crate) fn take_upkeep(&self) -> bool {
        // Ordering: AcqRel, pairs with `request_upkeep`. A read-modify-write even where it finds nothing.
        self.upkeep.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn live(&self) -> usize {
        // Ordering: Relaxed, a count; one's own subscribe or drop came before in program order.
        self.live.load(Ordering::Relaxed)
    }

    pub(crate) fn reaped(&self) -> u64 {
        // Ordering: Relaxed, a statistic.
        self.reaped.load(Ordering::Relaxed)
    }

    /// One write: `change` sees the list and returns what is to change, if anything is, and a result.
    fn write<R>(&self, change: impl FnOnce(&Slots<E>) -> (Option<Change<'_, E>>, R)) -> R {
        let writer = self.writer.lock();
        let current = self.list.load_full();
        let (change, result) = change(&current);
        if let Some(Change { next, joins, leave }) = change {
            if let Some(slot) = &joins {
                self.interest.count_in(&slot.cover);
            }
            self.list.store(Arc::new(next));
            self.interest.count_out(leave.iter().map(|slot| &slot.cover));
        }
        drop(writer);
        // Maybe the last owner of slots that were taken out.
        drop(current);
        result
    }
}

//! What the bus counts: the shared counters and the snapshot that [`SharingBus::stats`](crate::SharingBus::stats)
//! makes of them.
//!
//! Every counter is an atomic with one writer, the dispatch thread, and is read without any order between them: a
//! snapshot of a busy bus may be off by what happened while it was taken. After a flush, with nobody publishing, it is
//! exact.

mod display;

use crate::subscribers::SubscriberId;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The dispatch thread's running totals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) dispatched: u64,
    pub(crate) delivered: u64,
    pub(crate) lagged: u64,
    pub(crate) merged: u64,
    pub(crate) unmatched: u64,
    pub(crate) filter_panics: u64,
    pub(crate) payload_panics: u64,
}

/// The totals as others see them.
pub(crate) struct Counters {
    dispatched: AtomicU64,
    delivered: AtomicU64,
    lagged: AtomicU64,
    merged: AtomicU64,
    unmatched: AtomicU64,
    filter_panics: AtomicU64,
    payload_panics: AtomicU64,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Counters {
            dispatched: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            unmatched: AtomicU64::new(0),
            filter_panics: AtomicU64::new(0),
            payload_panics: AtomicU64::new(0),
        }
    }

    /// Publishes the totals. Called by the dispatch thread alone.
    pub(crate) fn publish(&self, totals: &Totals) {
        // Ordering: Relaxed throughout, statistics that publish nothing.
        self.dispatched.store(totals.dispatched, Ordering::Relaxed);
        self.delivered.store(totals.delivered, Ordering::Relaxed);
        self.lagged.store(totals.lagged, Ordering::Relaxed);
        self.merged.store(totals.merged, Ordering::Relaxed);
        self.unmatched.store(totals.unmatched, Ordering::Relaxed);
        self.filter_panics.store(totals.filter_panics, Ordering::Relaxed);
        self.payload_panics.store(totals.payload_panics, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Totals {
        // Ordering: Relaxed throughout, see `publish`.
        Totals {
            dispatched: self.dispatched.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
            unmatched: self.unmatched.load(Ordering::Relaxed),
            filter_panics: self.filter_panics.load(Ordering::Relaxed),
            payload_panics: self.payload_panics.load(Ordering::Relaxed),
        }
    }
}

/// What a bus has done so far; made by [`SharingBus::stats`](crate::SharingBus::stats).
///
/// Counts start at the bus's beginning and never go down. They are exact after a flush with nobody publishing; on a
/// busy bus they trail by at most a batch. `Display` prints them as a table for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BusStats {
    /// Events accepted from publishers.
    pub published: u64,
    /// Events taken through matching.
    pub dispatched: u64,
    /// Events put into queues and not displaced since, over all subscribers; one event for three subscribers is three.
    pub delivered: u64,
    /// Events that matched and were lost, for want of room, over all subscribers.
    pub lagged: u64,
    /// Events that matched and were delivered as a part of others, over all subscribers
    /// ([`Overflow::Conflate`](crate::Overflow::Conflate)).
    pub merged: u64,
    /// Events that matched nobody.
    pub unmatched: u64,
    /// Subscriptions taken out of the list because their receiver was dropped or closed itself, or an overflow
    /// disconnected it. Those that were unsubscribed do not count.
    pub reaped: u64,
    /// Panics of filters, each of which is one event that was not matched for one subscriber; also of filters of essential
    /// events (one event that counted as not essential) and of functions that merge (one event lost).
    pub filter_panics: u64,
    /// Panics of [`Payload::session_change`](crate::Payload::session_change).
    pub payload_panics: u64,
    /// Events accepted and not yet dispatched, the one being dispatched included.
    pub ingress_depth: u64,
    /// How many events the ingress holds.
    pub ingress_capacity: usize,
    /// Sessions bound.
    pub sessions: usize,
    /// Sessions forgotten because there were more than the session capacity.
    pub sessions_evicted: u64,
    /// Each listed subscription, in order of subscription.
    pub subscribers: Vec<SubscriberStats>,
}

/// One subscription in [`BusStats`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SubscriberStats {
    /// Its id.
    pub id: SubscriberId,
    /// Its label, if it was given one.
    pub label: Option<Arc<str>>,
    /// Its filter, as text.
    pub filter: String,
    /// Events in its queue.
    pub queued: u64,
    /// How many events its queue holds; 0 where events go into a channel of the host's.
    pub capacity: usize,
    /// Events put into its queue and not displaced since, whether received yet or not.
    pub delivered: u64,
    /// Events that matched and were lost, for want of room.
    pub lagged: u64,
    /// Those of them that were essential ([`essential`](crate::SubscriptionBuilder::essential)).
    pub lagged_essential: u64,
    /// Events that matched and were delivered as a part of others ([`Overflow::Conflate`](crate::Overflow::Conflate)).
    pub merged: u64,
    /// Events that wait for room, likewise, those that went into others included: neither delivered nor lost nor merged
    /// yet.
    pub pending: u64,
}

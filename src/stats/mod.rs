//! Statistics: the shared counters, and the snapshot of them that
//! [`SharingBus::stats`](crate::SharingBus::stats) returns.
//!
//! 1. `display`: the snapshot as text.
//!
//! Each counter is an atomic with one writer, the dispatch thread. Readers load the counters in no particular order, so
//! a snapshot of a busy bus may miss changes made while it was taken. After a flush, if no thread publishes, the
//! snapshot is exact.

mod display;

use crate::subscribers::id::SubscriberId;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The dispatch thread's running totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) dispatched: u64,
    pub(crate) delivered: u64,
    pub(crate) lagged: u64,
    pub(crate) merged: u64,
    pub(crate) unmatched: u64,
    pub(crate) failed: u64,
    pub(crate) filter_panics: u64,
    pub(crate) payload_panics: u64,
}

/// Figures of a bus that [`Totals`] do not include, for telemetry.
#[cfg_attr(not(feature = "metrics"), expect(dead_code, reason = "only metrics report them"))]
pub(crate) struct BusFigures {
    pub(crate) published: u64,
    pub(crate) reaped: u64,
    pub(crate) subscribers: usize,
    pub(crate) sessions: usize,
}

/// The totals as other threads read them. They trail [`Totals`] by at most a batch.
pub(crate) struct Counters {
    dispatched: AtomicU64,
    delivered: AtomicU64,
    lagged: AtomicU64,
    merged: AtomicU64,
    unmatched: AtomicU64,
    failed: AtomicU64,
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
            failed: AtomicU64::new(0),
            filter_panics: AtomicU64::new(0),
            payload_panics: AtomicU64::new(0),
        }
    }

    /// Makes the totals visible to other threads. Only the dispatch thread calls this method.
    pub(crate) fn publish(&self, totals: &Totals) {
        // Ordering: Relaxed for all stores, because these statistics publish no other data.
        self.dispatched.store(totals.dispatched, Ordering::Relaxed);
        self.delivered.store(totals.delivered, Ordering::Relaxed);
        self.lagged.store(totals.lagged, Ordering::Relaxed);
        self.merged.store(totals.merged, Ordering::Relaxed);
        self.unmatched.store(totals.unmatched, Ordering::Relaxed);
        self.failed.store(totals.failed, Ordering::Relaxed);
        self.filter_panics.store(totals.filter_panics, Ordering::Relaxed);
        self.payload_panics.store(totals.payload_panics, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Totals {
        // Ordering: Relaxed for all loads, see `publish`.
        Totals {
            dispatched: self.dispatched.load(Ordering::Relaxed),
            delivered: self.delivered.load(Ordering::Relaxed),
            lagged: self.lagged.load(Ordering::Relaxed),
            merged: self.merged.load(Ordering::Relaxed),
            unmatched: self.unmatched.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            filter_panics: self.filter_panics.load(Ordering::Relaxed),
            payload_panics: self.payload_panics.load(Ordering::Relaxed),
        }
    }
}

/// The statistics of a bus; returned by [`SharingBus::stats`](crate::SharingBus::stats).
///
/// Counters start at zero when the bus is built and never decrease. On a busy bus they trail by at most a batch. After
/// a [`flush`](crate::SharingBus::flush), if no thread publishes, they are exact. `Display` formats the statistics as a
/// table for people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct BusStats {
    /// Number of events accepted from publishers.
    pub published: u64,
    /// Number of events dispatched: numbered, bound and matched.
    pub dispatched: u64,
    /// Number of deliveries: events queued for a subscriber and not displaced afterward, summed over all subscribers.
    /// An event queued for three subscribers counts three times.
    pub delivered: u64,
    /// Number of matching events lost because a queue was full, summed over all subscribers.
    pub lagged: u64,
    /// Number of matching events merged into other delivered events, summed over all subscribers. Only
    /// [`Overflow::Conflate`](crate::Overflow::Conflate) merges events.
    pub merged: u64,
    /// Number of events that matched no subscriber.
    pub unmatched: u64,
    /// Number of subscriptions removed from the list because their receiver was dropped or closed, or because of an
    /// overflow, a closed channel or panics. Subscriptions that ended by
    /// [`unsubscribe`](crate::SharingBus::unsubscribe) do not count.
    pub reaped: u64,
    /// Number of subscriptions that ended because their functions panicked
    /// ([`EndReason::Failed`](crate::EndReason::Failed)).
    pub failed: u64,
    /// Number of panics in filters. For each panic, one event did not match one subscriber. The number includes panics
    /// in filters of [essential](crate::SubscriptionBuilder::essential) events and in
    /// [merge functions](crate::SubscriptionBuilder::conflate_with). In these two cases, one event counted as not
    /// essential, or one event was lost.
    pub filter_panics: u64,
    /// Number of panics in [`Payload::session_change`](crate::Payload::session_change). They end no subscription.
    pub payload_panics: u64,
    /// Number of events accepted but not yet dispatched, including the event being dispatched.
    pub ingress_depth: u64,
    /// Capacity of the ingress, in events.
    pub ingress_capacity: usize,
    /// Number of bound sessions.
    pub sessions: usize,
    /// Number of sessions forgotten because more sessions were registered than the session capacity.
    pub sessions_evicted: u64,
    /// The open subscriptions, in order of subscription.
    pub subscribers: Vec<SubscriberStats>,
}

/// The statistics of one subscription, in [`BusStats::subscribers`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SubscriberStats {
    /// The id of the subscription.
    pub id: SubscriberId,
    /// The label, if the subscription has one.
    pub label: Option<Arc<str>>,
    /// The filter, as [text](crate::EventFilter#text).
    pub filter: String,
    /// Number of events in the queue.
    pub queued: u64,
    /// Capacity of the queue, in events; 0 if the subscription
    /// [forwards](crate::SubscriptionBuilder::forward_to) into a channel of the host.
    pub capacity: usize,
    /// Number of events put into the queue and not displaced afterward, received or not.
    pub delivered: u64,
    /// Number of matching events lost because the queue was full.
    pub lagged: u64,
    /// Number of [essential](crate::SubscriptionBuilder::essential) events among the lost events.
    pub lagged_essential: u64,
    /// Number of matching events merged into other delivered events
    /// ([`Overflow::Conflate`](crate::Overflow::Conflate)).
    pub merged: u64,
    /// Number of events that wait for space in the queue ([`Overflow::Conflate`](crate::Overflow::Conflate)). It
    /// includes events merged into other waiting events. Waiting events are not yet delivered, lost or merged.
    pub pending: u64,
}

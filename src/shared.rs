//! What the handles, the receivers and the dispatch thread share: one of each room, behind one `Arc`.

use crate::ingress::Ingress;
use crate::sessions::Sessions;
use crate::stats::{BusStats, Counters, SubscriberStats};
use crate::subscribers::{Slot, Subscribers, Subscription};
use crate::wait::Latch;

pub(crate) struct Shared<E> {
    pub(crate) ingress: Ingress<E>,
    pub(crate) subscribers: Subscribers<E>,
    pub(crate) sessions: Sessions,
    pub(crate) counters: Counters,
    /// Set by the dispatch thread as the last thing that it does.
    pub(crate) ended: Latch,
}

impl<E> Shared<E> {
    /// Ends a subscription and has the dispatch thread reap it; true for the call that ended it.
    pub(crate) fn close(&self, subscription: &Subscription<E>) -> bool {
        let closed = self.subscribers.close(subscription);
        if closed {
            self.request_upkeep();
        }
        closed
    }

    /// Has the dispatch thread look after the subscriber list, soon and without an event.
    pub(crate) fn request_upkeep(&self) {
        if self.subscribers.request_upkeep() {
            self.ingress.nudge();
        }
    }

    pub(crate) fn stats(&self) -> BusStats {
        let totals = self.counters.read();
        // A publisher counts once its event is in; the dispatch thread may have been quicker.
        let published = self.ingress.published().max(totals.dispatched);
        BusStats {
            published,
            dispatched: totals.dispatched,
            delivered: totals.delivered,
            lagged: totals.lagged,
            unmatched: totals.unmatched,
            reaped: self.subscribers.reaped(),
            filter_panics: totals.filter_panics,
            payload_panics: totals.payload_panics,
            ingress_depth: published - totals.dispatched,
            ingress_capacity: self.ingress.capacity(),
            sessions: self.sessions.len(),
            sessions_evicted: self.sessions.evicted(),
            subscribers: self.subscriber_stats(),
        }
    }

    fn subscriber_stats(&self) -> Vec<SubscriberStats> {
        let slots = self.subscribers.snapshot();
        slots
            .iter()
            .filter(|slot| !slot.subscription.queue.is_closed())
            .map(|slot| stats_of(slot))
            .collect()
    }
}

fn stats_of<E>(slot: &Slot<E>) -> SubscriberStats {
    let Subscription { id, label, queue, .. } = &*slot.subscription;
    SubscriberStats {
        id: *id,
        label: label.clone(),
        filter: slot.filter.to_string(),
        queued: queue.queued(),
        capacity: queue.capacity(),
        delivered: queue.delivered(),
        lagged: queue.lagged(),
    }
}

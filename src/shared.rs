//! What the handles, the receivers and the dispatch thread share: one of each room, behind one `Arc`.

use std::task::Wake;
use std::time::Duration;

use crate::error::PublishError;
use crate::event::{BusEvent, EventOrigin, EventRouting, Payload};
use crate::filter::EventFilter;
use crate::ingress::assist::Turn;
use crate::ingress::{Command, FlushRequest, Ingress};
use crate::sessions::Sessions;
use crate::stats::{BusStats, Counters, SubscriberStats, Totals};
use crate::subscribers::{Slot, SubscriberId, Subscribers, Subscription};
use crate::sync::Arc;
use crate::sync::wait::Latch;

pub(crate) struct Shared<E> {
    pub(crate) ingress: Ingress<E>,
    pub(crate) subscribers: Subscribers<E>,
    pub(crate) sessions: Sessions,
    pub(crate) counters: Counters,
    /// Set by the dispatch thread as the last thing that it does.
    pub(crate) ended: Latch,
    /// On a bus that publishers help to dispatch.
    pub(crate) turn: Option<Turn>,
}

/// # Sending: into the ingress, and then to work if need be
impl<E> Shared<E> {
    pub(crate) fn try_publish(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.dispatched_if_sent(self.ingress.try_publish(event))
    }

    pub(crate) fn publish(&self, event: BusEvent<E>, timeout: Option<Duration>) -> Result<(), PublishError<E>> {
        self.dispatched_if_sent(self.ingress.publish(event, timeout))
    }

    pub(crate) async fn publish_async(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.dispatched_if_sent(self.ingress.publish_async(event).await)
    }

    /// Waits until what was accepted before is dispatched, or, on a closed bus, for its end.
    pub(crate) fn flush(&self) {
        let (request, done) = FlushRequest::new();
        match self.dispatched_if_sent(self.ingress.send(Command::Flush(request), None)) {
            Ok(()) => done.wait_blocking(),
            Err(_closed) => self.ended.wait_blocking(),
        }
    }

    pub(crate) async fn flush_async(&self) {
        let (request, done) = FlushRequest::new();
        let sent = self.ingress.send_async(Command::Flush(request)).await;
        match self.dispatched_if_sent(sent) {
            Ok(()) => done.wait().await,
            Err(_closed) => self.ended.wait().await,
        }
    }

    /// Closes the ingress, and has the thread end the bus; true for the call that did it.
    pub(crate) fn close_ingress(&self) -> bool {
        let closed = self.ingress.close();
        if closed {
            self.call_thread();
        }
        closed
    }

    /// Whether an event of this routing has to be made: somebody may match it, or the bus is closed and has to say so.
    pub(crate) fn is_interested(&self, routing: &EventRouting, origin: Option<EventOrigin>) -> bool {
        // In this order: who ends with the bus is counted out after it was closed, and is not to be missed for that.
        self.subscribers.interest().may_match(routing, origin) || self.ingress.is_closed()
    }

    fn dispatched_if_sent<R>(&self, sent: Result<(), R>) -> Result<(), R> {
        if let (Ok(()), Some(turn)) = (&sent, &self.turn) {
            turn.assist(&self.ingress);
        }
        sent
    }

    fn call_thread(&self) {
        if let Some(turn) = &self.turn {
            turn.call_thread();
        }
    }
}

/// # Upkeep
impl<E> Shared<E> {
    /// Ends a subscription and has the dispatch thread reap it; true for the call that ended it.
    pub(crate) fn close(&self, subscription: &Subscription<E>) -> bool {
        let closed = self.subscribers.close(subscription);
        if closed {
            self.request_upkeep();
        }
        closed
    }

    /// Ends a subscription by its id; true for the call that ended it.
    pub(crate) fn unsubscribe(&self, id: SubscriberId) -> bool {
        let removed = self.subscribers.unsubscribe(id);
        if removed {
            self.request_upkeep();
        }
        removed
    }

    /// Gives a subscription another filter, and has the old one let go of without waiting for an event.
    pub(crate) fn set_filter(&self, id: SubscriberId, filter: EventFilter<E>) {
        self.subscribers.set_filter(id, filter);
        self.request_upkeep();
    }

    /// Has the dispatch thread look after the subscriber list, soon and without an event.
    pub(crate) fn request_upkeep(&self) {
        if self.subscribers.request_upkeep() {
            self.ingress.nudge();
            self.call_thread();
        }
    }
}

/// What a receiver wakes if the dispatch thread waits for room in its queue.
pub(crate) struct RoomMade<E>(pub(crate) Arc<Shared<E>>);

impl<E: Payload> Wake for RoomMade<E> {
    fn wake(self: Arc<Self>) {
        self.0.request_upkeep();
    }
}

/// # Statistics
impl<E> Shared<E> {
    pub(crate) fn stats(&self) -> BusStats {
        let totals = self.counters.read();
        let published = self.published(&totals);
        BusStats {
            published,
            dispatched: totals.dispatched,
            delivered: totals.delivered,
            lagged: totals.lagged,
            merged: totals.merged,
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

    /// A publisher counts once its event is in; the dispatch thread may have been quicker.
    pub(crate) fn published(&self, totals: &Totals) -> u64 {
        self.ingress.published().max(totals.dispatched)
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
        lagged_essential: queue.lagged_essential(),
        merged: queue.merged(),
        pending: queue.pending(),
    }
}

//! The shared state: all data that the handles, the receivers and the dispatch thread share, behind one `Arc`. The handle
//! itself, [`SharingBus`], is here too; its methods are in `bus.rs`.
//!
//! All handles of a bus share one [`Handle`], which owns the join handle of the dispatch thread. Dropping the last handle
//! closes the bus. Receivers and the dispatch thread hold only [`Shared`].
//!
//! Each part of [`Shared`] synchronizes itself. Its methods combine parts: they send a command and let the caller assist,
//! end a subscription and request upkeep, and collect statistics.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Poll, Wake};

use crate::end_reason::EndReason;
use crate::error::PublishError;
use crate::event::{BusEvent, Event, EventOrigin, EventRouting, Payload};
use crate::filter::EventFilter;
use crate::ingress::assist::Assist;
use crate::ingress::stamp::Stamp;
use crate::ingress::{Command, FlushRequest, Ingress, Wait, publish_error};
use crate::sessions::Sessions;
use crate::stats::{BusFigures, BusStats, Counters, SubscriberStats, Totals};
use crate::subscribers::Subscribers;
use crate::subscribers::id::SubscriberId;
use crate::subscribers::list::{Slot, Subscription};
use crate::sync::thread::JoinHandle;
use crate::sync::wait::Latch;
use crate::sync::{Arc, Mutex};

/// A handle to a bus, for publishing and subscribing.
///
/// A clone is another handle to the same bus and costs one increment of a reference count. Dropping the last handle
/// closes the bus, as [`close`](Self::close) does, and does not wait. The bus then dispatches the accepted events, and
/// until it has ended, [`BusReceiver::is_closed`](crate::BusReceiver::is_closed) returns `false`.
///
/// A handle that the bus itself owns, in a filter, a sink, a merge function or a payload, [keeps the bus
/// open](crate::docs::patterns#a-handle-inside-the-bus).
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
///
/// let bus = SharingBus::new();
/// let mut shell = bus.subscribe_filtered(EventFilter::ConnectorId("shell".into()), 64);
///
/// for connector in ["shell", "editor"] {
///     let routing = EventRouting::session(connector, "1", EventKind::Output);
///     let text = format!("hello from {connector}");
///     bus.publish(BusEvent::new(routing, Event::Text { text })).unwrap();
/// }
/// bus.shutdown();
///
/// let texts: Vec<_> = shell.iter().map(|delivery| delivery.event.clone()).collect();
/// assert_eq!(texts.len(), 1);
/// assert_eq!(*texts[0], Event::Text { text: "hello from shell".into() });
/// ```
pub struct SharingBus<E: Payload = Event> {
    pub(crate) handle: Arc<Handle<E>>,
}

/// The part of a handle that all its clones share. The last clone dropped closes the bus.
pub(crate) struct Handle<E: Payload> {
    pub(crate) shared: Arc<Shared<E>>,
    /// The default capacity of queues.
    pub(crate) queue_capacity: usize,
    /// The dispatch thread, until a shutdown joins it. That shutdown holds the lock, so a concurrent shutdown waits
    /// too.
    pub(crate) thread: Mutex<Option<JoinHandle<()>>>,
}

impl<E: Payload> Drop for Handle<E> {
    fn drop(&mut self) {
        self.shared.close_ingress();
    }
}

pub(crate) struct Shared<E> {
    pub(crate) ingress: Ingress<E>,
    pub(crate) subscribers: Subscribers<E>,
    pub(crate) sessions: Sessions,
    pub(crate) counters: Counters,
    /// Set by the dispatch thread when the bus has ended.
    pub(crate) ended: Latch,
    /// Only on a bus with assisted dispatch.
    pub(crate) assist: Option<Assist>,
}

/// # Commands
impl<E> Shared<E> {
    pub(crate) fn publish(&self, event: BusEvent<E>, wait: Wait) -> Result<(), PublishError<E>> {
        let command = self.event_command(event);
        self.ingress.send(command, wait).map_err(publish_error)?;
        self.ingress.count_published();
        self.assist();
        Ok(())
    }

    pub(crate) async fn publish_async(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        let command = self.event_command(event);
        self.ingress.send_async(command).await.map_err(publish_error)?;
        self.ingress.count_published();
        self.assist();
        Ok(())
    }

    #[inline]
    fn event_command(&self, event: BusEvent<E>) -> Command<E> {
        Command::Event(event, Stamp::new(self.subscribers.cut()))
    }

    /// Returns a request for a flush, and the latch that is set when it is done.
    fn flush_command(&self) -> (Command<E>, Arc<Latch>) {
        let (request, done) = FlushRequest::new();
        (Command::Flush(request, self.subscribers.cut()), done)
    }

    /// Blocks until all commands accepted before are dispatched or, on a closed bus, until the bus has ended. Returns
    /// at once on the dispatch thread, which would wait for itself.
    pub(crate) fn flush(&self) {
        if self.ingress.on_dispatch_thread() {
            return;
        }
        let (command, done) = self.flush_command();
        match self.ingress.send(command, Wait::Forever) {
            Ok(()) => {
                self.assist();
                done.wait_blocking();
            }
            Err(_closed) => self.ended.wait_blocking(),
        }
    }

    /// Waits as a task. A poll on the dispatch thread is ready at once, also if earlier polls were on other threads.
    pub(crate) async fn flush_async(&self) {
        let mut flush = pin!(self.flush_as_task());
        poll_fn(|cx| {
            if self.ingress.on_dispatch_thread() {
                return Poll::Ready(());
            }
            flush.as_mut().poll(cx)
        })
        .await;
    }

    async fn flush_as_task(&self) {
        let (command, done) = self.flush_command();
        match self.ingress.send_async(command).await {
            Ok(()) => {
                self.assist();
                done.wait().await;
            }
            Err(_closed) => self.ended.wait().await,
        }
    }

    /// Closes the ingress, so that the dispatch thread ends the bus. Returns `true` if this call closed it.
    pub(crate) fn close_ingress(&self) -> bool {
        let closed = self.ingress.close();
        if closed {
            self.wake_assisted_thread();
        }
        closed
    }

    /// Returns `true` if an event with this routing must be created. This is the case if a subscriber may match it, or
    /// if the bus is closed and the publisher must receive the error.
    pub(crate) fn is_interested(&self, routing: &EventRouting, origin: Option<EventOrigin>) -> bool {
        // The order of these checks matters: subscribers that end with the bus are removed from the counts after the
        // bus is closed. So a caller that misses them in the counts sees the closed bus.
        self.subscribers.interest().may_match(routing, origin) || self.ingress.is_closed()
    }

    /// Runs the dispatcher if the bus has assisted dispatch and the dispatcher is idle. The caller has sent a command.
    fn assist(&self) {
        if let Some(assist) = &self.assist {
            assist.assist(&self.ingress);
        }
    }

    fn wake_assisted_thread(&self) {
        if let Some(assist) = &self.assist {
            assist.wake_thread();
        }
    }
}

/// # Upkeep
impl<E> Shared<E> {
    /// Ends a subscription for its receiver, and requests its removal from the list. Returns `true` if this call ended
    /// it.
    pub(crate) fn close(&self, subscription: &Subscription<E>) -> bool {
        let closed = self.subscribers.close(subscription, EndReason::Closed);
        if closed {
            self.request_upkeep();
        }
        closed
    }

    /// Ends a subscription by its id. Returns `true` if this call ended it.
    pub(crate) fn unsubscribe(&self, id: SubscriberId) -> bool {
        let removed = self.subscribers.unsubscribe(id);
        if removed {
            self.request_upkeep();
        }
        removed
    }

    /// Replaces the filter of a subscription. The dispatch thread drops the old filter without waiting for an event.
    pub(crate) fn set_filter(&self, id: SubscriberId, filter: EventFilter<E>) {
        self.subscribers.set_filter(id, filter);
        self.request_upkeep();
    }

    /// Makes the dispatch thread run its upkeep of the subscriber list soon, without waiting for an event.
    pub(crate) fn request_upkeep(&self) {
        if self.subscribers.request_upkeep() {
            self.ingress.wake_dispatch();
            self.wake_assisted_thread();
        }
    }
}

/// The waker by which a receiver notifies the dispatch thread of space in its queue.
pub(crate) struct SpaceWaker<E>(pub(crate) Arc<Shared<E>>);

impl<E: Payload> Wake for SpaceWaker<E> {
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
            failed: totals.failed,
            filter_panics: totals.filter_panics,
            payload_panics: totals.payload_panics,
            ingress_depth: published - totals.dispatched,
            ingress_capacity: self.ingress.capacity(),
            sessions: self.sessions.len(),
            sessions_evicted: self.sessions.evicted(),
            subscribers: self.subscriber_stats(),
        }
    }

    /// Returns the figures that telemetry reports in addition to the totals.
    pub(crate) fn figures(&self, totals: &Totals) -> BusFigures {
        BusFigures {
            published: self.published(totals),
            reaped: self.subscribers.reaped(),
            subscribers: self.subscribers.live(),
            sessions: self.sessions.len(),
        }
    }

    /// Returns the number of published events. A publisher counts an event after it was accepted, so the dispatch
    /// thread may have counted it first.
    fn published(&self, totals: &Totals) -> u64 {
        self.ingress.published().max(totals.dispatched)
    }

    fn subscriber_stats(&self) -> Vec<SubscriberStats> {
        let list = self.subscribers.snapshot();
        list.iter()
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

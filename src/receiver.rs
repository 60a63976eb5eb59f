//! The receiving side: [`BusReceiver`], for threads, tasks and streams alike.
//!
//! Owns the consuming end of one queue. Every way of receiving comes down to two steps of that queue, `try_pop` and
//! `poll_pop`: tasks are polled by their runtime, threads poll themselves and park in between. Dropping the receiver
//! ends the subscription, frees what is queued, and asks the dispatch thread to reap the slot.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::delivery::Delivery;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::event::{Event, Payload};
use crate::filter::EventFilter;
use crate::queue::QueueConsumer;
use crate::shared::Shared;
use crate::subscribers::{SubscriberId, Subscription};
use crate::sync::wait::block_on;
use crate::sync::{Arc, Parker, linger};

/// One subscription's receiving end. It has one consumer: receiving takes `&mut self`.
///
/// Mix the ways of receiving as you like: [`try_recv`](Self::try_recv) never waits; [`recv`](Self::recv),
/// [`recv_timeout`](Self::recv_timeout), [`recv_deadline`](Self::recv_deadline), [`recv_many`](Self::recv_many) and
/// [`iter`](Self::iter) block the thread; [`recv_async`](Self::recv_async),
/// [`recv_many_async`](Self::recv_many_async), [`poll_recv`](Self::poll_recv) and the
/// [`Stream`] implementation wait as a task, on any runtime.
///
/// A receiver keeps no bus alive. Dropping it ends the subscription, frees its queued events at once, and has the slot
/// reaped without further traffic.
pub struct BusReceiver<E: Payload = Event> {
    shared: Arc<Shared<E>>,
    subscription: Arc<Subscription<E>>,
    queue: QueueConsumer<E>,
    /// Made by the first receive that blocks.
    parker: Option<Parker>,
}

impl<E: Payload> BusReceiver<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, subscription: Arc<Subscription<E>>, queue: QueueConsumer<E>) -> Self {
        BusReceiver {
            shared,
            subscription,
            queue,
            parker: None,
        }
    }

    /// This subscription's id, for [`SharingBus::unsubscribe`](crate::SharingBus::unsubscribe).
    pub fn id(&self) -> SubscriberId {
        self.subscription.id
    }

    /// The label it was given.
    pub fn label(&self) -> Option<&str> {
        self.subscription.label.as_deref()
    }

    /// How many matching events this subscriber has lost so far: the sum of [`Delivery::missed`] and of what it lost
    /// since the last delivery. Never less than the deliveries received have shown; it may trail the dispatch thread
    /// by a batch, and is exact after a flush.
    pub fn lagged(&self) -> u64 {
        self.queue.lagged()
    }

    /// How many of them were essential ([`essential`](crate::SubscriptionBuilder::essential)), likewise; 0 where none are
    /// named.
    pub fn lagged_essential(&self) -> u64 {
        self.subscription.queue.lagged_essential()
    }

    /// How many matching events were delivered as a part of others: the sum of [`Delivery::merged`], also of what is queued
    /// and not yet received; 0 where the queue does not conflate ([`Overflow::Conflate`](crate::Overflow::Conflate)). It may
    /// trail the dispatch thread by a batch, and is exact after a flush.
    pub fn merged(&self) -> u64 {
        self.queue.merged()
    }

    /// How many events are queued. Only this receiver takes events out, so at least so many can be received without
    /// waiting (unless the queue drops its oldest). More than the [capacity](Self::capacity) only where a queue that
    /// conflates has met the end of the bus.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether nothing is queued. True may be stale at once.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many events the queue holds.
    pub fn capacity(&self) -> usize {
        self.subscription.queue.capacity()
    }

    /// Whether the subscription has ended: by [`close`](Self::close), by unsubscribing, by an overflow that
    /// disconnects, or with the bus. Events may still be queued. True stays true; false may be stale at once.
    pub fn is_closed(&self) -> bool {
        self.subscription.queue.is_closed()
    }

    /// Ends the subscription from this side: nothing more is queued, what is queued stays readable, then `Closed`.
    /// True for the call that ended it.
    pub fn close(&mut self) -> bool {
        self.shared.close(&self.subscription)
    }

    /// Replaces the filter. Events whose `publish` begins after this returns meet the new one; those accepted and not
    /// yet dispatched may meet either; what is queued stays. Never waits for the dispatch thread; costs a copy of the
    /// subscriber list. Does nothing on a subscription that has ended.
    ///
    /// ```
    /// # use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8);
    /// receiver.set_filter(EventFilter::Kind(EventKind::Output));
    /// bus.publish(BusEvent::new(EventRouting::session("c", "s", EventKind::Output), Event::Connected)).unwrap();
    /// assert_eq!(receiver.recv().unwrap().routing.kind, EventKind::Output);
    /// ```
    pub fn set_filter(&self, filter: EventFilter<E>) {
        self.shared.set_filter(self.id(), filter);
    }
}

/// # Receiving in a thread
impl<E: Payload> BusReceiver<E> {
    /// Takes the next delivery if there is one; never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if nothing is queued now, [`TryRecvError::Closed`] if nothing ever will be.
    #[inline]
    pub fn try_recv(&mut self) -> Result<Delivery<E>, TryRecvError> {
        self.queue.try_pop()
    }

    /// Takes the next delivery; blocks the thread until there is one. A wait begins with some microseconds of spinning and
    /// yielding, as in crossbeam's channels, and then the thread sleeps. Not for the dispatch thread (a payload's `Drop`,
    /// say), where it would wait for itself.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the subscription is closed and drained.
    #[inline]
    pub fn recv(&mut self) -> Result<Delivery<E>, RecvError> {
        if let Ok(delivery) = self.queue.try_pop() {
            return Ok(delivery);
        }
        match self.recv_by(None) {
            Some(received) => received,
            None => unreachable!("a wait without a deadline does not time out"),
        }
    }

    /// Takes the next delivery; blocks the thread for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time, [`RecvTimeoutError::Closed`] once the subscription is closed
    /// and drained.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Delivery<E>, RecvTimeoutError> {
        // A timeout beyond what the clock can tell is none.
        timed(self.recv_by(Instant::now().checked_add(timeout)))
    }

    /// Takes the next delivery; blocks the thread until `deadline` at most.
    ///
    /// # Errors
    ///
    /// As [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Delivery<E>, RecvTimeoutError> {
        timed(self.recv_by(Some(deadline)))
    }

    /// Appends up to `max` deliveries to `buffer`; blocks the thread until there is at least one. Returns how many:
    /// 0 if the subscription is closed and drained, or if `max` is 0.
    ///
    /// ```
    /// # use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// for _ in 0..3 {
    ///     bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    /// }
    /// bus.shutdown();
    /// let mut buffer = Vec::new();
    /// assert_eq!(receiver.recv_many(&mut buffer, 2), 2);
    /// assert_eq!(receiver.recv_many(&mut buffer, 2), 1);
    /// assert_eq!(receiver.recv_many(&mut buffer, 2), 0);
    /// ```
    pub fn recv_many(&mut self, buffer: &mut Vec<Delivery<E>>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        let first = self.recv();
        self.append(first, buffer, max)
    }

    /// Iterates over deliveries, blocking the thread for each, until the subscription is closed and drained.
    pub fn iter(&mut self) -> Iter<'_, E> {
        Iter { receiver: self }
    }

    /// Iterates over what is queued, without waiting.
    pub fn try_iter(&mut self) -> TryIter<'_, E> {
        TryIter { receiver: self }
    }

    /// `None` if the deadline passes.
    fn recv_by(&mut self, deadline: Option<Instant>) -> Option<Result<Delivery<E>, RecvError>> {
        match self.queue.try_pop() {
            Ok(delivery) => return Some(Ok(delivery)),
            Err(TryRecvError::Closed) => return Some(Err(RecvError)),
            Err(TryRecvError::Empty) => {}
        }
        let BusReceiver { queue, parker, .. } = self;
        // As channels do before they block: a thread that sleeps costs who wakes it far more than the look.
        linger(|| queue.is_ready());
        let parker = parker.get_or_insert_with(Parker::new);
        block_on(parker, deadline, |cx| queue.poll_pop(cx))
    }
}

fn timed<E>(received: Option<Result<Delivery<E>, RecvError>>) -> Result<Delivery<E>, RecvTimeoutError> {
    match received {
        Some(Ok(delivery)) => Ok(delivery),
        Some(Err(RecvError)) => Err(RecvTimeoutError::Closed),
        None => Err(RecvTimeoutError::Timeout),
    }
}

/// # Receiving in a task
impl<E: Payload> BusReceiver<E> {
    /// Takes the next delivery; the task waits until there is one. Cancel safe: a future dropped early has taken
    /// nothing, so it may stand in a `select!`.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the subscription is closed and drained.
    pub fn recv_async(&mut self) -> Recv<'_, E> {
        Recv { receiver: self }
    }

    /// Like [`recv_many`](Self::recv_many), as a task. Cancel safe.
    pub async fn recv_many_async(&mut self, buffer: &mut Vec<Delivery<E>>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        let first = self.recv_async().await;
        self.append(first, buffer, max)
    }

    /// Polls for the next delivery. If it is pending, the task of the latest poll is woken by the next matching event
    /// and by the end of the subscription.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        self.queue.poll_pop(cx)
    }

    fn append(&mut self, first: Result<Delivery<E>, RecvError>, buffer: &mut Vec<Delivery<E>>, max: usize) -> usize {
        let before = buffer.len();
        buffer.extend(first);
        // Nothing follows the end.
        buffer.extend(self.try_iter().take(max - 1));
        buffer.len() - before
    }
}

/// The next delivery; made by [`BusReceiver::recv_async`].
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Recv<'a, E: Payload> {
    receiver: &'a mut BusReceiver<E>,
}

impl<E: Payload> Future for Recv<'_, E> {
    type Output = Result<Delivery<E>, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().receiver.poll_recv(cx)
    }
}

impl<E: Payload> Stream for BusReceiver<E> {
    type Item = Delivery<E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<E>>> {
        self.poll_recv(cx).map(Result::ok)
    }
}

impl<E: Payload> FusedStream for BusReceiver<E> {
    fn is_terminated(&self) -> bool {
        self.queue.is_finished()
    }
}

impl<E: Payload> Drop for BusReceiver<E> {
    fn drop(&mut self) {
        self.shared.close(&self.subscription);
        self.queue.discard();
    }
}

impl<E: Payload> fmt::Debug for BusReceiver<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusReceiver")
            .field("id", &self.id())
            .field("label", &self.label())
            .field("len", &self.len())
            .field("lagged", &self.lagged())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// Deliveries as they come; made by [`BusReceiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, E: Payload> {
    receiver: &'a mut BusReceiver<E>,
}

impl<E: Payload> Iterator for Iter<'_, E> {
    type Item = Delivery<E>;

    fn next(&mut self) -> Option<Delivery<E>> {
        self.receiver.recv().ok()
    }
}

/// Deliveries that are queued; made by [`BusReceiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, E: Payload> {
    receiver: &'a mut BusReceiver<E>,
}

impl<E: Payload> Iterator for TryIter<'_, E> {
    type Item = Delivery<E>;

    fn next(&mut self) -> Option<Delivery<E>> {
        self.receiver.try_recv().ok()
    }
}

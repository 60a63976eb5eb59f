//! The receiving side: [`BusReceiver`], for threads, tasks and streams.
//!
//! A receiver owns the consuming end of one queue. All receive methods use two operations of that queue: `try_pop` and
//! `poll_pop`. The runtime polls a task; a thread polls by itself and parks in between. Dropping the receiver ends the
//! subscription, frees the queued events, and requests its removal from the subscriber list (see `subscribers/mod.rs`).

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::delivery::Delivery;
use crate::end_reason::EndReason;
use crate::error::{RecvError, RecvTimeoutError, TryRecvError};
use crate::event::{Event, Payload};
use crate::filter::EventFilter;
use crate::queue::QueueConsumer;
use crate::shared::Shared;
use crate::subscribers::id::SubscriberId;
use crate::subscribers::list::Subscription;
use crate::sync::exclusive::Exclusive;
use crate::sync::wait::block_on;
use crate::sync::{Arc, Parker, spin_until};

/// The receiving end of a subscription.
///
/// Each receiver has one consumer, so the receive methods take `&mut self`. They can be mixed freely:
///
/// - [`recv`](Self::recv), [`recv_timeout`](Self::recv_timeout), [`recv_deadline`](Self::recv_deadline),
///   [`recv_many`](Self::recv_many) and [`iter`](Self::iter) block the thread while the queue is empty.
/// - [`try_recv`](Self::try_recv) and [`try_iter`](Self::try_iter) never wait.
/// - [`recv_async`](Self::recv_async), [`recv_many_async`](Self::recv_many_async), [`poll_recv`](Self::poll_recv) and
///   the [`Stream`](https://docs.rs/futures-core/0.3/futures_core/stream/trait.Stream.html) implementation wait as a
///   task, on any runtime.
///
/// A receive method reports the end of the subscription only after it has returned all queued events. See
/// [`is_closed`](Self::is_closed) for the ways in which a subscription ends.
///
/// # Cooperation
///
/// A task that receives from a busy bus never waits, and would keep its executor from running other tasks. So a task
/// has a budget, which is spent after at least 192 events and about 0.1 ms without a wait. The next poll then returns
/// `Pending` once although an event is queued, and wakes the task at once. It takes no event. Threads have no budget.
///
/// A future that is polled only once, for example by `now_or_never`, can therefore miss a queued event once per budget.
/// Use [`try_recv`](Self::try_recv) to receive without waiting.
///
/// # Dropping
///
/// A receiver does not keep the bus alive. Dropping a receiver ends its subscription and frees its queued events before
/// the drop returns. The dispatch thread soon removes the subscription from the list, without waiting for an event.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
///
/// let bus = SharingBus::new();
/// let mut receiver = bus.subscribe_all();
/// for text in ["one", "two", "three"] {
///     bus.publish(BusEvent::new(EventRouting::default(), Event::Text { text: text.into() })).unwrap();
/// }
/// bus.shutdown();
///
/// assert_eq!(*receiver.recv().unwrap().event, Event::Text { text: "one".into() });
/// assert_eq!(receiver.iter().count(), 2);
/// assert!(receiver.recv().is_err());
/// ```
pub struct BusReceiver<E: Payload = Event> {
    shared: Arc<Shared<E>>,
    subscription: Arc<Subscription<E>>,
    queue: QueueConsumer<E>,
    /// The thread parker. The first blocking receive creates it.
    parker: Exclusive<Option<Parker>>,
}

/// # Receiving in a thread
impl<E: Payload> BusReceiver<E> {
    /// Returns the next delivery; blocks the thread until there is one.
    ///
    /// The thread first spins and yields for some microseconds, as in crossbeam's channels, and then sleeps. In async
    /// code, use [`recv_async`](Self::recv_async). This method does not detect a task and blocks its thread without a
    /// panic, unlike `blocking_recv` of tokio's channels. Do not call this method on the dispatch thread, for example
    /// in a payload's `Drop`, because that thread would wait for itself.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the subscription has ended and the queue is empty.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
    /// use std::thread;
    ///
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// let reader = thread::spawn(move || {
    ///     while let Ok(delivery) = receiver.recv() {
    ///         assert_eq!(*delivery.event, Event::Connected);
    ///     }
    /// });
    ///
    /// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    /// bus.shutdown();
    /// reader.join().unwrap();
    /// ```
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

    /// Returns the next delivery if one is queued. Never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if the queue is empty, [`TryRecvError::Closed`] once the subscription has also ended.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus, TryRecvError};
    ///
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    ///
    /// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    /// bus.shutdown();
    /// assert!(receiver.try_recv().is_ok());
    /// assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    /// ```
    #[inline]
    pub fn try_recv(&mut self) -> Result<Delivery<E>, TryRecvError> {
        self.queue.try_pop()
    }

    /// Returns the next delivery; blocks the thread for at most `timeout`. A receive that times out has taken no
    /// delivery.
    ///
    /// The timeout measures real time, also under a paused clock of an async runtime. In async code, use
    /// [`recv_async`](Self::recv_async) with a timer of the runtime, because this method blocks the thread of a task
    /// without a panic. Do not call it on the dispatch thread, which it would only delay.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if no delivery arrived within `timeout`, [`RecvTimeoutError::Closed`] once the
    /// subscription has ended and the queue is empty.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Delivery<E>, RecvTimeoutError> {
        // A timeout beyond the range of `Instant` means no deadline.
        timed(self.recv_by(Instant::now().checked_add(timeout)))
    }

    /// Returns the next delivery; blocks the thread until `deadline` at most, in the same way as
    /// [`recv_timeout`](Self::recv_timeout).
    ///
    /// # Errors
    ///
    /// The same as for [`recv_timeout`](Self::recv_timeout).
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<Delivery<E>, RecvTimeoutError> {
        timed(self.recv_by(Some(deadline)))
    }

    /// Appends up to `max` deliveries to `buffer`; blocks the thread until there is at least one. Returns the number of
    /// deliveries appended, which is 0 only if `max` is 0 or if the subscription has ended and the queue is empty. The
    /// call blocks in the same way as [`recv`](Self::recv).
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

    /// Returns an iterator that blocks the thread for each delivery, in the same way as [`recv`](Self::recv). It ends
    /// once the subscription has ended and the queue is empty. The lower bound of its size hint is the number of queued
    /// events.
    pub fn iter(&mut self) -> Iter<'_, E> {
        Iter { receiver: self }
    }

    /// Returns an iterator over the queued deliveries. It never waits, and ends once the queue is empty. The lower
    /// bound of its size hint is the number of queued events.
    pub fn try_iter(&mut self) -> TryIter<'_, E> {
        TryIter { receiver: self }
    }

    /// Returns `None` if the deadline passes.
    fn recv_by(&mut self, deadline: Option<Instant>) -> Option<Result<Delivery<E>, RecvError>> {
        match self.queue.try_pop() {
            Ok(delivery) => return Some(Ok(delivery)),
            Err(TryRecvError::Closed) => return Some(Err(RecvError)),
            Err(TryRecvError::Empty) => {}
        }
        let BusReceiver { queue, parker, .. } = self;
        // Spin before sleeping, as channels do. Waking a sleeping thread costs the dispatch thread far more.
        spin_until(|| queue.is_ready());
        let parker = parker.get_mut().get_or_insert_with(Parker::new);
        let received = block_on(parker, deadline, |cx| queue.poll_pop_entry(cx));
        if received.is_none() {
            queue.discard_waker();
        }
        received
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
    /// Returns a future of the next delivery. The task waits until there is one.
    ///
    /// The future is cancel safe: if it is dropped before it is ready, it has taken no delivery. It can be used in a
    /// `select!`. An event that arrives after the drop does not wake the task. The task has [a
    /// budget](Self#cooperation).
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the subscription has ended and the queue is empty.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// bus.publish_async(BusEvent::new(EventRouting::default(), Event::Connected)).await.unwrap();
    ///
    /// let delivery = receiver.recv_async().await.unwrap();
    /// assert_eq!(*delivery.event, Event::Connected);
    /// # })
    /// ```
    pub fn recv_async(&mut self) -> Recv<'_, E> {
        Recv {
            receive: Receive {
                receiver: self,
                waits: false,
            },
        }
    }

    /// Appends up to `max` deliveries to `buffer`; the task waits until there is at least one. Returns the same number
    /// as [`recv_many`](Self::recv_many).
    ///
    /// The future is cancel safe: if it is dropped before it is ready, it has taken no delivery. The task has [a
    /// budget](Self#cooperation), but one call can take more events than the rest of the budget.
    pub async fn recv_many_async(&mut self, buffer: &mut Vec<Delivery<E>>, max: usize) -> usize {
        if max == 0 {
            return 0;
        }
        let first = self.recv_async().await;
        self.append(first, buffer, max)
    }

    /// Polls for the next delivery. Never blocks the thread. A call that returns [`Poll::Pending`] has taken no
    /// delivery.
    ///
    /// If the queue is empty, this method returns [`Poll::Pending`] and stores the waker of `cx`, which replaces any
    /// earlier waker. The next matching event or the end of the subscription wakes the stored waker. A wake-up may be
    /// spurious. Once the [budget](Self#cooperation) is spent, this method returns `Pending` once although an event is
    /// queued, and wakes the task at once.
    ///
    /// A panic of a waker is contained, unless the clone of this waker panics twice. That panic reaches the caller, and
    /// no waker is stored. The receiver works afterward.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the subscription has ended and the queue is empty.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        self.queue.poll_pop(cx)
    }

    fn append(&mut self, first: Result<Delivery<E>, RecvError>, buffer: &mut Vec<Delivery<E>>, max: usize) -> usize {
        let before = buffer.len();
        buffer.extend(first);
        // If `first` is the end, `try_iter` returns no delivery.
        buffer.extend(self.try_iter().take(max - 1));
        buffer.len() - before
    }
}

/// # The subscription
impl<E: Payload> BusReceiver<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, subscription: Arc<Subscription<E>>, queue: QueueConsumer<E>) -> Self {
        BusReceiver {
            shared,
            subscription,
            queue,
            parker: Exclusive::new(None),
        }
    }

    /// Returns the number of matching events that this subscriber has lost so far.
    ///
    /// It is the sum of [`Delivery::missed`] over all deliveries and of the losses since the last delivery, which no
    /// delivery reports if the subscription ends. It is never less than the sum over the deliveries received so far. It
    /// may trail the dispatch thread by a batch, and is exact after a [`flush`](crate::SharingBus::flush) if no thread
    /// publishes.
    pub fn lagged(&self) -> u64 {
        self.queue.lagged()
    }

    /// Returns the number of [essential](crate::SubscriptionBuilder::essential) events among the events lost so far. It
    /// is 0 if the subscription names no essential events.
    ///
    /// The number may trail the dispatch thread by a batch, and is exact after a
    /// [`flush`](crate::SharingBus::flush) if no thread publishes.
    pub fn lagged_essential(&self) -> u64 {
        self.subscription.queue.lagged_essential()
    }

    /// Returns the number of matching events that were merged into other events of the queue so far. It is 0 unless the
    /// queue conflates ([`Overflow::Conflate`](crate::Overflow::Conflate)).
    ///
    /// It is the sum of [`Delivery::merged`] over all deliveries, received or still queued. It may trail the dispatch
    /// thread by a batch, and is exact after a [`flush`](crate::SharingBus::flush) if no thread publishes.
    pub fn merged(&self) -> u64 {
        self.queue.merged()
    }

    /// Returns the number of queued events.
    ///
    /// The number may be stale at once, because the dispatch thread may add events. The receiver can receive at least
    /// that many without waiting: only this receiver takes events out, and an event that displaces the oldest one takes
    /// its place. The number exceeds the [capacity](Self::capacity) only in a conflating queue after the bus has ended.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Returns bounds of the number of deliveries that follow: at least the queued ones, and none after the end.
    fn remaining(&self) -> (usize, Option<usize>) {
        (self.len(), self.queue.is_finished().then_some(0))
    }

    /// Returns `true` if no event is queued. `true` may be stale at once.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the capacity of the queue, in events.
    pub fn capacity(&self) -> usize {
        self.subscription.queue.capacity()
    }

    /// Returns `true` if the subscription has ended. [`end_reason`](Self::end_reason) returns the reason.
    ///
    /// Events may still be queued. `true` never changes back, and `false` may be stale at once.
    ///
    /// Right after the bus was closed, or its last handle dropped, the method returns `false`: the bus ends only once
    /// it has dispatched all accepted events. It returns `true` after a [`shutdown`](crate::SharingBus::shutdown), or
    /// after [`close`](crate::SharingBus::close) and a [`flush`](crate::SharingBus::flush).
    pub fn is_closed(&self) -> bool {
        self.subscription.queue.is_closed()
    }

    /// Returns the reason for which the subscription has ended, or `None` while it is open.
    ///
    /// Events may still be queued. A reason never changes, and `None` may be stale at once.
    ///
    /// ```
    /// # use sharing_bus::{BusEvent, EndReason, Event, EventRouting, Overflow, SharingBus};
    /// let bus = SharingBus::new();
    /// let strict = bus.subscription().queue_capacity(1).overflow(Overflow::Disconnect).subscribe();
    /// assert_eq!(strict.end_reason(), None);
    /// for _ in 0..2 {
    ///     bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    /// }
    /// bus.flush();
    /// assert_eq!(strict.end_reason(), Some(EndReason::Overflowed));
    /// ```
    pub fn end_reason(&self) -> Option<EndReason> {
        self.subscription.queue.end_reason()
    }

    /// Ends the subscription. Returns `true` if this call ended it.
    ///
    /// The bus queues no further events, and calls none of the subscription's functions again. [The
    /// guarantees](crate::docs::guarantees#the-end-of-a-subscription) define which event can still be under way. The
    /// queued events stay readable. After them, every receive method reports the end of the subscription.
    ///
    /// ```
    /// # use sharing_bus::{BusEvent, Event, EventRouting, SharingBus, TryRecvError};
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    /// bus.flush();
    ///
    /// assert!(receiver.close());
    /// assert!(receiver.try_recv().is_ok());
    /// assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    /// ```
    pub fn close(&mut self) -> bool {
        self.shared.close(&self.subscription)
    }

    /// Replaces the filter. Has no effect on a subscription that has ended.
    ///
    /// Each event whose `publish` begins after this call returns is matched against the new filter. An event that was
    /// accepted earlier and is not yet dispatched may be matched against either filter. Queued events stay in the
    /// queue. The call never waits for the dispatch thread. It copies a part of the subscriber list.
    ///
    /// ```
    /// # use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8);
    /// receiver.set_filter(EventFilter::Kind(EventKind::Output));
    /// bus.publish(BusEvent::new(EventRouting::session("c", "s", EventKind::Output), Event::Connected)).unwrap();
    /// assert_eq!(receiver.recv().unwrap().routing.kind, EventKind::Output);
    /// ```
    ///
    /// # Panics
    ///
    /// If the filter is [nested](EventFilter#nesting) too deeply.
    #[track_caller]
    pub fn set_filter(&self, filter: EventFilter<E>) {
        filter.assert_depth();
        self.shared.set_filter(self.id(), filter);
    }

    /// Returns the id of this subscription, for [`SharingBus::unsubscribe`](crate::SharingBus::unsubscribe).
    pub fn id(&self) -> SubscriberId {
        self.subscription.id
    }

    /// Returns the [label](crate::SubscriptionBuilder::label) of this subscription.
    pub fn label(&self) -> Option<&str> {
        self.subscription.label.as_deref()
    }
}

/// The future of the next delivery; returned by [`BusReceiver::recv_async`].
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Recv<'a, E: Payload> {
    receive: Receive<'a, E>,
}

/// A receive of one event. If it is dropped while it waits, no event wakes its task any longer.
#[derive(Debug)]
struct Receive<'a, E: Payload> {
    receiver: &'a mut BusReceiver<E>,
    /// The last poll returned `Pending`, so the queue may hold the waker of this task.
    waits: bool,
}

impl<E: Payload> Receive<'_, E> {
    /// Receives the first event of the next entry into `next`, which stays `None` at the end of the subscription.
    // The result of `poll` must not be passed to a call by reference. Otherwise the compiler keeps it in memory also on
    // the fast path, which costs a tenth of the time with many subscribers.
    #[inline(never)]
    fn poll_next_entry(&mut self, cx: &mut Context<'_>, next: &mut Option<Delivery<E>>) -> Poll<()> {
        let polled = self.receiver.queue.poll_pop(cx);
        self.waits = polled.is_pending();
        polled.map(|received| *next = received.ok())
    }
}

impl<E: Payload> Drop for Receive<'_, E> {
    #[inline]
    fn drop(&mut self) {
        if self.waits {
            self.receiver.queue.discard_waker();
        }
    }
}

impl<E: Payload> Future for Recv<'_, E> {
    type Output = Result<Delivery<E>, RecvError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let receive = &mut self.get_mut().receive;
        // The fast path ends here, so that the delivery is not copied once more as the future is dropped.
        if let Some(delivery) = receive.receiver.queue.pop_within_budget() {
            receive.waits = false;
            return Poll::Ready(Ok(delivery));
        }
        let mut next = None;
        receive.poll_next_entry(cx, &mut next).map(|()| next.ok_or(RecvError))
    }
}

/// A stream of deliveries. It ends once the subscription has ended and the queue is empty. A future of its next item is
/// cancel safe. If that future is dropped while it waits, the next event still wakes its task. The task has [a
/// budget](BusReceiver#cooperation). The lower bound of the size hint is the number of queued events.
impl<E: Payload> Stream for BusReceiver<E> {
    type Item = Delivery<E>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery<E>>> {
        self.poll_recv(cx).map(Result::ok)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.remaining()
    }
}

impl<E: Payload> FusedStream for BusReceiver<E> {
    fn is_terminated(&self) -> bool {
        self.queue.is_finished()
    }
}

impl<E: Payload> Drop for BusReceiver<E> {
    fn drop(&mut self) {
        // Before the close, which would wake the task that drops the receiver.
        self.queue.discard_waker();
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

/// A blocking iterator over deliveries; returned by [`BusReceiver::iter`].
#[derive(Debug)]
pub struct Iter<'a, E: Payload> {
    receiver: &'a mut BusReceiver<E>,
}

impl<E: Payload> Iterator for Iter<'_, E> {
    type Item = Delivery<E>;

    fn next(&mut self) -> Option<Delivery<E>> {
        self.receiver.recv().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.receiver.remaining()
    }
}

/// An iterator over the queued deliveries that never waits; returned by [`BusReceiver::try_iter`].
#[derive(Debug)]
pub struct TryIter<'a, E: Payload> {
    receiver: &'a mut BusReceiver<E>,
}

impl<E: Payload> Iterator for TryIter<'_, E> {
    type Item = Delivery<E>;

    fn next(&mut self) -> Option<Delivery<E>> {
        self.receiver.try_recv().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.receiver.remaining()
    }
}

//! Events of other nodes on the local bus: [`Remote`], an interest in such events, and [`RemoteReceiver`], a
//! subscription that also reports losses on the way.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use sharing_bus::{
    Delivery, EventFilter, EventOrigin, Forward, Payload, RecvError, RecvTimeoutError, SharingBus, Sink, SinkError,
    TryRecvError,
};
use tokio::sync::mpsc;

use crate::import::command::{Command, CommandSender};
use crate::import::gaps::Gaps;
use crate::import::received::Gap;
use crate::runtime::latch::Latch;

/// An interest in the events of other nodes that match a filter, created by
/// [`NatsBridge::subscribe_remote`](crate::NatsBridge::subscribe_remote). While the value exists, each such event is
/// published once on the local bus, with the origin [`Remote`](EventOrigin::Remote). Every subscriber of the local bus
/// can receive it.
///
/// Dropping the value ends the interest. Events that have arrived by then are still published.
#[must_use = "dropping it ends the interest"]
pub struct Remote<E: Payload> {
    pub(crate) id: u64,
    pub(crate) filter: EventFilter<E>,
    /// The filter of receivers on the local bus.
    pub(crate) local: EventFilter<E>,
    pub(crate) bus: SharingBus<E>,
    pub(crate) commands: CommandSender<E>,
    pub(crate) gaps: Arc<Gaps<E>>,
    pub(crate) ready: Arc<Latch>,
}

impl<E: Payload> Remote<E> {
    /// Returns whether a server has the subscriptions of this interest. From then on, events that other nodes export
    /// arrive here. Once true, the result stays true, even while the connection is broken.
    pub fn is_ready(&self) -> bool {
        self.ready.is_open()
    }

    /// Blocks the calling thread until [`is_ready`](Self::is_ready) is true, for at most `timeout`. Returns whether it
    /// is true.
    pub fn wait_ready(&self, timeout: Duration) -> bool {
        self.ready.wait(timeout)
    }

    /// Subscribes on the local bus to remote events that match the filter, with a queue of `capacity` events. The
    /// [missed](RemoteDelivery::missed) count of this receiver includes losses on the way.
    ///
    /// The receiver also receives matching events that are imported only for another [`Remote`] of this bridge.
    ///
    /// # Panics
    ///
    /// If the capacity is zero.
    #[track_caller]
    pub fn receiver(&self, capacity: usize) -> RemoteReceiver<E> {
        let (sender, receiver) = mpsc::channel(capacity);
        let sink = RemoteSink {
            gaps: Arc::clone(&self.gaps),
            sender,
            pending_gap: Gap::default(),
        };
        let forward = self
            .bus
            .subscription()
            .filter(self.local.clone())
            .label("nats remote")
            .forward_to(sink);
        RemoteReceiver { forward, receiver }
    }
}

impl<E: Payload> Drop for Remote<E> {
    fn drop(&mut self) {
        // The send fails if the bridge has ended, and all interests with it.
        let _ = self.commands.send(Command::RemoveInterest(self.id));
    }
}

impl<E: Payload> fmt::Debug for Remote<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("filter", &self.filter)
            .field("ready", &self.is_ready())
            .finish_non_exhaustive()
    }
}

/// Returns the filter for the local bus: imported events that may match `filter`. Panics if that filter is nested too
/// deeply.
#[track_caller]
pub(crate) fn local_filter<E: Payload>(bus: &SharingBus<E>, filter: &EventFilter<E>) -> EventFilter<E> {
    // The builder checks the depth before `without_origin` recurses.
    drop(bus.subscription().filter(filter.clone()));
    let origin = EventFilter::Origin(EventOrigin::Remote);
    EventFilter::all([origin, without_origin(filter, true)])
}

/// Returns the filter without its conditions on the origin, because the origin of every imported event on the local
/// bus is `Remote`. Each condition on the origin is replaced by the constant `replacement`, which flips below a `not`.
/// With `true`, the result matches a superset of the filter. The importer has already evaluated the conditions with
/// the event's original origin.
fn without_origin<E>(filter: &EventFilter<E>, replacement: bool) -> EventFilter<E> {
    let each = |filters: &[EventFilter<E>]| {
        let filters = filters.iter().map(|filter| without_origin(filter, replacement));
        filters.collect::<Vec<_>>()
    };
    match filter {
        EventFilter::Origin(_) if replacement => EventFilter::All,
        EventFilter::Origin(_) => EventFilter::any([]),
        EventFilter::Any(filters) => EventFilter::any(each(filters)),
        EventFilter::Every(filters) => EventFilter::all(each(filters)),
        EventFilter::Not(filter) => EventFilter::not(without_origin(filter, !replacement)),
        other => other.clone(),
    }
}

/// A receiver of remote events, created by [`Remote::receiver`]. It works like
/// [`BusReceiver`](sharing_bus::BusReceiver) and has one consumer. Its queue drops the newest event when it is full.
pub struct RemoteReceiver<E: Payload> {
    forward: Forward<E>,
    receiver: mpsc::Receiver<RemoteDelivery<E>>,
}

impl<E: Payload> RemoteReceiver<E> {
    /// Returns the next delivery. Never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if the queue is empty, [`TryRecvError::Closed`] if the queue is empty and the bus is
    /// closed.
    pub fn try_recv(&mut self) -> Result<RemoteDelivery<E>, TryRecvError> {
        self.receiver.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Closed,
        })
    }

    /// Returns the next delivery. Blocks the calling thread until one arrives.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the bus is closed and the queue is empty.
    pub fn recv(&mut self) -> Result<RemoteDelivery<E>, RecvError> {
        self.recv_by(None).flatten().ok_or(RecvError)
    }

    /// Returns the next delivery. Blocks the calling thread for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if no event arrives in time, [`RecvTimeoutError::Closed`] once the bus is closed
    /// and the queue is empty.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<RemoteDelivery<E>, RecvTimeoutError> {
        // A timeout that overflows the clock means no timeout.
        match self.recv_by(Instant::now().checked_add(timeout)) {
            Some(Some(delivery)) => Ok(delivery),
            Some(None) => Err(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Returns the next delivery. Waits until one arrives, on any async runtime. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the bus is closed and the queue is empty.
    pub async fn recv_async(&mut self) -> Result<RemoteDelivery<E>, RecvError> {
        self.receiver.recv().await.ok_or(RecvError)
    }

    /// Returns the number of matching events that were dropped because this queue was full. The count may trail the
    /// dispatch thread by one batch.
    pub fn lagged(&self) -> u64 {
        self.forward.lagged()
    }

    /// Returns the number of queued events.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Returns whether the queue is empty. A result of true may be out of date immediately.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// Returns `None` if the deadline passes, and `Some(None)` once the bus is closed and the queue is empty.
    fn recv_by(&mut self, deadline: Option<Instant>) -> Option<Option<RemoteDelivery<E>>> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(delivery) = self.receiver.poll_recv(&mut cx) {
                return Some(delivery);
            }
            match deadline {
                None => thread::park(),
                Some(deadline) => match deadline.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => thread::park_timeout(left),
                    _ => return None,
                },
            }
        }
    }
}

/// A waker that unparks a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<E: Payload> Drop for RemoteReceiver<E> {
    fn drop(&mut self) {
        self.forward.close();
    }
}

impl<E: Payload> fmt::Debug for RemoteReceiver<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteReceiver")
            .field("len", &self.len())
            .field("lagged", &self.lagged())
            .finish_non_exhaustive()
    }
}

/// A remote event as delivered to a [`RemoteReceiver`]. It dereferences to the [`Delivery`] on the local bus. It
/// reports the losses before the event, both in this receiver's queue and on the way.
pub struct RemoteDelivery<E> {
    delivery: Delivery<E>,
    gap: Gap,
}

impl<E> RemoteDelivery<E> {
    /// Returns the number of events missing directly before this one. This includes events dropped because this
    /// receiver's queue was full. It also includes events of the same source and subject (session, kind and class) that
    /// did not arrive or could not be sent. Some of these events may not match the filter. They count because this node
    /// never received them.
    ///
    /// Two kinds of losses are not included. Events lost before the first received message of their subject cannot be
    /// distinguished from events sent before this node subscribed. Events lost at the end are reported only when
    /// another event of the subject follows.
    pub fn missed(&self) -> u64 {
        self.delivery.missed() + self.gap.of_subject
    }

    /// Returns the number of events that the source's bridge lost because its own queue was full. The count covers the
    /// time since the previous message from that source. The sessions of the lost events are unknown, so any number of
    /// them may have matched the filter.
    pub fn missed_at_source(&self) -> u64 {
        self.gap.at_source
    }
}

impl<E> Deref for RemoteDelivery<E> {
    type Target = Delivery<E>;

    fn deref(&self) -> &Delivery<E> {
        &self.delivery
    }
}

impl<E> fmt::Debug for RemoteDelivery<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteDelivery")
            .field("missed", &self.missed())
            .field("missed_at_source", &self.missed_at_source())
            .field("event", &*self.delivery)
            .finish()
    }
}

/// The sink into which the dispatch thread delivers a receiver's events.
struct RemoteSink<E> {
    gaps: Arc<Gaps<E>>,
    sender: mpsc::Sender<RemoteDelivery<E>>,
    /// The losses on the way that preceded events dropped by the full queue.
    pending_gap: Gap,
}

impl<E: Payload> Sink<E> for RemoteSink<E> {
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>> {
        let gap = self.pending_gap.plus(self.gaps.before(&delivery.event));
        match self.sender.try_send(RemoteDelivery { delivery, gap }) {
            Ok(()) => {
                self.pending_gap = Gap::default();
                Ok(())
            }
            Err(mpsc::error::TrySendError::Full(refused)) => {
                self.pending_gap = gap;
                Err(SinkError::Full(refused.delivery))
            }
            Err(mpsc::error::TrySendError::Closed(refused)) => Err(SinkError::Closed(refused.delivery)),
        }
    }
}

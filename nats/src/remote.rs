//! What a host has of other nodes' events: [`Remote`], the wish to have them on the local bus, and [`RemoteReceiver`], a
//! subscription that also tells what was lost on the way.

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

/// The wish to have the events of other nodes that match a filter; made by
/// [`NatsBridge::subscribe_remote`](crate::NatsBridge::subscribe_remote). While it is kept, they are published on the local
/// bus, each once, with the origin [`Remote`](EventOrigin::Remote), for whoever subscribes there.
///
/// Dropping it ends the wish; what has arrived by then is published still.
#[must_use = "dropping it ends the wish"]
pub struct Remote<E: Payload> {
    pub(crate) id: u64,
    pub(crate) filter: EventFilter<E>,
    pub(crate) bus: SharingBus<E>,
    pub(crate) commands: CommandSender<E>,
    pub(crate) gaps: Arc<Gaps<E>>,
    pub(crate) ready: Arc<Latch>,
}

impl<E: Payload> Remote<E> {
    /// Whether a server has been heard to know of this wish, so that what other nodes export from then on comes here. True
    /// stays true, also while the connection is broken.
    pub fn is_ready(&self) -> bool {
        self.ready.is_open()
    }

    /// Blocks the thread until [`is_ready`](Self::is_ready), for at most `timeout`, and says whether it is.
    pub fn wait_ready(&self, timeout: Duration) -> bool {
        self.ready.wait(timeout)
    }

    /// Subscribes on the local bus to remote events that match the filter, with room for `capacity` of them. What this
    /// receiver tells as [missed](RemoteDelivery::missed) includes what was lost on the way.
    ///
    /// What another [`Remote`] of this bridge asks for and this filter matches too comes here as well.
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
        let origin = EventFilter::Origin(EventOrigin::Remote);
        let filter = EventFilter::all([origin, without_origin(&self.filter, true)]);
        let forward = self
            .bus
            .subscription()
            .filter(filter)
            .label("nats remote")
            .forward_to(sink);
        RemoteReceiver { forward, receiver }
    }
}

impl<E: Payload> Drop for Remote<E> {
    fn drop(&mut self) {
        // The bridge may be gone, and its wishes with it.
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

/// The filter as far as it can be told on the local bus, where each event's origin is that it is remote: what it says of
/// origins matches (or under a `not` fails to) whatever they are. The importer has asked it of the event's own.
fn without_origin<E>(filter: &EventFilter<E>, otherwise: bool) -> EventFilter<E> {
    let each = |filters: &[EventFilter<E>]| {
        let filters = filters.iter().map(|filter| without_origin(filter, otherwise));
        filters.collect::<Vec<_>>()
    };
    match filter {
        EventFilter::Origin(_) if otherwise => EventFilter::All,
        EventFilter::Origin(_) => EventFilter::any([]),
        EventFilter::Any(filters) => EventFilter::any(each(filters)),
        EventFilter::Every(filters) => EventFilter::all(each(filters)),
        EventFilter::Not(filter) => EventFilter::not(without_origin(filter, !otherwise)),
        other => other.clone(),
    }
}

/// A receiver of remote events, made by [`Remote::receiver`]. It has one consumer. It receives as the bus's own
/// [`BusReceiver`](sharing_bus::BusReceiver) does, from a queue that loses the newest when it is full.
pub struct RemoteReceiver<E: Payload> {
    forward: Forward<E>,
    receiver: mpsc::Receiver<RemoteDelivery<E>>,
}

impl<E: Payload> RemoteReceiver<E> {
    /// Takes the next delivery if there is one; never waits.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] if nothing is queued now, [`TryRecvError::Closed`] if nothing ever will be.
    pub fn try_recv(&mut self) -> Result<RemoteDelivery<E>, TryRecvError> {
        self.receiver.try_recv().map_err(|error| match error {
            mpsc::error::TryRecvError::Empty => TryRecvError::Empty,
            mpsc::error::TryRecvError::Disconnected => TryRecvError::Closed,
        })
    }

    /// Takes the next delivery; blocks the thread until there is one.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the bus is closed and the queue drained.
    pub fn recv(&mut self) -> Result<RemoteDelivery<E>, RecvError> {
        self.recv_by(None).flatten().ok_or(RecvError)
    }

    /// Takes the next delivery; blocks the thread for at most `timeout`.
    ///
    /// # Errors
    ///
    /// [`RecvTimeoutError::Timeout`] if none came in time, [`RecvTimeoutError::Closed`] once the bus is closed and the queue
    /// drained.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<RemoteDelivery<E>, RecvTimeoutError> {
        // A timeout beyond what the clock can tell is none.
        match self.recv_by(Instant::now().checked_add(timeout)) {
            Some(Some(delivery)) => Ok(delivery),
            Some(None) => Err(RecvTimeoutError::Closed),
            None => Err(RecvTimeoutError::Timeout),
        }
    }

    /// Takes the next delivery; the task waits until there is one, on any runtime. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`RecvError`] once the bus is closed and the queue drained.
    pub async fn recv_async(&mut self) -> Result<RemoteDelivery<E>, RecvError> {
        self.receiver.recv().await.ok_or(RecvError)
    }

    /// How many matching events found this queue full so far. It may trail the dispatch thread by a batch.
    pub fn lagged(&self) -> u64 {
        self.forward.lagged()
    }

    /// How many events are queued.
    pub fn len(&self) -> usize {
        self.receiver.len()
    }

    /// Whether nothing is queued. True may be stale at once.
    pub fn is_empty(&self) -> bool {
        self.receiver.is_empty()
    }

    /// `None` if the deadline passes, `Some(None)` at the end.
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

/// A remote event as a [`RemoteReceiver`] gets it: the [`Delivery`] on the local bus (by `Deref`), and what was lost before
/// it, here and on the way.
pub struct RemoteDelivery<E> {
    delivery: Delivery<E>,
    gap: Gap,
}

impl<E> RemoteDelivery<E> {
    /// How many events are missing right before this one: those that this receiver had no room for, and those of its source
    /// and its very subject (session, kind and class) that were sent and did not come, or could not be sent. Of the latter,
    /// those that the filter would have refused count too, for nobody here has seen them.
    ///
    /// It is not told: what was lost of a subject before its first message came here, for that cannot be told from what was
    /// sent before this node listened; and what was lost last of all, until something follows it.
    pub fn missed(&self) -> u64 {
        self.delivery.missed() + self.gap.of_subject
    }

    /// How many events the bridge of the source lost, for its own queue was full, since the last message of that source that
    /// came here. Nobody knows of which sessions they were, so some of them may have been of interest here, or all, or none.
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

/// Where the dispatch thread puts a receiver's events.
struct RemoteSink<E> {
    gaps: Arc<Gaps<E>>,
    sender: mpsc::Sender<RemoteDelivery<E>>,
    /// What was lost on the way before events that found no room.
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

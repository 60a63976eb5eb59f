//! Your own channel as a queue: [`Sink`], and the [`Forward`] that tells of it.
//!
//! Owns nothing. The dispatch thread has the sink and calls it under no lock and behind the panic boundary. The channels named
//! here are the hosts', no primitives of this crate's.

use std::fmt;
use std::sync::mpsc;

use crate::delivery::Delivery;
use crate::event::{Event, Payload};
use crate::filter::EventFilter;
use crate::queue::QueueState;
use crate::shared::Shared;
use crate::subscribers::{SubscriberId, Subscription};
use crate::sync::panic;
use crate::sync::{Arc, Panicked};

/// Where a subscription delivers if it has no queue of its own: the sending half of a channel that the host already has; see
/// [`forward_to`](crate::SubscriptionBuilder::forward_to).
///
/// Implemented for [`crossbeam_channel::Sender`], for [`std::sync::mpsc::SyncSender`], and, behind the features of these
/// names, for the senders of tokio's bounded mpsc channel and of flume. For anything else:
///
/// ```
/// use sharing_bus::{BusEvent, Delivery, EventRouting, SharingBus, Sink, SinkError};
/// use std::sync::{Arc, Mutex};
///
/// struct LastOne(Arc<Mutex<Option<u64>>>);
///
/// impl Sink<u64> for LastOne {
///     fn try_send(&mut self, delivery: Delivery<u64>) -> Result<(), SinkError<u64>> {
///         *self.0.lock().unwrap() = Some(*delivery.event);
///         Ok(())
///     }
/// }
///
/// let bus = SharingBus::new();
/// let last = Arc::new(Mutex::new(None));
/// bus.subscription().forward_to(LastOne(Arc::clone(&last)));
/// bus.publish(BusEvent::new(EventRouting::default(), 7)).unwrap();
/// bus.flush();
/// assert_eq!(*last.lock().unwrap(), Some(7));
/// ```
pub trait Sink<E>: Send + 'static {
    /// Takes a delivery, or gives it back.
    ///
    /// Called on the dispatch thread, for one event after the other: it must be quick and never wait. A panic in it loses
    /// that event and ends the subscription.
    ///
    /// # Errors
    ///
    /// [`SinkError::Full`] if there is no room: the event counts as lost. [`SinkError::Closed`] if nobody receives any
    /// more: the subscription ends.
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>>;
}

/// Why a [`Sink`] did not take a delivery, and the delivery itself.
pub enum SinkError<E = Event> {
    /// There is no room.
    Full(Delivery<E>),
    /// Nobody receives any more.
    Closed(Delivery<E>),
}

impl<E> fmt::Debug for SinkError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SinkError::Full(_) => "Full(..)",
            SinkError::Closed(_) => "Closed(..)",
        })
    }
}

impl<E> fmt::Display for SinkError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SinkError::Full(_) => "forwarding to a full channel",
            SinkError::Closed(_) => "forwarding to a closed channel",
        })
    }
}

impl<E> std::error::Error for SinkError<E> {}

impl<E: Payload> Sink<E> for crossbeam_channel::Sender<Delivery<E>> {
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>> {
        crossbeam_channel::Sender::try_send(self, delivery).map_err(|refused| match refused {
            crossbeam_channel::TrySendError::Full(delivery) => SinkError::Full(delivery),
            crossbeam_channel::TrySendError::Disconnected(delivery) => SinkError::Closed(delivery),
        })
    }
}

impl<E: Payload> Sink<E> for mpsc::SyncSender<Delivery<E>> {
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>> {
        mpsc::SyncSender::try_send(self, delivery).map_err(|refused| match refused {
            mpsc::TrySendError::Full(delivery) => SinkError::Full(delivery),
            mpsc::TrySendError::Disconnected(delivery) => SinkError::Closed(delivery),
        })
    }
}

#[cfg(feature = "tokio")]
impl<E: Payload> Sink<E> for tokio::sync::mpsc::Sender<Delivery<E>> {
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>> {
        use tokio::sync::mpsc::error::TrySendError;
        tokio::sync::mpsc::Sender::try_send(self, delivery).map_err(|refused| match refused {
            TrySendError::Full(delivery) => SinkError::Full(delivery),
            TrySendError::Closed(delivery) => SinkError::Closed(delivery),
        })
    }
}

#[cfg(feature = "flume")]
impl<E: Payload> Sink<E> for flume::Sender<Delivery<E>> {
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>> {
        flume::Sender::try_send(self, delivery).map_err(|refused| match refused {
            flume::TrySendError::Full(delivery) => SinkError::Full(delivery),
            flume::TrySendError::Disconnected(delivery) => SinkError::Closed(delivery),
        })
    }
}

/// The host's sink, for the dispatch thread. It may be dropped wherever the last state of the subscriber list that has it
/// ends, so it brings its own panic boundary.
pub(crate) struct HostSink<E>(Option<Box<dyn Sink<E>>>);

impl<E: 'static> HostSink<E> {
    pub(crate) fn new(sink: impl Sink<E>) -> Self {
        HostSink(Some(Box::new(sink)))
    }

    /// `Err` if it panicked, and lost the delivery in that.
    pub(crate) fn try_send(&mut self, delivery: Delivery<E>) -> Result<Result<(), SinkError<E>>, Panicked> {
        match &mut self.0 {
            Some(sink) => panic::run(|| sink.try_send(delivery)),
            None => Ok(Err(SinkError::Closed(delivery))),
        }
    }
}

impl<E> Drop for HostSink<E> {
    fn drop(&mut self) {
        panic::discard(self.0.take());
    }
}

/// A subscription that delivers into a channel of the host's; made by
/// [`forward_to`](crate::SubscriptionBuilder::forward_to).
///
/// It only tells of the subscription: it keeps no bus alive, and dropping it ends nothing.
pub struct Forward<E: Payload = Event> {
    shared: Arc<Shared<E>>,
    id: SubscriberId,
    label: Option<Arc<str>>,
    queue: Arc<QueueState>,
}

impl<E: Payload> Forward<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, subscription: &Subscription<E>) -> Self {
        Forward {
            shared,
            id: subscription.id,
            label: subscription.label.clone(),
            queue: Arc::clone(&subscription.queue),
        }
    }

    /// This subscription's id, for [`SharingBus::unsubscribe`](crate::SharingBus::unsubscribe).
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// The label it was given.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// How many events the channel has taken so far. It may trail the dispatch thread by a batch, and is exact after a
    /// flush.
    pub fn delivered(&self) -> u64 {
        self.queue.delivered()
    }

    /// How many matching events found the channel full so far, likewise; with the one that a [`Sink`] panicked over.
    pub fn lagged(&self) -> u64 {
        self.queue.lagged()
    }

    /// Whether the subscription has ended. True stays true; false may be stale at once, and stays so while the channel is
    /// closed and no event has matched since.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Ends the subscription: nothing more is forwarded, and the dispatch thread lets go of the channel. True for the call
    /// that ended it.
    pub fn close(&self) -> bool {
        self.shared.unsubscribe(self.id)
    }

    /// Replaces the filter, as [`BusReceiver::set_filter`](crate::BusReceiver::set_filter) does.
    pub fn set_filter(&self, filter: EventFilter<E>) {
        self.shared.set_filter(self.id, filter);
    }
}

impl<E: Payload> fmt::Debug for Forward<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("id", &self.id())
            .field("label", &self.label())
            .field("lagged", &self.lagged())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

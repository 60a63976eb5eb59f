//! Delivery into channels of the host: [`Sink`], and [`Forward`], the handle to such a subscription.
//!
//! The dispatch thread owns the sink. It calls the sink without a lock held and behind the panic boundary. The channels
//! named in this file belong to the host. They are not synchronization primitives of this crate.

use std::fmt;
use std::sync::mpsc;

use crate::boundary;
use crate::delivery::Delivery;
use crate::event::{Event, Payload};
use crate::filter::EventFilter;
use crate::queue::QueueState;
use crate::shared::Shared;
use crate::subscribers::{SubscriberId, Subscription};
use crate::sync::{Arc, Panicked};

/// The destination of a subscription without a queue: the sending half of a channel of the host; see
/// [`forward_to`](crate::SubscriptionBuilder::forward_to).
///
/// This crate implements the trait for [`crossbeam_channel::Sender`] and [`std::sync::mpsc::SyncSender`]. With the
/// features `tokio` and `flume`, it also implements the trait for `tokio::sync::mpsc::Sender` and `flume::Sender`. A
/// host can implement the trait for another type:
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
    /// Sends a delivery without waiting.
    ///
    /// The dispatch thread calls this method for one event after another. The method must return quickly and must never
    /// wait. If it panics, the event is lost and the subscription ends.
    ///
    /// # Errors
    ///
    /// Both errors return the delivery.
    ///
    /// - [`SinkError::Full`] if the channel is full. The event counts as lost.
    /// - [`SinkError::Closed`] if the channel has no receiver. The subscription ends.
    fn try_send(&mut self, delivery: Delivery<E>) -> Result<(), SinkError<E>>;
}

/// The error of [`Sink::try_send`]. It contains the delivery that was not sent.
pub enum SinkError<E = Event> {
    /// The channel is full.
    Full(Delivery<E>),
    /// The channel has no receiver.
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

/// The sink of the host with a panic boundary around its calls and its drop. The thread that drops the last reference
/// to the subscription also drops the sink, so the boundary is part of this type.
pub(crate) struct HostSink<E>(Option<Box<dyn Sink<E>>>);

impl<E: 'static> HostSink<E> {
    pub(crate) fn new(sink: impl Sink<E>) -> Self {
        HostSink(Some(Box::new(sink)))
    }

    /// Calls the sink. Returns `Err` if the sink panicked, in which case the delivery is lost.
    pub(crate) fn try_send(&mut self, delivery: Delivery<E>) -> Result<Result<(), SinkError<E>>, Panicked> {
        match &mut self.0 {
            Some(sink) => boundary::run(|| sink.try_send(delivery)),
            None => Ok(Err(SinkError::Closed(delivery))),
        }
    }
}

impl<E> Drop for HostSink<E> {
    fn drop(&mut self) {
        boundary::discard(self.0.take());
    }
}

/// A handle to a subscription that delivers into a channel of the host; returned by
/// [`forward_to`](crate::SubscriptionBuilder::forward_to).
///
/// The handle does not keep the bus alive, and dropping it does not end the subscription.
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

    /// Returns the id of this subscription, for [`SharingBus::unsubscribe`](crate::SharingBus::unsubscribe).
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// Returns the [label](crate::SubscriptionBuilder::label) of this subscription.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns the number of events sent into the channel so far. The number may trail the dispatch thread by a batch,
    /// and is exact after a [`flush`](crate::SharingBus::flush) if no thread publishes.
    pub fn delivered(&self) -> u64 {
        self.queue.delivered()
    }

    /// Returns the number of matching events lost so far: those that found the channel full, and the event during which
    /// a [`Sink`] panicked. The number may trail the dispatch thread by a batch, and is exact after a
    /// [`flush`](crate::SharingBus::flush) if no thread publishes.
    pub fn lagged(&self) -> u64 {
        self.queue.lagged()
    }

    /// Returns `true` if the subscription has ended. `true` never changes back, and `false` may be stale at once. After
    /// the channel is closed, the method returns `false` until the next matching event ends the subscription.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Ends the subscription. Returns `true` if this call ended it.
    ///
    /// The bus forwards no further events, and the dispatch thread drops its sender of the channel.
    pub fn close(&self) -> bool {
        self.shared.unsubscribe(self.id)
    }

    /// Replaces the filter, in the same way as [`BusReceiver::set_filter`](crate::BusReceiver::set_filter).
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

//! Delivery into channels of the host: [`Sink`].
//!
//! The dispatch thread owns the sink. It calls the sink without a lock held and behind the panic boundary. The channels
//! named in this file belong to the host. They are not synchronization primitives of this crate.

use std::fmt;
use std::sync::mpsc;

use crate::delivery::Delivery;
use crate::event::{Event, Payload};

/// The destination of a subscription without a queue: the sending half of a channel of the host; see
/// [`forward_to`](crate::SubscriptionBuilder::forward_to).
///
/// This crate implements the trait for `crossbeam_channel::Sender` and [`std::sync::mpsc::SyncSender`]. With the
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
    /// wait. If it panics, the event is lost, and the subscription ends with the reason
    /// [`EndReason::Failed`](crate::EndReason::Failed). A sink is not called again after its first panic, because the
    /// panic may have left it in an invalid state.
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

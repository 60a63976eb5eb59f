//! The error types of all calls. They are plain values without state.
//!
//! Publish errors return the event to the caller. Their `Debug` and `Display` implementations require no trait of the
//! payload.

use std::{error, fmt, io};

use crate::event::{BusEvent, Event};

/// The greatest capacity of an ingress or a queue. The bytes of such an ingress or queue fit into an `isize`, as the
/// allocator requires.
pub(crate) const MAX_CAPACITY: usize = usize::MAX / 256;

/// The error of a publish call that did not accept the event. It contains the event.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
///
/// let bus = SharingBus::new();
/// bus.close();
/// let error = bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap_err();
/// assert!(error.is_closed());
/// assert_eq!(*error.into_event().event, Event::Connected);
/// ```
pub enum PublishError<E = Event> {
    /// The ingress was full. [`try_publish`](crate::SharingBus::try_publish) returns this error at once, and
    /// [`publish_timeout`](crate::SharingBus::publish_timeout) at its time limit. On the dispatch thread, which never
    /// waits for itself, [`publish`](crate::SharingBus::publish) and `publish_timeout` return it at once.
    Full(BusEvent<E>),
    /// The bus is closed.
    Closed(BusEvent<E>),
}

impl<E> PublishError<E> {
    /// Returns `true` if the ingress was full. A later attempt may succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, PublishError::Full(_))
    }

    /// Returns `true` if the bus is closed. No later attempt will succeed.
    pub fn is_closed(&self) -> bool {
        matches!(self, PublishError::Closed(_))
    }

    /// Returns the event that was not accepted.
    pub fn into_event(self) -> BusEvent<E> {
        match self {
            PublishError::Full(event) | PublishError::Closed(event) => event,
        }
    }
}

impl<E> fmt::Debug for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishError::Full(_) => "Full(..)",
            PublishError::Closed(_) => "Closed(..)",
        })
    }
}

impl<E> fmt::Display for PublishError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PublishError::Full(_) => "publishing to a full bus",
            PublishError::Closed(_) => "publishing to a closed bus",
        })
    }
}

impl<E> error::Error for PublishError<E> {}

/// The error of [`try_recv`](crate::BusReceiver::try_recv).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// The queue is empty, and the subscription is open.
    Empty,
    /// The queue is empty, and the subscription has ended. No delivery will follow.
    Closed,
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryRecvError::Empty => "receiving from an empty subscription",
            TryRecvError::Closed => "receiving from an empty and closed subscription",
        })
    }
}

impl error::Error for TryRecvError {}

/// The error of a receive call with a time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// No delivery arrived within the time limit.
    Timeout,
    /// The queue is empty, and the subscription has ended. No delivery will follow.
    Closed,
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RecvTimeoutError::Timeout => "timed out receiving from a subscription",
            RecvTimeoutError::Closed => "receiving from an empty and closed subscription",
        })
    }
}

impl error::Error for RecvTimeoutError {}

/// The error of a receive call on a subscription that has ended and whose queue is empty. No delivery will follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receiving from an empty and closed subscription")
    }
}

impl error::Error for RecvError {}

/// The error of [`BusBuilder::build`](crate::BusBuilder::build).
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A capacity is zero. The text is the name of the setting.
    ZeroCapacity(&'static str),
    /// A capacity is greater than `usize::MAX / 256`. The text is the name of the setting.
    CapacityTooLarge(&'static str),
    /// The thread name contains a NUL byte, which operating systems reject.
    InvalidThreadName,
    /// The operating system did not start the dispatch thread.
    Spawn(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::ZeroCapacity(setting) => write!(f, "{setting} must be at least 1"),
            BuildError::CapacityTooLarge(setting) => write!(f, "{setting} exceeds {MAX_CAPACITY}"),
            BuildError::InvalidThreadName => f.write_str("the thread name holds a NUL byte"),
            BuildError::Spawn(_) => f.write_str("the dispatch thread could not be started"),
        }
    }
}

impl error::Error for BuildError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            BuildError::Spawn(source) => Some(source),
            _ => None,
        }
    }
}

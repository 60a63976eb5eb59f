//! Every way in which a call can fail. Plain values, no state.
//!
//! Errors of publishing give the event back; their `Debug` and `Display` ask nothing of the payload.

use std::{error, fmt, io};

use crate::event::{BusEvent, Event};

/// Why an event was not accepted, and the event itself.
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
    /// The ingress had no room: at once, until the deadline, or because the call came from the dispatch thread, which
    /// never waits for itself.
    Full(BusEvent<E>),
    /// The bus is closed.
    Closed(BusEvent<E>),
}

impl<E> PublishError<E> {
    /// Whether the ingress had no room. Trying again later may succeed.
    pub fn is_full(&self) -> bool {
        matches!(self, PublishError::Full(_))
    }

    /// Whether the bus is closed. Trying again will not succeed.
    pub fn is_closed(&self) -> bool {
        matches!(self, PublishError::Closed(_))
    }

    /// The event that was not accepted.
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

/// Why [`try_recv`](crate::BusReceiver::try_recv) returned no delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing is queued now.
    Empty,
    /// Nothing is queued and nothing will be.
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

/// Why a receive with a time limit returned no delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    Timeout,
    /// Nothing is queued and nothing will be.
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

/// The subscription is closed and drained: nothing is queued and nothing will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecvError;

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("receiving from an empty and closed subscription")
    }
}

impl error::Error for RecvError {}

/// Why a bus was not built.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// A capacity of zero; the text names the setting.
    ZeroCapacity(&'static str),
    /// The thread name holds a NUL byte, which no operating system takes.
    InvalidThreadName,
    /// The operating system refused the dispatch thread.
    Spawn(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::ZeroCapacity(setting) => write!(f, "{setting} must be at least 1"),
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

//! Events: [`BusEvent`], its routing, and the [`Payload`] trait.
//!
//! This file holds plain values without shared state or synchronization. The bus moves an event from the publisher to
//! the dispatch thread. Once a subscriber or the history needs the event, all its users share one reference count.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::sync::Arc;

/// The content of a [`BusEvent`].
///
/// Any `Send + Sync + 'static` type can implement this trait with an empty `impl` block, because the only method has a
/// default. Override [`session_change`](Self::session_change) if some of your events register or end sessions. Then
/// [late binding](crate#late-binding) works for your type as it does for [`Event`].
///
/// ```
/// use sharing_bus::{Payload, SessionChange};
///
/// enum Chat {
///     Joined { server: String, room: String, scroll_id: String },
///     Said(String),
/// }
///
/// impl Payload for Chat {
///     fn session_change(&self) -> Option<SessionChange<'_>> {
///         match self {
///             Chat::Joined { server, room, scroll_id } => Some(SessionChange::Registered {
///                 connector_id: server,
///                 session_id: room,
///                 scroll_id,
///             }),
///             Chat::Said(_) => None,
///         }
///     }
/// }
/// # let said = Chat::Said("hi".into());
/// # assert!(said.session_change().is_none());
/// ```
pub trait Payload: Send + Sync + 'static {
    /// Returns the session that this event registers or ends, or `None` if the event does neither.
    ///
    /// The dispatch thread calls this method once per event. The method must return quickly and must not wait for the
    /// bus. If it panics, the bus catches the panic and counts it in
    /// [`BusStats::payload_panics`](crate::BusStats::payload_panics). The bus then delivers the event as one that
    /// changes no session. Such a panic ends no subscription, because no subscriber caused it. Each panic delays
    /// dispatch, so an increasing count is a fault of the payload type that the host must repair.
    ///
    /// [`publish_with`](crate::SharingBus::publish_with) decides whether to publish before the payload exists, so it
    /// cannot call this method. It never skips an event of kind [`EventKind::SessionLifecycle`]. Therefore, give that
    /// kind to every event that changes a session.
    fn session_change(&self) -> Option<SessionChange<'_>> {
        None
    }
}

impl Payload for () {}
impl Payload for String {}
impl Payload for Vec<u8> {}
impl Payload for u64 {}

/// The change that an event makes to a session; see [`Payload::session_change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SessionChange<'a> {
    /// The session receives a global id. The bus binds later events of the session, in dispatch order, to that id.
    Registered {
        /// The connector that runs the session.
        connector_id: &'a str,
        /// The session's id within that connector.
        session_id: &'a str,
        /// The global id, a UUID as text. A text that is not a UUID binds nothing, and the bus logs a warning.
        scroll_id: &'a str,
    },
    /// The session has ended. The bus binds this event first and then forgets the session's binding.
    Ended {
        /// The connector that ran the session.
        connector_id: &'a str,
        /// The session's id within that connector.
        session_id: &'a str,
    },
}

/// A general-purpose payload for hosts that do not define a payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Event {
    /// A connector has connected.
    Connected,
    /// A connector has disconnected.
    Disconnected {
        /// The reason, in words for people.
        reason: String,
    },
    /// A session has received its global id. The bus binds later events of the session to that id.
    SessionRegistered {
        /// The connector that runs the session.
        connector_id: String,
        /// The session's id within that connector.
        session_id: String,
        /// The global id, a UUID as text.
        scroll_id: String,
    },
    /// A session has ended. The bus forgets its binding.
    SessionEnded {
        /// The connector that ran the session.
        connector_id: String,
        /// The session's id within that connector.
        session_id: String,
    },
    /// A piece of text: a line of output, a message, a delta.
    Text {
        /// The text.
        text: String,
    },
    /// An event that the host defines.
    Custom {
        /// The host's name for the event.
        name: String,
        /// The content, in the host's encoding.
        body: String,
    },
}

impl Payload for Event {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        match self {
            Event::SessionRegistered {
                connector_id,
                session_id,
                scroll_id,
            } => Some(SessionChange::Registered {
                connector_id,
                session_id,
                scroll_id,
            }),
            Event::SessionEnded {
                connector_id,
                session_id,
            } => Some(SessionChange::Ended {
                connector_id,
                session_id,
            }),
            _ => None,
        }
    }
}

/// The connector, session and kind of an event. The built-in filters compare only these fields and the event's
/// [origin](EventOrigin).
///
/// Set the fields that you know, and leave the rest to [`Default`]:
///
/// ```
/// use sharing_bus::{EventKind, EventRouting};
///
/// let routing = EventRouting {
///     connector_id: Some("shell".into()),
///     native_session_id: Some("42".into()),
///     kind: EventKind::Output,
///     ..Default::default()
/// };
/// assert!(routing.scroll_id.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct EventRouting {
    /// The global id of the session. If this field is `None`, the dispatch thread sets it from the session's
    /// registration (see [late binding](crate#late-binding)). If it is `Some`, the bus keeps it,
    /// except in a registration, which carries the id that it registers.
    pub scroll_id: Option<Uuid>,
    /// The unique id of the connector.
    pub connector_uid: Option<Uuid>,
    /// The name of the connector.
    pub connector_id: Option<Arc<str>>,
    /// The session's id within its connector.
    pub native_session_id: Option<Arc<str>>,
    /// The kind of the event.
    pub kind: EventKind,
}

impl EventRouting {
    /// Creates the routing of an event of one session. The connector's name and the session's id within that connector
    /// identify the session.
    ///
    /// ```
    /// use sharing_bus::{EventKind, EventRouting};
    ///
    /// let routing = EventRouting::session("shell", "42", EventKind::Output);
    /// assert_eq!(routing.connector_id.as_deref(), Some("shell"));
    /// ```
    pub fn session(connector_id: impl Into<Arc<str>>, native_session_id: impl Into<Arc<str>>, kind: EventKind) -> Self {
        EventRouting {
            connector_id: Some(connector_id.into()),
            native_session_id: Some(native_session_id.into()),
            kind,
            ..EventRouting::default()
        }
    }
}

/// Declares an enum of names and their text forms, so that `Display`, `FromStr` and `ALL` always agree.
macro_rules! named {
    (
        $(#[$outer:meta])* $name:ident, $expected:literal;
        $( $(#[$inner:meta])* $variant:ident = $text:literal, )+
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $( $(#[$inner])* $variant, )+ }

        impl $name {
            /// All variants, in order of declaration.
            pub const ALL: &'static [$name] = &[ $( $name::$variant, )+ ];

            /// Returns the name in lower snake case, as `Display` prints it and `FromStr` parses it.
            pub fn as_str(self) -> &'static str {
                match self { $( $name::$variant => $text, )+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ParseNameError;

            fn from_str(text: &str) -> Result<Self, ParseNameError> {
                Self::ALL.iter().copied().find(|name| name.as_str() == text)
                    .ok_or(ParseNameError { expected: $expected })
            }
        }
    };
}

named! {
    /// The kind of an event. `Display` and `FromStr` use the name in lower snake case.
    ///
    /// ```
    /// use sharing_bus::EventKind;
    ///
    /// assert_eq!(EventKind::SessionLifecycle.to_string(), "session_lifecycle");
    /// assert_eq!("tool".parse(), Ok(EventKind::Tool));
    /// assert!("telepathy".parse::<EventKind>().is_err());
    /// ```
    EventKind, "event kind";
    /// An event of the host itself.
    #[default]
    System = "system",
    /// The start, registration or end of a session.
    SessionLifecycle = "session_lifecycle",
    /// The connection or disconnection of a connector.
    ConnectorLifecycle = "connector_lifecycle",
    /// A message from a user or an agent.
    Message = "message",
    /// The reasoning that an agent shows.
    Thinking = "thinking",
    /// A call of a tool, or the tool's answer.
    Tool = "tool",
    /// The progress of ongoing work: deltas, percentages, heartbeats.
    Progress = "progress",
    /// Raw output of a process or terminal.
    Output = "output",
    /// A failure.
    Error = "error",
}

named! {
    /// The source of an event. `Display` and `FromStr` use the name in lower snake case.
    ///
    /// ```
    /// use sharing_bus::EventOrigin;
    ///
    /// assert_eq!(EventOrigin::default(), EventOrigin::Runtime);
    /// assert_eq!("replay".parse(), Ok(EventOrigin::Replay));
    /// ```
    EventOrigin, "event origin";
    /// The host's own code.
    #[default]
    Runtime = "runtime",
    /// A connector.
    Connector = "connector",
    /// A person.
    User = "user",
    /// A replayed recording.
    Replay = "replay",
    /// Another host, connected through a bridge.
    Remote = "remote",
}

/// The error of parsing a text that does not name an [`EventKind`] or an [`EventOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseNameError {
    expected: &'static str,
}

impl fmt::Display for ParseNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the name of an {}", self.expected)
    }
}

impl std::error::Error for ParseNameError {}

/// One event on the bus: its routing, its origin and its payload.
///
/// A clone shares the payload with the original. `Debug` prints the routing and the origin but not the payload, so `E`
/// does not need to implement `Debug`.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventOrigin, EventRouting};
///
/// let event = BusEvent::new(EventRouting::default(), Event::Connected);
/// assert_eq!(event.origin, EventOrigin::Runtime);
/// assert_eq!(*event.event, Event::Connected);
/// ```
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct BusEvent<E = Event> {
    /// The connector, session and kind of the event.
    #[cfg_attr(feature = "serde", serde(default))]
    pub routing: EventRouting,
    /// The source of the event.
    #[cfg_attr(feature = "serde", serde(default))]
    pub origin: EventOrigin,
    /// The payload.
    pub event: Arc<E>,
}

impl<E> BusEvent<E> {
    /// Creates an event with the default origin, [`EventOrigin::Runtime`].
    pub fn new(routing: EventRouting, event: E) -> Self {
        BusEvent {
            routing,
            origin: EventOrigin::default(),
            event: Arc::new(event),
        }
    }

    /// Returns the event with another origin.
    #[must_use]
    pub fn with_origin(mut self, origin: EventOrigin) -> Self {
        self.origin = origin;
        self
    }
}

impl<E> Clone for BusEvent<E> {
    fn clone(&self) -> Self {
        BusEvent {
            routing: self.routing.clone(),
            origin: self.origin,
            event: Arc::clone(&self.event),
        }
    }
}

impl<E> fmt::Debug for BusEvent<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusEvent")
            .field("routing", &self.routing)
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

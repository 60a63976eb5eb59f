//! What travels: [`BusEvent`], its routing, and the [`Payload`] trait.
//!
//! Plain values; nothing here is shared or synchronised. An event is moved through the bus and, once it has met a
//! subscriber, shared behind one reference count.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::sync::Arc;

/// What a [`BusEvent`] carries.
///
/// Any `Send + Sync + 'static` type of yours rides: the only method has a default. Implement it if your payload tells
/// the bus of sessions, so that [late binding](crate#late-binding) works for your type as it does for [`Event`].
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
    /// The session that this event registers or ends, if it does either.
    ///
    /// Called once per event, on the dispatch thread. It must be quick and must not wait for the bus. A panic in it
    /// is contained and counted ([`BusStats::payload_panics`](crate::BusStats::payload_panics)); the event is then
    /// delivered as one that changes no session.
    ///
    /// [`publish_with`](crate::SharingBus::publish_with) decides before there is a payload to ask. It never skips what
    /// is of [`EventKind::SessionLifecycle`], so events that change sessions are to be of that kind.
    fn session_change(&self) -> Option<SessionChange<'_>> {
        None
    }
}

impl Payload for () {}
impl Payload for String {}
impl Payload for Vec<u8> {}
impl Payload for u64 {}

/// What an event tells the bus of a session; see [`Payload::session_change`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum SessionChange<'a> {
    /// The session has a global id from now on. Later events of it, by dispatch order, are bound to that id.
    Registered {
        /// The connector that runs the session.
        connector_id: &'a str,
        /// The session's id within that connector.
        session_id: &'a str,
        /// The global id, a UUID as text. One that does not parse is warned of and binds nothing.
        scroll_id: &'a str,
    },
    /// The session is over: its binding is forgotten once this event itself has been bound.
    Ended {
        /// The connector that ran the session.
        connector_id: &'a str,
        /// The session's id within that connector.
        session_id: &'a str,
    },
}

/// The ready-made payload, for hosts that need no type of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Event {
    /// A connector is up.
    Connected,
    /// A connector is gone.
    Disconnected {
        /// Why, for people.
        reason: String,
    },
    /// A session has been given its global id. From here on its events are bound to it.
    SessionRegistered {
        /// The connector that runs the session.
        connector_id: String,
        /// The session's id within that connector.
        session_id: String,
        /// The global id, a UUID as text.
        scroll_id: String,
    },
    /// A session is over; its binding is forgotten.
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
    /// Anything else, named by the host.
    Custom {
        /// The host's name for it.
        name: String,
        /// Its content, in the host's encoding.
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

/// Where an event comes from and what it is: all that the built-in filters look at.
///
/// Fill in what you know and leave the rest to [`Default`]:
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
    /// The global id of the session. Left at `None`, the dispatch thread fills it in from the session's registration
    /// (see [late binding](crate#late-binding)); one that is set is kept.
    pub scroll_id: Option<Uuid>,
    /// The connector, by its unique id.
    pub connector_uid: Option<Uuid>,
    /// The connector, by its name.
    pub connector_id: Option<Arc<str>>,
    /// The session, by the id its connector gave it.
    pub native_session_id: Option<Arc<str>>,
    /// What kind of event this is.
    pub kind: EventKind,
}

impl EventRouting {
    /// The routing of an event of one session, known by its connector's name and its id there.
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

/// Declares an enum of names with their text forms, so that `Display`, `FromStr` and `ALL` cannot drift apart.
macro_rules! named {
    (
        $(#[$outer:meta])* $name:ident, $what:literal;
        $( $(#[$inner:meta])* $variant:ident = $text:literal, )+
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum $name { $( $(#[$inner])* $variant, )+ }

        impl $name {
            /// Every variant, in order of declaration.
            pub const ALL: &'static [$name] = &[ $( $name::$variant, )+ ];

            /// The name in lower snake case, as `Display` prints it and `FromStr` reads it.
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
                    .ok_or(ParseNameError { what: $what })
            }
        }
    };
}

named! {
    /// What kind of event it is. `Display` and `FromStr` use the name in lower snake case.
    ///
    /// ```
    /// use sharing_bus::EventKind;
    ///
    /// assert_eq!(EventKind::SessionLifecycle.to_string(), "session_lifecycle");
    /// assert_eq!("tool".parse(), Ok(EventKind::Tool));
    /// assert!("telepathy".parse::<EventKind>().is_err());
    /// ```
    EventKind, "event kind";
    /// Of the host itself.
    #[default]
    System = "system",
    /// A session begins, is registered or ends.
    SessionLifecycle = "session_lifecycle",
    /// A connector comes or goes.
    ConnectorLifecycle = "connector_lifecycle",
    /// A message of a user or an agent.
    Message = "message",
    /// An agent's thinking, as far as it is shown.
    Thinking = "thinking",
    /// A tool is called or answers.
    Tool = "tool",
    /// Work is under way: deltas, percentages, heartbeats.
    Progress = "progress",
    /// Raw output of a process or terminal.
    Output = "output",
    /// Something went wrong.
    Error = "error",
}

named! {
    /// Who made the event. `Display` and `FromStr` use the name in lower snake case.
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
    /// A recording that is played again.
    Replay = "replay",
    /// Another host, through a bridge.
    Remote = "remote",
}

/// A text that names no [`EventKind`] or no [`EventOrigin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseNameError {
    what: &'static str,
}

impl fmt::Display for ParseNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the name of an {}", self.what)
    }
}

impl std::error::Error for ParseNameError {}

/// One event on the bus: where it belongs, who made it, and the payload.
///
/// Cloning shares the payload. `Debug` shows the routing and the origin and leaves the payload out, so that it asks
/// nothing of `E`.
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
    /// Where it belongs.
    #[cfg_attr(feature = "serde", serde(default))]
    pub routing: EventRouting,
    /// Who made it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub origin: EventOrigin,
    /// The payload.
    pub event: Arc<E>,
}

impl<E> BusEvent<E> {
    /// An event of the default origin.
    pub fn new(routing: EventRouting, event: E) -> Self {
        BusEvent {
            routing,
            origin: EventOrigin::default(),
            event: Arc::new(event),
        }
    }

    /// The same event with another origin.
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

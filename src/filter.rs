//! Filters: [`EventFilter`] and how it matches an event.
//!
//! A filter is an immutable value whose parts are shared, so a clone is cheap. The dispatch thread evaluates its own
//! clone without a lock.
//!
//! A new kind of filter is a new variant of [`EventFilter`], with its cases in `matches`, `Clone` and `Display` below,
//! and in `IndexTerms::of` (`subscribers/terms.rs`). If the filter is an equality that the bus should index, it also
//! needs a new [`Term`](crate::subscribers::terms::Term). The terms are counted in `subscribers/interest.rs` and
//! indexed in `dispatch/index.rs`. The serialized form is derived, except for the parts in `serde.rs`.

use std::fmt;

use uuid::Uuid;

use crate::event::{BusEvent, Event, EventKind, EventOrigin};
use crate::sync::Arc;
use crate::sync::panic::DropGuarded;

/// A condition that selects the events of a subscriber.
///
/// The bus indexes the equality filters ([`ScrollId`](Self::ScrollId) to [`Origin`](Self::Origin)) and their
/// combinations by [`any`](Self::any) and [`all`](Self::all). With indexed filters, the cost of an event depends on the
/// number of subscribers that match, not on the number of subscribers. [`not`](Self::not) and [`custom`](Self::custom)
/// contain no equality to index, so the bus evaluates them for every event. Inside an `all` that also contains an
/// equality, they are evaluated only for events that satisfy the equality.
///
/// The dispatch thread evaluates filters after [late binding](crate#late-binding), so a filter sees the bound
/// `scroll_id`.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting};
///
/// let wanted: EventFilter = EventFilter::all([
///     EventFilter::ConnectorId("shell".into()),
///     EventFilter::not(EventFilter::Kind(EventKind::Progress)),
/// ]);
/// let event = BusEvent::new(EventRouting::session("shell", "1", EventKind::Output), Event::Connected);
/// assert!(wanted.matches(&event));
/// ```
///
/// # Serialization
///
/// With the feature `serde`, a filter can be serialized and deserialized, for example in a configuration file. The JSON
/// form of [`All`](Self::All) is `"*"`. Other filters are objects with one key:
///
/// ```json
/// {"scroll_id": "00000000-0000-0000-0000-000000000007"}
/// {"session": {"connector_id": "shell", "native_session_id": "1"}}
/// {"any": [{"kind": "tool"}, {"not": {"origin": "replay"}}]}
/// ```
///
/// A [`Custom`](Self::Custom) filter is a function, so its serialization returns an error. More than 32 nested levels
/// of `any`, `all` and `not` are an error in both directions, regardless of the format's own limit. So no input can
/// overflow the stack.
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields, bound = ""))]
#[non_exhaustive]
pub enum EventFilter<E = Event> {
    /// Every event.
    #[cfg_attr(feature = "serde", serde(rename = "*"))]
    All,
    /// Events of the scroll with this id, including late-bound events.
    ScrollId(Uuid),
    /// Events of the connector with this unique id.
    ConnectorUid(Uuid),
    /// Events of the connector with this name.
    ConnectorId(Arc<str>),
    /// Events of one session.
    Session {
        /// The connector's name.
        connector_id: Arc<str>,
        /// The session's id within that connector.
        native_session_id: Arc<str>,
    },
    /// Events of this kind.
    Kind(EventKind),
    /// Events of this origin.
    Origin(EventOrigin),
    /// Events that match at least one of these filters; see [`any`](Self::any).
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::combined"))]
    Any(Arc<[EventFilter<E>]>),
    /// Events that match all of these filters; see [`all`](Self::all).
    #[cfg_attr(feature = "serde", serde(rename = "all", with = "crate::serde::combined"))]
    Every(Arc<[EventFilter<E>]>),
    /// Events that do not match this filter; see [`not`](Self::not).
    #[cfg_attr(feature = "serde", serde(with = "crate::serde::combined"))]
    Not(Arc<EventFilter<E>>),
    /// Events that a function of the host accepts; see [`custom`](Self::custom).
    #[cfg_attr(
        feature = "serde",
        serde(skip_deserializing, serialize_with = "crate::serde::refuse_custom")
    )]
    Custom(CustomFilter<E>),
}

impl<E> EventFilter<E> {
    /// Creates a filter that matches an event if at least one of `filters` matches it. Without filters, it matches no
    /// event.
    ///
    /// ```
    /// use sharing_bus::{EventFilter, EventKind};
    ///
    /// let talk: EventFilter =
    ///     EventFilter::any([EventKind::Message, EventKind::Thinking].map(EventFilter::Kind));
    /// assert_eq!(talk.to_string(), "any(kind=message, kind=thinking)");
    /// ```
    pub fn any(filters: impl IntoIterator<Item = EventFilter<E>>) -> Self {
        EventFilter::Any(filters.into_iter().collect())
    }

    /// Creates a filter that matches an event if all of `filters` match it. Without filters, it matches every event.
    ///
    /// ```
    /// use sharing_bus::{EventFilter, EventKind};
    ///
    /// let errors: EventFilter =
    ///     EventFilter::all([EventFilter::ConnectorId("shell".into()), EventFilter::Kind(EventKind::Error)]);
    /// assert_eq!(errors.to_string(), "all(connector=shell, kind=error)");
    /// ```
    pub fn all(filters: impl IntoIterator<Item = EventFilter<E>>) -> Self {
        EventFilter::Every(filters.into_iter().collect())
    }

    /// Creates a filter that matches an event if `filter` does not match it.
    #[expect(
        clippy::should_implement_trait,
        reason = "a constructor beside `any` and `all`, not an operator"
    )]
    pub fn not(filter: EventFilter<E>) -> Self {
        EventFilter::Not(Arc::new(filter))
    }

    /// Creates a filter that matches an event if `predicate` returns `true` for it.
    ///
    /// The predicate runs on the dispatch thread, so a slow predicate delays every subscriber. It must return quickly
    /// and must never wait. It may use the bus, because publishing on the dispatch thread never waits. If it panics,
    /// the bus catches the panic, counts it in [`BusStats::filter_panics`](crate::BusStats::filter_panics), and treats
    /// the event as no match.
    ///
    /// Each panic takes time on the dispatch thread, up to a millisecond if the panic hook prints a backtrace.
    /// Therefore, a subscription ends when its filter panics for the eighth time in a row. The reason is
    /// [`EndReason::Failed`](crate::EndReason::Failed). The receiver first gets the events that the filter matched
    /// before. An evaluation that returns resets the count, and so does a new filter. The same rule applies to the
    /// filter of [essential](crate::SubscriptionBuilder::essential) events and to the [merge
    /// function](crate::SubscriptionBuilder::conflate_with), each with its own count.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventFilter, EventRouting};
    ///
    /// let errors: EventFilter = EventFilter::custom(|event: &BusEvent| {
    ///     matches!(&*event.event, Event::Text { text } if text.contains("error"))
    /// });
    /// let event = BusEvent::new(EventRouting::default(), Event::Text { text: "no error".into() });
    /// assert!(errors.matches(&event));
    /// ```
    pub fn custom(predicate: impl Fn(&BusEvent<E>) -> bool + Send + Sync + 'static) -> Self {
        EventFilter::Custom(CustomFilter(Arc::new(DropGuarded::new(Box::new(predicate)))))
    }

    /// Returns `true` if the filter matches `event` as it is. This method does not bind the event: an event whose
    /// `scroll_id` is `None` matches no [`ScrollId`](Self::ScrollId).
    ///
    /// # Panics
    ///
    /// If a [`custom`](Self::custom) predicate panics.
    pub fn matches(&self, event: &BusEvent<E>) -> bool {
        let routing = &event.routing;
        match self {
            EventFilter::All => true,
            EventFilter::ScrollId(id) => routing.scroll_id == Some(*id),
            EventFilter::ConnectorUid(uid) => routing.connector_uid == Some(*uid),
            EventFilter::ConnectorId(id) => routing.connector_id.as_deref() == Some(id),
            EventFilter::Session {
                connector_id,
                native_session_id,
            } => {
                routing.native_session_id.as_deref() == Some(native_session_id)
                    && routing.connector_id.as_deref() == Some(connector_id)
            }
            EventFilter::Kind(kind) => routing.kind == *kind,
            EventFilter::Origin(origin) => event.origin == *origin,
            EventFilter::Any(filters) => filters.iter().any(|filter| filter.matches(event)),
            EventFilter::Every(filters) => filters.iter().all(|filter| filter.matches(event)),
            EventFilter::Not(filter) => !filter.matches(event),
            EventFilter::Custom(custom) => custom.matches(event),
        }
    }
}

impl<E> Clone for EventFilter<E> {
    fn clone(&self) -> Self {
        match self {
            EventFilter::All => EventFilter::All,
            EventFilter::ScrollId(id) => EventFilter::ScrollId(*id),
            EventFilter::ConnectorUid(uid) => EventFilter::ConnectorUid(*uid),
            EventFilter::ConnectorId(id) => EventFilter::ConnectorId(Arc::clone(id)),
            EventFilter::Session {
                connector_id,
                native_session_id,
            } => EventFilter::Session {
                connector_id: Arc::clone(connector_id),
                native_session_id: Arc::clone(native_session_id),
            },
            EventFilter::Kind(kind) => EventFilter::Kind(*kind),
            EventFilter::Origin(origin) => EventFilter::Origin(*origin),
            EventFilter::Any(filters) => EventFilter::Any(Arc::clone(filters)),
            EventFilter::Every(filters) => EventFilter::Every(Arc::clone(filters)),
            EventFilter::Not(filter) => EventFilter::Not(Arc::clone(filter)),
            EventFilter::Custom(custom) => EventFilter::Custom(custom.clone()),
        }
    }
}

/// Formats the filter in one line, as in [`SubscriberStats::filter`](crate::SubscriberStats::filter). An example is
/// `all(connector=shell, not(kind=progress))`.
impl<E> fmt::Display for EventFilter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventFilter::All => f.write_str("*"),
            EventFilter::ScrollId(id) => write!(f, "scroll={id}"),
            EventFilter::ConnectorUid(uid) => write!(f, "connector_uid={uid}"),
            EventFilter::ConnectorId(id) => write!(f, "connector={id}"),
            EventFilter::Session {
                connector_id,
                native_session_id,
            } => write!(f, "session={connector_id}/{native_session_id}"),
            EventFilter::Kind(kind) => write!(f, "kind={kind}"),
            EventFilter::Origin(origin) => write!(f, "origin={origin}"),
            EventFilter::Any(filters) => write_list(f, "any", filters),
            EventFilter::Every(filters) => write_list(f, "all", filters),
            EventFilter::Not(filter) => write!(f, "not({filter})"),
            EventFilter::Custom(_) => f.write_str("custom"),
        }
    }
}

fn write_list<E>(f: &mut fmt::Formatter<'_>, name: &str, filters: &[EventFilter<E>]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (index, filter) in filters.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}{filter}")?;
    }
    f.write_str(")")
}

impl<E> fmt::Debug for EventFilter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventFilter({self})")
    }
}

/// The predicate of an [`EventFilter::Custom`]; created by [`EventFilter::custom`].
// Guarded, because a captured value may panic on drop, wherever the last filter that shares the predicate is dropped.
pub struct CustomFilter<E>(Arc<DropGuarded<Predicate<E>>>);

impl<E> CustomFilter<E> {
    fn matches(&self, event: &BusEvent<E>) -> bool {
        let predicate: &Predicate<E> = &self.0;
        predicate(event)
    }
}

impl<E> Clone for CustomFilter<E> {
    fn clone(&self) -> Self {
        CustomFilter(Arc::clone(&self.0))
    }
}

impl<E> fmt::Debug for CustomFilter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomFilter")
    }
}

type Predicate<E> = Box<dyn Fn(&BusEvent<E>) -> bool + Send + Sync>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventRouting;

    fn event() -> BusEvent {
        BusEvent {
            routing: EventRouting {
                scroll_id: Some(Uuid::from_u128(1)),
                connector_uid: Some(Uuid::from_u128(2)),
                ..EventRouting::session("c", "s", EventKind::Tool)
            },
            origin: EventOrigin::Replay,
            event: Arc::new(Event::Connected),
        }
    }

    #[test]
    fn each_equality_compares_only_its_own_field() {
        let session = |connector: &str, native: &str| EventFilter::Session {
            connector_id: connector.into(),
            native_session_id: native.into(),
        };
        for (filter, expected) in [
            (EventFilter::All, true),
            (EventFilter::ScrollId(Uuid::from_u128(1)), true),
            (EventFilter::ScrollId(Uuid::from_u128(2)), false),
            (EventFilter::ConnectorUid(Uuid::from_u128(2)), true),
            (EventFilter::ConnectorUid(Uuid::from_u128(1)), false),
            (EventFilter::ConnectorId("c".into()), true),
            (EventFilter::ConnectorId("s".into()), false),
            (session("c", "s"), true),
            (session("s", "c"), false),
            (session("c", "x"), false),
            (session("x", "s"), false),
            (EventFilter::Kind(EventKind::Tool), true),
            (EventFilter::Kind(EventKind::System), false),
            (EventFilter::Origin(EventOrigin::Replay), true),
            (EventFilter::Origin(EventOrigin::Runtime), false),
        ] {
            assert_eq!(filter.matches(&event()), expected, "{filter}");
            assert_eq!(filter.clone().matches(&event()), expected, "clone of {filter}");
            assert_eq!(
                EventFilter::not(filter.clone()).matches(&event()),
                !expected,
                "not {filter}"
            );
        }
    }

    #[test]
    fn empty_any_matches_nothing_and_empty_all_matches_everything() {
        assert!(!EventFilter::any([]).matches(&event()));
        assert!(EventFilter::all([]).matches(&event()));
    }

    #[test]
    fn combinations_print_in_one_line() {
        let filter: EventFilter = EventFilter::all([
            EventFilter::All,
            EventFilter::not(EventFilter::custom(|_| true)),
            EventFilter::any([EventFilter::Kind(EventKind::Tool)]),
        ]);
        assert_eq!(
            format!("{filter:?}"),
            "EventFilter(all(*, not(custom), any(kind=tool)))"
        );
    }
}

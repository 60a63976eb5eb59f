//! Filters: [`EventFilter`] and how it matches an event.
//!
//! 1. `lists`: the lists of `any` and `all`, joined and measured.
//! 2. `text`: the form that filters print in.
//! 3. `serialized`: the serialized form, with the feature `serde`.
//!
//! A filter is an immutable value whose parts are shared, so a clone is cheap. The dispatch thread evaluates its own
//! clone without a lock.
//!
//! A host can build a filter in a loop, so no operation may overflow the stack. The constructors and every method that
//! takes a filter limit the depth of `any` and `all`. The variants are public, so a filter may be deeper before it is
//! checked. Dropping and printing such a filter does not recurse, and matching it panics at the limit.
//!
//! A new kind of filter is a new variant of [`EventFilter`]. It has cases in `matches` and `Clone` below, in `text.rs`
//! and `serialized.rs`, and in `IndexTerms::of` (`subscribers/terms.rs`). If the filter is an equality that
//! the bus should index, it also needs a new [`Term`](crate::subscribers::terms::Term). The terms are counted in
//! `subscribers/interest.rs` and indexed in `dispatch/index.rs`.

mod lists;
#[cfg(feature = "serde")]
mod serialized;
mod text;

use std::fmt;

use uuid::Uuid;

use crate::event::{BusEvent, Event, EventKind, EventOrigin};
use crate::sync::Arc;
use crate::sync::panic::DropGuarded;
pub(crate) use lists::Operator;

/// Maximum number of nested levels of `any` and `all`. The documentation of [`EventFilter`] states it.
const MAX_DEPTH: usize = 128;

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
/// # Nesting
///
/// The constructors flatten their arguments: an `any` in an `any`, or an `all` in an `all`, contributes its parts, and
/// the `not` of a `not` is the original filter. So a filter can be extended in a loop, by one part in each step. The
/// total cost of such a loop is practically linear.
///
/// At most 128 levels of `any` and `all` can be nested, which does not count `not`. A constructor that would exceed the
/// limit panics. So does a method that receives a deeper filter, which only a caller that uses the variants can build.
///
/// # Text
///
/// A filter prints in one line, as in [`SubscriberStats::filter`](crate::SubscriberStats::filter). An example is
/// `all(connector=shell, not(kind=progress))`. Letters, digits and the characters `-_.:@+` of a name print as they are.
/// A name that is empty or contains another character is quoted and escaped like a Rust string, which keeps the text in
/// one line. Two different filters never print alike. There are two exceptions: every custom function prints as
/// `custom`, and a list prints flat, however the variants were nested.
///
/// ```
/// use sharing_bus::EventFilter;
///
/// let odd: EventFilter = EventFilter::any([
///     EventFilter::ConnectorId("a, connector=b".into()),
///     EventFilter::Session { connector_id: "shell".into(), native_session_id: "1/2\n".into() },
/// ]);
/// assert_eq!(odd.to_string(), r#"any(connector="a, connector=b", session=shell/"1/2\n")"#);
/// ```
///
/// # Serialization
///
/// With the feature `serde`, a filter can be serialized and deserialized, for example in a configuration file. In a
/// text format, [`All`](Self::All) is the string `"*"`, and any other filter is a map with one key. In JSON:
///
/// ```json
/// {"scroll_id": "00000000-0000-0000-0000-000000000007"}
/// {"session": {"connector_id": "shell", "native_session_id": "1"}}
/// {"any": [{"kind": "tool"}, {"not": {"origin": "replay"}}]}
/// ```
///
/// Strings, maps and sequences exist in every text format, for example JSON, YAML, TOML and RON. The format must be
/// self-describing. In a binary format, which need not be self-describing, a filter is an enum.
///
/// A [`Custom`](Self::Custom) filter is a function, so its serialization returns an error. More than 32 nested levels
/// of `any`, `all` and `not` are an error in both directions, regardless of the format's own limit. So no input can
/// overflow the stack, and each filter that can be serialized is within the limits of common formats.
#[non_exhaustive]
pub enum EventFilter<E = Event> {
    /// Every event.
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
    /// Events that match at least one of these filters; see [`any`](Self::any). A long list may contain further `any`
    /// filters, which hold a part of the list each.
    Any(Arc<[EventFilter<E>]>),
    /// Events that match all of these filters; see [`all`](Self::all). A long list may contain further `all` filters,
    /// which hold a part of the list each.
    Every(Arc<[EventFilter<E>]>),
    /// Events that do not match this filter; see [`not`](Self::not).
    Not(Arc<EventFilter<E>>),
    /// Events that a function of the host accepts; see [`custom`](Self::custom).
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
    ///
    /// The parts of an `any` among `filters` become parts of the new filter; see [Nesting](Self#nesting).
    ///
    /// # Panics
    ///
    /// If more than 128 levels of `any` and `all` are nested.
    #[track_caller]
    pub fn any(filters: impl IntoIterator<Item = EventFilter<E>>) -> Self {
        Operator::Any.join(filters)
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
    ///
    /// The parts of an `all` among `filters` become parts of the new filter; see [Nesting](Self#nesting).
    ///
    /// # Panics
    ///
    /// If more than 128 levels of `any` and `all` are nested.
    #[track_caller]
    pub fn all(filters: impl IntoIterator<Item = EventFilter<E>>) -> Self {
        Operator::Every.join(filters)
    }

    /// Creates a filter that matches an event if `filter` does not match it. The `not` of a `not` is the original filter.
    #[expect(
        clippy::should_implement_trait,
        reason = "a constructor beside `any` and `all`, not an operator"
    )]
    pub fn not(filter: EventFilter<E>) -> Self {
        match &filter {
            EventFilter::Not(negated) => EventFilter::clone(negated),
            _ => EventFilter::Not(Arc::new(filter)),
        }
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
    /// - If a [`custom`](Self::custom) predicate panics.
    /// - If more than 128 levels of `any` and `all` are nested.
    pub fn matches(&self, event: &BusEvent<E>) -> bool {
        self.matches_within(event, MAX_DEPTH)
    }

    /// Evaluates the filter, which may contain this number of levels of `any` and `all`.
    fn matches_within(&self, event: &BusEvent<E>, levels: usize) -> bool {
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
            EventFilter::Any(filters) => {
                let levels = below(levels);
                filters.iter().any(|filter| match filter {
                    EventFilter::Any(run) => run.iter().any(|filter| filter.matches_within(event, levels)),
                    filter => filter.matches_within(event, levels),
                })
            }
            EventFilter::Every(filters) => {
                let levels = below(levels);
                filters.iter().all(|filter| match filter {
                    EventFilter::Every(run) => run.iter().all(|filter| filter.matches_within(event, levels)),
                    filter => filter.matches_within(event, levels),
                })
            }
            EventFilter::Not(_) => {
                let (filter, negated) = self.without_not();
                filter.matches_within(event, levels) != negated
            }
            EventFilter::Custom(custom) => custom.matches(event),
        }
    }

    /// Removes each `not` around the filter. Returns `true` if their number is odd.
    fn without_not(&self) -> (&Self, bool) {
        let (mut filter, mut negated) = (self, false);
        while let EventFilter::Not(inner) = filter {
            (filter, negated) = (inner, !negated);
        }
        (filter, negated)
    }

    /// Panics if more levels of `any` and `all` are nested than the constructors allow.
    #[track_caller]
    pub(crate) fn assert_depth(&self) {
        self.assert_fits(MAX_DEPTH);
    }

    #[track_caller]
    fn assert_fits(&self, levels: usize) {
        assert!(
            self.fits(levels),
            "filters are nested more than {MAX_DEPTH} levels deep"
        );
    }

    /// Returns `true` if at most this number of levels of `any` and `all` are nested. A run is part of the list that it
    /// is in. The recursion ends at the limit.
    fn fits(&self, levels: usize) -> bool {
        let (filter, _) = self.without_not();
        let Some((operator, list)) = Operator::of(filter) else {
            return true;
        };
        let Some(levels) = levels.checked_sub(1) else {
            return false;
        };
        operator.members(list).all(|filter| filter.fits(levels))
    }
}

/// Returns the number of levels that remain below one level.
fn below(levels: usize) -> usize {
    match levels.checked_sub(1) {
        Some(levels) => levels,
        None => panic!("filters are nested more than {MAX_DEPTH} levels deep"),
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

/// Drops nested filters one after another instead of recursively. The dropping threads of a shared filter may race, and
/// then the last of them drops the next level by a nested call.
impl<E> Drop for EventFilter<E> {
    fn drop(&mut self) {
        let mut nested = Vec::new();
        take_nested(self, &mut nested);
        while let Some(mut filter) = nested.pop() {
            take_nested(&mut filter, &mut nested);
        }
    }
}

/// Moves the combined filters that only this filter owns to `nested`.
fn take_nested<E>(filter: &mut EventFilter<E>, nested: &mut Vec<EventFilter<E>>) {
    let parts = match filter {
        EventFilter::Any(filters) | EventFilter::Every(filters) => Arc::get_mut(filters),
        EventFilter::Not(filter) => Arc::get_mut(filter).map(std::slice::from_mut),
        _ => None,
    };
    for part in parts.unwrap_or_default() {
        if matches!(part, EventFilter::Any(_) | EventFilter::Every(_) | EventFilter::Not(_)) {
            nested.push(std::mem::replace(part, EventFilter::All));
        }
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

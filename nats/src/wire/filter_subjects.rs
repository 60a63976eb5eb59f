//! Conversion from a filter to the subjects to subscribe to: [`filter_subjects`].
//!
//! All functions are pure. The messages of these subjects are a superset of the events that the filter matches, so the
//! importer evaluates the filter again. No two of the subjects overlap, so each event arrives once.
//!
//! An equality on a scroll, connector, session or kind fixes that token. `any` is the union of its children's
//! subjects, and `all` is their intersection. `not`, `custom`, the connector's unique id and the origin have no token,
//! so they need all subjects.
//!
//! If one subject covers another, only the wider subject remains. Two subjects can also overlap without one covering
//! the other, for example one connector and one kind of all connectors. The narrowest subject that covers both then
//! replaces them. Two separate subscriptions would deliver the events that both match twice.

use sharing_bus::EventFilter;

use crate::wire::subject::{Realm, Token, join};

/// Maximum number of subjects for one filter. A filter that needs more subscribes to all subjects, because the
/// subscriptions would cost the server more than they save.
const MAX_SUBJECTS: usize = 4096;

/// Number of nested lists that are examined. The constructors of filters nest fewer. A caller can nest more by the
/// variants of a filter, and the recursion must end. A deeper list needs all subjects.
const MAX_LISTS: usize = 256;

/// Returns the subjects of the events that at least one filter may match. Returns no subject if the filters match no
/// event.
pub(crate) fn filter_subjects<'a, E: 'a>(
    realm: &Realm,
    filters: impl IntoIterator<Item = &'a EventFilter<E>>,
) -> Vec<String> {
    let disjoint_patterns = disjoint(in_any(filters, MAX_LISTS));
    disjoint_patterns.iter().map(|pattern| pattern.subject(realm)).collect()
}

/// The tokens that a subject must have: connector, session, scroll, kind. `None` matches any token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Pattern([Option<String>; 4]);

const CONNECTOR: usize = 0;
const SESSION: usize = 1;
const SCROLL: usize = 2;
const KIND: usize = 3;

impl Pattern {
    fn with(mut self, index: usize, token: String) -> Pattern {
        self.0[index] = Some(token);
        self
    }

    /// Returns the intersection of two patterns, or `None` if it is empty.
    fn intersect(&self, other: &Pattern) -> Option<Pattern> {
        let mut common = Pattern::default();
        for (index, (one, other)) in self.0.iter().zip(&other.0).enumerate() {
            common.0[index] = match (one, other) {
                (Some(one), Some(other)) if one != other => return None,
                _ => one.as_ref().or(other.as_ref()).cloned(),
            };
        }
        Some(common)
    }

    fn overlaps(&self, other: &Pattern) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.all(|(one, other)| one.is_none() || other.is_none() || one == other)
    }

    /// Returns the narrowest pattern that covers both. If one pattern covers the other, the result is that pattern.
    fn widen(&self, other: &Pattern) -> Pattern {
        let mut over = self.clone();
        for (token, other) in over.0.iter_mut().zip(&other.0) {
            if token != other {
                *token = None;
            }
        }
        over
    }

    fn subject(&self, realm: &Realm) -> String {
        join(
            realm,
            "*",
            self.0.each_ref().map(|token| token.as_deref().unwrap_or("*")),
        )
    }
}

/// Returns patterns that together cover all events that the filter matches. They may overlap.
fn patterns<E>(filter: &EventFilter<E>, lists: usize) -> Vec<Pattern> {
    let equality = |index, token| vec![Pattern::default().with(index, token)];
    match filter {
        EventFilter::ScrollId(id) => equality(SCROLL, id.to_string()),
        EventFilter::ConnectorId(id) => equality(CONNECTOR, Token::of(id).text.into_owned()),
        EventFilter::Session {
            connector_id,
            native_session_id,
        } => {
            let session = Pattern::default().with(SESSION, Token::of(native_session_id).text.into_owned());
            vec![session.with(CONNECTOR, Token::of(connector_id).text.into_owned())]
        }
        EventFilter::Kind(kind) => equality(KIND, kind.to_string()),
        EventFilter::Any(filters) if lists > 0 => in_any(filters.iter(), lists - 1),
        EventFilter::Every(filters) if lists > 0 => in_common(filters, lists - 1),
        // Other conditions, including those of later versions of the bus, have no token.
        _ => vec![Pattern::default()],
    }
}

fn in_any<'a, E: 'a>(filters: impl IntoIterator<Item = &'a EventFilter<E>>, lists: usize) -> Vec<Pattern> {
    let mut all = Vec::new();
    for filter in filters {
        all.append(&mut patterns(filter, lists));
        if all.len() > MAX_SUBJECTS {
            return vec![Pattern::default()];
        }
    }
    all
}

fn in_common<E>(filters: &[EventFilter<E>], lists: usize) -> Vec<Pattern> {
    let mut common = vec![Pattern::default()];
    for filter in filters {
        let more = patterns(filter, lists);
        if common.len().saturating_mul(more.len()) > MAX_SUBJECTS {
            // Each side alone is a superset of the intersection.
            if more.len() < common.len() {
                common = more;
            }
            continue;
        }
        common = common
            .iter()
            .flat_map(|one| more.iter().filter_map(|other| one.intersect(other)))
            .collect();
    }
    common
}

/// Returns patterns that cover the given patterns and do not overlap.
fn disjoint(patterns: Vec<Pattern>) -> Vec<Pattern> {
    let mut disjoint_patterns: Vec<Pattern> = Vec::new();
    for mut wider in patterns {
        // A widened pattern may overlap with other patterns. Each round removes one pattern, so the loop ends.
        while let Some(overlapping) = disjoint_patterns.iter().position(|other| other.overlaps(&wider)) {
            wider = wider.widen(&disjoint_patterns.swap_remove(overlapping));
        }
        disjoint_patterns.push(wider);
    }
    disjoint_patterns
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sharing_bus::{BusEvent, EventKind, EventOrigin, EventRouting};
    use uuid::Uuid;

    use super::*;
    use crate::wire::subject::{Class, subject};

    /// Returns whether a server would deliver a message of this subject to a subscription to `pattern`.
    fn delivers(pattern: &str, subject: &str) -> bool {
        let mut tokens = subject.split('.');
        for wanted in pattern.split('.') {
            match (wanted, tokens.next()) {
                (">", token) => return token.is_some(),
                ("*", Some(_)) => {}
                (wanted, token) if token == Some(wanted) => {}
                _ => return false,
            }
        }
        tokens.next().is_none()
    }

    fn realm() -> Realm {
        Realm::new("r").unwrap()
    }

    fn sorted(filter: &EventFilter<u64>) -> Vec<String> {
        let mut subjects = filter_subjects(&realm(), [filter]);
        subjects.sort();
        subjects
    }

    fn scroll(id: u8) -> Uuid {
        Uuid::from_u128(id.into())
    }

    fn connector(name: &str) -> EventFilter<u64> {
        EventFilter::ConnectorId(name.into())
    }

    fn session(connector: &str, session: &str) -> EventFilter<u64> {
        EventFilter::Session {
            connector_id: connector.into(),
            native_session_id: session.into(),
        }
    }

    #[test]
    fn equalities_become_tokens() {
        let one = Uuid::from_u128(1);
        for (filter, expected) in [
            (EventFilter::All, "sb1.r.*.*.*.*.*"),
            (
                EventFilter::ScrollId(one),
                "sb1.r.*.*.*.00000000-0000-0000-0000-000000000001.*",
            ),
            (connector("a b"), "sb1.r.*.a=20b.*.*.*"),
            (session("a", "_"), "sb1.r.*.a.=5F.*.*"),
            (EventFilter::Kind(EventKind::Tool), "sb1.r.*.*.*.*.tool"),
            (EventFilter::ConnectorUid(one), "sb1.r.*.*.*.*.*"),
            (EventFilter::Origin(EventOrigin::User), "sb1.r.*.*.*.*.*"),
            (EventFilter::not(connector("a")), "sb1.r.*.*.*.*.*"),
            (EventFilter::custom(|_| true), "sb1.r.*.*.*.*.*"),
            (
                EventFilter::all([connector("a"), EventFilter::custom(|_| true)]),
                "sb1.r.*.a.*.*.*",
            ),
            (
                EventFilter::all([EventFilter::Kind(EventKind::Tool), connector("a")]),
                "sb1.r.*.a.*.*.tool",
            ),
            (EventFilter::any([connector("a"), session("a", "1")]), "sb1.r.*.a.*.*.*"),
            (EventFilter::any([session("a", "1"), connector("a")]), "sb1.r.*.a.*.*.*"),
            // Neither pattern covers the other. Only the pattern of all subjects covers both.
            (
                EventFilter::any([EventFilter::Kind(EventKind::Tool), connector("a")]),
                "sb1.r.*.*.*.*.*",
            ),
        ] {
            assert_eq!(sorted(&filter), [expected], "{filter}");
        }
        for nothing in [EventFilter::any([]), EventFilter::all([connector("a"), connector("b")])] {
            assert!(sorted(&nothing).is_empty(), "{nothing}");
        }
        let two = EventFilter::any([session("a", "1"), connector("b"), session("b", "2")]);
        assert_eq!(sorted(&two), ["sb1.r.*.a.1.*.*", "sb1.r.*.b.*.*.*"]);
    }

    #[test]
    fn scrolls_above_the_limit_become_one_subject() {
        let scrolls = |count: u128| EventFilter::any((0..count).map(|id| EventFilter::ScrollId(Uuid::from_u128(id))));
        let most = u128::try_from(MAX_SUBJECTS).unwrap();
        assert_eq!(sorted(&scrolls(most)).len(), MAX_SUBJECTS);
        assert_eq!(sorted(&scrolls(most + 1)), ["sb1.r.*.*.*.*.*"]);
        // The pairs would exceed the limit, so one side is used alone.
        let both = EventFilter::all([scrolls(most), EventFilter::any([connector("a"), connector("b")])]);
        assert_eq!(sorted(&both), ["sb1.r.*.a.*.*.*", "sb1.r.*.b.*.*.*"]);
    }

    #[test]
    fn a_list_of_any_depth_needs_all_subjects() {
        let thread = std::thread::Builder::new().stack_size(1024 * 1024);
        let test = || {
            for list in [EventFilter::Any, EventFilter::Every] {
                let deep = (0..100_000).fold(connector("a"), |filter, _| list([filter].into()));
                assert_eq!(sorted(&deep), ["sb1.r.*.*.*.*.*"]);
            }
            let allowed = (0..128).fold(connector("a"), |filter, level| match level % 2 {
                0 => EventFilter::any([filter]),
                _ => EventFilter::all([filter]),
            });
            assert_eq!(sorted(&allowed), ["sb1.r.*.a.*.*.*"]);
        };
        thread.spawn(test).unwrap().join().unwrap();
    }

    fn name() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "a",
            "",
            "_",
            "a.b",
            "a-connector-whose-name-is-longer-than-64-bytes-so-that-its-token-is-a-hash",
        ])
    }

    fn filter() -> impl Strategy<Value = EventFilter<u64>> {
        let kind = || prop::sample::select(&EventKind::ALL[..3]);
        let leaf = prop_oneof![
            1 => Just(EventFilter::All),
            4 => (0..3u8).prop_map(|id| EventFilter::ScrollId(scroll(id))),
            1 => (0..2u8).prop_map(|id| EventFilter::ConnectorUid(scroll(id))),
            3 => name().prop_map(connector),
            4 => (name(), name()).prop_map(|(connector, native)| session(connector, native)),
            4 => kind().prop_map(EventFilter::Kind),
            1 => prop::sample::select(&EventOrigin::ALL[..2]).prop_map(EventFilter::Origin),
            1 => Just(EventFilter::custom(|event: &BusEvent<u64>| *event.event % 2 == 0)),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            let some = || prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                3 => some().prop_map(EventFilter::any),
                3 => some().prop_map(EventFilter::all),
                1 => inner.prop_map(EventFilter::not),
            ]
        })
    }

    fn event() -> impl Strategy<Value = BusEvent<u64>> {
        let ids = (prop::option::of(0..3u8), prop::option::of(0..2u8));
        let names = (prop::option::of(name()), prop::option::of(name()));
        let kind = prop::sample::select(&EventKind::ALL[..3]);
        let origin = prop::sample::select(&EventOrigin::ALL[..2]);
        (ids, names, kind, origin, 0..4u64).prop_map(|((scroll_id, uid), (connector, session), kind, origin, n)| {
            let routing = EventRouting {
                scroll_id: scroll_id.map(scroll),
                connector_uid: uid.map(scroll),
                connector_id: connector.map(Into::into),
                native_session_id: session.map(Into::into),
                kind,
            };
            BusEvent::new(routing, n).with_origin(origin)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn matching_event_is_delivered_once(filter in filter(), events in prop::collection::vec(event(), 1..30)) {
            let subjects = filter_subjects(&realm(), [&filter]);
            for event in events {
                let sent = subject(&realm(), Class::Delta, &event.routing).text;
                let times = subjects.iter().filter(|pattern| delivers(pattern, &sent)).count();
                prop_assert!(times <= 1, "{} is delivered {} times for {:?}", sent, times, subjects);
                prop_assert!(times == 1 || !filter.matches(&event), "{} is not delivered for {:?}", sent, subjects);
            }
        }
    }
}

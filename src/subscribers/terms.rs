//! The index terms of a filter, by which the filter is found without a scan of all filters.
//!
//! A term is an equality on an event, such as its scroll. [`IndexTerms`] are a set of terms for one filter: every event
//! that the filter matches satisfies at least one of them. So an index that lists the filter under each of its terms
//! finds the filter for every such event. The dispatch thread indexes filters in this way, and `interest.rs` counts
//! their terms. A term is *exact* if it alone implies the filter. The filter then need not be evaluated.
//!
//! An equality is its own term. `any` has the union of its children's terms, or none if one child has none. For `all`,
//! the terms of one child are enough, so it has the terms of its most selective child. `not`, `custom` and `All` have
//! no terms, so such filters are scanned. The analysis is linear in the size of the filter, because it needs no normal
//! form. Lucene's monitor extracts terms from queries in the same way.
//!
//! Plain values; nothing here is shared.

use std::collections::HashMap;

use uuid::Uuid;

use crate::event::{EventKind, EventOrigin};
use crate::filter::EventFilter;
use crate::sessions::key::SessionKey;
use crate::sync::Arc;

/// One equality on an event.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    Scroll(Uuid),
    Session(SessionKey),
    ConnectorUid(Uuid),
    ConnectorId(Arc<str>),
    Kind(EventKind),
    Origin(EventOrigin),
}

impl Term {
    /// Ranks terms by the number of events that satisfy them: a scroll is narrower than a connector, a connector than a
    /// kind.
    fn breadth(&self) -> usize {
        match self {
            Term::Scroll(_) => 0,
            Term::Session(_) => 1,
            Term::ConnectorUid(_) | Term::ConnectorId(_) => 2,
            Term::Kind(_) => 3,
            Term::Origin(_) => 4,
        }
    }
}

/// The terms of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IndexTerms {
    /// Distinct terms, each with a flag that is `true` if the term is exact. An empty list means that the filter
    /// matches no event.
    Terms(Vec<(Term, bool)>),
    /// The filter has no terms, so it is evaluated for every event. `exact` means that it matches every event.
    ScanAll { exact: bool },
}

impl IndexTerms {
    /// Returns the scrolls of the events that can match, if all terms are scrolls.
    pub(crate) fn scrolls(&self) -> Option<Vec<Uuid>> {
        let IndexTerms::Terms(terms) = self else {
            return None;
        };
        let scroll = |(term, _): &(Term, bool)| match term {
            Term::Scroll(id) => Some(*id),
            _ => None,
        };
        terms.iter().map(scroll).collect()
    }

    /// Returns the index terms of a filter.
    pub(crate) fn of<E>(filter: &EventFilter<E>) -> IndexTerms {
        let equality = |term| IndexTerms::Terms(vec![(term, true)]);
        match filter {
            EventFilter::All => IndexTerms::ScanAll { exact: true },
            EventFilter::ScrollId(id) => equality(Term::Scroll(*id)),
            EventFilter::ConnectorUid(uid) => equality(Term::ConnectorUid(*uid)),
            EventFilter::ConnectorId(id) => equality(Term::ConnectorId(Arc::clone(id))),
            EventFilter::Session {
                connector_id,
                native_session_id,
            } => equality(Term::Session(SessionKey::new(
                Arc::clone(connector_id),
                Arc::clone(native_session_id),
            ))),
            EventFilter::Kind(kind) => equality(Term::Kind(*kind)),
            EventFilter::Origin(origin) => equality(Term::Origin(*origin)),
            EventFilter::Any(filters) => IndexTerms::of_any(filters),
            EventFilter::Every(filters) => IndexTerms::of_all(filters),
            EventFilter::Not(_) | EventFilter::Custom(_) => IndexTerms::ScanAll { exact: false },
        }
    }

    fn of_any<E>(filters: &[EventFilter<E>]) -> IndexTerms {
        let mut union: HashMap<Term, bool> = HashMap::new();
        let mut opaque = false;
        for filter in filters {
            match IndexTerms::of(filter) {
                // If one child matches every event, so does the whole.
                IndexTerms::ScanAll { exact: true } => return IndexTerms::ScanAll { exact: true },
                IndexTerms::ScanAll { exact: false } => opaque = true,
                IndexTerms::Terms(terms) => {
                    for (term, exact) in terms {
                        *union.entry(term).or_default() |= exact;
                    }
                }
            }
        }
        if opaque {
            IndexTerms::ScanAll { exact: false }
        } else {
            IndexTerms::Terms(union.into_iter().collect())
        }
    }

    fn of_all<E>(filters: &[EventFilter<E>]) -> IndexTerms {
        // Children that match every event restrict nothing. If one child remains, the whole is that child.
        let mut children = filters
            .iter()
            .map(IndexTerms::of)
            .filter(|terms| *terms != IndexTerms::ScanAll { exact: true });
        let Some(first) = children.next() else {
            return IndexTerms::ScanAll { exact: true };
        };
        let mut alone = true;
        let mut narrowest = first;
        for terms in children {
            alone = false;
            if terms.breadth() < narrowest.breadth() {
                narrowest = terms;
            }
        }
        if !alone {
            narrowest.forget_exactness();
        }
        narrowest
    }

    /// Ranks sets of terms by the number of events that satisfy them: by the broadest term, then by the number of
    /// terms.
    fn breadth(&self) -> (usize, usize) {
        match self {
            IndexTerms::Terms(terms) => {
                let broadest = terms.iter().map(|(term, _)| term.breadth()).max();
                (broadest.unwrap_or(0), terms.len())
            }
            IndexTerms::ScanAll { .. } => (usize::MAX, 0),
        }
    }

    fn forget_exactness(&mut self) {
        match self {
            IndexTerms::Terms(terms) => terms.iter_mut().for_each(|(_, exact)| *exact = false),
            IndexTerms::ScanAll { exact } => *exact = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Filter = EventFilter<()>;

    fn scroll(n: u128) -> Filter {
        EventFilter::ScrollId(Uuid::from_u128(n))
    }

    fn kind() -> Filter {
        EventFilter::Kind(EventKind::Tool)
    }

    fn opaque() -> Filter {
        EventFilter::custom(|_| true)
    }

    /// Returns the terms of a filter as text, in a fixed order.
    fn terms(filter: Filter) -> String {
        match IndexTerms::of(&filter) {
            IndexTerms::ScanAll { exact } => format!("scan {exact}"),
            IndexTerms::Terms(mut terms) => {
                terms.sort_by_key(|(term, _)| term.breadth());
                let terms = terms.iter().map(|(term, exact)| {
                    let name = match term {
                        Term::Scroll(id) => format!("scroll {}", id.as_u128()),
                        Term::Session(_) => "session".into(),
                        Term::ConnectorUid(_) | Term::ConnectorId(_) => "connector".into(),
                        Term::Kind(kind) => kind.to_string(),
                        Term::Origin(origin) => origin.to_string(),
                    };
                    format!("{name} {exact}")
                });
                terms.collect::<Vec<_>>().join(", ")
            }
        }
    }

    #[test]
    fn an_equality_is_its_own_exact_term() {
        assert_eq!(terms(scroll(1)), "scroll 1 true");
        assert_eq!(terms(EventFilter::all([scroll(1)])), "scroll 1 true");
        assert_eq!(terms(EventFilter::all([scroll(1), EventFilter::All])), "scroll 1 true");
    }

    #[test]
    fn all_takes_the_most_selective_child_and_is_not_exact() {
        assert_eq!(terms(EventFilter::all([kind(), scroll(1)])), "scroll 1 false");
        assert_eq!(terms(EventFilter::all([opaque(), kind()])), "tool false");
        let either = EventFilter::any([scroll(1), kind()]);
        let connector = EventFilter::ConnectorId("c".into());
        assert_eq!(terms(EventFilter::all([either, connector])), "connector false");
    }

    #[test]
    fn any_takes_the_union_and_keeps_exactness_by_term() {
        let mixed = EventFilter::any([scroll(1), EventFilter::all([kind(), opaque()])]);
        assert_eq!(terms(mixed), "scroll 1 true, tool false");
        let twice = EventFilter::any([EventFilter::all([scroll(1), opaque()]), scroll(1)]);
        assert_eq!(terms(twice), "scroll 1 true");
    }

    #[test]
    fn a_filter_without_an_equality_is_scanned() {
        assert_eq!(terms(EventFilter::All), "scan true");
        assert_eq!(terms(EventFilter::all([])), "scan true");
        assert_eq!(terms(EventFilter::any([scroll(1), EventFilter::All])), "scan true");
        assert_eq!(terms(opaque()), "scan false");
        assert_eq!(terms(EventFilter::not(scroll(1))), "scan false");
        assert_eq!(terms(EventFilter::any([scroll(1), opaque()])), "scan false");
        assert_eq!(terms(EventFilter::all([opaque(), opaque()])), "scan false");
    }

    #[test]
    fn a_filter_that_matches_no_event_has_no_terms() {
        assert_eq!(terms(EventFilter::any([])), "");
        assert_eq!(terms(EventFilter::all([EventFilter::any([]), opaque()])), "");
    }
}

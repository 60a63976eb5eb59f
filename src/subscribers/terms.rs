//! From a filter to the index terms that it needs: its *required cover*.
//!
//! Pure functions. A cover is a set of equalities of which at least one holds for every event that the filter matches;
//! whoever files the filter under each of them finds it again for every such event. The routing table files filters so,
//! and `interest.rs` counts what is asked for. A term is *exact* if it alone
//! implies the filter, which then need not be evaluated.
//!
//! An equality covers itself. `any` is covered by the union of its children's covers, or by nothing if one child has
//! none. `all` is covered by any one child's cover, so by the most selective. `not`, `custom` and `All` have no cover.
//! This needs no normal form, so it stays linear in the size of the filter.

use std::collections::HashMap;

use uuid::Uuid;

use crate::event::{EventKind, EventOrigin};
use crate::filter::EventFilter;
use crate::sessions::SessionKey;
use crate::sync::Arc;

/// One equality, as the routing table indexes it.
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
    /// How many events the term lets through, by rank: a scroll is narrower than a connector, a connector than a kind.
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

/// Where the routing table has to file a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// Under each of these terms, once each, with whether the term is exact. None at all: the filter matches nothing.
    Terms(Vec<(Term, bool)>),
    /// Among those met by every event; `exact` if the filter matches everything.
    Residual { exact: bool },
}

impl Cover {
    /// The scrolls that every event which the filter matches is of, if it asks for scrolls alone.
    pub(crate) fn scrolls(&self) -> Option<Vec<Uuid>> {
        let Cover::Terms(terms) = self else {
            return None;
        };
        let scroll = |(term, _): &(Term, bool)| match term {
            Term::Scroll(id) => Some(*id),
            _ => None,
        };
        terms.iter().map(scroll).collect()
    }

    pub(crate) fn of<E>(filter: &EventFilter<E>) -> Cover {
        let equality = |term| Cover::Terms(vec![(term, true)]);
        match filter {
            EventFilter::All => Cover::Residual { exact: true },
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
            EventFilter::Any(filters) => Cover::of_any(filters),
            EventFilter::Every(filters) => Cover::of_all(filters),
            EventFilter::Not(_) | EventFilter::Custom(_) => Cover::Residual { exact: false },
        }
    }

    fn of_any<E>(filters: &[EventFilter<E>]) -> Cover {
        let mut union: HashMap<Term, bool> = HashMap::new();
        let mut opaque = false;
        for filter in filters {
            match Cover::of(filter) {
                // One child that matches everything makes the whole match everything.
                Cover::Residual { exact: true } => return Cover::Residual { exact: true },
                Cover::Residual { exact: false } => opaque = true,
                Cover::Terms(terms) => {
                    for (term, exact) in terms {
                        *union.entry(term).or_default() |= exact;
                    }
                }
            }
        }
        if opaque {
            Cover::Residual { exact: false }
        } else {
            Cover::Terms(union.into_iter().collect())
        }
    }

    fn of_all<E>(filters: &[EventFilter<E>]) -> Cover {
        // Children that match everything restrict nothing; if one child is left, the whole is that child.
        let mut children = filters
            .iter()
            .map(Cover::of)
            .filter(|cover| *cover != Cover::Residual { exact: true });
        let Some(first) = children.next() else {
            return Cover::Residual { exact: true };
        };
        let mut alone = true;
        let mut narrowest = first;
        for cover in children {
            alone = false;
            if cover.breadth() < narrowest.breadth() {
                narrowest = cover;
            }
        }
        if !alone {
            narrowest.forget_exactness();
        }
        narrowest
    }

    /// How many events the cover lets through, for comparison: the rank of its broadest term, then how many it has.
    fn breadth(&self) -> (usize, usize) {
        match self {
            Cover::Terms(terms) => {
                let broadest = terms.iter().map(|(term, _)| term.breadth()).max();
                (broadest.unwrap_or(0), terms.len())
            }
            Cover::Residual { .. } => (usize::MAX, 0),
        }
    }

    fn forget_exactness(&mut self) {
        match self {
            Cover::Terms(terms) => terms.iter_mut().for_each(|(_, exact)| *exact = false),
            Cover::Residual { exact } => *exact = false,
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

    /// The cover as text, in a fixed order.
    fn cover(filter: Filter) -> String {
        match Cover::of(&filter) {
            Cover::Residual { exact } => format!("residual {exact}"),
            Cover::Terms(mut terms) => {
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
    fn an_equality_covers_itself_exactly() {
        assert_eq!(cover(scroll(1)), "scroll 1 true");
        assert_eq!(cover(EventFilter::all([scroll(1)])), "scroll 1 true");
        assert_eq!(cover(EventFilter::all([scroll(1), EventFilter::All])), "scroll 1 true");
    }

    #[test]
    fn all_takes_the_most_selective_child_and_is_not_exact() {
        assert_eq!(cover(EventFilter::all([kind(), scroll(1)])), "scroll 1 false");
        assert_eq!(cover(EventFilter::all([opaque(), kind()])), "tool false");
        let either = EventFilter::any([scroll(1), kind()]);
        let connector = EventFilter::ConnectorId("c".into());
        assert_eq!(cover(EventFilter::all([either, connector])), "connector false");
    }

    #[test]
    fn any_takes_the_union_and_keeps_exactness_by_term() {
        let mixed = EventFilter::any([scroll(1), EventFilter::all([kind(), opaque()])]);
        assert_eq!(cover(mixed), "scroll 1 true, tool false");
        let twice = EventFilter::any([EventFilter::all([scroll(1), opaque()]), scroll(1)]);
        assert_eq!(cover(twice), "scroll 1 true");
    }

    #[test]
    fn what_has_no_equality_has_no_cover() {
        assert_eq!(cover(EventFilter::All), "residual true");
        assert_eq!(cover(EventFilter::all([])), "residual true");
        assert_eq!(cover(EventFilter::any([scroll(1), EventFilter::All])), "residual true");
        assert_eq!(cover(opaque()), "residual false");
        assert_eq!(cover(EventFilter::not(scroll(1))), "residual false");
        assert_eq!(cover(EventFilter::any([scroll(1), opaque()])), "residual false");
        assert_eq!(cover(EventFilter::all([opaque(), opaque()])), "residual false");
    }

    #[test]
    fn what_matches_nothing_is_filed_nowhere() {
        assert_eq!(cover(EventFilter::any([])), "");
        assert_eq!(cover(EventFilter::all([EventFilter::any([]), opaque()])), "");
    }
}

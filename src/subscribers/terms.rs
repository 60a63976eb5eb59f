//! The index terms of a filter, by which the filter is found without a scan of all filters.
//!
//! A term is an equality on an event, such as its scroll. [`IndexTerms`] are a set of terms for one filter: every event
//! that the filter matches satisfies at least one of them. So an index that lists the filter under each of its terms
//! finds the filter for every such event. The dispatch thread indexes filters in this way, and `interest.rs` counts
//! their terms. A term is *exact* if it alone implies the filter. The filter then need not be evaluated.
//!
//! An equality is its own term. `any` has the union of its children's terms, or none if one child has none. For `all`,
//! the terms of one child are enough, so it has the terms of its most selective child. `not`, `custom` and `All` have
//! no terms, so such filters are scanned. The analysis needs no normal form. It collects the terms of all parts in one
//! vector, takes back those that are not needed, and removes duplicates at the end. So it is linear in the size of a
//! filter. Lucene's monitor extracts terms from queries in the same way.
//!
//! The caller's thread analyzes a filter, and holds no lock meanwhile.
//!
//! Plain values; nothing here is shared.

use std::collections::HashMap;

use uuid::Uuid;

use crate::event::{EventKind, EventOrigin};
use crate::filter::{EventFilter, Operator};
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
        let mut terms = Vec::new();
        match collect(filter, &mut terms) {
            Cover::ScanAll { exact } => IndexTerms::ScanAll { exact },
            Cover::Terms { .. } => IndexTerms::Terms(distinct(terms)),
        }
    }
}

/// The terms of a part of the filter.
enum Cover {
    /// The terms are at the end of the vector. The broadest of them has this breadth.
    Terms { breadth: usize },
    /// As in [`IndexTerms`]. The vector is unchanged.
    ScanAll { exact: bool },
}

/// Appends the terms of a filter to `terms`, which may contain duplicates.
fn collect<E>(filter: &EventFilter<E>, terms: &mut Vec<(Term, bool)>) -> Cover {
    let equality = match filter {
        EventFilter::All => return Cover::ScanAll { exact: true },
        EventFilter::Any(list) => return collect_any(Operator::Any.members(list), terms),
        EventFilter::Every(list) => return collect_all(Operator::Every.members(list), terms),
        EventFilter::Not(_) | EventFilter::Custom(_) => return Cover::ScanAll { exact: false },
        EventFilter::ScrollId(id) => Term::Scroll(*id),
        EventFilter::ConnectorUid(uid) => Term::ConnectorUid(*uid),
        EventFilter::ConnectorId(id) => Term::ConnectorId(Arc::clone(id)),
        EventFilter::Session {
            connector_id,
            native_session_id,
        } => Term::Session(SessionKey::new(Arc::clone(connector_id), Arc::clone(native_session_id))),
        EventFilter::Kind(kind) => Term::Kind(*kind),
        EventFilter::Origin(origin) => Term::Origin(*origin),
    };
    let breadth = equality.breadth();
    terms.push((equality, true));
    Cover::Terms { breadth }
}

fn collect_any<'a, E: 'a>(filters: impl Iterator<Item = &'a EventFilter<E>>, terms: &mut Vec<(Term, bool)>) -> Cover {
    let start = terms.len();
    let mut broadest = 0;
    let mut opaque = false;
    for filter in filters {
        match collect(filter, terms) {
            Cover::Terms { breadth } => broadest = breadth.max(broadest),
            Cover::ScanAll { exact: false } => opaque = true,
            // If one child matches every event, so does the whole.
            Cover::ScanAll { exact: true } => {
                terms.truncate(start);
                return Cover::ScanAll { exact: true };
            }
        }
    }
    if opaque {
        terms.truncate(start);
        return Cover::ScanAll { exact: false };
    }
    Cover::Terms { breadth: broadest }
}

fn collect_all<'a, E: 'a>(filters: impl Iterator<Item = &'a EventFilter<E>>, terms: &mut Vec<(Term, bool)>) -> Cover {
    let start = terms.len();
    // The breadth and the number of the terms of the most selective child so far. Its terms begin at `start`.
    let mut narrowest: Option<(usize, usize)> = None;
    let mut restricting = 0;
    for filter in filters {
        let end = terms.len();
        match collect(filter, terms) {
            // A child that matches every event restricts nothing. If one other child remains, the whole is that child.
            Cover::ScanAll { exact: true } => continue,
            Cover::ScanAll { exact: false } => {}
            Cover::Terms { breadth } => {
                let rank = (breadth, terms.len() - end);
                if narrowest.is_none_or(|narrowest| rank < narrowest) {
                    narrowest = Some(rank);
                    terms.drain(start..end);
                } else {
                    terms.truncate(end);
                }
            }
        }
        restricting += 1;
    }
    let Some((breadth, _)) = narrowest else {
        return Cover::ScanAll {
            exact: restricting == 0,
        };
    };
    if restricting > 1 {
        terms[start..].iter_mut().for_each(|(_, exact)| *exact = false);
    }
    Cover::Terms { breadth }
}

/// Removes duplicates. A term is exact if one of its duplicates is.
fn distinct(terms: Vec<(Term, bool)>) -> Vec<(Term, bool)> {
    if terms.len() < 2 {
        return terms;
    }
    let mut distinct: HashMap<Term, bool> = HashMap::with_capacity(terms.len());
    for (term, exact) in terms {
        *distinct.entry(term).or_default() |= exact;
    }
    distinct.into_iter().collect()
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

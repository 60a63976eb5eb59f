//! The lists of `any` and `all`: how the constructors join them, and how other code walks them.
//!
//! The constructors flatten: the parts of an `any` in an `any` become parts of the outer list. A host may extend a
//! filter in a loop, as in `filter = any([filter, alternative])`. A copy of the whole list in each step would take
//! quadratic time. So a long list is not one slice. It is a list of *runs*, each of which is a filter with the same
//! operator. A step copies only runs of similar length, so it copies each part a logarithmic number of times.
//!
//! Within one list, the lengths of the runs first at least double from run to run, and then at least halve. So a list
//! has few runs. Lists of at most [`RUN`] parts are always one slice. The order of the parts is the caller's.
//!
//! Plain values; nothing here is shared.

use crate::filter::{EventFilter, MAX_DEPTH};
use crate::sync::Arc;

/// Number of parts up to which all runs count as equally long.
const RUN: usize = 32;

/// The operator of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Any,
    Every,
}

impl Operator {
    /// Returns the operator and the list of a filter that has a list.
    pub(crate) fn of<E>(filter: &EventFilter<E>) -> Option<(Operator, &Arc<[EventFilter<E>]>)> {
        match filter {
            EventFilter::Any(list) => Some((Operator::Any, list)),
            EventFilter::Every(list) => Some((Operator::Every, list)),
            _ => None,
        }
    }

    /// Returns the parts of a list, including the parts of its runs.
    pub(crate) fn members<E>(self, list: &[EventFilter<E>]) -> impl DoubleEndedIterator<Item = &EventFilter<E>> {
        list.iter().flat_map(move |filter| match self.list_of(filter) {
            Some(run) => run,
            None => std::slice::from_ref(filter),
        })
    }

    /// Returns the filter that combines `filters`.
    #[track_caller]
    pub(super) fn join<E>(self, filters: impl IntoIterator<Item = EventFilter<E>>) -> EventFilter<E> {
        let mut runs = Runs::new();
        for filter in filters {
            match self.list_of(&filter) {
                // A list from the constructors has only runs, or none.
                Some(list) if list.first().is_some_and(|first| self.list_of(first).is_some()) => {
                    for filter in list.iter() {
                        match self.list_of(filter) {
                            Some(run) => runs.push(Run::Shared(Arc::clone(run))),
                            None => runs.push_part(filter.clone()),
                        }
                    }
                }
                Some(list) => runs.push(Run::Shared(Arc::clone(list))),
                None => {
                    filter.assert_fits(MAX_DEPTH - 1);
                    runs.push_part(filter);
                }
            }
        }
        self.filter(runs.into_list(self))
    }

    fn list_of<E>(self, filter: &EventFilter<E>) -> Option<&Arc<[EventFilter<E>]>> {
        let (operator, list) = Operator::of(filter)?;
        (operator == self).then_some(list)
    }

    fn filter<E>(self, list: Arc<[EventFilter<E>]>) -> EventFilter<E> {
        match self {
            Operator::Any => EventFilter::Any(list),
            Operator::Every => EventFilter::Every(list),
        }
    }
}

/// Consecutive parts of a list.
enum Run<E> {
    New(Vec<EventFilter<E>>),
    Shared(Arc<[EventFilter<E>]>),
}

impl<E> Run<E> {
    fn weight(&self) -> usize {
        let parts = match self {
            Run::New(parts) => parts.len(),
            Run::Shared(parts) => parts.len(),
        };
        parts.max(RUN)
    }

    /// Appends the parts of the next run.
    fn append(self, next: Run<E>) -> Run<E> {
        let mut parts = match self {
            Run::New(parts) => parts,
            Run::Shared(parts) => parts.to_vec(),
        };
        match next {
            Run::New(mut next) => parts.append(&mut next),
            Run::Shared(next) => parts.extend_from_slice(&next),
        }
        Run::New(parts)
    }

    fn into_list(self) -> Arc<[EventFilter<E>]> {
        match self {
            Run::New(parts) => parts.into(),
            Run::Shared(parts) => parts,
        }
    }
}

/// The runs of a list under construction. All runs but the last are in order of length.
struct Runs<E>(Vec<Run<E>>);

impl<E> Runs<E> {
    fn new() -> Self {
        Runs(Vec::new())
    }

    fn push(&mut self, run: Run<E>) {
        self.settle();
        self.0.push(run);
    }

    fn push_part(&mut self, filter: EventFilter<E>) {
        match self.0.last_mut() {
            Some(Run::New(parts)) => parts.push(filter),
            _ => self.push(Run::New(vec![filter])),
        }
    }

    fn into_list(mut self, operator: Operator) -> Arc<[EventFilter<E>]> {
        self.settle();
        match self.0.len() {
            0 | 1 => self.0.pop().map_or_else(Default::default, Run::into_list),
            _ => self.0.into_iter().map(|run| operator.filter(run.into_list())).collect(),
        }
    }

    /// Merges runs at the end until the lengths are in order.
    fn settle(&mut self) {
        while let Some(first) = self.first_to_merge() {
            let second = self.0.remove(first + 1);
            let merged = self.0.remove(first).append(second);
            self.0.insert(first, merged);
        }
    }

    /// Returns the place of a run to merge with the next one: two similar runs, or a run between longer ones and the
    /// shorter of these.
    fn first_to_merge(&self) -> Option<usize> {
        let middle = self.0.len().checked_sub(2)?;
        let weight = |place: usize| self.0[place].weight();
        let (shorter, longer) = (
            weight(middle).min(weight(middle + 1)),
            weight(middle).max(weight(middle + 1)),
        );
        if longer < 2 * shorter {
            return Some(middle);
        }
        let before = middle.checked_sub(1)?;
        if weight(middle) > weight(before) || weight(middle) > weight(middle + 1) {
            return None;
        }
        Some(if weight(before) < weight(middle + 1) {
            before
        } else {
            middle
        })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    type Filter = EventFilter<()>;

    fn scroll(n: usize) -> Filter {
        EventFilter::ScrollId(Uuid::from_u128(n as u128))
    }

    /// Returns the numbers of the scrolls in the list of the filter, and the lengths of its runs.
    fn parts(filter: &Filter) -> (Vec<usize>, Vec<usize>) {
        let (operator, list) = Operator::of(filter).unwrap();
        let numbers = operator.members(list).map(|part| match part {
            EventFilter::ScrollId(id) => id.as_u128() as usize,
            part => panic!("{part} is not a scroll"),
        });
        let runs = list.iter().filter_map(|part| operator.list_of(part));
        (numbers.collect(), runs.map(|run| run.len()).collect())
    }

    #[test]
    fn a_short_list_is_one_slice() {
        let nested = EventFilter::any([
            scroll(0),
            EventFilter::any([]),
            EventFilter::any([scroll(1), EventFilter::any([scroll(2), scroll(3)])]),
            scroll(4),
        ]);
        assert_eq!(parts(&nested), (vec![0, 1, 2, 3, 4], vec![]));
        let long = EventFilter::all((0..10_000).map(scroll));
        assert_eq!(parts(&long), ((0..10_000).collect(), vec![]));
    }

    #[test]
    fn a_list_that_grows_at_either_end_keeps_its_order_and_few_runs() {
        let appended = (0..5_000).fold(EventFilter::any([]), |list, n| EventFilter::any([list, scroll(n)]));
        let prepended = (0..5_000)
            .rev()
            .fold(EventFilter::all([]), |list, n| EventFilter::all([scroll(n), list]));
        for list in [appended, prepended] {
            let (numbers, runs) = parts(&list);
            assert_eq!(numbers, (0..5_000).collect::<Vec<_>>());
            assert!(runs.len() <= 10, "{runs:?}");
        }
    }

    #[test]
    fn lists_of_any_lengths_have_few_runs_after_they_are_joined() {
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..100 {
            let mut next = 0;
            let mut list: Filter = EventFilter::any([]);
            for _ in 0..20 {
                let lists: Vec<_> = (0..random.usize(0..6))
                    .map(|_| {
                        let from = next;
                        next += 1 << random.usize(0..11);
                        EventFilter::any((from..next).map(scroll))
                    })
                    .collect();
                list = EventFilter::any([list].into_iter().chain(lists));
            }
            let (numbers, runs) = parts(&list);
            assert_eq!(numbers, (0..next).collect::<Vec<_>>());
            let ascending = runs.windows(2).take_while(|pair| pair[0] < pair[1]).count();
            assert!(runs[ascending.min(runs.len())..].is_sorted_by(|a, b| a > b), "{runs:?}");
            assert!(runs.len() <= 20, "{runs:?}");
        }
    }

    #[test]
    fn a_long_run_is_shared_instead_of_copied() {
        let long = EventFilter::any((0..1_000).map(scroll));
        let longer = EventFilter::any([long.clone(), scroll(1_000)]);
        let run = |filter: &Filter| Operator::of(filter).map(|(_, list)| list.as_ptr());
        let (_, list) = Operator::of(&longer).unwrap();
        assert_eq!(run(&list[0]), run(&long));
        assert_eq!(run(&EventFilter::any([long.clone()])), run(&long));
    }
}

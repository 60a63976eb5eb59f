//! The history for late subscribers: the last dispatched events, including events that matched no subscriber.
//!
//! The history is private to the dispatch thread and exists only on a bus built with one. The dispatch thread records
//! each event when it dispatches the event.
//!
//! The history has two tiers: the last events of the bus, and the last events of each scroll. Each event that only the
//! second tier contains is older than all events of the first. Both tiers find the events below a sequence in
//! logarithmic time, so a [`Search`] can pause at any event.

use std::collections::{BTreeMap, HashMap, VecDeque};

use uuid::Uuid;

use crate::delivery::parcel::Envelope;
use crate::event::BusEvent;
use crate::sync::counted::Counted;

/// Maximum number of events that a search sorts. A filter with more candidates examines the whole second tier.
const MAX_SORTED: usize = 4096;

/// The size of a history. Zero keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// Maximum number of events in the first tier.
    pub(crate) events: usize,
    /// Maximum number of events of each scroll in the second tier.
    pub(crate) per_scroll: usize,
    /// Maximum number of scrolls in the second tier.
    pub(crate) scrolls: usize,
}

pub(crate) type Kept<E> = Counted<Envelope<E>>;

pub(crate) struct History<E> {
    keep: Keep,
    /// The first tier. Its sequences are consecutive.
    all: VecDeque<Kept<E>>,
    /// The second tier by sequence.
    of_scrolls: BTreeMap<u64, Kept<E>>,
    /// The sequences of each scroll's events in the second tier.
    scrolls: HashMap<Uuid, VecDeque<u64>>,
    /// The scrolls by the sequence of their last event. The first one is evicted when there are too many scrolls.
    by_last_event: BTreeMap<u64, Uuid>,
}

/// A search for the newest matching events. It examines one event after another, beginning with the newest, and can
/// pause in between.
pub(crate) struct Search<E> {
    limit: usize,
    /// The events from this sequence on are examined.
    below: u64,
    /// The only events of the second tier that can match, in order of sequence, if they are few.
    candidates: Option<Vec<u64>>,
    /// The found events, beginning with the newest.
    pub(crate) found: Vec<Kept<E>>,
}

impl<E> History<E> {
    /// Creates a history, or returns `None` if it would keep nothing.
    pub(crate) fn new(keep: Keep) -> Option<Self> {
        (keep.events > 0 || keep.per_scroll > 0).then(|| History {
            keep,
            all: VecDeque::new(),
            of_scrolls: BTreeMap::new(),
            scrolls: HashMap::new(),
            by_last_event: BTreeMap::new(),
        })
    }

    /// Adds the event that follows the last one, and removes the events that it displaces.
    pub(crate) fn record(&mut self, event: Kept<E>) {
        if let (Some(scroll), true) = (event.event().routing.scroll_id, self.keep.per_scroll > 0) {
            self.record_of_scroll(scroll, event.clone());
        }
        if self.keep.events == 0 {
            return;
        }
        if self.all.len() == self.keep.events {
            self.all.pop_front();
        }
        self.all.push_back(event);
    }

    fn record_of_scroll(&mut self, scroll: Uuid, event: Kept<E>) {
        let sequence = event.sequence;
        let events = self.scrolls.entry(scroll).or_default();
        if let Some(last) = events.back() {
            self.by_last_event.remove(last);
        }
        if events.len() == self.keep.per_scroll {
            if let Some(oldest) = events.pop_front() {
                self.of_scrolls.remove(&oldest);
            }
        }
        events.push_back(sequence);
        self.of_scrolls.insert(sequence, event);
        self.by_last_event.insert(sequence, scroll);
        if self.scrolls.len() > self.keep.scrolls {
            self.evict_scroll();
        }
    }

    fn evict_scroll(&mut self) {
        let Some((_, oldest)) = self.by_last_event.pop_first() else {
            return;
        };
        for sequence in self.scrolls.remove(&oldest).unwrap_or_default() {
            self.of_scrolls.remove(&sequence);
        }
    }

    /// Begins a search for at most `limit` events below a sequence. If `scrolls` is `Some`, every matching event must
    /// belong to one of these scrolls. If they are few, the search skips the other scrolls of the second tier.
    pub(crate) fn search(&self, limit: usize, below: u64, scrolls: Option<&[Uuid]>) -> Search<E> {
        let few = |scrolls: &&[Uuid]| scrolls.len().saturating_mul(self.keep.per_scroll) <= MAX_SORTED;
        let candidates = scrolls.filter(few).map(|scrolls| {
            let events = scrolls.iter().filter_map(|scroll| self.scrolls.get(scroll));
            let mut sequences: Vec<_> = events.flatten().copied().collect();
            sequences.sort_unstable();
            sequences
        });
        Search {
            limit,
            below,
            candidates,
            found: Vec::new(),
        }
    }

    /// Continues a search until it has examined `budget` events. Returns `true` if the search is finished. The events
    /// that the history has dropped since the search began are not found.
    pub(crate) fn examine(
        &self,
        search: &mut Search<E>,
        budget: &mut usize,
        mut matches: impl FnMut(&BusEvent<E>) -> bool,
    ) -> bool {
        let Search {
            limit,
            below,
            candidates,
            found,
        } = search;
        let mut newest_first = self.newest_first(*below, candidates.as_deref());
        while found.len() < *limit {
            if *budget == 0 {
                return false;
            }
            let Some(event) = newest_first.next() else {
                return true;
            };
            *budget -= 1;
            *below = event.sequence;
            if matches(event.event()) {
                found.push(event.clone());
            }
        }
        true
    }

    /// Returns the events below a sequence, the newest first. The second tier is limited to the candidates, if given.
    fn newest_first(&self, below: u64, candidates: Option<&[u64]>) -> impl Iterator<Item = &Kept<E>> {
        let begin = self.all.front().map_or(u64::MAX, |event| event.sequence);
        let newer = below.saturating_sub(begin).min(self.all.len() as u64) as usize;
        let older = below.min(begin);
        let every = candidates.is_none().then(|| self.of_scrolls.range(..older).rev());
        let candidates = candidates.unwrap_or_default();
        let candidates = &candidates[..candidates.partition_point(|sequence| *sequence < older)];
        let only = candidates
            .iter()
            .rev()
            .filter_map(|sequence| self.of_scrolls.get(sequence));
        let second_tier = only.chain(every.into_iter().flatten().map(|(_, event)| event));
        self.all.range(..newer).rev().chain(second_tier)
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::event::EventRouting;

    fn scroll(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// Creates a history of events with these scrolls and the sequences 1, 2, and so on. Zero means no scroll.
    fn history(keep: Keep, scrolls: &[u128]) -> History<()> {
        let mut history = History::new(keep).unwrap();
        for (number, sequence) in scrolls.iter().zip(1..) {
            let routing = EventRouting {
                scroll_id: (*number > 0).then(|| scroll(*number)),
                ..EventRouting::default()
            };
            history.record(Counted::new(Envelope::new(sequence, BusEvent::new(routing, ()))));
        }
        history
    }

    fn sequences(history: &History<()>, limit: usize, scrolls: Option<&[Uuid]>) -> Vec<u64> {
        search(history, limit, u64::MAX, scrolls, 1)
    }

    /// Searches in slices of `budget` events.
    fn search(history: &History<()>, limit: usize, below: u64, scrolls: Option<&[Uuid]>, budget: usize) -> Vec<u64> {
        let mut search = history.search(limit, below, scrolls);
        let matches = |event: &BusEvent<()>| {
            scrolls.is_none_or(|scrolls| event.routing.scroll_id.is_some_and(|id| scrolls.contains(&id)))
        };
        while !history.examine(&mut search, &mut { budget }, matches) {}
        search.found.iter().rev().map(|event| event.sequence).collect()
    }

    const ALL: Keep = Keep {
        events: 3,
        per_scroll: 0,
        scrolls: 2,
    };
    const SCROLLS: Keep = Keep {
        events: 0,
        per_scroll: 2,
        scrolls: 2,
    };
    const BOTH: Keep = Keep {
        events: 3,
        per_scroll: 2,
        scrolls: 2,
    };

    #[test]
    fn a_history_of_size_zero_is_not_created() {
        assert!(History::<()>::new(Keep::default()).is_none());
    }

    #[test]
    fn the_newest_events_are_kept_and_returned_in_order() {
        let history = history(ALL, &[0, 1, 0, 1, 2]);
        assert_eq!(sequences(&history, 9, None), [3, 4, 5]);
        assert_eq!(sequences(&history, 2, None), [4, 5]);
        assert_eq!(sequences(&history, 9, Some(&[scroll(1)])), [4]);
        assert_eq!(sequences(&history, 0, None), []);
    }

    #[test]
    fn a_scroll_keeps_its_events_while_other_scrolls_are_busy() {
        let history = history(SCROLLS, &[1, 1, 1, 2, 0, 2, 2]);
        assert_eq!(sequences(&history, 9, Some(&[scroll(1)])), [2, 3]);
        assert_eq!(sequences(&history, 9, None), [2, 3, 6, 7]);
        assert_eq!(sequences(&history, 3, None), [3, 6, 7]);
    }

    #[test]
    fn an_event_in_both_tiers_is_returned_once() {
        let history = history(BOTH, &[1, 1, 1, 2, 0, 2]);
        assert_eq!(sequences(&history, 9, None), [2, 3, 4, 5, 6]);
        assert_eq!(sequences(&history, 9, Some(&[scroll(2)])), [4, 6]);
    }

    #[test]
    fn the_scroll_with_the_oldest_last_event_is_evicted_beyond_the_limit() {
        let history = history(SCROLLS, &[1, 2, 1, 3]);
        assert_eq!(sequences(&history, 9, None), [1, 3, 4]);
        assert_eq!(history.by_last_event.len(), 2);
    }

    #[test]
    fn a_scroll_without_events_left_leaves_nothing_behind() {
        let history = history(SCROLLS, &[1, 1, 2, 3, 3, 3]);
        assert_eq!(history.of_scrolls.keys().copied().collect::<Vec<_>>(), [3, 5, 6]);
        assert_eq!(history.scrolls.len(), 2);
    }

    /// Every slice length finds the same events, and no event at or above the limit of the sequence.
    #[test]
    fn a_search_in_slices_finds_the_same_events() {
        let numbers: Vec<u128> = (0..40).map(|n| n % 4).collect();
        let history = history(
            Keep {
                events: 8,
                per_scroll: 5,
                scrolls: 4,
            },
            &numbers,
        );
        let filters = [None, Some(vec![scroll(1), scroll(3)]), Some(vec![scroll(9)])];
        for (filter, below) in filters.iter().zip([12, 36, 40].repeat(3)) {
            let whole = search(&history, 9, below, filter.as_deref(), usize::MAX);
            assert!(whole.is_sorted() && whole.iter().all(|sequence| *sequence < below));
            for budget in [1, 2, 7] {
                assert_eq!(search(&history, 9, below, filter.as_deref(), budget), whole);
            }
        }
    }

    /// A filter with too many scrolls to sort their events examines the whole second tier.
    #[test]
    fn many_scrolls_are_found_without_candidates() {
        let history = history(SCROLLS, &[1, 2, 1, 2]);
        let scrolls: Vec<_> = (1..=MAX_SORTED as u128).map(scroll).collect();
        assert!(history.search(9, 9, Some(&scrolls)).candidates.is_none());
        assert_eq!(sequences(&history, 9, Some(&scrolls)), [1, 2, 3, 4]);
    }

    #[test]
    fn a_search_with_a_limit_examines_no_more_than_necessary() {
        let history = history(BOTH, &[1, 2, 1, 2, 1, 2]);
        let mut search = history.search(1, u64::MAX, None);
        let mut budget = 10;
        assert!(history.examine(&mut search, &mut budget, |_| true));
        assert_eq!((search.found.len(), budget), (1, 9));
    }
}

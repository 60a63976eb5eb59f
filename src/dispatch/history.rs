//! The history for late joiners: the last events that were dispatched, whoever matched them.
//!
//! Private to the dispatch thread, and only on a bus that asked for it. An event is recorded as it is dispatched, after the
//! routing table has followed the list and before it can do so again; a subscriber that joins is given its backlog as the
//! table attaches it. So what a subscriber gets from here ends right where its live events begin.
//!
//! Two tiers: the last events of all, and the last of each scroll. What the second has and the first has not is older than
//! all of the first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use uuid::Uuid;

use crate::delivery::parcel::Envelope;
use crate::event::BusEvent;
use crate::sync::counted::Counted;

/// How much of a history to keep; nothing where it is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Keep {
    /// Events of all.
    pub(crate) events: usize,
    /// Events of each scroll.
    pub(crate) per_scroll: usize,
    /// Scrolls that have events of their own kept.
    pub(crate) scrolls: usize,
}

type Kept<E> = Counted<Envelope<E>>;

/// In order of their sequence.
struct Events<E>(VecDeque<Kept<E>>);

impl<E> Events<E> {
    fn record(&mut self, event: Kept<E>, limit: usize) {
        if limit == 0 {
            return;
        }
        if self.0.len() == limit {
            self.0.pop_front();
        }
        self.0.push_back(event);
    }

    fn last_sequence(&self) -> u64 {
        self.0.back().map_or(0, |event| event.sequence)
    }
}

pub(crate) struct History<E> {
    keep: Keep,
    all: Events<E>,
    scrolls: HashMap<Uuid, Events<E>>,
    /// The scrolls by the sequence of their last event, so that the quietest is found.
    quietest_first: BTreeMap<u64, Uuid>,
}

impl<E> History<E> {
    /// None where nothing is to be kept.
    pub(crate) fn new(keep: Keep) -> Option<Self> {
        (keep.events > 0 || keep.per_scroll > 0).then(|| History {
            keep,
            all: Events(VecDeque::new()),
            scrolls: HashMap::new(),
            quietest_first: BTreeMap::new(),
        })
    }

    /// Keeps an event, the newest so far, and lets go of those that it takes the place of.
    pub(crate) fn record(&mut self, event: Kept<E>) {
        if let (Some(scroll), true) = (event.event().routing.scroll_id, self.keep.per_scroll > 0) {
            self.record_of_scroll(scroll, event.clone());
        }
        self.all.record(event, self.keep.events);
    }

    fn record_of_scroll(&mut self, scroll: Uuid, event: Kept<E>) {
        let sequence = event.sequence;
        let events = self.scrolls.entry(scroll).or_insert_with(|| Events(VecDeque::new()));
        self.quietest_first.remove(&events.last_sequence());
        events.record(event, self.keep.per_scroll);
        self.quietest_first.insert(sequence, scroll);
        if self.scrolls.len() > self.keep.scrolls {
            if let Some((_, quietest)) = self.quietest_first.pop_first() {
                self.scrolls.remove(&quietest);
            }
        }
    }

    /// The newest events that match, at most `limit`, the oldest of them first. `scrolls`, if given, are those that every
    /// matching event belongs to, so that the others need no look.
    pub(crate) fn newest(
        &self,
        limit: usize,
        scrolls: Option<&[Uuid]>,
        mut matches: impl FnMut(&BusEvent<E>) -> bool,
    ) -> Vec<Kept<E>> {
        let older = self.older(scrolls);
        let newest_first = self.all.0.iter().rev().chain(older);
        let mut found: Vec<_> = newest_first
            .filter(|event| matches(event.event()))
            .take(limit)
            .cloned()
            .collect();
        found.reverse();
        found
    }

    /// What only the scrolls' own tier has, the newest first.
    fn older(&self, scrolls: Option<&[Uuid]>) -> Vec<&Kept<E>> {
        let begin = self.all.0.front().map_or(u64::MAX, |event| event.sequence);
        let tiers: Vec<&Events<E>> = match scrolls {
            Some(scrolls) => scrolls.iter().filter_map(|scroll| self.scrolls.get(scroll)).collect(),
            None => self.scrolls.values().collect(),
        };
        let mut older: Vec<_> = tiers
            .into_iter()
            .flat_map(|events| events.0.iter().take_while(|event| event.sequence < begin))
            .collect();
        older.sort_unstable_by_key(|event| std::cmp::Reverse(event.sequence));
        older
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::event::EventRouting;

    fn scroll(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    /// A history of events with these scrolls, in order of sequence from 1; zero is none.
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
        let found = history.newest(limit, scrolls, |event| {
            scrolls.is_none_or(|scrolls| event.routing.scroll_id.is_some_and(|id| scrolls.contains(&id)))
        });
        found.iter().map(|event| event.sequence).collect()
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
    fn nothing_to_keep_is_no_history() {
        assert!(History::<()>::new(Keep::default()).is_none());
    }

    #[test]
    fn the_newest_are_kept_and_given_in_order() {
        let history = history(ALL, &[0, 1, 0, 1, 2]);
        assert_eq!(sequences(&history, 9, None), [3, 4, 5]);
        assert_eq!(sequences(&history, 2, None), [4, 5]);
        assert_eq!(sequences(&history, 9, Some(&[scroll(1)])), [4]);
        assert_eq!(sequences(&history, 0, None), []);
    }

    #[test]
    fn a_quiet_scroll_keeps_its_own() {
        let history = history(SCROLLS, &[1, 1, 1, 2, 0, 2, 2]);
        assert_eq!(sequences(&history, 9, Some(&[scroll(1)])), [2, 3]);
        assert_eq!(sequences(&history, 9, None), [2, 3, 6, 7]);
        assert_eq!(sequences(&history, 3, None), [3, 6, 7]);
    }

    #[test]
    fn what_both_tiers_have_comes_once() {
        let history = history(BOTH, &[1, 1, 1, 2, 0, 2]);
        assert_eq!(sequences(&history, 9, None), [2, 3, 4, 5, 6]);
        assert_eq!(sequences(&history, 9, Some(&[scroll(2)])), [4, 6]);
    }

    #[test]
    fn beyond_so_many_scrolls_the_quietest_is_let_go_of() {
        let history = history(SCROLLS, &[1, 2, 1, 3]);
        assert_eq!(sequences(&history, 9, None), [1, 3, 4]);
        assert_eq!(history.quietest_first.len(), 2);
    }
}

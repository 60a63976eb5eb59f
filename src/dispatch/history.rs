//! The history for late subscribers: the last dispatched events, including events that matched no subscriber.
//!
//! The history is private to the dispatch thread and exists only on a bus built with one. The dispatch thread records
//! an event when it dispatches the event: after the routing table has followed the subscriber list, and before the
//! table can follow it again. A new subscriber receives its backlog when the table attaches it. So the backlog ends
//! exactly where the live events begin.
//!
//! The history has two tiers: the last events of the bus, and the last events of each scroll. Each event that only the
//! second tier contains is older than all events of the first.

use std::collections::{BTreeMap, HashMap, VecDeque};

use uuid::Uuid;

use crate::delivery::parcel::Envelope;
use crate::event::BusEvent;
use crate::sync::counted::Counted;

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

type Kept<E> = Counted<Envelope<E>>;

/// Events in order of their sequence.
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
    /// The scrolls by the sequence of their last event. The first one is evicted when there are too many scrolls.
    by_last_event: BTreeMap<u64, Uuid>,
}

impl<E> History<E> {
    /// Creates a history, or returns `None` if it would keep nothing.
    pub(crate) fn new(keep: Keep) -> Option<Self> {
        (keep.events > 0 || keep.per_scroll > 0).then(|| History {
            keep,
            all: Events(VecDeque::new()),
            scrolls: HashMap::new(),
            by_last_event: BTreeMap::new(),
        })
    }

    /// Adds an event, which must be newer than all others, and removes the events that it displaces.
    pub(crate) fn record(&mut self, event: Kept<E>) {
        if let (Some(scroll), true) = (event.event().routing.scroll_id, self.keep.per_scroll > 0) {
            self.record_of_scroll(scroll, event.clone());
        }
        self.all.record(event, self.keep.events);
    }

    fn record_of_scroll(&mut self, scroll: Uuid, event: Kept<E>) {
        let sequence = event.sequence;
        let events = self.scrolls.entry(scroll).or_insert_with(|| Events(VecDeque::new()));
        self.by_last_event.remove(&events.last_sequence());
        events.record(event, self.keep.per_scroll);
        self.by_last_event.insert(sequence, scroll);
        if self.scrolls.len() > self.keep.scrolls {
            if let Some((_, oldest)) = self.by_last_event.pop_first() {
                self.scrolls.remove(&oldest);
            }
        }
    }

    /// Returns the newest matching events, at most `limit`, in order of their sequence. If `scrolls` is `Some`, every
    /// matching event must belong to one of these scrolls, so the search skips the other scrolls of the second tier.
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

    /// Returns the events that only the second tier contains, the newest first.
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
}

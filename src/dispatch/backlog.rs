//! Backlogs: subscribers that receive earlier events before live ones.
//!
//! Private to the dispatch thread. A subscriber chooses the length of its backlog and the cost of its filter. So the
//! dispatch thread delivers a backlog in slices, and dispatches a batch of events in between. A backlog has three
//! stages:
//!
//! 1. Search the history for the newest matching events, from the cut backward.
//! 2. Deliver the found events, beginning with the oldest.
//! 3. Follow the events that were dispatched since the cut. [`Backlogs`] records them while a backlog is unfinished.
//!
//! After the last stage, the routing table adds the filter to the index. So the backlog and the live events meet without
//! a gap and without a duplicate. Most backlogs end in their first slice, at the cut, and then no event is recorded.
//!
//! A slice is longer than a batch, so every backlog ends. At most `BATCH` events are recorded for every `SLICE` events
//! of the history.

use std::collections::VecDeque;

use crate::dispatch::history::{History, Kept, Search};
use crate::dispatch::index::SubscriberKey;
use crate::dispatch::subscriber_state::{SubscriberState, Tally};
use crate::event::Payload;
use crate::subscribers::Subscribers;
use crate::subscribers::id::SubscriberId;
use crate::sync::{BATCH, SLICE};

const _: () = assert!(SLICE > BATCH);

/// The unfinished backlogs, and the events dispatched since the first of them began.
pub(crate) struct Backlogs<E> {
    unfinished: Vec<Backlog<E>>,
    recent: Recent<E>,
}

struct Backlog<E> {
    key: SubscriberKey,
    id: SubscriberId,
    stage: Stage<E>,
    /// The sequence of the next event to follow.
    next: u64,
}

enum Stage<E> {
    Search(Search<E>),
    /// The found events, beginning with the newest.
    Deliver(Vec<Kept<E>>),
    Follow,
}

/// Consecutive events. Each is stored with a flag that is `true` if a subscriber has matched the event.
struct Recent<E>(VecDeque<(Kept<E>, bool)>);

impl<E> Backlogs<E> {
    pub(crate) fn new() -> Self {
        Backlogs {
            unfinished: Vec::new(),
            recent: Recent(VecDeque::new()),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Returns `true` if a subscriber with an id below `cut` has an unfinished backlog.
    pub(crate) fn is_unfinished_before(&self, cut: SubscriberId) -> bool {
        self.unfinished.iter().any(|backlog| backlog.id < cut)
    }

    /// Begins the backlog of a subscriber. `next` is the sequence of the next event.
    pub(crate) fn begin(&mut self, key: SubscriberKey, id: SubscriberId, search: Search<E>, next: u64) {
        self.unfinished.push(Backlog {
            key,
            id,
            stage: Stage::Search(search),
            next,
        });
    }

    /// Ends the backlog of a subscriber that is detached.
    pub(crate) fn cancel(&mut self, key: SubscriberKey) {
        self.unfinished.retain(|backlog| backlog.key != key);
    }

    /// Records a dispatched event if a backlog is unfinished, and returns `true` if so. `matched` is `true` if the event
    /// has matched a subscriber. If not, a subscriber may still match the event when it follows.
    pub(crate) fn record(&mut self, event: &Kept<E>, matched: bool) -> bool {
        let records = !self.is_empty();
        if records {
            self.recent.0.push_back((event.clone(), matched));
        }
        records
    }
}

/// # Delivery
impl<E: Payload> Backlogs<E> {
    /// Delivers one slice of each unfinished backlog, and calls `finished` for each subscriber whose backlog has ended.
    pub(crate) fn advance(
        &mut self,
        subscribers: &mut [Option<SubscriberState<E>>],
        history: &History<E>,
        list: &Subscribers<E>,
        tally: &mut Tally,
        mut finished: impl FnMut(SubscriberKey, &mut SubscriberState<E>),
    ) {
        let recent = &mut self.recent;
        self.unfinished.retain_mut(|backlog| {
            let Some(subscriber) = &mut subscribers[backlog.key] else {
                return false;
            };
            let ended = backlog.advance(subscriber, history, recent, list, tally);
            if ended {
                finished(backlog.key, subscriber);
            }
            !ended
        });
        if self.unfinished.is_empty() {
            self.unfinished = Vec::new();
        }
        self.discard_followed(tally);
    }

    /// Drops the events that every subscriber with an unfinished backlog has followed, and counts the unmatched ones.
    fn discard_followed(&mut self, tally: &mut Tally) {
        let next = self.unfinished.iter().map(|backlog| backlog.next).min();
        let next = next.unwrap_or(u64::MAX);
        let events = &mut self.recent.0;
        let followed = events.partition_point(|(event, _)| event.sequence < next);
        let unmatched = events.drain(..followed).filter(|(_, matched)| !matched);
        tally.totals.unmatched += unmatched.count() as u64;
        if events.is_empty() {
            *events = VecDeque::new();
        }
    }
}

impl<E: Payload> Backlog<E> {
    /// Delivers one slice. Returns `true` if the backlog has ended.
    fn advance(
        &mut self,
        subscriber: &mut SubscriberState<E>,
        history: &History<E>,
        recent: &mut Recent<E>,
        list: &Subscribers<E>,
        tally: &mut Tally,
    ) -> bool {
        // The next reap detaches a subscriber that has ended. Until then, its filter is not evaluated.
        if subscriber.is_closed() {
            return false;
        }
        let mut budget = SLICE;
        loop {
            self.stage = match &mut self.stage {
                Stage::Search(search) => {
                    if !subscriber.examine(history, search, &mut budget, tally) {
                        return false;
                    }
                    Stage::Deliver(std::mem::take(&mut search.found))
                }
                Stage::Deliver(found) => {
                    subscriber.deliver_backlog(found, &mut budget, list, tally);
                    if !found.is_empty() {
                        return false;
                    }
                    Stage::Follow
                }
                Stage::Follow => {
                    let events = recent.since(self.next);
                    let remaining = events.len();
                    let followed = remaining.min(budget);
                    subscriber.follow(events.take(followed), list, tally);
                    self.next += followed as u64;
                    return followed == remaining;
                }
            }
        }
    }
}

impl<E> Recent<E> {
    /// Returns the events from this sequence on.
    fn since(&mut self, sequence: u64) -> impl ExactSizeIterator<Item = &mut (Kept<E>, bool)> {
        let begin = self.0.front().map_or(u64::MAX, |(event, _)| event.sequence);
        let skipped = sequence.saturating_sub(begin).min(self.0.len() as u64) as usize;
        self.0.range_mut(skipped..)
    }
}

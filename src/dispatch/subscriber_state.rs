//! The dispatch thread's state of a subscriber. It evaluates the filter and delivers to the queue.
//!
//! Private to the dispatch thread. Filters, merge functions and sinks run behind the panic boundary.

use std::collections::BTreeSet;

use crate::delivery::parcel::Parcel;
use crate::dispatch::batch::Batch;
use crate::dispatch::history::{History, Kept, Search};
use crate::end_reason::EndReason;
use crate::event::{BusEvent, Payload};
use crate::queue::{Pushed, QueueProducer};
use crate::stats::Totals;
use crate::subscribers::Subscribers;
use crate::subscribers::id::SubscriberId;
use crate::subscribers::list::Slot;
use crate::sync::Arc;
use crate::sync::panic::{self, MAX_PANICS, Panicked, Streak};
use crate::telemetry::{SubscriberTelemetry, Telemetry};

/// The results of dispatch, over all subscribers.
pub(crate) struct Tally {
    pub(crate) totals: Totals,
    pub(crate) telemetry: Telemetry,
    /// Subscribers with events that wait for space in their queue.
    pub(crate) waiting: BTreeSet<SubscriberId>,
    /// Subscribers whose filter has panicked too often in a row. They end after the next delivery.
    pub(crate) failing: Vec<SubscriberId>,
}

impl Tally {
    pub(crate) fn new(telemetry: Telemetry) -> Self {
        Tally {
            totals: Totals::default(),
            telemetry,
            waiting: BTreeSet::new(),
            failing: Vec::new(),
        }
    }
}

/// A subscriber that the dispatch thread has attached.
pub(crate) struct SubscriberState<E> {
    pub(crate) slot: Arc<Slot<E>>,
    producer: QueueProducer<E>,
    telemetry: SubscriberTelemetry,
    /// The index holds the filter. It does not while the subscriber has an unfinished backlog.
    pub(crate) indexed: bool,
    /// The consecutive panics of the filter.
    panics: Streak,
    warned_of_panic: bool,
}

impl<E> SubscriberState<E> {
    pub(crate) fn new(slot: Arc<Slot<E>>, producer: QueueProducer<E>) -> Self {
        SubscriberState {
            telemetry: SubscriberTelemetry::new(&slot.subscription),
            slot,
            producer,
            indexed: false,
            panics: Streak::default(),
            warned_of_panic: false,
        }
    }

    /// Returns `true` if the subscription has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.producer.state().is_closed()
    }

    /// Begins a search of the history for the newest matching events below a sequence, up to the number that the
    /// subscriber requested.
    pub(crate) fn search(&self, history: &History<E>, below: u64) -> Search<E> {
        let scrolls = self.slot.terms.scrolls();
        history.search(self.slot.subscription.backlog, below, scrolls.as_deref())
    }

    /// Continues a search, within the budget. Returns `true` if it is finished.
    pub(crate) fn examine(
        &mut self,
        history: &History<E>,
        search: &mut Search<E>,
        budget: &mut usize,
        tally: &mut Tally,
    ) -> bool {
        history.examine(search, budget, |event| self.matches(event, tally))
    }

    /// Replaces the slot by one with another filter.
    pub(crate) fn replace_slot(&mut self, slot: Arc<Slot<E>>) {
        self.slot = slot;
        self.panics = Streak::default();
    }

    /// Evaluates the filter, unless the subscription has ended. A panic of the filter is counted, and the event then
    /// does not match. After too many consecutive panics, the subscription ends once it has received the events that
    /// the filter matched before.
    pub(crate) fn matches(&mut self, event: &BusEvent<E>, tally: &mut Tally) -> bool {
        if self.panics.is_over() || self.is_closed() {
            return false;
        }
        let filter = &self.slot.filter;
        match panic::run(|| filter.matches(event)) {
            Ok(matches) => {
                self.panics.reset();
                matches
            }
            Err(Panicked) => {
                self.count_panic(tally);
                false
            }
        }
    }

    /// Counts a panic of the filter.
    #[cold]
    #[inline(never)]
    fn count_panic(&mut self, tally: &mut Tally) {
        tally.totals.filter_panics += 1;
        if self.panics.record::<()>(&Err(Panicked)) {
            tally.failing.push(self.slot.id());
        }
        self.warn_of_panic("a filter", "counted as no match");
    }

    /// Ends the subscription, unless it has ended already.
    pub(crate) fn end(&mut self, reason: EndReason, subscribers: &Subscribers<E>, totals: &mut Totals) {
        if subscribers.close(&self.slot.subscription, reason) && reason == EndReason::Failed {
            totals.failed += 1;
            let id = self.slot.id();
            panic::log_warning!(
                "subscriber {id} ended, because its filters or its merge function panicked {MAX_PANICS} times in a row, \
                 or its sink panicked"
            );
        }
        // The dispatch thread runs its upkeep when the batch ends, so no thread needs to be woken.
        subscribers.request_upkeep();
    }

    /// Logs the first panic of the subscriber's functions, and how the bus treats the event. Later panics are only
    /// counted.
    fn warn_of_panic(&mut self, function: &str, outcome: &str) {
        if !self.warned_of_panic {
            self.warned_of_panic = true;
            let id = self.slot.id();
            panic::log_warning!("{function} of subscriber {id} panicked; {outcome}; later panics are not logged");
        }
    }

    /// Ends the delivery, because the subscription has left the list. Returns the number of lost events: those that
    /// were still waiting for space.
    pub(crate) fn detach(mut self) -> u64 {
        let lost = self.producer.lose_pending();
        self.telemetry.unsubscribed(&self.slot.subscription, lost);
        // This may be the last owner of queued payloads, and of the filter.
        panic::discard(self);
        lost
    }
}

/// # Delivery
impl<E: Payload> SubscriberState<E> {
    /// Delivers the events at these places of the batch, one bit each. `alike` is the number of consecutive
    /// subscribers, including this one, that matched exactly these events.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        batch: &mut Batch<E>,
        places: u64,
        alike: usize,
        subscribers: &Subscribers<E>,
        tally: &mut Tally,
    ) {
        let mut pushed = Pushed::default();
        match batch.take_bundle(places, alike) {
            Some(bundle) => self.producer.push(bundle, &mut pushed),
            None => self.push_each(batch.take_each(places), &mut pushed),
        }
        self.settle(pushed, subscribers, tally);
    }

    /// Delivers found events of the history, beginning with the last, within the budget.
    pub(crate) fn deliver_backlog(
        &mut self,
        found: &mut Vec<Kept<E>>,
        budget: &mut usize,
        subscribers: &Subscribers<E>,
        tally: &mut Tally,
    ) {
        let mut pushed = Pushed::default();
        let count = found.len().min(*budget);
        *budget -= count;
        let events = found.drain(found.len() - count..).rev();
        self.push_each(events.map(Parcel::Backlog), &mut pushed);
        self.settle(pushed, subscribers, tally);
    }

    /// Matches and delivers events that were dispatched before. Each is stored with a flag, which is set if the event
    /// matches.
    pub(crate) fn follow<'a>(
        &mut self,
        events: impl Iterator<Item = &'a mut (Kept<E>, bool)>,
        subscribers: &Subscribers<E>,
        tally: &mut Tally,
    ) {
        let mut pushed = Pushed::default();
        for (event, matched) in events {
            if self.matches(event.event(), tally) {
                *matched = true;
                self.producer.push(Parcel::Event(event.clone()), &mut pushed);
                if pushed.end.is_some() {
                    break;
                }
            }
        }
        self.settle(pushed, subscribers, tally);
    }

    /// Queues waiting events with `push`, which is one of the producer's methods.
    pub(crate) fn deliver_pending(
        &mut self,
        push: fn(&mut QueueProducer<E>, &mut Pushed),
        subscribers: &Subscribers<E>,
        tally: &mut Tally,
    ) {
        let mut pushed = Pushed::default();
        push(&mut self.producer, &mut pushed);
        self.settle(pushed, subscribers, tally);
    }

    /// Pushes parcels, until one must end the subscription.
    #[inline]
    fn push_each(&mut self, parcels: impl Iterator<Item = Parcel<E>>, pushed: &mut Pushed) {
        for parcel in parcels {
            self.producer.push(parcel, pushed);
            if pushed.end.is_some() {
                break;
            }
        }
    }

    /// Counts the result of a delivery, ends the subscription if necessary, and wakes the receiver.
    #[inline]
    fn settle(&mut self, pushed: Pushed, subscribers: &Subscribers<E>, tally: &mut Tally) {
        tally.totals.delivered += pushed.queued;
        tally.totals.lagged += pushed.lost;
        tally.totals.merged += pushed.merged;
        if pushed.panics > 0 {
            tally.totals.filter_panics += pushed.panics;
            self.warn_of_panic(
                "a filter of essential events or a merge function",
                "counted as not essential or as a loss",
            );
        }
        if pushed.waits {
            tally.waiting.insert(self.slot.id());
        }
        if let Some(reason) = pushed.end {
            self.end(reason, subscribers, &mut tally.totals);
        }
        self.telemetry
            .batch_delivered(pushed, &self.slot.subscription, &mut tally.telemetry);
        if pushed.queued > 0 {
            self.producer.state().wake();
        }
    }
}

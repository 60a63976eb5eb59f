//! The dispatch thread's counts of a queue: the number of the next event, the free space, and the delivered and lost
//! events.
//!
//! Private to the dispatch thread. [`Account::commit`] publishes the counts through the shared [`QueueState`].

use crate::delivery::parcel::Parcel;
use crate::end_reason::EndReason;
use crate::overflow::Overflow;
use crate::queue::state::{Entry, QueueState};
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, ring};

/// The result of pushes to a queue, in numbers of matching events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) queued: u64,
    /// Lost events: the pushed ones, or older ones that they displaced.
    pub(crate) lost: u64,
    /// Events that were merged into events queued now.
    pub(crate) merged: u64,
    /// Panics of the subscriber's functions.
    pub(crate) panics: u64,
    /// The subscription must end for this reason.
    pub(crate) end: Option<EndReason>,
    /// Events wait for space.
    pub(crate) waits: bool,
}

/// The result of pushing a single event, in numbers of events.
#[derive(Default)]
pub(super) struct Outcome {
    queued: u64,
    /// Lost events: the pushed one, or older ones that it displaced.
    lost: u64,
    /// The subscription must end for this reason.
    end: Option<EndReason>,
}

impl Outcome {
    pub(super) fn queued() -> Self {
        Outcome {
            queued: 1,
            ..Outcome::default()
        }
    }

    pub(super) fn lost(events: u64) -> Self {
        Outcome {
            lost: events,
            ..Outcome::default()
        }
    }

    /// Adds a reason for which the subscription must end.
    pub(super) fn and_ends(mut self, reason: EndReason) -> Self {
        self.end = Some(reason);
        self
    }
}

/// The dispatch thread's counts of a queue.
pub(super) struct Account {
    pub(super) state: Arc<QueueState>,
    /// Number of matching events that are neither lost nor merged nor waiting.
    pub(super) delivered: u64,
    pub(super) lagged: u64,
    /// Number of events that the receiver had taken when this field was last updated.
    received: u64,
}

impl Account {
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Self {
        Account {
            state: Arc::new(QueueState::new(capacity, overflow == Overflow::Disconnect)),
            delivered: 0,
            lagged: 0,
            received: 0,
        }
    }

    /// Returns the number of the next matching event.
    pub(super) fn next_position(&self) -> u64 {
        self.delivered + self.lagged + 1
    }

    /// Queues the events for which there is space, and loses the others.
    // Inlined for the same reason as `QueueProducer::push`.
    #[inline(always)]
    pub(super) fn push_newest<E>(
        &mut self,
        ring: &mut ring::Producer<Entry<E>>,
        mut parcel: Parcel<E>,
        pushed: &mut Pushed,
    ) {
        let len = parcel.len();
        let queued = self.space(len);
        // Events after the loss that ends a subscription do not count as matching.
        let lost = (len - queued).min(if self.state.disconnects { 1 } else { len });
        let position = self.next_position();
        self.delivered += queued;
        self.lagged += lost;
        if queued > 0 {
            if queued < len {
                parcel = parcel.repacked(queued);
            }
            // The ring has at least as many places as events may be queued, so it refuses none.
            let refused = ring.push(Entry { parcel, position });
            debug_assert!(refused.is_ok());
        }
        pushed.queued += queued;
        pushed.lost += lost;
        if self.state.disconnects && lost > 0 {
            pushed.end = Some(EndReason::Overflowed);
        }
    }

    /// Pushes the events of a parcel one by one, until the subscription ends. User code can end it during each push,
    /// and other threads at any time.
    pub(super) fn push_each<E>(
        &mut self,
        parcel: Parcel<E>,
        pushed: &mut Pushed,
        mut push: impl FnMut(&mut Self, Parcel<E>) -> Outcome,
    ) {
        for event in parcel.into_singles() {
            if self.state.is_closed() {
                break;
            }
            let Outcome { queued, lost, end } = push(self, event);
            self.delivered += queued;
            self.lose(lost, pushed);
            pushed.queued += queued;
            if end.is_some() {
                pushed.end = end;
                break;
            }
        }
    }

    /// Counts lost events.
    pub(super) fn lose(&mut self, events: u64, pushed: &mut Pushed) {
        self.lagged += events;
        pushed.lost += events;
    }

    /// Returns the free space in events, but at most `wanted`.
    pub(super) fn space(&mut self, wanted: u64) -> u64 {
        let capacity = self.state.capacity as u64;
        let mut free = capacity - (self.delivered - self.received);
        if free < wanted {
            // Ordering: Acquire, pairs with the Release in `QueueConsumer::count_received`: a received event has left
            // its place.
            self.received = self.state.receiver.received.load(Ordering::Acquire);
            free = capacity - (self.delivered - self.received);
        }
        free.min(wanted)
    }

    /// Publishes the counts.
    pub(super) fn commit(&self) {
        // Ordering: Relaxed, see the counters of `QueueState`.
        self.state.lagged.store(self.lagged, Ordering::Relaxed);
        // Ordering: Release, pairs with the Acquire in `QueueState::delivered`.
        self.state.delivered.store(self.delivered, Ordering::Release);
    }
}

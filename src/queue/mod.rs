//! A subscriber's queue: the ring, the overflow rule, the loss accounting and the waker.
//!
//! Three parts. [`QueueProducer`] belongs to the dispatch thread and [`QueueConsumer`] to the receiver; each is used
//! through `&mut`, so the ring between them has one writer and one reader. [`QueueState`] is what they and everybody
//! else share: a closed flag, counters and the waker, all atomics.
//!
//! What is pushed is a parcel: an event, or a bundle of them that takes one place and is received event by event. Room is
//! counted in events.
//!
//! Loss is exact by position: the producer numbers every event that matched this subscriber, and the consumer reports
//! the numbers that it never saw. This serves both ways of dropping, at the tail (the ring refuses an event) and at
//! the head (the oldest makes room). Where events are merged into others, only what is left of them gets a number.
//!
//! A queue that conflates holds events back while it is full. Its receiver then tells the dispatch thread of the room that
//! it makes, through a flag that both swap.

mod conflate;
mod consumer;
mod pending;
mod producer;
mod reserve;

#[cfg(all(test, sharing_bus_loom))]
mod models;
#[cfg(test)]
mod parcels;
#[cfg(all(test, not(sharing_bus_loom)))]
mod tests;

pub(crate) use consumer::QueueConsumer;
pub(crate) use pending::Merge;
pub(crate) use producer::{Pushed, QueueProducer};
pub(crate) use reserve::Essential;

use std::task::Waker;

use crate::delivery::parcel::Parcel;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::panic;
use crate::sync::{Arc, ArrayQueue, AtomicWaker, ring};
use conflate::Conflating;
use consumer::Head;
use pending::Conflation;
use producer::{Account, Tail};
use reserve::Reserving;

/// What happens to an event that finds its subscriber's queue full. Whatever is lost is counted, see
/// [`Delivery::missed`](crate::Delivery::missed) and [`BusReceiver::lagged`](crate::BusReceiver::lagged).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Overflow {
    /// The event is lost. What is queued stays: best for those who must see how things began.
    #[default]
    DropNewest,
    /// The oldest queued event is lost and the new one takes its place: best for those who show the present.
    DropOldest,
    /// The event is lost and the subscription ends: the receiver reads what is queued and then
    /// [`Closed`](crate::TryRecvError::Closed). Best for those who would rather start again than have a gap.
    Disconnect,
    /// The event waits beside the queue, one for each scroll, the newest, and is queued as soon as the receiver has made
    /// room. Best for those who show the present of many sessions, progress or deltas say.
    ///
    /// An event that finds an earlier one of its scroll waiting takes its place, or is merged with it by a function of
    /// yours ([`conflate_with`](crate::SubscriptionBuilder::conflate_with)), and from then on stands where it would have
    /// stood alone: behind everything older. How many others went into an event is told by
    /// [`Delivery::merged`](crate::Delivery::merged); they are not lost. Events without a scroll wait one for each session
    /// that they name, and those that name none share one place.
    ///
    /// As many events wait as the queue holds. If a further scroll comes, the oldest that waits is lost, with all that went
    /// into it. When the bus ends,
    /// what waits is queued beyond the capacity, so that the last state of each scroll arrives; when the subscription ends
    /// before, it is lost. For that the queue takes twice the memory of others.
    Conflate,
}

/// How a queue is to be.
pub(crate) struct Rules<E> {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    /// Only where the newest is dropped, or disconnects.
    pub(crate) essential: Option<Essential<E>>,
    /// Only where events are conflated.
    pub(crate) merge: Option<Merge<E>>,
}

impl<E> Rules<E> {
    pub(crate) fn new(capacity: usize, overflow: Overflow) -> Self {
        Rules {
            capacity,
            overflow,
            essential: None,
            merge: None,
        }
    }
}

/// Events in a queue, with the number of the first among all events that matched the subscriber, from 1.
struct Entry<E> {
    parcel: Parcel<E>,
    position: u64,
}

/// What the receiver writes, on a cache line of its own: so the dispatch thread, which looks at the rest for every push,
/// does not wait for it.
#[repr(align(64))]
struct ReceiverSide {
    waker: AtomicWaker,
    /// Taken by the receiver. Written by the receiver alone.
    received: AtomicU64,
    /// Events wait for room: the receiver is to tell of the next that it makes.
    room_wanted: AtomicBool,
}

/// What both ends of a queue and the bus share.
pub(crate) struct QueueState {
    capacity: usize,
    overflow: Overflow,
    closed: AtomicBool,
    /// Matched and not lost, as of the dispatch thread's last batch. Written by the dispatch thread alone.
    delivered: AtomicU64,
    /// Matched and lost, likewise.
    lagged: AtomicU64,
    /// Those of them that were essential.
    lagged_essential: AtomicU64,
    /// Gone into others that were delivered, likewise.
    merged: AtomicU64,
    /// Waiting for room, those that went into others included, likewise.
    pending: AtomicU64,
    receiver: ReceiverSide,
}

impl QueueState {
    fn new(capacity: usize, overflow: Overflow) -> Self {
        QueueState {
            capacity,
            overflow,
            closed: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
            lagged_essential: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            receiver: ReceiverSide {
                waker: AtomicWaker::new(),
                received: AtomicU64::new(0),
                room_wanted: AtomicBool::new(false),
            },
        }
    }

    /// Ends the subscription: nothing more is queued, what is queued stays readable. True for the call that did it.
    /// The caller owes the receiver a [`wake`](Self::wake).
    pub(crate) fn close(&self) -> bool {
        // Ordering: AcqRel. Release pairs with the Acquire in `is_closed`: a receiver that sees the flag set by the
        // dispatch thread sees every push before it. Acquire orders this call after the close that came first.
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Acquire, pairs with `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes the receiver if it waits. Wakers are user code.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.receiver.waker.take() {
            let _ = panic::run(|| waker.wake());
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    // Ordering of the counters: Relaxed where nothing else is said. Each has one writer and is a statistic on its own; who
    // has seen a flush or an event has synchronised with the writer through that.

    pub(crate) fn delivered(&self) -> u64 {
        // Ordering: Acquire, pairs with the Release in `Account::commit`: so many can be received.
        self.delivered.load(Ordering::Acquire)
    }

    pub(crate) fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    pub(crate) fn lagged_essential(&self) -> u64 {
        self.lagged_essential.load(Ordering::Relaxed)
    }

    pub(crate) fn merged(&self) -> u64 {
        self.merged.load(Ordering::Relaxed)
    }

    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn queued(&self) -> u64 {
        let received = self.receiver.received.load(Ordering::Relaxed);
        // The receiver may be ahead of the counters of the current batch.
        self.delivered().saturating_sub(received)
    }

    /// Asks the receiver to tell of the next room that it makes. The dispatch thread looks once more after it.
    fn ask_for_room(&self) {
        // Ordering: AcqRel, pairs with `is_room_wanted`. One of the two swaps comes first. If it is this one, the
        // receiver finds it and tells; if it is the receiver's, the look that follows sees what it had taken by then.
        self.receiver.room_wanted.swap(true, Ordering::AcqRel);
    }

    /// Whether the dispatch thread wants to know of the room that the receiver has just made.
    fn is_room_wanted(&self) -> bool {
        // Ordering: AcqRel, pairs with `ask_for_room`. A read-modify-write even where it finds nothing.
        self.receiver.room_wanted.swap(false, Ordering::AcqRel)
    }
}

/// Makes a queue. `dispatch` wakes the dispatch thread, for a receiver to tell of room.
pub(crate) fn queue<E>(rules: Rules<E>, dispatch: impl FnOnce() -> Waker) -> (QueueProducer<E>, QueueConsumer<E>) {
    let Rules { capacity, overflow, .. } = rules;
    let account = Account::new(capacity, overflow);
    let state = Arc::clone(&account.state);
    let (tail, head, tell) = match overflow {
        Overflow::DropOldest => {
            let shared = Arc::new(ArrayQueue::new(capacity));
            (Tail::Shared(Arc::clone(&shared)), Head::Shared(shared), None)
        }
        Overflow::DropNewest | Overflow::Disconnect => {
            let (producer, consumer) = ring::RingBuffer::new(capacity);
            let tail = match rules.essential {
                Some(essential) => Tail::Reserving(Box::new(Reserving::new(producer, essential))),
                None => Tail::Ring(producer),
            };
            (tail, Head::Ring(consumer), None)
        }
        Overflow::Conflate => {
            // At the end of the bus there has to be a place for all that waits.
            let (producer, consumer) = ring::RingBuffer::new(capacity.saturating_mul(2));
            let tail = Conflating::new(producer, Conflation::new(capacity, rules.merge));
            (Tail::Conflating(Box::new(tail)), Head::Ring(consumer), Some(dispatch()))
        }
    };
    (QueueProducer::new(tail, account), QueueConsumer::new(state, head, tell))
}

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
//! the head (the oldest makes room).

mod consumer;
mod producer;

#[cfg(all(test, sharing_bus_loom))]
mod models;
#[cfg(test)]
mod parcels;
#[cfg(all(test, not(sharing_bus_loom)))]
mod tests;

pub(crate) use consumer::QueueConsumer;
pub(crate) use producer::QueueProducer;

use crate::boundary;
use crate::parcel::Parcel;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, ArrayQueue, AtomicWaker, ring};
use consumer::Head;
use producer::{Account, Tail};

/// What happens to an event that finds its subscriber's queue full. Whatever is lost is counted, see
/// [`Delivery::missed`] and [`BusReceiver::lagged`](crate::BusReceiver::lagged).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The event is lost. What is queued stays: best for those who must see how things began.
    #[default]
    DropNewest,
    /// The oldest queued event is lost and the new one takes its place: best for those who show the present.
    DropOldest,
    /// The event is lost and the subscription ends: the receiver reads what is queued and then
    /// [`Closed`](TryRecvError::Closed). Best for those who would rather start again than have a gap.
    Disconnect,
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
            receiver: ReceiverSide {
                waker: AtomicWaker::new(),
                received: AtomicU64::new(0),
            },
        }
    }

    /// Ends the subscription: nothing more is queued, what is queued stays readable. True for the call that did it.
    /// The caller owes the receiver a [`wake`](Self::wake).
    pub(crate) fn close(&self) -> bool {
        // Ordering: AcqRel. Release pairs with the Acquire in `is_closed`: a receiver that sees the flag set by the
        // dispatch thread sees every push before it. Acquire orders this call after the close that came first.
        #[cfg(sharing_bus_planted = "closed_twice")]
        if !self.is_closed() {
            self.closed.store(true, Ordering::Release);
            return true;
        }
        #[cfg(sharing_bus_planted = "relaxed_close")]
        return !self.closed.swap(true, Ordering::Relaxed);
        #[cfg(not(sharing_bus_planted = "relaxed_close"))]
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Acquire, pairs with `close`.
        self.closed.load(Ordering::Acquire)
    }

    /// Wakes the receiver if it waits. Wakers are user code.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.receiver.waker.take() {
            let _ = boundary::run(|| waker.wake());
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

    pub(crate) fn queued(&self) -> u64 {
        let received = self.receiver.received.load(Ordering::Relaxed);
        // The receiver may be ahead of the counters of the current batch.
        self.delivered().saturating_sub(received)
    }
}

/// Makes a queue of `capacity` events.
pub(crate) fn queue<E>(capacity: usize, overflow: Overflow) -> (QueueProducer<E>, QueueConsumer<E>) {
    let account = Account::new(capacity, overflow);
    let state = Arc::clone(&account.state);
    let (tail, head) = match overflow {
        Overflow::DropOldest => {
            let shared = Arc::new(ArrayQueue::new(capacity));
            (Tail::Shared(Arc::clone(&shared)), Head::Shared(shared))
        }
        Overflow::DropNewest | Overflow::Disconnect => {
            let (producer, consumer) = ring::RingBuffer::new(capacity);
            (Tail::Ring(producer), Head::Ring(consumer))
        }
    };
    (QueueProducer::new(tail, account), QueueConsumer::new(state, head))
}

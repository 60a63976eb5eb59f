//! A subscriber's queue: the ring, the overflow rule, the count of losses, and the waker.
//!
//! 1. `state`: the atomics that both ends and the bus share (end reason, counters, waker), and the type of the
//!    entries.
//! 2. `account`: the dispatch thread's counts of a queue: positions, free space, delivered and lost events.
//! 3. `producer`: the dispatch thread's end. `QueueProducer::push` applies the overflow rule: it drops the oldest event
//!    itself, and leaves the other rules to the files below and to `account`, which drops the newest events.
//! 4. `reserve`: the overflow rule of queues that reserve their last places for essential events.
//! 5. `conflate`: the overflow rule of conflating queues.
//! 6. `pending`: the events that wait beside a full conflating queue.
//! 7. `sink`: delivery into a channel of the host, in place of a queue.
//! 8. `consumer`: the receiver's end.
//!
//! A [`QueueProducer`] belongs to the dispatch thread and a [`QueueConsumer`] to the receiver. Both are used through
//! `&mut`, so the ring between them has one writer and one reader. They share a [`QueueState`], which consists of
//! atomics.
//!
//! An entry of the ring is a parcel: one event, or a bundle. A bundle takes one place in the ring and is received event
//! by event. Space is counted in events. The producer numbers the events that match the subscriber, and the consumer
//! counts skipped numbers as missed events. So each loss is reported where it happened, at the tail (the ring is full)
//! or at the head (the oldest event is displaced). Merged events share the number of the event that they became.
//!
//! Dropping the receiver frees the queued events (`QueueConsumer::discard`) and the consumer. The ring itself is freed
//! when the dispatch thread also drops the producer, after it has removed the subscription (see `subscribers/mod.rs`).

mod account;
mod conflate;
mod consumer;
mod pending;
mod producer;
mod reserve;
mod sink;
mod state;

#[cfg(all(test, sharing_bus_loom))]
mod models;
#[cfg(test)]
mod parcels;
#[cfg(all(test, not(sharing_bus_loom)))]
mod tests;

pub(crate) use account::Pushed;
pub(crate) use consumer::QueueConsumer;
pub(crate) use pending::Merge;
pub(crate) use producer::QueueProducer;
pub(crate) use reserve::Essential;
pub(crate) use sink::GuardedSink;
pub(crate) use state::QueueState;

use std::task::Waker;

use crate::overflow::Overflow;
use crate::sync::exclusive::Exclusive;
use crate::sync::{Arc, ArrayQueue, ring};
use account::Account;
use conflate::ConflatingTail;
use consumer::Head;
use pending::PendingEvents;
use producer::Tail;
use reserve::ReservingTail;

/// The settings of a queue.
pub(crate) struct QueueConfig<E> {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    /// Only for [`Overflow::DropNewest`] and [`Overflow::Disconnect`].
    pub(crate) essential: Option<Essential<E>>,
    /// Only for [`Overflow::Conflate`].
    pub(crate) merge: Option<Merge<E>>,
}

impl<E> QueueConfig<E> {
    pub(crate) fn new(capacity: usize, overflow: Overflow) -> Self {
        QueueConfig {
            capacity,
            overflow,
            essential: None,
            merge: None,
        }
    }
}

/// Creates a queue. The receiver of a conflating queue wakes `dispatch` when it has made space for waiting events.
pub(crate) fn queue<E>(
    config: QueueConfig<E>,
    dispatch: impl FnOnce() -> Waker,
) -> (QueueProducer<E>, QueueConsumer<E>) {
    let QueueConfig { capacity, overflow, .. } = config;
    let account = Account::new(capacity, overflow);
    let state = Arc::clone(&account.state);
    let (tail, head, dispatch) = match overflow {
        Overflow::DropOldest => {
            let shared = Arc::new(ArrayQueue::new(capacity));
            (Tail::Array(Arc::clone(&shared)), Head::Array(shared), None)
        }
        Overflow::DropNewest | Overflow::Disconnect => {
            let (producer, consumer) = ring::RingBuffer::new(capacity);
            let tail = match config.essential {
                Some(essential) => Tail::Reserving(Box::new(ReservingTail::new(producer, essential))),
                None => Tail::Ring(producer),
            };
            (tail, Head::Ring(Exclusive::new(consumer)), None)
        }
        Overflow::Conflate => {
            // When the bus ends, all waiting events need a place as well.
            let (producer, consumer) = ring::RingBuffer::new(capacity.saturating_mul(2));
            let tail = ConflatingTail::new(producer, PendingEvents::new(capacity, config.merge));
            (
                Tail::Conflating(Box::new(tail)),
                Head::Ring(Exclusive::new(consumer)),
                Some(dispatch()),
            )
        }
    };
    (
        QueueProducer::new(tail, account),
        QueueConsumer::new(state, head, dispatch),
    )
}

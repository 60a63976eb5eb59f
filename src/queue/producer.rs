//! The dispatch thread's end of a queue: what finds room, what is lost, and the account of both.

use crate::delivery::{Delivery, Held};
use crate::parcel::Parcel;
use crate::queue::{Entry, Overflow, QueueState};
use crate::sink::{HostSink, SinkError};
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, ArrayQueue, Panicked, ring};

pub(super) enum Tail<E> {
    Ring(ring::Producer<Entry<E>>),
    /// Drop-oldest: the producer takes from the head as well, which a single-consumer ring does not allow.
    Shared(Arc<ArrayQueue<Entry<E>>>),
    /// No queue of the bus's.
    Sink(SinkTail<E>),
}

/// A channel of the host's.
pub(super) struct SinkTail<E> {
    sink: HostSink<E>,
    /// The last event that the channel has taken, by its number among those that matched.
    position: u64,
}

/// What became of events that matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pushed {
    pub(crate) queued: u64,
    /// They, or older ones in their favour.
    pub(crate) lost: u64,
    /// The subscription must end, for the loss or because nobody receives any more.
    pub(crate) ends: bool,
}

/// The dispatch thread's end.
pub(crate) struct QueueProducer<E> {
    tail: Tail<E>,
    account: Account,
}

impl<E> QueueProducer<E> {
    pub(super) fn new(tail: Tail<E>, account: Account) -> Self {
        QueueProducer { tail, account }
    }

    /// One that delivers into a channel of the host's. It has no queue, so its capacity shows as zero.
    pub(crate) fn into_sink(sink: HostSink<E>, overflow: Overflow) -> Self {
        QueueProducer {
            tail: Tail::Sink(SinkTail { sink, position: 0 }),
            account: Account::new(0, overflow),
        }
    }

    pub(crate) fn state(&self) -> &Arc<QueueState> {
        &self.account.state
    }

    /// Queues what there is room for, and makes the counts of it visible to everybody. A subscription that has ended
    /// matches nothing.
    pub(crate) fn push(&mut self, parcel: Parcel<E>) -> Pushed
    where
        E: 'static,
    {
        if self.account.state.is_closed() {
            return Pushed::default();
        }
        let pushed = match &mut self.tail {
            Tail::Ring(ring) => self.account.push_newest(ring, parcel),
            Tail::Shared(queue) => self.account.push_over_oldest(queue, parcel),
            Tail::Sink(tail) => self.account.forward(tail, parcel),
        };
        self.account.commit();
        pushed
    }
}

/// What the dispatch thread knows of a queue.
pub(super) struct Account {
    pub(super) state: Arc<QueueState>,
    matched: u64,
    lagged: u64,
    /// Taken by the receiver, as of the last look.
    received: u64,
}

impl Account {
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Self {
        let state = QueueState::new(capacity, overflow);
        Account {
            state: Arc::new(state),
            matched: 0,
            lagged: 0,
            received: 0,
        }
    }

    /// What finds no room is lost.
    fn push_newest<E>(&mut self, ring: &mut ring::Producer<Entry<E>>, mut parcel: Parcel<E>) -> Pushed {
        let len = parcel.len();
        let queued = self.room(len);
        let disconnects = self.state.overflow == Overflow::Disconnect;
        // What comes after the loss that ends a subscription does not count as matched.
        let lost = (len - queued).min(if disconnects { 1 } else { len });
        let position = self.matched + 1;
        self.matched += queued + lost;
        self.lagged += lost;
        if queued > 0 {
            parcel.truncate(queued);
            // There are at least as many places as events may be queued, so none is refused.
            let refused = ring.push(Entry { parcel, position });
            debug_assert!(refused.is_ok());
        }
        Pushed {
            queued,
            lost,
            ends: disconnects && lost > 0,
        }
    }

    /// Each event displaces the oldest if there is no room.
    fn push_over_oldest<E>(&mut self, queue: &ArrayQueue<Entry<E>>, parcel: Parcel<E>) -> Pushed {
        let mut pushed = Pushed::default();
        for parcel in parcel.apart() {
            self.matched += 1;
            let position = self.matched;
            match queue.force_push(Entry { parcel, position }) {
                None => pushed.queued += 1,
                Some(_displaced) => pushed.lost += 1,
            }
        }
        self.lagged += pushed.lost;
        pushed
    }

    /// Each event goes into the host's channel, or is lost if that is full. What finds it closed comes after the end.
    fn forward<E: 'static>(&mut self, tail: &mut SinkTail<E>, parcel: Parcel<E>) -> Pushed {
        let mut pushed = Pushed::default();
        for parcel in parcel.apart() {
            let position = self.matched + 1;
            let delivery = Delivery {
                held: Held::single(parcel),
                missed: position - tail.position - 1,
            };
            match tail.sink.try_send(delivery) {
                Ok(Ok(())) => {
                    tail.position = position;
                    pushed.queued += 1;
                }
                Ok(Err(SinkError::Closed(_))) => {
                    pushed.ends = true;
                    break;
                }
                Ok(Err(SinkError::Full(_))) => {
                    pushed.lost += 1;
                    pushed.ends = self.state.overflow == Overflow::Disconnect;
                }
                Err(Panicked) => {
                    pushed.lost += 1;
                    pushed.ends = true;
                }
            }
            self.matched = position;
            if pushed.ends {
                break;
            }
        }
        self.lagged += pushed.lost;
        // Ordering: Relaxed, a statistic: what the channel has taken is queued here no more.
        let received = &self.state.receiver.received;
        received.store(self.matched - self.lagged, Ordering::Relaxed);
        pushed
    }

    /// How many of `wanted` events there is room for.
    fn room(&mut self, wanted: u64) -> u64 {
        if self.free() < wanted {
            // Ordering: Acquire, pairs with the Release in `QueueConsumer::count_received`: what was received has left its
            // place.
            self.received = self.state.receiver.received.load(Ordering::Acquire);
        }
        self.free().min(wanted)
    }

    fn free(&self) -> u64 {
        let queued = self.matched - self.lagged - self.received;
        self.state.capacity as u64 - queued
    }

    fn commit(&self) {
        // Ordering: Relaxed, see `QueueState`'s counters.
        self.state.lagged.store(self.lagged, Ordering::Relaxed);
        // Ordering: Release, pairs with the Acquire in `QueueState::delivered`.
        let delivered = self.matched - self.lagged;
        #[cfg(not(sharing_bus_planted = "relaxed_delivered"))]
        self.state.delivered.store(delivered, Ordering::Release);
        #[cfg(sharing_bus_planted = "relaxed_delivered")]
        self.state.delivered.store(delivered, Ordering::Relaxed);
    }
}

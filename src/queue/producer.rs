//! The dispatch thread's end of a queue: what finds room, what is lost, and the account of both.

use crate::delivery::parcel::Parcel;
use crate::delivery::{Delivery, Held};
use crate::queue::conflate::Conflating;
use crate::queue::reserve::Reserving;
use crate::queue::{Entry, Overflow, QueueState};
use crate::sink::{HostSink, SinkError};
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, ArrayQueue, Panicked, ring};

pub(super) enum Tail<E> {
    /// What finds no room is lost.
    Ring(ring::Producer<Entry<E>>),
    /// Likewise, and the last room is for essential events. What is rare stands behind a box, so that the others are small.
    Reserving(Box<Reserving<E>>),
    /// Drop-oldest: the producer takes from the head as well, which a single-consumer ring does not allow.
    Shared(Arc<ArrayQueue<Entry<E>>>),
    /// What finds no room waits for it.
    Conflating(Box<Conflating<E>>),
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
    /// Gone into others that are now queued.
    pub(crate) merged: u64,
    /// Panics of the subscriber's functions.
    pub(crate) panics: u64,
    /// The subscription must end, for the loss or because nobody receives any more.
    pub(crate) ends: bool,
    /// Something waits for room.
    pub(crate) waits: bool,
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
    // Inlined, so that what is pushed to a thousand subscribers need not be told through memory.
    #[inline]
    pub(crate) fn push(&mut self, parcel: Parcel<E>) -> Pushed
    where
        E: 'static,
    {
        if self.account.state.is_closed() {
            return Pushed::default();
        }
        let pushed = match &mut self.tail {
            Tail::Ring(ring) => self.account.push_newest(ring, parcel),
            Tail::Reserving(tail) => self.account.push_by_class(tail, parcel),
            Tail::Shared(queue) => self.account.push_over_oldest(queue, parcel),
            Tail::Conflating(tail) => self.account.push_or_wait(tail, parcel),
            Tail::Sink(tail) => self.account.forward(tail, parcel),
        };
        self.account.commit();
        pushed
    }

    /// Queues what waits, as far as there is room by now.
    pub(crate) fn hand_over(&mut self) -> Pushed {
        self.conflating(Account::hand_over)
    }

    /// Queues all that waits, room or not: the bus ends.
    pub(crate) fn hand_over_rest(&mut self) -> Pushed {
        self.conflating(Account::hand_over_rest)
    }

    fn conflating(&mut self, hand_over: fn(&mut Account, &mut Conflating<E>) -> Pushed) -> Pushed {
        match &mut self.tail {
            Tail::Conflating(tail) if !self.account.state.is_closed() => {
                let pushed = hand_over(&mut self.account, tail);
                self.account.commit();
                pushed
            }
            _ => Pushed::default(),
        }
    }

    /// Counts what still waits as lost, for the subscription has ended. Returns how much it was.
    pub(crate) fn lose_rest(&mut self) -> u64 {
        let Tail::Conflating(tail) = &mut self.tail else {
            return 0;
        };
        let lost = self.account.lose_pending(tail);
        self.account.commit();
        lost
    }
}

/// What the dispatch thread knows of a queue.
pub(super) struct Account {
    pub(super) state: Arc<QueueState>,
    /// Matched, and neither lost nor merged nor waiting.
    pub(super) delivered: u64,
    pub(super) lagged: u64,
    /// Taken by the receiver, as of the last look.
    received: u64,
}

impl Account {
    pub(super) fn new(capacity: usize, overflow: Overflow) -> Self {
        Account {
            state: Arc::new(QueueState::new(capacity, overflow)),
            delivered: 0,
            lagged: 0,
            received: 0,
        }
    }

    /// The number of the next event that matches.
    pub(super) fn next_position(&self) -> u64 {
        self.delivered + self.lagged + 1
    }

    pub(super) fn disconnects(&self) -> bool {
        self.state.overflow == Overflow::Disconnect
    }

    #[inline]
    pub(super) fn push_newest<E>(&mut self, ring: &mut ring::Producer<Entry<E>>, mut parcel: Parcel<E>) -> Pushed {
        let len = parcel.len();
        let queued = self.room(len);
        let disconnects = self.disconnects();
        // What comes after the loss that ends a subscription does not count as matched.
        let lost = (len - queued).min(if disconnects { 1 } else { len });
        let position = self.next_position();
        self.delivered += queued;
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
            ..Pushed::default()
        }
    }

    /// Each event displaces the oldest if there is no room.
    fn push_over_oldest<E>(&mut self, queue: &ArrayQueue<Entry<E>>, parcel: Parcel<E>) -> Pushed {
        let mut pushed = Pushed::default();
        for parcel in parcel.apart() {
            let position = self.next_position();
            match queue.force_push(Entry { parcel, position }) {
                None => {
                    self.delivered += 1;
                    pushed.queued += 1;
                }
                Some(_displaced) => {
                    self.lagged += 1;
                    pushed.lost += 1;
                }
            }
        }
        pushed
    }

    /// Each event goes into the host's channel, or is lost if that is full. What finds it closed comes after the end.
    fn forward<E: 'static>(&mut self, tail: &mut SinkTail<E>, parcel: Parcel<E>) -> Pushed {
        let mut pushed = Pushed::default();
        for parcel in parcel.apart() {
            let position = self.next_position();
            let delivery = Delivery {
                held: Held::single(parcel),
                missed: position - tail.position - 1,
            };
            match tail.sink.try_send(delivery) {
                Ok(Ok(())) => {
                    tail.position = position;
                    self.delivered += 1;
                    pushed.queued += 1;
                }
                Ok(Err(SinkError::Closed(_))) => {
                    pushed.ends = true;
                    break;
                }
                Ok(Err(SinkError::Full(_))) => {
                    self.lagged += 1;
                    pushed.lost += 1;
                    pushed.ends = self.disconnects();
                }
                Err(Panicked) => {
                    self.lagged += 1;
                    pushed.lost += 1;
                    pushed.ends = true;
                }
            }
            if pushed.ends {
                break;
            }
        }
        // Ordering: Relaxed, a statistic: what the channel has taken is queued here no more.
        let received = &self.state.receiver.received;
        received.store(self.delivered, Ordering::Relaxed);
        pushed
    }

    /// How many of `wanted` events there is room for.
    pub(super) fn room(&mut self, wanted: u64) -> u64 {
        if self.free() < wanted {
            // Ordering: Acquire, pairs with the Release in `QueueConsumer::count_received`: what was received has left its
            // place.
            self.received = self.state.receiver.received.load(Ordering::Acquire);
        }
        self.free().min(wanted)
    }

    fn free(&self) -> u64 {
        let queued = self.delivered - self.received;
        self.state.capacity as u64 - queued
    }

    fn commit(&self) {
        // Ordering: Relaxed, see `QueueState`'s counters.
        self.state.lagged.store(self.lagged, Ordering::Relaxed);
        // Ordering: Release, pairs with the Acquire in `QueueState::delivered`.
        self.state.delivered.store(self.delivered, Ordering::Release);
    }
}

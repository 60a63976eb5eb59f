//! The dispatch thread's end of a queue. It applies the overflow rule and commits the counts.
//!
//! Private to the dispatch thread, except for the ring that it fills.

use crate::delivery::parcel::Parcel;
use crate::overflow::Overflow;
use crate::queue::account::{Account, Outcome, Pushed};
use crate::queue::conflate::ConflatingTail;
use crate::queue::reserve::ReservingTail;
use crate::queue::sink::{GuardedSink, SinkTail};
use crate::queue::state::{Entry, QueueState};
use crate::sync::{Arc, ArrayQueue, ring};

/// The end of the queue that events are pushed to, one variant for each way to handle an event without space. The rare
/// variants are boxed, so that the common ones stay small.
pub(super) enum Tail<E> {
    /// Events without space are lost.
    Ring(ring::Producer<Entry<E>>),
    /// Events without space are lost. Only essential events may use the last places.
    Reserving(Box<ReservingTail<E>>),
    /// The oldest event is displaced. The producer then also takes from the head, which a ring with a single consumer
    /// does not allow.
    Array(Arc<ArrayQueue<Entry<E>>>),
    /// Events without space wait until the receiver has made space.
    Conflating(Box<ConflatingTail<E>>),
    /// A channel of the host instead of a queue of the bus.
    Sink(SinkTail<E>),
}

/// The dispatch thread's end of a queue.
pub(crate) struct QueueProducer<E> {
    tail: Tail<E>,
    account: Account,
}

impl<E> QueueProducer<E> {
    pub(super) fn new(tail: Tail<E>, account: Account) -> Self {
        QueueProducer { tail, account }
    }

    /// Creates a producer that delivers into a channel of the host. It has no queue, so its capacity is zero.
    pub(crate) fn into_sink(sink: GuardedSink<E>, overflow: Overflow) -> Self {
        QueueProducer {
            tail: Tail::Sink(SinkTail::new(sink)),
            account: Account::new(0, overflow),
        }
    }

    pub(crate) fn state(&self) -> &Arc<QueueState> {
        &self.account.state
    }

    /// Pushes a parcel according to the overflow rule, commits the counts, and adds the result to `pushed`. A
    /// subscription that has ended matches no event.
    // Inlined, so that the result of a push stays in registers. With many subscribers, this saves a tenth of the
    // instructions.
    #[inline(always)]
    pub(crate) fn push(&mut self, parcel: Parcel<E>, pushed: &mut Pushed)
    where
        E: 'static,
    {
        let QueueProducer { tail, account } = self;
        if account.state.is_closed() {
            return;
        }
        match tail {
            Tail::Ring(ring) => account.push_newest(ring, parcel, pushed),
            Tail::Reserving(tail) => tail.push(account, parcel, pushed),
            Tail::Array(queue) => push_over_oldest(account, queue, parcel, pushed),
            Tail::Conflating(tail) => tail.push(account, parcel, pushed),
            Tail::Sink(tail) => tail.push(account, parcel, pushed),
        }
        account.commit();
    }

    /// Queues waiting events as far as there is space, and adds the result to `pushed`.
    pub(crate) fn push_pending(&mut self, pushed: &mut Pushed) {
        self.push_waiting(ConflatingTail::push_pending, pushed);
    }

    /// Queues all waiting events, beyond the capacity if necessary, because the bus ends. Adds the result to `pushed`.
    pub(crate) fn push_all_pending(&mut self, pushed: &mut Pushed) {
        self.push_waiting(ConflatingTail::push_all_pending, pushed);
    }

    fn push_waiting(&mut self, push: fn(&mut ConflatingTail<E>, &mut Account, &mut Pushed), pushed: &mut Pushed) {
        if let Tail::Conflating(tail) = &mut self.tail {
            push(tail, &mut self.account, pushed);
            self.account.commit();
        }
    }

    /// Counts all waiting events as lost, because the subscription has ended. Returns their number.
    pub(crate) fn lose_pending(&mut self) -> u64 {
        let Tail::Conflating(tail) = &mut self.tail else {
            return 0;
        };
        let lost = tail.lose_pending(&mut self.account);
        self.account.commit();
        lost
    }
}

/// Pushes each event, which displaces the oldest one if there is no space. Of a parcel that is longer than the queue,
/// only the last events are pushed, because these would displace the others.
fn push_over_oldest<E>(
    account: &mut Account,
    queue: &ArrayQueue<Entry<E>>,
    mut parcel: Parcel<E>,
    pushed: &mut Pushed,
) {
    let surplus = parcel.len().saturating_sub(account.state.capacity as u64);
    if surplus > 0 {
        account.lose(surplus, pushed);
        parcel.skip(surplus);
    }
    account.push_each(parcel, pushed, |account, mut parcel| {
        if surplus > 0 {
            parcel.detach();
        }
        let position = account.next_position();
        match queue.force_push(Entry { parcel, position }) {
            None => Outcome::queued(),
            Some(_displaced) => Outcome::lost(1),
        }
    });
}

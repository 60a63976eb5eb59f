//! The receiver's end of a queue: what is taken, and the gaps before it.

use std::task::{Context, Poll, Waker};

use crate::delivery::parcel::Parcel;
use crate::delivery::{Delivery, Held, Share};
use crate::error::{RecvError, TryRecvError};
use crate::queue::{Entry, QueueState};
use crate::sync::atomic::Ordering;
use crate::sync::counted::Lot;
use crate::sync::panic;
use crate::sync::{Arc, ArrayQueue, ring};

pub(super) enum Head<E> {
    Ring(ring::Consumer<Entry<E>>),
    Shared(Arc<ArrayQueue<Entry<E>>>),
}

/// The receiver's end.
pub(crate) struct QueueConsumer<E> {
    pub(super) state: Arc<QueueState>,
    head: Head<E>,
    /// A bundle that is taken and not yet all received.
    open: Option<Open<E>>,
    /// The position of the last delivery: what lies between it and the next one is lost.
    position: u64,
    /// The sum of all gaps so far.
    missed: u64,
    /// Received as a part of others.
    merged: u64,
    received: u64,
    /// Closed was returned, and stays.
    finished: bool,
    /// Wakes the dispatch thread, which may wait for room; where it never does, there is none.
    dispatch: Option<Waker>,
}

/// The places of a bundle that are still to be received: as many as there are shares left, from `next` on.
struct Open<E> {
    shares: Lot<Share<E>>,
    next: u8,
}

impl<E> QueueConsumer<E> {
    pub(super) fn new(state: Arc<QueueState>, head: Head<E>, dispatch: Option<Waker>) -> Self {
        QueueConsumer {
            state,
            head,
            open: None,
            position: 0,
            missed: 0,
            merged: 0,
            received: 0,
            finished: false,
            dispatch,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn len(&self) -> usize {
        // What was being queued as the subscription ended is never received.
        if self.finished { 0 } else { self.state.queued() as usize }
    }

    /// Whether there is something to receive, or nothing ever will be. Stale at once where it says no.
    pub(crate) fn is_ready(&self) -> bool {
        self.len() > 0 || self.state.is_closed()
    }

    /// Lost so far. The committed counter may trail the gaps that this end has already seen.
    pub(crate) fn lagged(&self) -> u64 {
        self.state.lagged().max(self.missed)
    }

    /// Delivered as a part of others so far, likewise.
    pub(crate) fn merged(&self) -> u64 {
        self.state.merged().max(self.merged)
    }

    // An open bundle is the steady state of a busy receiver. Inlined, a delivery is built where it is used; returned through
    // layers, its copies cost more than all the rest.
    #[inline]
    pub(crate) fn try_pop(&mut self) -> Result<Delivery<E>, TryRecvError> {
        match self.next_of_open() {
            Some(delivery) => Ok(delivery),
            None => self.try_pop_entry(),
        }
    }

    /// Like `try_pop`, and leaves the waker where the dispatch thread finds it if the queue is empty.
    #[inline]
    pub(crate) fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        match self.next_of_open() {
            Some(delivery) => Poll::Ready(Ok(delivery)),
            None => self.poll_pop_entry(cx),
        }
    }

    #[inline]
    fn next_of_open(&mut self) -> Option<Delivery<E>> {
        let open = self.open.as_mut()?;
        let share = open.shares.take()?;
        let place = open.next;
        open.next += 1;
        self.position += 1;
        self.count_received();
        Some(Delivery {
            held: Held::Shared(share, place),
            missed: 0,
        })
    }

    #[inline]
    fn count_received(&mut self) {
        self.received += 1;
        // Ordering: Release, pairs with the Acquire in `Account::room`.
        self.state.receiver.received.store(self.received, Ordering::Release);
    }

    #[inline(never)]
    fn try_pop_entry(&mut self) -> Result<Delivery<E>, TryRecvError> {
        if self.finished {
            return Err(TryRecvError::Closed);
        }
        if let Some(entry) = self.take() {
            return Ok(self.account(entry));
        }
        if !self.state.is_closed() {
            return Err(TryRecvError::Empty);
        }
        // Something may have been queued between the look and the flag.
        match self.take() {
            Some(entry) => Ok(self.account(entry)),
            None => {
                // An event that was being pushed while somebody unsubscribed may still arrive: it counts as after the
                // end, so that nothing ever follows Closed.
                self.finished = true;
                Err(TryRecvError::Closed)
            }
        }
    }

    #[inline(never)]
    fn poll_pop_entry(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        if let ready @ Poll::Ready(_) = self.look() {
            return ready;
        }
        self.state.receiver.waker.register(cx.waker());
        // Look again: what was pushed before the waker was in place woke nobody.
        self.look()
    }

    fn look(&mut self) -> Poll<Result<Delivery<E>, RecvError>> {
        match self.try_pop_entry() {
            Ok(delivery) => Poll::Ready(Ok(delivery)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
        }
    }

    /// Frees what is queued and the waker, at once. What the dispatch thread is pushing right now goes with its end.
    pub(crate) fn discard(&mut self) {
        panic::discard(self.state.receiver.waker.take());
        self.open = None;
        while self.take().is_some() {}
    }

    fn take(&mut self) -> Option<Entry<E>> {
        match &mut self.head {
            Head::Ring(consumer) => consumer.pop().ok(),
            Head::Shared(queue) => queue.pop(),
        }
    }

    /// Makes a delivery of the first event, and keeps the others for later.
    fn account(&mut self, entry: Entry<E>) -> Delivery<E> {
        let missed = entry.position - self.position - 1;
        self.position = entry.position;
        self.missed += missed;
        self.count_received();
        self.tell_of_room();
        let held = match entry.parcel {
            Parcel::Bundle { bundle, from, to } if to - from > 1 => {
                let others = usize::from(to - from - 1);
                let (share, shares) = Lot::new(Share(bundle), others);
                self.open = Some(Open { shares, next: from + 1 });
                Held::Shared(share, from)
            }
            single => Held::single(single),
        };
        let delivery = Delivery { held, missed };
        self.merged += delivery.merged();
        delivery
    }

    /// Tells the dispatch thread, if it has asked, that there is room. Not for every event of a bundle: one told as it is
    /// begun has brought an entry behind it by the time it is finished.
    fn tell_of_room(&self) {
        if let Some(dispatch) = &self.dispatch {
            if self.state.is_room_wanted() {
                dispatch.wake_by_ref();
            }
        }
    }
}

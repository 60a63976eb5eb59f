//! The receiver's end of a queue. It takes entries and counts the gaps before them.
//!
//! The receiver owns this end. It takes entries out of the ring, and writes the receiver's side of the shared
//! [`QueueState`].

use std::task::{Context, Poll, Waker};

use crate::delivery::Delivery;
use crate::delivery::parcel::{Bundle, Parcel};
use crate::error::{RecvError, TryRecvError};
use crate::queue::state::{Entry, QueueState};
use crate::sync::atomic::Ordering;
use crate::sync::coop::{self, Budget};
use crate::sync::counted::{Counted, Handles};
use crate::sync::exclusive::Exclusive;

use crate::sync::wait::poll_registered;
use crate::sync::{Arc, ArrayQueue, panic, ring};

/// The end of the queue that events are taken from.
pub(super) enum Head<E> {
    Ring(Exclusive<ring::Consumer<Entry<E>>>),
    Array(Arc<ArrayQueue<Entry<E>>>),
}

/// The receiver's end of a queue.
pub(crate) struct QueueConsumer<E> {
    pub(super) state: Arc<QueueState>,
    head: Head<E>,
    /// A bundle that was taken from the queue and still has events to receive.
    open: Option<OpenBundle<E>>,
    /// The position of the last delivery. Events between it and the next delivery are lost.
    position: u64,
    /// The sum of all gaps so far.
    missed: u64,
    /// Number of events that were merged into received events.
    merged: u64,
    /// The budget of the task that receives.
    budget: Budget,
    /// The consumer has returned `Closed`, and will return nothing else.
    finished: bool,
    /// The waker of the dispatch thread, whose events may wait for space. Only a conflating queue has one.
    dispatch: Option<Waker>,
}

/// The remaining events of a bundle, beginning at the place `next`. Each has one handle.
struct OpenBundle<E> {
    handles: Handles<Counted<Bundle<E>>>,
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
            budget: Budget::new(0),
            finished: false,
            dispatch,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn len(&self) -> usize {
        // An event that was being queued as the subscription ended is never received.
        if self.finished { 0 } else { self.state.queued() as usize }
    }

    /// Returns `true` if there is an event to receive, or if no event will ever follow. `false` may be stale at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.len() > 0 || self.state.is_closed()
    }

    /// Returns the number of lost events. The committed counter may trail the gaps that this end has already seen.
    pub(crate) fn lagged(&self) -> u64 {
        self.state.lagged().max(self.missed)
    }

    /// Returns the number of events merged into others. The committed counter may trail this end.
    pub(crate) fn merged(&self) -> u64 {
        self.state.merged().max(self.merged)
    }

    // A busy receiver usually has an open bundle. With inlining, the delivery is built in its final place. Without
    // inlining, copying it through several return values would cost more than the rest of the call.
    #[inline]
    pub(crate) fn try_pop(&mut self) -> Result<Delivery<E>, TryRecvError> {
        if let Some(delivery) = self.pop_open() {
            return Ok(delivery);
        }
        // As in `Recv::poll`: a result that is passed by reference would stay in memory also on the fast path.
        let mut next = Err(TryRecvError::Empty);
        self.take_next_entry(&mut next);
        next
    }

    /// Takes the first event of the next entry into `next`.
    #[inline(never)]
    fn take_next_entry(&mut self, next: &mut Result<Delivery<E>, TryRecvError>) {
        *next = self.try_pop_entry();
    }

    /// Takes the next event for a task, unless its budget is spent. If the queue is empty, the waker is registered.
    #[inline]
    pub(crate) fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        match self.pop_within_budget() {
            Some(delivery) => Poll::Ready(Ok(delivery)),
            None => self.poll_pop_next(cx),
        }
    }

    /// Takes the next event of the open bundle for a task. Returns `None` if there is none, or if the budget of the task
    /// may be spent.
    #[inline]
    pub(crate) fn pop_within_budget(&mut self) -> Option<Delivery<E>> {
        if self.budget.needs_check(self.received()) {
            return None;
        }
        self.pop_open()
    }

    /// Takes the next event of the open bundle.
    #[inline]
    fn pop_open(&mut self) -> Option<Delivery<E>> {
        let open = self.open.as_mut()?;
        let bundle = open.handles.take()?;
        let place = open.next;
        open.next += 1;
        self.position += 1;
        self.count_received();
        Some(Delivery {
            parcel: Parcel::Part(bundle, place),
            missed: 0,
        })
    }

    #[inline]
    fn count_received(&mut self) {
        // Ordering: Release, pairs with the Acquire in `Account::space`.
        self.state.receiver.received.store(self.received(), Ordering::Release);
    }

    /// Returns the number of received events. Each event up to the position was received or lost.
    #[inline]
    fn received(&self) -> u64 {
        self.position - self.missed
    }

    #[inline(never)]
    fn try_pop_entry(&mut self) -> Result<Delivery<E>, TryRecvError> {
        if self.finished {
            return Err(TryRecvError::Closed);
        }
        if let Some(entry) = self.take_entry() {
            return Ok(self.open_entry(entry));
        }
        if !self.state.is_closed() {
            return Err(TryRecvError::Empty);
        }
        // An event may have been queued after the first check of the queue and before the queue was closed.
        match self.take_entry() {
            Some(entry) => Ok(self.open_entry(entry)),
            None => {
                // An event that is being pushed during an unsubscribe may still arrive. It counts as after the end, so
                // no event ever follows `Closed`.
                self.finished = true;
                Err(TryRecvError::Closed)
            }
        }
    }

    /// Makes the task yield if its budget is spent and it would not wait anyway.
    #[inline(never)]
    fn poll_pop_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        let received = self.received();
        if self.budget.needs_check(received) {
            if self.is_ready() && self.budget.is_spent(received) {
                self.budget = Budget::new(received);
                return coop::yield_once(cx);
            }
            if let Some(delivery) = self.pop_open() {
                return Poll::Ready(Ok(delivery));
            }
        }
        let polled = self.poll_pop_entry(cx);
        match polled {
            Poll::Pending => self.budget = Budget::new(self.received()),
            // The end counts as an event, because a task may poll for it again and again.
            Poll::Ready(Err(RecvError)) => self.budget.spend(),
            Poll::Ready(Ok(_)) => {}
        }
        polled
    }

    /// Takes the first event of the next entry. If the queue is empty, the waker is registered. No bundle is open.
    pub(crate) fn poll_pop_entry(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        let check = |queue: &mut Self| match queue.try_pop_entry() {
            Ok(delivery) => Poll::Ready(Ok(delivery)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
        };
        poll_registered(self, check, |queue| queue.state.receiver.waker.register(cx.waker()))
    }

    /// Frees the waker of a receive that no longer waits.
    #[cold]
    pub(crate) fn discard_waker(&mut self) {
        if let Some(waker) = self.state.receiver.waker.take() {
            panic::discard(waker);
        }
    }

    /// Frees all queued events at once. An event that is being pushed at the same time is freed with the producer.
    pub(crate) fn discard(&mut self) {
        self.open = None;
        while self.take_entry().is_some() {}
    }

    fn take_entry(&mut self) -> Option<Entry<E>> {
        match &mut self.head {
            Head::Ring(consumer) => consumer.get_mut().pop().ok(),
            Head::Array(queue) => queue.pop(),
        }
    }

    /// Returns the first event of an entry as a delivery, and keeps the other events for later calls.
    fn open_entry(&mut self, entry: Entry<E>) -> Delivery<E> {
        let missed = entry.position - self.position - 1;
        self.position = entry.position;
        self.missed += missed;
        self.count_received();
        self.notify_space();
        let parcel = match entry.parcel {
            Parcel::Bundle { bundle, from, to } if to - from > 1 => {
                let others = usize::from(to - from - 1);
                let (first, handles) = Handles::new(bundle, others);
                self.open = Some(OpenBundle {
                    handles,
                    next: from + 1,
                });
                Parcel::Part(first, from)
            }
            single => single,
        };
        let delivery = Delivery { parcel, missed };
        self.merged += delivery.merged();
        delivery
    }

    /// Wakes the dispatch thread if it has requested space. This happens once for each entry, not for each event: the
    /// wake-up at the start of a bundle lets the dispatch thread queue more by the time the bundle is received.
    fn notify_space(&self) {
        if let Some(dispatch) = &self.dispatch {
            if self.state.take_space_request() {
                dispatch.wake_by_ref();
            }
        }
    }
}

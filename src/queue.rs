//! A subscriber's queue: the ring, the overflow rule, the loss accounting and the waker.
//!
//! Three parts. [`QueueProducer`] belongs to the dispatch thread and [`QueueConsumer`] to the receiver; each is used
//! through `&mut`, so the ring between them has one writer and one reader. [`QueueState`] is what they and everybody
//! else share: a closed flag, counters and the waker, all atomics.
//!
//! Loss is exact by position: the producer numbers every event that matched this subscriber, and the consumer reports
//! the numbers that it never saw. This serves both ways of dropping, at the tail (the ring refuses an event) and at
//! the head (the oldest makes room).

use std::task::{Context, Poll};

use crate::boundary;
use crate::delivery::{Delivery, Envelope};
use crate::error::{RecvError, TryRecvError};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, ArrayQueue, AtomicWaker, ring};

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

/// An event in a queue, with its number among all events that matched the subscriber, from 1.
struct Entry<E> {
    envelope: Arc<Envelope<E>>,
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

    // Ordering of the counters: Relaxed. Each has one writer and is a statistic on its own; who has seen a flush or an
    // event has synchronised with the writer through that.

    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
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
    let state = Arc::new(QueueState {
        capacity,
        overflow,
        closed: AtomicBool::new(false),
        delivered: AtomicU64::new(0),
        lagged: AtomicU64::new(0),
        receiver: ReceiverSide {
            waker: AtomicWaker::new(),
            received: AtomicU64::new(0),
        },
    });
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
    let producer = QueueProducer {
        state: Arc::clone(&state),
        tail,
        matched: 0,
        lagged: 0,
    };
    let consumer = QueueConsumer {
        state,
        head,
        position: 0,
        missed: 0,
        finished: false,
    };
    (producer, consumer)
}

enum Tail<E> {
    Ring(ring::Producer<Entry<E>>),
    /// Drop-oldest: the producer takes from the head as well, which a single-consumer ring does not allow.
    Shared(Arc<ArrayQueue<Entry<E>>>),
}

/// What became of an event that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// It is queued, and nothing is lost.
    Queued,
    /// It, or an older one in its favour, is lost.
    Lost,
    /// It is lost, and the subscription must end for it.
    Overflowed,
    /// The subscription had ended before: the event does not count as matched.
    Closed,
}

/// The dispatch thread's end.
pub(crate) struct QueueProducer<E> {
    state: Arc<QueueState>,
    tail: Tail<E>,
    matched: u64,
    lagged: u64,
}

impl<E> QueueProducer<E> {
    pub(crate) fn state(&self) -> &Arc<QueueState> {
        &self.state
    }

    pub(crate) fn push(&mut self, envelope: Arc<Envelope<E>>) -> Pushed {
        if self.state.is_closed() {
            // May be the last reference to a payload.
            boundary::discard(envelope);
            return Pushed::Closed;
        }
        self.matched += 1;
        let entry = Entry {
            envelope,
            position: self.matched,
        };
        let lost = match &mut self.tail {
            Tail::Ring(producer) => producer.push(entry).err().map(|ring::PushError::Full(refused)| refused),
            Tail::Shared(queue) => queue.force_push(entry),
        };
        let Some(lost) = lost else {
            return Pushed::Queued;
        };
        self.lagged += 1;
        // May be the last reference to a payload.
        boundary::discard(lost);
        match self.state.overflow {
            Overflow::Disconnect => Pushed::Overflowed,
            Overflow::DropNewest | Overflow::DropOldest => Pushed::Lost,
        }
    }

    /// Makes the counters of what was pushed visible to everybody.
    pub(crate) fn commit(&self) {
        // Ordering: Relaxed, see `QueueState`'s counters.
        self.state.lagged.store(self.lagged, Ordering::Relaxed);
        self.state
            .delivered
            .store(self.matched - self.lagged, Ordering::Relaxed);
    }
}

enum Head<E> {
    Ring(ring::Consumer<Entry<E>>),
    Shared(Arc<ArrayQueue<Entry<E>>>),
}

/// The receiver's end.
pub(crate) struct QueueConsumer<E> {
    state: Arc<QueueState>,
    head: Head<E>,
    /// The position of the last delivery: what lies between it and the next one is lost.
    position: u64,
    /// The sum of all gaps so far.
    missed: u64,
    /// Closed was returned, and stays.
    finished: bool,
}

impl<E> QueueConsumer<E> {
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn len(&self) -> usize {
        match &self.head {
            Head::Ring(consumer) => consumer.slots(),
            Head::Shared(queue) => queue.len(),
        }
    }

    /// Lost so far. The committed counter may trail the gaps that this end has already seen.
    pub(crate) fn lagged(&self) -> u64 {
        self.state.lagged().max(self.missed)
    }

    pub(crate) fn try_pop(&mut self) -> Result<Delivery<E>, TryRecvError> {
        if self.finished {
            return Err(TryRecvError::Closed);
        }
        if let Some(entry) = self.take() {
            return Ok(self.account(entry));
        }
        if !self.state.is_closed() {
            return Err(TryRecvError::Empty);
        }
        #[cfg(sharing_bus_planted = "no_second_look")]
        return Err(TryRecvError::Closed);
        // Something may have been queued between the look and the flag.
        #[cfg(not(sharing_bus_planted = "no_second_look"))]
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

    /// Like `try_pop`, and leaves the waker where the dispatch thread finds it if the queue is empty.
    pub(crate) fn poll_pop(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
        if let ready @ Poll::Ready(_) = self.look() {
            return ready;
        }
        self.state.receiver.waker.register(cx.waker());
        // Look again: what was pushed before the waker was in place woke nobody.
        #[cfg(not(sharing_bus_planted = "no_recheck"))]
        return self.look();
        #[cfg(sharing_bus_planted = "no_recheck")]
        return Poll::Pending;
    }

    fn look(&mut self) -> Poll<Result<Delivery<E>, RecvError>> {
        match self.try_pop() {
            Ok(delivery) => Poll::Ready(Ok(delivery)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
        }
    }

    /// Frees what is queued and the waker, at once. What the dispatch thread is pushing right now goes with its end.
    pub(crate) fn discard(&mut self) {
        boundary::discard(self.state.receiver.waker.take());
        while let Some(entry) = self.take() {
            boundary::discard(entry);
        }
    }

    fn take(&mut self) -> Option<Entry<E>> {
        match &mut self.head {
            Head::Ring(consumer) => consumer.pop().ok(),
            Head::Shared(queue) => queue.pop(),
        }
    }

    fn account(&mut self, entry: Entry<E>) -> Delivery<E> {
        #[cfg(not(sharing_bus_planted = "missed_by_counter"))]
        let missed = entry.position - self.position - 1;
        #[cfg(sharing_bus_planted = "missed_by_counter")]
        let missed = self.state.lagged() - self.missed;
        self.position = entry.position;
        self.missed += missed;
        // Ordering: Relaxed, see `QueueState`'s counters. This end is the only writer.
        let received = self.state.receiver.received.load(Ordering::Relaxed) + 1;
        self.state.receiver.received.store(received, Ordering::Relaxed);
        Delivery {
            envelope: entry.envelope,
            missed,
        }
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::event::{BusEvent, EventRouting};

    #[test]
    fn a_loss_that_a_delivery_has_told_counts_before_the_batch_is_committed() {
        let (mut producer, mut consumer) = queue(1, Overflow::DropOldest);
        for sequence in 1..=3 {
            let event = BusEvent::new(EventRouting::default(), ());
            producer.push(Arc::new(Envelope { sequence, event }));
        }
        assert_eq!(consumer.try_pop().unwrap().missed(), 2);
        assert_eq!(consumer.lagged(), 2, "told, though not committed");
    }
}

/// Small enough for every execution there is; `loom-tests/` has the whole bus at a bound.
#[cfg(all(test, sharing_bus_loom))]
mod models {
    use super::*;
    use crate::event::{BusEvent, EventRouting};
    use crate::wait::models::Count;

    fn push(producer: &mut QueueProducer<()>, sequence: u64) {
        let event = BusEvent::new(EventRouting::default(), ());
        producer.push(Arc::new(Envelope { sequence, event }));
        producer.commit();
        producer.state().wake();
    }

    /// Two pushes into room for one, against a receiver that takes what it finds and then the rest.
    fn account(overflow: Overflow) {
        let (mut producer, mut consumer) = queue(1, overflow);
        let pushing = loom::thread::spawn(move || {
            push(&mut producer, 1);
            push(&mut producer, 2);
            producer.state().close();
        });
        let mut deliveries = Vec::new();
        deliveries.extend(consumer.try_pop());
        deliveries.extend(consumer.try_pop());
        pushing.join().unwrap();
        while let Ok(delivery) = consumer.try_pop() {
            deliveries.push(delivery);
        }
        let mut last = 0;
        for delivery in &deliveries {
            assert_eq!(
                delivery.sequence(),
                last + delivery.missed() + 1,
                "every gap is told where it is"
            );
            last = delivery.sequence();
        }
        assert_eq!(deliveries.len() as u64 + consumer.lagged(), 2);
    }

    #[test]
    fn push_races_pop_dropping_newest() {
        loom::model(|| account(Overflow::DropNewest));
    }

    #[test]
    fn push_races_pop_dropping_oldest() {
        loom::model(|| account(Overflow::DropOldest));
    }

    /// A poll that finds nothing is followed by a wake-up.
    fn wakes(signal: impl Fn(&mut QueueProducer<()>) + Clone + Send + Sync + 'static) {
        loom::model(move || {
            let (mut producer, mut consumer) = queue(1, Overflow::DropNewest);
            let signal = signal.clone();
            let signalling = loom::thread::spawn(move || {
                signal(&mut producer);
                producer
            });
            let count = Count::new();
            let waker = Count::waker(&count);
            let waits = consumer.poll_pop(&mut Context::from_waker(&waker)).is_pending();
            let _producer = signalling.join().unwrap();
            assert!(!waits || count.get() == 1, "the wake-up is lost");
        });
    }

    #[test]
    fn push_races_poll() {
        wakes(|producer| push(producer, 1));
    }

    #[test]
    fn close_races_poll() {
        wakes(|producer| {
            producer.state().close();
            producer.state().wake();
        });
    }
}

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

use std::task::{Context, Poll};

use crate::boundary;
use crate::delivery::{Delivery, Held, Share};
use crate::error::{RecvError, TryRecvError};
use crate::lot::Lot;
use crate::parcel::Parcel;
use crate::sink::{HostSink, SinkError};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Arc, ArrayQueue, AtomicWaker, Panicked, ring};

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
    let producer = QueueProducer { tail, account };
    let consumer = QueueConsumer {
        state,
        head,
        open: None,
        position: 0,
        missed: 0,
        received: 0,
        finished: false,
    };
    (producer, consumer)
}

enum Tail<E> {
    Ring(ring::Producer<Entry<E>>),
    /// Drop-oldest: the producer takes from the head as well, which a single-consumer ring does not allow.
    Shared(Arc<ArrayQueue<Entry<E>>>),
    /// No queue of the bus's.
    Sink(SinkTail<E>),
}

/// A channel of the host's.
struct SinkTail<E> {
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
struct Account {
    state: Arc<QueueState>,
    matched: u64,
    lagged: u64,
    /// Taken by the receiver, as of the last look.
    received: u64,
}

impl Account {
    fn new(capacity: usize, overflow: Overflow) -> Self {
        let state = QueueState {
            capacity,
            overflow,
            closed: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
            receiver: ReceiverSide {
                waker: AtomicWaker::new(),
                received: AtomicU64::new(0),
            },
        };
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

enum Head<E> {
    Ring(ring::Consumer<Entry<E>>),
    Shared(Arc<ArrayQueue<Entry<E>>>),
}

/// The receiver's end.
pub(crate) struct QueueConsumer<E> {
    state: Arc<QueueState>,
    head: Head<E>,
    /// A bundle that is taken and not yet all received.
    open: Option<Open<E>>,
    /// The position of the last delivery: what lies between it and the next one is lost.
    position: u64,
    /// The sum of all gaps so far.
    missed: u64,
    received: u64,
    /// Closed was returned, and stays.
    finished: bool,
}

/// The places of a bundle that are still to be received: as many as there are shares left, from `next` on.
struct Open<E> {
    shares: Lot<Share<E>>,
    next: u8,
}

impl<E> QueueConsumer<E> {
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    pub(crate) fn len(&self) -> usize {
        self.state.queued() as usize
    }

    /// Whether there is something to receive, or nothing ever will be. Stale at once where it says no.
    pub(crate) fn is_ready(&self) -> bool {
        self.len() > 0 || self.state.is_closed()
    }

    /// Lost so far. The committed counter may trail the gaps that this end has already seen.
    pub(crate) fn lagged(&self) -> u64 {
        self.state.lagged().max(self.missed)
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
        #[cfg(not(sharing_bus_planted = "relaxed_received"))]
        self.state.receiver.received.store(self.received, Ordering::Release);
        #[cfg(sharing_bus_planted = "relaxed_received")]
        self.state.receiver.received.store(self.received, Ordering::Relaxed);
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

    #[inline(never)]
    fn poll_pop_entry(&mut self, cx: &mut Context<'_>) -> Poll<Result<Delivery<E>, RecvError>> {
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
        match self.try_pop_entry() {
            Ok(delivery) => Poll::Ready(Ok(delivery)),
            Err(TryRecvError::Empty) => Poll::Pending,
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
        }
    }

    /// Frees what is queued and the waker, at once. What the dispatch thread is pushing right now goes with its end.
    pub(crate) fn discard(&mut self) {
        boundary::discard(self.state.receiver.waker.take());
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
        #[cfg(not(sharing_bus_planted = "missed_by_counter"))]
        let missed = entry.position - self.position - 1;
        #[cfg(sharing_bus_planted = "missed_by_counter")]
        let missed = self.state.lagged() - self.missed;
        self.position = entry.position;
        self.missed += missed;
        self.count_received();
        let held = match entry.parcel {
            Parcel::Bundle { bundle, from, to } if to - from > 1 => {
                let others = usize::from(to - from - 1);
                let (share, shares) = Lot::new(Share(bundle), others);
                self.open = Some(Open { shares, next: from + 1 });
                Held::Shared(share, from)
            }
            single => Held::single(single),
        };
        Delivery { held, missed }
    }
}

/// Parcels for tests and models.
#[cfg(test)]
mod parcels {
    use crate::event::{BusEvent, EventRouting};
    use crate::lot::Counted;
    use crate::parcel::{Bundle, Envelope, Parcel};

    fn envelope(sequence: u64) -> Envelope<()> {
        Envelope::new(sequence, BusEvent::new(EventRouting::default(), ()))
    }

    pub(super) fn single(sequence: u64) -> Parcel<()> {
        Parcel::Event(Counted::new(envelope(sequence)))
    }

    pub(super) fn bundle(sequences: impl Iterator<Item = u64>) -> Parcel<()> {
        let events = sequences.map(envelope);
        Parcel::whole(Counted::new(Bundle::Owned(events.collect())))
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::parcels::{bundle, single};
    use super::*;

    /// What can be received: sequence and missed.
    fn drain(consumer: &mut QueueConsumer<()>) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| consumer.try_pop().ok())
            .map(|delivery| (delivery.sequence(), delivery.missed()))
            .collect()
    }

    #[test]
    fn an_event_takes_as_much_of_a_queue_as_the_builder_says() {
        assert_eq!(size_of::<Entry<[u8; 100]>>(), 24);
    }

    fn pushed(queued: u64, lost: u64) -> Pushed {
        Pushed {
            queued,
            lost,
            ends: false,
        }
    }

    #[test]
    fn a_loss_that_a_delivery_has_told_counts_before_it_is_committed() {
        let (mut producer, mut consumer) = queue(1, Overflow::DropOldest);
        for sequence in 1..=3 {
            producer.push(single(sequence));
        }
        assert_eq!(consumer.try_pop().unwrap().missed(), 2);
        consumer.state.lagged.store(1, Ordering::Relaxed);
        assert_eq!(consumer.lagged(), 2, "told, though not committed");
    }

    #[test]
    fn of_a_bundle_is_queued_what_there_is_room_for() {
        let (mut producer, mut consumer) = queue(3, Overflow::DropNewest);
        assert_eq!(producer.push(bundle(1..=5)), pushed(3, 2));
        assert_eq!((consumer.len(), consumer.lagged()), (3, 2));
        assert_eq!(producer.push(single(6)), pushed(0, 1));
        assert_eq!(drain(&mut consumer), [(1, 0), (2, 0), (3, 0)]);
        assert_eq!(producer.push(bundle(7..=9)), pushed(3, 0));
        assert_eq!(drain(&mut consumer), [(7, 3), (8, 0), (9, 0)]);
    }

    #[test]
    fn room_is_counted_in_events_also_those_of_a_bundle_half_received() {
        let (mut producer, mut consumer) = queue(4, Overflow::DropNewest);
        assert_eq!(producer.push(bundle(1..=4)), pushed(4, 0));
        assert_eq!(consumer.try_pop().unwrap().sequence(), 1);
        assert_eq!(consumer.len(), 3);
        assert_eq!(producer.push(bundle(5..=6)), pushed(1, 1));
        assert_eq!(consumer.len(), 4);
        assert_eq!(drain(&mut consumer), [(2, 0), (3, 0), (4, 0), (5, 0)]);
        assert_eq!(producer.push(single(7)), pushed(1, 0));
        assert_eq!(drain(&mut consumer), [(7, 1)]);
    }

    #[test]
    fn of_a_bundle_that_disconnects_one_event_counts_as_lost() {
        let (mut producer, mut consumer) = queue(2, Overflow::Disconnect);
        let outcome = producer.push(bundle(1..=5));
        assert_eq!((outcome.queued, outcome.lost, outcome.ends), (2, 1, true));
        producer.state().close();
        assert_eq!(producer.push(bundle(6..=7)), pushed(0, 0));
        assert_eq!(drain(&mut consumer), [(1, 0), (2, 0)]);
        assert_eq!(consumer.lagged(), 1);
    }

    #[test]
    fn a_bundle_displaces_the_oldest_event_by_event() {
        let (mut producer, mut consumer) = queue(3, Overflow::DropOldest);
        assert_eq!(producer.push(bundle(1..=2)), pushed(2, 0));
        assert_eq!(producer.push(bundle(3..=4)), pushed(1, 1));
        assert_eq!(consumer.len(), 3);
        assert_eq!(drain(&mut consumer), [(2, 1), (3, 0), (4, 0)]);
    }

    #[test]
    fn what_is_kept_of_a_bundle_keeps_it_and_what_is_discarded_does_not() {
        let (mut producer, mut consumer) = queue(4, Overflow::DropNewest);
        let parcel = bundle(1..=3);
        let Parcel::Bundle { bundle, .. } = &parcel else {
            panic!("a bundle");
        };
        let payload = Arc::clone(&bundle.envelope(2).event().event);
        producer.push(parcel);
        let kept = consumer.try_pop().unwrap();
        let copy = kept.clone();
        consumer.discard();
        drop(kept);
        assert_eq!((copy.sequence(), Arc::strong_count(&payload)), (1, 2));
        drop(copy);
        assert_eq!(Arc::strong_count(&payload), 1);
    }
}

/// Small enough for every execution there is; `loom-tests/` has the whole bus at a bound.
#[cfg(all(test, sharing_bus_loom))]
mod models {
    use super::parcels::{bundle, single};
    use super::*;
    use crate::wait::models::Count;

    fn push(producer: &mut QueueProducer<()>, sequence: u64) {
        producer.push(single(sequence));
        producer.state().wake();
    }

    /// `pushes` push `matched` events, against a receiver that takes what it finds twice and then the rest.
    fn account(capacity: usize, overflow: Overflow, matched: u64, pushes: fn(&mut QueueProducer<()>)) {
        let (mut producer, mut consumer) = queue(capacity, overflow);
        let pushing = loom::thread::spawn(move || {
            pushes(&mut producer);
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
        assert_eq!(deliveries.len() as u64 + consumer.lagged(), matched);
    }

    fn two(producer: &mut QueueProducer<()>) {
        push(producer, 1);
        push(producer, 2);
    }

    /// The second one finds room for as much of it as was received.
    fn two_bundles(producer: &mut QueueProducer<()>) {
        producer.push(bundle(1..=2));
        producer.push(bundle(3..=4));
    }

    #[test]
    fn bundles_race_pop_dropping_newest() {
        loom::model(|| account(2, Overflow::DropNewest, 4, two_bundles));
    }

    #[test]
    fn bundles_race_pop_dropping_oldest() {
        loom::model(|| account(2, Overflow::DropOldest, 4, two_bundles));
    }

    /// What is counted as queued can be received.
    #[test]
    fn push_races_len() {
        loom::model(|| {
            let (mut producer, mut consumer) = queue(2, Overflow::DropNewest);
            let pushing = loom::thread::spawn(move || {
                producer.push(bundle(1..=2));
            });
            let queued = consumer.len();
            let received = std::iter::from_fn(|| consumer.try_pop().ok()).count();
            assert!(received >= queued, "{queued} queued, {received} received");
            pushing.join().unwrap();
        });
    }

    #[test]
    fn push_races_pop_dropping_newest() {
        loom::model(|| account(1, Overflow::DropNewest, 2, two));
    }

    #[test]
    fn push_races_pop_dropping_oldest() {
        loom::model(|| account(1, Overflow::DropOldest, 2, two));
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

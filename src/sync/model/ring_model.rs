//! The single-producer single-consumer ring: write the cell, then publish the tail.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use rtrb::{PopError, PushError};

use super::slot::Slot;

struct Shared<T> {
    slots: Vec<Slot<T>>,
    /// How many were taken; written by the consumer.
    head: AtomicUsize,
    /// How many were put; written by the producer.
    tail: AtomicUsize,
}

impl<T> Shared<T> {
    fn place(&self, position: usize) -> (&Slot<T>, usize) {
        let capacity = self.slots.len();
        (&self.slots[position % capacity], position / capacity)
    }
}

pub(crate) struct RingBuffer;

impl RingBuffer {
    #[expect(clippy::new_ret_no_self, reason = "as the real one does")]
    pub(crate) fn new<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let shared = Arc::new(Shared {
            slots: (0..capacity).map(|_| Slot::new()).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
        });
        (Producer(Arc::clone(&shared)), Consumer(shared))
    }
}

pub(crate) struct Producer<T>(Arc<Shared<T>>);

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        let ring = &self.0;
        let tail = ring.tail.load(Ordering::Relaxed);
        if tail - ring.head.load(Ordering::Acquire) == ring.slots.len() {
            return Err(PushError::Full(value));
        }
        let (slot, lap) = ring.place(tail);
        slot.fill(lap, value);
        ring.tail.store(tail + 1, Ordering::Release);
        Ok(())
    }
}

pub(crate) struct Consumer<T>(Arc<Shared<T>>);

impl<T> Consumer<T> {
    pub(crate) fn pop(&mut self) -> Result<T, PopError> {
        let ring = &self.0;
        let head = ring.head.load(Ordering::Relaxed);
        if ring.tail.load(Ordering::Acquire) == head {
            return Err(PopError::Empty);
        }
        let (slot, lap) = ring.place(head);
        let value = slot.empty(lap);
        ring.head.store(head + 1, Ordering::Release);
        Ok(value)
    }

    pub(crate) fn slots(&self) -> usize {
        let ring = &self.0;
        ring.tail.load(Ordering::Acquire) - ring.head.load(Ordering::Relaxed)
    }
}

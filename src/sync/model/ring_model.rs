//! The single-producer single-consumer ring. A push writes the cell and then publishes the tail.
//!
//! Each side keeps its own position in a private field, as the real ring does. loom needs this, because loom 0.7
//! remembers only the last access to an atomic. If a side loaded its position before it stores the next one, its load
//! would hide an earlier load of the other side.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use rtrb::{PopError, PushError};

use super::slot::Slot;

struct Ring<T> {
    slots: Vec<Slot<T>>,
    /// Number of popped values. Only the consumer writes it.
    head: AtomicUsize,
    /// Number of pushed values. Only the producer writes it.
    tail: AtomicUsize,
}

impl<T> Ring<T> {
    /// Returns the slot of a position, and how many times the ring was filled before it.
    fn place(&self, position: usize) -> (&Slot<T>, usize) {
        let capacity = self.slots.len();
        (&self.slots[position % capacity], position / capacity)
    }
}

pub(crate) struct RingBuffer;

impl RingBuffer {
    #[expect(clippy::new_ret_no_self, reason = "the real constructor returns both ends too")]
    pub(crate) fn new<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let shared = Arc::new(Ring {
            slots: (0..capacity).map(|_| Slot::new()).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
        });
        let producer = Producer {
            ring: Arc::clone(&shared),
            tail: 0,
        };
        (producer, Consumer { ring: shared, head: 0 })
    }
}

pub(crate) struct Producer<T> {
    ring: Arc<Ring<T>>,
    tail: usize,
}

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        let ring = &self.ring;
        if self.tail - ring.head.load(Ordering::Acquire) == ring.slots.len() {
            return Err(PushError::Full(value));
        }
        let (slot, lap) = ring.place(self.tail);
        slot.fill(lap, value);
        self.tail += 1;
        ring.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

pub(crate) struct Consumer<T> {
    ring: Arc<Ring<T>>,
    head: usize,
}

impl<T> Consumer<T> {
    pub(crate) fn pop(&mut self) -> Result<T, PopError> {
        let ring = &self.ring;
        if ring.tail.load(Ordering::Acquire) == self.head {
            return Err(PopError::Empty);
        }
        let (slot, lap) = ring.place(self.head);
        let value = slot.empty(lap);
        self.head += 1;
        ring.head.store(self.head, Ordering::Release);
        Ok(value)
    }
}

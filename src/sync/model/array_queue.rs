//! The queue whose two ends may both take from the head. One producer, as the bus uses it.
//!
//! Cells are used once each, so the models keep it short; what is left is the contest for the head.

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::slot::Slot;

/// How many pushes one queue of a model may see.
const PUSHES: usize = 8;

pub(crate) struct ArrayQueue<T> {
    capacity: usize,
    slots: Vec<Slot<T>>,
    /// How many were taken, by either end.
    head: AtomicUsize,
    /// How many were put; written by the producer.
    tail: AtomicUsize,
    /// The producer's own copy of it, out of loom's sight: see the ring.
    put: std::sync::atomic::AtomicUsize,
}

impl<T> ArrayQueue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        ArrayQueue {
            capacity,
            slots: (0..PUSHES).map(|_| Slot::new()).collect(),
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            put: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    /// Puts `value`; if the queue is full, the oldest makes room and is returned.
    pub(crate) fn force_push(&self, value: T) -> Option<T> {
        let tail = self.put.load(Ordering::Relaxed);
        let displaced = loop {
            let head = self.head.load(Ordering::Acquire);
            if tail - head < self.capacity {
                break None;
            }
            if let Some(oldest) = self.take(head) {
                break Some(oldest);
            }
        };
        self.slots[tail].fill(0, value);
        self.put.store(tail + 1, Ordering::Relaxed);
        self.tail.store(tail + 1, Ordering::Release);
        displaced
    }

    pub(crate) fn pop(&self) -> Option<T> {
        loop {
            let head = self.head.load(Ordering::Acquire);
            if head >= self.tail.load(Ordering::Acquire) {
                return None;
            }
            if let Some(value) = self.take(head) {
                return Some(value);
            }
        }
    }

    /// Takes the cell at `head`, unless the other end was quicker.
    fn take(&self, head: usize) -> Option<T> {
        self.head
            .compare_exchange(head, head + 1, Ordering::AcqRel, Ordering::Relaxed)
            .ok()
            .map(|_| self.slots[head].empty(0))
    }
}

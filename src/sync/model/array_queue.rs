//! The queue for the drop-oldest rule. Its producer and its consumer can both take values from the head. The stand-in
//! supports one producer, because the bus has one.
//!
//! Each cell is used only once, so a model can push only a few values. The models still cover the race of both ends for
//! the head.

use loom::sync::atomic::{AtomicUsize, Ordering};

use super::slot::Slot;

/// Maximum number of pushes to one queue in a model.
const PUSHES: usize = 8;

pub(crate) struct ArrayQueue<T> {
    capacity: usize,
    slots: Vec<Slot<T>>,
    /// Number of values taken by either end.
    head: AtomicUsize,
    /// Number of pushed values. Only the producer writes it.
    tail: AtomicUsize,
    /// The producer's own copy of `tail`, which loom does not track. The module `ring_model` explains the reason.
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

    /// Pushes `value`. If the queue is full, this method removes and returns the oldest value.
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

    /// Takes the value at `head`, or returns `None` if the other end took it first.
    fn take(&self, head: usize) -> Option<T> {
        self.head
            .compare_exchange(head, head + 1, Ordering::AcqRel, Ordering::Relaxed)
            .ok()
            .map(|_| self.slots[head].empty(0))
    }
}

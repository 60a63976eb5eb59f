//! The bounded channel: a queue under a lock, with one condition variable for each side. Either side can disconnect.
//!
//! Like the real channel, `try_send` and `try_recv` first compare the positions without a lock. These positions may be
//! stale, and the relaxed loads order nothing. So a result of "full" or "empty" synchronizes with no other thread.
//!
//! loom has no time, so a timed send waits without limit. The sender is not `Clone`, because the bus shares one sender
//! in an `Arc`.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvError, SendError, SendTimeoutError, TryRecvError, TrySendError};
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex, MutexGuard};

struct State<T> {
    queue: VecDeque<T>,
    sender_gone: bool,
    receiver_gone: bool,
}

struct Channel<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    /// Number of sent values, changed under the lock. loom does not track this copy, which saves executions in models
    /// that never fill the channel.
    sent: std::sync::atomic::AtomicUsize,
    /// Number of sent values for `try_recv`, which loom tracks.
    visible: AtomicUsize,
    /// Number of received values, changed under the lock.
    taken: AtomicUsize,
    not_empty: Condvar,
    not_full: Condvar,
}

impl<T> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks_full(&self) -> bool {
        let sent = self.sent.load(Ordering::Relaxed);
        sent >= self.capacity && sent.saturating_sub(self.taken.load(Ordering::Relaxed)) >= self.capacity
    }

    fn looks_empty(&self) -> bool {
        self.visible.load(Ordering::Relaxed) == self.taken.load(Ordering::Relaxed)
    }

    fn put(&self, mut state: MutexGuard<'_, State<T>>, value: T) {
        state.queue.push_back(value);
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.visible.fetch_add(1, Ordering::Relaxed);
        drop(state);
        self.not_empty.notify_one();
    }

    fn take(&self, state: &mut State<T>) -> Option<T> {
        let value = state.queue.pop_front()?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(value)
    }
}

pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Channel {
        capacity,
        state: Mutex::new(State {
            queue: VecDeque::new(),
            sender_gone: false,
            receiver_gone: false,
        }),
        sent: std::sync::atomic::AtomicUsize::new(0),
        visible: AtomicUsize::new(0),
        taken: AtomicUsize::new(0),
        not_empty: Condvar::new(),
        not_full: Condvar::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

pub(crate) struct Sender<T>(Arc<Channel<T>>);

impl<T> Sender<T> {
    pub(crate) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        if self.0.looks_full() {
            return Err(TrySendError::Full(value));
        }
        let state = self.0.lock();
        if state.receiver_gone {
            return Err(TrySendError::Disconnected(value));
        }
        if state.queue.len() == self.0.capacity {
            return Err(TrySendError::Full(value));
        }
        self.0.put(state, value);
        Ok(())
    }

    pub(crate) fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut state = self.0.lock();
        while !state.receiver_gone && state.queue.len() == self.0.capacity {
            state = self.0.not_full.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.receiver_gone {
            return Err(SendError(value));
        }
        self.0.put(state, value);
        Ok(())
    }

    pub(crate) fn send_timeout(&self, value: T, _timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send(value)
            .map_err(|refused| SendTimeoutError::Disconnected(refused.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().sender_gone = true;
        self.0.not_empty.notify_all();
    }
}

pub(crate) struct Receiver<T>(Arc<Channel<T>>);

impl<T> Receiver<T> {
    pub(crate) fn recv(&self) -> Result<T, RecvError> {
        let mut state = self.0.lock();
        loop {
            if let Some(value) = self.0.take(&mut state) {
                drop(state);
                self.0.not_full.notify_one();
                return Ok(value);
            }
            if state.sender_gone {
                return Err(RecvError);
            }
            state = self.0.not_empty.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.looks_empty()
    }

    pub(crate) fn try_recv(&self) -> Result<T, TryRecvError> {
        if self.0.looks_empty() {
            return Err(TryRecvError::Empty);
        }
        let mut state = self.0.lock();
        let Some(value) = self.0.take(&mut state) else {
            return Err(if state.sender_gone {
                TryRecvError::Disconnected
            } else {
                TryRecvError::Empty
            });
        };
        drop(state);
        self.0.not_full.notify_one();
        Ok(value)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.receiver_gone = true;
        let unread = std::mem::take(&mut state.queue);
        // Dropped values no longer take up capacity.
        self.0.taken.fetch_add(unread.len(), Ordering::Relaxed);
        drop(state);
        drop(unread);
        self.0.not_full.notify_all();
    }
}

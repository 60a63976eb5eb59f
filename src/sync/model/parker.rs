//! The parker: a token under a lock, and a condition variable. loom has no time, so a deadline never passes.

use std::sync::{Arc, PoisonError};
use std::task::Wake;
use std::time::Instant;

use loom::sync::{Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct Parker(Arc<Token>);

#[derive(Debug)]
pub(crate) struct Token {
    available: Mutex<bool>,
    changed: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Parker(Arc::new(Token {
            available: Mutex::new(false),
            changed: Condvar::new(),
        }))
    }

    pub(crate) fn unparker(&self) -> Arc<Token> {
        Arc::clone(&self.0)
    }

    pub(crate) fn park(&self) {
        let lock = self.0.available.lock();
        let mut available = lock.unwrap_or_else(PoisonError::into_inner);
        while !*available {
            let woken = self.0.changed.wait(available);
            available = woken.unwrap_or_else(PoisonError::into_inner);
        }
        *available = false;
    }

    pub(crate) fn park_deadline(&self, _deadline: Instant) -> bool {
        self.park();
        true
    }
}

impl Wake for Token {
    fn wake(self: Arc<Self>) {
        let lock = self.available.lock();
        *lock.unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_one();
    }
}

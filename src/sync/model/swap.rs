//! `ArcSwap`, `ArcSwapOption` and `Cache`: an atomic index into an arena that only grows.
//!
//! A load reads the index with Acquire and may see an old one, as with the real type. A swap exchanges the index with
//! AcqRel. The arena owns only the current value. A load with an old index returns the old value while another
//! reference keeps the old value alive, and the current value after that. The debts of the real type have the same
//! effect.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use loom::sync::atomic::{AtomicUsize, Ordering};

enum State<T> {
    None,
    Current(Arc<T>),
    Past(Weak<T>),
}

impl<T> State<T> {
    /// Returns the value, or `None` if it was dropped.
    fn get(&self) -> Option<Option<Arc<T>>> {
        match self {
            State::None => Some(None),
            State::Current(value) => Some(Some(Arc::clone(value))),
            State::Past(value) => value.upgrade().map(Some),
        }
    }
}

pub(crate) struct ArcSwapOption<T> {
    index: AtomicUsize,
    arena: Mutex<Vec<State<T>>>,
}

impl<T> ArcSwapOption<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        ArcSwapOption {
            index: AtomicUsize::new(0),
            arena: Mutex::new(vec![State::Current(Arc::new(value))]),
        }
    }

    fn arena(&self) -> MutexGuard<'_, Vec<State<T>>> {
        self.arena.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_indexed(&self) -> (usize, Option<Arc<T>>) {
        let index = self.index.load(Ordering::Acquire);
        if let Some(value) = self.arena()[index].get() {
            return (index, value);
        }
        // A read-modify-write sees the latest index, and the arena owns its value.
        let index = self.index.fetch_add(0, Ordering::AcqRel);
        let value = self.arena()[index].get();
        (index, value.expect("the arena owns the current value"))
    }

    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        Guard(self.load_full())
    }

    pub(crate) fn load_full(&self) -> Option<Arc<T>> {
        self.load_indexed().1
    }

    pub(crate) fn swap(&self, value: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = {
            let mut arena = self.arena();
            arena.push(value.map_or(State::None, State::Current));
            arena.len() - 1
        };
        let old = self.index.swap(new, Ordering::AcqRel);
        let mut arena = self.arena();
        let past = match &arena[old] {
            State::Current(value) => State::Past(Arc::downgrade(value)),
            State::None | State::Past(_) => State::None,
        };
        match std::mem::replace(&mut arena[old], past) {
            State::Current(value) => Some(value),
            State::None | State::Past(_) => None,
        }
    }
}

/// A loaded value. It dereferences to the value, like the guard of the real type.
pub(crate) struct Guard<T>(T);

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

pub(crate) struct ArcSwap<T>(ArcSwapOption<T>);

impl<T> ArcSwap<T> {
    pub(crate) fn from_pointee(value: T) -> Self {
        ArcSwap(ArcSwapOption::from_pointee(value))
    }

    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        Guard(self.load_full())
    }

    pub(crate) fn load_full(&self) -> Arc<T> {
        self.load_indexed().1
    }

    fn load_indexed(&self) -> (usize, Arc<T>) {
        let (index, value) = self.0.load_indexed();
        (index, value.expect("an ArcSwap always holds a value"))
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        drop(self.0.swap(Some(value)));
    }
}

/// A cached value. The real type compares pointers with a relaxed load, and this type compares indices.
pub(crate) struct Cache<A, T> {
    source: A,
    index: usize,
    cached: T,
}

impl<T> Cache<Arc<ArcSwap<T>>, Arc<T>> {
    pub(crate) fn new(source: Arc<ArcSwap<T>>) -> Self {
        let (index, cached) = source.load_indexed();
        Cache { source, index, cached }
    }

    pub(crate) fn load(&mut self) -> &Arc<T> {
        if self.source.0.index.load(Ordering::Relaxed) != self.index {
            (self.index, self.cached) = self.source.load_indexed();
        }
        &self.cached
    }
}

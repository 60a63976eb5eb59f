//! Losses on the way to this node, recorded per event: [`Gaps`].
//!
//! The importer detects a loss before it publishes the event that follows, and records the loss under the address of
//! that event's payload. The dispatch thread looks up the record when it delivers the event, so the receiver reports
//! the loss with that event. The records are in a map behind a mutex, which is held for one lookup or one insertion. No
//! code of the host runs while the mutex is held.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::import::received::Gap;

/// The losses before events that are on the local bus, by the address of the payload. A weak reference to the payload
/// prevents the address from being reused.
pub(crate) struct Gaps<E>(Mutex<HashMap<usize, (Weak<E>, Gap)>>);

impl<E> Gaps<E> {
    /// Number of records above which the records of dropped events are removed.
    const PRUNE_ABOVE: usize = 64;

    pub(crate) fn new() -> Self {
        Gaps(Mutex::new(HashMap::new()))
    }

    /// Records the loss before an event. Must be called before the event is published.
    pub(crate) fn record(&self, event: &Arc<E>, gap: Gap) {
        if gap.is_none() {
            return;
        }
        let mut gaps = self.lock();
        if gaps.len() >= Self::PRUNE_ABOVE {
            gaps.retain(|_, (event, _)| event.strong_count() > 0);
        }
        gaps.insert(Arc::as_ptr(event).addr(), (Arc::downgrade(event), gap));
    }

    /// Returns the loss before an event.
    pub(crate) fn before(&self, event: &Arc<E>) -> Gap {
        let gaps = self.lock();
        gaps.get(&Arc::as_ptr(event).addr())
            .map_or_else(Gap::default, |(_, gap)| *gap)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, (Weak<E>, Gap)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

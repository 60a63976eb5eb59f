//! The scroll_id cache: which global id each session has, for late binding and for look-ups.
//!
//! Owns a `DashMap` from session to binding and, beside it, the sessions ordered by age. Look-ups go to the map alone,
//! from any thread, allocate nothing, and copy the id out before the map's guard is gone; no user code runs under a
//! guard. Writers (the dispatch thread, `bind_session`, `forget_session`) are serialised by the mutex around the ages,
//! so the map and the ages always tell the same sessions.

pub(crate) mod binding;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use uuid::Uuid;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::panic;
use crate::sync::{Arc, DashMap, Mutex};
use crate::telemetry;

/// A session's name: its connector and its id there.
#[derive(Clone, Debug)]
pub(crate) struct SessionKey {
    connector_id: Arc<str>,
    native_session_id: Arc<str>,
}

impl SessionKey {
    pub(crate) fn new(connector_id: Arc<str>, native_session_id: Arc<str>) -> Self {
        SessionKey {
            connector_id,
            native_session_id,
        }
    }
}

/// A session's name by reference, so that maps keyed by [`SessionKey`] are probed without building one.
pub(crate) trait SessionName {
    fn parts(&self) -> (&str, &str);
}

impl SessionName for SessionKey {
    fn parts(&self) -> (&str, &str) {
        (&self.connector_id, &self.native_session_id)
    }
}

impl SessionName for (&str, &str) {
    fn parts(&self) -> (&str, &str) {
        *self
    }
}

impl Hash for dyn SessionName + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn SessionName + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn SessionName + '_ {}

impl Hash for SessionKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for SessionKey {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for SessionKey {}

impl<'a> Borrow<dyn SessionName + 'a> for SessionKey {
    fn borrow(&self) -> &(dyn SessionName + 'a) {
        self
    }
}

#[derive(Clone, Copy)]
struct Binding {
    scroll_id: Uuid,
    /// When it was registered: the key of this session among the ages.
    age: u64,
}

#[derive(Default)]
struct Ages {
    next: u64,
    oldest_first: BTreeMap<u64, SessionKey>,
}

pub(crate) struct Sessions {
    bindings: DashMap<SessionKey, Binding>,
    ages: Mutex<Ages>,
    capacity: usize,
    evicted: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(capacity: usize) -> Self {
        Sessions {
            bindings: DashMap::new(),
            ages: Mutex::new(Ages::default()),
            capacity,
            evicted: AtomicU64::new(0),
        }
    }

    /// The id that the session is bound to.
    pub(crate) fn scroll_id(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let name: &dyn SessionName = &(connector_id, native_session_id);
        self.bindings.get(name).map(|binding| binding.scroll_id)
    }

    /// Binds the session, newly or again, and returns the id it was bound to before. Past the capacity the session
    /// whose registration is oldest is forgotten.
    pub(crate) fn bind(&self, connector_id: &str, native_session_id: &str, scroll_id: Uuid) -> Option<Uuid> {
        let key = SessionKey::new(connector_id.into(), native_session_id.into());
        let mut ages = self.ages.lock();
        let age = ages.next;
        ages.next += 1;
        let previous = self.bindings.insert(key.clone(), Binding { scroll_id, age });
        if let Some(previous) = previous {
            ages.oldest_first.remove(&previous.age);
        }
        ages.oldest_first.insert(age, key);
        let evicted = if ages.oldest_first.len() > self.capacity {
            ages.oldest_first.pop_first()
        } else {
            None
        };
        if let Some((_, oldest)) = &evicted {
            self.bindings.remove(oldest);
        }
        drop(ages);
        if let Some((_, oldest)) = evicted {
            self.count_eviction(&oldest);
        }
        telemetry::session_bound(connector_id, native_session_id, scroll_id);
        previous.map(|previous| previous.scroll_id)
    }

    fn count_eviction(&self, oldest: &SessionKey) {
        // Ordering: Relaxed, a statistic that publishes nothing.
        if self.evicted.fetch_add(1, Ordering::Relaxed) == 0 {
            let (connector_id, native_session_id) = oldest.parts();
            panic::log_warning!(
                "session capacity {} reached: forgetting the oldest registrations, first {connector_id}/{native_session_id}",
                self.capacity
            );
        }
    }

    /// Forgets the session and returns the id it was bound to.
    pub(crate) fn forget(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let name: &dyn SessionName = &(connector_id, native_session_id);
        let mut ages = self.ages.lock();
        let (_, binding) = self.bindings.remove(name)?;
        ages.oldest_first.remove(&binding.age);
        Some(binding.scroll_id)
    }

    /// How many sessions are bound. Stale as soon as another thread binds or forgets one.
    pub(crate) fn len(&self) -> usize {
        self.ages.lock().oldest_first.len()
    }

    /// How many bindings the capacity has cost.
    pub(crate) fn evicted(&self) -> u64 {
        // Ordering: Relaxed, a statistic.
        self.evicted.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[test]
    fn binding_again_replaces_and_renews_the_age() {
        let sessions = Sessions::new(2);
        assert_eq!(sessions.bind("c", "a", id(1)), None);
        assert_eq!(sessions.bind("c", "b", id(2)), None);
        assert_eq!(sessions.bind("c", "a", id(3)), Some(id(1)));
        assert_eq!((sessions.len(), sessions.evicted()), (2, 0));

        // "b" is now the oldest, although "a" was first.
        assert_eq!(sessions.bind("c", "d", id(4)), None);
        assert_eq!(sessions.scroll_id("c", "b"), None);
        assert_eq!(sessions.scroll_id("c", "a"), Some(id(3)));
        assert_eq!((sessions.len(), sessions.evicted()), (2, 1));
    }

    #[test]
    fn forgetting_frees_the_place() {
        let sessions = Sessions::new(1);
        sessions.bind("c", "a", id(1));
        assert_eq!(sessions.forget("c", "a"), Some(id(1)));
        assert_eq!(sessions.forget("c", "a"), None);
        sessions.bind("c", "b", id(2));
        assert_eq!((sessions.len(), sessions.evicted()), (1, 0));
    }

    #[test]
    fn names_are_not_confused_across_the_two_parts() {
        let sessions = Sessions::new(8);
        sessions.bind("ab", "c", id(1));
        assert_eq!(sessions.scroll_id("a", "bc"), None);
        assert_eq!(sessions.scroll_id("ab", "c"), Some(id(1)));
    }
}

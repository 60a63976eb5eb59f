//! The session cache: the global id (`scroll_id`) of each session, for late binding and for lookups.
//!
//! 1. `key`: the name of a session.
//! 2. `binding`: late binding, the rule that binds an event to the scroll of its session. The dispatch thread calls it.
//!
//! [`Sessions`] owns a `DashMap` from session to binding, and the sessions ordered by age. Any thread can look up a
//! session. A lookup reads only the map, allocates nothing, and copies the id before it releases the map's guard. No
//! user code runs while a guard is held. A mutex around the ages serializes the writers: the dispatch thread,
//! `bind_session` and `forget_session`. So the map and the ages always contain the same sessions.

pub(crate) mod binding;
pub(crate) mod key;

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::name::Name;
use crate::sessions::key::{SessionKey, SessionName};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{DashMap, Mutex, panic};

#[derive(Clone, Copy)]
struct Binding {
    scroll_id: Uuid,
    /// The number of the registration, which is the key of this session in `Ages::oldest_first`.
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

    /// Returns the id to which the session is bound.
    pub(crate) fn scroll_id(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let name: &dyn SessionName = &(connector_id, native_session_id);
        self.bindings.get(name).map(|binding| binding.scroll_id)
    }

    /// Binds the session, or replaces its binding, and returns the id to which it was bound before. If the capacity is
    /// exceeded, it removes the session with the oldest registration.
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
        previous.map(|previous| previous.scroll_id)
    }

    fn count_eviction(&self, oldest: &SessionKey) {
        // Ordering: Relaxed, because this statistic publishes no other data.
        if self.evicted.fetch_add(1, Ordering::Relaxed) == 0 {
            let (connector_id, native_session_id) = oldest.parts();
            panic::log_warning!(
                "session capacity {} reached: forgetting the oldest registrations, \
                 first {}/{}",
                self.capacity,
                Name(connector_id),
                Name(native_session_id)
            );
        }
    }

    /// Removes the session and returns the id to which it was bound.
    pub(crate) fn forget(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let name: &dyn SessionName = &(connector_id, native_session_id);
        let mut ages = self.ages.lock();
        let (_, binding) = self.bindings.remove(name)?;
        ages.oldest_first.remove(&binding.age);
        Some(binding.scroll_id)
    }

    /// Returns the number of bound sessions. The number is stale as soon as another thread binds or removes a session.
    pub(crate) fn len(&self) -> usize {
        self.ages.lock().oldest_first.len()
    }

    /// Returns the number of sessions removed because the capacity was exceeded.
    pub(crate) fn evicted(&self) -> u64 {
        // Ordering: Relaxed, because this value is a statistic.
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
    fn binding_a_session_again_replaces_its_id_and_renews_its_age() {
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
    fn a_forgotten_session_no_longer_counts_toward_the_capacity() {
        let sessions = Sessions::new(1);
        sessions.bind("c", "a", id(1));
        assert_eq!(sessions.forget("c", "a"), Some(id(1)));
        assert_eq!(sessions.forget("c", "a"), None);
        sessions.bind("c", "b", id(2));
        assert_eq!((sessions.len(), sessions.evicted()), (1, 0));
    }

    #[test]
    fn session_names_are_compared_part_by_part() {
        let sessions = Sessions::new(8);
        sessions.bind("ab", "c", id(1));
        assert_eq!(sessions.scroll_id("a", "bc"), None);
        assert_eq!(sessions.scroll_id("ab", "c"), Some(id(1)));
    }
}

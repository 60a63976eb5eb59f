//! The concurrent map: two shards, each a map under a lock. Only accesses to the same shard order each other.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash};
use std::ops::Deref;
use std::sync::PoisonError;

use loom::sync::{Mutex, MutexGuard};

use super::Hashing;

type Shard<K, V> = HashMap<K, V, Hashing>;

pub(crate) struct DashMap<K, V> {
    shards: [Mutex<Shard<K, V>>; 2],
}

/// A copy of a value in the map. The real type holds the lock of the shard instead.
pub(crate) struct Found<V>(V);

impl<V> Deref for Found<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.0
    }
}

impl<K: Hash + Eq, V: Copy> DashMap<K, V> {
    pub(crate) fn new() -> Self {
        DashMap {
            shards: [Mutex::new(Shard::default()), Mutex::new(Shard::default())],
        }
    }

    fn shard<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V>> {
        let hash = Hashing::default().hash_one(key);
        let index = usize::from(hash % 2 == 1);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<Found<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).get(key).copied().map(Found)
    }

    pub(crate) fn insert(&self, key: K, value: V) -> Option<V> {
        self.shard(&key).insert(key, value)
    }

    pub(crate) fn remove<Q>(&self, key: &Q) -> Option<(K, V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shard(key).remove_entry(key)
    }
}

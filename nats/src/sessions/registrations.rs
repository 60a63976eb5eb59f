//! The sessions that this node has registered, the sessions known from other nodes, and the changes that the bucket
//! does not have yet.
//!
//! This is plain state without a bus or a server. The tasks of the session bucket share it behind a mutex. A key of
//! the bucket consists of the two tokens of a session. The bucket's revisions order its changes, so an old deletion of
//! this node that arrives late does not undo a newer registration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire::headers::Source;
use crate::wire::subject::Token;

/// Number of renewals of a registration within its lifetime in the bucket. Two of them may fail.
const RENEWALS: u32 = 3;
/// Interval between checks for sessions of other nodes that the bus has forgotten. The bus does not report them.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// Number of unwritten changes above which ends of sessions are no longer recorded. This limits memory while no server
/// is reachable. A session whose end is not recorded expires in the bucket. The limit equals the default number of
/// sessions on a bus.
const MAX_UNWRITTEN: usize = 65_536;

/// A registration as stored in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) connector_id: String,
    pub(crate) native_session_id: String,
    pub(crate) scroll_id: Uuid,
    /// The node that registered the session.
    pub(crate) origin: Uuid,
    /// The start of that node's bridge.
    pub(crate) epoch: Uuid,
}

impl Binding {
    fn is_of(&self, source: Source) -> bool {
        (self.origin, self.epoch) == (source.origin, source.epoch)
    }

    fn key(&self) -> String {
        key(&self.connector_id, &self.native_session_id)
    }
}

/// Returns the bucket's key of a session.
pub(crate) fn key(connector_id: &str, native_session_id: &str) -> String {
    let (connector, session) = (Token::of(connector_id), Token::of(native_session_id));
    format!("{}.{}", connector.text, session.text)
}

/// A session that this node has registered.
struct OwnSession {
    binding: Binding,
    /// The revision in the bucket and the time of the write. `None` until the bucket has the registration.
    written: Option<(u64, Instant)>,
}

/// A pending change of one key in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Put(Binding),
    Delete,
}

/// A change to apply to the bus because of a change in the bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusUpdate {
    Bind(Binding),
    Forget(Binding),
}

/// All known registrations, and the changes that the bucket does not have yet.
pub(crate) struct Registrations {
    source: Source,
    own: BTreeMap<String, OwnSession>,
    others: BTreeMap<String, Binding>,
    unwritten: BTreeSet<String>,
    /// Time of the last comparison of `others` with the bus.
    pruned: Option<Instant>,
}

impl Registrations {
    pub(crate) fn new(source: Source) -> Self {
        Registrations {
            source,
            own: BTreeMap::new(),
            others: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            pruned: None,
        }
    }

    /// Records that a session was registered on this node.
    pub(crate) fn register(&mut self, connector_id: &str, native_session_id: &str, scroll_id: Uuid) {
        let binding = Binding {
            connector_id: connector_id.to_owned(),
            native_session_id: native_session_id.to_owned(),
            scroll_id,
            origin: self.source.origin,
            epoch: self.source.epoch,
        };
        let key = binding.key();
        self.others.remove(&key);
        self.unwritten.insert(key.clone());
        self.own.insert(key, OwnSession { binding, written: None });
    }

    /// Records that a session has ended on this node or was forgotten on all nodes.
    pub(crate) fn end(&mut self, connector_id: &str, native_session_id: &str) {
        let key = key(connector_id, native_session_id);
        self.own.remove(&key);
        self.others.remove(&key);
        // The bucket may hold the session even if this node does not know it.
        if self.unwritten.len() < MAX_UNWRITTEN {
            self.unwritten.insert(key);
        } else {
            self.unwritten.remove(&key);
        }
    }

    /// Returns the next key to write and its change.
    pub(crate) fn next(&self) -> Option<(String, Write)> {
        let key = self.unwritten.first()?;
        let write = match self.own.get(key) {
            Some(own) => Write::Put(own.binding.clone()),
            None => Write::Delete,
        };
        Some((key.clone(), write))
    }

    /// Records that the bucket has the registration, as of this revision.
    pub(crate) fn mark_written(&mut self, key: &str, binding: &Binding, revision: u64, now: Instant) {
        if let Some(own) = self.own.get_mut(key).filter(|own| own.binding == *binding) {
            own.written = Some((revision, now));
            self.unwritten.remove(key);
        }
    }

    /// Records that the bucket no longer has the key.
    pub(crate) fn mark_deleted(&mut self, key: &str) {
        // A session that was registered again in the meantime still has to be written.
        if !self.own.contains_key(key) {
            self.unwritten.remove(key);
        }
    }

    /// Marks all registrations of this node as unwritten, because the bucket was created again and is empty.
    pub(crate) fn write_all(&mut self) {
        for (key, own) in &mut self.own {
            own.written = None;
            self.unwritten.insert(key.clone());
        }
    }

    /// Compares the written registrations with the bus. A session that the bus has forgotten is deleted from the
    /// bucket. A session that is bound to another scroll is written again. If the bucket has a `lifetime`, a
    /// registration that is due for renewal is also written again. Every [`PRUNE_INTERVAL`], sessions of other nodes
    /// that the bus has forgotten are removed from this state too.
    pub(crate) fn sweep(
        &mut self,
        now: Instant,
        lifetime: Option<Duration>,
        bound: impl Fn(&str, &str) -> Option<Uuid>,
    ) {
        let bound = |binding: &Binding| bound(&binding.connector_id, &binding.native_session_id);
        let is_due = |at: Instant| lifetime.is_some_and(|all| now.saturating_duration_since(at) > all / RENEWALS);
        let unwritten = &mut self.unwritten;
        self.own.retain(|key, own| {
            // The bus may not have dispatched an unwritten registration yet. It has dispatched a written one.
            let Some((_, at)) = own.written else { return true };
            let scroll_id = bound(&own.binding);
            if scroll_id != Some(own.binding.scroll_id) || is_due(at) {
                own.written = None;
                unwritten.insert(key.clone());
            }
            if let Some(scroll_id) = scroll_id {
                own.binding.scroll_id = scroll_id;
            }
            scroll_id.is_some()
        });
        let pruned = *self.pruned.get_or_insert(now);
        if now.saturating_duration_since(pruned) > PRUNE_INTERVAL {
            self.pruned = Some(now);
            self.others
                .retain(|_, binding| bound(binding) == Some(binding.scroll_id));
        }
    }

    /// Records a registration read from the bucket, and returns the change for the bus.
    pub(crate) fn bucket_put(&mut self, key: &str, binding: Binding, revision: u64) -> Option<BusUpdate> {
        if binding.is_of(self.source) || binding.key() != key || self.is_outdated(key, revision) {
            return None;
        }
        self.own.remove(key);
        self.unwritten.remove(key);
        self.others.insert(key.to_owned(), binding.clone());
        Some(BusUpdate::Bind(binding))
    }

    /// Records a deletion read from the bucket, and returns the change for the bus.
    pub(crate) fn bucket_deleted(&mut self, key: &str, revision: u64) -> Option<BusUpdate> {
        if self.is_outdated(key, revision) {
            return None;
        }
        let own = self.own.remove(key).map(|own| own.binding);
        own.or(self.others.remove(key)).map(BusUpdate::Forget)
    }

    /// Returns whether this node has written a registration of the session after that revision, or has not written it
    /// yet.
    fn is_outdated(&self, key: &str, revision: u64) -> bool {
        let own = self.own.get(key);
        own.is_some_and(|own| own.written.is_none_or(|(written, _)| revision < written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Source = Source {
        origin: Uuid::from_u128(1),
        epoch: Uuid::from_u128(10),
    };

    fn binding(scroll_id: u128, origin: u128) -> Binding {
        Binding {
            connector_id: "c".into(),
            native_session_id: "s".into(),
            scroll_id: Uuid::from_u128(scroll_id),
            origin: Uuid::from_u128(origin),
            epoch: Uuid::from_u128(10),
        }
    }

    fn register(scroll_id: u128) -> Registrations {
        let mut registrations = Registrations::new(HERE);
        registrations.register("c", "s", Uuid::from_u128(scroll_id));
        registrations
    }

    /// Returns registrations with one session that the bucket has at revision 5.
    fn written(scroll_id: u128) -> Registrations {
        let mut registrations = register(scroll_id);
        registrations.mark_written("c.s", &binding(scroll_id, 1), 5, Instant::now());
        registrations
    }

    #[test]
    fn registration_is_put_and_ended_session_is_deleted() {
        let mut registrations = register(7);
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Put(binding(7, 1)))));
        registrations.mark_written("c.s", &binding(7, 1), 5, Instant::now());
        assert_eq!(registrations.next(), None);
        registrations.end("c", "s");
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Delete)));
        registrations.mark_deleted("c.s");
        assert_eq!(registrations.next(), None);
    }

    #[test]
    fn unknown_session_can_be_deleted() {
        let mut registrations = Registrations::new(HERE);
        registrations.end("c", "s");
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Delete)));
    }

    #[test]
    fn unwritten_ends_are_limited() {
        let mut registrations = Registrations::new(HERE);
        for n in 0..MAX_UNWRITTEN + 10 {
            registrations.register("c", &n.to_string(), Uuid::nil());
            registrations.end("c", &n.to_string());
        }
        assert_eq!(
            (registrations.own.len(), registrations.unwritten.len()),
            (0, MAX_UNWRITTEN - 1)
        );
        // A session that is still registered is written even above the limit.
        registrations.register("c", "lives", Uuid::nil());
        assert_eq!(
            (registrations.own.len(), registrations.unwritten.len()),
            (1, MAX_UNWRITTEN)
        );
    }

    #[test]
    fn session_that_changes_during_a_write_is_written_again() {
        let mut registrations = register(7);
        registrations.register("c", "s", Uuid::from_u128(8));
        registrations.mark_written("c.s", &binding(7, 1), 5, Instant::now());
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Put(binding(8, 1)))));
        registrations.end("c", "s");
        registrations.mark_written("c.s", &binding(8, 1), 6, Instant::now());
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Delete)));
        registrations.register("c", "s", Uuid::from_u128(9));
        registrations.mark_deleted("c.s");
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Put(binding(9, 1)))));
    }

    #[test]
    fn latest_registration_wins_on_any_node() {
        let other = || binding(70, 2);
        assert_eq!(register(7).bucket_put("c.s", other(), 9), None);
        assert_eq!(written(7).bucket_put("c.s", other(), 4), None);
        assert_eq!(written(7).bucket_put("c.s", binding(7, 1), 6), None);
        assert_eq!(written(7).bucket_put("another.key", other(), 6), None);

        let mut registrations = written(7);
        assert_eq!(
            registrations.bucket_put("c.s", other(), 6),
            Some(BusUpdate::Bind(other()))
        );
        // The session now belongs to the other node.
        registrations.sweep(Instant::now(), Some(Duration::ZERO), |_, _| None);
        assert_eq!(registrations.next(), None);
        assert_eq!(registrations.bucket_deleted("c.s", 7), Some(BusUpdate::Forget(other())));
        assert_eq!(registrations.bucket_deleted("c.s", 8), None);
    }

    #[test]
    fn registration_of_an_earlier_start_of_this_node_is_bound() {
        let mut earlier = binding(7, 1);
        earlier.epoch = Uuid::from_u128(9);
        let mut registrations = Registrations::new(HERE);
        assert_eq!(
            registrations.bucket_put("c.s", earlier.clone(), 1),
            Some(BusUpdate::Bind(earlier))
        );
    }

    #[test]
    fn old_deletion_does_not_undo_a_registration() {
        assert_eq!(register(7).bucket_deleted("c.s", 9), None);
        assert_eq!(written(7).bucket_deleted("c.s", 4), None);
        assert_eq!(
            written(7).bucket_deleted("c.s", 6),
            Some(BusUpdate::Forget(binding(7, 1)))
        );
    }

    fn put(scroll_id: u128) -> Option<(String, Write)> {
        Some(("c.s".to_owned(), Write::Put(binding(scroll_id, 1))))
    }

    #[test]
    fn sweep_compares_with_the_bus() {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        let day = Some(DAY);
        let bound = |scroll_id: u128| move |_: &str, _: &str| Some(Uuid::from_u128(scroll_id));

        let mut registrations = written(7);
        registrations.sweep(Instant::now(), day, bound(7));
        assert_eq!(registrations.next(), None);
        registrations.sweep(Instant::now(), day, bound(8));
        assert_eq!(registrations.next(), put(8));
        let mut registrations = written(7);
        registrations.sweep(Instant::now(), day, |_, _| None);
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Delete)));
        // The registration is not written yet, so the bus may not have dispatched it.
        let mut registrations = register(7);
        registrations.sweep(Instant::now() + DAY, day, |_, _| None);
        assert_eq!(registrations.next(), put(7));
        let mut registrations = written(7);
        registrations.write_all();
        assert_eq!(registrations.next(), put(7));
    }

    #[test]
    fn registration_is_renewed_three_times_in_its_lifetime() {
        let hour = Duration::from_secs(3600);
        let lifetime = Some(3 * hour);
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let bound = |_: &str, _: &str| Some(Uuid::from_u128(7));

        let mut registrations = register(7);
        for round in 0..10 {
            let put_at = now + round * (hour + second);
            registrations.mark_written("c.s", &binding(7, 1), u64::from(round), put_at);
            registrations.sweep(put_at + hour, lifetime, bound);
            assert_eq!(registrations.next(), None, "too early");
            registrations.sweep(put_at + hour + second, lifetime, bound);
            assert_eq!(registrations.next(), put(7), "not renewed");
        }
        // A bucket without a maximum age needs no renewals.
        registrations.mark_written("c.s", &binding(7, 1), 20, now);
        registrations.sweep(now + 1_000 * hour, None, bound);
        assert_eq!(registrations.next(), None);
    }

    #[test]
    fn forgotten_sessions_of_other_nodes_are_pruned_without_a_write() {
        let other = binding(70, 2);
        let now = Instant::now();
        let forgotten = |after: Duration, scroll_id: Option<u128>| {
            let mut registrations = Registrations::new(HERE);
            registrations.bucket_put("c.s", other.clone(), 1);
            for at in [now, now + after] {
                registrations.sweep(at, None, |_, _| scroll_id.map(Uuid::from_u128));
            }
            assert_eq!(registrations.next(), None);
            registrations.bucket_deleted("c.s", 2).is_none()
        };
        assert!(forgotten(2 * PRUNE_INTERVAL, None));
        assert!(forgotten(2 * PRUNE_INTERVAL, Some(71)));
        assert!(!forgotten(2 * PRUNE_INTERVAL, Some(70)));
        assert!(!forgotten(PRUNE_INTERVAL / 2, None));
    }
}

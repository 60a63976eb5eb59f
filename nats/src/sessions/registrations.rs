//! Which sessions this node has registered, which it knows from others, and what of that the bucket has yet to learn.
//!
//! Plain state without a bus or a server; `bindings.rs` shares it between its tasks behind a mutex. A key of the bucket is the
//! session's two tokens. Its revisions tell what came after what: so an old deletion of this node's own, seen late, does not
//! undo its new registration.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::wire::headers::Source;
use crate::wire::subject::Token;

/// How often a registration is put again within the time that the bucket keeps it: twice may fail.
const RENEWALS: u32 = 3;
/// How often to look which sessions of others the bus has forgotten, which it does not tell.
const PRUNE_INTERVAL: Duration = Duration::from_secs(3600);
/// How much may wait for the bucket when one more session ends, as many as a bus keeps sessions unless told: or ends
/// would pile up while there is no server. What ends beyond that expires there.
const MAX_UNWRITTEN: usize = 65_536;

/// A registration as it stands in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Binding {
    pub(crate) connector_id: String,
    pub(crate) native_session_id: String,
    pub(crate) scroll_id: Uuid,
    /// The node that registered the session.
    pub(crate) origin: Uuid,
    /// Which start of its bridge.
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

/// The bucket's key of a session.
pub(crate) fn key(connector_id: &str, native_session_id: &str) -> String {
    let (connector, session) = (Token::of(connector_id), Token::of(native_session_id));
    format!("{}.{}", connector.text, session.text)
}

struct OwnSession {
    binding: Binding,
    /// `None` while the bucket has yet to get it.
    written: Option<(u64, Instant)>,
}

/// What the bucket has yet to get of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Put(Binding),
    Delete,
}

/// What the bus has yet to do about what the bucket said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BusUpdate {
    Nothing,
    Bind(Binding),
    Forget(Binding),
}

pub(crate) struct Registrations {
    source: Source,
    own: BTreeMap<String, OwnSession>,
    others: BTreeMap<String, Binding>,
    unwritten: BTreeSet<String>,
    /// When `others` was last compared with the bus.
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

    /// A session was registered on this node.
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

    /// A session has ended on this node, or is forgotten everywhere.
    pub(crate) fn end(&mut self, connector_id: &str, native_session_id: &str) {
        let key = key(connector_id, native_session_id);
        self.own.remove(&key);
        self.others.remove(&key);
        // The bucket may have it though it is not known here, or not yet or any more.
        if self.unwritten.len() < MAX_UNWRITTEN {
            self.unwritten.insert(key);
        } else {
            self.unwritten.remove(&key);
        }
    }

    /// What to write next, and under which key.
    pub(crate) fn next(&self) -> Option<(String, Write)> {
        let key = self.unwritten.first()?;
        let write = match self.own.get(key) {
            Some(own) => Write::Put(own.binding.clone()),
            None => Write::Delete,
        };
        Some((key.clone(), write))
    }

    /// The bucket has it, as of this revision.
    pub(crate) fn mark_written(&mut self, key: &str, binding: &Binding, revision: u64, now: Instant) {
        if let Some(own) = self.own.get_mut(key).filter(|own| own.binding == *binding) {
            own.written = Some((revision, now));
            self.unwritten.remove(key);
        }
    }

    /// The bucket does not have it any more.
    pub(crate) fn mark_deleted(&mut self, key: &str) {
        // Unless it was registered again meanwhile.
        if !self.own.contains_key(key) {
            self.unwritten.remove(key);
        }
    }

    /// The bucket is a new one: it has nothing of what it had.
    pub(crate) fn write_all(&mut self) {
        for (key, own) in &mut self.own {
            own.written = None;
            self.unwritten.insert(key.clone());
        }
    }

    /// Compares what is written here with what the bus says now. What this node registered and the bus has forgotten
    /// goes from the bucket, too; what is bound otherwise is put anew, and so is what would else expire in a bucket
    /// that keeps things for `lifetime`. Of others' sessions, those that the bus has forgotten are from time to time
    /// forgotten here.
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
            // Its registration may not have been dispatched when it was written down; what is written has been.
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

    /// The bucket says that a session was registered.
    pub(crate) fn bucket_put(&mut self, key: &str, binding: Binding, revision: u64) -> BusUpdate {
        if binding.is_of(self.source) || binding.key() != key || self.is_outdated(key, revision) {
            return BusUpdate::Nothing;
        }
        self.own.remove(key);
        self.unwritten.remove(key);
        self.others.insert(key.to_owned(), binding.clone());
        BusUpdate::Bind(binding)
    }

    /// The bucket says that a session is forgotten.
    pub(crate) fn bucket_deleted(&mut self, key: &str, revision: u64) -> BusUpdate {
        if self.is_outdated(key, revision) {
            return BusUpdate::Nothing;
        }
        let own = self.own.remove(key).map(|own| own.binding);
        match own.or(self.others.remove(key)) {
            Some(binding) => BusUpdate::Forget(binding),
            None => BusUpdate::Nothing,
        }
    }

    /// Whether this node has registered the session after that revision, or is about to.
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

    /// With its registration in the bucket at revision 5.
    fn written(scroll_id: u128) -> Registrations {
        let mut registrations = register(scroll_id);
        registrations.mark_written("c.s", &binding(scroll_id, 1), 5, Instant::now());
        registrations
    }

    #[test]
    fn what_is_registered_is_put_and_what_ends_is_deleted() {
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
    fn what_is_not_known_here_can_end() {
        let mut registrations = Registrations::new(HERE);
        registrations.end("c", "s");
        assert_eq!(registrations.next(), Some(("c.s".into(), Write::Delete)));
    }

    #[test]
    fn ends_do_not_pile_up_while_there_is_no_server() {
        let mut registrations = Registrations::new(HERE);
        for n in 0..MAX_UNWRITTEN + 10 {
            registrations.register("c", &n.to_string(), Uuid::nil());
            registrations.end("c", &n.to_string());
        }
        assert_eq!(
            (registrations.own.len(), registrations.unwritten.len()),
            (0, MAX_UNWRITTEN - 1)
        );
        // What lives is put all the same.
        registrations.register("c", "lives", Uuid::nil());
        assert_eq!(
            (registrations.own.len(), registrations.unwritten.len()),
            (1, MAX_UNWRITTEN)
        );
    }

    #[test]
    fn what_changes_while_it_is_written_is_written_again() {
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
    fn the_latest_registration_counts_whoever_made_it() {
        let other = || binding(70, 2);
        assert_eq!(register(7).bucket_put("c.s", other(), 9), BusUpdate::Nothing);
        assert_eq!(written(7).bucket_put("c.s", other(), 4), BusUpdate::Nothing);
        assert_eq!(written(7).bucket_put("c.s", binding(7, 1), 6), BusUpdate::Nothing);
        assert_eq!(written(7).bucket_put("another.key", other(), 6), BusUpdate::Nothing);

        let mut registrations = written(7);
        assert_eq!(registrations.bucket_put("c.s", other(), 6), BusUpdate::Bind(other()));
        // It is the other node's now.
        registrations.sweep(Instant::now(), Some(Duration::ZERO), |_, _| None);
        assert_eq!(registrations.next(), None);
        assert_eq!(registrations.bucket_deleted("c.s", 7), BusUpdate::Forget(other()));
        assert_eq!(registrations.bucket_deleted("c.s", 8), BusUpdate::Nothing);
    }

    #[test]
    fn what_an_earlier_start_of_this_node_registered_is_bound() {
        let mut earlier = binding(7, 1);
        earlier.epoch = Uuid::from_u128(9);
        let mut registrations = Registrations::new(HERE);
        assert_eq!(
            registrations.bucket_put("c.s", earlier.clone(), 1),
            BusUpdate::Bind(earlier)
        );
    }

    #[test]
    fn an_old_deletion_does_not_undo_a_registration() {
        assert_eq!(register(7).bucket_deleted("c.s", 9), BusUpdate::Nothing);
        assert_eq!(written(7).bucket_deleted("c.s", 4), BusUpdate::Nothing);
        assert_eq!(written(7).bucket_deleted("c.s", 6), BusUpdate::Forget(binding(7, 1)));
    }

    fn put(scroll_id: u128) -> Option<(String, Write)> {
        Some(("c.s".to_owned(), Write::Put(binding(scroll_id, 1))))
    }

    #[test]
    fn a_sweep_follows_the_bus() {
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
        // Not yet written, so perhaps not yet dispatched.
        let mut registrations = register(7);
        registrations.sweep(Instant::now() + DAY, day, |_, _| None);
        assert_eq!(registrations.next(), put(7));
        let mut registrations = written(7);
        registrations.write_all();
        assert_eq!(registrations.next(), put(7));
    }

    #[test]
    fn what_would_expire_is_put_again_thrice_in_its_time() {
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
            assert_eq!(registrations.next(), put(7), "in vain");
        }
        // A bucket that keeps all for ever need not be told again.
        registrations.mark_written("c.s", &binding(7, 1), 20, now);
        registrations.sweep(now + 1_000 * hour, None, bound);
        assert_eq!(registrations.next(), None);
    }

    #[test]
    fn what_the_bus_forgot_of_others_is_forgotten_without_a_word_to_the_bucket() {
        let other = binding(70, 2);
        let now = Instant::now();
        let forgotten = |after: Duration, scroll_id: Option<u128>| {
            let mut registrations = Registrations::new(HERE);
            registrations.bucket_put("c.s", other.clone(), 1);
            for at in [now, now + after] {
                registrations.sweep(at, None, |_, _| scroll_id.map(Uuid::from_u128));
            }
            assert_eq!(registrations.next(), None);
            registrations.bucket_deleted("c.s", 2) == BusUpdate::Nothing
        };
        assert!(forgotten(2 * PRUNE_INTERVAL, None));
        assert!(forgotten(2 * PRUNE_INTERVAL, Some(71)));
        assert!(!forgotten(2 * PRUNE_INTERVAL, Some(70)));
        assert!(!forgotten(PRUNE_INTERVAL / 2, None));
    }
}

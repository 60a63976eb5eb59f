//! Session registrations in a JetStream key-value bucket: [`SessionBucket`], three tasks of the bridge's thread.
//!
//! 1. `registrations.rs`: the known registrations and the changes to write, as plain state.
//!
//! The first task records sessions that are registered or end on the bus. The second writes these changes to the
//! bucket. The third follows the bucket and binds the sessions of other nodes on the bus. The tasks share
//! [`Registrations`] behind a mutex, which is held for a lookup or an update. They do not call the bus while they hold
//! it, except for the lookups of a sweep. Such a lookup holds a lock of the bus only while it copies an id.

mod registrations;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::kv::{Entry, Operation, Store};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use futures_util::StreamExt;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventOrigin, Payload, SessionChange, SharingBus};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout_at};
use uuid::Uuid;

use crate::runtime::panic::{self, log_warning};
use crate::stats::Counters;
use crate::wire::headers::Source;
use registrations::{Binding, BusUpdate, Registrations, Write};

/// Maximum age of a registration in a bucket that this crate creates. A live node renews its registrations in time. The
/// registrations of a crashed node expire.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// Interval of the sweeps, which find sessions that the bus has forgotten. The bus does not report them.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Delay before a failed request to the bucket is repeated.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// Capacity of the queue of session changes.
const QUEUE_CAPACITY: usize = 4096;

/// The tasks that keep a bus and a session bucket in sync.
pub(crate) struct SessionBucket<E: Payload> {
    bus: SharingBus<E>,
    jetstream: jetstream::Context,
    bucket: String,
    counters: Arc<Counters>,
    registrations: Arc<SharedRegistrations>,
}

/// The registrations, shared by the tasks and the bridge's handle.
pub(crate) struct SharedRegistrations {
    registrations: Mutex<Registrations>,
    changed: Notify,
}

impl SharedRegistrations {
    pub(crate) fn new(source: Source) -> Self {
        SharedRegistrations {
            registrations: Mutex::new(Registrations::new(source)),
            changed: Notify::new(),
        }
    }

    /// Deletes a session from the bucket, so that all nodes forget it. Any node may have registered it.
    pub(crate) fn forget(&self, connector_id: &str, native_session_id: &str) {
        self.lock().end(connector_id, native_session_id);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscribes to the registrations and ends of this node's sessions.
pub(crate) fn subscribe<E: Payload>(bus: &SharingBus<E>) -> BusReceiver<E> {
    let local = EventFilter::not(EventFilter::Origin(EventOrigin::Remote));
    let change = EventFilter::custom(|event: &BusEvent<E>| event.event.session_change().is_some());
    bus.subscription()
        .filter(EventFilter::all([local, change]))
        .queue_capacity(QUEUE_CAPACITY)
        .label("nats sessions")
        .subscribe()
}

impl<E: Payload> SessionBucket<E> {
    /// Spawns the three tasks. Must be called within the runtime.
    pub(crate) fn start(
        bus: SharingBus<E>,
        client: async_nats::Client,
        bucket: String,
        counters: Arc<Counters>,
        registrations: Arc<SharedRegistrations>,
        changes: BusReceiver<E>,
    ) {
        let tasks = Arc::new(SessionBucket {
            bus,
            jetstream: jetstream::new(client),
            bucket,
            counters,
            registrations,
        });
        tokio::spawn(record_changes(Arc::clone(&tasks.registrations), changes));
        tokio::spawn(Arc::clone(&tasks).write());
        tokio::spawn(tasks.follow());
    }

    /// Writes pending changes whenever the bucket is reachable.
    async fn write(self: Arc<Self>) {
        let mut due = Instant::now();
        loop {
            let store = self.open().await;
            while self.write_next(&store, &mut due).await.is_ok() {}
            self.counters.binding_failures.add(1);
            sleep(RETRY_DELAY).await;
        }
    }

    /// Writes one pending change. If there is none, waits for a change or the next sweep.
    async fn write_next(&self, store: &Store, due: &mut Instant) -> Result<(), Failed> {
        // A sweep is never delayed by pending writes.
        if *due <= Instant::now() {
            self.sweep(store);
            *due = Instant::now() + SWEEP_INTERVAL;
        }
        let next = self.registrations.lock().next();
        let Some((key, write)) = next else {
            // The caller calls this method again, both after a change and after the timeout.
            let _ = timeout_at((*due).into(), self.registrations.changed.notified()).await;
            return Ok(());
        };
        match write {
            Write::Put(binding) => {
                let value = serde_json::to_vec(&binding).map_err(|_| Failed)?;
                let revision = store.put(&key, value.into()).await.map_err(|_| Failed)?;
                self.registrations
                    .lock()
                    .mark_written(&key, &binding, revision, Instant::now());
                self.counters.bindings_put.add(1);
            }
            Write::Delete => {
                store.delete(&key).await.map_err(|_| Failed)?;
                self.registrations.lock().mark_deleted(&key);
                self.counters.bindings_deleted.add(1);
            }
        }
        Ok(())
    }

    fn sweep(&self, store: &Store) {
        // A maximum age of zero means no limit.
        let max_age = store.stream.cached_info().config.max_age;
        let lifetime = Some(max_age).filter(|age| !age.is_zero());
        let bound = |connector: &str, session: &str| self.bus.scroll_id(connector, session);
        self.registrations.lock().sweep(Instant::now(), lifetime, bound);
    }

    /// Applies the current content of the bucket and all later changes to the bus.
    async fn follow(self: Arc<Self>) {
        loop {
            let store = self.open().await;
            if let Ok(mut entries) = store.watch_with_history(">").await {
                while let Some(Ok(entry)) = entries.next().await {
                    self.apply(&entry);
                }
            }
            self.counters.binding_failures.add(1);
            sleep(RETRY_DELAY).await;
        }
    }

    fn apply(&self, entry: &Entry) {
        let update = match entry.operation {
            Operation::Put => match serde_json::from_slice::<Binding>(&entry.value) {
                Ok(binding) => self
                    .registrations
                    .lock()
                    .bucket_put(&entry.key, binding, entry.revision),
                Err(_) => return self.counters.malformed.add(1),
            },
            Operation::Delete | Operation::Purge => {
                self.registrations.lock().bucket_deleted(&entry.key, entry.revision)
            }
        };
        match update {
            None => {}
            Some(BusUpdate::Bind(binding)) => {
                let (connector, session) = (&binding.connector_id, &binding.native_session_id);
                if self.bus.scroll_id(connector, session) != Some(binding.scroll_id) {
                    self.bus.bind_session(connector, session, binding.scroll_id);
                    self.counters.bindings_applied.add(1);
                }
            }
            Some(BusUpdate::Forget(binding)) => {
                let (connector, session) = (&binding.connector_id, &binding.native_session_id);
                // A different binding is kept, because it may be newer and not yet in the bucket.
                if self.bus.scroll_id(connector, session) == Some(binding.scroll_id) {
                    self.bus.forget_session(connector, session);
                    self.counters.bindings_forgotten.add(1);
                }
            }
        }
    }

    /// Waits until the server has the bucket, and returns it. Creates a missing bucket.
    async fn open(&self) -> Store {
        loop {
            if let Ok(store) = self.jetstream.get_key_value(&self.bucket).await {
                return store;
            }
            // If two nodes create the bucket at the same time, both calls succeed because their configurations are
            // equal.
            if self.jetstream.create_stream(self.config()).await.is_ok() {
                self.registrations.lock().write_all();
                self.registrations.changed.notify_one();
                continue;
            }
            self.counters.binding_failures.add(1);
            sleep(RETRY_DELAY).await;
        }
    }

    /// Returns the configuration of the stream behind the key-value bucket. The client's own function for creating a
    /// bucket is not used, because it cannot parse an answer of servers before 2.10.
    fn config(&self) -> Config {
        Config {
            name: format!("KV_{}", self.bucket),
            description: Some("sessions of sharing-bus".to_owned()),
            subjects: vec![format!("$KV.{}.>", self.bucket)],
            max_messages_per_subject: 1,
            max_age: MAX_AGE,
            discard: DiscardPolicy::New,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        }
    }
}

struct Failed;

/// Records session changes in the order of the bus.
async fn record_changes<E: Payload>(registrations: Arc<SharedRegistrations>, mut changes: BusReceiver<E>) {
    let mut reported = 0;
    while let Ok(delivery) = changes.recv_async().await {
        reported += delivery.missed();
        warn_of_losses(delivery.missed());
        match panic::catch(|| delivery.event.session_change()).flatten() {
            Some(SessionChange::Registered {
                connector_id,
                session_id,
                scroll_id,
            }) => {
                // The bus has already warned about an invalid UUID.
                if let Ok(scroll_id) = Uuid::parse_str(scroll_id) {
                    registrations.lock().register(connector_id, session_id, scroll_id);
                }
            }
            Some(SessionChange::Ended {
                connector_id,
                session_id,
            }) => registrations.lock().end(connector_id, session_id),
            _ => continue,
        }
        registrations.changed.notify_one();
    }
    // No delivery reports the changes that were lost after the last one.
    warn_of_losses(changes.lagged().saturating_sub(reported));
}

fn warn_of_losses(lost: u64) {
    if lost > 0 {
        log_warning!("NATS bridge: {lost} session changes were lost before they reached the bucket");
    }
}

//! Session registrations in a JetStream key-value bucket: [`SessionBucket`], three tasks of the bridge's thread.
//!
//! One notes what sessions are registered and end on the bus, one writes that to the bucket, one follows the bucket and binds
//! on the bus what other nodes have registered. They share the [`Registrations`] behind a mutex, held for a look-up or an entry; the
//! bus is asked and told outside of it, the sweep's look-ups apart, which take no lock of the bus for longer than a copy.

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

use crate::runtime::panic;
use crate::stats::Counters;
use crate::wire::headers::Source;
use registrations::{Binding, BusUpdate, Registrations, Write};

/// How long a registration stays in a bucket that is made here unless its node puts it again: what is left of nodes
/// that crash goes then.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// How often the bus is asked what it has forgotten, for it does not tell.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long to wait before the bucket is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(200);
/// How many changes of sessions may wait for this thread.
const QUEUE_CAPACITY: usize = 4096;

pub(crate) struct SessionBucket<E: Payload> {
    bus: SharingBus<E>,
    jetstream: jetstream::Context,
    bucket: String,
    counters: Arc<Counters>,
    registrations: Arc<SharedRegistrations>,
}

/// What the tasks and the bridge's handle share.
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

    /// Has the bucket forget a session that any node registered, and so all nodes.
    pub(crate) fn forget(&self, connector_id: &str, native_session_id: &str) {
        self.lock().end(connector_id, native_session_id);
        self.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Registrations> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscribes to what this node's sessions do.
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
    /// Must be called within the runtime, which it gives three tasks.
    pub(crate) fn start(
        bus: SharingBus<E>,
        client: async_nats::Client,
        bucket: String,
        counters: Arc<Counters>,
        registrations: Arc<SharedRegistrations>,
        changes: BusReceiver<E>,
    ) {
        let bucket_tasks = Arc::new(SessionBucket {
            bus,
            jetstream: jetstream::new(client),
            bucket,
            counters,
            registrations,
        });
        tokio::spawn(record_changes(Arc::clone(&bucket_tasks.registrations), changes));
        tokio::spawn(Arc::clone(&bucket_tasks).write());
        tokio::spawn(bucket_tasks.follow());
    }

    /// Writes what the bucket has yet to get, whenever it can be reached.
    async fn write(self: Arc<Self>) {
        let mut due = Instant::now();
        loop {
            let store = self.open().await;
            while self.write_next(&store, &mut due).await.is_ok() {}
            self.counters.binding_failures.add(1);
            sleep(RETRY_DELAY).await;
        }
    }

    /// Writes one thing, or waits until there is one or the next sweep is due.
    async fn write_next(&self, store: &Store, due: &mut Instant) -> Result<(), Failed> {
        // However much there is to write.
        if *due <= Instant::now() {
            self.sweep(store);
            *due = Instant::now() + SWEEP_INTERVAL;
        }
        let next = self.registrations.lock().next();
        let Some((key, write)) = next else {
            // Woken or not, the caller comes again.
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
        // Zero is for ever.
        let max_age = store.stream.cached_info().config.max_age;
        let lifetime = Some(max_age).filter(|age| !age.is_zero());
        let bound = |connector: &str, session: &str| self.bus.scroll_id(connector, session);
        self.registrations.lock().sweep(Instant::now(), lifetime, bound);
    }

    /// Follows the bucket, from what it holds on.
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
            BusUpdate::Nothing => {}
            BusUpdate::Bind(binding) => {
                let (connector, session) = (&binding.connector_id, &binding.native_session_id);
                if self.bus.scroll_id(connector, session) != Some(binding.scroll_id) {
                    self.bus.bind_session(connector, session, binding.scroll_id);
                    self.counters.bindings_applied.add(1);
                }
            }
            BusUpdate::Forget(binding) => {
                let (connector, session) = (&binding.connector_id, &binding.native_session_id);
                // Unless it is bound to something newer that has not yet come through the bucket.
                if self.bus.scroll_id(connector, session) == Some(binding.scroll_id) {
                    self.bus.forget_session(connector, session);
                    self.counters.bindings_forgotten.add(1);
                }
            }
        }
    }

    /// The bucket, once the server has it; made where it is missing.
    async fn open(&self) -> Store {
        loop {
            if let Ok(store) = self.jetstream.get_key_value(&self.bucket).await {
                return store;
            }
            // Both nodes that try it at a time succeed, for they ask for the same.
            if self.jetstream.create_stream(self.config()).await.is_ok() {
                self.registrations.lock().write_all();
                self.registrations.changed.notify_one();
                continue;
            }
            self.counters.binding_failures.add(1);
            sleep(RETRY_DELAY).await;
        }
    }

    /// The stream that a key-value bucket is. The client's own way to make one asks the server first for something that
    /// servers before 2.10 answer in a form that it does not read.
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

/// Notes what sessions do, in the order of the bus.
async fn record_changes<E: Payload>(registrations: Arc<SharedRegistrations>, mut changes: BusReceiver<E>) {
    while let Ok(delivery) = changes.recv_async().await {
        if delivery.missed() > 0 {
            panic::log_warning!(
                "NATS bridge: {} changes of sessions are lost to the bucket",
                delivery.missed()
            );
        }
        match panic::catch(|| delivery.event.session_change()).flatten() {
            Some(SessionChange::Registered {
                connector_id,
                session_id,
                scroll_id,
            }) => {
                // The bus has warned of one that is no UUID.
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
}

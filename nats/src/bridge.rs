//! The bridge itself: [`NatsBridge`] and its builder.
//!
//! Owns a named thread that runs the client and the bridge's tasks on a runtime of its own, so that neither the bus nor the
//! host needs one. The handle talks to that thread through channels. Whatever the network does, it is that thread that
//! waits: publishers and subscribers of the bus never do.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::thread;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use sharing_bus::{BusReceiver, EventFilter, EventKind, EventOrigin, Payload, SharingBus, SubscriberId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use uuid::Uuid;

use crate::bindings::{self, Bindings};
use crate::codec::{Codec, Json};
use crate::discreet::Scope;
use crate::echo::Echo;
use crate::error::{ShutdownError, StartError};
use crate::export::{Exporter, Progress};
use crate::headers::Source;
use crate::import::{Importer, Inside, Wish, Wishes};
use crate::link::{Link, Phase};
use crate::options::NatsOptions;
use crate::remote::{Gate, Notes, Remote};
use crate::stats::{Counters, NatsStats};
use crate::subject::Realm;

const THREAD_NAME: &str = "sharing-bus-nats";
/// How much longer than the deadline a shutdown waits for the thread, which code of the host's may hold up.
const GRACE: Duration = Duration::from_millis(500);

/// A bridge between a bus and a NATS server; see the [crate's documentation](crate).
///
/// It keeps the bus open until it is shut down or dropped. Dropping it ends it at once; [`shutdown`](Self::shutdown) sends
/// first what waits.
pub struct NatsBridge<E: Payload> {
    bus: SharingBus<E>,
    subscription: SubscriberId,
    node: Uuid,
    counters: Arc<Counters>,
    phase: watch::Receiver<Phase>,
    notes: Arc<Notes<E>>,
    wishes: Wishes<E>,
    book: Arc<bindings::Shared>,
    next_wish: Mutex<u64>,
    /// There until the bridge is told to end.
    end: Option<oneshot::Sender<Duration>>,
    ended: Arc<Gate>,
}

/// Settings of a bridge; made by [`NatsBridge::builder`].
#[must_use = "a bridge begins with `start`"]
pub struct NatsBridgeBuilder<E: Payload, C = Json> {
    bus: SharingBus<E>,
    options: NatsOptions,
    export: EventFilter<E>,
    essential: EventFilter<E>,
    codec: C,
}

impl<E: Payload> NatsBridge<E> {
    /// A bridge for this bus, to be set up.
    pub fn builder(bus: &SharingBus<E>, options: NatsOptions) -> NatsBridgeBuilder<E> {
        NatsBridgeBuilder {
            bus: bus.clone(),
            options,
            export: EventFilter::All,
            essential: EventFilter::not(EventFilter::Kind(EventKind::Progress)),
            codec: Json,
        }
    }

    /// Has the events of other nodes that match `filter` published on the local bus, for as long as what this returns is
    /// kept. Never waits: [`Remote::wait_ready`] does, until the server knows.
    ///
    /// The server sends this node only what the filter's equalities ask for (scroll, connector, session, kind, and what
    /// `any` and `all` make of them); the rest of it is evaluated here. What it says of origins is of the event's own, on its
    /// node; on the local bus its origin is [`Remote`](EventOrigin::Remote).
    pub fn subscribe_remote(&self, filter: EventFilter<E>) -> Remote<E> {
        let id = {
            let mut next = self.next_wish.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        let gate = Arc::new(Gate::default());
        // Its thread is gone only if it panicked; then the wish is never ready.
        let _ = self.wishes.send(Wish::Begin {
            id,
            filter: filter.clone(),
            gate: Arc::clone(&gate),
        });
        Remote {
            id,
            filter,
            bus: self.bus.clone(),
            wishes: self.wishes.clone(),
            notes: Arc::clone(&self.notes),
            gate,
        }
    }

    /// Forgets a session's binding here and on every other node that shares the bucket of
    /// [`session_bucket`](NatsOptions::session_bucket), whichever registered it, and returns it. Here it takes effect at once,
    /// as [`SharingBus::forget_session`] does, elsewhere once it has travelled. Without a bucket it is forgotten here alone.
    pub fn forget_session(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let scroll_id = self.bus.forget_session(connector_id, native_session_id);
        self.book.forget(connector_id, native_session_id);
        scroll_id
    }

    /// This node's id.
    pub fn node(&self) -> Uuid {
        self.node
    }

    /// Whether a connection is up, as far as is known. May be stale at once.
    pub fn is_connected(&self) -> bool {
        *self.phase.borrow() == Phase::Connected
    }

    /// What the bridge has done so far. Costs a walk over the bus's subscribers.
    pub fn stats(&self) -> NatsStats {
        let stats = self.bus.stats();
        let own = stats.subscribers.iter().find(|own| own.id == self.subscription);
        let (queued, lagged) = own.map_or((0, 0), |own| (own.queued, own.lagged));
        self.counters.read(queued, lagged)
    }

    /// Sends what the bus had accepted before this call, waits until the server has confirmed all, and ends the bridge; gives
    /// up when `deadline` has passed. Blocks the thread for little longer than that at most.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if anything was left.
    pub fn shutdown(mut self, deadline: Duration) -> Result<NatsStats, ShutdownError> {
        self.finish(deadline);
        let stats = self.stats();
        let settled = stats.acked + stats.lost_on_reconnect;
        let left = stats.queued + stats.exported.saturating_sub(settled);
        if left > 0 {
            let stats = Box::new(stats);
            return Err(ShutdownError { stats, left });
        }
        Ok(stats)
    }

    fn finish(&mut self, deadline: Duration) {
        let Some(end) = self.end.take() else { return };
        if end.send(deadline).is_ok() {
            // Either it ends or code of the host's holds it up, which is not waited for.
            self.ended.wait(deadline.saturating_add(GRACE));
        }
    }
}

impl<E: Payload> Drop for NatsBridge<E> {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}

impl<E: Payload> fmt::Debug for NatsBridge<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBridge")
            .field("node", &self.node)
            .field("phase", &*self.phase.borrow())
            .finish_non_exhaustive()
    }
}

impl<E: Payload, C> NatsBridgeBuilder<E, C> {
    /// Which events of this bus to export; all unless told. Those that came from other nodes never are.
    pub fn export(mut self, filter: EventFilter<E>) -> Self {
        self.export = filter;
        self
    }

    /// Which of them are essential, so that an archive keeps them: a part of their subject. All but those of the kind
    /// `Progress` unless told.
    pub fn essential(mut self, filter: EventFilter<E>) -> Self {
        self.essential = filter;
        self
    }

    /// How payloads become bytes; as JSON unless told.
    pub fn codec<D: Codec<E>>(self, codec: D) -> NatsBridgeBuilder<E, D> {
        NatsBridgeBuilder {
            bus: self.bus,
            options: self.options,
            export: self.export,
            essential: self.essential,
            codec,
        }
    }

    /// Starts the bridge: what is published once this has returned is exported. Blocks the thread until a server has
    /// answered, or until the first attempt has failed, for five seconds at most. A server that is not there is no error: the
    /// bridge goes on trying, and events wait in its queue.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(self) -> Result<NatsBridge<E>, StartError>
    where
        C: Codec<E>,
    {
        let NatsBridgeBuilder {
            bus,
            options,
            export,
            essential,
            codec,
        } = self;
        let realm = Realm::new(&options.realm).map_err(StartError::InvalidRealm)?;
        for (setting, capacity) in [
            ("queue_capacity", options.queue_capacity),
            ("in_flight", options.in_flight),
        ] {
            if capacity == 0 {
                return Err(StartError::ZeroCapacity(setting));
            }
        }
        if options
            .session_bucket
            .as_ref()
            .is_some_and(|bucket| Realm::new(bucket).is_err())
        {
            return Err(StartError::InvalidBucket);
        }
        let (servers, connect) = addresses(&options.servers, options.connect)?;
        let local = EventFilter::not(EventFilter::Origin(EventOrigin::Remote));
        let receiver = bus
            .subscription()
            .filter(EventFilter::all([export, local]))
            .queue_capacity(options.queue_capacity)
            .label("nats")
            .subscribe();
        let sessions = options.session_bucket.map(|bucket| (bucket, bindings::subscribe(&bus)));
        let subscription = receiver.id();
        let counters = Arc::new(Counters::default());
        let notes = Arc::new(Notes::new());
        let (wishes, asked) = mpsc::unbounded_channel();
        let (end, ending) = oneshot::channel();
        let ended = Arc::new(Gate::default());
        let at_end = OpenAtEnd(Arc::clone(&ended));
        let (tell, started) = std_mpsc::channel();

        let source = Source {
            origin: options.node,
            epoch: Uuid::new_v4(),
        };
        let book = Arc::new(bindings::Shared::new(source));
        let inside = Setup {
            bus: bus.clone(),
            codec: Arc::new(codec),
            realm,
            source,
            counters: Arc::clone(&counters),
            notes: Arc::clone(&notes),
            wishes: wishes.clone(),
            book: Arc::clone(&book),
            sessions,
            servers,
        };
        let exporting = Exporting {
            receiver,
            essential,
            in_flight: options.in_flight,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Spawn)?;
        let scope = Scope::new();
        let body = move || {
            let _at_end = at_end;
            scope.run(|| runtime.block_on(inside.run(connect, exporting, asked, tell, ending)));
            // A look-up of a name that hangs is not waited for.
            runtime.shutdown_background();
        };
        let thread = thread::Builder::new().name(THREAD_NAME.to_owned());
        thread.spawn(body).map_err(StartError::Spawn)?;
        // It ends without a word only if it panicked.
        let gone = || StartError::Client("the bridge's thread has ended".to_owned());
        let phase = started.recv().map_err(|_| gone())??;
        Ok(NatsBridge {
            bus,
            subscription,
            node: options.node,
            counters,
            phase,
            notes,
            wishes,
            book,
            next_wish: Mutex::new(0),
            end: Some(end),
            ended,
        })
    }
}

impl<E: Payload, C> fmt::Debug for NatsBridgeBuilder<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBridgeBuilder")
            .field("options", &self.options)
            .field("export", &self.export)
            .field("essential", &self.essential)
            .finish_non_exhaustive()
    }
}

/// The addresses without user and password, which go where the client looks for them: addresses it may log.
pub(crate) fn addresses(
    servers: &[String],
    mut connect: ConnectOptions,
) -> Result<(Vec<ServerAddr>, ConnectOptions), StartError> {
    let mut addresses = Vec::with_capacity(servers.len());
    for (index, server) in servers.iter().enumerate() {
        let invalid = |_| StartError::InvalidServer(index);
        let address: ServerAddr = server.parse().map_err(invalid)?;
        if address.has_user_pass() {
            let (user, password) = (address.username().unwrap_or_default(), address.password());
            connect = match password {
                Some(password) => connect.user_and_password(user.to_owned(), password.to_owned()),
                // The form that NATS has for tokens.
                None => connect.token(user.to_owned()),
            };
        }
        let bare = crate::options::shown(server);
        addresses.push(bare.parse().map_err(invalid)?);
    }
    Ok((addresses, connect))
}

/// Tells of the thread's end, however it ends.
struct OpenAtEnd(Arc<Gate>);

impl Drop for OpenAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// What the bridge's thread begins with.
struct Setup<E: Payload, C> {
    bus: SharingBus<E>,
    codec: Arc<C>,
    realm: Realm,
    source: Source,
    counters: Arc<Counters>,
    notes: Arc<Notes<E>>,
    wishes: Wishes<E>,
    book: Arc<bindings::Shared>,
    /// The bucket, and what this node's sessions do.
    sessions: Option<(String, BusReceiver<E>)>,
    servers: Vec<ServerAddr>,
}

struct Exporting<E: Payload> {
    receiver: BusReceiver<E>,
    essential: EventFilter<E>,
    in_flight: usize,
}

impl<E: Payload, C: Codec<E>> Setup<E, C> {
    async fn run(
        mut self,
        connect: ConnectOptions,
        exporting: Exporting<E>,
        asked: mpsc::UnboundedReceiver<Wish<E>>,
        tell: std_mpsc::Sender<Result<watch::Receiver<Phase>, StartError>>,
        ending: oneshot::Receiver<Duration>,
    ) {
        let servers = std::mem::take(&mut self.servers);
        let counters = Arc::clone(&self.counters);
        let link = match Link::start(servers, connect, "bridge", move |event| counters.heed(event)).await {
            Ok(link) => link,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let Ok(echo) = Echo::start(link.clone()).await else {
            return drop(tell.send(Err(StartError::Client("it has given up".to_owned()))));
        };
        if let Some((bucket, changes)) = self.sessions {
            let counters = Arc::clone(&self.counters);
            Bindings::start(
                self.bus.clone(),
                link.client.clone(),
                bucket,
                counters,
                self.book,
                changes,
            );
        }
        let (close, closing) = watch::channel(false);
        let exporter = Exporter {
            receiver: exporting.receiver,
            codec: Arc::clone(&self.codec),
            realm: self.realm.clone(),
            essential: exporting.essential,
            source: self.source,
            link: link.clone(),
            echo: echo.clone(),
            counters: Arc::clone(&self.counters),
            in_flight: exporting.in_flight,
            progress: Progress::default(),
        };
        let mut exporter = tokio::spawn(exporter.run(closing));
        let importer = Importer {
            bus: self.bus.clone(),
            codec: self.codec,
            realm: self.realm,
            source: self.source,
            link: link.clone(),
            echo,
            counters: self.counters,
            notes: self.notes,
            wishes: self.wishes,
            state: Inside::new(),
        };
        tokio::spawn(importer.run(asked));
        if tell.send(Ok(link.phase.clone())).is_err() {
            return;
        }
        // A handle that is gone without a word has no deadline left.
        let deadline = ending.await.unwrap_or(Duration::ZERO);
        let _ = timeout(deadline, async {
            self.bus.flush_async().await;
            close.send_replace(true);
            let _ = (&mut exporter).await;
        })
        .await;
    }
}

//! The durable archive: [`Archive`] writes a host's essential events into a JetStream stream, and [`ArchiveReader`]
//! reads them.
//!
//! 1. `writer.rs`: the thread of an archive.
//! 2. `send_order.rs`: which events may be in flight at the same time.
//! 3. `reader.rs`: reads an archive from a position.
//! 4. `stats.rs`: the counts of an archive.
//!
//! An archive has its own subscription on the bus, its own connection and its own thread. It shares only its counters
//! and a stop channel with the host. The archive is separate from the bridge, so an archive that waits for its server
//! delays no live event. Its subjects are separate as well (`sb1-archive.<realm>…`), so a subscriber of live events
//! never receives an event twice.

mod reader;
mod send_order;
mod stats;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Config;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sharing_bus::{EventFilter, EventKind, EventOrigin, Payload, SharingBus};
use tokio::sync::oneshot;
use uuid::Uuid;

pub use reader::{ArchiveReader, Archived};
pub use stats::ArchiveStats;

use crate::codec::{Codec, Json};
use crate::error::StartError;
use crate::options::{NatsOptions, parse_servers};
use crate::runtime;
use crate::wire::subject::{Realm, archive_stream, whole_archive};
use stats::ArchiveCounters;
use writer::Writer;

const THREAD_NAME: &str = "sharing-bus-archive";

/// The settings of an archive: which events are stored, and in which stream.
#[must_use = "options do nothing until an archive is started with them"]
pub struct ArchiveOptions<E> {
    essential: EventFilter<E>,
    stream: Config,
    codec: Arc<dyn Codec<E>>,
}

impl<E: Payload + Serialize + DeserializeOwned> ArchiveOptions<E> {
    /// Creates options that store all kinds except [`EventKind::Progress`], as JSON. The stream is named after the
    /// realm and has the server's default configuration.
    pub fn new() -> Self {
        ArchiveOptions::with_codec(Json)
    }
}

impl<E: Payload + Serialize + DeserializeOwned> Default for ArchiveOptions<E> {
    fn default() -> Self {
        ArchiveOptions::new()
    }
}

impl<E: Payload> ArchiveOptions<E> {
    /// Creates options like [`new`](Self::new), but with another codec for payloads.
    pub fn with_codec(codec: impl Codec<E>) -> Self {
        ArchiveOptions {
            essential: EventFilter::not(EventFilter::Kind(EventKind::Progress)),
            stream: Config::default(),
            codec: Arc::new(codec),
        }
    }

    /// Sets which events are archived. Events imported from other hosts are never archived, because their own hosts
    /// archive them.
    pub fn essential(mut self, filter: EventFilter<E>) -> Self {
        self.essential = filter;
        self
    }

    /// Sets the configuration with which a missing stream is created. An existing stream is left unchanged. An empty
    /// name becomes `sb1-archive-<realm>`, and the subjects are always set.
    ///
    /// The server recognizes a repeated event for `duplicate_window`, which is two minutes by default. Set it to more
    /// than the longest expected loss of connection.
    pub fn stream(mut self, config: Config) -> Self {
        self.stream = config;
        self
    }
}

impl<E> fmt::Debug for ArchiveOptions<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveOptions")
            .field("essential", &self.essential)
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

/// Writes the essential events of a bus into a JetStream stream. Each event is sent repeatedly until the server
/// acknowledges it.
///
/// The events of one session are stored in the order in which the bus dispatched them, and so are the events of one
/// scroll. An event is sent only after the server has acknowledged the previous events of its session and of its
/// scroll. Other sessions do not wait for these acknowledgments. An unacknowledged event is sent again with the same
/// message id, so the server can drop a duplicate.
///
/// Nothing is written to this host's disk. Unacknowledged events are lost when the process dies. Events are also lost
/// when the queue ([`NatsOptions::queue_capacity`]) is full because the server is unreachable. Those losses are
/// counted, and they appear in the archive as a jump of [`Archived::sequence`].
///
/// The archive never slows down the bus. If it is dropped without [`shutdown`](Self::shutdown), unacknowledged events
/// are discarded.
///
/// ```no_run
/// use std::time::Duration;
/// use sharing_bus::{Event, SharingBus};
/// use sharing_bus_nats::{Archive, ArchiveOptions, NatsOptions};
///
/// let bus = SharingBus::<Event>::new();
/// let nats = NatsOptions::new("nats://127.0.0.1:4222").realm("staging");
/// let archive = Archive::start(&bus, nats, ArchiveOptions::new())?;
/// // … the host publishes …
/// bus.flush();
/// let stats = archive.shutdown(Duration::from_secs(5));
/// assert_eq!((stats.lagged, stats.unsettled()), (0, 0));
/// # Ok::<(), sharing_bus_nats::StartError>(())
/// ```
#[derive(Debug)]
#[must_use = "a dropped archive stops"]
pub struct Archive {
    counters: Arc<ArchiveCounters>,
    /// The sender of the deadline at which the thread stops. If the sender is dropped, the thread stops at once.
    stop: Option<oneshot::Sender<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Archive {
    /// Subscribes to the bus and starts the thread that writes the archive. Every essential event published after this
    /// call returns is archived.
    ///
    /// Blocks the calling thread until a server has answered or the first attempt to connect has failed, for at most
    /// five seconds. An unreachable server is not an error: essential events wait for it in the queue. The option
    /// `session_bucket` is not used.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. This call does not check whether the server has JetStream. [`stats`](Self::stats) shows
    /// whether events are stored.
    ///
    /// # Panics
    ///
    /// If the filter of essential events is [nested](EventFilter#nesting) too deeply. The archive adds an `all` around
    /// it.
    #[track_caller]
    pub fn start<E: Payload>(
        bus: &SharingBus<E>,
        nats: NatsOptions,
        options: ArchiveOptions<E>,
    ) -> Result<Archive, StartError> {
        let realm = nats.validate()?;
        let (servers, connect) = parse_servers(&nats.servers, nats.connect)?;
        let counters = Arc::new(ArchiveCounters::default());
        let local = EventFilter::not(EventFilter::Origin(EventOrigin::Remote));
        let receiver = bus
            .subscription()
            .filter(EventFilter::all([local, options.essential]))
            .queue_capacity(nats.queue_capacity)
            .label("archive")
            .subscribe();
        let writer = Writer {
            stream: named(options.stream, &realm),
            realm,
            node: nats.node,
            epoch: Uuid::new_v4(),
            max_in_flight: nats.in_flight,
            codec: options.codec,
            counters: Arc::clone(&counters),
        };
        let (stop, stopped) = oneshot::channel();
        let run = move |started| writer.run(servers, connect, receiver, started, stopped);
        let ((), thread) = runtime::start(THREAD_NAME, (), run)?;
        Ok(Archive {
            counters,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Returns the archive's counts, which may be out of date immediately.
    pub fn stats(&self) -> ArchiveStats {
        self.counters.read()
    }

    /// Stops accepting events, and waits until all accepted events are acknowledged, for at most `timeout`. Events that
    /// are still [`unsettled`](ArchiveStats::unsettled) after that are discarded. Blocks the calling thread. To include
    /// all events published so far, call [`SharingBus::flush`] first.
    pub fn shutdown(mut self, timeout: Duration) -> ArchiveStats {
        let deadline = Instant::now() + timeout;
        // The send fails if the bus has closed and the thread has ended after storing all events.
        let _ = self.stop.take().map(|stop| stop.send(deadline));
        self.join();
        self.counters.read()
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The panic hook has reported a panic of the thread. The counters show the unsettled events.
            let _ = thread.join();
        }
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.join();
    }
}

fn named(mut stream: Config, realm: &Realm) -> Config {
    if stream.name.is_empty() {
        stream.name = archive_stream(realm);
    }
    stream.subjects = vec![whole_archive(realm)];
    stream
}

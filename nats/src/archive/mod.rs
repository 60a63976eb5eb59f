//! The durable archive: [`Archive`] writes a host's essential events into a JetStream stream, [`ArchiveReader`] reads them.
//!
//! A writer is a subscription of its own on the bus, a connection and a thread; what it shares with the host are counters
//! and a channel that ends it. It is apart from the bridge, so that an archive which waits for its server holds up no live
//! event, and its subjects are its own (`sb1-archive.<realm>…`), so that nobody who listens is sent an event twice.

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

/// What is archived, and how.
#[must_use = "options do nothing until an archive is started with them"]
pub struct ArchiveOptions<E> {
    essential: EventFilter<E>,
    stream: Config,
    codec: Arc<dyn Codec<E>>,
}

impl<E: Payload + Serialize + DeserializeOwned> ArchiveOptions<E> {
    /// Everything but [`EventKind::Progress`], as JSON, in a stream of the server's defaults that is named after the realm.
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
    /// The same with payloads of another form.
    pub fn with_codec(codec: impl Codec<E>) -> Self {
        ArchiveOptions {
            essential: EventFilter::not(EventFilter::Kind(EventKind::Progress)),
            stream: Config::default(),
            codec: Arc::new(codec),
        }
    }

    /// Which events are archived. Those that came from other hosts never are: their own host archives them.
    pub fn essential(mut self, filter: EventFilter<E>) -> Self {
        self.essential = filter;
        self
    }

    /// How the stream is made if it is not there; one that is there stays as it is. An empty name is filled in
    /// (`sb1-archive-<realm>`), and the subjects are set. Its `duplicate_window`, two minutes unless set, is how long a
    /// server knows what it has: set it longer than connections may be away.
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

/// Writes the essential events of a bus into a JetStream stream, each until the server has acknowledged it.
///
/// The events of one session, and those of one scroll, are stored in the order in which the bus dispatched them: the next
/// one goes when the one before is acknowledged. Other sessions do not wait for that. An event that is not acknowledged is
/// sent again, with the same message id, by which the server drops what it has already.
///
/// Nothing is written to the disk of this host. What is not yet acknowledged when the process dies is lost, and so is what
/// the queue ([`NatsOptions::queue_capacity`]) has no room for while the server is away; the latter is counted, and shows in
/// the archive as a jump of [`Archived::sequence`].
///
/// The bus is never slowed. Dropped without [`shutdown`](Self::shutdown), it gives up what is not acknowledged.
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
#[must_use = "an archive that is dropped ends"]
pub struct Archive {
    counters: Arc<ArchiveCounters>,
    /// Taken by `shutdown`; dropped, it tells the thread to give up.
    stop: Option<oneshot::Sender<Instant>>,
    thread: Option<JoinHandle<()>>,
}

impl Archive {
    /// Subscribes, and starts a thread that writes: what is published once this has returned is archived. Blocks the
    /// thread until a server has answered, or until the first attempt has failed, for five seconds at most. A server
    /// that is not there is no error: what is essential waits for it. Of the options the session bucket is not used.
    ///
    /// # Errors
    ///
    /// See [`StartError`]. Whether the server has JetStream is not known here; [`stats`](Self::stats) tells how far it
    /// came.
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

    /// What was done so far; out of date as soon as it is there.
    pub fn stats(&self) -> ArchiveStats {
        self.counters.read()
    }

    /// Takes no more events, and waits until all that it has are acknowledged, or for this long. What is then
    /// [`unsettled`](ArchiveStats::unsettled) is given up. Blocks; call it after [`SharingBus::flush`] if what was published
    /// shall be in it.
    pub fn shutdown(mut self, timeout: Duration) -> ArchiveStats {
        let deadline = Instant::now() + timeout;
        // Fails if the bus has ended and the thread with it, all done.
        let _ = self.stop.take().map(|stop| stop.send(deadline));
        self.join();
        self.counters.read()
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been told by the panic hook; the counters say what is unsettled.
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

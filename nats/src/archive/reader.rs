//! Reads an archive from any position on: [`ArchiveReader`].
//!
//! Owned by its host and driven by its calls alone: no thread, and nothing that the server must remember. The reader asks for
//! a throw-away consumer that begins after its position, and for another one whenever a number is missing from what that
//! delivers or the connection was in doubt. The position moves only with what is handed over.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Error;
use async_nats::header::HeaderValue;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{Context, ContextBuilder};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sharing_bus::{BusEvent, EventFilter, Payload};
use uuid::Uuid;

use crate::codec::{Codec, Json};
use crate::connection::Connection;
use crate::error::StartError;
use crate::options::{NatsOptions, parse_servers};
use crate::runtime::panic;
use crate::runtime::redact::Scope;
use crate::runtime::runtime;
use crate::wire::filter_subjects::filter_subjects;
use crate::wire::headers::EventHeaders;
use crate::wire::subject::{Realm, archive_stream, archived, live, routing, whole_archive};

/// How long one request to the server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long to wait after a failed one.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// How long a server keeps a consumer that nobody uses any more.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(60);

/// An event as it is in the archive.
#[non_exhaustive]
pub struct Archived<E> {
    /// Its place in the stream; increases, and begins with 1. What to resume after.
    pub position: u64,
    /// The node that it was published on.
    pub origin: Uuid,
    /// Which start of that node's archive.
    pub epoch: Uuid,
    /// Its number among the essential events of that start. A number that is in no scroll was lost in the writer's queue, or
    /// is not stored yet; a number that was there before is a duplicate that came after the stream's `duplicate_window`.
    pub sequence: u64,
    /// The event, with the origin that it had where it was published.
    pub event: BusEvent<E>,
}

impl<E> fmt::Debug for Archived<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archived")
            .field("position", &self.position)
            .field("origin", &self.origin)
            .field("epoch", &self.epoch)
            .field("sequence", &self.sequence)
            .field("event", &self.event)
            .finish()
    }
}

/// Reads the events that a filter matches from a realm's archive, in the order in which they are stored.
///
/// Its position is the host's to keep, with what it made of the events: who writes both down in one step, and starts with
/// that position again, has each event exactly once, whatever ends in between, the server, the reader or the machine.
/// `examples/archive.rs` does it.
///
/// It has a runtime of its own, driven by its calls: call and drop it outside of any other.
///
/// Servers of version 2.9 filter a consumer by one subject. A filter that needs more is evaluated here, over the realm's
/// whole archive.
pub struct ArchiveReader<E> {
    runtime: tokio::runtime::Runtime,
    /// Around all that the runtime runs.
    scope: Scope,
    context: Context,
    query: Query<E>,
    consumer: Option<Consumer>,
    position: u64,
    malformed: u64,
}

/// What is read, and how.
struct Query<E> {
    stream: String,
    /// What the server filters by; none if nothing can match.
    subject: Option<String>,
    filter: EventFilter<E>,
    codec: Arc<dyn Codec<E>>,
}

struct Consumer {
    inner: PullConsumer,
    /// The consumer's own number of what came last; the next is one more unless something was lost.
    delivered: u64,
}

/// What one fetch at the stream brought.
struct Batch<E> {
    events: Vec<Archived<E>>,
    position: u64,
    malformed: u64,
}

impl<E: Payload + Serialize + DeserializeOwned> ArchiveReader<E> {
    /// Reads what is after `position` (0 for all) and matches `filter`, with payloads in JSON. Blocks until a server
    /// has answered, or until the first attempt has failed, for five seconds at max. The server need not be there yet,
    /// nor the stream. Of the options the realm, the addresses and [`connect`](NatsOptions::connect) are used.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn open(nats: NatsOptions, filter: EventFilter<E>, position: u64) -> Result<Self, StartError> {
        ArchiveReader::with_codec(nats, filter, position, Json)
    }
}

impl<E: Payload> ArchiveReader<E> {
    /// As [`open`](Self::open), with payloads of another form.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn with_codec(
        nats: NatsOptions,
        filter: EventFilter<E>,
        position: u64,
        codec: impl Codec<E>,
    ) -> Result<Self, StartError> {
        let realm = Realm::new(&nats.realm).map_err(StartError::InvalidRealm)?;
        let runtime = runtime()?;
        let (servers, connect) = parse_servers(&nats.servers, nats.connect)?;
        let connecting = Connection::start(servers, connect, "archive reader", |_| {});
        let scope = Scope::new();
        let connection = scope.run(|| runtime.block_on(connecting))?;
        let entered = runtime.enter();
        let context = ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(connection.client);
        drop(entered);
        Ok(ArchiveReader {
            runtime,
            scope,
            context,
            query: Query {
                stream: archive_stream(&realm),
                subject: match &filter_subjects(&realm, &filter)[..] {
                    [] => None,
                    [one] => Some(archived(one)),
                    _ => Some(whole_archive(&realm)),
                },
                filter,
                codec: Arc::new(codec),
            },
            consumer: None,
            position,
            malformed: 0,
        })
    }

    /// Reads another stream than `sb1-archive-<realm>`.
    #[must_use]
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.query.stream = name.into();
        self
    }

    /// After what was handed over last, and after whatever before the next the filter did not match.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many messages were skipped since the reader was opened because no archive wrote them.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// The next events, `max` at max, in the order of the stream; none if there are none for this long, or if the server
    /// cannot be asked. Blocks; must not be called from within a tokio runtime.
    ///
    /// # Panics
    ///
    /// If `max` is zero.
    pub fn next_batch(&mut self, max: usize, timeout: Duration) -> Vec<Archived<E>> {
        assert!(max > 0, "a batch of no events");
        let deadline = Instant::now() + timeout;
        let Some(subject) = &self.query.subject else {
            std::thread::sleep(timeout);
            return Vec::new();
        };
        let reading = async {
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let consumer = &mut self.consumer;
                let fetch = self
                    .query
                    .fetch(&self.context, subject, consumer, self.position, max, left);
                // A server that stops amid an answer must not hold this up for ever.
                let batch = match tokio::time::timeout(left + REQUEST_TIMEOUT, fetch).await {
                    Ok(Ok(batch)) => batch,
                    Ok(Err(_)) | Err(_) => {
                        // What it had delivered is asked for again.
                        self.consumer = None;
                        tokio::time::sleep(RETRY_DELAY.min(left)).await;
                        Batch::new(self.position)
                    }
                };
                self.position = batch.position;
                self.malformed += batch.malformed;
                if !batch.events.is_empty() || Instant::now() >= deadline {
                    return batch.events;
                }
            }
        };
        self.scope.run(|| self.runtime.block_on(reading))
    }
}

impl<E> fmt::Debug for ArchiveReader<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveReader")
            .field("stream", &self.query.stream)
            .field("filter", &self.query.filter)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl<E: Payload> Query<E> {
    async fn fetch(
        &self,
        context: &Context,
        subject: &str,
        slot: &mut Option<Consumer>,
        position: u64,
        max: usize,
        timeout: Duration,
    ) -> Result<Batch<E>, Error> {
        let consumer = match slot {
            Some(consumer) => consumer,
            None => slot.insert(self.consumer(context, subject, position).await?),
        };
        let mut batch = Batch::new(position);
        let mut arrived = consumer.inner.fetch().max_messages(max).messages().await?;
        while let Some(message) = arrived.next().await {
            self.accept(&message?, consumer, &mut batch)?;
        }
        if batch.position == position {
            // Nothing was there: wait for one, then let the next fetch take what came with it.
            let wait = consumer.inner.batch().max_messages(1).expires(timeout.max(RETRY_DELAY));
            let mut arrived = wait.messages().await?;
            while let Some(message) = arrived.next().await {
                self.accept(&message?, consumer, &mut batch)?;
            }
        }
        if batch.position == position {
            let info = consumer.inner.get_info().await?;
            if info.delivered.consumer_sequence != consumer.delivered {
                return Err("something was delivered and did not arrive".into());
            }
        }
        Ok(batch)
    }

    async fn consumer(&self, context: &Context, subject: &str, position: u64) -> Result<Consumer, Error> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: position + 1,
            },
            // The host keeps the position.
            ack_policy: AckPolicy::None,
            filter_subject: subject.to_owned(),
            inactive_threshold: INACTIVE_THRESHOLD,
            ..pull::Config::default()
        };
        let stream = context.get_stream(&self.stream).await?;
        Ok(Consumer {
            inner: stream.create_consumer(config).await?,
            delivered: 0,
        })
    }

    fn accept(
        &self,
        message: &async_nats::jetstream::Message,
        consumer: &mut Consumer,
        batch: &mut Batch<E>,
    ) -> Result<(), Error> {
        let info = message.info()?;
        if info.consumer_sequence != consumer.delivered + 1 {
            return Err("something is missing in between".into());
        }
        consumer.delivered += 1;
        batch.position = info.stream_sequence;
        match self.read(message, info.stream_sequence) {
            None => batch.malformed += 1,
            Some(archived) => {
                if panic::catch(|| self.filter.matches(&archived.event)) == Some(true) {
                    batch.events.push(archived);
                }
            }
        }
        Ok(())
    }

    fn read(&self, message: &async_nats::jetstream::Message, position: u64) -> Option<Archived<E>> {
        let headers = message.headers.as_ref()?;
        let event_headers = EventHeaders::read(headers)?;
        let header = |name: &str| headers.get(name).map(HeaderValue::as_str).map(str::to_owned);
        let (_, routing) = routing(&live(&message.subject).ok()?, header).ok()?;
        let payload = panic::catch(|| self.codec.decode(&message.payload))?.ok()?;
        Some(Archived {
            position,
            origin: event_headers.source.origin,
            epoch: event_headers.source.epoch,
            sequence: event_headers.numbers.sequence,
            event: BusEvent::new(routing, payload).with_origin(event_headers.event_origin),
        })
    }
}

impl<E> Batch<E> {
    fn new(position: u64) -> Self {
        Batch {
            events: Vec::new(),
            position,
            malformed: 0,
        }
    }
}

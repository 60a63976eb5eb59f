//! Reads an archive from a position: [`ArchiveReader`].
//!
//! The host owns the reader, and only the host's calls run it. The reader has no thread and no durable state on the
//! server. It creates a temporary consumer that starts after its position. It creates another consumer when a message
//! is missing or when a request has failed. The position advances only when events are returned to the host.

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

/// Time limit for one request to the server.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay after a failed request.
const RETRY_DELAY: Duration = Duration::from_millis(50);
/// Time after which the server removes an unused consumer.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(60);

/// An event in the archive.
#[non_exhaustive]
pub struct Archived<E> {
    /// The position in the stream, counted from 1. Later events have higher positions. Pass it to
    /// [`ArchiveReader::open`] to resume after this event.
    pub position: u64,
    /// The node on which the event was published.
    pub origin: Uuid,
    /// The start of that node's archive. Each start has a new random id.
    pub epoch: Uuid,
    /// The event's number among the essential events since that start. A number that is missing from the archive was
    /// lost in the writer's queue or is not stored yet. A repeated number is a duplicate that arrived after the
    /// stream's `duplicate_window`.
    pub sequence: u64,
    /// The event, with its origin on the node that published it.
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

/// Reads a realm's archive: the events that match a filter, in the order in which they are stored.
///
/// The host stores the reader's position together with its own results. A host that writes both in one step, and
/// resumes from that position, processes each event exactly once. This holds across failures of the server, the reader
/// and the machine. `examples/archive.rs` shows such a host.
///
/// The reader contains its own tokio runtime. Call its methods and drop it outside of any other tokio runtime.
///
/// Servers of version 2.9 filter a consumer by one subject only. If a filter needs several subjects, the reader
/// receives the realm's whole archive and evaluates the filter itself.
pub struct ArchiveReader<E> {
    runtime: tokio::runtime::Runtime,
    /// The scope in which the runtime runs, so that the client's traces are redacted.
    scope: Scope,
    context: Context,
    query: Query<E>,
    consumer: Option<Consumer>,
    position: u64,
    malformed: u64,
}

/// The stream, the filter and the codec of a reader.
struct Query<E> {
    stream: String,
    /// The subject that the server filters by. `None` if no event can match.
    subject: Option<String>,
    filter: EventFilter<E>,
    codec: Arc<dyn Codec<E>>,
}

/// A consumer on the server.
struct Consumer {
    inner: PullConsumer,
    /// The consumer sequence of the last message. The next sequence is one higher unless a message was lost.
    delivered: u64,
}

/// The result of one fetch.
struct Batch<E> {
    events: Vec<Archived<E>>,
    position: u64,
    malformed: u64,
}

impl<E: Payload + Serialize + DeserializeOwned> ArchiveReader<E> {
    /// Opens a reader for the events after `position` that match `filter`, with payloads as JSON. Position 0 starts at
    /// the beginning.
    ///
    /// Blocks the calling thread until a server has answered or the first attempt to connect has failed, for at most
    /// five seconds. Neither the server nor the stream has to exist yet. Of the options, only the realm, the addresses
    /// and [`connect`](NatsOptions::connect) are used.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn open(nats: NatsOptions, filter: EventFilter<E>, position: u64) -> Result<Self, StartError> {
        ArchiveReader::with_codec(nats, filter, position, Json)
    }
}

impl<E: Payload> ArchiveReader<E> {
    /// Opens a reader with another codec for payloads. See [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// See [`StartError`].
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
                subject: match &filter_subjects(&realm, [&filter])[..] {
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

    /// Reads from this stream instead of `sb1-archive-<realm>`.
    #[must_use]
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.query.stream = name.into();
        self
    }

    /// Returns the position of the last processed message. It may be higher than that of the last returned event,
    /// because messages that the reader skips also advance it. To resume, pass the position to [`open`](Self::open).
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Returns the number of messages skipped since the reader was opened because no archive wrote them.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Returns the next events in the order of the stream, at most `max`. Returns an empty vector if no event arrives
    /// within `timeout`, or if the server does not answer. Blocks the calling thread. Must not be called from within a
    /// tokio runtime.
    ///
    /// # Panics
    ///
    /// If `max` is zero.
    pub fn next_batch(&mut self, max: usize, timeout: Duration) -> Vec<Archived<E>> {
        assert!(max > 0, "the maximum batch size must be at least 1");
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
                // A server that stops in the middle of an answer must not block this call forever.
                let batch = match tokio::time::timeout(left + REQUEST_TIMEOUT, fetch).await {
                    Ok(Ok(batch)) => batch,
                    Ok(Err(_)) | Err(_) => {
                        // A new consumer delivers the unprocessed messages again.
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
            // No message was available, so wait for one. The next fetch takes the messages that arrived with it.
            let wait = consumer.inner.batch().max_messages(1).expires(timeout.max(RETRY_DELAY));
            let mut arrived = wait.messages().await?;
            while let Some(message) = arrived.next().await {
                self.accept(&message?, consumer, &mut batch)?;
            }
        }
        if batch.position == position {
            let info = consumer.inner.get_info().await?;
            if info.delivered.consumer_sequence != consumer.delivered {
                return Err("a delivered message did not arrive".into());
            }
        }
        Ok(batch)
    }

    async fn consumer(&self, context: &Context, subject: &str, position: u64) -> Result<Consumer, Error> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: position + 1,
            },
            // The host stores the position, so the server needs no acknowledgments.
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
            return Err("a message is missing".into());
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

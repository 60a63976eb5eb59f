//! The thread of an [`Archive`](super::Archive): takes events from the bus, sends them, and settles acknowledged
//! events.
//!
//! This code runs on one thread and needs no synchronization. Only the counters are shared.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::header::HeaderMap;
use async_nats::jetstream::context::{Context, ContextBuilder, PublishErrorKind};
use async_nats::jetstream::stream::Config;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectOptions, ServerAddr};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use sharing_bus::{BusReceiver, Delivery, EventRouting, Payload};
use tokio::sync::{Mutex, oneshot};
use uuid::Uuid;

use super::send_order::{SendOrder, Ticket};
use super::stats::ArchiveCounters;
use crate::codec::Codec;
use crate::connection::Connection;
use crate::runtime::StartReport;
use crate::runtime::panic::{self, log_warning};
use crate::wire::headers::{EventHeaders, Numbers, Source, wire_len};
use crate::wire::subject::{Class, Realm, archived, subject};

/// Time limit for an acknowledgment, after which the event is sent again.
const ACK_TIMEOUT: Duration = Duration::from_secs(2);
/// Delay before an event is sent again. It doubles after each attempt, up to [`MAX_RETRY_DELAY`].
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(20);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A key that orders events. See [`SendOrder`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Session(Option<Arc<str>>, Option<Arc<str>>),
    Scroll(Uuid),
}

/// Returns the keys of an event.
fn keys(routing: &EventRouting) -> Vec<Key> {
    let session = || Key::Session(routing.connector_id.clone(), routing.native_session_id.clone());
    let mut keys: Vec<Key> = routing.scroll_id.map(Key::Scroll).into_iter().collect();
    // The events of a connector that have neither a session nor a scroll are ordered among themselves.
    if routing.native_session_id.is_some() || keys.is_empty() {
        keys.push(session());
    }
    keys
}

/// An encoded event.
struct Message {
    subject: String,
    headers: HeaderMap,
    payload: Vec<u8>,
}

/// The initial state of the archive's thread.
pub(super) struct Writer<E> {
    pub(super) realm: Realm,
    pub(super) node: Uuid,
    pub(super) epoch: Uuid,
    pub(super) max_in_flight: usize,
    pub(super) stream: Config,
    pub(super) codec: Arc<dyn Codec<E>>,
    pub(super) counters: Arc<ArchiveCounters>,
}

impl<E: Payload> Writer<E> {
    pub(super) async fn run(
        self,
        servers: Vec<ServerAddr>,
        connect: ConnectOptions,
        mut receiver: BusReceiver<E>,
        started: StartReport<()>,
        mut stopped: oneshot::Receiver<Instant>,
    ) {
        let counters = Arc::clone(&self.counters);
        let connection =
            match Connection::start(servers, connect, "archive", move |event| counters.count_event(event)).await {
                Ok(connection) => connection,
                Err(error) => return drop(started.send(Err(error))),
            };
        if started.send(Ok(())).is_err() {
            return;
        }
        let publisher = StreamPublisher::new(
            connection.client,
            self.stream.clone(),
            Arc::clone(&self.counters),
            self.max_in_flight,
        );
        let mut send_order = SendOrder::new();
        let mut in_flight: FuturesUnordered<LocalBoxFuture<'_, Ticket>> = FuturesUnordered::new();
        let mut sequence = 0;
        let mut open = true;
        let mut deadline = None;
        while open || send_order.len() > 0 {
            tokio::select! {
                biased;
                stop = &mut stopped, if deadline.is_none() => match stop {
                    Ok(at) => {
                        deadline = Some(at);
                        receiver.close();
                    }
                    // The archive was dropped without a shutdown, so the remaining events are discarded.
                    Err(_) => break,
                },
                () = sleep_until(deadline) => break,
                Some(ticket) = in_flight.next() => {
                    for (ticket, message) in send_order.settle(ticket) {
                        in_flight.push(Box::pin(publisher.store(ticket, message)));
                    }
                }
                next = receiver.recv_async(), if open && send_order.len() < self.max_in_flight => match next {
                    Ok(delivery) => {
                        let Some(message) = self.message(&delivery, &mut sequence) else {
                            continue;
                        };
                        let ready = send_order.push(keys(&delivery.routing), message);
                        in_flight.extend(ready.map(|(ticket, message)| -> LocalBoxFuture<'_, Ticket> {
                            Box::pin(publisher.store(ticket, message))
                        }));
                    }
                    Err(_) => open = false,
                },
            }
        }
        self.count_unsent(&mut receiver);
    }

    /// Counts the events that remain in the queue. They are discarded.
    fn count_unsent(&self, receiver: &mut BusReceiver<E>) {
        receiver.close();
        self.counters.accepted.add(receiver.try_iter().count() as u64);
        self.counters.lagged.raise(receiver.lagged());
    }

    fn message(&self, delivery: &Delivery<E>, sequence: &mut u64) -> Option<Message> {
        self.counters.accepted.add(1);
        self.counters.lagged.add(delivery.missed());
        // A lost event keeps its number, so that a reader can detect the gap.
        *sequence += delivery.missed() + 1;
        let Some(Ok(payload)) = panic::catch(|| self.codec.encode(&delivery.event)) else {
            self.counters.encode_failures.add(1);
            return None;
        };
        let event_headers = EventHeaders {
            source: Source {
                origin: self.node,
                epoch: self.epoch,
            },
            numbers: Numbers {
                sequence: *sequence,
                // Readers of the archive do not count per subject.
                subject_sequence: *sequence,
                lost: 0,
            },
            event_origin: delivery.origin,
        };
        let mut headers = event_headers.write();
        let live = subject(&self.realm, Class::Essential, &delivery.routing);
        for (name, value) in live.headers {
            headers.insert(name, value);
        }
        Some(Message {
            subject: archived(&live.text),
            headers,
            payload,
        })
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The result of one attempt to store an event.
enum Attempt {
    Stored { duplicate: bool },
    Refused,
    NoStream,
    Failed,
}

/// Publishes events into the stream.
struct StreamPublisher {
    client: Client,
    context: Context,
    stream: Config,
    counters: Arc<ArchiveCounters>,
    /// Held while the stream is created, so that only one task creates it.
    creating: Mutex<()>,
}

impl StreamPublisher {
    fn new(client: Client, stream: Config, counters: Arc<ArchiveCounters>, max_in_flight: usize) -> StreamPublisher {
        let context = ContextBuilder::new()
            .timeout(ACK_TIMEOUT)
            .ack_timeout(ACK_TIMEOUT)
            .max_ack_inflight(max_in_flight);
        StreamPublisher {
            context: context.build(client.clone()),
            client,
            stream,
            counters,
            creating: Mutex::new(()),
        }
    }

    /// Sends a message until it is stored or refused.
    async fn store(&self, ticket: Ticket, message: Message) -> Ticket {
        let payload = bytes::Bytes::from(message.payload);
        let size = payload.len() + wire_len(&message.headers);
        let mut delay = FIRST_RETRY_DELAY;
        loop {
            match self.attempt(&message.subject, &message.headers, &payload, size).await {
                Attempt::Stored { duplicate } => {
                    self.counters.stored.add(1);
                    self.counters.duplicates.add(u64::from(duplicate));
                    return ticket;
                }
                Attempt::Refused => {
                    self.counters.refused.add(1);
                    return ticket;
                }
                Attempt::NoStream => self.create_stream().await,
                Attempt::Failed => {}
            }
            tokio::time::sleep(delay).await;
            delay = MAX_RETRY_DELAY.min(delay * 2);
        }
    }

    async fn attempt(&self, subject: &str, headers: &HeaderMap, payload: &bytes::Bytes, size: usize) -> Attempt {
        // A disconnected client would buffer every attempt, so this attempt sends nothing.
        if self.client.connection_state() != State::Connected {
            return Attempt::Failed;
        }
        if size > self.client.server_info().max_payload {
            return Attempt::Refused;
        }
        let sent = self
            .context
            .publish_with_headers(subject.to_owned(), headers.clone(), payload.clone())
            .await;
        let answer = match sent {
            Ok(acknowledged) => acknowledged.await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(ack) => Attempt::Stored {
                duplicate: ack.duplicate,
            },
            Err(error) if is_too_large(&error) => Attempt::Refused,
            Err(error) => {
                self.counters.retried.add(1);
                match error.kind() {
                    PublishErrorKind::StreamNotFound => Attempt::NoStream,
                    _ => Attempt::Failed,
                }
            }
        }
    }

    async fn create_stream(&self) {
        let Ok(_guard) = self.creating.try_lock() else {
            return;
        };
        if let Err(error) = self.context.get_or_create_stream(self.stream.clone()).await {
            log_warning!(
                "the archive's stream {:?} cannot be created: {}",
                self.stream.name,
                error.kind()
            );
        }
    }
}

/// Returns whether the message is larger than the stream accepts.
fn is_too_large(error: &(dyn std::error::Error + 'static)) -> bool {
    let cause = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>());
    cause.is_some_and(|cause| cause.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM)
}

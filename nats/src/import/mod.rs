//! The path from the server to the bus: [`Importer`], a task of the bridge's thread.
//!
//! 1. `command.rs`: the requests that the importer handles.
//! 2. `received.rs`: the last message of each source, to detect duplicates and losses.
//! 3. `gaps.rs`: detected losses, looked up when the dispatch thread delivers the event that follows.
//!
//! The importer owns the interests of the host, the client's subscriptions, and the record of received messages. No two
//! subscriptions share a subject. When the interests change, the importer first opens the new subscriptions. A round
//! trip then proves that the server has them. Only after that does the importer close the subscriptions that are no
//! longer needed. A message that arrives over both an old and a new subscription is dropped as a duplicate.
//!
//! The client gives each subscription its own channel, so the messages of one source can be spread over several
//! channels. The client fills these channels in the order of the connection, on the same thread. At any time, the
//! contents of all channels together are therefore a prefix of that order. The importer empties all channels at once
//! and sorts the messages by sequence.

pub(crate) mod command;
pub(crate) mod gaps;
pub(crate) mod received;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_nats::{HeaderMap, Message, Subscriber};
use futures_util::Stream;
use sharing_bus::{BusEvent, EventFilter, EventOrigin, Payload, SharingBus};
use tokio::sync::mpsc;

use crate::codec::Codec;
use crate::connection::round_trip::RoundTrips;
use crate::connection::{Connection, Phase};
use crate::import::command::{Command, CommandSender};
use crate::import::gaps::Gaps;
use crate::import::received::{Arrival, Received};
use crate::runtime::latch::Latch;
use crate::runtime::panic;
use crate::stats::Counters;
use crate::wire::filter_subjects::filter_subjects;
use crate::wire::headers::{EventHeaders, Source};
use crate::wire::subject::{Realm, routing};

/// Number of messages after which the importer yields to the bridge's other tasks.
const BATCH: usize = 64;

pub(crate) struct Importer<E: Payload, C> {
    pub(crate) bus: SharingBus<E>,
    pub(crate) codec: Arc<C>,
    pub(crate) realm: Realm,
    pub(crate) source: Source,
    pub(crate) connection: Connection,
    pub(crate) round_trips: RoundTrips,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gaps: Arc<Gaps<E>>,
    pub(crate) commands: CommandSender<E>,
    pub(crate) state: ImportState<E>,
}

/// State that only the importer uses.
pub(crate) struct ImportState<E> {
    interests: Vec<Interest<E>>,
    subscriptions: Vec<Subscription>,
    received: Received,
    /// Number of changes to the subscriptions so far.
    changes: u64,
}

struct Interest<E> {
    id: u64,
    filter: EventFilter<E>,
    ready: Arc<Latch>,
    /// The change that added this interest.
    added_at: u64,
}

struct Subscription {
    subject: String,
    subscriber: Subscriber,
    /// The change from which this subscription is no longer needed.
    retired_at: Option<u64>,
}

struct ReceivedMessage {
    event_headers: EventHeaders,
    headers: HeaderMap,
    message: Message,
}

impl<E> ImportState<E> {
    pub(crate) fn new() -> Self {
        ImportState {
            interests: Vec::new(),
            subscriptions: Vec::new(),
            received: Received::default(),
            changes: 0,
        }
    }
}

impl<E: Payload, C: Codec<E>> Importer<E, C> {
    /// Imports events until the bus is closed or the runtime drops this task.
    pub(crate) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command<E>>) {
        loop {
            tokio::select! {
                biased;
                command = commands.recv() => {
                    let Some(command) = command else { return };
                    self.handle(command).await;
                }
                messages = next_messages(&mut self.state.subscriptions) => {
                    if self.import_all(messages).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn handle(&mut self, command: Command<E>) {
        match command {
            Command::AddInterest { id, filter, ready } => {
                let added_at = self.state.changes + 1;
                self.state.interests.push(Interest {
                    id,
                    filter,
                    ready,
                    added_at,
                });
                self.resubscribe().await;
            }
            Command::RemoveInterest(id) => {
                self.state.interests.retain(|interest| interest.id != id);
                self.resubscribe().await;
            }
            Command::Subscribed(change) => self.open_ready(change),
            Command::Drained(change) => self.close_replaced(change).await,
        }
    }

    /// Opens the missing subscriptions and marks those that are no longer needed.
    async fn resubscribe(&mut self) {
        self.state.changes += 1;
        let change = self.state.changes;
        let filters = self.state.interests.iter().map(|interest| &interest.filter);
        let needed = filter_subjects(&self.realm, filters);
        for subscription in &mut self.state.subscriptions {
            let is_needed = needed.contains(&subscription.subject);
            subscription.retired_at = if is_needed {
                None
            } else {
                subscription.retired_at.or(Some(change))
            };
        }
        for subject in needed {
            if self
                .state
                .subscriptions
                .iter()
                .any(|subscription| subscription.subject == subject)
            {
                continue;
            }
            // The call fails only after the client has given up.
            if let Ok(subscriber) = self.connection.client.subscribe(subject.clone()).await {
                self.state.subscriptions.push(Subscription {
                    subject,
                    subscriber,
                    retired_at: None,
                });
            }
        }
        tokio::spawn(report_round_trips(
            self.connection.clone(),
            self.round_trips.clone(),
            self.commands.downgrade(),
            change,
        ));
    }

    /// Marks the interests added up to this change as ready. The server has their subscriptions.
    fn open_ready(&self, change: u64) {
        for interest in self
            .state
            .interests
            .iter()
            .filter(|interest| interest.added_at <= change)
        {
            interest.ready.open();
        }
    }

    /// Closes the subscriptions that were retired by this change or an earlier one.
    async fn close_replaced(&mut self, change: u64) {
        let replaced =
            |subscription: &Subscription| subscription.retired_at.is_some_and(|retired_at| retired_at <= change);
        if !self.state.subscriptions.iter().any(replaced) {
            return;
        }
        let messages = pending_messages(&mut self.state.subscriptions).await;
        self.state.subscriptions.retain(|subscription| !replaced(subscription));
        // If the bus is closed, importing the next message fails as well and ends the task.
        let _ = self.import_all(messages).await;
        // This node no longer receives a subject without a subscription, so its missing messages are not losses.
        let ImportState {
            subscriptions,
            received,
            ..
        } = &mut self.state;
        received.retain_subjects(|subject| {
            subscriptions
                .iter()
                .any(|subscription| matches_subject(&subscription.subject, subject))
        });
    }

    /// Imports a batch of messages, ordered by source.
    ///
    /// # Errors
    ///
    /// Fails once the bus is closed.
    async fn import_all(&mut self, messages: Vec<Message>) -> Result<(), Closed> {
        let mut received: Vec<ReceivedMessage> = Vec::with_capacity(messages.len());
        for mut message in messages {
            let headers = message.headers.take();
            let event_headers = headers.as_ref().and_then(EventHeaders::read);
            match headers.zip(event_headers) {
                None => self.counters.malformed.add(1),
                Some((_, event_headers)) if event_headers.source == self.source => self.counters.own.add(1),
                Some((headers, event_headers)) => received.push(ReceivedMessage {
                    event_headers,
                    headers,
                    message,
                }),
            }
        }
        sort_by_sequence(&mut received);
        for (index, message) in received.into_iter().enumerate() {
            if index % BATCH == BATCH - 1 {
                tokio::task::yield_now().await;
            }
            self.import(message).await?;
        }
        Ok(())
    }

    async fn import(&mut self, message: ReceivedMessage) -> Result<(), Closed> {
        let ReceivedMessage {
            event_headers,
            headers,
            message,
        } = message;
        let subject = message.subject.as_str();
        let id = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let Ok((_, routing)) = routing(subject, id) else {
            self.counters.malformed.add(1);
            return Ok(());
        };
        // Decode before recording the message, so that an undecodable message later counts as missing.
        let Some(Ok(payload)) = panic::catch(|| self.codec.decode(&message.payload)) else {
            self.counters.malformed.add(1);
            return Ok(());
        };
        let gap = match self
            .state
            .received
            .record(event_headers.source, subject, event_headers.numbers)
        {
            Arrival::Duplicate => {
                self.counters.duplicates.add(1);
                return Ok(());
            }
            Arrival::New(gap) => gap,
        };
        self.counters.gaps.add(gap.of_subject);
        self.counters.lost_at_source.add(gap.at_source);
        let mut event = BusEvent::new(routing, payload).with_origin(event_headers.event_origin);
        if !self.is_of_interest(&event) {
            self.counters.filtered_locally.add(1);
            return Ok(());
        }
        event.origin = EventOrigin::Remote;
        self.gaps.record(&event.event, gap);
        // Count before publishing, so that the count includes the event when a receiver gets it.
        self.counters.imported.add(1);
        self.bus.publish_async(event).await.map_err(|_| Closed)
    }

    /// Returns whether any interest matches the event with the origin that it had on its own node.
    fn is_of_interest(&self, event: &BusEvent<E>) -> bool {
        let mut interests = self.state.interests.iter();
        interests.any(|interest| panic::catch(|| interest.filter.matches(event)).unwrap_or(false))
    }
}

/// The local bus is closed.
struct Closed;

/// Sends two commands to the importer: one when the server has read the new subscriptions, and one when all messages of
/// the old subscriptions have arrived. If the connection breaks, the client subscribes again by itself, and the round
/// trip is repeated.
async fn report_round_trips<E>(
    mut connection: Connection,
    round_trips: RoundTrips,
    commands: mpsc::WeakUnboundedSender<Command<E>>,
    change: u64,
) {
    // The server can match one message of each publisher before it reads the subscriptions and deliver that message
    // after the first round trip. The second round trip proves that such a message has arrived.
    for command in [Command::Subscribed(change), Command::Drained(change)] {
        while round_trips.round_trip().await.is_err() {
            while !connection.is_connected() {
                if connection.changed().await == Phase::Closed {
                    return;
                }
            }
        }
        if let Some(commands) = commands.upgrade() {
            // The send fails only if the importer has ended.
            let _ = commands.send(command);
        }
    }
}

/// Waits for at least one message, and takes all messages that have arrived.
async fn next_messages(subscriptions: &mut Vec<Subscription>) -> Vec<Message> {
    poll_messages(subscriptions, |messages| !messages.is_empty()).await
}

/// Takes all messages that have arrived, without waiting.
async fn pending_messages(subscriptions: &mut Vec<Subscription>) -> Vec<Message> {
    poll_messages(subscriptions, |_| true).await
}

async fn poll_messages(subscriptions: &mut Vec<Subscription>, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
    let all = std::future::poll_fn(|cx| {
        let mut messages = Vec::new();
        drain(subscriptions, cx, &mut messages);
        if enough(&messages) {
            Poll::Ready(messages)
        } else {
            Poll::Pending
        }
    });
    // Without `unconstrained`, the runtime could stop the loop in the middle of a channel. The remaining messages
    // would then be imported out of order, or be lost.
    tokio::task::unconstrained(all).await
}

fn drain(subscriptions: &mut Vec<Subscription>, cx: &mut Context<'_>, messages: &mut Vec<Message>) {
    subscriptions.retain_mut(|subscription| {
        loop {
            match Pin::new(&mut subscription.subscriber).poll_next(cx) {
                Poll::Ready(Some(message)) => messages.push(message),
                Poll::Ready(None) => return false,
                Poll::Pending => return true,
            }
        }
    });
}

/// Returns whether a subscription to `pattern` receives the messages published on `subject`.
fn matches_subject(pattern: &str, subject: &str) -> bool {
    let tokens = pattern.split('.').zip(subject.split('.'));
    let mut tokens = tokens.map(|(expected, token)| expected == "*" || expected == token);
    tokens.all(|matches| matches)
}

/// Sorts the messages of each source by sequence. If all sources are in order, the messages stay in arrival order.
/// Otherwise they are grouped by source.
fn sort_by_sequence(messages: &mut [ReceivedMessage]) {
    let mut sources: HashMap<Source, (usize, u64)> = HashMap::new();
    let mut in_order = true;
    for message in messages.iter() {
        let EventHeaders { source, numbers, .. } = message.event_headers;
        let next = sources.len();
        let (_, last) = sources.entry(source).or_insert((next, 0));
        in_order &= *last <= numbers.sequence;
        *last = numbers.sequence;
    }
    if !in_order {
        messages.sort_by_key(|message| {
            (
                sources[&message.event_headers.source].0,
                message.event_headers.numbers.sequence,
            )
        });
    }
}

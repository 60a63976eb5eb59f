//! From the server to the bus: [`Importer`], a task of the bridge's thread.
//!
//! Owns the subscriptions, the wishes that they come from, and the ledger. The subscriptions are those that all wishes
//! together need, no two of which share a subject. When the wishes change, the new ones are opened, a round trip proves that
//! the server has them, and only then those are closed that are not needed any more: what comes twice meanwhile the ledger
//! drops.
//!
//! Each subscription of the client has a channel of its own, so messages of one source may stand in several. The client fills
//! them in the order of the connection, on this very thread: what all of them hold at a time is a beginning of that order.
//! So they are emptied together and put back in order by their sequence.

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
use crate::connection::round_trip::Echo;
use crate::connection::{Link, Phase};
use crate::import::command::{Command, CommandSender};
use crate::import::gaps::Gaps;
use crate::import::received::{Entry, Ledger};
use crate::runtime::latch::Latch;
use crate::runtime::panic;
use crate::stats::Counters;
use crate::wire::filter_subjects::subjects;
use crate::wire::headers::{Source, Stamp};
use crate::wire::subject::{Realm, routing};

/// How many messages are taken before the bridge's other tasks have their turn.
const BATCH: usize = 64;

pub(crate) struct Importer<E: Payload, C> {
    pub(crate) bus: SharingBus<E>,
    pub(crate) codec: Arc<C>,
    pub(crate) realm: Realm,
    pub(crate) source: Source,
    pub(crate) link: Link,
    pub(crate) echo: Echo,
    pub(crate) counters: Arc<Counters>,
    pub(crate) gaps: Arc<Gaps<E>>,
    pub(crate) commands: CommandSender<E>,
    pub(crate) state: Inside<E>,
}

/// What is the importer's alone.
pub(crate) struct Inside<E> {
    interests: Vec<Interest<E>>,
    inlets: Vec<Inlet>,
    ledger: Ledger,
    /// How often the subscriptions have changed.
    changes: u64,
}

struct Interest<E> {
    id: u64,
    filter: EventFilter<E>,
    ready: Arc<Latch>,
    /// The change that it came with.
    since: u64,
}

struct Inlet {
    subject: String,
    subscriber: Subscriber,
    /// The change since which it is not needed.
    retired: Option<u64>,
}

struct Arrival {
    stamp: Stamp,
    headers: HeaderMap,
    message: Message,
}

impl<E> Inside<E> {
    pub(crate) fn new() -> Self {
        Inside {
            interests: Vec::new(),
            inlets: Vec::new(),
            ledger: Ledger::default(),
            changes: 0,
        }
    }
}

impl<E: Payload, C: Codec<E>> Importer<E, C> {
    /// Imports until the bus is closed or the client has given up.
    pub(crate) async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Command<E>>) {
        loop {
            tokio::select! {
                biased;
                command = asked.recv() => {
                    let Some(command) = command else { return };
                    self.heed(command).await;
                }
                messages = arrivals(&mut self.state.inlets) => {
                    if self.take_all(messages).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn heed(&mut self, command: Command<E>) {
        match command {
            Command::AddInterest { id, filter, ready } => {
                let since = self.state.changes + 1;
                self.state.interests.push(Interest {
                    id,
                    filter,
                    ready,
                    since,
                });
                self.rearrange().await;
            }
            Command::RemoveInterest(id) => {
                self.state.interests.retain(|interest| interest.id != id);
                self.rearrange().await;
            }
            Command::Subscribed(change) => self.settled(change),
            Command::Drained(change) => self.replaced(change).await,
        }
    }

    /// Opens the subscriptions that are missing and marks those that are not needed.
    async fn rearrange(&mut self) {
        self.state.changes += 1;
        let change = self.state.changes;
        let filters = self.state.interests.iter().map(|interest| interest.filter.clone());
        let wanted = subjects(&self.realm, &EventFilter::any(filters));
        for inlet in &mut self.state.inlets {
            let needed = wanted.contains(&inlet.subject);
            inlet.retired = if needed { None } else { inlet.retired.or(Some(change)) };
        }
        for subject in wanted {
            if self.state.inlets.iter().any(|inlet| inlet.subject == subject) {
                continue;
            }
            // It fails only once the client has given up.
            if let Ok(subscriber) = self.link.client.subscribe(subject.clone()).await {
                self.state.inlets.push(Inlet {
                    subject,
                    subscriber,
                    retired: None,
                });
            }
        }
        tokio::spawn(settle(
            self.link.clone(),
            self.echo.clone(),
            self.commands.downgrade(),
            change,
        ));
    }

    /// The server has the subscriptions as of this change: who waits for them may go on.
    fn settled(&self, change: u64) {
        for interest in self.state.interests.iter().filter(|interest| interest.since <= change) {
            interest.ready.open();
        }
    }

    /// Ends the subscriptions that are not needed as of this change.
    async fn replaced(&mut self, change: u64) {
        let over = |inlet: &Inlet| inlet.retired.is_some_and(|since| since <= change);
        if !self.state.inlets.iter().any(over) {
            return;
        }
        let messages = waiting(&mut self.state.inlets).await;
        self.state.inlets.retain(|inlet| !over(inlet));
        // An end of the bus shows again with the next message.
        let _ = self.take_all(messages).await;
        // What is missing from now on of a subject that nobody listens to is not lost.
        let Inside { inlets, ledger, .. } = &mut self.state;
        ledger.keep_subjects(|subject| inlets.iter().any(|inlet| covers(&inlet.subject, subject)));
    }

    /// `Err` once the bus is closed.
    async fn take_all(&mut self, messages: Vec<Message>) -> Result<(), Closed> {
        let mut arrivals: Vec<Arrival> = Vec::with_capacity(messages.len());
        for mut message in messages {
            let headers = message.headers.take();
            let stamp = headers.as_ref().and_then(Stamp::read);
            match headers.zip(stamp) {
                None => self.counters.malformed.add(1),
                Some((_, stamp)) if stamp.source == self.source => self.counters.own.add(1),
                Some((headers, stamp)) => arrivals.push(Arrival {
                    stamp,
                    headers,
                    message,
                }),
            }
        }
        put_in_order(&mut arrivals);
        for (index, arrival) in arrivals.into_iter().enumerate() {
            if index % BATCH == BATCH - 1 {
                tokio::task::yield_now().await;
            }
            self.take(arrival).await?;
        }
        Ok(())
    }

    async fn take(&mut self, arrival: Arrival) -> Result<(), Closed> {
        let Arrival {
            stamp,
            headers,
            message,
        } = arrival;
        let subject = message.subject.as_str();
        let id = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let Ok((_, routing)) = routing(subject, id) else {
            self.counters.malformed.add(1);
            return Ok(());
        };
        // Before it is entered: what cannot be read is missing.
        let Some(Ok(payload)) = panic::catch(|| self.codec.decode(&message.payload)) else {
            self.counters.malformed.add(1);
            return Ok(());
        };
        let gap = match self.state.ledger.enter(stamp.source, subject, stamp.place) {
            Entry::Duplicate => {
                self.counters.duplicates.add(1);
                return Ok(());
            }
            Entry::New(gap) => gap,
        };
        self.counters.gaps.add(gap.of_subject);
        self.counters.lost_at_source.add(gap.at_source);
        let mut event = BusEvent::new(routing, payload).with_origin(stamp.event_origin);
        if !self.is_wanted(&event) {
            self.counters.filtered_locally.add(1);
            return Ok(());
        }
        event.origin = EventOrigin::Remote;
        self.gaps.record(&event.event, gap);
        // Before, so that whoever receives it finds it counted.
        self.counters.imported.add(1);
        self.bus.publish_async(event).await.map_err(|_| Closed)
    }

    /// Whether any filter matches it as its own node had it.
    fn is_wanted(&self, event: &BusEvent<E>) -> bool {
        let mut interests = self.state.interests.iter();
        interests.any(|interest| panic::catch(|| interest.filter.matches(event)).unwrap_or(false))
    }
}

/// The local bus is closed.
struct Closed;

/// Tells the importer once the server has read what was subscribed to before. A connection that breaks subscribes anew on
/// its own, and is asked again.
async fn settle<E>(mut link: Link, echo: Echo, commands: mpsc::WeakUnboundedSender<Command<E>>, change: u64) {
    // One message at a time of each publisher may be matched before and come after: the second round trip is for those.
    for command in [Command::Subscribed(change), Command::Drained(change)] {
        while echo.round_trip().await.is_err() {
            while !link.is_connected() {
                if link.changed().await == Phase::Closed {
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

/// Waits until there is any message, and takes all there are.
async fn arrivals(inlets: &mut Vec<Inlet>) -> Vec<Message> {
    taken(inlets, |messages| !messages.is_empty()).await
}

/// Takes all messages there are.
async fn waiting(inlets: &mut Vec<Inlet>) -> Vec<Message> {
    taken(inlets, |_| true).await
}

async fn taken(inlets: &mut Vec<Inlet>, enough: impl Fn(&[Message]) -> bool) -> Vec<Message> {
    let all = std::future::poll_fn(|cx| {
        let mut messages = Vec::new();
        collect(inlets, cx, &mut messages);
        if enough(&messages) {
            Poll::Ready(messages)
        } else {
            Poll::Pending
        }
    });
    // Or the runtime would have it stop amid a channel, and what was left there come out of order, or not at all.
    tokio::task::unconstrained(all).await
}

fn collect(inlets: &mut Vec<Inlet>, cx: &mut Context<'_>, messages: &mut Vec<Message>) {
    inlets.retain_mut(|inlet| {
        loop {
            match Pin::new(&mut inlet.subscriber).poll_next(cx) {
                Poll::Ready(Some(message)) => messages.push(message),
                Poll::Ready(None) => return false,
                Poll::Pending => return true,
            }
        }
    });
}

/// Whether a subscription to `pattern` gets what is published on `subject`.
fn covers(pattern: &str, subject: &str) -> bool {
    let tokens = pattern.split('.').zip(subject.split('.'));
    let mut tokens = tokens.map(|(wanted, token)| wanted == "*" || wanted == token);
    tokens.all(|fits| fits)
}

/// Puts the messages of each source in order. They stay as they came if they are, and else stand by source.
fn put_in_order(arrivals: &mut [Arrival]) {
    let mut sources: HashMap<Source, (usize, u64)> = HashMap::new();
    let mut in_order = true;
    for arrival in arrivals.iter() {
        let Stamp { source, place, .. } = arrival.stamp;
        let next = sources.len();
        let (_, last) = sources.entry(source).or_insert((next, 0));
        in_order &= *last <= place.sequence;
        *last = place.sequence;
    }
    if !in_order {
        arrivals.sort_by_key(|arrival| (sources[&arrival.stamp.source].0, arrival.stamp.place.sequence));
    }
}

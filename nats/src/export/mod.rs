//! From the bus to the server: [`Exporter`], a task of the bridge's thread.
//!
//! Owns the bridge's subscription and everything that is counted about what it sends. It takes events only while a connection
//! is up and few enough are unconfirmed; all others wait in the subscription's own bounded queue, which loses the newest and
//! counts. At any time at most one round trip is under way; what was handed over before it is confirmed when it returns.

use std::collections::HashMap;
use std::sync::Arc;

use sharing_bus::{BusReceiver, Delivery, EventFilter, Payload};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::codec::Codec;
use crate::connection::round_trip::{Broken, Echo};
use crate::connection::{Link, Phase};
use crate::runtime::panic;
use crate::stats::Counters;
use crate::wire::headers::{MAX_TRACKED_SUBJECTS, Place, Source, Stamp, wire_len};
use crate::wire::subject::{Class, Realm, subject};

/// How many events are taken out of the queue at a time.
const BATCH: usize = 64;

pub(crate) struct Exporter<E: Payload, C> {
    pub(crate) receiver: BusReceiver<E>,
    pub(crate) codec: Arc<C>,
    pub(crate) realm: Realm,
    pub(crate) essential: EventFilter<E>,
    pub(crate) source: Source,
    pub(crate) link: Link,
    pub(crate) echo: Echo,
    pub(crate) counters: Arc<Counters>,
    pub(crate) in_flight: usize,
    pub(crate) progress: Progress,
}

/// What has been sent, and how much of it is certain.
#[derive(Default)]
pub(crate) struct Progress {
    /// Events that were this bridge's to export so far, lost ones included.
    sequence: u64,
    /// Those that its own queue lost.
    lost: u64,
    /// How many there were of each subject.
    nths: HashMap<String, u64>,
    /// Events handed to the client.
    handed: u64,
    /// Those of them whose fate is decided: confirmed, or uncertain for good.
    settled: u64,
    /// The connection that all others were handed to.
    connection: u64,
    max_payload: usize,
}

impl<E: Payload, C: Codec<E>> Exporter<E, C> {
    /// Exports until the subscription has ended and everything is settled, or until the client has given up.
    pub(crate) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut link = self.link.clone();
        let mut batch = Vec::with_capacity(BATCH);
        let mut trip: Option<Trip> = None;
        let mut open = true;
        loop {
            self.look_at_connection();
            if !open && self.progress.unsettled() == 0 {
                break;
            }
            if trip.is_none() && self.progress.unsettled() > 0 {
                trip = Some(Trip::start(&self.echo, self.progress.handed));
            }
            let room = self.in_flight.saturating_sub(self.progress.unsettled());
            let may_send = open && room > 0 && self.link.is_connected();
            tokio::select! {
                biased;
                (outcome, handed) = Trip::end(&mut trip) => self.settle(outcome, handed),
                closed = closing.changed(), if open && !self.receiver.is_closed() => {
                    // A bridge that is gone does not wait for what is queued.
                    if closed.is_err() {
                        break;
                    }
                    self.receiver.close();
                }
                taken = self.receiver.recv_many_async(&mut batch, room.min(BATCH)), if may_send => {
                    open = taken > 0;
                    self.counters.taken.add(taken as u64);
                    for delivery in batch.drain(..) {
                        self.export(&delivery).await;
                    }
                }
                phase = link.changed() => {
                    if phase == Phase::Closed {
                        break;
                    }
                }
            }
        }
    }

    /// Learns of a new connection: what was handed over before and not confirmed may be lost.
    fn look_at_connection(&mut self) {
        let connection = self.link.connection();
        if connection != self.progress.connection {
            self.settle(Err(Broken), self.progress.handed);
            self.progress.connection = connection;
            self.progress.max_payload = self.link.client.server_info().max_payload;
        }
    }

    fn settle(&mut self, outcome: Result<(), Broken>, handed: u64) {
        let same = self.link.connection() == self.progress.connection;
        if outcome.is_ok() && same {
            let confirmed = handed.saturating_sub(self.progress.settled);
            self.counters.acked.add(confirmed);
            self.progress.settled += confirmed;
        } else {
            self.counters.lost_on_reconnect.add(self.progress.unsettled() as u64);
            self.progress.settled = self.progress.handed;
        }
    }

    async fn export(&mut self, delivery: &Delivery<E>) {
        let missed = delivery.missed();
        self.counters.lagged.add(missed);
        self.progress.lost += missed;
        self.progress.sequence += missed + 1;
        let class = match panic::catch(|| self.essential.matches(delivery)) {
            Some(true) => Class::Essential,
            _ => Class::Delta,
        };
        let subject = subject(&self.realm, class, &delivery.routing);
        let stamp = Stamp {
            source: self.source,
            place: Place {
                sequence: self.progress.sequence,
                nth: self.progress.next_of(&subject.text),
                lost: self.progress.lost,
            },
            event_origin: delivery.origin,
        };
        let Some(Ok(payload)) = panic::catch(|| self.codec.encode(&delivery.event)) else {
            self.counters.encode_failures.add(1);
            return;
        };
        let mut headers = stamp.write();
        for (name, value) in subject.headers {
            headers.insert(name, value);
        }
        if wire_len(&headers) + payload.len() > self.progress.max_payload {
            self.counters.refused_too_large.add(1);
            return;
        }
        let published = self
            .link
            .client
            .publish_with_headers(subject.text, headers, payload.into());
        if published.await.is_ok() {
            self.counters.exported.add(1);
            self.progress.handed += 1;
        } else {
            // The client has given up, and the phase says so next.
            self.counters.unsendable.add(1);
        }
    }
}

impl<E: Payload, C> Drop for Exporter<E, C> {
    /// Leaves the last account of its queue, which nobody can ask any more.
    fn drop(&mut self) {
        self.counters.lagged.raise(self.receiver.lagged());
        self.counters.abandoned.add(self.receiver.len() as u64);
        self.counters.over.raise(1);
    }
}

impl Progress {
    fn unsettled(&self) -> usize {
        usize::try_from(self.handed - self.settled).unwrap_or(usize::MAX)
    }

    /// Counts one more of this subject. Past the limit all begin anew, which those who receive take for what it is.
    fn next_of(&mut self, subject: &str) -> u64 {
        if let Some(nth) = self.nths.get_mut(subject) {
            *nth += 1;
            return *nth;
        }
        if self.nths.len() >= MAX_TRACKED_SUBJECTS {
            self.nths.clear();
        }
        self.nths.insert(subject.to_owned(), 1);
        1
    }
}

/// A round trip under way, and how much had been handed over before.
struct Trip {
    task: JoinHandle<Result<(), Broken>>,
    handed: u64,
}

impl Trip {
    fn start(echo: &Echo, handed: u64) -> Trip {
        let echo = echo.clone();
        let task = tokio::spawn(async move { echo.round_trip().await });
        Trip { task, handed }
    }

    /// Waits for it and takes it out; forever if there is none. Cancel safe.
    async fn end(trip: &mut Option<Trip>) -> (Result<(), Broken>, u64) {
        let Some(Trip { task, handed }) = trip else {
            return std::future::pending().await;
        };
        let outcome = task.await.unwrap_or(Err(Broken));
        let handed = *handed;
        *trip = None;
        (outcome, handed)
    }
}

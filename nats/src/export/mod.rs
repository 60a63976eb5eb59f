//! The path from the bus to the server: [`Exporter`], a task of the bridge's thread.
//!
//! 1. `progress.rs`: the numbers of events, and how many events the server has confirmed.
//!
//! The exporter owns the bridge's subscription on the bus and the counts of sent events. It takes events only while a
//! connection is up and fewer than `in_flight` events are unconfirmed. All other events wait in the subscription's
//! bounded queue, which drops and counts the newest event when it is full. The exporter has at most one round trip
//! pending at any time. When the round trip returns, all events sent before it are confirmed.

mod progress;

use std::sync::Arc;

use sharing_bus::{BusReceiver, Delivery, EventFilter, Payload};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use progress::Progress;

use crate::codec::Codec;
use crate::connection::round_trip::{ConnectionLost, RoundTrips};
use crate::connection::{Connection, Phase};
use crate::runtime::panic;
use crate::stats::Counters;
use crate::wire::headers::{EventHeaders, Numbers, Source, wire_len};
use crate::wire::subject::{Class, Realm, subject};

/// Maximum number of events taken from the queue at once.
const BATCH: usize = 64;

pub(crate) struct Exporter<E: Payload, C> {
    pub(crate) receiver: BusReceiver<E>,
    pub(crate) codec: Arc<C>,
    pub(crate) realm: Realm,
    pub(crate) essential: EventFilter<E>,
    pub(crate) source: Source,
    pub(crate) connection: Connection,
    pub(crate) round_trips: RoundTrips,
    pub(crate) counters: Arc<Counters>,
    pub(crate) in_flight: usize,
    pub(crate) progress: Progress,
}

impl<E: Payload, C: Codec<E>> Exporter<E, C> {
    /// Exports until the subscription has ended and every event is settled, or until the client has given up.
    pub(crate) async fn run(mut self, mut closing: watch::Receiver<bool>) {
        let mut connection = self.connection.clone();
        let mut batch = Vec::with_capacity(BATCH);
        let mut trip: Option<PendingTrip> = None;
        let mut open = true;
        loop {
            self.check_connection();
            if !open && self.progress.unsettled() == 0 {
                break;
            }
            if trip.is_none() && self.progress.unsettled() > 0 {
                trip = Some(PendingTrip::start(&self.round_trips, self.progress.sent));
            }
            let window = self.in_flight.saturating_sub(self.progress.unsettled());
            let may_send = open && window > 0 && self.connection.is_connected();
            tokio::select! {
                biased;
                (outcome, sent) = PendingTrip::end(&mut trip) => self.settle(outcome, sent),
                closed = closing.changed(), if open && !self.receiver.is_closed() => {
                    // The bridge's main task has ended, so no caller waits for the queued events.
                    if closed.is_err() {
                        break;
                    }
                    self.receiver.close();
                }
                taken = self.receiver.recv_many_async(&mut batch, window.min(BATCH)), if may_send => {
                    open = taken > 0;
                    self.counters.taken.add(taken as u64);
                    for delivery in batch.drain(..) {
                        self.export(&delivery).await;
                    }
                }
                phase = connection.changed() => {
                    if phase == Phase::Closed {
                        break;
                    }
                }
            }
        }
    }

    /// Detects a new connection. Unconfirmed events of the previous connection may be lost.
    fn check_connection(&mut self) {
        let connect_count = self.connection.connect_count();
        if connect_count != self.progress.connect_count {
            self.settle(Err(ConnectionLost), self.progress.sent);
            self.progress.connect_count = connect_count;
            self.progress.max_payload = self.connection.client.server_info().max_payload;
        }
    }

    fn settle(&mut self, outcome: Result<(), ConnectionLost>, sent: u64) {
        let same = self.connection.connect_count() == self.progress.connect_count;
        if outcome.is_ok() && same {
            let confirmed = sent.saturating_sub(self.progress.settled);
            self.counters.acked.add(confirmed);
            self.progress.settled += confirmed;
        } else {
            self.counters.lost_on_reconnect.add(self.progress.unsettled() as u64);
            self.progress.settled = self.progress.sent;
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
        let event_headers = EventHeaders {
            source: self.source,
            numbers: Numbers {
                sequence: self.progress.sequence,
                subject_sequence: self.progress.next_in_subject(&subject.text),
                lost: self.progress.lost,
            },
            event_origin: delivery.origin,
        };
        let Some(Ok(payload)) = panic::catch(|| self.codec.encode(&delivery.event)) else {
            self.counters.encode_failures.add(1);
            return;
        };
        let mut headers = event_headers.write();
        for (name, value) in subject.headers {
            headers.insert(name, value);
        }
        if wire_len(&headers) + payload.len() > self.progress.max_payload {
            self.counters.refused_too_large.add(1);
            return;
        }
        let published = self
            .connection
            .client
            .publish_with_headers(subject.text, headers, payload.into());
        if published.await.is_ok() {
            self.counters.exported.add(1);
            self.progress.sent += 1;
        } else {
            // The client has given up. The next change of phase ends the loop.
            self.counters.unsendable.add(1);
        }
    }
}

impl<E: Payload, C> Drop for Exporter<E, C> {
    /// Stores the final counts of the queue, which no longer exists when they are read.
    fn drop(&mut self) {
        self.counters.lagged.raise(self.receiver.lagged());
        self.counters.abandoned.add(self.receiver.len() as u64);
        self.counters.ended.raise(1);
    }
}

/// A pending round trip, and the number of events sent before it started.
struct PendingTrip {
    task: JoinHandle<Result<(), ConnectionLost>>,
    sent: u64,
}

impl PendingTrip {
    fn start(round_trips: &RoundTrips, sent: u64) -> PendingTrip {
        let round_trips = round_trips.clone();
        let task = tokio::spawn(async move { round_trips.round_trip().await });
        PendingTrip { task, sent }
    }

    /// Waits for the pending round trip and removes it. Never returns if no round trip is pending. Cancel safe.
    async fn end(trip: &mut Option<PendingTrip>) -> (Result<(), ConnectionLost>, u64) {
        let Some(PendingTrip { task, sent }) = trip else {
            return std::future::pending().await;
        };
        let outcome = task.await.unwrap_or(Err(ConnectionLost));
        let sent = *sent;
        *trip = None;
        (outcome, sent)
    }
}

//! The counts of a bridge: shared counters, and the snapshot that [`NatsBridge::stats`](crate::NatsBridge::stats)
//! returns.
//!
//! The bridge's thread and the dispatch thread write the counters. Reads of different counters are not ordered.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{ClientError, Event};

macro_rules! counters {
    ($( $(#[$doc:meta])* $name:ident, )+) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $( pub(crate) $name: Counter, )+
            /// Events taken from the bridge's queue.
            pub(crate) taken: Counter,
            /// Events in the bridge's queue when the bridge ended.
            pub(crate) abandoned: Counter,
            /// 1 once the bridge has ended.
            pub(crate) ended: Counter,
            /// Events that the client did not accept because it had given up.
            pub(crate) unsendable: Counter,
        }

        /// The counts of a bridge, returned by [`NatsBridge::stats`](crate::NatsBridge::stats).
        ///
        /// All counts except `queued` start at zero and never decrease. Each may be out of date immediately, and
        /// different counts are not read at the same moment.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct NatsStats {
            $( $(#[$doc])* pub $name: u64, )+
            /// Events that wait in this process and have not been sent.
            pub queued: u64,
        }

        impl Counters {
            /// Returns a snapshot. `in_queue` and `lagged` are the current counts of the bridge's queue. They are
            /// ignored once the bridge has ended.
            pub(crate) fn read(&self, in_queue: u64, lagged: u64) -> NatsStats {
                let mut stats = NatsStats { $( $name: self.$name.get(), )+ queued: 0 };
                let ended = self.ended.get() > 0;
                let done = stats.exported + stats.refused_too_large + stats.encode_failures;
                stats.queued = if ended { self.abandoned.get() } else { in_queue };
                stats.queued += self.taken.get().saturating_sub(done);
                stats.lagged = if ended { self.lagged.get() } else { stats.lagged.max(lagged) };
                stats
            }

            /// Counts an event reported by the client.
            pub(crate) fn count_event(&self, event: &Event) {
                match event {
                    Event::Connected => self.connects.add(1),
                    Event::ClientError(ClientError::Other(_)) => self.connect_failures.add(1),
                    Event::ServerError(_) => self.server_errors.add(1),
                    Event::SlowConsumer(_) => self.slow_consumer.add(1),
                    _ => {}
                }
            }
        }
    };
}

counters! {
    /// Events passed to the client. This does not prove that a server received them. See [`acked`](Self::acked).
    exported,
    /// Events that the server has read. The proof is a later message that returned from the server over the same
    /// connection. If the server does not permit this client to publish, it reads the events and then refuses them. See
    /// [`server_errors`](Self::server_errors).
    acked,
    /// Events that were sent but not confirmed when their connection broke. This is an upper limit of the loss: some of
    /// these events may have reached the server, or the client may have sent them after the reconnect.
    lost_on_reconnect,
    /// Events dropped because the bridge's queue was full.
    lagged,
    /// Events not sent because they exceed the server's `max_payload`.
    refused_too_large,
    /// Events not sent because the codec failed or panicked.
    encode_failures,
    /// Received events that matched an interest and were published on the local bus. The bus refuses such an event only
    /// after it is closed.
    imported,
    /// Messages dropped because they had been received before.
    duplicates,
    /// Missing messages, detected by the numbers within the subscribed subjects.
    gaps,
    /// Events that the bridges of other nodes lost before they could send them, as reported by these bridges.
    lost_at_source,
    /// Messages that no bridge wrote: the subject or a header is invalid, or the codec cannot decode the payload.
    malformed,
    /// Messages that no filter matched. The server delivered them because a subject does not contain everything that a
    /// filter can test.
    filtered_locally,
    /// Messages that this node sent and received itself.
    own,
    /// Successful connects, including the first.
    connects,
    /// Failed attempts to connect. Each attempt tries all servers. Possible reasons are an unreachable server, an
    /// untrusted certificate on either side, and refused credentials. The client traces the reason (target
    /// `async_nats::connector`, level `debug`). If the server does not trust this node's certificate, the reason is in
    /// the server's log.
    connect_failures,
    /// Errors reported by the server, such as a subject that this client may not use.
    server_errors,
    /// Number of times that the client dropped messages because this node processed them too slowly. The dropped
    /// messages count as [`gaps`](Self::gaps).
    slow_consumer,
    /// Writes of this node's sessions to the bucket, including renewals that keep them from expiring.
    bindings_put,
    /// Sessions deleted from the bucket because they ended or were forgotten on this node.
    bindings_deleted,
    /// Sessions of other nodes bound on the local bus.
    bindings_applied,
    /// Sessions of other nodes forgotten on the local bus.
    bindings_forgotten,
    /// Failed requests to the bucket. The bridge repeats such a request.
    binding_failures,
}

/// A counter that never decreases.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        // Ordering: Relaxed, a statistic that publishes nothing.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// Raises the count to `to` if it is lower.
    pub(crate) fn raise(&self, to: u64) {
        // Ordering: Relaxed, a statistic that publishes nothing.
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // Ordering: Relaxed, a statistic that publishes nothing.
        self.0.load(Ordering::Relaxed)
    }
}

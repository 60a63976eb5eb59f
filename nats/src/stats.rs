//! What the bridge counts: shared counters, and the snapshot that [`NatsBridge::stats`](crate::NatsBridge::stats) makes.
//!
//! The only room of this crate that names atomics. Every counter is written by the bridge's thread or by the dispatch
//! thread and read without any order between them.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{ClientError, Event};

macro_rules! counters {
    ($( $(#[$doc:meta])* $name:ident, )+) => {
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $( pub(crate) $name: Counter, )+
            /// Events taken out of the bridge's own queue.
            pub(crate) taken: Counter,
            /// Events in that queue when the bridge ended,
            pub(crate) abandoned: Counter,
            /// which it has if this is 1.
            pub(crate) ended: Counter,
            /// Events that a client which has given up did not take.
            pub(crate) unsendable: Counter,
        }

        /// What a bridge has done so far; made by [`NatsBridge::stats`](crate::NatsBridge::stats).
        ///
        /// Counts start with the bridge and never go down. Each may be out of date as soon as it is there; between two of
        /// them there is no order.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct NatsStats {
            $( $(#[$doc])* pub $name: u64, )+
            /// Events that wait here, not yet handed to the client.
            pub queued: u64,
        }

        impl Counters {
            /// With so many events in the bridge's own queue, and so many that it has lost, while it is there.
            pub(crate) fn read(&self, in_queue: u64, lagged: u64) -> NatsStats {
                let mut stats = NatsStats { $( $name: self.$name.get(), )+ queued: 0 };
                let ended = self.ended.get() > 0;
                let done = stats.exported + stats.refused_too_large + stats.encode_failures;
                stats.queued = if ended { self.abandoned.get() } else { in_queue };
                stats.queued += self.taken.get().saturating_sub(done);
                stats.lagged = if ended { self.lagged.get() } else { stats.lagged.max(lagged) };
                stats
            }

            /// Counts what the client tells of itself.
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
    /// Events handed to the client. That is no proof that a server got them: see [`acked`](Self::acked).
    exported,
    /// Events that the server has read: handed ended before something that came back from it ended the same connection. Where
    /// the server forbids this client to publish, it reads and refuses: see [`server_errors`](Self::server_errors).
    acked,
    /// Events handed ended and not confirmed when their connection broke. So many are lost at most: some of them may have
    /// reached the server, or have waited in the client and been sent after.
    lost_on_reconnect,
    /// Events that the bridge's own queue had no room for.
    lagged,
    /// Events beyond the server's `max_payload`, not sent.
    refused_too_large,
    /// Events that the codec refused to encode, or panicked ended; not sent.
    encode_failures,
    /// Events received, wanted and handed to the local bus, which refuses them only once it is closed.
    imported,
    /// Messages that had been here before.
    duplicates,
    /// Messages that are missing, by the counts of the subjects that this node listens to.
    gaps,
    /// Events that the bridges of other nodes lost before they could send them, as far as those told.
    lost_at_source,
    /// Messages that no bridge wrote: an illegal subject or headers, or a payload that the codec cannot read.
    malformed,
    /// Messages that the server had to deliver, for the subject says too little, and that no filter wanted.
    filtered_locally,
    /// Messages of this very node that came back to it.
    own,
    /// Connections made, the first included.
    connects,
    /// Attempts to connect that failed, each with all servers: nobody there, a certificate that one side does not
    /// trust, refused credentials. The client's trace tells why (target `async_nats::connector`, level `debug`); the
    /// server's log, if it is the server that does not trust.
    connect_failures,
    /// Errors that the server told the client of, such as a subject that it may not use.
    server_errors,
    /// Times that the client dropped messages, for this node took them too slowly; those messages show up as
    /// [`gaps`](Self::gaps).
    slow_consumer,
    /// Sessions of this node written to the bucket; each again from time to time, so that it does not expire.
    bindings_put,
    /// Sessions deleted from the bucket, for they ended or were forgotten on this node.
    bindings_deleted,
    /// Sessions of other nodes bound on the local bus.
    bindings_applied,
    /// Sessions of other nodes forgotten on the local bus.
    bindings_forgotten,
    /// Requests to the bucket that failed and are tried again.
    binding_failures,
}

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        // Ordering: Relaxed, a statistic that publishes nothing.
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn raise(&self, to: u64) {
        // Ordering: Relaxed, likewise.
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        // Ordering: Relaxed, a statistic.
        self.0.load(Ordering::Relaxed)
    }
}

//! The bridge itself: [`NatsBridge`].
//!
//! A bridge has a thread that runs the client and the bridge's tasks (`bridge/thread.rs`). The handle talks to it
//! through channels. Whatever the network does, it is that thread that waits: publishers and subscribers of the bus
//! never do.

mod builder;
mod thread;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sharing_bus::{EventFilter, EventKind, Payload, SharingBus, SubscriberId};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

pub use builder::NatsBridgeBuilder;

use crate::codec::Json;
use crate::connection::Phase;
use crate::error::ShutdownError;
use crate::import::command::{Command, CommandSender};
use crate::import::gaps::Gaps;
use crate::options::NatsOptions;
use crate::remote::Remote;
use crate::runtime::latch::Latch;
use crate::sessions::SharedRegistrations;
use crate::stats::{Counters, NatsStats};

/// How much longer than the deadline a shutdown waits for the thread, which code of the host's may hold up.
const GRACE: Duration = Duration::from_millis(500);

/// A bridge between a bus and a NATS server; see the [crate's documentation](crate).
///
/// It keeps the bus open until it is shut down or dropped. Dropping it ends it at once; [`shutdown`](Self::shutdown) sends
/// first what waits.
pub struct NatsBridge<E: Payload> {
    bus: SharingBus<E>,
    subscription: SubscriberId,
    node: Uuid,
    counters: Arc<Counters>,
    phase: watch::Receiver<Phase>,
    gaps: Arc<Gaps<E>>,
    commands: CommandSender<E>,
    registrations: Arc<SharedRegistrations>,
    next_interest: Mutex<u64>,
    /// There until the bridge is told to end.
    end: Option<oneshot::Sender<Duration>>,
    ended: Arc<Latch>,
}

impl<E: Payload> NatsBridge<E> {
    /// A bridge for this bus, to be set up.
    pub fn builder(bus: &SharingBus<E>, options: NatsOptions) -> NatsBridgeBuilder<E> {
        NatsBridgeBuilder {
            bus: bus.clone(),
            options,
            export: EventFilter::All,
            essential: EventFilter::not(EventFilter::Kind(EventKind::Progress)),
            codec: Json,
        }
    }

    /// Has the events of other nodes that match `filter` published on the local bus, for as long as what this returns is
    /// kept. Never waits: [`Remote::wait_ready`] does, until the server knows.
    ///
    /// The server sends this node only what the filter's equalities ask for (scroll, connector, session, kind, and what
    /// `any` and `all` make of them); the rest of it is evaluated here. What it says of origins is of the event's own, on its
    /// node; on the local bus its origin is [`Remote`](sharing_bus::EventOrigin::Remote).
    pub fn subscribe_remote(&self, filter: EventFilter<E>) -> Remote<E> {
        let id = {
            let mut next = self.next_interest.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next
        };
        let ready = Arc::new(Latch::default());
        // The send fails only if the bridge's thread has panicked. Then the interest never becomes ready.
        let _ = self.commands.send(Command::AddInterest {
            id,
            filter: filter.clone(),
            ready: Arc::clone(&ready),
        });
        Remote {
            id,
            filter,
            bus: self.bus.clone(),
            commands: self.commands.clone(),
            gaps: Arc::clone(&self.gaps),
            ready,
        }
    }

    /// Forgets a session's binding here and on every other node that shares the bucket of
    /// [`session_bucket`](NatsOptions::session_bucket), whichever registered it, and returns it. Here it takes effect at once,
    /// as [`SharingBus::forget_session`] does, elsewhere once it has travelled. Without a bucket it is forgotten here alone.
    pub fn forget_session(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let scroll_id = self.bus.forget_session(connector_id, native_session_id);
        self.registrations.forget(connector_id, native_session_id);
        scroll_id
    }

    /// This node's id.
    pub fn node(&self) -> Uuid {
        self.node
    }

    /// Whether a connection is up, as far as is known. May be stale at once.
    pub fn is_connected(&self) -> bool {
        *self.phase.borrow() == Phase::Connected
    }

    /// What the bridge has done so far. Costs a walk over the bus's subscribers.
    pub fn stats(&self) -> NatsStats {
        let stats = self.bus.stats();
        let own = stats.subscribers.iter().find(|own| own.id == self.subscription);
        let (queued, lagged) = own.map_or((0, 0), |own| (own.queued, own.lagged));
        self.counters.read(queued, lagged)
    }

    /// Sends what the bus had accepted before this call, waits until the server has confirmed all, and ends the bridge; gives
    /// up when `deadline` has passed. Blocks the thread for little longer than that at most.
    ///
    /// # Errors
    ///
    /// [`ShutdownError`] if anything was left.
    pub fn shutdown(mut self, deadline: Duration) -> Result<NatsStats, ShutdownError> {
        self.finish(deadline);
        let stats = self.stats();
        let settled = stats.acked + stats.lost_on_reconnect;
        let left = stats.queued + stats.exported.saturating_sub(settled);
        if left > 0 {
            let stats = Box::new(stats);
            return Err(ShutdownError { stats, left });
        }
        Ok(stats)
    }

    fn finish(&mut self, deadline: Duration) {
        let Some(end) = self.end.take() else { return };
        if end.send(deadline).is_ok() {
            // Either it ends or code of the host's holds it up, which is not waited for.
            self.ended.wait(deadline.saturating_add(GRACE));
        }
    }
}

impl<E: Payload> Drop for NatsBridge<E> {
    fn drop(&mut self) {
        self.finish(Duration::ZERO);
    }
}

impl<E: Payload> fmt::Debug for NatsBridge<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBridge")
            .field("node", &self.node)
            .field("phase", &*self.phase.borrow())
            .finish_non_exhaustive()
    }
}

//! The bridge between a bus and a server: [`NatsBridge`].
//!
//! 1. `builder.rs`: settings and start of a bridge.
//! 2. `thread.rs`: the bridge's thread, which runs the client and the bridge's tasks.
//!
//! The handle sends requests to the thread through channels. Only this thread waits for the network. Publishers and
//! subscribers of the bus never do.

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
use crate::remote::{Remote, local_filter};
use crate::runtime::latch::Latch;
use crate::sessions::SharedRegistrations;
use crate::stats::{Counters, NatsStats};

/// Extra time that a shutdown waits for the thread after the deadline, because code of the host may delay the thread.
const GRACE: Duration = Duration::from_millis(500);

/// A bridge between a bus and a NATS server. See the [crate's documentation](crate).
///
/// The bridge keeps the bus open until it is shut down or dropped. Dropping the bridge ends it at once and discards
/// queued events. [`shutdown`](Self::shutdown) sends the queued events first.
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
    /// Signals the thread to end. `None` once the signal is sent.
    end: Option<oneshot::Sender<Duration>>,
    ended: Arc<Latch>,
}

impl<E: Payload> NatsBridge<E> {
    /// Returns a builder for a bridge of this bus.
    pub fn builder(bus: &SharingBus<E>, options: NatsOptions) -> NatsBridgeBuilder<E> {
        NatsBridgeBuilder {
            bus: bus.clone(),
            options,
            export: EventFilter::All,
            essential: EventFilter::not(EventFilter::Kind(EventKind::Progress)),
            codec: Json,
        }
    }

    /// Publishes the events of other nodes that match `filter` on the local bus, until the returned value is dropped.
    /// Never waits for the server. Call [`Remote::wait_ready`] to wait until the server has the subscriptions.
    ///
    /// The server evaluates the filter's conditions on scroll, connector, session and kind, including their
    /// combinations by `any` and `all`. The bridge evaluates the rest. A condition on the origin applies to the
    /// event's origin on its own node. On the local bus, the origin is always
    /// [`Remote`](sharing_bus::EventOrigin::Remote).
    ///
    /// # Panics
    ///
    /// If the filter is [nested](EventFilter#nesting) too deeply. The bridge adds an `all` around the filter.
    #[track_caller]
    pub fn subscribe_remote(&self, filter: EventFilter<E>) -> Remote<E> {
        let local = local_filter(&self.bus, &filter);
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
            local,
            bus: self.bus.clone(),
            commands: self.commands.clone(),
            gaps: Arc::clone(&self.gaps),
            ready,
        }
    }

    /// Forgets a session's binding on this node and on every node that shares the
    /// [`session_bucket`](NatsOptions::session_bucket). Returns the scroll that the session was bound to on this node.
    /// It does not matter which node registered the session. On this node the call takes effect at once, as
    /// [`SharingBus::forget_session`] does. On other nodes it takes effect when the change arrives there. Without a
    /// bucket, only this node forgets the session.
    pub fn forget_session(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        let scroll_id = self.bus.forget_session(connector_id, native_session_id);
        self.registrations.forget(connector_id, native_session_id);
        scroll_id
    }

    /// Returns this node's id.
    pub fn node(&self) -> Uuid {
        self.node
    }

    /// Returns whether the client is connected to a server. The result may be out of date immediately.
    pub fn is_connected(&self) -> bool {
        *self.phase.borrow() == Phase::Connected
    }

    /// Returns the bridge's counts. The call iterates over all subscribers of the bus.
    pub fn stats(&self) -> NatsStats {
        let stats = self.bus.stats();
        let own = stats.subscribers.iter().find(|own| own.id == self.subscription);
        let (queued, lagged) = own.map_or((0, 0), |own| (own.queued, own.lagged));
        self.counters.read(queued, lagged)
    }

    /// Sends all events that the bus accepted before this call, waits until the server has confirmed them, and ends the
    /// bridge. Gives up when `deadline` has passed. Blocks the calling thread for at most half a second longer than
    /// that.
    ///
    /// # Errors
    ///
    /// Returns [`ShutdownError`] if any event was not confirmed.
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
            // The thread ends within this time unless code of the host delays it. The shutdown does not wait any longer
            // for such code.
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

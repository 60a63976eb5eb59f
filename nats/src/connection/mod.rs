//! The connection to a server: [`Connection`], the client and its current phase.
//!
//! 1. `round_trip.rs`: proof that the server has read the messages sent so far.
//!
//! The client reconnects by itself and reports each change through a callback. The callback stores the phase in a
//! watch channel. The client's count of connects identifies a connection: the client increments the count before it
//! sends anything over the new connection.

pub(crate) mod round_trip;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::StartError;
use crate::runtime::panic::{log_info, log_warning};

/// Time limit for a server's first answer.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// The state of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No attempt to connect has ended yet.
    Connecting,
    /// A connection is up.
    Connected,
    /// The client is reconnecting. The connection broke, or the last attempt failed for a reason that has no phase of
    /// its own.
    Disconnected,
    /// The client is reconnecting. The server refused its credentials.
    Refused,
    /// The client is reconnecting. Its own certificates, keys or roots cannot be used.
    Unusable,
    /// The client has given up.
    Closed,
}

/// The client and its current phase.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Connection {
    /// Starts the client, which keeps trying until it connects. Returns when a server has answered, when the first
    /// attempt has failed, or after [`START_TIMEOUT`]. An unreachable server is not an error, but refused credentials
    /// are. `name` identifies the connection in the log. `on_event` is called with each event of the client.
    ///
    /// Must be called within the runtime.
    pub(crate) async fn start(
        servers: Vec<ServerAddr>,
        options: ConnectOptions,
        name: &'static str,
        on_event: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Connection, StartError> {
        let (phase_sender, phase) = watch::channel(Phase::Connecting);
        let phase_sender = Arc::new(phase_sender);
        let options = options.retry_on_initial_connect().event_callback(move |event| {
            on_event(&event);
            handle_event(&phase_sender, name, &event);
            std::future::ready(())
        });
        let client = options.connect(servers).await;
        let client = client.map_err(|error| StartError::Client(error.kind().to_string()))?;
        let connection = Connection { client, phase };
        // After a timeout, the client keeps trying, so the start succeeds.
        match timeout(START_TIMEOUT, connection.clone().changed()).await {
            Ok(Phase::Refused) => Err(StartError::Unauthorized),
            Ok(Phase::Unusable) => Err(StartError::Client(ConnectErrorKind::Tls.to_string())),
            _ => Ok(connection),
        }
    }

    /// Returns whether a connection is up, as far as the client has detected.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Returns the number of connects so far, which identifies the current connection.
    pub(crate) fn connect_count(&self) -> u64 {
        // Ordering: Relaxed, because the client increments the count on this thread.
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Waits for the next phase. Never returns if the client has ended.
    pub(crate) async fn changed(&mut self) -> Phase {
        if self.phase.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.phase.borrow_and_update()
    }
}

/// Logs an event of the client and updates the phase. The server chooses parts of the text, so the text is escaped.
fn handle_event(phase_sender: &watch::Sender<Phase>, name: &str, event: &Event) {
    let phase = match event {
        Event::Connected => Phase::Connected,
        Event::Disconnected => Phase::Disconnected,
        Event::ClientError(ClientError::MaxReconnects) | Event::Closed => Phase::Closed,
        Event::ClientError(ClientError::Other(reason)) => failure_phase(reason),
        Event::ServerError(error) => {
            return log_warning!("NATS {name}, server: {}", error.to_string().escape_debug());
        }
        Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining => return,
    };
    let before = phase_sender.send_replace(phase);
    if before != phase {
        log_info!("NATS {name}: {phase:?} ({})", event.to_string().escape_debug());
    }
}

/// Returns the phase after a failed attempt. The client reports the reason only as text.
fn failure_phase(reason: &str) -> Phase {
    let is = |kind: ConnectErrorKind| kind.to_string() == reason;
    if is(ConnectErrorKind::AuthorizationViolation) || is(ConnectErrorKind::Authentication) {
        Phase::Refused
    } else if is(ConnectErrorKind::Tls) {
        Phase::Unusable
    } else {
        Phase::Disconnected
    }
}

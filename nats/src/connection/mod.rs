//! The connection: [`Connection`], the client with what it tells of itself.
//!
//! The client reconnects on its own and tells of it through one callback, which keeps the phase in a watch channel. Which
//! connection is meant is told by the client's own count of connects: it grows before anything is sent over the new one.

pub(crate) mod round_trip;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::error::StartError;
use crate::runtime::panic;

/// How long a start waits for the first word of a server.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// How far the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has not yet heard from any server.
    Connecting,
    Connected,
    /// It tries again; the last attempt failed for another reason than the next one, or the connection broke.
    Disconnected,
    /// It tries again; the server refused who it is.
    Refused,
    /// It tries again; its own certificates, keys or roots cannot be used.
    Unusable,
    /// It has given up.
    Closed,
}

#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Connection {
    /// Starts the client, which goes on trying until it connects; returns once a server has answered or the first
    /// attempt has failed, or after some seconds. It is an error if the server refuses who this is, and none if no
    /// server is there. `name` is whose connection it is, for the log, and `count` is shown what befalls it. Must be
    /// called within the runtime.
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
            note(&phase_sender, name, &event);
            std::future::ready(())
        });
        let client = options.connect(servers).await;
        let client = client.map_err(|error| StartError::Client(error.kind().to_string()))?;
        let connection = Connection { client, phase };
        // A time-out is no answer either way.
        match timeout(START_TIMEOUT, connection.clone().changed()).await {
            Ok(Phase::Refused) => Err(StartError::Unauthorized),
            Ok(Phase::Unusable) => Err(StartError::Client(ConnectErrorKind::Tls.to_string())),
            _ => Ok(connection),
        }
    }

    /// Whether a connection is up, as far as the client knows.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Which connection this is: how many there have been.
    pub(crate) fn connect_count(&self) -> u64 {
        // Ordering: Relaxed, for the client counts on this very thread.
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Waits for the next phase; forever once there is none.
    pub(crate) async fn changed(&mut self) -> Phase {
        if self.phase.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.phase.borrow_and_update()
    }
}

fn note(phase_sender: &watch::Sender<Phase>, name: &str, event: &Event) {
    let phase = match event {
        Event::Connected => Phase::Connected,
        Event::Disconnected => Phase::Disconnected,
        Event::ClientError(ClientError::MaxReconnects) | Event::Closed => Phase::Closed,
        Event::ClientError(ClientError::Other(reason)) => failure_phase(reason),
        Event::ServerError(error) => return panic::log_warning!("NATS {name}, server: {error}"),
        Event::SlowConsumer(_) | Event::LameDuckMode | Event::Draining => return,
    };
    let before = phase_sender.send_replace(phase);
    if before != phase {
        panic::log_info!("NATS {name}: {phase:?} ({event})");
    }
}

/// The client tells only the text of why it could not connect.
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

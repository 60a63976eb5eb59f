//! The connection: [`Link`], the client with what it tells of itself.
//!
//! The client reconnects on its own and tells of it through one callback, which keeps the phase in a watch channel. Which
//! connection is meant is told by the client's own count of connects: it grows before anything is sent over the new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerAddr};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::boundary;
use crate::error::StartError;
use crate::stats::Counters;

/// How long a start waits for the first word of a server.
const FIRST_WORD: Duration = Duration::from_secs(5);

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
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Link {
    /// Starts the client, which goes on trying until it connects. Must be called within the runtime.
    pub(crate) async fn start(
        servers: Vec<ServerAddr>,
        options: ConnectOptions,
        counters: Arc<Counters>,
    ) -> Result<Link, StartError> {
        let (tell, phase) = watch::channel(Phase::Connecting);
        let tell = Arc::new(tell);
        let options = options.retry_on_initial_connect().event_callback(move |event| {
            note(&tell, &counters, &event);
            std::future::ready(())
        });
        let client = options.connect(servers).await;
        let client = client.map_err(|error| StartError::Client(error.kind().to_string()))?;
        Ok(Link { client, phase })
    }

    /// Waits until a server has answered or the first attempt has failed. It is no error if no server is there: the client goes
    /// on trying. Nor is it if nothing is heard for some seconds.
    pub(crate) async fn first_word(&self) -> Result<(), StartError> {
        match timeout(FIRST_WORD, self.clone().changed()).await {
            Ok(Phase::Refused) => Err(StartError::Unauthorized),
            Ok(Phase::Unusable) => Err(StartError::Client(ConnectErrorKind::Tls.to_string())),
            _ => Ok(()),
        }
    }

    /// Whether a connection is up, as far as the client knows.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Which connection this is: how many there have been.
    pub(crate) fn connection(&self) -> u64 {
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

fn note(tell: &watch::Sender<Phase>, counters: &Counters, event: &Event) {
    let phase = match event {
        Event::Connected => {
            counters.connects.add(1);
            Phase::Connected
        }
        Event::Disconnected => Phase::Disconnected,
        Event::ClientError(ClientError::MaxReconnects) | Event::Closed => Phase::Closed,
        Event::ClientError(ClientError::Other(reason)) => {
            counters.connect_failures.add(1);
            failed(reason)
        }
        Event::ServerError(error) => {
            counters.server_errors.add(1);
            boundary::log_warning!("NATS server: {error}");
            return;
        }
        Event::SlowConsumer(_) => return counters.slow_consumer.add(1),
        Event::LameDuckMode | Event::Draining => return,
    };
    let before = tell.send_replace(phase);
    if before != phase {
        boundary::log_info!("NATS bridge: {phase:?} ({event})");
    }
}

/// The client tells only the text of why it could not connect.
fn failed(reason: &str) -> Phase {
    let is = |kind: ConnectErrorKind| kind.to_string() == reason;
    if is(ConnectErrorKind::AuthorizationViolation) || is(ConnectErrorKind::Authentication) {
        Phase::Refused
    } else if is(ConnectErrorKind::Tls) {
        Phase::Unusable
    } else {
        Phase::Disconnected
    }
}

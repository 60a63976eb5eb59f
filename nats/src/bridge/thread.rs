//! The bridge's thread, which runs the client and the tasks that use it: [`BridgeThread`].

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use sharing_bus::{BusReceiver, EventFilter, Payload, SharingBus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::codec::Codec;
use crate::connection::round_trip::RoundTrips;
use crate::connection::{Connection, Phase};
use crate::error::StartError;
use crate::export::{Exporter, Progress};
use crate::import::command::{Command, CommandSender};
use crate::import::gaps::Gaps;
use crate::import::{ImportState, Importer};
use crate::runtime::StartReport;
use crate::sessions::{SessionBucket, SharedRegistrations};
use crate::stats::Counters;
use crate::wire::headers::Source;
use crate::wire::subject::Realm;

/// The initial state of the bridge's thread.
pub(super) struct BridgeThread<E: Payload, C> {
    pub(super) bus: SharingBus<E>,
    pub(super) codec: Arc<C>,
    pub(super) realm: Realm,
    pub(super) source: Source,
    pub(super) counters: Arc<Counters>,
    pub(super) gaps: Arc<Gaps<E>>,
    pub(super) commands: CommandSender<E>,
    pub(super) registrations: Arc<SharedRegistrations>,
    /// The name of the session bucket, and the receiver of this node's session changes.
    pub(super) sessions: Option<(String, BusReceiver<E>)>,
    pub(super) servers: Vec<ServerAddr>,
}

pub(super) struct ExportSettings<E: Payload> {
    pub(super) receiver: BusReceiver<E>,
    pub(super) essential: EventFilter<E>,
    pub(super) in_flight: usize,
}

impl<E: Payload, C: Codec<E>> BridgeThread<E, C> {
    pub(super) async fn run(
        self,
        connect: ConnectOptions,
        export: ExportSettings<E>,
        command_receiver: mpsc::UnboundedReceiver<Command<E>>,
        started: StartReport<watch::Receiver<Phase>>,
        ending: oneshot::Receiver<Duration>,
    ) {
        let counters = Arc::clone(&self.counters);
        let connection = match Connection::start(self.servers, connect, "bridge", move |event| {
            counters.count_event(event)
        })
        .await
        {
            Ok(connection) => connection,
            Err(error) => return drop(started.send(Err(error))),
        };
        let Ok(round_trips) = RoundTrips::start(connection.clone()).await else {
            return drop(started.send(Err(StartError::Client("the client has given up".to_owned()))));
        };
        if let Some((bucket, changes)) = self.sessions {
            let counters = Arc::clone(&self.counters);
            SessionBucket::start(
                self.bus.clone(),
                connection.client.clone(),
                bucket,
                counters,
                self.registrations,
                changes,
            );
        }
        let (close, closing) = watch::channel(false);
        let exporter = Exporter {
            receiver: export.receiver,
            codec: Arc::clone(&self.codec),
            realm: self.realm.clone(),
            essential: export.essential,
            source: self.source,
            connection: connection.clone(),
            round_trips: round_trips.clone(),
            counters: Arc::clone(&self.counters),
            in_flight: export.in_flight,
            progress: Progress::default(),
        };
        let mut exporter = tokio::spawn(exporter.run(closing));
        let importer = Importer {
            bus: self.bus.clone(),
            codec: self.codec,
            realm: self.realm,
            source: self.source,
            connection: connection.clone(),
            round_trips,
            counters: self.counters,
            gaps: self.gaps,
            commands: self.commands,
            state: ImportState::new(),
        };
        tokio::spawn(importer.run(command_receiver));
        if started.send(Ok(connection.phase.clone())).is_err() {
            return;
        }
        // If the sender was dropped without a signal, the deadline is zero.
        let deadline = ending.await.unwrap_or(Duration::ZERO);
        let _ = timeout(deadline, async {
            self.bus.flush_async().await;
            close.send_replace(true);
            let _ = (&mut exporter).await;
        })
        .await;
    }
}

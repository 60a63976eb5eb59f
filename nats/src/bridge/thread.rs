//! What runs on the bridge's thread: the client and the tasks that share it, from the first word of the server to the
//! end.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{ConnectOptions, ServerAddr};
use sharing_bus::{BusReceiver, EventFilter, Payload, SharingBus};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::codec::Codec;
use crate::connection::round_trip::Echo;
use crate::connection::{Link, Phase};
use crate::error::StartError;
use crate::export::{Exporter, Progress};
use crate::import::command::{Command, CommandSender};
use crate::import::gaps::Gaps;
use crate::import::{Importer, Inside};
use crate::runtime::Tell;
use crate::sessions::{self, Bindings};
use crate::stats::Counters;
use crate::wire::headers::Source;
use crate::wire::subject::Realm;

/// What the bridge's thread begins with.
pub(super) struct Running<E: Payload, C> {
    pub(super) bus: SharingBus<E>,
    pub(super) codec: Arc<C>,
    pub(super) realm: Realm,
    pub(super) source: Source,
    pub(super) counters: Arc<Counters>,
    pub(super) gaps: Arc<Gaps<E>>,
    pub(super) commands: CommandSender<E>,
    pub(super) book: Arc<sessions::Shared>,
    /// The bucket, and what this node's sessions do.
    pub(super) sessions: Option<(String, BusReceiver<E>)>,
    pub(super) servers: Vec<ServerAddr>,
}

pub(super) struct Exporting<E: Payload> {
    pub(super) receiver: BusReceiver<E>,
    pub(super) essential: EventFilter<E>,
    pub(super) in_flight: usize,
}

impl<E: Payload, C: Codec<E>> Running<E, C> {
    pub(super) async fn run(
        self,
        connect: ConnectOptions,
        exporting: Exporting<E>,
        asked: mpsc::UnboundedReceiver<Command<E>>,
        tell: Tell<watch::Receiver<Phase>>,
        ending: oneshot::Receiver<Duration>,
    ) {
        let counters = Arc::clone(&self.counters);
        let link = match Link::start(self.servers, connect, "bridge", move |event| counters.heed(event)).await {
            Ok(link) => link,
            Err(error) => return drop(tell.send(Err(error))),
        };
        let Ok(echo) = Echo::start(link.clone()).await else {
            return drop(tell.send(Err(StartError::Client("it has given up".to_owned()))));
        };
        if let Some((bucket, changes)) = self.sessions {
            let counters = Arc::clone(&self.counters);
            Bindings::start(
                self.bus.clone(),
                link.client.clone(),
                bucket,
                counters,
                self.book,
                changes,
            );
        }
        let (close, closing) = watch::channel(false);
        let exporter = Exporter {
            receiver: exporting.receiver,
            codec: Arc::clone(&self.codec),
            realm: self.realm.clone(),
            essential: exporting.essential,
            source: self.source,
            link: link.clone(),
            echo: echo.clone(),
            counters: Arc::clone(&self.counters),
            in_flight: exporting.in_flight,
            progress: Progress::default(),
        };
        let mut exporter = tokio::spawn(exporter.run(closing));
        let importer = Importer {
            bus: self.bus.clone(),
            codec: self.codec,
            realm: self.realm,
            source: self.source,
            link: link.clone(),
            echo,
            counters: self.counters,
            gaps: self.gaps,
            commands: self.commands,
            state: Inside::new(),
        };
        tokio::spawn(importer.run(asked));
        if tell.send(Ok(link.phase.clone())).is_err() {
            return;
        }
        // A handle that is gone without a word has no deadline left.
        let deadline = ending.await.unwrap_or(Duration::ZERO);
        let _ = timeout(deadline, async {
            self.bus.flush_async().await;
            close.send_replace(true);
            let _ = (&mut exporter).await;
        })
        .await;
    }
}

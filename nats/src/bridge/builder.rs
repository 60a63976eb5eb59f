//! Settings and start of a bridge: [`NatsBridgeBuilder`].

use std::fmt;
use std::sync::{Arc, Mutex};

use sharing_bus::{EventFilter, EventOrigin, Payload, SharingBus};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::NatsBridge;
use super::thread::{BridgeThread, ExportSettings};
use crate::codec::{Codec, Json};
use crate::error::StartError;
use crate::import::gaps::Gaps;
use crate::options::{NatsOptions, parse_servers};
use crate::runtime;
use crate::runtime::latch::Latch;
use crate::sessions::{self, SharedRegistrations};
use crate::stats::Counters;
use crate::wire::headers::Source;
use crate::wire::subject::Realm;

const THREAD_NAME: &str = "sharing-bus-nats";

/// The settings of a bridge. Created by [`NatsBridge::builder`].
#[must_use = "a bridge starts only when `start` is called"]
pub struct NatsBridgeBuilder<E: Payload, C = Json> {
    pub(super) bus: SharingBus<E>,
    pub(super) options: NatsOptions,
    pub(super) export: EventFilter<E>,
    pub(super) essential: EventFilter<E>,
    pub(super) codec: C,
}

impl<E: Payload, C> NatsBridgeBuilder<E, C> {
    /// Sets which events of this bus are exported. The default is all events. Events imported from other nodes are
    /// never exported.
    pub fn export(mut self, filter: EventFilter<E>) -> Self {
        self.export = filter;
        self
    }

    /// Sets which exported events are essential. The class is part of an event's subject, so that a stream on the
    /// server can store only essential events. The default is all kinds except `Progress`.
    pub fn essential(mut self, filter: EventFilter<E>) -> Self {
        self.essential = filter;
        self
    }

    /// Sets how payloads are encoded. The default is JSON.
    pub fn codec<D: Codec<E>>(self, codec: D) -> NatsBridgeBuilder<E, D> {
        NatsBridgeBuilder {
            bus: self.bus,
            options: self.options,
            export: self.export,
            essential: self.essential,
            codec,
        }
    }

    /// Starts the bridge. Every event published after this call returns is exported.
    ///
    /// Blocks the calling thread until a server has answered or the first attempt to connect has failed, for at most
    /// five seconds. An unreachable server is not an error: the bridge keeps trying, and events wait in its queue.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    ///
    /// # Panics
    ///
    /// If the filter of exported events is [nested](EventFilter#nesting) too deeply. The bridge adds an `all` around it.
    #[track_caller]
    pub fn start(self) -> Result<NatsBridge<E>, StartError>
    where
        C: Codec<E>,
    {
        let NatsBridgeBuilder {
            bus,
            options,
            export,
            essential,
            codec,
        } = self;
        let realm = options.validate()?;
        let bucket = options.session_bucket;
        if bucket.as_ref().is_some_and(|bucket| Realm::new(bucket).is_err()) {
            return Err(StartError::InvalidBucket);
        }
        let (servers, connect) = parse_servers(&options.servers, options.connect)?;
        let local = EventFilter::not(EventFilter::Origin(EventOrigin::Remote));
        let receiver = bus
            .subscription()
            .filter(EventFilter::all([export, local]))
            .queue_capacity(options.queue_capacity)
            .label("nats")
            .subscribe();
        let sessions = bucket.map(|bucket| (bucket, sessions::subscribe(&bus)));
        let subscription = receiver.id();
        let counters = Arc::new(Counters::default());
        let gaps = Arc::new(Gaps::new());
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (end, ending) = oneshot::channel();
        let ended = Arc::new(Latch::default());
        let source = Source {
            origin: options.node,
            epoch: Uuid::new_v4(),
        };
        let registrations = Arc::new(SharedRegistrations::new(source));
        let thread = BridgeThread {
            bus: bus.clone(),
            codec: Arc::new(codec),
            realm,
            source,
            counters: Arc::clone(&counters),
            gaps: Arc::clone(&gaps),
            commands: commands.clone(),
            registrations: Arc::clone(&registrations),
            sessions,
            servers,
        };
        let export = ExportSettings {
            receiver,
            essential,
            in_flight: options.in_flight,
        };
        let at_end = OpenAtEnd(Arc::clone(&ended));
        let run = move |started| thread.run(connect, export, command_receiver, started, ending);
        // The thread is not joined, because code of the host may delay its end.
        let (phase, _) = runtime::start(THREAD_NAME, at_end, run)?;
        Ok(NatsBridge {
            bus,
            subscription,
            node: options.node,
            counters,
            phase,
            gaps,
            commands,
            registrations,
            next_interest: Mutex::new(0),
            end: Some(end),
            ended,
        })
    }
}

impl<E: Payload, C> fmt::Debug for NatsBridgeBuilder<E, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsBridgeBuilder")
            .field("options", &self.options)
            .field("export", &self.export)
            .field("essential", &self.essential)
            .finish_non_exhaustive()
    }
}

/// Opens the latch when the thread ends, even if it panics.
struct OpenAtEnd(Arc<Latch>);

impl Drop for OpenAtEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

//! Bridges [`sharing_bus`] to [NATS](https://nats.io): publishes the events of one host's bus on the buses of other
//! hosts. Each host has its own filters, which the server evaluates as far as possible.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sharing_bus::{EventFilter, SharingBus};
//! use sharing_bus_nats::{NatsBridge, NatsOptions};
//!
//! let bus: SharingBus = SharingBus::new();
//! let options = NatsOptions::new("nats://127.0.0.1:4222").realm("staging").session_bucket("sessions");
//! let bridge = NatsBridge::builder(&bus, options).start()?;
//!
//! // Every subscriber of this bus gets these events. This receiver also reports losses on the way.
//! let remote = bridge.subscribe_remote(EventFilter::ConnectorId("claude".into()));
//! let mut view = remote.receiver(256);
//! while let Ok(delivery) = view.recv() {
//!     if delivery.missed() > 0 {
//!         println!("lost {}", delivery.missed());
//!     }
//!     println!("{:?}", delivery.event);
//! }
//! bridge.shutdown(Duration::from_secs(5))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! The client runs on the bridge's own thread, so neither the bus nor the host needs an async runtime. Publishers and
//! subscribers of the bus never wait for the network. The bridge is one more subscriber of the bus, labeled `nats`,
//! with a bounded queue. While the server is slow or unreachable, the queue fills up and then drops and counts the
//! newest events.
//!
//! Each event becomes a message on `sb1.<realm>.<class>.<connector>.<session>.<scroll>.<kind>`. Other nodes subscribe
//! to the narrowest set of such subjects that their filters need. They evaluate the filters again for each message,
//! and publish the event on their own bus with the origin [`Remote`](sharing_bus::EventOrigin::Remote). A remote event
//! is never exported again, so no event returns to its source, for any number of nodes.
//!
//! # Delivery guarantees
//!
//! NATS without JetStream delivers at most once. The client's publish and flush prove nothing, because both end in a
//! buffer. The bridge therefore sends a number to itself through the server and waits until the number returns. By
//! then, the server has read all events sent before the number, and these events count as [`acked`](NatsStats::acked).
//!
//! Events that were sent but not confirmed when the connection broke count as
//! [`lost_on_reconnect`](NatsStats::lost_on_reconnect). This count is an upper limit, because some of these events may
//! have arrived. The bridge does not send them again, because they could arrive twice or late. If some events must not
//! be lost, also store them in an [`Archive`].
//!
//! # Order, duplicates, gaps
//!
//! Each message carries its source (the node and the start of its bridge) and two numbers. The first number counts all
//! events that matched the source's export filter. It orders the messages of one source and identifies duplicates,
//! which are dropped. The second number counts the events of the same subject. It reveals missing messages even if
//! the receiving node subscribes to only some subjects. No clock is involved.
//!
//! A [`RemoteReceiver`] reports such a gap with the event that follows it ([`RemoteDelivery::missed`]). Other
//! subscribers of the bus get the same events. Their [`missed`](sharing_bus::Delivery::missed) counts only the events
//! that they lost themselves. [`NatsStats`] counts all losses on the way. A source cannot attribute losses of its own
//! queue to subjects, so these losses are reported separately ([`RemoteDelivery::missed_at_source`]).
//!
//! # Sessions
//!
//! An event is exported with its late-bound scroll. An exported registration binds its session on each node that
//! imports it, as if it had been published there.
//!
//! With a [`session_bucket`](NatsOptions::session_bucket), registrations are also stored in a JetStream key-value
//! bucket that every node follows. Even a node that joins late, or that imports no events, can therefore bind the
//! events that it publishes. The end of a session deletes its registration from the bucket. A session that a bus
//! [forgot](sharing_bus::SharingBus::forget_session), on request or for lack of space, is deleted within a few seconds.
//! The bucket trails the events slightly: if one session is registered twice at about the same time, a node may briefly
//! use the earlier binding. Bindings by [`bind_session`](sharing_bus::SharingBus::bind_session) are not exported.
//!
//! The sessions of a crashed node stay in the bucket for its `max_age`, which is a day by default. Nodes that join
//! after that do not receive them. Nodes that have already bound these sessions keep them like any other session: until
//! the session ends, is forgotten, or is evicted by the bus. The same applies to sessions of a bridge that was shut
//! down while its bus remains in use. It also applies to sessions that end while the bucket is unreachable and 65,536
//! other changes are waiting.
//!
//! # Secrets
//!
//! Credentials and TLS are settings of the client ([`NatsOptions::connect`]). [`start`](NatsBridgeBuilder::start) fails
//! if the server refuses the credentials. It does not fail if one side does not trust the other's certificate: the
//! bridge then behaves as if no server were reachable. See [`StartError`]. If all addresses begin with `tls://`, the
//! bridge sends no data until it trusts a server, and never sends plain text.
//!
//! This crate never shows or logs credentials. The client itself traces its login at level `trace`, including the
//! password. The bridge's thread withholds these traces from the tracing subscriber that was installed when the bridge
//! started. If the host has no subscriber and `tracing` falls back to the `log` crate, the host must exclude the target
//! `async_nats::connection` at that level.

// The files at the root, `bridge/` and `archive/` are the public API. An event leaves through `export/` and arrives
// through `import/`. `sessions/` follows the session bucket, `wire/` is the format of messages, `connection/` is the
// client, and `runtime/` is the thread that runs it.
mod archive;
mod bridge;
mod codec;
mod connection;
mod error;
mod export;
mod import;
mod options;
mod remote;
mod runtime;
mod sessions;
mod stats;
mod wire;

pub use archive::{Archive, ArchiveOptions, ArchiveReader, ArchiveStats, Archived};
pub use bridge::{NatsBridge, NatsBridgeBuilder};
pub use codec::{Codec, CodecError, Json};
pub use error::{ShutdownError, StartError};
pub use options::NatsOptions;
pub use remote::{Remote, RemoteDelivery, RemoteReceiver};
pub use stats::NatsStats;
pub use wire::subject::InvalidRealm;

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

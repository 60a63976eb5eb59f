//! Bridges [`sharing_bus`] to [NATS](https://nats.io): the events of one host's bus on the buses of others, each host with its
//! own filters, which are pushed down to the server.
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
//! // For whoever subscribes to this bus, and with what was lost on the way for this one.
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
//! The client runs on a thread of the bridge's own, so neither the bus nor the host needs a runtime, and nobody who publishes
//! or subscribes ever waits for the network. The bridge is one more subscriber of the bus, labelled `nats`, with a bounded
//! queue: while the server is slow or away, that queue fills, then loses the newest and counts it. Each event becomes a message
//! on `sb1.<realm>.<class>.<connector>.<session>.<scroll>.<kind>`. Other nodes subscribe to the narrowest set of such subjects
//! that their filters need, evaluate the filters again over what comes, and publish it on their own bus, marked with the
//! origin [`Remote`](sharing_bus::EventOrigin::Remote). What is so marked is never exported again, so there is no echo,
//! however many nodes there are.
//!
//! # What is certain, and what is not
//!
//! NATS without JetStream delivers at most once, and its client's publish and flush prove nothing: both end in a buffer. So
//! the bridge sends a number to itself through the server and waits for it to come back. What was handed over before has been
//! read by the server then, and counts as [`acked`](NatsStats::acked). What was handed over and not confirmed when its
//! connection broke counts as [`lost_on_reconnect`](NatsStats::lost_on_reconnect); it is so much at most, for some of it may
//! have arrived. It is not sent again: it could come twice, or late. What must not be lost goes into an [`Archive`] besides.
//!
//! # Order, duplicates, gaps
//!
//! Each message tells its source (the node, and which start of its bridge), its number among all that this source had to
//! export, and its number among those of its subject. By the first, messages of one source are taken in order, and what was
//! here before is dropped. By the second, this node sees what is missing although it asks for some subjects only. Nothing is
//! compared with a clock.
//!
//! A [`RemoteReceiver`] is told of such a gap with the event that follows it ([`RemoteDelivery::missed`]). Other subscribers of
//! the bus get the same events, and their [`missed`](sharing_bus::Delivery::missed) says what *they* lost, not what was lost on
//! the way; for that there are the counts in [`NatsStats`]. What the source's own queue lost it cannot tell by subject, so that
//! is told apart ([`RemoteDelivery::missed_at_source`]).
//!
//! # Sessions
//!
//! An event is exported with its late-bound scroll. Registrations that are exported bind on each node that imports them, as if
//! they had been published there. With a [`session_bucket`](NatsOptions::session_bucket) they are also kept in a JetStream
//! key-value bucket, which every node of that bucket follows: one that joins late, or asks for no events at all, binds what it
//! publishes. The bucket follows the ends of sessions, and within some seconds what a bus was told to
//! [forget](sharing_bus::SharingBus::forget_session) or had no room for. It trails the events a little: where one session is
//! registered twice at about the same time, a node may for a moment be at the former binding. Bindings by
//! [`bind_session`](sharing_bus::SharingBus::bind_session) do not travel.
//!
//! A node that crashes leaves its sessions in the bucket for a day, or for as long as the bucket's `max_age` says. Then
//! nodes that join do not learn of them. Those that have bound them keep them, as they keep any session: until somebody
//! forgets or ends it, or their bus has no more room. The same is so for sessions of a bridge that was shut down while
//! its bus lives on, and for those that end while the bucket cannot be reached and 65,536 others wait for it.
//!
//! # Secrets
//!
//! How to log in and TLS are the client's own business ([`NatsOptions::connect`]). Where the server refuses who this
//! is, a start fails; where one side does not trust the other's certificate, it does not, as if there were no server:
//! see [`StartError`]. Where all addresses begin with `tls://`, nothing goes out until a server is trusted, and nothing
//! in plain text.
//!
//! Nothing here shows or logs any of it. The client itself traces its log-in, password included, at the level `trace`;
//! the bridge's thread keeps that from the subscriber of tracing that was there when it started. A host without one
//! whose `tracing` falls back to the `log` crate has to leave out the target `async_nats::connection` at that level.

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

//! Bridges [`sharing_bus`] to [NATS](https://nats.io).

mod archive;
mod bindings;
mod book;
mod boundary;
mod bridge;
mod codec;
mod discreet;
mod echo;
mod error;
mod export;
mod headers;
mod import;
mod ledger;
mod link;
mod narrow;
mod options;
mod remote;
mod stats;
mod subject;

pub use archive::{Archive, ArchiveOptions, ArchiveReader, ArchiveStats, Archived};
pub use bridge::{NatsBridge, NatsBridgeBuilder};
pub use codec::{Codec, CodecError, Json};
pub use error::{ShutdownError, StartError};
pub use options::NatsOptions;
pub use remote::{Remote, RemoteDelivery, RemoteReceiver};
pub use stats::NatsStats;
pub use subject::InvalidRealm;

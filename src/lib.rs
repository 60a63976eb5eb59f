//! placeholder docs
mod boundary;
mod builder;
mod bus;
mod cover;
mod delivery;
mod dispatch;
mod error;
mod event;
mod filter;
mod ingress;
mod queue;
mod receiver;
mod routes;
mod sessions;
mod shared;
mod stats;
mod subscribers;
mod sync;
mod wait;

pub use builder::{BusBuilder, SubscriptionBuilder};
pub use bus::SharingBus;
pub use delivery::Delivery;
pub use error::{BuildError, PublishError, RecvError, RecvTimeoutError, TryRecvError};
pub use event::{
    BusEvent, Event, EventKind, EventOrigin, EventRouting, ParseNameError, Payload, SessionChange,
};
pub use filter::{CustomFilter, EventFilter};
pub use queue::Overflow;
pub use receiver::{BusReceiver, Iter, TryIter};
pub use stats::{BusStats, SubscriberStats};
pub use subscribers::SubscriberId;

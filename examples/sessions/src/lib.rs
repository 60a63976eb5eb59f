//! The event sources that the examples `mux` and `live-view` share.
//!
//! [`run_commands`] runs commands and publishes each line that they write. [`replay()`] publishes the records of a
//! recording. Both publish [`Record`]s and register the sessions that the records belong to.

mod commands;
mod record;
mod replay;

use std::fmt::Display;

pub use commands::run_commands;
pub use record::{Record, SESSION_ENDED, SESSION_REGISTERED, event_kind};
pub use replay::replay;

/// A bus of records.
pub type Bus = sharing_bus::SharingBus<Record>;

/// A filter of records.
pub type Filter = sharing_bus::EventFilter<Record>;

/// A callback for errors that do not stop the whole source. A source may call it from several threads.
pub type OnError<'a> = &'a (dyn Fn(&dyn Display) + Sync);

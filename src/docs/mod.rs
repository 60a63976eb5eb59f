//! Rooms of text: what is too long for the items that it is about. There is no code here but the examples, which are
//! compiled and run.
//!
//! - [`guarantees`]: the nine promises, each with its exact words and with what it does not say.
//! - [`internals`]: how an event travels, and who synchronizes with whom.
//! - [`patterns`]: an archiver, a view, a request with its answer, no loss at all, a shutdown, a test, a late joiner.
//! - [`performance`]: what costs what, and which setting changes it.
//! - [`limitations`]: what the bus does not do, and what to do instead.
//! - [`migrating`]: call by call from `tokio::sync::broadcast`, from `async-broadcast` and from a bus of one's own.

pub mod guarantees;
pub mod internals;
pub mod limitations;
pub mod migrating;
pub mod patterns;
pub mod performance;

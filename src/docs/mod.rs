//! Guides on topics that do not belong to a single item. These modules contain no code except examples, which are
//! compiled and run as tests.
//!
//! - [`guarantees`]: the exact wording of the nine guarantees, and their limits.
//! - [`internals`]: the path of an event through the bus, and the synchronization along it.
//! - [`patterns`]: an archiver, a view, a request with its answer, delivery without loss, a handle inside the bus, a
//!   shutdown, a test, a late joiner.
//! - [`performance`]: the cost of each operation, and the settings that change it.
//! - [`limitations`]: features that the bus does not have, and alternatives.
//! - [`migrating`]: call-by-call tables for `tokio::sync::broadcast`, `async-broadcast` and custom buses.

pub mod guarantees;
pub mod internals;
pub mod limitations;
pub mod migrating;
pub mod patterns;
pub mod performance;

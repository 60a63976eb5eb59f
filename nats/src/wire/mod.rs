//! The format of messages, as pure functions and plain values.
//!
//! 1. `subject.rs`: the subject of an event, and the event's routing read from a subject.
//! 2. `headers.rs`: the headers that identify a message.
//! 3. `filter_subjects.rs`: the subjects that a filter needs.

pub(crate) mod filter_subjects;
pub(crate) mod headers;
pub(crate) mod subject;

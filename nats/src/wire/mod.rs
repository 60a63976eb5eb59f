//! The format of messages: subjects, headers, and the subjects that a filter needs.

pub(crate) mod filter_subjects;
pub(crate) mod headers;
pub(crate) mod subject;

//! The rows of the tables in `docs::migrating`: each test runs one row beside the channel that it replaces.

mod common;
mod peers;

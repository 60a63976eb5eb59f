//! What the benches share: the peers behind one face, workloads, pacing, and the tables and charts.
//!
//! Not published. `benches/README.md` says what is compared, how, and why so.

pub mod contenders;
pub mod pace;
pub mod report;
pub mod workload;

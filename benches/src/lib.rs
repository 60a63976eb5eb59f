//! Code that the benches share: the compared channels behind one interface, workloads, pacing, tables and charts.
//!
//! This crate is not published. `benches/README.md` describes the contenders, the method and the results.

pub mod contenders;
pub mod pace;
pub mod report;
pub mod workload;

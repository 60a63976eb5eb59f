//! The façade: the only room that names the primitives the others are built on.
//!
//! Owns no state. Under a plain build it re-exports the real types: `std` atomics, arc-swap, crossbeam, dashmap,
//! parking_lot, rtrb, atomic-waker, parking. What has no behaviour to model is the same in both. Under `--cfg sharing_bus_loom` the same names are stand-ins built on
//! [loom](https://docs.rs/loom), so that every other room is model-checked as it ships. A stand-in promises no more
//! than the type it stands for; `contract.rs` holds both to one list of behaviours.

pub(crate) mod counted;
pub(crate) mod panic;
pub(crate) mod wait;

pub(crate) use std::sync::Arc;

pub(crate) use crossbeam_utils::CachePadded;

#[cfg(not(sharing_bus_loom))]
mod real;
#[cfg(not(sharing_bus_loom))]
pub(crate) use real::*;

#[cfg(sharing_bus_loom)]
mod model;
#[cfg(sharing_bus_loom)]
pub(crate) use model::*;

#[cfg(test)]
mod contract;

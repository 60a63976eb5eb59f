//! The primitives of the crate. All other modules import them from here and never name the crates behind them.
//!
//! 1. `real`: the primitives of a plain build.
//! 2. `model`: their stand-ins for loom.
//! 3. `contract`: tests of the behavior that both share.
//! 4. `wait`: a wait list, a latch, and a function that blocks a thread on a poll.
//! 5. `waker`: a cell for the waker of one receiver.
//! 6. `coop`: the budget of a task that never waits.
//! 7. `exclusive`: a value that only its owner uses.
//! 8. `counted`: shared values, whose reference counts are set for many handles at once; the only `unsafe` code.
//! 9. `panic`: the boundary around user code.
//!
//! The module owns no state. A plain build re-exports the real types: `std` atomics, arc-swap, crossbeam, dashmap,
//! parking_lot, rtrb, atomic-waker and parking. Under `--cfg sharing_bus_loom`, the same names are stand-ins built on
//! [loom](https://docs.rs/loom), so that all other modules are model-checked as they ship. `Arc` and `CachePadded` are
//! the same in both builds, because the models do not depend on how they work. A stand-in guarantees no more than the
//! type that it replaces. The tests in `contract.rs` run against both.

pub(crate) mod coop;
pub(crate) mod counted;
pub(crate) mod exclusive;
pub(crate) mod panic;
pub(crate) mod wait;
pub(crate) mod waker;

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

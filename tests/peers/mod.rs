//! One module for each table of `docs::migrating`. Each test is named after its row.

mod from_async_broadcast;
mod from_custom_bus;
mod from_tokio;

use std::thread;

use sharing_bus::{BusEvent, EventFilter, EventRouting, SharingBus};

use crate::common::*;

/// Subscribes with an exact start: no event that was accepted before is in the queue.
fn numbers_after_start(bus: &SharingBus<Number>) -> Vec<u64> {
    publish_numbers(bus, [1]);
    let mut receiver = bus.subscribe_all();
    publish_numbers(bus, [2]);
    numbers(&drain(&mut receiver))
}

/// Returns an event that carries a plain `u64`.
fn plain_number(n: u64) -> BusEvent<u64> {
    BusEvent::new(EventRouting::default(), n)
}

/// Returns a filter that matches no event.
fn nothing() -> EventFilter<Number> {
    EventFilter::any([])
}

/// Runs `work` in its own thread and returns its result.
fn in_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    thread::spawn(work).join().unwrap()
}

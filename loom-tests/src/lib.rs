//! Helpers for the [loom](https://docs.rs/loom) models of sharing-bus. The models are in `tests/` and run the shipped
//! sources.
//!
//! Without `--cfg sharing_bus_loom` this crate and its tests are empty. Each model states its preemption bound: the
//! maximum number of times that one execution preempts a thread that could continue. Switches at blocking calls do not
//! count.
#![cfg(sharing_bus_loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sharing_bus::{BusEvent, Event, EventKind, EventRouting, SharingBus};
use uuid::Uuid;

/// Runs a model with at most `preemptions` preemptions per execution, and prints the executions and the time.
///
/// The environment variable `LOOM_MAX_PREEMPTIONS` overrides the bound of every model.
pub fn model(name: &str, preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 20_000;
    let executions = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&executions);
    let started = Instant::now();
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let bound = builder
        .preemption_bound
        .map_or("none".into(), |bound| bound.to_string());
    println!(
        "{name}: bound {bound}, {} executions, {:.1} s",
        executions.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64()
    );
}

/// Builds a bus with the given capacities, which a model keeps small.
pub fn bus(ingress: usize, queue: usize) -> SharingBus {
    SharingBus::builder()
        .ingress_capacity(ingress)
        .queue_capacity(queue)
        .build()
        .expect("the dispatch thread must start")
}

/// Builds a bus with assisted dispatch.
///
/// A model has no clock. The first check for a long idle time succeeds, and then every second check does.
pub fn assisted_bus(ingress: usize, queue: usize) -> SharingBus {
    SharingBus::builder()
        .assisted_dispatch(true)
        .ingress_capacity(ingress)
        .queue_capacity(queue)
        .build()
        .expect("the dispatch thread must start")
}

/// Returns an event without a session.
pub fn event() -> BusEvent {
    BusEvent::new(EventRouting::default(), Event::Connected)
}

/// Returns an event of the session that all models use.
pub fn session_event(kind: EventKind) -> BusEvent {
    BusEvent::new(EventRouting::session("c", "s", kind), Event::Connected)
}

/// Returns an event that registers the session of [`session_event`].
pub fn registration(scroll_id: Uuid) -> BusEvent {
    BusEvent::new(
        EventRouting::session("c", "s", EventKind::SessionLifecycle),
        Event::SessionRegistered {
            connector_id: "c".into(),
            session_id: "s".into(),
            scroll_id: scroll_id.to_string(),
        },
    )
}

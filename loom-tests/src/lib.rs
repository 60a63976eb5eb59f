//! Models of the races in sharing-bus, run by [loom](https://docs.rs/loom) over the shipped sources; see `tests/`.
//!
//! Empty, and with empty tests, unless built with `--cfg sharing_bus_loom`. Each model states its preemption bound:
//! how many times, in one execution, a thread that could go on is made to wait for another. Switches at blocking calls
//! are always free.
#![cfg(sharing_bus_loom)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sharing_bus::{BusEvent, Event, EventKind, EventRouting, SharingBus};
use uuid::Uuid;

/// Runs a model with at most `preemptions` forced switches per execution, and says what it took.
///
/// `LOOM_MAX_PREEMPTIONS`, if set, raises or lowers the bound of every model.
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

/// A bus with queues and an ingress as small as a model wants them.
pub fn bus(ingress: usize, queue: usize) -> SharingBus {
    SharingBus::builder()
        .ingress_capacity(ingress)
        .queue_capacity(queue)
        .build()
        .expect("a model's thread starts")
}

/// A bus whose publishers assist. Every second lull of a model has lasted, the first one included.
pub fn assisted_bus(ingress: usize, queue: usize) -> SharingBus {
    SharingBus::builder()
        .assisted_dispatch(true)
        .ingress_capacity(ingress)
        .queue_capacity(queue)
        .build()
        .expect("a model's thread starts")
}

/// An event of no session.
pub fn event() -> BusEvent {
    BusEvent::new(EventRouting::default(), Event::Connected)
}

/// An event of the one session that models have.
pub fn session_event(kind: EventKind) -> BusEvent {
    BusEvent::new(EventRouting::session("c", "s", kind), Event::Connected)
}

/// The registration of that session.
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

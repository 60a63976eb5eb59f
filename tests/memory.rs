//! Guarantee 7 and the bounded session cache: the bytes that stay allocated.
//!
//! This file holds a single test, because the test counts every live allocation of its process.

mod common;

use std::alloc::System;

use common::*;
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventOrigin, EventRouting, Overflow, SharingBus};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use uuid::Uuid;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Maximum number of bytes that may stay allocated, because tables keep some spare capacity.
const BOUND: isize = 64 * 1024;

fn live_bytes() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

/// Runs `work`, and checks that fewer than [`BOUND`] more bytes are allocated after it than before.
#[track_caller]
fn assert_frees_memory(bus: &SharingBus, description: &str, work: impl FnOnce()) {
    bus.flush();
    let before = live_bytes();
    work();
    bus.flush();
    let left = live_bytes() - before;
    assert!(left < BOUND, "{description}: {left} bytes are still allocated");
}

fn lifecycle(session: usize, event: fn(String, String) -> Event) -> BusEvent {
    let name = format!("s{session}");
    BusEvent::new(
        EventRouting::session("c", name.as_str(), EventKind::SessionLifecycle),
        event("c".into(), name),
    )
}

#[test]
fn ended_subscriptions_events_and_sessions_free_their_memory() {
    let bus = SharingBus::builder().session_capacity(1024).build().unwrap();
    let mut view = bus.subscribe_filtered(EventFilter::ConnectorId("c".into()), 64);
    // One-time allocations are made before the first measurement.
    bus.publish(session_event(EventKind::Output)).unwrap();
    drop(bus.subscribe_all());
    assert!(view.recv().is_ok());

    #[cfg(target_pointer_width = "64")]
    for (overflow, documented) in [
        (Overflow::DropNewest, 24),
        (Overflow::DropOldest, 32),
        (Overflow::Disconnect, 24),
        (Overflow::Conflate, 48),
    ] {
        const PLACES: usize = 65_536;
        bus.flush();
        let before = live_bytes();
        let receiver = subscribe_with(&bus, overflow, PLACES);
        let allocated = live_bytes() - before;
        assert_eq!(receiver.capacity(), PLACES);
        assert_eq!(allocated / PLACES as isize, documented, "bytes per place, {overflow:?}");
    }

    assert_frees_memory(&bus, "10,000 subscriptions one after the other", || {
        for n in 0..10_000 {
            drop(bus.subscribe_filtered(EventFilter::ScrollId(scroll(n)), 16));
        }
    });
    assert_frees_memory(&bus, "1,000 subscriptions at once, with events queued", || {
        let receivers: Vec<_> = (0..1_000)
            .map(|_| bus.subscribe_filtered(EventFilter::All, 16))
            .collect();
        for _ in 0..32 {
            bus.publish(plain()).unwrap();
        }
        bus.flush();
        drop(receivers);
    });
    assert_frees_memory(&bus, "5,000 subscriptions at once, each with its own scroll", || {
        drop(
            (0..5_000)
                .map(|n| bus.subscribe_filtered(EventFilter::ScrollId(scroll(n)), 1))
                .collect::<Vec<_>>(),
        );
    });
    assert_frees_memory(&bus, "10,000 filters of one subscription", || {
        for n in 0..10_000 {
            view.set_filter(EventFilter::ScrollId(scroll(n)));
        }
        view.set_filter(EventFilter::ConnectorId("c".into()));
    });
    let scrolls: Vec<_> = (0..100)
        .map(|n| bus.subscribe_filtered(EventFilter::ScrollId(scroll(n)), 1))
        .collect();
    bus.flush();
    let before = ALLOCATOR.stats().allocations;
    let routing = EventRouting {
        scroll_id: Some(scroll(1_000)),
        ..EventRouting::default()
    };
    for _ in 0..1_000 {
        let published = bus.publish_with(routing.clone(), EventOrigin::User, || Event::Connected);
        assert!(!bus.is_interested(&routing) && !published.unwrap());
    }
    let allocations = ALLOCATOR.stats().allocations - before;
    assert_eq!(allocations, 0, "a check for interest must not allocate");
    drop(scrolls);
    assert_frees_memory(&bus, "1,000,000 events, most of them lost or unmatched", || {
        for n in 0..1_000_000 {
            bus.publish(if n % 2 == 0 {
                plain()
            } else {
                session_event(EventKind::Output)
            })
            .unwrap();
            if n % 1000 == 0 {
                bus.flush();
                drain(&mut view);
            }
        }
        bus.flush();
        drain(&mut view);
    });
    assert_frees_memory(&bus, "100,000 sessions registered and ended", || {
        for n in 0..100_000 {
            let register = |connector_id, session_id| Event::SessionRegistered {
                connector_id,
                session_id,
                scroll_id: Uuid::from_u128(7).to_string(),
            };
            bus.publish(lifecycle(n, register)).unwrap();
            let end = |connector_id, session_id| Event::SessionEnded {
                connector_id,
                session_id,
            };
            bus.publish(lifecycle(n, end)).unwrap();
        }
        bus.flush();
        drain(&mut view);
        assert_eq!(bus.session_count(), 0);
    });
    let before = live_bytes();
    for n in 0..100_000 {
        bus.bind_session("c", &format!("s{n}"), scroll(n));
    }
    assert_eq!(
        (bus.session_count(), bus.stats().sessions_evicted),
        (1024, 100_000 - 1024)
    );
    let kept = live_bytes() - before;
    assert!(kept < 1024 * 1024, "a cache of 1,024 sessions takes {kept} bytes");
}

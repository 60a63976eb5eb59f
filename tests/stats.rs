//! Tests of every field of the statistics.

mod common;

use common::*;
use sharing_bus::{EventFilter, EventKind, Overflow, SharingBus};

#[test]
fn every_field_has_its_documented_meaning() {
    let bus: SharingBus = SharingBus::builder()
        .ingress_capacity(100)
        .session_capacity(1)
        .build()
        .unwrap();
    let archive = bus.subscription().label("archive").queue_capacity(8).subscribe();
    let errors = EventFilter::all([
        EventFilter::Kind(EventKind::Error),
        EventFilter::custom(|_| panic!("on purpose")),
    ]);
    let faulty = bus.subscribe_filtered(errors, 3);
    let mut view = bus
        .subscription()
        .filter(EventFilter::ScrollId(scroll(1)))
        .overflow(Overflow::DropOldest)
        .queue_capacity(1)
        .subscribe();
    drop(bus.subscribe_all());
    bus.flush();

    bus.publish(registration(&scroll(1).to_string())).unwrap();
    bus.publish(session_event(EventKind::Error)).unwrap();
    bus.publish(plain()).unwrap();
    bus.flush();
    view.recv().unwrap();
    bus.bind_session("c", "another", scroll(2));
    archive.set_filter(EventFilter::any([]));
    bus.publish(plain()).unwrap();
    bus.flush();

    let stats = bus.stats();
    assert_eq!(stats.published, 4);
    assert_eq!(stats.dispatched, 4);
    assert_eq!(stats.delivered, 3 + 1);
    assert_eq!(stats.lagged, 1);
    assert_eq!(stats.unmatched, 1);
    assert_eq!(stats.reaped, 1);
    assert_eq!(stats.filter_panics, 1);
    assert_eq!(stats.payload_panics, 0);
    assert_eq!((stats.ingress_depth, stats.ingress_capacity), (0, 100));
    assert_eq!((stats.sessions, stats.sessions_evicted), (1, 1));
    let subscribers: Vec<_> = stats
        .subscribers
        .iter()
        .map(|s| {
            (
                s.id,
                s.label.as_deref(),
                s.filter.as_str(),
                s.capacity,
                s.queued,
                s.delivered,
                s.lagged,
            )
        })
        .collect();
    let scroll_filter = format!("scroll={}", scroll(1));
    assert_eq!(
        subscribers,
        [
            (archive.id(), Some("archive"), "any()", 8, 3, 3, 0),
            (faulty.id(), None, "all(kind=error, custom)", 3, 0, 0, 0),
            (view.id(), None, scroll_filter.as_str(), 1, 0, 1, 1),
        ]
    );
    assert_eq!(
        (archive.label(), archive.capacity(), archive.len()),
        (Some("archive"), 8, 3)
    );
    assert!(!archive.is_empty() && view.is_empty());
}

#[test]
fn the_ingress_depth_counts_events_not_yet_dispatched() {
    let bus = SharingBus::new();
    let block = Block::new(&bus, number(0));
    for n in 1..=5 {
        bus.publish(number(n)).unwrap();
    }
    let stats = bus.stats();
    // The event whose dispatch is blocked counts too.
    assert_eq!((stats.published, stats.dispatched, stats.ingress_depth), (6, 0, 6));
    block.release();
    bus.flush();
    let stats = bus.stats();
    assert_eq!((stats.dispatched, stats.ingress_depth, stats.unmatched), (6, 0, 6));
}

//! Guarantee 9: bad input causes a typed error that returns the event, or a panic whose message names the mistake.

mod common;

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::*;
use sharing_bus::{
    BuildError, BusBuilder, BusEvent, Delivery, EventFilter, EventRouting, Overflow, Payload, PublishError, RecvError,
    RecvTimeoutError, SharingBus, TryRecvError,
};

/// The smallest capacity of an ingress or a queue that is refused.
const TOO_LARGE: usize = usize::MAX / 256 + 1;

#[test]
fn a_zero_capacity_is_a_build_error_that_names_the_setting() {
    type Setting = fn(BusBuilder<Number>) -> BusBuilder<Number>;
    let settings: [(&str, Setting); 3] = [
        ("ingress_capacity", |builder| builder.ingress_capacity(0)),
        ("queue_capacity", |builder| builder.queue_capacity(0)),
        ("session_capacity", |builder| builder.session_capacity(0)),
    ];
    for (name, set) in settings {
        let error = set(SharingBus::builder()).build().unwrap_err();
        assert!(matches!(error, BuildError::ZeroCapacity(setting) if setting == name));
        assert_eq!(error.to_string(), format!("{name} must be at least 1"));
    }
}

#[test]
fn a_capacity_that_no_allocation_can_have_is_a_build_error_that_names_the_setting() {
    type Setting = fn(BusBuilder<Number>, usize) -> BusBuilder<Number>;
    let settings: [(&str, Setting); 2] = [
        ("ingress_capacity", |builder, capacity| {
            builder.ingress_capacity(capacity)
        }),
        ("queue_capacity", |builder, capacity| builder.queue_capacity(capacity)),
    ];
    for (name, set) in settings {
        for capacity in [TOO_LARGE, usize::MAX / 2, usize::MAX] {
            let error = set(SharingBus::builder(), capacity).build().unwrap_err();
            assert!(matches!(error, BuildError::CapacityTooLarge(setting) if setting == name));
            assert_eq!(error.to_string(), format!("{name} exceeds {}", usize::MAX / 256));
        }
    }
    // A bus allocates no queue, so it can have the greatest default capacity.
    SharingBus::<Number>::builder()
        .queue_capacity(TOO_LARGE - 1)
        .build()
        .unwrap();
}

#[test]
fn a_queue_capacity_that_no_allocation_can_have_panics_with_a_clear_message() {
    let bus = SharingBus::<Number>::new();
    let overflows = [
        Overflow::DropNewest,
        Overflow::DropOldest,
        Overflow::Disconnect,
        Overflow::Conflate,
    ];
    for overflow in overflows {
        for capacity in [TOO_LARGE, usize::MAX / 2, usize::MAX] {
            let subscribe = || drop(subscribe_with(&bus, overflow, capacity));
            let panic = catch_unwind(AssertUnwindSafe(subscribe)).unwrap_err();
            let message = panic
                .downcast_ref::<String>()
                .expect("the panic message must be formatted");
            assert!(message.contains("queue capacity of at most"), "{message}");
        }
    }
    let subscribe = || drop(bus.subscribe_filtered(EventFilter::All, usize::MAX));
    assert!(catch_unwind(AssertUnwindSafe(subscribe)).is_err());
    let reserve = || {
        let subscription = bus.subscription().queue_capacity(8);
        drop(subscription.essential(EventFilter::All, usize::MAX).subscribe());
    };
    assert!(catch_unwind(AssertUnwindSafe(reserve)).is_err());
    assert_eq!(bus.subscriber_count(), 0);
}

#[test]
fn the_greatest_number_of_sessions_events_in_the_history_or_in_the_backlog_means_no_limit() {
    let bus = SharingBus::builder()
        .session_capacity(usize::MAX)
        .history(usize::MAX)
        .history_per_scroll(usize::MAX)
        .build()
        .unwrap();
    publish_all(&bus, (0..300).map(|n| scroll_event(n, 7)));
    for n in 0..300 {
        assert_eq!(bus.bind_session("c", &format!("s{n}"), scroll(n)), None);
    }
    assert_eq!((bus.session_count(), bus.stats().sessions_evicted), (300, 0));

    let subscription = bus.subscription().queue_capacity(1000).backlog(usize::MAX);
    let mut late = subscription.subscribe();
    let (sender, forwarded) = crossbeam_channel::bounded(1000);
    bus.subscription().backlog(usize::MAX).forward_to(sender);
    bus.flush();
    let late = drain(&mut late);
    assert!(late.len() == 300 && late.iter().all(Delivery::is_backlog));
    assert_eq!(forwarded.len(), 300);
}

#[test]
fn a_thread_name_with_a_nul_byte_is_a_build_error() {
    let error = SharingBus::<Number>::builder().thread_name("a\0b").build().unwrap_err();
    assert!(matches!(error, BuildError::InvalidThreadName));
    assert_eq!(error.to_string(), "the thread name holds a NUL byte");
    let refused = BuildError::Spawn(std::io::Error::other("no more threads"));
    assert_eq!(refused.source().unwrap().to_string(), "no more threads");
    assert!(error.source().is_none());
}

#[test]
fn a_queue_capacity_of_zero_panics_with_a_clear_message() {
    let bus = SharingBus::<Number>::new();
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect] {
        let subscribe = || {
            let builder = bus.subscription().overflow(overflow).queue_capacity(0);
            drop(builder.subscribe());
        };
        let panic = catch_unwind(AssertUnwindSafe(subscribe)).unwrap_err();
        let message = panic
            .downcast_ref::<&str>()
            .expect("the panic message must be a string literal");
        assert!(message.contains("queue capacity of at least 1"), "{message}");
    }
    let subscribe = || drop(bus.subscribe_filtered(EventFilter::All, 0));
    assert!(catch_unwind(AssertUnwindSafe(subscribe)).is_err());
    assert_eq!(bus.subscriber_count(), 0);
    drop(bus.subscribe_all());
}

#[test]
fn publishing_without_subscribers_succeeds() {
    let bus = SharingBus::new();
    bus.publish(number(1)).unwrap();
    bus.try_publish(number(2)).unwrap();
    bus.flush();
    let stats = bus.stats();
    assert_eq!((stats.published, stats.dispatched, stats.unmatched), (2, 2, 2));
}

#[test]
fn a_full_ingress_returns_the_event() {
    let bus = SharingBus::builder().ingress_capacity(2).build().unwrap();
    let mut receiver = bus.subscribe_all();
    let block = Block::new(&bus, number(0));
    bus.try_publish(number(1)).unwrap();
    bus.try_publish(number(2)).unwrap();

    let event = number(3);
    let payload = Arc::clone(&event.event);
    let error = bus.try_publish(event).unwrap_err();
    assert!(error.is_full() && !error.is_closed());
    let timeout = Duration::from_millis(50);
    let started = Instant::now();
    let error = bus.publish_timeout(error.into_event(), timeout).unwrap_err();
    assert!(error.is_full());
    assert!(started.elapsed() >= timeout, "the call must wait for the whole timeout");
    let error = bus.publish_timeout(error.into_event(), Duration::ZERO).unwrap_err();
    assert!(error.is_full());
    assert!(Arc::ptr_eq(&error.into_event().event, &payload));
    let stats = bus.stats();
    assert_eq!(
        (stats.published, stats.ingress_depth, stats.ingress_capacity),
        (3, 3, 2)
    );

    block.release();
    bus.publish_timeout(number(4), DEADLINE).unwrap();
    bus.flush();
    assert_eq!(numbers(&drain(&mut receiver)), [0, 1, 2, 4]);
}

/// A payload that implements neither `Debug` nor `Clone`.
struct Opaque;

impl Payload for Opaque {}

#[test]
fn errors_do_not_require_debug_or_clone_of_the_payload() {
    let event = || BusEvent::new(EventRouting::default(), Opaque);
    let full: Box<dyn Error + Send + Sync> = Box::new(PublishError::Full(event()));
    let closed: Box<dyn Error + Send + Sync> = Box::new(PublishError::Closed(event()));
    assert_eq!(
        (format!("{full:?}"), full.to_string()),
        ("Full(..)".into(), "publishing to a full bus".into())
    );
    assert_eq!(
        (format!("{closed:?}"), closed.to_string()),
        ("Closed(..)".into(), "publishing to a closed bus".into())
    );
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(event()).unwrap();
    let delivery = receiver.recv().unwrap();
    assert!(format!("{delivery:?} {bus:?} {receiver:?}").contains("sequence: 1"));
}

#[test]
fn receive_errors_describe_the_cause() {
    let bus = SharingBus::<Number>::new();
    let mut receiver = bus.subscribe_all();
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(
        receiver.recv_timeout(Duration::from_millis(1)).unwrap_err(),
        RecvTimeoutError::Timeout
    );
    bus.shutdown();
    assert_eq!(receiver.recv_timeout(DEADLINE).unwrap_err(), RecvTimeoutError::Closed);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
    for (error, text) in [
        (
            Box::new(TryRecvError::Empty) as Box<dyn Error>,
            "receiving from an empty subscription",
        ),
        (
            Box::new(TryRecvError::Closed),
            "receiving from an empty and closed subscription",
        ),
        (
            Box::new(RecvTimeoutError::Timeout),
            "timed out receiving from a subscription",
        ),
        (
            Box::new(RecvTimeoutError::Closed),
            "receiving from an empty and closed subscription",
        ),
        (Box::new(RecvError), "receiving from an empty and closed subscription"),
    ] {
        assert_eq!(error.to_string(), text);
    }
}

/// Returns a filter in which this number of levels of `any` and `all` are nested, with a `not` around each.
fn nested(levels: usize) -> EventFilter<Number> {
    (0..levels).fold(EventFilter::All, |filter, level| {
        let filter = EventFilter::not(filter);
        if level % 2 == 0 {
            EventFilter::any([filter, EventFilter::ConnectorId("a".into())])
        } else {
            EventFilter::all([filter, EventFilter::ConnectorId("a".into())])
        }
    })
}

#[test]
fn a_filter_that_is_nested_too_deeply_panics_with_a_clear_message() {
    #[track_caller]
    fn assert_panics(call: impl FnOnce()) {
        let panic = catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        let message = panic.downcast_ref::<String>().expect("the panic has a message");
        assert_eq!(message, "filters are nested more than 128 levels deep");
    }
    let deepest = nested(128);
    let bus = SharingBus::<Number>::new();
    let receiver = bus.subscribe_filtered(deepest.clone(), 1);
    assert_eq!(
        deepest.to_string(),
        EventFilter::not(EventFilter::not(nested(128))).to_string()
    );

    // The outermost list is an `all`, so another part of it nests no deeper.
    drop(EventFilter::all([deepest.clone(), EventFilter::All]));
    assert_panics(|| drop(EventFilter::any([deepest.clone(), EventFilter::All])));
    assert_panics(|| drop(EventFilter::all([EventFilter::All, EventFilter::not(deepest.clone())])));

    // A filter that the variants build is refused where the bus receives it.
    let (sender, _events) = crossbeam_channel::bounded(1);
    let forward = bus.subscription().forward_to(sender);
    for too_deep in [
        EventFilter::Any([deepest.clone()].into()),
        EventFilter::not(EventFilter::Any([deepest].into())),
        (0..100_000).fold(EventFilter::All, |filter, _| EventFilter::Any([filter].into())),
    ] {
        assert_panics(|| drop(bus.subscribe_filtered(too_deep.clone(), 1)));
        assert_panics(|| drop(bus.subscription().filter(too_deep.clone())));
        assert_panics(|| drop(bus.subscription().essential(too_deep.clone(), 1)));
        assert_panics(|| receiver.set_filter(too_deep.clone()));
        assert_panics(|| forward.set_filter(too_deep.clone()));
        assert_panics(|| assert!(too_deep.matches(&number(1))));
    }
    assert_eq!(bus.subscriber_count(), 2);
}

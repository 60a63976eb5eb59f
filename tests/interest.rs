//! `publish_with` builds an event that a subscriber, a session or the history may need, and skips other events.

mod common;
mod filters;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::*;
use filters::*;
use proptest::prelude::*;
use sharing_bus::{
    BusEvent, BusReceiver, Event, EventFilter, EventKind, EventOrigin, EventRouting, Overflow, PublishError, SharingBus,
};

fn session(kind: EventKind) -> EventRouting {
    EventRouting::session("c", "s", kind)
}

/// Calls `publish_with`, and checks that the payload was built if and only if the event was published.
#[track_caller]
fn publish_with(bus: &SharingBus<Number>, routing: &EventRouting, origin: EventOrigin, n: u64) -> bool {
    let mut built = false;
    let payload = || {
        built = true;
        Number(n)
    };
    let published = bus.publish_with(routing.clone(), origin, payload).unwrap();
    assert_eq!(built, published);
    published
}

/// Checks that `is_interested` and `publish_with` agree with the expectation for each routing.
#[track_caller]
fn assert_interest(bus: &SharingBus<Number>, expected: &[(EventRouting, bool)]) {
    for (routing, interested) in expected {
        assert_eq!(bus.is_interested(routing), *interested, "{routing:?}");
        let published = publish_with(bus, routing, EventOrigin::default(), 0);
        assert_eq!(published, *interested, "{routing:?}");
    }
}

#[test]
fn an_event_that_no_filter_can_match_is_neither_built_nor_published() {
    let bus = SharingBus::new();
    let receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8);
    let skipped = bus.publish_with(session(EventKind::Output), EventOrigin::Runtime, || -> Number {
        panic!("built although no filter can match")
    });
    assert!(!skipped.unwrap());
    bus.flush();
    let stats = bus.stats();
    assert_eq!((stats.published, stats.dispatched, stats.unmatched), (0, 0, 0));
    drop(receiver);
}

#[test]
fn each_routing_field_is_checked_on_its_own() {
    let routing = EventRouting {
        scroll_id: Some(scroll(1)),
        connector_uid: Some(scroll(2)),
        ..session(EventKind::Tool)
    };
    let others = EventRouting {
        scroll_id: Some(scroll(3)),
        connector_uid: Some(scroll(1)),
        ..EventRouting::session("s", "c", EventKind::Output)
    };
    let bare = EventRouting::default();
    let filters = [
        EventFilter::ScrollId(scroll(1)),
        EventFilter::ConnectorUid(scroll(2)),
        EventFilter::ConnectorId("c".into()),
        EventFilter::Session {
            connector_id: "c".into(),
            native_session_id: "s".into(),
        },
        EventFilter::Kind(EventKind::Tool),
    ];
    for filter in filters {
        let bus = SharingBus::new();
        let shown = filter.to_string();
        let _receiver = bus.subscribe_filtered(filter, 8);
        println!("{shown}");
        assert_interest(
            &bus,
            &[(routing.clone(), true), (others.clone(), false), (bare.clone(), false)],
        );
    }
}

#[test]
fn the_origin_is_checked_only_where_it_is_known() {
    let bus = SharingBus::new();
    let _receiver = bus.subscribe_filtered(EventFilter::Origin(EventOrigin::Replay), 8);
    let routing = session(EventKind::Tool);
    assert!(bus.is_interested(&routing));
    assert!(publish_with(&bus, &routing, EventOrigin::Replay, 1));
    assert!(!publish_with(&bus, &routing, EventOrigin::User, 2));
}

#[test]
fn filters_that_cannot_be_indexed_are_interested_in_every_event() {
    for filter in [
        EventFilter::All,
        EventFilter::custom(|_| false),
        EventFilter::not(EventFilter::Kind(EventKind::System)),
    ] {
        let bus = SharingBus::new();
        let receiver = bus.subscribe_filtered(filter, 8);
        assert_interest(&bus, &[(EventRouting::default(), true)]);
        drop(receiver);
        bus.flush();
        assert_interest(&bus, &[(EventRouting::default(), false)]);
    }
    let bus = SharingBus::new();
    let _nothing = bus.subscribe_filtered(EventFilter::any([]), 8);
    assert_interest(&bus, &[(EventRouting::default(), false)]);
}

#[test]
fn session_lifecycle_events_are_always_built() {
    let bus = SharingBus::new();
    let register = || Event::SessionRegistered {
        connector_id: "c".into(),
        session_id: "s".into(),
        scroll_id: scroll(7).to_string(),
    };
    let published = bus.publish_with(session(EventKind::SessionLifecycle), EventOrigin::Runtime, register);
    assert!(published.unwrap());
    bus.flush();
    assert_eq!(bus.scroll_id("c", "s"), Some(scroll(7)));
}

#[test]
fn events_that_may_be_bound_are_built_while_a_filter_names_a_scroll() {
    let bus = SharingBus::new();
    let mut view = bus.subscribe_filtered(EventFilter::ScrollId(scroll(7)), 64);
    for _ in 0..20 {
        // The registration may be dispatched already, or still be in the ingress.
        bus.publish(registration(&scroll(7).to_string())).unwrap();
        let published = bus.publish_with(session(EventKind::Output), EventOrigin::Runtime, || Event::Connected);
        assert!(published.unwrap());
    }
    let elsewhere = EventRouting {
        scroll_id: Some(scroll(8)),
        ..session(EventKind::Output)
    };
    assert!(!bus.is_interested(&elsewhere), "a scroll that is set must not change");
    let of_no_session = EventRouting {
        native_session_id: None,
        ..session(EventKind::Output)
    };
    assert!(!bus.is_interested(&of_no_session));
    bus.flush();
    assert_eq!(drain(&mut view).len(), 40);
}

#[test]
fn a_bus_with_a_history_is_interested_in_every_event() {
    for builder in [
        SharingBus::builder().history(4),
        SharingBus::builder().history_per_scroll(4),
    ] {
        let bus = builder.build().unwrap();
        assert_interest(&bus, &[(EventRouting::default(), true)]);
        drop(bus.subscribe_all());
        bus.flush();
        assert_interest(&bus, &[(EventRouting::default(), true)]);
    }
}

#[test]
fn a_closed_bus_returns_the_built_event() {
    let bus = SharingBus::new();
    let receiver = bus.subscribe_all();
    bus.shutdown();
    drop(receiver);
    let routing = session(EventKind::Output);
    assert!(bus.is_interested(&routing));
    let error = bus
        .publish_with(routing.clone(), EventOrigin::User, || Number(3))
        .unwrap_err();
    assert!(error.is_closed());
    let event = error.into_event();
    assert_eq!(
        (event.routing, event.origin, *event.event),
        (routing, EventOrigin::User, Number(3))
    );
}

#[test]
fn a_full_ingress_returns_the_built_event() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let block = Block::new(&bus, number(0));
    bus.try_publish(number(1)).unwrap();
    let refused = bus.try_publish_with(EventRouting::default(), EventOrigin::Runtime, || Number(2));
    assert!(matches!(refused, Err(PublishError::Full(event)) if *event.event == Number(2)));
    block.release();
    wait_until("the ingress has space", || {
        let sent = bus.try_publish_with(EventRouting::default(), EventOrigin::Runtime, || Number(3));
        sent.is_ok()
    });
}

#[test]
fn publish_with_in_a_filter_never_waits() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let inner = bus.clone();
    let refused = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&refused);
    let filter = EventFilter::custom(move |event: &BusEvent<Number>| {
        let next = Number(event.event.0 + 1);
        // The second call finds the ingress full. It must not wait, because this thread drains the ingress.
        for _ in 0..2 {
            let sent = inner.publish_with(EventRouting::default(), EventOrigin::Runtime, || next);
            seen.fetch_or(sent.is_err_and(|error| error.is_full()), Ordering::Relaxed);
        }
        true
    });
    let mut receiver = bus.subscribe_filtered(filter, 8);
    bus.publish(number(1)).unwrap();
    for n in 1..=3 {
        assert_eq!(receiver.recv_timeout(DEADLINE).unwrap().event.0, n);
    }
    assert!(refused.load(Ordering::Relaxed));
}

#[test]
fn a_payload_closure_that_panics_publishes_nothing() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let publish = || {
        bus.publish_with(EventRouting::default(), EventOrigin::Runtime, || -> Number {
            panic!("on purpose")
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(publish)).is_err());
    bus.publish(number(1)).unwrap();
    assert_eq!(receiver.recv().unwrap().sequence(), 1);
}

#[test]
fn interest_ends_with_the_subscription_or_the_filter() {
    let bus = SharingBus::<Number>::new();
    let routing = session(EventKind::Tool);
    let subscribe = || bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 8);
    let leave: [&dyn Fn(); 5] = [
        &|| drop(subscribe()),
        &|| assert!(subscribe().close()),
        &|| assert!(bus.unsubscribe(subscribe().id())),
        &|| subscribe().set_filter(EventFilter::Kind(EventKind::Output)),
        &|| {
            let slow = bus
                .subscription()
                .filter(EventFilter::Kind(EventKind::Tool))
                .queue_capacity(1);
            let receiver = slow.overflow(Overflow::Disconnect).subscribe();
            for _ in 0..2 {
                assert!(publish_with(&bus, &routing, EventOrigin::Runtime, 0));
            }
            wait_until("the receiver is disconnected", || receiver.is_closed());
        },
    ];
    for (way, leave) in leave.iter().enumerate() {
        let remaining = subscribe();
        leave();
        bus.flush();
        assert!(bus.is_interested(&routing), "way {way}");
        drop(remaining);
        bus.flush();
        assert!(!bus.is_interested(&routing), "way {way}");
        assert!(!bus.is_interested(&session(EventKind::Output)), "way {way}");
    }
}

#[test]
fn interest_is_exact_for_ten_thousand_subscribers() {
    const SUBSCRIBERS: u128 = 10_000;
    let bus = SharingBus::<Number>::new();
    let routing = |n| EventRouting {
        scroll_id: Some(scroll(n)),
        ..session(EventKind::Output)
    };
    let receivers: Vec<_> = (0..SUBSCRIBERS)
        .map(|n| bus.subscribe_filtered(EventFilter::ScrollId(scroll(n)), 1))
        .collect();
    assert!((0..SUBSCRIBERS).all(|n| bus.is_interested(&routing(n))));
    assert!(!(SUBSCRIBERS..2 * SUBSCRIBERS).any(|n| bus.is_interested(&routing(n))));
    drop(receivers);
    bus.flush();
    assert_eq!(bus.stats().reaped, SUBSCRIBERS as u64);
    assert!(!(0..SUBSCRIBERS).any(|n| bus.is_interested(&routing(n))));
}

/// A thread keeps replacing the filter with other filters that match too, while three threads check for interest.
/// A check reads one count after another, so a replacement may come between two reads. On two cores, that happens in
/// about one of several hundred thousand checks. The test therefore makes two million checks.
#[test]
fn a_subscriber_that_replaces_its_filter_misses_no_event() {
    let bus = SharingBus::new();
    let receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 8);
    let routing = session(EventKind::Tool);
    let stop = AtomicBool::new(false);
    let receiver = thread::scope(|scope| {
        let stop = &stop;
        let changing = scope.spawn(move || {
            let filters = [
                EventFilter::ConnectorId("c".into()),
                EventFilter::Kind(EventKind::Tool),
                EventFilter::All,
            ];
            for filter in filters.iter().cycle() {
                receiver.set_filter(filter.clone());
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
            receiver
        });
        let check = || (0..1_000_000).filter(|_| !bus.is_interested(&routing)).count();
        let checking = [scope.spawn(check), scope.spawn(check)];
        let skipped = (0..50_000)
            .filter(|n| !publish_with(&bus, &routing, EventOrigin::Runtime, *n))
            .count();
        let missed = checking.map(|thread| thread.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        assert_eq!((missed, skipped), ([0, 0], 0));
        changing.join().unwrap()
    });
    bus.flush();
    assert_eq!(receiver.lagged() + receiver.len() as u64, 50_000);
}

#[derive(Clone, Debug)]
enum Step {
    Publish(EventRouting, EventOrigin, u64),
    Bind(u8),
    Subscribe(Spec),
    SetFilter(prop::sample::Index, Spec),
    Unsubscribe(prop::sample::Index),
    Drop(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        8 => event().prop_map(|event| Step::Publish(event.routing, event.origin, event.event.0)),
        1 => (0..3u8).prop_map(Step::Bind),
        3 => spec().prop_map(Step::Subscribe),
        2 => (index(), spec()).prop_map(|(index, spec)| Step::SetFilter(index, spec)),
        1 => index().prop_map(Step::Unsubscribe),
        1 => index().prop_map(Step::Drop),
    ]
}

/// The bus, and its subscribers with their current filters.
struct Model {
    bus: SharingBus<Number>,
    subscribers: Vec<(BusReceiver<Number>, EventFilter<Number>)>,
}

impl Model {
    fn run(&mut self, step: Step) {
        match step {
            Step::Publish(routing, origin, n) => self.publish(&routing, origin, n),
            Step::Bind(id) => {
                self.bus.bind_session("a", "a", scroll(id.into()));
            }
            Step::Subscribe(spec) => {
                let receiver = self.bus.subscribe_filtered(spec.build(), 8);
                self.subscribers.push((receiver, spec.build()));
            }
            Step::SetFilter(index, spec) => {
                if let Some((receiver, filter)) = self.pick(index) {
                    receiver.set_filter(spec.build());
                    *filter = spec.build();
                }
            }
            Step::Unsubscribe(index) => {
                if let Some(id) = self.pick(index).map(|(receiver, _)| receiver.id()) {
                    assert!(self.bus.unsubscribe(id));
                    self.subscribers.retain(|(receiver, _)| receiver.id() != id);
                }
            }
            Step::Drop(index) => {
                if !self.subscribers.is_empty() {
                    let removed = index.index(self.subscribers.len());
                    self.subscribers.remove(removed);
                }
            }
        }
    }

    fn pick(&mut self, index: prop::sample::Index) -> Option<&mut (BusReceiver<Number>, EventFilter<Number>)> {
        (!self.subscribers.is_empty()).then(|| index.get_mut(&mut self.subscribers[..]))
    }

    /// Publishes with `publish_with`. Each subscriber must receive the event if and only if its filter matches it as
    /// dispatched. If no interest was reported, no filter may match.
    fn publish(&mut self, routing: &EventRouting, origin: EventOrigin, n: u64) {
        let interested = self.bus.is_interested(routing);
        // `publish_with` may build the event although `is_interested` has just returned false. While a dropped receiver
        // is being removed from the counts, a check for interest may return true.
        publish_with(&self.bus, routing, origin, n);
        self.bus.flush();
        let mut event = number(n).with_origin(origin);
        event.routing = routing.clone();
        if let (None, Some(connector), Some(session)) =
            (routing.scroll_id, &routing.connector_id, &routing.native_session_id)
        {
            event.routing.scroll_id = self.bus.scroll_id(connector, session);
        }
        for (receiver, filter) in &mut self.subscribers {
            let received = drain(receiver).len();
            let matches = filter.matches(&event);
            assert!(interested || !matches, "{filter}, {event:?}");
            assert_eq!(received, usize::from(matches), "{filter}, {event:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_subscriber_that_matches_receives_the_event(
        steps in prop::collection::vec(step(), 1..40),
        routing in event(),
    ) {
        let mut model = Model { bus: SharingBus::new(), subscribers: Vec::new() };
        for step in steps {
            model.run(step);
        }
        model.subscribers.clear();
        model.bus.flush();
        let lifecycle = routing.routing.kind == EventKind::SessionLifecycle;
        prop_assert_eq!(model.bus.is_interested(&routing.routing), lifecycle, "no interest may remain");
    }
}

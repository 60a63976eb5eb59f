//! Five behaviors of the earlier bus that this crate replaces. The tests keep their original names.

use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
use uuid::Uuid;

fn text(text: &str) -> Event {
    Event::Text { text: text.into() }
}

#[test]
fn subscribe_all_receives_published_event() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(BusEvent::new(EventRouting::default(), text("hello")))
        .unwrap();
    let delivery = receiver.recv().unwrap();
    assert_eq!(*delivery.event, text("hello"));
    assert_eq!(delivery.missed(), 0);
}

#[test]
fn connector_uid_filter_only_forwards_matching_events() {
    let bus = SharingBus::new();
    let (matching, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut receiver = bus.subscribe_filtered(EventFilter::ConnectorUid(matching), 8);
    for (uid, name) in [(other, "a"), (matching, "b"), (other, "c"), (matching, "d")] {
        let routing = EventRouting {
            connector_uid: Some(uid),
            ..EventRouting::default()
        };
        bus.publish(BusEvent::new(routing, text(name))).unwrap();
    }
    bus.shutdown();
    let received: Vec<_> = receiver.iter().map(|delivery| delivery.event.clone()).collect();
    let received: Vec<_> = received.iter().map(|event| &**event).collect();
    assert_eq!(received, [&text("b"), &text("d")]);
}

#[test]
fn full_queue_increments_lagged_counter() {
    let bus = SharingBus::new();
    let receiver = bus.subscribe_filtered(EventFilter::All, 2);
    for _ in 0..5 {
        bus.publish(BusEvent::new(EventRouting::default(), Event::Connected))
            .unwrap();
    }
    bus.flush();
    assert_eq!(receiver.len(), 2);
    assert_eq!(receiver.lagged(), 3);
}

#[test]
fn session_registered_populates_cache_and_late_binds_subsequent_events() {
    let bus = SharingBus::new();
    let scroll = Uuid::from_u128(42);
    let mut receiver = bus.subscribe_filtered(EventFilter::ScrollId(scroll), 8);
    let publish = |kind, event| {
        let routing = EventRouting::session("agent", "native-1", kind);
        bus.publish(BusEvent::new(routing, event)).unwrap();
    };

    publish(EventKind::Output, text("too early"));
    publish(
        EventKind::SessionLifecycle,
        Event::SessionRegistered {
            connector_id: "agent".into(),
            session_id: "native-1".into(),
            scroll_id: scroll.to_string(),
        },
    );
    publish(EventKind::Output, text("bound"));
    bus.flush();

    assert_eq!(bus.scroll_id("agent", "native-1"), Some(scroll));
    let kinds: Vec<_> = receiver
        .try_iter()
        .map(|delivery| (delivery.routing.kind, delivery.routing.scroll_id))
        .collect();
    assert_eq!(
        kinds,
        [
            (EventKind::SessionLifecycle, Some(scroll)),
            (EventKind::Output, Some(scroll)),
        ]
    );
}

#[test]
fn closed_receiver_slot_is_reaped() {
    let bus = SharingBus::<Event>::new();
    let kept = bus.subscribe_all();
    let dropped = bus.subscribe_all();
    assert_eq!(bus.subscriber_count(), 2);
    drop(dropped);
    bus.flush();
    assert_eq!(bus.subscriber_count(), 1);
    let stats = bus.stats();
    assert_eq!(stats.reaped, 1);
    assert_eq!(stats.subscribers.len(), 1);
    assert_eq!(stats.subscribers[0].id, kept.id());
}

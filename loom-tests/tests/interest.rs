//! Events that `publish_with` creates on demand, while subscribers are added, changed and removed. An event that a
//! subscriber must receive is never skipped.
#![cfg(sharing_bus_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use sharing_bus::{BusReceiver, Event, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};
use sharing_bus_loom_tests::{bus, event, model, session_event};

fn routing(kind: EventKind) -> EventRouting {
    session_event(kind).routing
}

/// Returns true if the event was created and published.
fn publish_with(bus: &SharingBus, kind: EventKind) -> bool {
    let published = bus.publish_with(routing(kind), EventOrigin::Runtime, || Event::Connected);
    published.expect("the bus must be open, with space in its ingress")
}

fn kinds(receiver: &mut BusReceiver) -> Vec<EventKind> {
    receiver.try_iter().map(|delivery| delivery.routing.kind).collect()
}

/// A subscriber whose `subscribe_*` call returned before the publish receives the event. A subscriber that is added
/// during the publish may receive the event, but only if it was published.
#[test]
fn subscribe_races_publish_with() {
    model("subscribe_races_publish_with", 3, || {
        let bus = bus(4, 2);
        let subscribed = Arc::new(AtomicBool::new(false));
        let (other, flag) = (bus.clone(), Arc::clone(&subscribed));
        let subscriber = thread::spawn(move || {
            let receiver = other.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
            flag.store(true, Ordering::Release);
            receiver
        });
        let before = subscribed.load(Ordering::Acquire);
        let published = publish_with(&bus, EventKind::Tool);
        let mut receiver = subscriber.join().unwrap();
        bus.flush();
        let received = receiver.try_recv().is_ok();
        assert!(!before || received, "the event of an earlier subscriber was skipped");
        assert!(published || !received);
    });
}

/// A subscriber counts as interested from the moment it is visible in the list. The sink of a `forward_to` call may
/// receive events before the call returns. An event published in reaction to one of them must not be skipped.
#[test]
fn listed_subscriber_counts_as_interested() {
    model("listed_subscriber_counts_as_interested", 3, || {
        let bus = bus(4, 2);
        let other = bus.clone();
        let observer = thread::spawn(move || {
            let listed = !other.stats().subscribers.is_empty();
            (listed, publish_with(&other, EventKind::Tool))
        });
        let receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let (listed, published) = observer.join().unwrap();
        assert!(published || !listed, "the event of a listed subscriber was skipped");
        drop(receiver);
    });
}

/// An event that both filters match is not skipped while one filter replaces the other. `publish_with` reads the counts
/// of the two filters one after the other.
#[test]
fn set_filter_races_publish_with() {
    model("set_filter_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        receiver.set_filter(EventFilter::ConnectorId("c".into()));
        assert!(
            publisher.join().unwrap(),
            "an event that both filters match was skipped"
        );
        bus.flush();
        assert_eq!(kinds(&mut receiver), [EventKind::Tool]);
    });
}

/// The same race with a new filter that has no index terms. `publish_with` reads the count of such filters first.
#[test]
fn set_filter_to_all_races_publish_with() {
    model("set_filter_to_all_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_filtered(EventFilter::ConnectorId("c".into()), 2);
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        receiver.set_filter(EventFilter::All);
        assert!(
            publisher.join().unwrap(),
            "an event that both filters match was skipped"
        );
        bus.flush();
        assert_eq!(kinds(&mut receiver), [EventKind::Tool]);
    });
}

/// Once an event is skipped because the filter has changed, the new filter applies to every later event.
#[test]
fn skipped_event_implies_the_new_filter_applies() {
    model("skipped_event_implies_the_new_filter_applies", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let other = bus.clone();
        let publisher = thread::spawn(move || {
            let published = publish_with(&other, EventKind::Tool);
            other.publish(session_event(EventKind::Tool)).unwrap();
            published
        });
        receiver.set_filter(EventFilter::Kind(EventKind::Output));
        let published = publisher.join().unwrap();
        bus.flush();
        let seen = kinds(&mut receiver).len();
        assert!(
            published || seen == 0,
            "an event was skipped, but the next event met the old filter"
        );
        assert!(!publish_with(&bus, EventKind::Tool) && publish_with(&bus, EventKind::Output));
    });
}

/// Two subscribers are added while a third is removed. The filters of the new subscribers remain counted, and the
/// filter of the removed one does not.
#[test]
fn subscribes_race_a_drop() {
    model("subscribes_race_a_drop", 2, || {
        let bus = bus(4, 2);
        let dead = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 2);
        let dropper = thread::spawn(move || drop(dead));
        let other = bus.clone();
        let first = thread::spawn(move || other.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2));
        let mut second = bus.subscribe_filtered(EventFilter::Kind(EventKind::Output), 2);
        dropper.join().unwrap();
        let mut first = first.join().unwrap();
        bus.flush();
        let published = [EventKind::Tool, EventKind::Output, EventKind::Error].map(|kind| publish_with(&bus, kind));
        assert_eq!(published, [true, true, false]);
        bus.flush();
        assert_eq!(kinds(&mut first), [EventKind::Tool]);
        assert_eq!(kinds(&mut second), [EventKind::Output]);
    });
}

/// Two subscribers have equal filters, and one of them is dropped. The other one still receives its event, and the
/// filter remains counted until the second subscriber is dropped too.
#[test]
fn a_drop_races_publish_with() {
    model("a_drop_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let tools = || bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let (leaves, mut stays) = (tools(), tools());
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        drop(leaves);
        assert!(
            publisher.join().unwrap(),
            "the event was skipped because another subscriber left"
        );
        bus.flush();
        assert_eq!(kinds(&mut stays), [EventKind::Tool]);
        drop(stays);
        bus.flush();
        assert!(!bus.is_interested(&routing(EventKind::Tool)));
    });
}

/// An event published during a close is delivered or returned to its publisher. It must not be skipped because the
/// close removes all filters from the counts.
#[test]
fn close_races_publish_with() {
    model("close_races_publish_with", 3, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let other = bus.clone();
        let publisher = thread::spawn(move || {
            other.publish_with(routing(EventKind::Tool), EventOrigin::Runtime, || Event::Connected)
        });
        bus.shutdown();
        match publisher.join().unwrap() {
            Ok(true) => assert!(receiver.try_recv().is_ok(), "an accepted event was lost"),
            Ok(false) => panic!("the event was neither delivered nor returned"),
            Err(error) => assert!(error.is_closed()),
        }
        assert!(bus.publish(event()).is_err());
    });
}

/// The same race with an old filter that matches every event. `publish_with` reads the count of such filters first.
#[test]
fn set_filter_from_all_races_publish_with() {
    model("set_filter_from_all_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        receiver.set_filter(EventFilter::ConnectorId("c".into()));
        assert!(
            publisher.join().unwrap(),
            "an event that both filters match was skipped"
        );
        bus.flush();
        assert_eq!(kinds(&mut receiver), [EventKind::Tool]);
    });
}

/// The filter changes twice during a publish: from every event to the events of a connector, and back.
#[test]
fn set_filter_from_all_and_back_races_publish_with() {
    model("set_filter_from_all_and_back_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        receiver.set_filter(EventFilter::ConnectorId("c".into()));
        receiver.set_filter(EventFilter::All);
        assert!(publisher.join().unwrap(), "an event that all filters match was skipped");
        bus.flush();
        assert_eq!(kinds(&mut receiver), [EventKind::Tool]);
    });
}

//! Events that are made only if somebody may want them, against subscribers who come, change and go: nobody who has to
//! get an event is missed.
#![cfg(sharing_bus_loom)]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use sharing_bus::{BusReceiver, Event, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};
use sharing_bus_loom_tests::{bus, event, model, session_event};

fn routing(kind: EventKind) -> EventRouting {
    session_event(kind).routing
}

/// Whether the event was made and published.
fn publish_with(bus: &SharingBus, kind: EventKind) -> bool {
    let published = bus.publish_with(routing(kind), EventOrigin::Runtime, || Event::Connected);
    published.expect("the bus is open and has room")
}

fn kinds(receiver: &mut BusReceiver) -> Vec<EventKind> {
    receiver.try_iter().map(|delivery| delivery.routing.kind).collect()
}

/// Who has subscribed before, and said so, is not missed; who subscribes meanwhile gets what was published, or nothing.
#[test]
fn subscribe_races_publish_with() {
    model("subscribe_races_publish_with", 3, || {
        let bus = bus(4, 2);
        let subscribed = Arc::new(AtomicBool::new(false));
        let (other, said) = (bus.clone(), Arc::clone(&subscribed));
        let subscriber = thread::spawn(move || {
            let receiver = other.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
            said.store(true, Ordering::Release);
            receiver
        });
        let before = subscribed.load(Ordering::Acquire);
        let published = publish_with(&bus, EventKind::Tool);
        let mut receiver = subscriber.join().unwrap();
        bus.flush();
        let received = receiver.try_recv().is_ok();
        assert!(!before || received, "subscribed before and missed");
        assert!(published || !received);
    });
}

/// Who is seen in the list, by whatever way, is not missed: a host's channel may get events before its `forward_to` has
/// returned, and whoever reacts to one is to be heard.
#[test]
fn who_is_listed_is_counted() {
    model("who_is_listed_is_counted", 3, || {
        let bus = bus(4, 2);
        let other = bus.clone();
        let looking = thread::spawn(move || {
            let listed = !other.stats().subscribers.is_empty();
            (listed, publish_with(&other, EventKind::Tool))
        });
        let receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let (listed, published) = looking.join().unwrap();
        assert!(published || !listed, "listed and missed");
        drop(receiver);
    });
}

/// While a filter is replaced, what both match is not missed, though the counts of both are looked at one by one.
#[test]
fn set_filter_races_publish_with() {
    model("set_filter_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        receiver.set_filter(EventFilter::ConnectorId("c".into()));
        assert!(publisher.join().unwrap(), "missed under both filters");
        bus.flush();
        assert_eq!(kinds(&mut receiver), [EventKind::Tool]);
    });
}

/// The same where the new filter has no term, which is looked at first.
#[test]
fn set_filter_to_all_races_publish_with() {
    model("set_filter_to_all_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let mut receiver = bus.subscribe_filtered(EventFilter::ConnectorId("c".into()), 2);
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        receiver.set_filter(EventFilter::All);
        assert!(publisher.join().unwrap(), "missed under both filters");
        bus.flush();
        assert_eq!(kinds(&mut receiver), [EventKind::Tool]);
    });
}

/// Who has an event skipped, because the filter has changed, finds it changed for good.
#[test]
fn what_is_skipped_begins_the_new_filter() {
    model("what_is_skipped_begins_the_new_filter", 2, || {
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
        assert!(published || seen == 0, "the next one met the old filter");
        assert!(!publish_with(&bus, EventKind::Tool) && publish_with(&bus, EventKind::Output));
    });
}

/// Two subscribe while a third goes: those who stay are counted, and who has gone is not.
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

/// Of two who ask for the same, one goes: the other is not missed meanwhile, and is the last to be counted out.
#[test]
fn a_drop_races_publish_with() {
    model("a_drop_races_publish_with", 2, || {
        let bus = bus(4, 2);
        let tools = || bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 2);
        let (leaves, mut stays) = (tools(), tools());
        let other = bus.clone();
        let publisher = thread::spawn(move || publish_with(&other, EventKind::Tool));
        drop(leaves);
        assert!(publisher.join().unwrap(), "missed for another's sake");
        bus.flush();
        assert_eq!(kinds(&mut stays), [EventKind::Tool]);
        drop(stays);
        bus.flush();
        assert!(!bus.is_interested(&routing(EventKind::Tool)));
    });
}

/// An event that meets a close is delivered or comes back; that those who leave with the bus are counted out makes it
/// neither.
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
            Ok(true) => assert!(receiver.try_recv().is_ok(), "accepted and lost"),
            Ok(false) => panic!("neither delivered nor given back"),
            Err(error) => assert!(error.is_closed()),
        }
        assert!(bus.publish(event()).is_err());
    });
}

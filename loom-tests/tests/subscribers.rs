//! Guarantees 4 and 7: concurrent writers of the copy-on-write subscriber list race each other and dispatch.
#![cfg(sharing_bus_loom)]

use loom::thread;
use sharing_bus::{EventFilter, EventKind};
use sharing_bus_loom_tests::{bus, event, model, session_event};

/// A concurrent reap never removes a new subscription, and the dead slot is reaped once.
#[test]
fn subscribe_races_reap() {
    model("subscribe_races_reap", 3, || {
        let bus = bus(4, 2);
        let dead = bus.subscribe_all();
        let dropper = thread::spawn(move || drop(dead));
        let mut receiver = bus.subscribe_all();
        dropper.join().unwrap();

        bus.publish(event()).unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_ok(), "the new subscription was lost");
        assert_eq!(bus.stats().reaped, 1);
        assert_eq!(bus.subscriber_count(), 1);
        assert_eq!(bus.stats().subscribers.len(), 1);
    });
}

/// Two concurrent subscriptions both stay in the list.
#[test]
fn two_subscribes_race() {
    model("two_subscribes_race", 3, || {
        let bus = bus(4, 2);
        let other = bus.clone();
        let first = thread::spawn(move || other.subscribe_all());
        let mut second = bus.subscribe_all();
        let mut first = first.join().unwrap();

        bus.publish(event()).unwrap();
        bus.flush();
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        assert_ne!(first.id(), second.id());
    });
}

/// During two concurrent subscriptions and a reap, both subscriptions stay in the list and the dead slot is removed.
#[test]
fn two_subscribes_race_a_reap() {
    model("two_subscribes_race_a_reap", 2, || {
        let bus = bus(4, 2);
        let dead = bus.subscribe_all();
        let dropper = thread::spawn(move || drop(dead));
        let other = bus.clone();
        let first = thread::spawn(move || other.subscribe_all());
        let mut second = bus.subscribe_all();
        dropper.join().unwrap();
        let mut first = first.join().unwrap();

        bus.publish(event()).unwrap();
        bus.flush();
        assert!(first.try_recv().is_ok() && second.try_recv().is_ok());
        assert_eq!((bus.stats().reaped, bus.subscriber_count()), (1, 2));
    });
}

/// A subscriber receives an event published after `subscribe_*` returned, even if the dispatch thread is in the middle
/// of a batch.
#[test]
fn a_subscribe_races_a_batch() {
    model("a_subscribe_races_a_batch", 3, || {
        let bus = bus(4, 4);
        let other = bus.clone();
        let other_publisher = thread::spawn(move || other.publish(event()).unwrap());
        let mut receiver = bus.subscribe_all();
        bus.publish(session_event(EventKind::Tool)).unwrap();
        other_publisher.join().unwrap();
        bus.flush();
        let kinds: Vec<_> = receiver.try_iter().map(|delivery| delivery.routing.kind).collect();
        assert!(kinds.contains(&EventKind::Tool), "{kinds:?}");
    });
}

/// A subscriber receives no event whose publish returned before `subscribe_*` began, and every event published after it
/// returned. The two publishes are on different threads.
#[test]
fn a_subscribe_between_two_publishes() {
    model("a_subscribe_between_two_publishes", 3, || {
        let bus = bus(4, 4);
        let other = bus.clone();
        let publisher = thread::spawn(move || other.publish(session_event(EventKind::Output)).unwrap());
        publisher.join().unwrap();
        let mut receiver = bus.subscribe_all();
        bus.publish(session_event(EventKind::Tool)).unwrap();
        bus.flush();
        let kinds: Vec<_> = receiver.try_iter().map(|delivery| delivery.routing.kind).collect();
        assert_eq!(kinds, [EventKind::Tool], "the cut is not exact");
    });
}

/// A flush that began before a subscription does not attach it in front of an event that was published before it.
#[test]
fn a_flush_races_a_publish_and_a_subscribe() {
    model("a_flush_races_a_publish_and_a_subscribe", 2, || {
        let bus = bus(4, 4);
        let other = bus.clone();
        let flusher = thread::spawn(move || other.flush());
        bus.publish(event()).unwrap();
        let mut receiver = bus.subscribe_all();
        flusher.join().unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_err(), "the cut is not exact");
    });
}

/// An event published after `set_filter` returned is matched against the new filter. A concurrent event is matched
/// against one of the two filters, once.
#[test]
fn set_filter_races_dispatch() {
    model("set_filter_races_dispatch", 2, || {
        let bus = bus(4, 4);
        let mut receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 4);
        let other = bus.clone();
        let other_publisher = thread::spawn(move || other.publish(session_event(EventKind::Tool)).unwrap());
        receiver.set_filter(EventFilter::Kind(EventKind::Output));
        bus.publish(session_event(EventKind::Tool)).unwrap();
        bus.publish(session_event(EventKind::Output)).unwrap();
        other_publisher.join().unwrap();
        bus.flush();
        let kinds: Vec<_> = receiver.try_iter().map(|delivery| delivery.routing.kind).collect();
        assert_eq!(kinds.last(), Some(&EventKind::Output));
        assert!(kinds.len() <= 2 && kinds[..kinds.len() - 1].iter().all(|kind| *kind == EventKind::Tool));
    });
}

/// A receiver is dropped while the ingress is full, so its command to wake dispatch is refused. The batch that frees
/// the space then reaps the slot.
#[test]
fn a_drop_races_the_end_of_a_batch() {
    model("a_drop_races_the_end_of_a_batch", 2, || {
        let bus = bus(1, 1);
        let receiver = bus.subscribe_all();
        bus.publish(event()).unwrap();
        drop(receiver);
        while bus.stats().reaped < 1 {
            thread::yield_now();
        }
    });
}

/// Two receivers that are dropped concurrently are reaped without further traffic, each once.
#[test]
fn drops_race_the_upkeep() {
    model("drops_race_the_upkeep", 3, || {
        let bus = bus(1, 1);
        let first = bus.subscribe_all();
        let second = bus.subscribe_all();
        let dropper = thread::spawn(move || drop(first));
        drop(second);
        dropper.join().unwrap();
        // Nothing is published or flushed. If a request for upkeep is lost, the model exceeds its limit of branches.
        while bus.stats().reaped < 2 {
            thread::yield_now();
        }
        assert_eq!(bus.stats().reaped, 2);
    });
}

/// Three receivers in two chunks of the list are dropped while a reap may run. Each is reaped once, without a later
/// request.
#[test]
fn several_drops_race_a_reap() {
    model("several_drops_race_a_reap", 2, || {
        let bus = bus(1, 1);
        let [first, second, third] = [(); 3].map(|()| bus.subscribe_all());
        let dropper = thread::spawn(move || drop((first, third)));
        drop(second);
        dropper.join().unwrap();
        while bus.stats().reaped < 3 {
            thread::yield_now();
        }
        assert_eq!((bus.stats().reaped, bus.stats().subscribers.len()), (3, 0));
    });
}

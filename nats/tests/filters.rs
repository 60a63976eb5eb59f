//! Filters across the bridge: which conditions the server evaluates, which the bridge evaluates, and that each event
//! arrives once and in order for any combination of interests.

mod common;

use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, EventFilter, EventKind, EventOrigin, EventRouting};
use sharing_bus_nats::NatsOptions;
use sharing_bus_nats_test_server::Server;
use uuid::Uuid;

fn options(server: &Server) -> NatsOptions {
    NatsOptions::new(server.url())
}

fn session(name: &str) -> EventFilter<u64> {
    EventFilter::Session {
        connector_id: "c".into(),
        native_session_id: name.into(),
    }
}

/// Returns the number of messages that the server has sent to all clients.
fn sent(server: &Server) -> u64 {
    server.monitor("/varz")["out_msgs"].as_u64().unwrap()
}

#[test]
fn server_evaluates_the_filter() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let scroll = |n| EventRouting {
        scroll_id: Some(Uuid::from_u128(n)),
        ..EventRouting::session("c", n.to_string(), EventKind::Output)
    };
    let (_remote, mut receiver) = there.listen(EventFilter::ScrollId(Uuid::from_u128(500)));
    let before = sent(&server);
    for n in 0..1000 {
        here.bus.publish(BusEvent::new(scroll(n), n as u64)).unwrap();
    }
    here.wait_acked(1000);
    assert_eq!(next_numbers(&mut receiver, 1), [500]);
    // The messages are one event and some round trips of the sender.
    let more = sent(&server) - before;
    assert!(more < 500, "{more} messages for one matching event");
    let stats = there.stats();
    assert_eq!((stats.imported, stats.filtered_locally, stats.gaps), (1, 0, 0));
}

#[test]
fn bridge_evaluates_conditions_that_the_server_cannot() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let even = EventFilter::custom(|event: &BusEvent<u64>| *event.event % 2 == 0);
    let users = EventFilter::all([EventFilter::Origin(EventOrigin::User), even]);
    let (_remote, mut receiver) = there.listen(users);
    for n in 0..8 {
        let origin = if n < 4 {
            EventOrigin::Connector
        } else {
            EventOrigin::User
        };
        here.bus.publish(number("a", n).with_origin(origin)).unwrap();
    }
    assert_eq!(next_numbers(&mut receiver, 2), [4, 6]);
    here.wait_acked(8);
    here.bus.publish(number("a", 8).with_origin(EventOrigin::User)).unwrap();
    // Events that the filter rejected do not count as missing.
    let delivery = next(&mut receiver);
    assert_eq!((*delivery.event, delivery.missed()), (8, 0));
    assert_eq!((there.stats().imported, there.stats().filtered_locally), (3, 6));
}

#[test]
fn events_of_several_subscriptions_stay_in_order() {
    let server = Server::start();
    let here = Node::start(options(&server).queue_capacity(20_000));
    let there = Node::start(options(&server));
    let names: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    let filter = EventFilter::any(names.iter().map(|name| session(name)));
    let (_remote, mut receiver) = there.listen(filter);
    for n in 0..20_000 {
        let name = &names[(n * 7 % 20) as usize];
        here.bus.publish(number(name, n)).unwrap();
    }
    for n in 0..20_000 {
        let delivery = next(&mut receiver);
        assert_eq!((*delivery.event, delivery.missed()), (n, 0));
    }
    let stats = there.stats();
    assert_eq!((stats.imported, stats.duplicates, stats.gaps), (20_000, 0, 0));
}

#[test]
fn overlapping_interests_deliver_each_event_once() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (_a, mut a) = there.listen(session("a"));
    let (_c, mut c) = there.listen(EventFilter::ConnectorId("c".into()));
    let (_output, mut output) = there.listen(EventFilter::Kind(EventKind::Output));
    let mut local = there.bus.subscribe_filtered(EventFilter::All, 1000);
    for n in 0..100 {
        here.publish("a", [2 * n]);
        here.publish("b", [2 * n + 1]);
    }
    assert_eq!(next_numbers(&mut a, 100), (0..100).map(|n| 2 * n).collect::<Vec<_>>());
    for receiver in [&mut c, &mut output] {
        assert_eq!(next_numbers(receiver, 200), (0..200).collect::<Vec<_>>());
    }
    let numbers: Vec<u64> = local.try_iter().map(|delivery| *delivery.event).collect();
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
}

/// One interest stays while others come and go, so its subscription is replaced by wider and narrower ones. Its
/// receiver must receive every event once and in order.
#[test]
fn interest_loses_nothing_while_others_change() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (_a, mut a) = there.listen(session("a"));
    let (stop, stopped) = channel::<()>();
    let mut published = 0;
    thread::scope(|scope| {
        let (here, seen, published) = (&here, &a, &mut published);
        scope.spawn(move || {
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                here.publish("a", [*published]);
                here.publish("b", [*published]);
                *published += 1;
                wait_until("the receiver has caught up", || seen.len() as u64 + 500 > *published);
            }
            here.publish("a", [*published]);
        });
        for round in 0..30 {
            let filter = match round % 3 {
                0 => EventFilter::All,
                1 => EventFilter::ConnectorId("c".into()),
                _ => session("b"),
            };
            drop(there.listen(filter));
        }
        drop(stop);
    });
    assert_eq!(
        next_numbers(&mut a, published as usize + 1),
        (0..=published).collect::<Vec<_>>()
    );
    assert_eq!((here.stats().lagged, there.stats().gaps), (0, 0));
}

#[test]
fn dropped_interest_ends_its_subscription() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (first, mut receiver) = there.listen(session("a"));
    here.publish("a", [1]);
    assert_eq!(next_numbers(&mut receiver, 1), [1]);
    drop(first);
    let (_second, mut receiver) = there.listen(session("b"));
    here.publish("a", [2]);
    here.publish("b", [3]);
    assert_eq!(next_numbers(&mut receiver, 1), [3]);
    assert_eq!(there.stats().imported, 2);
}

#[test]
fn only_matching_events_are_exported() {
    let server = Server::start();
    let there = Node::start(options(&server));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    let bus = sharing_bus::SharingBus::new();
    let builder = sharing_bus_nats::NatsBridge::builder(&bus, options(&server));
    let bridge = builder.export(session("a")).start().unwrap();
    for n in 0..10 {
        bus.publish(number(if n % 2 == 0 { "a" } else { "b" }, n)).unwrap();
    }
    assert_eq!(next_numbers(&mut receiver, 5), [0, 2, 4, 6, 8]);
    assert_eq!(bridge.shutdown(LIMIT).unwrap().exported, 5);
}

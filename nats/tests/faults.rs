//! Faults of a real server: absent, killed under load, paused, overloaded, and unresponsive during a shutdown. Events
//! accepted on the local bus are always delivered there, and the other side counts its losses exactly.

mod common;

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use common::*;
use sharing_bus::{BusReceiver, EventFilter, SharingBus};
use sharing_bus_nats::{Codec, CodecError, NatsBridge, NatsOptions, RemoteReceiver};
use sharing_bus_nats_test_server::{Options, Server};

fn options(server: &Server) -> NatsOptions {
    NatsOptions::new(server.url())
}

/// Subscribes to the local bus with a queue that is large enough for all events.
fn witness(bus: &SharingBus<u64>) -> BusReceiver<u64> {
    bus.subscribe_filtered(EventFilter::All, 1 << 20)
}

fn assert_has_all(mut witness: BusReceiver<u64>, count: u64) {
    let numbers: Vec<u64> = witness.try_iter().map(|delivery| *delivery.event).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
}

/// Receives the numbers of one session up to `last`. Asserts that no number is repeated or out of order, and that each
/// delivery reports exactly the losses before it. Returns the number of losses.
fn receive_up_to(receiver: &mut RemoteReceiver<u64>, last: u64) -> u64 {
    let (mut expected, mut missing) = (0, 0);
    loop {
        let delivery = next(receiver);
        let n = *delivery.event;
        let missed = delivery.missed() + delivery.missed_at_source();
        assert_eq!(n, expected + missed, "{missed} were missed before {n}");
        missing += missed;
        expected = n + 1;
        if n == last {
            return missing;
        }
    }
}

#[test]
fn bridge_connects_to_a_server_that_starts_later() {
    let mut server = Server::absent(&Options::default());
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    assert!(!here.bridge.is_connected());
    let remote = there.bridge.subscribe_remote(EventFilter::All);
    let mut receiver = remote.receiver(1000);
    server.restart();
    assert!(remote.wait_ready(LIMIT));

    here.publish("a", 0..100);
    assert_eq!(next_numbers(&mut receiver, 100), (0..100).collect::<Vec<_>>());
    here.wait_acked(100);
    assert_eq!(here.stats().lost_on_reconnect, 0);
}

#[test]
fn events_wait_in_the_queue_until_the_server_starts() {
    let mut server = Server::absent(&Options::default());
    let here = Node::start(options(&server).queue_capacity(100));
    here.publish("a", 0..150);
    here.bus.flush();
    let stats = here.stats();
    assert_eq!((stats.exported, stats.queued, stats.lagged), (0, 100, 50));
    server.restart();
    here.wait_acked(100);
    assert_eq!(here.stats().queued, 0);
}

/// Kills and restarts the server under load this many times.
fn restart_under_load(times: u64) {
    let mut server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let local = witness(&here.bus);
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    let mut published = 0;
    for round in 1..=times {
        let before = here.stats().acked;
        here.publish("a", published..published + 3000);
        wait_until("some events are confirmed", || here.stats().acked > before);
        server.kill();
        here.publish("a", published + 3000..published + 6000);
        published += 6000;
        server.restart();
        wait_until("both nodes have reconnected", || {
            here.stats().connects > round && there.stats().connects > round
        });
    }
    // After a reconnect, a client subscribes again before it sends anything else. But each bridge has its own
    // connection, so an event of this bridge arrives at the other bridge only after that bridge has subscribed again.
    wait_until("a new event arrives", || {
        here.publish("a", [published]);
        published += 1;
        let imported = there.stats().imported;
        let queued = here.stats().queued;
        here.bus.flush();
        queued == 0 && there.stats().imported > imported
    });
    here.publish("a", [published]);
    let missing = receive_up_to(&mut receiver, published);
    wait_until("all events are settled", || {
        let stats = here.stats();
        stats.queued == 0 && stats.exported == stats.acked + stats.lost_on_reconnect
    });
    let stats = here.stats();
    assert_eq!(stats.exported + stats.lagged, published + 1);
    let there = there.stats();
    assert_eq!(there.imported + missing, published + 1);
    assert_eq!(there.gaps + there.lost_at_source, missing);
    assert_eq!((there.duplicates, there.malformed), (0, 0));
    assert_eq!(receiver.lagged(), 0);
    assert_has_all(local, published + 1);
}

#[test]
fn losses_after_a_killed_server_are_counted_exactly() {
    restart_under_load(1);
}

#[test]
fn losses_after_many_reconnects_are_counted_exactly() {
    restart_under_load(6);
}

#[test]
fn paused_server_stops_only_the_export() {
    let server = Server::start();
    let here = Node::start(options(&server).queue_capacity(1000).in_flight(500));
    let there = Node::start(options(&server));
    let local = witness(&here.bus);
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    here.publish("a", 0..100);
    here.wait_acked(100);

    server.pause();
    here.publish("a", 100..20_000);
    here.bus.flush();
    assert_has_all(local, 20_000);
    // The server may have answered some round trips before it paused. Events without an answer are not counted as
    // confirmed.
    wait_until("the in-flight limit is reached", || {
        let stats = here.stats();
        stats.exported == stats.acked + 500
    });
    let stats = here.stats();
    assert!(stats.lagged > 0);
    server.resume();

    wait_until("the queue is empty", || here.stats().queued == 0);
    here.publish("a", [20_000]);
    let missing = receive_up_to(&mut receiver, 20_000);
    assert_eq!(missing, here.stats().lagged);
    here.wait_acked(20_001 - missing);
    assert_eq!(here.stats().lost_on_reconnect, 0);
}

/// A codec that waits for a signal before it encodes.
struct Gated(Mutex<Receiver<()>>);

impl Codec<u64> for Gated {
    fn encode(&self, payload: &u64) -> Result<Vec<u8>, CodecError> {
        // Once the sender is dropped, encoding no longer waits.
        let _ = self.0.lock().unwrap().recv();
        Ok(payload.to_le_bytes().to_vec())
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(bytes.try_into().map_err(CodecError::new)?))
    }
}

#[test]
fn slow_bridge_drops_only_events_of_its_own_queue() {
    let server = Server::start();
    let bus = SharingBus::new();
    let (open, gate) = channel();
    let bridge = NatsBridge::builder(&bus, options(&server).queue_capacity(100))
        .codec(Gated(Mutex::new(gate)))
        .start()
        .unwrap();
    let local = witness(&bus);
    (0..10_000).for_each(|n| bus.publish(number("a", n)).unwrap());
    bus.flush();
    assert_has_all(local, 10_000);
    let stats = bridge.stats();
    assert_eq!((stats.exported, stats.acked), (0, 0));
    // The bridge may have taken one batch.
    assert!(stats.lagged >= 10_000 - 100 - 64, "{stats:?}");
    assert_eq!(stats.lagged + stats.queued, 10_000);
    drop(open);
    wait_until("the remaining events are confirmed", || {
        bridge.stats().acked == 10_000 - stats.lagged
    });
}

/// A codec that encodes a number as that many bytes, and fails for some numbers.
struct Sized;

impl Codec<u64> for Sized {
    fn encode(&self, payload: &u64) -> Result<Vec<u8>, CodecError> {
        match payload {
            13 => Err(CodecError::new("unlucky")),
            14 => panic!("a codec that panics"),
            length => Ok(vec![b'x'; *length as usize]),
        }
    }

    fn decode(&self, bytes: &[u8]) -> Result<u64, CodecError> {
        match bytes.len() {
            15 => Err(CodecError::new("unlucky")),
            16 => panic!("a codec that panics"),
            length => Ok(length as u64),
        }
    }
}

#[test]
fn events_that_are_too_large_or_fail_in_the_codec_are_counted_and_reported() {
    let server = Server::start_with(&Options {
        max_payload: Some(2000),
        ..Options::default()
    });
    let buses = [(); 2].map(|()| SharingBus::new());
    let [here, there] = buses.each_ref().map(|bus: &SharingBus<u64>| {
        let builder = NatsBridge::builder(bus, options(&server)).codec(Sized);
        builder.start().unwrap()
    });
    let remote = there.subscribe_remote(EventFilter::All);
    assert!(remote.wait_ready(LIMIT));
    let mut receiver = remote.receiver(100);

    // A payload of 2000 bytes is within the limit, but the headers count too.
    for n in [1, 2000, 3000, 2, 13, 14, 3, 15, 16, 4] {
        buses[0].publish(number("a", n)).unwrap();
    }
    let seen = [(); 4].map(|()| {
        let delivery = next(&mut receiver);
        (*delivery.event, delivery.missed())
    });
    // An event that the receiving side cannot decode is missing there too.
    assert_eq!(seen, [(1, 0), (2, 2), (3, 2), (4, 2)]);
    wait_until("all events are confirmed", || here.stats().acked == 6);
    let stats = here.stats();
    assert_eq!((stats.refused_too_large, stats.encode_failures), (2, 2));
    assert_eq!((stats.exported, stats.connects, stats.queued), (6, 1, 0));
    assert_eq!((there.stats().malformed, there.stats().gaps), (2, 6));
}

#[test]
fn shutdown_sends_queued_events() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    here.publish("a", 0..5000);
    let stats = here.bridge.shutdown(LIMIT).unwrap();
    assert_eq!((stats.acked, stats.queued), (5000, 0));
    assert_eq!(receive_up_to(&mut receiver, 4999), 0);
    // The bus continues without the bridge.
    here.bus.publish(number("a", 5000)).unwrap();
    assert_eq!(here.bus.subscriber_count(), 0);
}

#[test]
fn shutdown_stops_at_its_deadline_and_reports_the_rest() {
    let server = Server::start();
    let here = Node::start(options(&server).in_flight(10));
    here.publish("a", 0..10);
    here.wait_acked(10);
    server.pause();
    here.publish("a", 10..110);
    let error = here.bridge.shutdown(Duration::from_millis(100)).unwrap_err();
    assert!(error.left > 0);
    assert_eq!(error.left + error.stats.acked, 110);
    server.resume();
}

#[test]
fn dropped_bridge_ends_at_once_and_releases_the_bus() {
    let mut server = Server::absent(&Options::default());
    let Node { bus, bridge } = Node::start(options(&server));
    let mut receiver = bus.subscribe_all();
    drop((bus, bridge));
    assert!(receiver.recv().is_err());
    server.kill();
}

#[test]
fn restarted_node_with_the_same_id_is_a_new_source() {
    let server = Server::start();
    let there = Node::start(options(&server));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    let id = uuid::Uuid::from_u128(7);
    for _ in 0..2 {
        let here = Node::start(options(&server).node(id));
        here.publish("a", 0..3);
        here.bridge.shutdown(LIMIT).unwrap();
        assert_eq!(next_numbers(&mut receiver, 3), [0, 1, 2]);
    }
    let stats = there.stats();
    assert_eq!((stats.duplicates, stats.gaps), (0, 0));
}

#[test]
fn realms_are_separate() {
    let server = Server::start();
    let realms = ["one", "two", "one"];
    let [one, two, also_one] = realms.map(|realm| Node::start(options(&server).realm(realm)));
    let (_in_one, mut in_one) = also_one.listen(EventFilter::All);
    let (_in_two, mut in_two) = two.listen(EventFilter::All);
    one.publish("a", 0..10);
    one.wait_acked(10);
    assert_eq!(next_numbers(&mut in_one, 10), (0..10).collect::<Vec<_>>());
    // An event of the other realm would arrive before this one.
    let also_two = Node::start(options(&server).realm("two"));
    also_two.publish("a", [77]);
    assert_eq!(next_numbers(&mut in_two, 1), [77]);
    assert_eq!(two.stats().imported, 1);
}

#[test]
fn panicking_filter_drops_only_that_event() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let picky = EventFilter::custom(|event: &sharing_bus::BusEvent<u64>| {
        assert_ne!(*event.event, 3, "a filter that panics");
        true
    });
    let (_remote, mut receiver) = there.listen(picky);
    here.publish("a", 0..5);
    assert_eq!(next_numbers(&mut receiver, 4), [0, 1, 2, 4]);
    assert_eq!(there.stats().filtered_locally, 1);
}

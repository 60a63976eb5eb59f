//! Export and import: which events cross the bridge, and that each event arrives once and in order.

mod common;

use common::*;
use sharing_bus::{EventFilter, EventOrigin, SharingBus};
use sharing_bus_nats::{NatsBridge, NatsOptions, StartError};
use sharing_bus_nats_test_server::Server;

fn options(server: &Server) -> NatsOptions {
    NatsOptions::new(server.url())
}

#[test]
fn events_arrive_in_order_and_are_marked_remote() {
    let server = Server::start();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    let mut local = there.bus.subscribe_filtered(EventFilter::All, 1000);

    here.publish("a", 0..500);
    for n in 0..500 {
        let delivery = next(&mut receiver);
        assert_eq!((*delivery.event, delivery.missed()), (n, 0));
        assert_eq!(delivery.origin, EventOrigin::Remote);
        assert_eq!(delivery.routing, number("a", n).routing);
    }
    assert_eq!(local.recv().unwrap().origin, EventOrigin::Remote);
    here.wait_acked(500);
    let stats = there.stats();
    assert_eq!((stats.imported, stats.duplicates, stats.gaps), (500, 0, 0));
    assert_eq!((stats.exported, stats.queued), (0, 0));
}

#[test]
fn imported_events_are_not_exported_again() {
    let server = Server::start();
    let nodes = [(); 3].map(|()| Node::start(options(&server)));
    let mut receivers = nodes.each_ref().map(|node| node.listen(EventFilter::All));

    for (index, node) in nodes.iter().enumerate() {
        let first = index as u64 * 100;
        node.publish("a", first..first + 100);
    }
    for (index, (_, receiver)) in receivers.iter_mut().enumerate() {
        let mut numbers = next_numbers(receiver, 200);
        numbers.sort_unstable();
        let own = index as u64;
        let others = (0..300).filter(|n| n / 100 != own);
        assert_eq!(numbers, others.collect::<Vec<_>>());
    }
    // No node has exported an event that it imported: the server received only the events published on each node.
    for (node, (_, receiver)) in nodes.iter().zip(&mut receivers) {
        node.wait_acked(100);
        // The confirmation of an event does not mean that the importer has received it back.
        wait_until("the node has received its own events", || node.stats().own >= 100);
        let stats = node.stats();
        assert_eq!((stats.exported, stats.imported, stats.own), (100, 200, 100));
        assert!(receiver.try_recv().is_err());
    }
}

#[test]
fn events_are_confirmed_without_echo() {
    let server = Server::start();
    let deaf = || options(&server).connect(async_nats::ConnectOptions::new().no_echo());
    let (here, there) = (Node::start(deaf()), Node::start(deaf()));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    here.publish("a", 0..1000);
    here.wait_acked(1000);
    assert_eq!(next_numbers(&mut receiver, 1000), (0..1000).collect::<Vec<_>>());
    assert_eq!(here.stats().own, 0);
}

#[test]
fn invalid_options_are_refused_at_the_start() {
    let bus: SharingBus<u64> = SharingBus::new();
    let refused = |options: NatsOptions| NatsBridge::builder(&bus, options).start().unwrap_err();
    let options = || NatsOptions::new("127.0.0.1");
    assert!(matches!(refused(options().realm("a.b")), StartError::InvalidRealm(_)));
    assert!(matches!(
        refused(options().queue_capacity(0)),
        StartError::ZeroCapacity("queue_capacity")
    ));
    assert!(matches!(
        refused(options().in_flight(0)),
        StartError::ZeroCapacity("in_flight")
    ));
    assert!(matches!(
        refused(options().server("http://a")),
        StartError::InvalidServer(1)
    ));
    bus.flush();
    assert_eq!(bus.subscriber_count(), 0);
}

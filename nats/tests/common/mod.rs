//! Helpers of the bridge's tests: numbered events, nodes, and waiting for a condition with a deadline.

#![allow(dead_code, reason = "each test file uses only a part of this module")]

pub(crate) mod logged;

use std::time::{Duration, Instant};

use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, SharingBus};
use sharing_bus_nats::{NatsBridge, NatsOptions, NatsStats, Remote, RemoteDelivery, RemoteReceiver};

use sharing_bus_nats_test_server::Server;

/// Time limit for each expected condition. It is long because the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

#[track_caller]
pub(crate) fn wait_until(condition: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out waiting until {condition}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Returns a numbered event of a session.
pub(crate) fn number(session: &str, n: u64) -> BusEvent<u64> {
    BusEvent::new(EventRouting::session("c", session, EventKind::Output), n)
}

/// A bus of numbered events and its bridge.
pub(crate) struct Node {
    pub(crate) bus: SharingBus<u64>,
    pub(crate) bridge: NatsBridge<u64>,
}

impl Node {
    pub(crate) fn start(options: NatsOptions) -> Node {
        let bus = SharingBus::new();
        let bridge = NatsBridge::builder(&bus, options).start().unwrap();
        Node { bus, bridge }
    }

    /// Subscribes to remote events, and waits until the server has the subscription.
    #[track_caller]
    pub(crate) fn listen(&self, filter: EventFilter<u64>) -> (Remote<u64>, RemoteReceiver<u64>) {
        let remote = self.bridge.subscribe_remote(filter);
        assert!(remote.wait_ready(LIMIT), "the server does not answer");
        let receiver = remote.receiver(100_000);
        (remote, receiver)
    }

    pub(crate) fn publish(&self, session: &str, numbers: impl IntoIterator<Item = u64>) {
        for n in numbers {
            self.bus.publish(number(session, n)).unwrap();
        }
    }

    pub(crate) fn stats(&self) -> NatsStats {
        self.bridge.stats()
    }

    /// Waits until the server has confirmed this many events.
    #[track_caller]
    pub(crate) fn wait_acked(&self, count: u64) {
        wait_until("the server has confirmed all events", || self.stats().acked == count);
    }
}

#[track_caller]
pub(crate) fn next(receiver: &mut RemoteReceiver<u64>) -> RemoteDelivery<u64> {
    receiver.recv_timeout(LIMIT).expect("an event arrives")
}

#[track_caller]
pub(crate) fn next_numbers(receiver: &mut RemoteReceiver<u64>, count: usize) -> Vec<u64> {
    (0..count).map(|_| *next(receiver).event).collect()
}

/// Asserts that events reach the other node, before and after both nodes have reconnected. Captures the `Debug` output
/// of each value involved.
pub(crate) fn assert_bridged(server: &mut Server, here: Node, there: Node) {
    let (remote, mut receiver) = there.listen(EventFilter::All);
    here.publish("a", [1]);
    assert_eq!(next_numbers(&mut receiver, 1), [1]);
    here.wait_acked(1);
    server.restart();
    wait_until("both nodes have reconnected", || {
        [&here, &there].iter().all(|node| node.stats().connects > 1)
    });
    wait_until("events arrive again", || {
        here.publish("a", [2]);
        receiver.recv_timeout(LIMIT / 1000).is_ok()
    });
    logged::note((&here.bridge, &there.bridge, here.stats(), &remote));
    here.bridge.shutdown(LIMIT).unwrap();
}

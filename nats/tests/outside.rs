//! What comes from outside: messages that no bridge wrote, that come twice, or that do not come. A client of the test's own
//! writes and reads on the same server.

mod common;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use common::*;
use futures_util::StreamExt;
use sharing_bus::{EventFilter, EventKind};
use sharing_bus_nats::NatsOptions;
use sharing_bus_nats_test_server::Server;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// A client beside the bridges.
struct Outsider {
    runtime: Runtime,
    client: Client,
    subscriber: Option<Subscriber>,
}

impl Outsider {
    fn new(server: &Server) -> Outsider {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async_nats::connect(server.url())).unwrap();
        Outsider {
            runtime,
            client,
            subscriber: None,
        }
    }

    fn publish(&self, subject: &str, headers: HeaderMap, payload: &str) {
        let payload = payload.to_owned().into();
        let (client, subject) = (self.client.clone(), subject.to_owned());
        self.runtime.block_on(async move {
            client.publish_with_headers(subject, headers, payload).await.unwrap();
            client.flush().await.unwrap();
        });
    }

    fn repeat(&self, message: &Message) {
        let headers = message.headers.clone().unwrap();
        self.publish(
            &message.subject,
            headers,
            std::str::from_utf8(&message.payload).unwrap(),
        );
    }

    /// Gets all from now on.
    fn listen(&mut self) {
        let subscriber = self.runtime.block_on(async {
            let subscriber = self.client.subscribe("sb1.>").await.unwrap();
            // A request is answered after all before it has been read.
            let _ = self.client.request("nobody", "".into()).await;
            subscriber
        });
        self.subscriber = Some(subscriber);
    }

    fn next(&mut self) -> Message {
        self.runtime.block_on(self.subscriber.as_mut().unwrap().next()).unwrap()
    }
}

impl Drop for Outsider {
    fn drop(&mut self) {
        // A subscriber of the client's must be dropped within a runtime.
        let _entered = self.runtime.enter();
        self.subscriber = None;
    }
}

fn options(server: &Server) -> NatsOptions {
    NatsOptions::new(server.url())
}

const SUBJECT: &str = "sb1.main.essential.c.a._.output";

/// The headers of an event of another node: its place among all, and among those of its subject.
fn headers(epoch: u128, sequence: u64, nth: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("Sb-Origin", Uuid::from_u128(1).simple().to_string());
    headers.insert("Sb-Epoch", Uuid::from_u128(epoch).simple().to_string());
    headers.insert("Sb-Seq", sequence.to_string());
    headers.insert("Sb-Nth", nth.to_string());
    headers.insert("Sb-Event-Origin", "connector");
    headers
}

#[test]
fn what_is_written_is_as_documented() {
    let server = Server::start();
    let mut outsider = Outsider::new(&server);
    outsider.listen();
    let node = Node::start(options(&server));
    node.publish("a", [7, 8]);
    node.publish("b", [9]);

    let origin = node.bridge.node().simple().to_string();
    let mut epochs = Vec::new();
    for (sequence, nth, session) in [("1", "1", "a"), ("2", "2", "a"), ("3", "1", "b")] {
        let message = outsider.next();
        assert_eq!(
            message.subject.as_str(),
            format!("sb1.main.essential.c.{session}._.output")
        );
        let headers = message.headers.unwrap();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        assert_eq!(header("Sb-Origin").as_ref(), Some(&origin));
        assert_eq!(header("Sb-Seq").as_deref(), Some(sequence));
        assert_eq!(header("Sb-Nth").as_deref(), Some(nth));
        assert_eq!(header("Sb-Event-Origin").as_deref(), Some("runtime"));
        assert_eq!(header("Sb-Lost"), None);
        let epoch = header("Sb-Epoch").unwrap();
        let id = headers.get(async_nats::header::NATS_MESSAGE_ID).unwrap();
        assert_eq!(id.as_str(), format!("{origin}.{epoch}.{sequence}"));
        epochs.push(epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
}

#[test]
fn malformed_messages_are_counted_and_harm_nothing() {
    let server = Server::start();
    let outsider = Outsider::new(&server);
    let node = Node::start(options(&server));
    let (_remote, mut receiver) = node.listen(EventFilter::All);

    let without = |name: &str| {
        let mut kept = HeaderMap::new();
        for (header, values) in headers(1, 1, 1).iter() {
            if AsRef::<str>::as_ref(header) != name {
                kept.insert(header.clone(), values[0].clone());
            }
        }
        kept
    };
    let bad = [
        (SUBJECT, HeaderMap::new(), "1"),
        (SUBJECT, without("Sb-Origin"), "1"),
        (SUBJECT, without("Sb-Seq"), "1"),
        (SUBJECT, without("Sb-Event-Origin"), "1"),
        (SUBJECT, headers(1, 1, 1), ""),
        (SUBJECT, headers(1, 1, 1), "\"text\""),
        ("sb1.main.essential.c.a._.telepathy", headers(1, 1, 1), "1"),
        ("sb1.main.vital.c.a._.output", headers(1, 1, 1), "1"),
        ("sb1.main.essential.c.a.no-scroll.output", headers(1, 1, 1), "1"),
        ("sb1.main.essential.c.=zz._.output", headers(1, 1, 1), "1"),
        ("sb1.main.essential.==0.a._.output", headers(1, 1, 1), "1"),
    ];
    let count = bad.len() as u64;
    for (subject, headers, payload) in bad {
        outsider.publish(subject, headers, payload);
    }
    outsider.publish(SUBJECT, headers(1, 1, 1), "42");
    let delivery = next(&mut receiver);
    assert_eq!((*delivery.event, delivery.missed()), (42, 0));
    let stats = node.stats();
    assert_eq!((stats.malformed, stats.imported), (count, 1));
}

#[test]
fn a_message_that_comes_twice_is_delivered_once() {
    let server = Server::start();
    let mut outsider = Outsider::new(&server);
    outsider.listen();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    here.publish("a", 0..3);
    let messages = [(); 3].map(|()| outsider.next());
    for message in messages.iter().rev() {
        outsider.repeat(message);
    }
    outsider.publish(SUBJECT, headers(1, 1, 1), "42");
    assert_eq!(next_numbers(&mut receiver, 4), [0, 1, 2, 42]);
    let stats = there.stats();
    assert_eq!((stats.duplicates, stats.gaps, stats.imported), (3, 0, 4));
    // To their own node they are its own, however often they come.
    let (_remote, mut receiver) = here.listen(EventFilter::All);
    outsider.repeat(&messages[0]);
    outsider.publish(SUBJECT, headers(1, 2, 2), "43");
    assert_eq!(next_numbers(&mut receiver, 1), [43]);
    assert_eq!(here.stats().own, 1);
}

#[test]
fn what_does_not_come_is_missed_at_its_place() {
    let server = Server::start();
    let outsider = Outsider::new(&server);
    let node = Node::start(options(&server));
    let (_remote, mut receiver) = node.listen(EventFilter::Kind(EventKind::Output));
    let mut second = _remote.receiver(2);
    let mut plain = node.bus.subscribe_filtered(EventFilter::All, 16);

    // Sequences jump where other subjects lie between, which were not asked for.
    for (sequence, nth) in [(10, 3), (20, 4), (30, 7), (31, 8), (40, 10), (41, 11)] {
        outsider.publish(SUBJECT, headers(1, sequence, nth), &sequence.to_string());
    }
    let mut late = headers(1, 50, 12);
    late.insert("Sb-Lost", "5");
    outsider.publish(SUBJECT, late, "50");
    outsider.publish("sb1.main.essential.c.b._.output", headers(1, 60, 100), "60");

    let seen = [(); 8].map(|()| {
        let delivery = next(&mut receiver);
        (*delivery.event, delivery.missed(), delivery.missed_at_source())
    });
    let expected = [
        (10, 0, 0),
        (20, 0, 0),
        (30, 2, 0),
        (31, 0, 0),
        (40, 1, 0),
        (41, 0, 0),
        (50, 0, 5),
        (60, 0, 0),
    ];
    assert_eq!(seen, expected);
    let stats = node.stats();
    assert_eq!((stats.gaps, stats.lost_at_source), (3, 5));

    // What a full receiver loses, and what was lost before that, comes with the next that it gets.
    assert_eq!(next_numbers(&mut second, 2), [10, 20]);
    outsider.publish(SUBJECT, headers(1, 61, 13), "61");
    let delivery = next(&mut second);
    assert_eq!(
        (*delivery.event, delivery.missed(), delivery.missed_at_source()),
        (61, 6 + 3, 5)
    );
    assert_eq!(second.lagged(), 6);
    // Others on the bus see the events, and of loss on the way nothing.
    assert!(plain.try_iter().all(|delivery| delivery.missed() == 0));
}

#[test]
fn another_epoch_is_another_source() {
    let server = Server::start();
    let outsider = Outsider::new(&server);
    let node = Node::start(options(&server));
    let (_remote, mut receiver) = node.listen(EventFilter::All);
    // Epochs have no order, so nobody's clock matters.
    for (epoch, sequence) in [(5, 1), (5, 2), (3, 1), (9, 1), (5, 3), (3, 2)] {
        outsider.publish(SUBJECT, headers(epoch, sequence, sequence), &sequence.to_string());
    }
    assert_eq!(next_numbers(&mut receiver, 6), [1, 2, 1, 1, 3, 2]);
    assert_eq!(node.stats().gaps, 0);
}

//! Messages that did not come from a bridge, repeated messages, and missing messages. A separate client on the same
//! server writes and reads these messages.

mod common;

use async_nats::{Client, HeaderMap, Message, Subscriber};
use common::*;
use futures_util::StreamExt;
use sharing_bus::{EventFilter, EventKind};
use sharing_bus_nats::NatsOptions;
use sharing_bus_nats_test_server::Server;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

/// A client that is not a bridge.
struct RawClient {
    runtime: Runtime,
    client: Client,
    subscriber: Option<Subscriber>,
}

impl RawClient {
    fn new(server: &Server) -> RawClient {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let client = runtime.block_on(async_nats::connect(server.url())).unwrap();
        RawClient {
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

    /// Subscribes to all messages of bridges.
    fn listen(&mut self) {
        let subscriber = self.runtime.block_on(async {
            let subscriber = self.client.subscribe("sb1.>").await.unwrap();
            // The server answers the request after it has read the subscription.
            let _ = self.client.request("no-responder", "".into()).await;
            subscriber
        });
        self.subscriber = Some(subscriber);
    }

    fn next(&mut self) -> Message {
        self.runtime.block_on(self.subscriber.as_mut().unwrap().next()).unwrap()
    }
}

impl Drop for RawClient {
    fn drop(&mut self) {
        // A subscriber of the client must be dropped within a runtime.
        let _entered = self.runtime.enter();
        self.subscriber = None;
    }
}

fn options(server: &Server) -> NatsOptions {
    NatsOptions::new(server.url())
}

const SUBJECT: &str = "sb1.main.essential.c.a._.output";

/// Returns the headers of an event of another node, with its sequence and its number within its subject.
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
fn subject_and_headers_match_the_documentation() {
    let server = Server::start();
    let mut raw_client = RawClient::new(&server);
    raw_client.listen();
    let node = Node::start(options(&server));
    node.publish("a", [7, 8]);
    node.publish("b", [9]);

    let origin = node.bridge.node().simple().to_string();
    let mut epochs = Vec::new();
    for (sequence, nth, session) in [("1", "1", "a"), ("2", "2", "a"), ("3", "1", "b")] {
        let message = raw_client.next();
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
fn malformed_messages_are_counted_and_skipped() {
    let server = Server::start();
    let raw_client = RawClient::new(&server);
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
        raw_client.publish(subject, headers, payload);
    }
    raw_client.publish(SUBJECT, headers(1, 1, 1), "42");
    let delivery = next(&mut receiver);
    assert_eq!((*delivery.event, delivery.missed()), (42, 0));
    let stats = node.stats();
    assert_eq!((stats.malformed, stats.imported), (count, 1));
}

#[test]
fn repeated_message_is_delivered_once() {
    let server = Server::start();
    let mut raw_client = RawClient::new(&server);
    raw_client.listen();
    let (here, there) = (Node::start(options(&server)), Node::start(options(&server)));
    let (_remote, mut receiver) = there.listen(EventFilter::All);
    here.publish("a", 0..3);
    let messages = [(); 3].map(|()| raw_client.next());
    for message in messages.iter().rev() {
        raw_client.repeat(message);
    }
    raw_client.publish(SUBJECT, headers(1, 1, 1), "42");
    assert_eq!(next_numbers(&mut receiver, 4), [0, 1, 2, 42]);
    let stats = there.stats();
    assert_eq!((stats.duplicates, stats.gaps, stats.imported), (3, 0, 4));
    // The node that sent a message counts its copy as its own message, not as a duplicate.
    let (_remote, mut receiver) = here.listen(EventFilter::All);
    raw_client.repeat(&messages[0]);
    raw_client.publish(SUBJECT, headers(1, 2, 2), "43");
    assert_eq!(next_numbers(&mut receiver, 1), [43]);
    assert_eq!(here.stats().own, 1);
}

#[test]
fn losses_are_reported_with_the_event_that_follows() {
    let server = Server::start();
    let raw_client = RawClient::new(&server);
    let node = Node::start(options(&server));
    let (_remote, mut receiver) = node.listen(EventFilter::Kind(EventKind::Output));
    let mut second = _remote.receiver(2);
    let mut plain = node.bus.subscribe_filtered(EventFilter::All, 16);

    // The sequences jump because events of other subjects lie between.
    for (sequence, nth) in [(10, 3), (20, 4), (30, 7), (31, 8), (40, 10), (41, 11)] {
        raw_client.publish(SUBJECT, headers(1, sequence, nth), &sequence.to_string());
    }
    let mut late = headers(1, 50, 12);
    late.insert("Sb-Lost", "5");
    raw_client.publish(SUBJECT, late, "50");
    raw_client.publish("sb1.main.essential.c.b._.output", headers(1, 60, 100), "60");

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

    // Losses of a full receiver, and losses on the way before those events, are reported with the next event that it
    // receives.
    assert_eq!(next_numbers(&mut second, 2), [10, 20]);
    raw_client.publish(SUBJECT, headers(1, 61, 13), "61");
    let delivery = next(&mut second);
    assert_eq!(
        (*delivery.event, delivery.missed(), delivery.missed_at_source()),
        (61, 6 + 3, 5)
    );
    assert_eq!(second.lagged(), 6);
    // Other subscribers of the bus receive the events without the losses on the way.
    assert!(plain.try_iter().all(|delivery| delivery.missed() == 0));
}

#[test]
fn each_epoch_is_a_separate_source() {
    let server = Server::start();
    let raw_client = RawClient::new(&server);
    let node = Node::start(options(&server));
    let (_remote, mut receiver) = node.listen(EventFilter::All);
    // Epochs have no order, because no clock is involved.
    for (epoch, sequence) in [(5, 1), (5, 2), (3, 1), (9, 1), (5, 3), (3, 2)] {
        raw_client.publish(SUBJECT, headers(epoch, sequence, sequence), &sequence.to_string());
    }
    assert_eq!(next_numbers(&mut receiver, 6), [1, 2, 1, 1, 3, 2]);
    assert_eq!(node.stats().gaps, 0);
}

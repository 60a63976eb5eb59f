//! Session registrations in the bucket: they reach nodes that join late, and are deleted when sessions end.

mod common;

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::stream::{Config, LastRawMessageErrorKind, Stream};
use common::{LIMIT, wait_until};
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
use sharing_bus_nats::{NatsBridge, NatsOptions, StartError};
use sharing_bus_nats_test_server::Server;
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

struct Node {
    bus: SharingBus,
    bridge: NatsBridge<Event>,
}

impl Node {
    fn start(server: &Server) -> Node {
        Node::with(NatsOptions::new(server.url()).session_bucket("sessions"))
    }

    fn with(options: NatsOptions) -> Node {
        let bus = SharingBus::new();
        let bridge = NatsBridge::builder(&bus, options).start().unwrap();
        Node { bus, bridge }
    }

    fn register(&self, session: &str, scroll_id: Uuid) {
        let event = Event::SessionRegistered {
            connector_id: "c".into(),
            session_id: session.into(),
            scroll_id: scroll_id.to_string(),
        };
        self.publish(session, EventKind::SessionLifecycle, event);
    }

    fn end(&self, session: &str) {
        let event = Event::SessionEnded {
            connector_id: "c".into(),
            session_id: session.into(),
        };
        self.publish(session, EventKind::SessionLifecycle, event);
    }

    fn publish(&self, session: &str, kind: EventKind, event: Event) {
        let routing = EventRouting::session("c", session, kind);
        self.bus.publish(BusEvent::new(routing, event)).unwrap();
    }

    #[track_caller]
    fn wait_bound(&self, session: &str, scroll_id: Option<Uuid>) {
        wait_until(&format!("{session} is bound to {scroll_id:?}"), || {
            self.bus.scroll_id("c", session) == scroll_id
        });
    }
}

/// A bucket that a separate client created before any bridge started.
struct Bucket {
    runtime: Runtime,
    stream: Stream,
}

impl Bucket {
    fn new(server: &Server, max_age: Duration) -> Bucket {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let stream = runtime.block_on(async {
            let client = async_nats::connect(server.url()).await.unwrap();
            let config = Config {
                name: "KV_sessions".to_owned(),
                subjects: vec!["$KV.sessions.>".to_owned()],
                max_messages_per_subject: 1,
                max_age,
                ..Config::default()
            };
            jetstream::new(client).create_stream(config).await.unwrap()
        });
        Bucket { runtime, stream }
    }

    fn has(&self, key: &str) -> bool {
        let subject = format!("$KV.sessions.{key}");
        let last = self.stream.get_last_raw_message_by_subject(&subject);
        match self.runtime.block_on(last) {
            Ok(_) => true,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn max_age(&self) -> Duration {
        self.runtime.block_on(self.stream.get_info()).unwrap().config.max_age
    }
}

fn scroll(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

#[test]
fn late_node_binds_the_events_that_it_publishes() {
    let server = Server::start_jetstream();
    let early = Node::start(&server);
    early.register("a", scroll(1));
    early.register("an id. with > and *", scroll(2));
    early.register(&"long".repeat(100), scroll(3));
    wait_until("all sessions are in the bucket", || {
        early.bridge.stats().bindings_put == 3
    });

    // The late node imports no events.
    let late = Node::start(&server);
    late.wait_bound("a", Some(scroll(1)));
    late.wait_bound("an id. with > and *", Some(scroll(2)));
    late.wait_bound(&"long".repeat(100), Some(scroll(3)));
    let mut view = late.bus.subscribe_filtered(EventFilter::ScrollId(scroll(1)), 16);
    late.publish("a", EventKind::Output, Event::Connected);
    assert_eq!(view.recv().unwrap().routing.scroll_id, Some(scroll(1)));

    // Other nodes receive the late node's events with the scroll.
    let remote = early.bridge.subscribe_remote(EventFilter::ScrollId(scroll(1)));
    assert!(remote.wait_ready(LIMIT));
    let mut receiver = remote.receiver(16);
    late.publish("a", EventKind::Output, Event::Connected);
    assert_eq!(receiver.recv_timeout(LIMIT).unwrap().routing.scroll_id, Some(scroll(1)));
    assert_eq!(late.bridge.stats().bindings_applied, 3);
    // The early node's own sessions were not bound again.
    assert_eq!(early.bridge.stats().bindings_applied, 0);
}

#[test]
fn ended_and_forgotten_sessions_leave_the_bucket() {
    let server = Server::start_jetstream();
    let (here, there) = (Node::start(&server), Node::start(&server));
    for (session, n) in [("ended", 1), ("forgotten", 2), ("forgotten from there", 3), ("kept", 4)] {
        here.register(session, scroll(n));
        there.wait_bound(session, Some(scroll(n)));
    }
    here.end("ended");
    there.wait_bound("ended", None);
    here.bus.forget_session("c", "forgotten");
    there.wait_bound("forgotten", None);
    assert_eq!(
        there.bridge.forget_session("c", "forgotten from there"),
        Some(scroll(3))
    );
    here.wait_bound("forgotten from there", None);

    let late = Node::start(&server);
    late.wait_bound("kept", Some(scroll(4)));
    assert_eq!(late.bus.session_count(), 1);
    // The late node has registered none of the sessions, so it deletes none of them.
    assert_eq!(late.bridge.stats().bindings_deleted, 0);
}

#[test]
fn forgotten_session_leaves_a_busy_bucket() {
    let server = Server::start_jetstream();
    let (here, there) = (Node::start(&server), Node::start(&server));
    here.register("forgotten", scroll(1));
    there.wait_bound("forgotten", Some(scroll(1)));
    here.bus.forget_session("c", "forgotten");
    wait_until("the session is forgotten on the other node", || {
        here.register("another", scroll(2));
        here.end("another");
        there.bus.scroll_id("c", "forgotten").is_none()
    });
}

/// This test takes a few seconds, because the server's clock determines the age of entries.
#[test]
fn live_sessions_are_renewed_and_others_expire() {
    const LIFETIME: Duration = Duration::from_secs(4);
    let server = Server::start_jetstream();
    let bucket = Bucket::new(&server, LIFETIME);
    let here = Node::start(&server);
    here.register("lives", scroll(1));
    wait_until("the session is in the bucket", || here.bridge.stats().bindings_put == 1);
    let gone = Node::start(&server);
    gone.register("left behind", scroll(2));
    here.wait_bound("left behind", Some(scroll(2)));
    assert!(bucket.has("c.left=20behind"));
    // The node ends without deleting its session, as after a crash.
    drop(gone);

    // The live session is older, so it has been renewed by the time the other entry expires.
    wait_until("the entry has expired", || !bucket.has("c.left=20behind"));
    let late = Node::start(&server);
    late.wait_bound("lives", Some(scroll(1)));
    assert!(here.bridge.stats().bindings_put > 1);
    assert_eq!(late.bus.scroll_id("c", "left behind"), None);
    // A node that has bound the expired session keeps it.
    assert_eq!(here.bus.scroll_id("c", "left behind"), Some(scroll(2)));
    assert_eq!(here.bridge.stats().bindings_forgotten, 0);
    // The bridges use the existing bucket.
    assert_eq!(bucket.max_age(), LIFETIME);
}

#[test]
fn session_registered_again_is_bound_again() {
    let server = Server::start_jetstream();
    let (here, there) = (Node::start(&server), Node::start(&server));
    for n in 1..=20 {
        here.register("a", scroll(n));
        here.end("a");
    }
    here.register("a", scroll(21));
    there.wait_bound("a", Some(scroll(21)));
    // Another node takes over the session. From then on, the session belongs to that node.
    there.register("a", scroll(22));
    here.wait_bound("a", Some(scroll(22)));
    here.end("a");
    there.wait_bound("a", None);
}

#[test]
fn registrations_during_an_outage_arrive_after_it() {
    let mut server = Server::start_jetstream();
    let (here, there) = (Node::start(&server), Node::start(&server));
    here.register("before", scroll(1));
    here.register("ends meanwhile", scroll(2));
    there.wait_bound("before", Some(scroll(1)));
    there.wait_bound("ends meanwhile", Some(scroll(2)));
    server.kill();
    here.register("meanwhile", scroll(3));
    here.end("ends meanwhile");
    server.restart();
    there.wait_bound("meanwhile", Some(scroll(3)));
    there.wait_bound("ends meanwhile", None);
    let late = Node::start(&server);
    late.wait_bound("before", Some(scroll(1)));
}

#[test]
fn server_without_jetstream_disables_only_the_bucket() {
    let server = Server::start();
    let (here, there) = (Node::start(&server), Node::start(&server));
    let remote = there.bridge.subscribe_remote(EventFilter::All);
    assert!(remote.wait_ready(LIMIT));
    let mut receiver = remote.receiver(16);
    here.publish("a", EventKind::Output, Event::Connected);
    assert_eq!(*receiver.recv_timeout(LIMIT).unwrap().event, Event::Connected);
    wait_until("the bucket has been tried", || here.bridge.stats().binding_failures > 0);
}

#[test]
fn bucket_name_must_be_a_plain_token() {
    let bus: SharingBus = SharingBus::new();
    let options = NatsOptions::new("127.0.0.1").session_bucket("a.b");
    let refused = NatsBridge::builder(&bus, options).start();
    assert!(matches!(refused, Err(StartError::InvalidBucket)));
}

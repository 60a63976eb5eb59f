//! Who this is stays between the client and the server: wrong credentials are a typed error, and no secret is shown or
//! logged, by the bridge or by the client. A binary of its own, for it sets the loggers of the process.

mod common;
mod server;

use std::fmt::{Debug, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::ConnectOptions;
use common::*;
use server::{Options, Server};
use sharing_bus::{EventFilter, SharingBus};
use sharing_bus_nats::{Archive, ArchiveOptions, ArchiveReader, NatsBridge, NatsOptions, StartError};

/// All that anybody logs, by either way.
static LINES: Mutex<String> = Mutex::new(String::new());

fn note(line: impl Debug) {
    writeln!(LINES.lock().unwrap(), "{line:?}").unwrap();
}

struct Log;

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        note(record.args());
    }

    fn flush(&self) {}
}

struct Trace(AtomicU64);

impl tracing::Subscriber for Trace {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        note(span);
        // Ordering: Relaxed, a counter.
        tracing::span::Id::from_u64(self.0.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        note(values);
    }

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        note(event);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

fn server() -> Server {
    Server::start_with(&Options {
        jetstream: true,
        login: Some(("someone".to_owned(), "hunter2".to_owned())),
        ..Options::default()
    })
}

fn start(options: NatsOptions) -> Result<NatsBridge<u64>, StartError> {
    note(&options);
    let bus = SharingBus::new();
    let builder = NatsBridge::builder(&bus, options);
    note(&builder);
    let bridge = builder.start();
    note(&bridge);
    bridge
}

/// One test, as the loggers are for the process.
#[test]
fn wrong_credentials_are_an_error_and_no_secret_is_shown() {
    log::set_logger(&Log).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Trace(AtomicU64::new(1))).unwrap();
    let mut server = server();
    let url = server.url();
    let in_url = |user: &str| url.replace("nats://", &format!("nats://{user}@"));
    let by_password =
        |password: &str| ConnectOptions::with_user_and_password("someone".to_owned(), password.to_owned());

    for refused in [
        NatsOptions::new(&url),
        NatsOptions::new(&url).connect(by_password("wr0ng")),
        NatsOptions::new(&url).connect(ConnectOptions::with_token("t0ken".to_owned())),
        NatsOptions::new(in_url("someone:wr0ng")),
        NatsOptions::new(in_url("t0ken")),
    ] {
        let error = start(refused).unwrap_err();
        assert!(matches!(error, StartError::Unauthorized), "{error:?}");
        note(error.to_string());
    }
    let invalid = start(NatsOptions::new("nats://someone:hunter2@[nonsense")).unwrap_err();
    assert!(matches!(invalid, StartError::InvalidServer(0)), "{invalid:?}");

    let here = start(NatsOptions::new(&url).connect(by_password("hunter2"))).unwrap();
    let there = start(NatsOptions::new(in_url("someone:hunter2"))).unwrap();
    let remote = there.subscribe_remote(EventFilter::All);
    assert!(remote.wait_ready(LIMIT));
    // It logs in again when it reconnects.
    server.restart();
    wait_until("both are back", || {
        [&here, &there].iter().all(|bridge| bridge.stats().connects > 1)
    });
    note((&here, &there, here.stats(), &remote));
    here.shutdown(LIMIT).unwrap();

    let archive_options = || NatsOptions::new(in_url("someone:hunter2"));
    let bus = SharingBus::new();
    let archive = Archive::start(&bus, archive_options(), ArchiveOptions::new()).unwrap();
    bus.publish(number("a", 1)).unwrap();
    let mut reader = ArchiveReader::<u64>::open(archive_options(), EventFilter::All, 0).unwrap();
    wait_until("it is archived", || !reader.next_batch(1, LIMIT / 100).is_empty());
    note(&archive);
    archive.shutdown(LIMIT);

    let lines = LINES.lock().unwrap().clone();
    // The client does tell of its connections here.
    assert!(lines.contains("attempting connection"), "{lines}");
    for secret in ["hunter2", "wr0ng", "t0ken"] {
        let line = lines.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

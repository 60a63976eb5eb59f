//! Credentials: wrong credentials cause a typed error, and neither the bridge nor the client shows or logs a secret.
//! These tests are a separate binary because they set the loggers of the process.

mod common;

use async_nats::ConnectOptions;
use common::logged::{self, note};
use common::*;
use nkeys::KeyPair;
use sharing_bus::{EventFilter, SharingBus};
use sharing_bus_nats::{Archive, ArchiveOptions, ArchiveReader, NatsBridge, NatsOptions, StartError};
use sharing_bus_nats_test_server::{Login, Options, Server};

fn server(login: Login) -> Server {
    logged::capture();
    Server::start_with(&Options {
        jetstream: true,
        login: Some(login),
        ..Options::default()
    })
}

/// Starts a bridge, and captures the `Debug` output of each value involved.
fn start(bus: &SharingBus<u64>, options: NatsOptions) -> Result<NatsBridge<u64>, StartError> {
    note(&options);
    let builder = NatsBridge::builder(bus, options);
    note(&builder);
    let bridge = builder.start();
    note(&bridge);
    bridge
}

fn node(options: NatsOptions) -> Node {
    let bus = SharingBus::new();
    let bridge = start(&bus, options).unwrap();
    Node { bus, bridge }
}

fn with_user(url: &str, user: &str) -> String {
    url.replace("nats://", &format!("nats://{user}@"))
}

/// Asserts that a bridge, an archive and a reader are refused with each of the options.
#[track_caller]
fn assert_refused<const N: usize>(all: impl Fn() -> [NatsOptions; N]) {
    let bus = SharingBus::new();
    let bridges = all().map(|options| start(&bus, options).err());
    let archives = all().map(|options| Archive::start(&bus, options, ArchiveOptions::new()).err());
    let readers = all().map(|options| ArchiveReader::<u64>::open(options, EventFilter::All, 0).err());
    for (kind, errors) in [("bridge", bridges), ("archive", archives), ("reader", readers)] {
        for (index, error) in errors.into_iter().enumerate() {
            assert!(
                matches!(error, Some(StartError::Unauthorized)),
                "{kind} {index}: {error:?}"
            );
            note(error.unwrap().to_string());
        }
    }
    wait_until("no subscriber is left", || bus.stats().subscribers.is_empty());
}

/// Asserts that an archive can be written and read.
fn assert_archived(options: impl Fn() -> NatsOptions) {
    let bus = SharingBus::new();
    let archive = Archive::start(&bus, options(), ArchiveOptions::new()).unwrap();
    bus.publish(number("a", 1)).unwrap();
    let mut reader = ArchiveReader::<u64>::open(options(), EventFilter::All, 0).unwrap();
    wait_until("the event is archived", || {
        !reader.next_batch(1, LIMIT / 100).is_empty()
    });
    note((&archive, &reader));
    archive.shutdown(LIMIT);
}

#[test]
fn password_login() {
    let mut server = server(Login::Password {
        user: "alice".to_owned(),
        password: "hunter2".to_owned(),
    });
    let url = server.url();
    let by_password = |password: &str| ConnectOptions::with_user_and_password("alice".to_owned(), password.to_owned());
    let in_url = |user: &str| NatsOptions::new(with_user(&url, user));
    let by_option = |connect| NatsOptions::new(&url).connect(connect);

    assert_refused(|| {
        [
            NatsOptions::new(&url),
            by_option(by_password("wr0ng")),
            by_option(ConnectOptions::with_token("t0ken".to_owned())),
            in_url("alice:wr0ng"),
            in_url("t0ken"),
        ]
    });
    let invalid = start(&SharingBus::new(), NatsOptions::new("nats://alice:hunter2@[nonsense")).unwrap_err();
    assert!(matches!(invalid, StartError::InvalidServer(0)), "{invalid:?}");

    let (here, there) = (by_option(by_password("hunter2")), in_url("alice:hunter2"));
    assert_bridged(&mut server, node(here), node(there));
    assert_archived(|| in_url("alice:hunter2"));
    logged::assert_none_shown(&["hunter2", "wr0ng", "t0ken"]);
}

#[test]
fn token_login() {
    let mut server = server(Login::Token("op3nsesame".to_owned()));
    let url = server.url();
    let in_url = |token: &str| NatsOptions::new(with_user(&url, token));
    let by_option = |token: &str| NatsOptions::new(&url).connect(ConnectOptions::with_token(token.to_owned()));

    assert_refused(|| {
        [
            NatsOptions::new(&url),
            by_option("op3nsesam"),
            in_url("cl0sesame"),
            // The server has no user with that name.
            in_url("op3nsesame:op3nsesame"),
        ]
    });
    assert_bridged(&mut server, node(by_option("op3nsesame")), node(in_url("op3nsesame")));
    assert_archived(|| by_option("op3nsesame"));
    logged::assert_none_shown(&["op3nsesam", "cl0sesame"]);
}

#[test]
fn nkey_login() {
    let (user, another) = (KeyPair::new_user(), KeyPair::new_user());
    let (seed, wrong) = (user.seed().unwrap(), another.seed().unwrap());
    let mut server = server(Login::NKey(user.public_key()));
    let url = server.url();
    let by_seed = |seed: &str| NatsOptions::new(&url).connect(ConnectOptions::with_nkey(seed.to_owned()));

    assert_refused(|| {
        [
            NatsOptions::new(&url),
            by_seed(&wrong),
            // An invalid seed.
            by_seed("SUN0SEED"),
        ]
    });
    assert_bridged(&mut server, node(by_seed(&seed)), node(by_seed(&seed)));
    assert_archived(|| by_seed(&seed));
    logged::assert_none_shown(&[&seed, &wrong, "SUN0SEED"]);
}

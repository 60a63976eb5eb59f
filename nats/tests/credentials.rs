//! Who this is stays between the client and the server: wrong credentials are a typed error, and no secret is shown or
//! logged, by the bridge or by the client. A binary of its own, for it sets the loggers of the process.

mod common;

use async_nats::ConnectOptions;
use common::logged::{self, note};
use common::*;
use nkeys::KeyPair;
use sharing_bus::{EventFilter, SharingBus};
use sharing_bus_nats::{Archive, ArchiveOptions, ArchiveReader, NatsBridge, NatsOptions, StartError};
use sharing_bus_nats_test_server::{Login, Options, Server};

fn server(login: Login) -> Server {
    logged::keep();
    Server::start_with(&Options {
        jetstream: true,
        login: Some(login),
        ..Options::default()
    })
}

/// Shows all that there is to show.
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

/// With each, a bridge, an archive and its reader are refused, in words that tell nothing.
#[track_caller]
fn assert_refused<const N: usize>(all: impl Fn() -> [NatsOptions; N]) {
    let bus = SharingBus::new();
    let bridges = all().map(|options| start(&bus, options).err());
    let archives = all().map(|options| Archive::start(&bus, options, ArchiveOptions::new()).err());
    let readers = all().map(|options| ArchiveReader::<u64>::open(options, EventFilter::All, 0).err());
    for (what, errors) in [("bridge", bridges), ("archive", archives), ("reader", readers)] {
        for (index, error) in errors.into_iter().enumerate() {
            assert!(
                matches!(error, Some(StartError::Unauthorized)),
                "{what} {index}: {error:?}"
            );
            note(error.unwrap().to_string());
        }
    }
    wait_until("nobody listens", || bus.stats().subscribers.is_empty());
}

/// An archive is written and read.
fn assert_archived(options: impl Fn() -> NatsOptions) {
    let bus = SharingBus::new();
    let archive = Archive::start(&bus, options(), ArchiveOptions::new()).unwrap();
    bus.publish(number("a", 1)).unwrap();
    let mut reader = ArchiveReader::<u64>::open(options(), EventFilter::All, 0).unwrap();
    wait_until("it is archived", || !reader.next_batch(1, LIMIT / 100).is_empty());
    note((&archive, &reader));
    archive.shutdown(LIMIT);
}

#[test]
fn a_password() {
    let mut server = server(Login::Password {
        user: "someone".to_owned(),
        password: "hunter2".to_owned(),
    });
    let url = server.url();
    let by_password =
        |password: &str| ConnectOptions::with_user_and_password("someone".to_owned(), password.to_owned());
    let in_url = |user: &str| NatsOptions::new(with_user(&url, user));
    let by_option = |connect| NatsOptions::new(&url).connect(connect);

    assert_refused(|| {
        [
            NatsOptions::new(&url),
            by_option(by_password("wr0ng")),
            by_option(ConnectOptions::with_token("t0ken".to_owned())),
            in_url("someone:wr0ng"),
            in_url("t0ken"),
        ]
    });
    let invalid = start(&SharingBus::new(), NatsOptions::new("nats://someone:hunter2@[nonsense")).unwrap_err();
    assert!(matches!(invalid, StartError::InvalidServer(0)), "{invalid:?}");

    let (here, there) = (by_option(by_password("hunter2")), in_url("someone:hunter2"));
    assert_bridged(&mut server, node(here), node(there));
    assert_archived(|| in_url("someone:hunter2"));
    logged::assert_none_shown(&["hunter2", "wr0ng", "t0ken"]);
}

#[test]
fn a_token() {
    let mut server = server(Login::Token("op3nsesame".to_owned()));
    let url = server.url();
    let in_url = |token: &str| NatsOptions::new(with_user(&url, token));
    let by_option = |token: &str| NatsOptions::new(&url).connect(ConnectOptions::with_token(token.to_owned()));

    assert_refused(|| {
        [
            NatsOptions::new(&url),
            by_option("op3nsesam"),
            in_url("cl0sesame"),
            // No user of that name, whatever the password.
            in_url("op3nsesame:op3nsesame"),
        ]
    });
    assert_bridged(&mut server, node(by_option("op3nsesame")), node(in_url("op3nsesame")));
    assert_archived(|| by_option("op3nsesame"));
    logged::assert_none_shown(&["op3nsesam", "cl0sesame"]);
}

#[test]
fn an_nkey() {
    let (user, another) = (KeyPair::new_user(), KeyPair::new_user());
    let (seed, wrong) = (user.seed().unwrap(), another.seed().unwrap());
    let mut server = server(Login::NKey(user.public_key()));
    let url = server.url();
    let by_seed = |seed: &str| NatsOptions::new(&url).connect(ConnectOptions::with_nkey(seed.to_owned()));

    assert_refused(|| {
        [
            NatsOptions::new(&url),
            by_seed(&wrong),
            // It does not sign at all.
            by_seed("SUN0SEED"),
        ]
    });
    assert_bridged(&mut server, node(by_seed(&seed)), node(by_seed(&seed)));
    assert_archived(|| by_seed(&seed));
    logged::assert_none_shown(&[&seed, &wrong, "SUN0SEED"]);
}

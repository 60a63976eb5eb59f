//! TLS with a private root. A node that does not trust the server's certificate does not connect, counts the failed
//! attempts, and keeps trying. These tests are a separate binary because they set the loggers of the process.

mod common;

use std::path::PathBuf;

use async_nats::ConnectOptions;
use common::logged::{self, note};
use common::*;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use sharing_bus::{EventFilter, SharingBus};
use sharing_bus_nats::{Archive, ArchiveOptions, ArchiveReader, NatsBridge, NatsOptions, ShutdownError, StartError};
use sharing_bus_nats_test_server::{Cluster, Options, Server, Tls, free_port};
use tempfile::TempDir;

/// A root certificate, and the files of all certificates that it has signed.
struct Root {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM files.
struct Signed {
    certificate: PathBuf,
    key: PathBuf,
    key_text: String,
}

impl Root {
    fn new() -> Root {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // All roots have the same name, so that only the signature distinguishes them.
        params.distinguished_name.push(DnType::CommonName, "a root");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("root.pem"), certificate.pem()).unwrap();
        Root {
            folder,
            issuer: Issuer::new(params, key),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("root.pem")
    }

    /// Creates a certificate for both ends of a connection.
    fn sign(&self, name: &str) -> Signed {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let file = |suffix: &str, text: &str| {
            let path = self.folder.path().join(format!("{name}.{suffix}.pem"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Signed {
            certificate: file("certificate", &certificate.pem()),
            key: file("key", &key.serialize_pem()),
            key_text: key.serialize_pem(),
        }
    }
}

fn server(of: &Signed, client_root: Option<&Root>) -> Server {
    logged::capture();
    Server::start_with(&Options {
        jetstream: true,
        tls: Some(Tls {
            certificate: of.certificate.clone(),
            key: of.key.clone(),
            client_root: client_root.map(Root::path),
        }),
        ..Options::default()
    })
}

fn trusting(root: &Root) -> ConnectOptions {
    ConnectOptions::new().add_root_certificates(root.path())
}

fn with_certificate(root: &Root, own: &Signed) -> ConnectOptions {
    trusting(root).add_client_certificate(own.certificate.clone(), own.key.clone())
}

fn options(url: &str, connect: ConnectOptions) -> NatsOptions {
    let options = NatsOptions::new(url).connect(connect);
    note(&options);
    options
}

/// Asserts that the bridge starts, counts failed attempts, and sends nothing.
#[track_caller]
fn assert_not_connected(server: &Server, options: NatsOptions) {
    let node = Node::start(options);
    node.publish("a", [1]);
    wait_until("the client has tried more than once", || {
        node.stats().connect_failures > 2
    });
    assert!(!node.bridge.is_connected());
    note((&node.bridge, node.stats()));
    let ShutdownError { stats, left } = node.bridge.shutdown(LIMIT / 100).unwrap_err();
    assert_eq!((left, stats.acked, stats.connects), (1, 0, 0));
    wait_until("the client has disconnected", || {
        server.monitor("/connz")["num_connections"] == 0
    });
}

#[test]
fn private_root_is_trusted_if_it_is_configured() {
    let (root, other) = (Root::new(), Root::new());
    let signed = root.sign("127.0.0.1");
    let mut server = server(&signed, None);
    let url = server.url();
    assert!(url.starts_with("tls://"));
    // The server requires TLS for both forms of the address.
    let plain = url.replace("tls://", "nats://");
    let node = |address: &str| Node::start(options(address, trusting(&root)));
    assert_bridged(&mut server, node(&url), node(&plain));

    for address in [&url, &plain] {
        assert_not_connected(&server, options(address, trusting(&other)));
        // No root of the system has signed the certificate.
        assert_not_connected(&server, NatsOptions::new(address));
    }
    logged::assert_shown("UnknownIssuer");
    logged::assert_none_shown(&key_lines(&signed));
}

#[test]
fn certificate_for_another_host_is_refused() {
    let root = Root::new();
    let signed = root.sign("another.host");
    let server = server(&signed, None);
    assert_not_connected(&server, options(&server.url(), trusting(&root)));
    logged::assert_shown("not valid for name");
    logged::assert_none_shown(&key_lines(&signed));
}

#[test]
fn server_without_tls_is_refused_if_the_address_requires_tls() {
    logged::capture();
    let server = Server::start();
    let root = Root::new();
    let url = server.url().replace("nats://", "tls://");
    assert_not_connected(&server, options(&url, trusting(&root)));
    let required = trusting(&root).require_tls(true);
    assert_not_connected(&server, options(&server.url(), required));
}

/// Servers announce the other servers of their cluster to clients. These addresses do not contain a scheme that
/// requires TLS.
#[test]
fn other_servers_of_the_cluster_are_used_only_with_tls() {
    logged::capture();
    let root = Root::new();
    let signed = root.sign("127.0.0.1");
    let tls = Some(Tls {
        certificate: signed.certificate,
        key: signed.key,
        client_root: None,
    });
    for other in [tls.clone(), None] {
        let ports = [free_port(), free_port()];
        let server = |tls: &Option<Tls>, [own, peer]: [u16; 2]| {
            Server::start_with(&Options {
                tls: tls.clone(),
                cluster: Some(Cluster { own, peer }),
                ..Options::default()
            })
        };
        let mut first = server(&tls, ports);
        let second = server(&other, [ports[1], ports[0]]);
        wait_until("the servers have formed a cluster", || {
            let urls = &first.monitor("/varz")["connect_urls"];
            urls.as_array().is_some_and(|urls| urls.len() == 2)
        });
        let node = Node::start(options(&first.url(), trusting(&root)));
        assert!(node.bridge.is_connected());
        first.kill();
        if other.is_some() {
            wait_until("the client has connected to the other server", || {
                node.stats().connects == 2
            });
        } else {
            // Each attempt tries all servers.
            wait_until("the client has tried more than once", || {
                node.stats().connect_failures > 1
            });
            assert_eq!(node.stats().connects, 1);
        }
        drop(second);
    }
}

#[test]
fn client_certificate_login() {
    let (root, clients, other) = (Root::new(), Root::new(), Root::new());
    let mut server = server(&root.sign("127.0.0.1"), Some(&clients));
    let url = server.url();
    let (own, wrong) = (clients.sign("node"), other.sign("node"));
    let with = |own: &Signed| options(&url, with_certificate(&root, own));
    let node = || Node::start(with(&own));
    assert_bridged(&mut server, node(), node());
    assert_not_connected(&server, with(&wrong));
    assert!(
        server.log().contains("certificate signed by unknown authority"),
        "{}",
        server.log()
    );
    assert_not_connected(&server, options(&url, trusting(&root)));
    assert!(
        server.log().contains("client didn't provide a certificate"),
        "{}",
        server.log()
    );
    logged::assert_none_shown(&[key_lines(&own), key_lines(&wrong)].concat());
}

#[test]
fn archive_uses_tls() {
    let (root, other) = (Root::new(), Root::new());
    let server = server(&root.sign("127.0.0.1"), None);
    let url = server.url();
    let bus = SharingBus::new();
    let apart = Archive::start(&bus, options(&url, trusting(&other)), ArchiveOptions::new()).unwrap();
    let archive = Archive::start(&bus, options(&url, trusting(&root)), ArchiveOptions::new()).unwrap();
    bus.publish(number("a", 1)).unwrap();
    wait_until("the event is stored", || archive.stats().stored == 1);
    wait_until("the other archive has tried more than once", || {
        apart.stats().connect_failures > 2
    });
    let stats = apart.shutdown(LIMIT / 100);
    assert_eq!((stats.connects, stats.stored, stats.unsettled()), (0, 0, 1));
    let stats = archive.shutdown(LIMIT);
    assert_eq!((stats.connects, stats.connect_failures, stats.unsettled()), (1, 0, 0));

    let open = |root: &Root| ArchiveReader::<u64>::open(options(&url, trusting(root)), EventFilter::All, 0).unwrap();
    let mut reader = open(&root);
    wait_until("the event is read", || !reader.next_batch(1, LIMIT / 100).is_empty());
    assert_eq!(open(&other).next_batch(1, LIMIT / 100).len(), 0);
}

#[test]
fn unreadable_certificate_or_key_is_an_error() {
    let root = Root::new();
    let signed = root.sign("127.0.0.1");
    let server = server(&signed, None);
    let missing = root.path().with_file_name("missing.pem");
    let no_certificate = Signed {
        certificate: signed.key.clone(),
        key: signed.key.clone(),
        key_text: String::new(),
    };
    let no_root = || ConnectOptions::new().add_root_certificates(missing.clone());
    let no_key = || trusting(&root).add_client_certificate(signed.certificate.clone(), missing.clone());
    let no_certificate = || with_certificate(&root, &no_certificate);
    for connect in [&no_root as &dyn Fn() -> ConnectOptions, &no_key, &no_certificate] {
        let bus = SharingBus::<u64>::new();
        let options = || options(&server.url(), connect());
        let errors = [
            NatsBridge::builder(&bus, options()).start().err(),
            Archive::start(&bus, options(), ArchiveOptions::new()).err(),
            ArchiveReader::<u64>::open(options(), EventFilter::All, 0).err(),
        ];
        for error in errors {
            assert!(matches!(error, Some(StartError::Client(_))), "{error:?}");
            note(error.unwrap().to_string());
        }
    }
    logged::assert_none_shown(&key_lines(&signed));
}

/// Returns the lines of a key that must not be shown.
fn key_lines(of: &Signed) -> Vec<&str> {
    of.key_text.lines().filter(|line| !line.starts_with("---")).collect()
}

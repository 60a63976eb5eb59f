//! Start, signals and options of the server.

use sharing_bus_nats_test_server::{Login, Options, Server};

#[test]
fn server_can_be_paused_killed_and_restarted() {
    let mut server = Server::start_jetstream();
    let started = server.monitor("/varz")["start"].clone();
    assert_eq!(server.monitor("/jsz")["streams"], 0);
    server.pause();
    server.resume();
    server.kill();
    server.restart();
    assert_ne!(server.monitor("/varz")["start"], started);
}

#[test]
fn options_reach_the_server() {
    let server = Server::start_with(&Options {
        login: Some(Login::Password {
            user: "user".to_owned(),
            password: "secret".to_owned(),
        }),
        max_payload: Some(4096),
        ..Options::default()
    });
    let page = server.monitor("/varz");
    assert_eq!(
        (&page["auth_required"], &page["max_payload"]),
        (&true.into(), &4096.into())
    );
}

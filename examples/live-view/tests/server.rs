//! The server over real connections, without a browser.

#![cfg(unix)] // It is ended by a signal.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use common::{DEADLINE, Events, Server, missed, subscriber, texts};
use serde_json::Value;

fn numbers(from: usize, to: usize) -> impl Iterator<Item = String> {
    (from..to).map(|number| number.to_string())
}

#[test]
fn events_appear_with_their_scroll() {
    let mut server = Server::start(&[]);
    let mut browser = server.watch("");
    server.publish("claude", "session_registered", [""]);
    server.publish("claude", "assistant_message", ["hello"]);
    let seen = browser.until("hello");
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0]["kind"], "session_lifecycle");

    // A browser that comes later begins with what has passed.
    let mut late = server.watch("kind=message");
    let event = late.next().unwrap();
    assert_eq!(
        (&event["text"], &event["backlog"]),
        (&Value::from("hello"), &Value::from(true))
    );
    assert_eq!(
        (&event["connector"], &event["session"]),
        (&Value::from("claude"), &Value::from("main"))
    );
    assert_eq!(event["scroll"], seen[0]["scroll"]);
    assert!(event["scroll"].is_string());
}

/// With a queue full of what has passed, a late browser would lose what comes next.
#[test]
fn what_has_passed_leaves_room_for_what_comes() {
    let mut server = Server::start(&["--queue", "10"]);
    let mut first = server.watch("");
    for number in numbers(0, 20) {
        server.publish("c", "stdout", [&number]);
        assert_eq!(first.next().unwrap()["text"], number);
    }
    let mut late = server.watch("");
    server.publish("c", "stdout", ["last"]);
    let seen = late.until("last");
    assert_eq!(texts(&seen), ["15", "16", "17", "18", "19"]);
    assert_eq!(missed(&seen), 0);
}

#[test]
fn a_filter_narrows() {
    let mut server = Server::start(&[]);
    let mut everything = server.watch("");
    let mut narrow = server.watch("connector=a+(kind=error+|+kind=tool)");
    server.publish("a", "stdout", ["1"]);
    server.publish("a", "stderr", ["2"]);
    server.publish("b", "stderr", ["3"]);
    server.publish("a", "tool_call", ["4"]);
    server.publish("a", "stderr", ["last"]);
    assert_eq!(texts(&everything.until("last")), ["1", "2", "3", "4"]);
    assert_eq!(texts(&narrow.until("last")), ["2", "4"]);
}

#[test]
fn a_bad_filter_is_refused_with_its_reason() {
    let server = Server::start(&[]);
    let response = server.get("/events?filter=kind%3Dtelepathy");
    assert_eq!(response.status, 400);
    assert_eq!(response.headers["content-type"], "text/plain; charset=utf-8");
    let message = response.text();
    assert!(
        message.contains("`telepathy` is no kind: it is one of system,"),
        "{message}"
    );
}

#[test]
fn fifty_at_once_each_get_every_event() {
    const EVENTS: usize = 2000;
    let mut server = Server::start(&["--queue", "4096"]);
    let mut browsers: Vec<_> = (0..50).map(|_| server.watch("")).collect();
    let readers: Vec<_> = browsers
        .drain(..)
        .map(|mut browser| thread::spawn(move || browser.until("last")))
        .collect();
    server.publish("c", "stdout", numbers(0, EVENTS));
    server.publish("c", "stdout", ["last"]);
    let expected: Vec<_> = numbers(0, EVENTS).collect();
    for reader in readers {
        let seen = reader.join().unwrap();
        assert_eq!(missed(&seen), 0);
        assert_eq!(texts(&seen), expected);
    }
}

#[test]
fn one_too_many_is_refused_until_a_place_is_free() {
    let mut server = Server::start(&[]);
    let mut browsers: Vec<_> = (0..64).map(|_| server.watch("")).collect();
    let refused = server.get("/events");
    assert_eq!(refused.status, 503);
    assert_eq!(refused.headers["retry-after"], "2");
    assert_eq!(refused.text(), "no room for another browser: 64 at most\n");
    // The page itself is always to be had.
    assert_eq!(server.get("/").status, 200);

    browsers.pop();
    let started = Instant::now();
    while server.get("/events").status != 200 {
        assert!(started.elapsed() < DEADLINE, "no place became free");
    }
    server.publish("c", "stdout", ["hello"]);
    for mut browser in browsers {
        assert_eq!(browser.next().unwrap()["text"], "hello");
    }
}

#[test]
fn a_limit_of_ones_own_is_kept() {
    let server = Server::start(&["--max-browsers", "1"]);
    let _browser = server.watch("");
    assert_eq!(server.get("/events").status, 503);
}

/// As many as the server admits are hung up on after ten seconds, so that others get their turn.
#[test]
fn who_connects_and_says_nothing_is_hung_up_on() {
    let server = Server::start(&["--max-browsers", "1"]);
    let mut silent: Vec<_> = (0..70).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    assert_eq!(server.get("/").status, 200);
    // One of them has made room for that; which of those that came together is first, is up to the runtime.
    silent[0].set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
}

/// Publishes, with `attentive` reading along, until `id` has lost some. Returns how many that took and what was seen.
fn publish_until_lost(server: &mut Server, attentive: &mut Events, id: &str) -> (usize, Vec<Value>) {
    const BATCH: usize = 100;
    let text = "x".repeat(900);
    let mut seen = Vec::new();
    for published in (BATCH..=100_000).step_by(BATCH) {
        server.publish("c", "stdout", (0..BATCH).map(|_| &text));
        while seen.len() < published {
            seen.push(attentive.next().unwrap());
        }
        let lagged = subscriber(&attentive.overview, id).map_or(0, |stats| stats["lagged"].as_u64().unwrap());
        if lagged > 0 {
            return (published, seen);
        }
    }
    panic!("who does not read loses nothing");
}

#[test]
fn who_does_not_read_loses_only_its_own_and_is_told_how_many() {
    let mut server = Server::start(&[]);
    let mut attentive = server.watch("");
    let mut stopped = server.watch("");
    let id = stopped.id.clone();
    let (published, seen) = publish_until_lost(&mut server, &mut attentive, &id);
    assert_eq!(missed(&seen), 0);

    server.publish("c", "stdout", ["last"]);
    assert_eq!(attentive.until("last").len(), 0);
    let late = stopped.until("last");
    // The last one itself may be behind a gap, but then it is behind others, which came first.
    assert!(missed(&late) > 0);
    assert_eq!(late.len() as u64 + missed(&late), published as u64);

    // What the server counts is what it told.
    let overview = stopped.next_overview();
    assert_eq!(subscriber(&overview, &id).unwrap()["lagged"], missed(&late));
}

#[test]
fn everything_is_hardened() {
    let server = Server::start(&[]);
    for path in ["/", "/app.js", "/style.css", "/nothing", "/events", "/events?filter=x"] {
        let headers = server.get(path).headers;
        let policy = &headers["content-security-policy"];
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cross-origin-resource-policy"], "same-origin", "{path}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere_and_never_writes_markup() {
    let server = Server::start(&[]);
    let page = server.get("/").text();
    let parts: Vec<_> = page
        .split(['"', '\''])
        .filter(|text| text.starts_with('/') && text.len() > 1)
        .collect();
    assert!(parts.contains(&"/app.js") && parts.contains(&"/style.css"), "{parts:?}");
    for path in parts.into_iter().chain(["/", "/feed.js", "/log.js", "/panels.js"]) {
        let response = server.get(path);
        assert_eq!(response.status, 200, "{path}");
        let text = response.text().replace("http://www.w3.org/2000/svg", "");
        for never in [
            "://",
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick=",
        ] {
            assert!(!text.contains(never), "{path} has {never}");
        }
    }
}

#[test]
fn on_loopback_only_local_names_are_served() {
    let server = Server::start(&[]);
    let port = server.address.port();
    for (host, status) in [
        (format!("localhost:{port}"), 200),
        (format!("127.0.0.1:{port}"), 200),
        (format!("rebound.example:{port}"), 403),
        ("rebound.example".to_owned(), 403),
    ] {
        assert_eq!(server.get_with("/", &[("Host", &host)]).status, status, "{host}");
        assert_eq!(server.get_with("/events", &[("Host", &host)]).status, status, "{host}");
    }
    assert_ne!(server.get_with("/", &[]).status, 200);
}

#[test]
fn another_site_reads_nothing() {
    let server = Server::start(&[]);
    let host = server.address.to_string();
    let from = |site, path| {
        server
            .get_with(path, &[("Host", &host), ("Sec-Fetch-Site", site)])
            .status
    };
    assert_eq!(from("cross-site", "/events"), 403);
    assert_eq!(from("same-site", "/events"), 403);
    assert_eq!(from("same-origin", "/events"), 200);
    // A link to the page.
    assert_eq!(from("cross-site", "/"), 200);
}

#[test]
fn it_is_on_loopback_alone_unless_told() {
    // The port may be taken; it is named all the same.
    let mut child = Command::new(env!("CARGO_BIN_EXE_live-view"))
        .args(["--replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("127.0.0.1:7878"), "{said}");

    // Bound to one address, and not to all of them.
    let server = Server::start(&[]);
    let other = SocketAddr::from(([127, 0, 0, 2], server.address.port()));
    assert!(TcpStream::connect(other).is_err());

    let open = Server::start(&["--listen", "0.0.0.0:0"]);
    assert_eq!(open.get_with("/", &[("Host", "view.example")]).status, 200);
}

#[test]
fn ctrl_c_delivers_what_was_accepted_and_ends_every_stream() {
    let mut server = Server::start(&[]);
    let mut browsers: Vec<_> = (0..5).map(|_| server.watch("")).collect();
    server.publish("c", "stdout", ["last"]);
    for browser in &mut browsers {
        assert_eq!(browser.next().unwrap()["text"], "last");
    }
    server.interrupt();
    for mut browser in browsers {
        assert!(browser.next().is_none());
    }
    assert!(server.wait().success());
}

#[test]
fn who_does_not_read_does_not_keep_the_server_from_ending() {
    let mut server = Server::start(&[]);
    let mut attentive = server.watch("");
    let stopped = server.watch("");
    publish_until_lost(&mut server, &mut attentive, &stopped.id);
    server.interrupt();
    assert!(attentive.next().is_none());
    assert!(server.wait().success());
}

#[test]
fn the_overview_tells_of_rate_subscribers_and_sessions() {
    let mut server = Server::start(&[]);
    let mut browser = server.watch("kind=error");
    server.publish("c", "stdout", numbers(0, 10));
    server.publish("c", "stderr", ["last"]);
    assert_eq!(browser.until("last").len(), 0);
    server.end_source();
    let started = Instant::now();
    let overview = loop {
        let overview = browser.next_overview();
        if overview["published"] == 11 && overview["source_ended"] == true {
            break overview;
        }
        assert!(started.elapsed() < DEADLINE, "{overview}");
    };
    let me = subscriber(&overview, &browser.id).unwrap();
    assert_eq!(
        (&me["filter"], &me["delivered"]),
        (&Value::from("kind=error"), &Value::from(1))
    );
    assert_eq!((&me["capacity"], &me["lagged"]), (&Value::from(256), &Value::from(0)));
    assert_eq!(overview["sessions"][0]["events"], 11);
    let rates = overview["rates"].as_array().unwrap();
    assert!(rates.iter().any(|rate| rate.as_u64() > Some(0)), "{rates:?}");
}

//! Tests of the server over plain connections, without a browser.

#![cfg(unix)] // The tests stop the server with a signal.

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

    // A browser that connects later starts with the events from the history.
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

/// If the backlog filled the whole queue, a late browser would lose the next events.
#[test]
fn backlog_leaves_space_for_new_events() {
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
fn filter_selects_events() {
    let mut server = Server::start(&[]);
    let mut all = server.watch("");
    let mut filtered = server.watch("connector=a+(kind=error+|+kind=tool)");
    server.publish("a", "stdout", ["1"]);
    server.publish("a", "stderr", ["2"]);
    server.publish("b", "stderr", ["3"]);
    server.publish("a", "tool_call", ["4"]);
    server.publish("a", "stderr", ["last"]);
    assert_eq!(texts(&all.until("last")), ["1", "2", "3", "4"]);
    assert_eq!(texts(&filtered.until("last")), ["2", "4"]);
}

#[test]
fn invalid_filter_is_rejected_with_a_reason() {
    let server = Server::start(&[]);
    let response = server.get("/events?filter=kind%3Dtelepathy");
    assert_eq!(response.status, 400);
    assert_eq!(response.headers["content-type"], "text/plain; charset=utf-8");
    let message = response.text();
    assert!(
        message.contains("unknown kind `telepathy`; expected one of system,"),
        "{message}"
    );
}

#[test]
fn fifty_browsers_receive_every_event() {
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
fn browser_beyond_the_limit_is_rejected_until_another_disconnects() {
    let mut server = Server::start(&[]);
    let mut browsers: Vec<_> = (0..64).map(|_| server.watch("")).collect();
    let response = server.get("/events");
    assert_eq!(response.status, 503);
    assert_eq!(response.headers["retry-after"], "2");
    assert_eq!(response.text(), "too many browsers: the limit is 64\n");
    // The page itself is still served.
    assert_eq!(server.get("/").status, 200);

    browsers.pop();
    let started = Instant::now();
    while server.get("/events").status != 200 {
        assert!(started.elapsed() < DEADLINE, "the server still rejects browsers");
    }
    server.publish("c", "stdout", ["hello"]);
    for mut browser in browsers {
        assert_eq!(browser.next().unwrap()["text"], "hello");
    }
}

#[test]
fn max_browsers_option_sets_the_limit() {
    let server = Server::start(&["--max-browsers", "1"]);
    let _browser = server.watch("");
    assert_eq!(server.get("/events").status, 503);
}

/// The server closes connections that send no request within ten seconds. Otherwise such connections could block all
/// others.
#[test]
fn connection_without_a_request_is_closed() {
    let server = Server::start(&["--max-browsers", "1"]);
    let mut silent: Vec<_> = (0..70).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    assert_eq!(server.get("/").status, 200);
    // The server closed some silent connection before it served this request. The runtime decides the order of the
    // timeouts, so the first silent connection may be closed a little later.
    silent[0].set_read_timeout(Some(DEADLINE)).unwrap();
    assert_eq!(silent[0].read(&mut [0]).unwrap(), 0);
}

/// Publishes until subscriber `id` has lost events, while `reader` receives all events. Returns the number of published
/// events and the events that `reader` received.
fn publish_until_lost(server: &mut Server, reader: &mut Events, id: &str) -> (usize, Vec<Value>) {
    const BATCH: usize = 100;
    let text = "x".repeat(900);
    let mut seen = Vec::new();
    for published in (BATCH..=100_000).step_by(BATCH) {
        server.publish("c", "stdout", (0..BATCH).map(|_| &text));
        while seen.len() < published {
            seen.push(reader.next().unwrap());
        }
        let lagged = subscriber(&reader.overview, id).map_or(0, |stats| stats["lagged"].as_u64().unwrap());
        if lagged > 0 {
            return (published, seen);
        }
    }
    panic!("a browser that does not read has lost nothing");
}

#[test]
fn browser_that_does_not_read_loses_only_its_own_events() {
    let mut server = Server::start(&[]);
    let mut reader = server.watch("");
    let mut stopped = server.watch("");
    let id = stopped.id.clone();
    let (published, seen) = publish_until_lost(&mut server, &mut reader, &id);
    assert_eq!(missed(&seen), 0);

    server.publish("c", "stdout", ["last"]);
    assert_eq!(reader.until("last").len(), 0);
    let late = stopped.until("last");
    // The last event may follow a gap as well, but the first gap precedes an earlier event.
    assert!(missed(&late) > 0);
    assert_eq!(late.len() as u64 + missed(&late), published as u64);

    // The count of the server equals the sum of the reported losses.
    let overview = stopped.next_overview();
    assert_eq!(subscriber(&overview, &id).unwrap()["lagged"], missed(&late));
}

#[test]
fn all_responses_have_security_headers() {
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
fn page_loads_only_local_files_and_inserts_no_markup() {
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
        for forbidden in [
            "://",
            "innerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            " style=\"",
            " onclick=",
        ] {
            assert!(!text.contains(forbidden), "{path} contains {forbidden}");
        }
    }
}

#[test]
fn server_on_loopback_accepts_only_local_host_names() {
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
fn cross_site_requests_are_rejected() {
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
fn default_address_is_loopback_only() {
    // The port may be in use. The error message then contains the address, too.
    let mut child = Command::new(env!("CARGO_BIN_EXE_live-view"))
        .args(["--replay", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut output)
        .unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    child.stderr.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(output.contains("127.0.0.1:7878"), "{output}");

    // The server is bound to one loopback address only.
    let server = Server::start(&[]);
    let other = SocketAddr::from(([127, 0, 0, 2], server.address.port()));
    assert!(TcpStream::connect(other).is_err());

    let open = Server::start(&["--listen", "0.0.0.0:0"]);
    assert_eq!(open.get_with("/", &[("Host", "view.example")]).status, 200);
}

#[test]
fn ctrl_c_delivers_accepted_events_and_ends_all_streams() {
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
fn browser_that_does_not_read_does_not_prevent_shutdown() {
    let mut server = Server::start(&[]);
    let mut reader = server.watch("");
    let stopped = server.watch("");
    publish_until_lost(&mut server, &mut reader, &stopped.id);
    server.interrupt();
    assert!(reader.next().is_none());
    assert!(server.wait().success());
}

#[test]
fn overview_contains_rate_subscribers_and_sessions() {
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

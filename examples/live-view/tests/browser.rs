//! Tests of the page in a headless Chromium. `ci/live-view.sh` installs Chromium and runs these tests.

#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::time::Instant;

use common::chromium::{Chromium, Page};
use common::{DEADLINE, Server, subscriber};
use serde_json::{Value, json};

const TAB: (&str, u32) = ("Tab", 9);
const ENTER: (&str, u32) = ("Enter", 13);

fn open(chromium: &mut Chromium, server: &Server, query: &str) -> Page {
    let mut page = chromium.open(&format!("http://{}/{query}", server.address));
    page.wait_for(
        "document.querySelector('#status[data-state=live], #status[data-state=broken], #filter-error:not([hidden])')",
    );
    page
}

/// Starts a server, and one browser that shows all events.
fn open_alone() -> (Server, Chromium, Page) {
    let server = Server::start(&[]);
    let mut chromium = Chromium::start();
    let page = open(&mut chromium, &server, "");
    (server, chromium, page)
}

fn rows(page: &mut Page) -> Vec<String> {
    let texts = page.evaluate("[...document.querySelectorAll('.row .text')].map((row) => row.textContent)");
    serde_json::from_value(texts).unwrap()
}

fn wait_for_row(page: &mut Page, text: &str) {
    page.wait_for(&format!(
        "[...document.querySelectorAll('.row .text')].some((row) => row.textContent === {text:?})"
    ));
}

/// Waits for the response to a filter. Until then, the page shows the rows of the previous filter.
fn wait_for_applied(page: &mut Page, filter: &str) {
    let shown = format!("Showing {filter}");
    page.wait_for(&format!(
        "document.querySelector('#filter-read').textContent.startsWith({shown:?})"
    ));
}

#[test]
#[ignore = "needs Chromium"]
fn events_appear_and_markup_is_shown_as_text() {
    let markup = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\"><b>bold</b>";
    let (mut server, _chromium, mut page) = open_alone();
    server.publish("<i>agent</i>", "stdout", ["first", markup, "last"]);
    wait_for_row(&mut page, "last");
    assert_eq!(rows(&mut page), ["first", markup, "last"]);
    assert_eq!(page.text(".row .source"), "<i>agent</i>");
    page.wait_for("document.querySelector('.session .source')?.textContent === '<i>agent</i>'");
    let made = page.evaluate("document.querySelectorAll('main script, main img, main b, main i').length");
    assert_eq!(made, 0);
    assert_eq!(page.evaluate("document.title"), "Live view");
    assert_eq!(page.errors(), Vec::<Value>::new());
}

#[test]
#[ignore = "needs Chromium"]
fn filter_applies_while_it_is_typed() {
    let (mut server, _chromium, mut page) = open_alone();
    server.publish("a", "stdout", ["1"]);
    server.publish("a", "stderr", ["2"]);
    wait_for_row(&mut page, "2");
    page.evaluate("document.querySelector('#filter').focus()");
    page.type_text("kind=error");
    page.wait_for("document.querySelector('#filter-read').textContent === 'Showing kind=error'");
    server.publish("a", "stdout", ["3"]);
    server.publish("a", "stderr", ["4"]);
    wait_for_row(&mut page, "4");
    assert_eq!(rows(&mut page), ["2", "4"]);
    assert_eq!(page.evaluate("location.search"), "?filter=kind%3Derror");
    // A browser has one subscription, no matter how often its filter changes.
    page.wait_for("document.querySelectorAll('.subscriber').length === 2");
}

/// Submits valid and invalid filters in turn. The response to the previous filter may still be pending.
#[test]
#[ignore = "needs Chromium"]
fn latest_filter_is_shown() {
    let (_server, _chromium, mut page) = open_alone();
    page.evaluate(
        "(async () => {
             for (let number = 1; number <= 100; number += 1) {
                 document.querySelector('#filter').value = number % 2 ? 'kind=' : `session=a/${number}`;
                 document.querySelector('#filter-form').requestSubmit();
                 for (let round = number % 7; round > 0; round -= 1) await fetch('/icon.svg');
             }
         })()",
    );
    page.wait_for("document.querySelector('#filter-read').textContent === 'Showing session=a/100'");
    assert_eq!(page.evaluate("document.querySelector('#filter-error').hidden"), true);
    page.wait_for("document.querySelectorAll('.subscriber').length === 2");
    let errors = page.errors().into_iter();
    let exceptions: Vec<_> = errors.filter(|entry| entry["exceptionDetails"].is_object()).collect();
    assert_eq!(exceptions, Vec::<Value>::new());
}

#[test]
#[ignore = "needs Chromium"]
fn invalid_filter_shows_an_error_and_the_stream_continues() {
    let mut server = Server::start(&[]);
    let mut chromium = Chromium::start();
    let mut page = open(&mut chromium, &server, "?filter=kind%3Dtelepathy");
    let error = page.text("#filter-error");
    assert!(
        error.starts_with("unknown kind `telepathy`; expected one of system,"),
        "{error}"
    );
    assert_eq!(page.evaluate("document.querySelector('#filter').ariaInvalid"), "true");

    let mut page = open(&mut chromium, &server, "?filter=kind%3Doutput");
    page.evaluate("document.querySelector('#filter').focus()");
    page.type_text(" color=red");
    page.wait_for(
        "document.querySelector('#filter-error').textContent.startsWith('unknown name `color`; expected kind,')",
    );
    server.publish("a", "stdout", ["still here"]);
    wait_for_row(&mut page, "still here");
    show_as(&mut page, 390, "light");
    page.evaluate("document.querySelector('details').open = true");
    page.screenshot(&screenshot_path("bad-filter-390-light.png"));
    assert_eq!(page.evaluate("document.documentElement.scrollWidth"), 390);
    show_as(&mut page, 1280, "dark");
    page.screenshot(&screenshot_path("bad-filter-1280-dark.png"));
}

#[test]
#[ignore = "needs Chromium"]
fn page_can_be_used_by_keyboard_alone() {
    let (mut server, _chromium, mut page) = open_alone();
    let focus = |page: &mut Page| page.evaluate("document.activeElement.id || document.activeElement.className");
    page.press(TAB.0, TAB.1);
    assert_eq!(focus(&mut page), "skip");
    let ring = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(page.evaluate(ring), "solid");
    page.press(TAB.0, TAB.1);
    assert_eq!(focus(&mut page), "filter");
    assert_eq!(page.evaluate(ring), "solid");
    page.type_text("session=a/main");
    page.press(ENTER.0, ENTER.1);
    page.wait_for("document.querySelector('#filter-read').textContent === 'Showing session=a/main'");
    server.publish("b", "stdout", ["1"]);
    server.publish("a", "stdout", ["2"]);
    wait_for_row(&mut page, "2");
    assert_eq!(rows(&mut page), ["2"]);

    // Tab to the button of a session, which sets the filter.
    page.wait_for("document.querySelectorAll('.session').length === 2");
    let mut passed = vec![];
    while page.evaluate("document.activeElement.getAttribute('aria-label')") != "Show b/main, 1 event" {
        page.press(TAB.0, TAB.1);
        passed.push(focus(&mut page));
        assert!(passed.len() < 20, "{passed:?}");
    }
    assert!(
        passed.contains(&"clear".into()) && passed.contains(&"log".into()),
        "{passed:?}"
    );
    page.press(ENTER.0, ENTER.1);
    page.wait_for("document.querySelector('#filter').value === 'session=b/main'");
    wait_for_row(&mut page, "1");
    assert_eq!(rows(&mut page), ["1"]);

    // The skip link moves the focus to the events.
    page.evaluate("document.querySelector('.skip').focus()");
    page.press(ENTER.0, ENTER.1);
    assert_eq!(focus(&mut page), "log");
}

/// Regression test: the filter named another connector, so the page showed no events.
#[test]
#[ignore = "needs Chromium"]
fn session_of_a_connector_with_a_slash_is_filtered_by_its_scroll() {
    let (mut server, _chromium, mut page) = open_alone();
    server.publish("tools/\"lint\"", "stdout", ["unbound"]);
    server.publish("b", "stdout", ["1"]);
    page.wait_for("document.querySelectorAll('.session').length === 2");
    let click = "document.querySelector('.session button[aria-label^=\"Show tools/\"]').click()";
    page.evaluate(click);
    wait_for_applied(&mut page, "connector=\"tools/");
    wait_for_row(&mut page, "unbound");
    assert_eq!(rows(&mut page), ["unbound"]);

    server.publish("tools/\"lint\"", "session_registered", ["registered"]);
    page.wait_for("document.querySelector('.session [title^=\"scroll \"]')");
    page.evaluate(click);
    wait_for_applied(&mut page, "scroll=");
    wait_for_row(&mut page, "registered");
    assert_eq!(rows(&mut page), ["registered"]);
}

#[test]
#[ignore = "needs Chromium"]
fn every_control_has_a_name() {
    let (mut server, _chromium, mut page) = open_alone();
    server.publish("a", "stdout", ["1"]);
    page.wait_for("document.querySelectorAll('.session').length === 1");
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let controls: Vec<_> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|node| {
            let role = node["role"]["value"].as_str().unwrap_or_default();
            ["textbox", "button", "link", "log", "meter", "image", "list", "region"].contains(&role)
        })
        .collect();
    assert!(controls.len() >= 10, "{}", controls.len());
    for control in controls {
        let name = control["name"]["value"].as_str().unwrap_or_default();
        assert_ne!(name, "", "{control}");
        // A placeholder is a name, too, but the text box must have the name of its label.
        assert!(control["role"]["value"] != "textbox" || name == "Filter", "{control}");
    }
}

/// The debugger pauses the tab's JavaScript, so the tab reads no more of its stream than Chromium buffers.
#[test]
#[ignore = "needs Chromium"]
fn paused_tab_loses_only_its_own_events_and_shows_how_many() {
    const BATCH: usize = 100;
    let mut server = Server::start(&[]);
    let mut chromium = Chromium::start();
    let mut reader = server.watch("");
    let mut page = open(&mut chromium, &server, "");
    server.publish("c", "stdout", ["first"]);
    reader.until("first");
    wait_for_row(&mut page, "first");

    page.wait_for("document.querySelector('.mine')");
    let id = page.evaluate("document.querySelector('.mine').dataset.key");
    let id = id.as_str().unwrap();
    page.call("Debugger.enable", json!({}));
    page.call("Debugger.pause", json!({}));

    let text = "x".repeat(900);
    let mut published = 1;
    let mut lost = 0;
    while lost == 0 {
        assert!(published < 100_000, "the paused tab has lost nothing");
        server.publish("c", "stdout", (0..BATCH).map(|_| &text));
        published += BATCH;
        for _ in 0..BATCH {
            let event = reader.next().unwrap();
            assert_eq!(event["missed"], 0);
        }
        lost = lagged(&reader.overview, id);
    }
    server.publish("c", "stdout", ["last"]);
    assert!(reader.until("last").is_empty());
    let lost = lagged(&reader.next_overview(), id);

    page.call("Debugger.resume", json!({}));
    page.call("Debugger.disable", json!({}));
    wait_for_row(&mut page, "last");
    page.wait_for("!document.querySelector('#missed').hidden");
    let banner = page.text("#missed");
    let number: String = banner.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(number, lost.to_string(), "{banner}");
    let received: String = page.text("#count").chars().filter(char::is_ascii_digit).collect();
    assert_eq!(received.parse::<u64>().unwrap() + lost, published as u64 + 1);
    assert_eq!(lagged(&reader.next_overview(), &reader.id), 0);

    for (width, scheme) in [(390, "dark"), (1280, "light")] {
        show_as(&mut page, width, scheme);
        page.screenshot(&screenshot_path(&format!("missed-{width}-{scheme}.png")));
        assert_eq!(page.evaluate("document.documentElement.scrollWidth"), width);
    }
}

fn subscribers(overview: &Value) -> Vec<String> {
    let subscribers = overview["subscribers"].as_array().unwrap().iter();
    subscribers
        .map(|stats| stats["id"].as_str().unwrap().to_owned())
        .collect()
}

fn lagged(overview: &Value, id: &str) -> u64 {
    subscriber(overview, id).map_or(0, |stats| stats["lagged"].as_u64().unwrap())
}

/// Opens fifty streams in one Chromium. Each of ten pages has its own stream and four `EventSource`s. Each page has
/// its own browser context, because one context opens at most six connections to a server.
#[test]
#[ignore = "needs Chromium"]
fn fifty_streams_receive_all_events() {
    const EVENTS: usize = 200;
    let mut server = Server::start(&[]);
    let mut chromium = Chromium::start();
    let mut pages: Vec<_> = (0..10).map(|_| open(&mut chromium, &server, "")).collect();
    for page in &mut pages {
        page.evaluate(
            "window.seen = [0, 1, 2, 3].map(() => []);
             window.sources = seen.map((list) => {
                 const source = new EventSource('/events');
                 source.addEventListener('event', (event) => list.push(JSON.parse(event.data)));
                 return source;
             });",
        );
        page.wait_for("sources.every((source) => source.readyState === EventSource.OPEN)");
    }
    let mut raw = server.watch("");
    let started = Instant::now();
    // One subscriber of the server, fifty streams, and the connection of this test.
    while subscribers(&raw.next_overview()).len() != 1 + 50 + 1 {
        assert!(started.elapsed() < DEADLINE, "some streams have not subscribed");
    }

    server.publish("c", "stdout", (1..=EVENTS).map(|number| number.to_string()));
    for page in &mut pages {
        wait_for_row(page, &EVENTS.to_string());
        assert_eq!(rows(page).len(), EVENTS);
        page.wait_for(&format!("seen.every((list) => list.length === {EVENTS})"));
        assert_eq!(page.evaluate("seen.flat().every((event) => event.missed === 0)"), true);
        assert!(
            page.evaluate("document.querySelector('#missed').hidden")
                .as_bool()
                .unwrap()
        );
    }
}

#[test]
#[ignore = "needs Chromium"]
fn browser_beyond_the_limit_is_rejected_and_connects_later() {
    let mut server = Server::start(&["--max-browsers", "1"]);
    let mut chromium = Chromium::start();
    let raw = server.watch("");
    let mut page = open(&mut chromium, &server, "");
    page.wait_for("document.querySelector('#status').textContent.startsWith('too many browsers: the limit is 1')");
    drop(raw);
    page.wait_for("document.querySelector('#status').dataset.state === 'live'");
    server.publish("c", "stdout", ["hello"]);
    wait_for_row(&mut page, "hello");

    server.interrupt();
    page.wait_for("document.querySelector('#status').textContent.startsWith('The server')");
}

/// Takes screenshots for visual review, in `target/live-view/`, and checks the width and the colors.
#[test]
#[ignore = "needs Chromium"]
fn page_fits_narrow_and_wide_screens_in_light_and_dark() {
    let mut server = Server::start(&[]);
    let mut chromium = Chromium::start();
    let others: Vec<_> = ["connector=claude-code@dev-2", "kind=error+|+kind=tool"]
        .map(|filter| server.watch(filter))
        .into();
    let mut page = open(&mut chromium, &server, "");
    let mut reader = server.watch("kind=session_lifecycle");
    for agent in ["claude-code@dev-1", "claude-code@dev-2", "codex", "cargo", "git"] {
        server.publish(agent, "session_registered", ["registered"]);
    }
    // Each round falls into a separate interval of the chart.
    for round in 1..=12 {
        publish_round(&mut server, round);
        reader.next_overview();
    }
    server.publish("git", "session_ended", ["ended"]);
    server.publish("cargo", "stdout", ["done"]);
    wait_for_row(&mut page, "done");
    page.wait_for("document.querySelectorAll('.session').length === 5");
    for width in [390, 1280] {
        for scheme in ["light", "dark"] {
            show_as(&mut page, width, scheme);
            page.screenshot(&screenshot_path(&format!("{width}-{scheme}.png")));
            assert_eq!(page.evaluate("document.documentElement.scrollWidth"), width, "{scheme}");
            let background = page.evaluate("getComputedStyle(document.body).backgroundColor");
            assert_eq!(background == "rgb(17, 20, 24)", scheme == "dark", "{background}");
        }
    }
    drop(others);
}

fn show_as(page: &mut Page, width: u32, scheme: &str) {
    page.call(
        "Emulation.setDeviceMetricsOverride",
        json!({ "width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500 }),
    );
    page.call(
        "Emulation.setEmulatedMedia",
        json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] }),
    );
    page.wait_for(&format!("innerWidth === {width}"));
}

fn screenshot_path(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("live-view").join(name)
}

fn publish_round(server: &mut Server, round: usize) {
    let user = "Fix the parser tests, then explain the cause.";
    let thought = "The failure is in the lexer: a quote directly after the equals sign starts a new token.";
    let error = "error[E0308]: mismatched types: expected `Option<Token>`, found `Token`";
    server.publish("claude-code@dev-1", "user_message", [user]);
    server.publish("claude-code@dev-1", "assistant_thinking", [thought]);
    for step in 0..=round % 5 {
        server.publish(
            "claude-code@dev-2",
            "tool_call",
            [format!("Read src/filter/tokens.rs:{step}")],
        );
    }
    server.publish(
        "cargo",
        "stdout",
        [format!("   Compiling live-view v0.0.{round} (examples/live-view)")],
    );
    server.publish("cargo", "stderr", [error]);
    server.publish("codex", "tool_progress", [format!("{}%", round * 8)]);
    server.publish("git", "stdout", ["<script>alert('shown as text')</script>"]);
}

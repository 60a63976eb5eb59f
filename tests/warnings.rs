//! Logged warnings, a logger that uses the bus, and a logger that panics.
//!
//! This file is a separate binary because it sets the global logger.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;

use common::*;
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};

struct Recorder {
    lines: Mutex<Vec<String>>,
    panics: AtomicBool,
}

impl log::Log for Recorder {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        self.lines.lock().unwrap().push(line);
        if let Some(bus) = BUS.get() {
            // These calls take locks, so the bus must hold no lock while it logs.
            let _ = (bus.session_count(), bus.scroll_id("c", "1"), bus.stats());
        }
        assert!(!self.panics.load(Ordering::SeqCst), "the logger panics on purpose");
    }

    fn flush(&self) {}
}

static RECORDER: Recorder = Recorder {
    lines: Mutex::new(Vec::new()),
    panics: AtomicBool::new(false),
};

/// The bus that the logger uses.
static BUS: OnceLock<SharingBus> = OnceLock::new();

fn lines_with(part: &str) -> usize {
    let lines = RECORDER.lines.lock().unwrap();
    lines.iter().filter(|line| line.contains(part)).count()
}

/// Returns a registration whose names and id contain control characters.
fn forged_registration() -> BusEvent {
    let (connector, session) = ("c\nWARN forged", "s\u{1b}[2J");
    let event = Event::SessionRegistered {
        connector_id: connector.into(),
        session_id: session.into(),
        scroll_id: "\n".into(),
    };
    let routing = EventRouting::session(connector, session, EventKind::SessionLifecycle);
    BusEvent::new(routing, event)
}

fn assert_no_line_contains_a_control_character() {
    for line in &*RECORDER.lines.lock().unwrap() {
        assert!(!line.contains(char::is_control), "{line:?}");
    }
}

/// One test covers all warnings, because a process has a single logger.
#[test]
fn warnings_are_logged_once_and_a_panicking_logger_is_contained() {
    log::set_logger(&RECORDER).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let bus: SharingBus = SharingBus::builder().session_capacity(1).build().unwrap();
    BUS.set(bus.clone()).unwrap();
    let mut receiver = bus.subscribe_all();

    bus.publish(registration("no uuid")).unwrap();
    bus.flush();
    assert_eq!(lines_with("WARN registration of c/s binds nothing"), 1);

    // The sessions are bound on another thread, so that a deadlock in the logger fails the test.
    let binding = thread::spawn({
        let bus = bus.clone();
        move || {
            for session in ["1", "2", "3"] {
                bus.bind_session("c", session, scroll(1));
            }
        }
    });
    wait_until("the sessions are bound", || binding.is_finished());
    binding.join().unwrap();
    assert_eq!(bus.stats().sessions_evicted, 2);
    assert_eq!(lines_with("WARN session capacity 1 reached"), 1);
    assert_eq!(
        lines_with("first c/1"),
        1,
        "the warning must name the first evicted session"
    );

    bus.publish(forged_registration()).unwrap();
    bus.flush();
    let warning = r#"WARN registration of "c\nWARN forged"/"s\u{1b}[2J" binds nothing: its scroll_id is not a UUID"#;
    assert_eq!(lines_with(warning), 1);
    let small: SharingBus = SharingBus::builder().session_capacity(1).build().unwrap();
    small.bind_session("c\nWARN forged", "", scroll(1));
    small.bind_session("c", "2", scroll(2));
    assert_eq!(lines_with(r#"first "c\nWARN forged"/"""#), 1);
    assert_no_line_contains_a_control_character();

    let bad = bus.subscribe_filtered(EventFilter::custom(|_| panic!("on purpose")), 1);
    for _ in 0..3 {
        bus.publish(session_event(EventKind::Output)).unwrap();
    }
    bus.flush();
    assert_eq!(bus.stats().filter_panics, 3);
    assert_eq!(bad.id().to_string(), "2");
    assert_eq!(
        lines_with("WARN a filter of subscriber 2 panicked; counted as no match"),
        1
    );
    for _ in 0..10 {
        bus.publish(session_event(EventKind::Output)).unwrap();
    }
    bus.flush();
    assert_eq!((bus.stats().filter_panics, bus.stats().failed), (8, 1));
    assert_eq!(
        (lines_with("WARN subscriber 2 ended"), lines_with("subscriber 2")),
        (1, 2)
    );
    drop(bad);
    bus.flush();

    // A merge function has its own warning. "Counted as no match" would be wrong, because the filter did match.
    let merging = bus
        .subscription()
        .queue_capacity(1)
        .conflate_with(|_, _| panic!("on purpose"));
    let merging = merging.subscribe();
    for _ in 0..4 {
        bus.publish(plain()).unwrap();
    }
    bus.flush();
    assert_eq!((bus.stats().filter_panics, merging.lagged()), (10, 2));
    let warning = "WARN a filter of essential events or a merge function of subscriber 3 panicked";
    assert_eq!((lines_with(warning), lines_with("a filter of subscriber 3")), (1, 0));
    drop(merging);

    RECORDER.panics.store(true, Ordering::SeqCst);
    bus.publish(registration("no uuid either")).unwrap();
    bus.publish(plain()).unwrap();
    bus.flush();
    assert_eq!(lines_with("binds nothing"), 3);
    assert_eq!(drain(&mut receiver).len(), 21, "the bus must still deliver events");
}

//! Captures all output of `log` and `tracing` in this process, so that tests can search it for secrets.

use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};

static LINES: Mutex<String> = Mutex::new(String::new());

/// Starts capturing. The tests of one binary share the captured lines.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Log).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        tracing::subscriber::set_global_default(Trace(AtomicU64::new(1))).unwrap();
    });
}

/// Adds the `Debug` output of a value to the captured lines.
pub(crate) fn note(line: impl Debug) {
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

#[track_caller]
pub(crate) fn assert_shown(text: &str) {
    let lines = LINES.lock().unwrap().clone();
    assert!(lines.contains(text), "no {text:?} in {} lines", lines.lines().count());
}

#[track_caller]
pub(crate) fn assert_none_shown(secrets: &[&str]) {
    // This trace of the client proves that capturing works.
    assert_shown("attempting connection");
    let lines = LINES.lock().unwrap().clone();
    for secret in secrets {
        let line = lines.lines().find(|line| line.contains(secret));
        assert_eq!(line, None);
    }
}

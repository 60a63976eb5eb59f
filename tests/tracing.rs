//! The feature `tracing`: the emitted events, limits on their number, and a tracing subscriber that panics.
//!
//! This file is a separate binary because it sets the global subscriber. Each test looks only at events with its own
//! labels and thread names.
#![cfg(feature = "tracing")]

mod common;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, ThreadId};

use common::*;
use sharing_bus::{EventFilter, EventKind, Overflow, SharingBus};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata};

/// One recorded event: its level, its fields as text, and the span in which it was emitted.
#[derive(Clone, Debug)]
struct Line {
    level: Level,
    fields: HashMap<String, String>,
    span: Option<u64>,
}

impl Line {
    fn text(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    fn number(&self, field: &str) -> u64 {
        self.text(field).parse().unwrap()
    }

    fn message(&self) -> &str {
        self.text("message")
    }
}

#[derive(Default)]
struct Fields(HashMap<String, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

/// A tracing subscriber that records all events and spans of the bus.
struct Collector;

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
/// Name and thread field of each span. The id of a span is its index plus 1.
static SPANS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
/// The spans that are currently entered, each with its thread.
static ENTERED: Mutex<Vec<(ThreadId, u64)>> = Mutex::new(Vec::new());
/// Every entry into a span so far, with its thread.
static ENTRIES: Mutex<Vec<(ThreadId, u64)>> = Mutex::new(Vec::new());
static PANICS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn panic_if_enabled() {
    CALLS.fetch_add(1, Ordering::SeqCst);
    if PANICS.load(Ordering::SeqCst) {
        panic_quietly();
    }
}

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sharing_bus"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        panic_if_enabled();
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let mut spans = lock(&SPANS);
        spans.push((
            attributes.metadata().name().to_owned(),
            fields.0.remove("thread").unwrap_or_default(),
        ));
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        panic_if_enabled();
        let mut fields = Fields::default();
        event.record(&mut fields);
        lock(&LINES).push(Line {
            level: *event.metadata().level(),
            fields: fields.0,
            span: current(),
        });
    }

    fn enter(&self, span: &Id) {
        panic_if_enabled();
        let here = (thread::current().id(), span.into_u64());
        lock(&ENTERED).push(here);
        lock(&ENTRIES).push(here);
    }

    fn exit(&self, span: &Id) {
        panic_if_enabled();
        let here = (thread::current().id(), span.into_u64());
        let mut inside = lock(&ENTERED);
        let last = inside
            .iter()
            .rposition(|entered| *entered == here)
            .expect("the span must have been entered");
        inside.remove(last);
    }

    fn try_close(&self, _: Id) -> bool {
        panic_if_enabled();
        true
    }
}

/// Returns the innermost span of the current thread.
fn current() -> Option<u64> {
    let here = thread::current().id();
    let inside = lock(&ENTERED);
    inside
        .iter()
        .rev()
        .find(|(thread, _)| *thread == here)
        .map(|(_, span)| *span)
}

/// Serializes the tests, because they share the collector.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn begin() -> MutexGuard<'static, ()> {
    let guard = lock(&ONE_AT_A_TIME);
    let _ = tracing::subscriber::set_global_default(Collector);
    PANICS.store(false, Ordering::SeqCst);
    lock(&LINES).clear();
    lock(&ENTRIES).clear();
    guard
}

fn lines(label: &str) -> Vec<Line> {
    let lines = lock(&LINES);
    lines
        .iter()
        .filter(|line| line.text("label") == label)
        .cloned()
        .collect()
}

fn named(label: &str, message: &str) -> Vec<Line> {
    let mut lines = lines(label);
    lines.retain(|line| line.message() == message);
    lines
}

/// Returns the dispatch span of the bus with this thread name.
fn span_of(thread: &str) -> u64 {
    let spans = lock(&SPANS);
    let of = |(name, field): &(String, String)| name == "sharing_bus::dispatch" && field == thread;
    let place = spans.iter().rposition(of).expect("the bus must have a span");
    place as u64 + 1
}

#[test]
fn subscribing_and_reaping_emit_events() {
    let _guard = begin();
    let bus = SharingBus::builder().thread_name("reaping").build().unwrap();
    let receiver = bus
        .subscription()
        .label("view")
        .filter(EventFilter::Kind(EventKind::System))
        .queue_capacity(2)
        .subscribe();
    let [subscribed] = &lines("view")[..] else {
        panic!("expected one line before any flush: {:?}", lines("view"));
    };
    assert_eq!((subscribed.level, subscribed.message()), (Level::DEBUG, "subscribed"));
    assert_eq!(subscribed.text("id"), receiver.id().to_string());
    assert_eq!(subscribed.text("filter"), "kind=system");
    assert_eq!(subscribed.number("capacity"), 2);
    assert_eq!(
        subscribed.span, None,
        "the line must be emitted on the subscribing thread, outside the dispatch span"
    );

    for n in 0..3 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    drop(receiver);
    bus.flush();
    let [reaped] = &named("view", "reaped")[..] else {
        panic!("expected one line: {:?}", lines("view"));
    };
    assert_eq!(reaped.level, Level::DEBUG);
    assert_eq!((reaped.number("delivered"), reaped.number("lagged")), (2, 1));
    assert_eq!(reaped.span, Some(span_of("reaping")));

    // A subscriber that is still present at shutdown is reaped too.
    let last = bus.subscription().label("last").subscribe();
    bus.publish(number(0)).unwrap();
    bus.shutdown();
    let [reaped] = &named("last", "reaped")[..] else {
        panic!("expected one line: {:?}", lines("last"));
    };
    assert_eq!((reaped.number("delivered"), reaped.span), (1, Some(span_of("reaping"))));
    drop(last);
}

#[test]
fn binding_a_session_emits_an_event() {
    let _guard = begin();
    let bus = SharingBus::builder().thread_name("sessions").build().unwrap();
    bus.publish(registration(&scroll(1).to_string())).unwrap();
    bus.publish(registration("no uuid")).unwrap();
    bus.flush();
    bus.bind_session("c", "by the host", scroll(2));
    let bound: Vec<_> = lock(&LINES)
        .iter()
        .filter(|line| line.message() == "session bound")
        .cloned()
        .collect();
    let fields: Vec<_> = bound
        .iter()
        .map(|line| {
            (
                line.text("connector_id"),
                line.text("native_session_id"),
                line.text("scroll_id"),
                line.span,
            )
        })
        .collect();
    assert_eq!(
        fields,
        [
            ("c", "s", scroll(1).to_string().as_str(), Some(span_of("sessions"))),
            ("c", "by the host", scroll(2).to_string().as_str(), None),
        ]
    );
}

#[test]
fn a_lagging_episode_emits_its_start_and_its_end_with_counts() {
    let _guard = begin();
    let bus = SharingBus::builder().thread_name("episode").build().unwrap();
    let mut receiver = bus.subscription().label("slow").queue_capacity(2).subscribe();
    let publish = || {
        bus.publish(number(0)).unwrap();
        bus.flush();
    };
    (0..2).for_each(|_| publish());
    assert_eq!(
        lines("slow").len(),
        1,
        "no line may report a loss before an event is lost"
    );
    publish();
    let [begins] = &named("slow", "lagging begins")[..] else {
        panic!("expected one line: {:?}", lines("slow"));
    };
    assert_eq!((begins.level, begins.number("lost")), (Level::WARN, 1));
    assert_eq!(begins.text("id"), receiver.id().to_string());
    assert_eq!(begins.span, Some(span_of("episode")));
    (0..9).for_each(|_| publish());
    assert_eq!(
        lines("slow").len(),
        2,
        "later losses of the episode must not emit a line"
    );
    receiver.recv().unwrap();
    publish();
    let [ends] = &named("slow", "lagging ends")[..] else {
        panic!("expected one line: {:?}", lines("slow"));
    };
    assert_eq!((ends.level, ends.number("lost")), (Level::INFO, 10));
    assert_eq!(
        (ends.number("suppressed_episodes"), ends.number("suppressed_lost")),
        (0, 0)
    );
    assert_eq!(receiver.lagged(), 10);
}

#[test]
fn a_disconnect_emits_the_loss_and_the_reaping() {
    let _guard = begin();
    let bus = SharingBus::new();
    let overflow = Overflow::Disconnect;
    let receiver = bus
        .subscription()
        .label("ended")
        .overflow(overflow)
        .queue_capacity(1)
        .subscribe();
    for n in 0..3 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    let messages: Vec<_> = lines("ended").iter().map(|line| line.message().to_owned()).collect();
    assert_eq!(messages, ["subscribed", "lagging begins", "lagging ends", "reaped"]);
    drop(receiver);
}

#[test]
fn pending_events_lost_at_the_end_are_reported() {
    let _guard = begin();
    let bus = SharingBus::new();
    let overflow = Overflow::Conflate;
    let receiver = bus
        .subscription()
        .label("hasty")
        .overflow(overflow)
        .queue_capacity(1)
        .subscribe();
    for n in 0..5 {
        bus.publish(number(n)).unwrap();
        bus.flush();
    }
    assert_eq!(
        lines("hasty").len(),
        1,
        "no line may report a loss before an event is lost"
    );
    drop(receiver);
    bus.flush();
    let [_, ends, reaped] = &lines("hasty")[..] else {
        panic!("expected three lines: {:?}", lines("hasty"));
    };
    assert_eq!((ends.message(), ends.number("lost")), ("lagging ends", 4));
    assert_eq!((reaped.number("delivered"), reaped.number("lagged")), (1, 4));
}

/// Ten thousand episodes with ten losses each. About one episode per second emits lines, and these lines account for
/// every loss.
#[test]
fn a_hundred_thousand_losses_emit_few_lines_that_count_them_all() {
    let _guard = begin();
    let bus = SharingBus::new();
    let mut receiver = bus.subscription().label("flaps").queue_capacity(1).subscribe();
    let started = std::time::Instant::now();
    let mut episodes = 0;
    while receiver.lagged() < 100_000 {
        for n in 0..11 {
            bus.publish(number(n)).unwrap();
        }
        bus.flush();
        receiver.recv().unwrap();
        bus.publish(number(0)).unwrap();
        bus.flush();
        receiver.recv().unwrap();
        episodes += 1;
    }
    let seconds = started.elapsed().as_secs() as usize;
    let lagged = receiver.lagged();
    drop(receiver);
    bus.flush();

    let begins = named("flaps", "lagging begins");
    let ends = named("flaps", "lagging ends");
    assert!(
        begins.len() <= seconds + 1,
        "{} lines \"lagging begins\" in {seconds} s",
        begins.len()
    );
    // The end of the subscription emits one more line, with the counts suppressed since the last line.
    assert!(ends.len() <= begins.len() + 1, "{} lines \"lagging ends\"", ends.len());
    let sum = |lines: &[Line], field: &str| lines.iter().map(|line| line.number(field)).sum::<u64>();
    let suppressed = sum(&begins, "suppressed_lost") + sum(&ends, "suppressed_lost");
    assert_eq!(sum(&ends, "lost") + suppressed, lagged);
    let emitted = begins.len() as u64;
    assert_eq!(
        emitted + sum(&begins, "suppressed_episodes") + sum(&ends, "suppressed_episodes"),
        episodes
    );
}

#[test]
fn dispatch_enters_and_exits_its_span() {
    let _guard = begin();
    let bus = SharingBus::builder()
        .thread_name("spanned")
        .assisted_dispatch(false)
        .build()
        .unwrap();
    let receiver = bus.subscribe_all();
    bus.publish(number(0)).unwrap();
    bus.shutdown();
    let span = span_of("spanned");
    let threads: HashSet<_> = lock(&ENTRIES)
        .iter()
        .filter(|entry| entry.1 == span)
        .map(|entry| entry.0)
        .collect();
    assert_eq!(threads.len(), 1);
    assert!(!threads.contains(&thread::current().id()));
    assert!(lock(&ENTERED).iter().all(|entered| entered.1 != span));
    drop(receiver);
}

#[test]
fn a_publisher_that_assists_is_in_the_span_only_during_its_batch() {
    let _guard = begin();
    let bus = SharingBus::builder()
        .thread_name("assisted")
        .assisted_dispatch(true)
        .build()
        .unwrap();
    let inside = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&inside);
    let filter = EventFilter::custom(move |_| {
        lock(&seen).push((thread::current().id(), current()));
        true
    });
    let receiver = bus.subscribe_filtered(filter, 10_000);
    let span = span_of("assisted");
    let here = thread::current().id();
    wait_until("this thread dispatches", || {
        bus.publish(number(0)).unwrap();
        assert_eq!(current(), None, "the publisher must have left the span");
        lock(&inside).iter().any(|(thread, _)| *thread == here)
    });
    assert!(lock(&inside).iter().all(|(_, entered)| *entered == Some(span)));
    bus.shutdown();
    assert!(lock(&ENTERED).iter().all(|entered| entered.1 != span));
    drop(receiver);
}

#[test]
fn a_tracing_subscriber_that_panics_does_not_stop_a_bus() {
    let _guard = begin();
    for assisted in [false, true] {
        PANICS.store(false, Ordering::SeqCst);
        let bus = SharingBus::builder().assisted_dispatch(assisted).build().unwrap();
        let mut healthy = bus.subscription().queue_capacity(1000).subscribe();
        bus.publish(number(0)).unwrap();
        bus.flush();
        PANICS.store(true, Ordering::SeqCst);
        let before = CALLS.load(Ordering::SeqCst);
        let mut lagging = bus.subscribe_filtered(EventFilter::All, 1);
        let other = SharingBus::builder().assisted_dispatch(assisted).build().unwrap();
        let mut others = other.subscription().queue_capacity(1000).subscribe();
        for n in 1..200 {
            bus.publish(number(n)).unwrap();
            other.publish(number(n)).unwrap();
        }
        other.shutdown();
        bus.flush();
        assert_eq!((drain(&mut healthy).len(), drain(&mut others).len()), (200, 199));
        assert_eq!((drain(&mut lagging).len(), lagging.lagged()), (1, 198));
        drop(lagging);
        bus.flush();
        assert_eq!(bus.stats().reaped, 1);
        bus.shutdown();
        assert_closed(&mut healthy);
        assert!(
            CALLS.load(Ordering::SeqCst) > before,
            "the panicking subscriber must have been called"
        );
    }
}

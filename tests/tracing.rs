//! The feature `tracing`: what is told, that it is not too much, and that a subscriber of tracing that panics ends no bus. A
//! binary of its own, for it sets the global subscriber; each test looks for what is told under its own labels and names.
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

/// One event: its level, its fields in text, and the span that it was told in.
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

/// A subscriber that writes everything of the bus's down.
struct Collector;

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
/// The span by its number, from 1: its name and its thread field.
static SPANS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
static INSIDE: Mutex<Vec<(ThreadId, u64)>> = Mutex::new(Vec::new());
/// The threads that have been in a span.
static VISITS: Mutex<Vec<(ThreadId, u64)>> = Mutex::new(Vec::new());
static PANICS: AtomicBool = AtomicBool::new(false);
static CALLS: AtomicU64 = AtomicU64::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn panic_if_told() {
    CALLS.fetch_add(1, Ordering::SeqCst);
    if PANICS.load(Ordering::SeqCst) {
        std::panic::resume_unwind(Box::new("a subscriber of tracing that panics"));
    }
}

impl tracing::Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sharing_bus"
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        panic_if_told();
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
        panic_if_told();
        let mut fields = Fields::default();
        event.record(&mut fields);
        lock(&LINES).push(Line {
            level: *event.metadata().level(),
            fields: fields.0,
            span: current(),
        });
    }

    fn enter(&self, span: &Id) {
        panic_if_told();
        let here = (thread::current().id(), span.into_u64());
        lock(&INSIDE).push(here);
        lock(&VISITS).push(here);
    }

    fn exit(&self, span: &Id) {
        panic_if_told();
        let here = (thread::current().id(), span.into_u64());
        let mut inside = lock(&INSIDE);
        let last = inside
            .iter()
            .rposition(|entered| *entered == here)
            .expect("it was entered");
        inside.remove(last);
    }

    fn try_close(&self, _: Id) -> bool {
        panic_if_told();
        true
    }
}

/// The span that the calling thread is in.
fn current() -> Option<u64> {
    let here = thread::current().id();
    let inside = lock(&INSIDE);
    inside
        .iter()
        .rev()
        .find(|(thread, _)| *thread == here)
        .map(|(_, span)| *span)
}

/// Tests run at once, but the one that panics.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn begin() -> MutexGuard<'static, ()> {
    let turn = lock(&ONE_AT_A_TIME);
    let _ = tracing::subscriber::set_global_default(Collector);
    PANICS.store(false, Ordering::SeqCst);
    lock(&LINES).clear();
    lock(&VISITS).clear();
    turn
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

/// The span of the bus with this thread name.
fn span_of(thread: &str) -> u64 {
    let spans = lock(&SPANS);
    let of = |(name, field): &(String, String)| name == "sharing_bus::dispatch" && field == thread;
    let place = spans.iter().rposition(of).expect("the bus has a span");
    place as u64 + 1
}

#[test]
fn subscribing_and_reaping_are_told() {
    let _turn = begin();
    let bus = SharingBus::builder().thread_name("told").build().unwrap();
    let receiver = bus
        .subscription()
        .label("view")
        .filter(EventFilter::Kind(EventKind::System))
        .queue_capacity(2)
        .subscribe();
    let [subscribed] = &lines("view")[..] else {
        panic!("one line, at once: {:?}", lines("view"));
    };
    assert_eq!((subscribed.level, subscribed.message()), (Level::DEBUG, "subscribed"));
    assert_eq!(subscribed.text("id"), receiver.id().to_string());
    assert_eq!(subscribed.text("filter"), "kind=system");
    assert_eq!(subscribed.number("capacity"), 2);
    assert_eq!(subscribed.span, None, "on the subscriber's thread");

    for n in 0..3 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    drop(receiver);
    bus.flush();
    let [reaped] = &named("view", "reaped")[..] else {
        panic!("one line: {:?}", lines("view"));
    };
    assert_eq!(reaped.level, Level::DEBUG);
    assert_eq!((reaped.number("delivered"), reaped.number("lagged")), (2, 1));
    assert_eq!(reaped.span, Some(span_of("told")));

    // Whoever is there at the end leaves too.
    let last = bus.subscription().label("last").subscribe();
    bus.publish(number(0)).unwrap();
    bus.shutdown();
    let [reaped] = &named("last", "reaped")[..] else {
        panic!("one line: {:?}", lines("last"));
    };
    assert_eq!((reaped.number("delivered"), reaped.span), (1, Some(span_of("told"))));
    drop(last);
}

#[test]
fn sessions_are_told_as_they_are_bound() {
    let _turn = begin();
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
    let told: Vec<_> = bound
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
        told,
        [
            ("c", "s", scroll(1).to_string().as_str(), Some(span_of("sessions"))),
            ("c", "by the host", scroll(2).to_string().as_str(), None),
        ]
    );
}

#[test]
fn an_episode_is_told_as_it_begins_and_as_it_ends_with_its_counts() {
    let _turn = begin();
    let bus = SharingBus::builder().thread_name("episode").build().unwrap();
    let mut receiver = bus.subscription().label("slow").queue_capacity(2).subscribe();
    let publish = || {
        bus.publish(number(0)).unwrap();
        bus.flush();
    };
    (0..2).for_each(|_| publish());
    assert_eq!(lines("slow").len(), 1, "nothing is lost so far");
    publish();
    let [begins] = &named("slow", "lagging begins")[..] else {
        panic!("one line: {:?}", lines("slow"));
    };
    assert_eq!((begins.level, begins.number("lost")), (Level::WARN, 1));
    assert_eq!(begins.text("id"), receiver.id().to_string());
    assert_eq!(begins.span, Some(span_of("episode")));
    (0..9).for_each(|_| publish());
    assert_eq!(lines("slow").len(), 2, "no line for what is lost later");
    receiver.recv().unwrap();
    publish();
    let [ends] = &named("slow", "lagging ends")[..] else {
        panic!("one line: {:?}", lines("slow"));
    };
    assert_eq!((ends.level, ends.number("lost")), (Level::INFO, 10));
    assert_eq!(
        (ends.number("suppressed_episodes"), ends.number("suppressed_lost")),
        (0, 0)
    );
    assert_eq!(receiver.lagged(), 10);
}

#[test]
fn a_disconnected_subscriber_is_told_with_its_loss() {
    let _turn = begin();
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
fn what_waits_in_vain_is_told_as_the_subscription_ends() {
    let _turn = begin();
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
    assert_eq!(lines("hasty").len(), 1, "nothing is lost so far");
    drop(receiver);
    bus.flush();
    let [_, ends, reaped] = &lines("hasty")[..] else {
        panic!("three lines: {:?}", lines("hasty"));
    };
    assert_eq!((ends.message(), ends.number("lost")), ("lagging ends", 4));
    assert_eq!((reaped.number("delivered"), reaped.number("lagged")), (1, 4));
}

/// Ten losses and a recovery, ten thousand times: far more than a line a second, and every loss in one of them.
#[test]
fn a_hundred_thousand_losses_are_told_in_a_handful_of_lines() {
    let _turn = begin();
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
        "{} beginnings in {seconds} s",
        begins.len()
    );
    // The last one tells what was left out since, as the subscription ends.
    assert!(ends.len() <= begins.len() + 1, "{} ends", ends.len());
    let sum = |lines: &[Line], field: &str| lines.iter().map(|line| line.number(field)).sum::<u64>();
    let suppressed = sum(&begins, "suppressed_lost") + sum(&ends, "suppressed_lost");
    assert_eq!(sum(&ends, "lost") + suppressed, lagged);
    let told = begins.len() as u64;
    assert_eq!(
        told + sum(&begins, "suppressed_episodes") + sum(&ends, "suppressed_episodes"),
        episodes
    );
}

#[test]
fn dispatch_runs_in_its_span_and_leaves_it() {
    let _turn = begin();
    let bus = SharingBus::builder()
        .thread_name("spanned")
        .assisted_dispatch(false)
        .build()
        .unwrap();
    let receiver = bus.subscribe_all();
    bus.publish(number(0)).unwrap();
    bus.shutdown();
    let span = span_of("spanned");
    let threads: HashSet<_> = lock(&VISITS)
        .iter()
        .filter(|visit| visit.1 == span)
        .map(|visit| visit.0)
        .collect();
    assert_eq!(threads.len(), 1);
    assert!(!threads.contains(&thread::current().id()));
    assert!(lock(&INSIDE).iter().all(|entered| entered.1 != span));
    drop(receiver);
}

#[test]
fn a_publisher_that_assists_is_in_the_span_for_its_batch_alone() {
    let _turn = begin();
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
        assert_eq!(current(), None, "the span is left");
        lock(&inside).iter().any(|(thread, _)| *thread == here)
    });
    assert!(lock(&inside).iter().all(|(_, entered)| *entered == Some(span)));
    bus.shutdown();
    assert!(lock(&INSIDE).iter().all(|entered| entered.1 != span));
    drop(receiver);
}

#[test]
fn a_subscriber_of_tracing_that_panics_ends_no_bus() {
    let _turn = begin();
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
        assert!(CALLS.load(Ordering::SeqCst) > before, "it was asked");
    }
}

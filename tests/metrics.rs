//! The feature `metrics`: recorded metrics equal the statistics, and a recorder that panics does not stop a bus.
//!
//! This file is a separate binary because it installs the global recorder. Its tests run one at a time, because the
//! metrics of all buses in a process add up.
#![cfg(feature = "metrics")]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::thread;

use common::*;
use metrics::{Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use sharing_bus::{BusEvent, EventFilter, Overflow, SharingBus};

#[derive(Default)]
struct Recorder {
    counters: Mutex<HashMap<String, Arc<Cell>>>,
    gauges: Mutex<HashMap<String, Arc<Cell>>>,
    histograms: Mutex<HashMap<String, Arc<Samples>>>,
    described: Mutex<Vec<(String, Option<Unit>)>>,
    /// Number of handles registered so far.
    registered: AtomicU64,
}

static RECORDER: LazyLock<Recorder> = LazyLock::new(Recorder::default);
static PANICS: AtomicBool = AtomicBool::new(false);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn panic_if_enabled() {
    if PANICS.load(Ordering::SeqCst) {
        panic_quietly();
    }
}

#[derive(Default)]
struct Cell(Mutex<f64>);

impl Cell {
    fn add(&self, value: f64) {
        panic_if_enabled();
        assert_ne!(value, 0.0, "an update without a change");
        *lock(&self.0) += value;
    }

    fn get(&self) -> f64 {
        *lock(&self.0)
    }
}

impl CounterFn for Cell {
    fn increment(&self, value: u64) {
        self.add(value as f64);
    }

    fn absolute(&self, _: u64) {
        unreachable!("absolute values of several buses would overwrite each other");
    }
}

impl GaugeFn for Cell {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        unreachable!("absolute values of several buses would overwrite each other");
    }
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        panic_if_enabled();
        lock(&self.0).push(value);
    }
}

/// Returns the metric's name, with the labels in braces if there are any.
fn name(key: &Key) -> String {
    let labels: Vec<_> = key
        .labels()
        .map(|label| format!("{}={}", label.key(), label.value()))
        .collect();
    if labels.is_empty() {
        return key.name().to_owned();
    }
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Recorder {
    fn register<T: Default>(&self, handles: &Mutex<HashMap<String, Arc<T>>>, key: &Key) -> Arc<T> {
        panic_if_enabled();
        self.registered.fetch_add(1, Ordering::SeqCst);
        Arc::clone(lock(handles).entry(name(key)).or_default())
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>) {
        lock(&self.described).push((name.as_str().to_owned(), unit));
    }
}

impl metrics::Recorder for &'static Recorder {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(key, unit);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(key, unit);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(key, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(&self.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(&self.gauges, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.register(&self.histograms, key))
    }
}

/// Installs the recorder on the first call, and clears it. Other tests wait until the returned guard is dropped.
fn begin() -> MutexGuard<'static, ()> {
    let guard = lock(&ONE_AT_A_TIME);
    let _ = metrics::set_global_recorder(&*RECORDER);
    PANICS.store(false, Ordering::SeqCst);
    lock(&RECORDER.counters).clear();
    lock(&RECORDER.gauges).clear();
    lock(&RECORDER.histograms).clear();
    lock(&RECORDER.described).clear();
    guard
}

#[track_caller]
fn counter(name: &str) -> u64 {
    lock(&RECORDER.counters)[name].get() as u64
}

#[track_caller]
fn gauge(name: &str) -> f64 {
    lock(&RECORDER.gauges)[name].get()
}

fn latencies() -> Vec<f64> {
    let histograms = lock(&RECORDER.histograms);
    histograms["sharing_bus_dispatch_latency_seconds"]
        .0
        .lock()
        .unwrap()
        .clone()
}

#[track_caller]
fn assert_totals<E: sharing_bus::Payload>(bus: &SharingBus<E>) {
    let stats = bus.stats();
    let counted = [
        "published",
        "dispatched",
        "delivered",
        "lagged",
        "merged",
        "unmatched",
        "filter_panics",
        "payload_panics",
        "reaped",
        "failed",
    ]
    .map(|name| counter(&format!("sharing_bus_{name}_total")));
    let expected = [
        stats.published,
        stats.dispatched,
        stats.delivered,
        stats.lagged,
        stats.merged,
        stats.unmatched,
        stats.filter_panics,
        stats.payload_panics,
        stats.reaped,
        stats.failed,
    ];
    assert_eq!(counted, expected);
    let shown = ["ingress_depth", "subscribers", "sessions"].map(|name| gauge(&format!("sharing_bus_{name}")) as u64);
    assert_eq!(
        shown,
        [
            stats.ingress_depth,
            stats.subscribers.len() as u64,
            stats.sessions as u64
        ]
    );
    assert_eq!(latencies().len() as u64, stats.dispatched);
}

#[test]
fn totals_equal_the_statistics_after_each_flush() {
    let _guard = begin();
    let bus = SharingBus::new();
    bus.flush();
    let archive = bus.subscription().label("archive").queue_capacity(1000).subscribe();
    let faulty = bus.subscribe_filtered(EventFilter::custom(|_| panic_quietly()), 1);
    let latest = bus
        .subscription()
        .overflow(Overflow::DropOldest)
        .queue_capacity(3)
        .subscribe();
    for round in 0..10 {
        for _ in 0..20 {
            bus.publish(plain()).unwrap();
        }
        if round == 5 {
            bus.publish(registration(&scroll(1).to_string())).unwrap();
        }
        bus.flush();
        assert_totals(&bus);
    }
    drop(archive);
    bus.flush();
    assert_totals(&bus);
    drop((faulty, latest));
    bus.flush();
    bus.publish(plain()).unwrap();
    bus.flush();
    assert_totals(&bus);
    let stats = bus.stats();
    assert_eq!((stats.reaped, stats.unmatched, stats.sessions), (3, 1, 1));
    assert!(stats.lagged > 0 && stats.filter_panics > 0 && stats.failed > 0);
    assert!(
        latencies()
            .iter()
            .all(|seconds| (0.0..DEADLINE.as_secs_f64()).contains(seconds))
    );
}

#[test]
fn events_of_four_publishers_are_counted_until_shutdown() {
    let _guard = begin();
    let bus = SharingBus::builder().ingress_capacity(8).build().unwrap();
    let receiver = bus.subscription().label("all").queue_capacity(100).subscribe();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|n| bus.publish(number(n)).unwrap()));
        }
    });
    bus.shutdown();
    assert_eq!(counter("sharing_bus_published_total"), 2000);
    assert_eq!(counter("sharing_bus_dispatched_total"), 2000);
    assert_eq!(counter("sharing_bus_subscriber_delivered_total{subscriber=all}"), 100);
    assert_eq!(counter("sharing_bus_subscriber_lagged_total{subscriber=all}"), 1900);
    assert_eq!(latencies().len(), 2000);
    for name in [
        "ingress_depth",
        "subscribers",
        "sessions",
        "queue_depth{subscriber=all}",
    ] {
        assert_eq!(gauge(&format!("sharing_bus_{name}")), 0.0, "{name}");
    }
    drop(receiver);
}

#[test]
fn subscribers_with_the_same_label_or_no_label_add_up() {
    let _guard = begin();
    let bus = SharingBus::new();
    let subscribe = |label: Option<&str>, capacity| {
        let subscription = bus.subscription().queue_capacity(capacity);
        match label {
            Some(label) => subscription.label(label).subscribe(),
            None => subscription.subscribe(),
        }
    };
    let receivers = [
        subscribe(Some("view"), 2),
        subscribe(Some("view"), 3),
        subscribe(None, 4),
        subscribe(None, 5),
    ];
    let publish = || {
        for n in 0..5 {
            bus.publish(number(n)).unwrap();
        }
        bus.flush();
    };
    publish();
    let seen = |label: &str| {
        (
            counter(&format!("sharing_bus_subscriber_delivered_total{{subscriber={label}}}")),
            counter(&format!("sharing_bus_subscriber_lagged_total{{subscriber={label}}}")),
            gauge(&format!("sharing_bus_queue_depth{{subscriber={label}}}")),
        )
    };
    assert_eq!(seen("view"), (5, 5, 5.0));
    assert_eq!(seen("unlabelled"), (9, 1, 9.0));

    let [first, mut second, third, mut fourth] = receivers;
    // The first receiver is dropped with a full queue. The second takes all its events, the fourth takes one.
    drop(first);
    drain(&mut second);
    fourth.recv().unwrap();
    bus.flush();
    assert_eq!(seen("view"), (5, 5, 0.0));
    assert_eq!(seen("unlabelled"), (9, 1, 8.0));

    let before = RECORDER.registered.load(Ordering::SeqCst);
    publish();
    assert_eq!(seen("view"), (8, 7, 3.0));
    assert_eq!(
        RECORDER.registered.load(Ordering::SeqCst),
        before,
        "each handle must be registered only once"
    );

    // Events queued when a subscription ends stay readable, but no longer count toward the depth.
    assert!(bus.unsubscribe(third.id()) && bus.unsubscribe(second.id()));
    bus.flush();
    assert_eq!(seen("view").2, 0.0);
    assert_eq!(seen("unlabelled").2, 5.0);
    bus.shutdown();
    assert_eq!(seen("unlabelled").2, 0.0);
}

#[test]
fn a_backlog_counts_as_delivered() {
    let _guard = begin();
    let bus = SharingBus::builder().history(10).build().unwrap();
    for n in 0..5 {
        bus.publish(number(n)).unwrap();
    }
    bus.flush();
    let late = bus.subscription().label("late").backlog(3).subscribe();
    bus.flush();
    assert_eq!(counter("sharing_bus_subscriber_delivered_total{subscriber=late}"), 3);
    assert_eq!(gauge("sharing_bus_queue_depth{subscriber=late}"), 3.0);
    assert_totals(&bus);
    drop(late);
}

#[test]
fn merged_events_and_lost_pending_events_are_counted() {
    let _guard = begin();
    let bus = SharingBus::new();
    let subscription = || bus.subscription().overflow(Overflow::Conflate).queue_capacity(1);
    let mut patient = subscription().label("patient").subscribe();
    let hasty = subscription().label("hasty").subscribe();
    for n in 0..5 {
        bus.publish(number(n)).unwrap();
        bus.flush();
    }
    assert_eq!(bus.stats().subscribers[0].pending, 4);
    patient.recv().unwrap();
    // Pending events are lost when their subscription ends.
    drop(hasty);
    bus.flush();
    let seen = |label: &str| {
        ["delivered", "lagged", "merged"]
            .map(|metric| counter(&format!("sharing_bus_subscriber_{metric}_total{{subscriber={label}}}")))
    };
    assert_eq!((seen("patient"), seen("hasty")), ([2, 0, 3], [1, 4, 0]));
    assert_totals(&bus);
}

#[test]
fn lost_essential_events_are_counted_separately() {
    let _guard = begin();
    let bus = SharingBus::new();
    let view = bus
        .subscription()
        .label("view")
        .queue_capacity(4)
        .essential(EventFilter::custom(|event: &BusEvent<Number>| event.event.0 >= 100), 2)
        .subscribe();
    for n in [1, 2, 3, 100, 101, 102, 4, 103] {
        bus.publish(number(n)).unwrap();
        bus.flush();
    }
    let seen = ["delivered", "lagged", "lagged_essential"]
        .map(|metric| counter(&format!("sharing_bus_subscriber_{metric}_total{{subscriber=view}}")));
    assert_eq!(seen, [4, 4, 2]);
    assert_eq!((view.lagged(), view.lagged_essential()), (4, 2));
    assert_totals(&bus);
}

#[test]
fn metrics_of_several_buses_add_up() {
    let _guard = begin();
    let buses = [(); 2].map(|()| SharingBus::new());
    let receivers = buses.each_ref().map(|bus| bus.subscribe_all());
    for bus in &buses {
        bus.publish(number(1)).unwrap();
        bus.flush();
    }
    assert_eq!(counter("sharing_bus_dispatched_total"), 2);
    assert_eq!(gauge("sharing_bus_subscribers"), 2.0);
    buses[0].shutdown();
    assert_eq!(gauge("sharing_bus_subscribers"), 1.0);
    drop(receivers);
}

/// Regression test: the sessions of an ended bus stayed in the gauge until the process exited.
#[test]
fn a_bus_that_has_ended_adds_nothing_to_the_gauges() {
    let _guard = begin();
    let buses = [(); 2].map(|()| SharingBus::new());
    for bus in &buses {
        bus.publish(registration(&scroll(1).to_string())).unwrap();
        bus.flush();
    }
    assert_eq!(gauge("sharing_bus_sessions"), 2.0);
    buses[0].shutdown();
    assert_eq!(gauge("sharing_bus_sessions"), 1.0);
    buses[1].shutdown();
    for name in ["ingress_depth", "subscribers", "sessions"] {
        assert_eq!(gauge(&format!("sharing_bus_{name}")), 0.0, "{name}");
    }
    assert_eq!(counter("sharing_bus_dispatched_total"), 2);
}

#[test]
fn each_metric_is_described_once_for_a_bus() {
    let _guard = begin();
    let bus = SharingBus::new();
    let receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    bus.flush();
    let described = lock(&RECORDER.described).clone();
    let mut names: Vec<_> = described.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!((before, names.len()), (19, 19));
    let base = |name: &String| name.split('{').next().unwrap_or_default().to_owned();
    let counters = lock(&RECORDER.counters);
    let gauges = lock(&RECORDER.gauges);
    for name in counters.keys().chain(gauges.keys()) {
        assert!(names.contains(&base(name)), "{name}");
    }
    for (name, unit) in described {
        let expected = if name.ends_with("_seconds") {
            Unit::Seconds
        } else {
            Unit::Count
        };
        assert_eq!(unit, Some(expected), "{name}");
    }
    drop(receiver);
}

#[test]
fn a_recorder_that_panics_does_not_stop_a_bus() {
    let _guard = begin();
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(0)).unwrap();
    bus.flush();
    PANICS.store(true, Ordering::SeqCst);
    // While the recorder panics, a subscriber is added, the metrics of the first one are updated, and a second bus is
    // built.
    let mut late = bus.subscribe_all();
    let other = SharingBus::new();
    let mut others = other.subscribe_all();
    for n in 1..200 {
        bus.publish(number(n)).unwrap();
        other.publish(number(n)).unwrap();
    }
    bus.flush();
    other.shutdown();
    assert_eq!(drain(&mut receiver).len(), 200);
    assert_eq!(drain(&mut late).len(), 199);
    assert_eq!(drain(&mut others).len(), 199);
    assert_eq!(bus.stats().dispatched, 200);
    drop(receiver);
    bus.flush();
    assert_eq!(bus.stats().reaped, 1);
    bus.shutdown();
    assert_closed(&mut late);
}

//! The feature `metrics`: that what a recorder sees is what the statistics say, and that one that panics ends no bus. A
//! binary of its own, for it installs the recorder; and one test at a time, for what all buses of a process tell adds up.
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
    /// How often a handle was asked for.
    registered: AtomicU64,
}

static RECORDER: LazyLock<Recorder> = LazyLock::new(Recorder::default);
static PANICS: AtomicBool = AtomicBool::new(false);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A test that failed has told of it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn panic_if_told() {
    if PANICS.load(Ordering::SeqCst) {
        std::panic::resume_unwind(Box::new("a recorder that panics"));
    }
}

#[derive(Default)]
struct Cell(Mutex<f64>);

impl Cell {
    fn add(&self, value: f64) {
        panic_if_told();
        assert_ne!(value, 0.0, "nothing has changed");
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
        unreachable!("buses of one process would overwrite each other");
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
        unreachable!("buses of one process would overwrite each other");
    }
}

#[derive(Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        panic_if_told();
        lock(&self.0).push(value);
    }
}

/// The name, and the subscriber's label if there is one.
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
        panic_if_told();
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

/// Installs the recorder if it is not yet, and empties it.
fn begin() -> MutexGuard<'static, ()> {
    let turn = lock(&ONE_AT_A_TIME);
    let _ = metrics::set_global_recorder(&*RECORDER);
    PANICS.store(false, Ordering::SeqCst);
    lock(&RECORDER.counters).clear();
    lock(&RECORDER.gauges).clear();
    lock(&RECORDER.histograms).clear();
    lock(&RECORDER.described).clear();
    turn
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
fn totals_are_those_of_the_statistics_at_every_flush() {
    let _turn = begin();
    let bus = SharingBus::new();
    bus.flush();
    let archive = bus.subscription().label("archive").queue_capacity(1000).subscribe();
    let faulty = bus.subscribe_filtered(
        EventFilter::custom(|_| std::panic::resume_unwind(Box::new("filter"))),
        1,
    );
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
    assert!(stats.lagged > 0 && stats.filter_panics > 0);
    assert!(
        latencies()
            .iter()
            .all(|seconds| (0.0..DEADLINE.as_secs_f64()).contains(seconds))
    );
}

#[test]
fn what_four_publishers_get_in_is_counted_to_the_end() {
    let _turn = begin();
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
fn subscribers_of_one_label_add_up_and_those_without_are_one() {
    let _turn = begin();
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
    // One leaves with a full queue, one is emptied, one in part.
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
        "handles are made once"
    );

    // Unsubscribed with events queued, which stay readable and are nobody's depth any more.
    assert!(bus.unsubscribe(third.id()) && bus.unsubscribe(second.id()));
    bus.flush();
    assert_eq!(seen("view").2, 0.0);
    assert_eq!(seen("unlabelled").2, 5.0);
    bus.shutdown();
    assert_eq!(seen("unlabelled").2, 0.0);
}

#[test]
fn a_backlog_counts_as_delivered() {
    let _turn = begin();
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
fn what_is_merged_and_what_waits_in_vain_is_counted() {
    let _turn = begin();
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
    // What waits is lost with its subscription.
    drop(hasty);
    bus.flush();
    let seen = |label: &str| {
        ["delivered", "lagged", "merged"]
            .map(|what| counter(&format!("sharing_bus_subscriber_{what}_total{{subscriber={label}}}")))
    };
    assert_eq!((seen("patient"), seen("hasty")), ([2, 0, 3], [1, 4, 0]));
    assert_totals(&bus);
}

#[test]
fn what_was_lost_of_essential_events_is_counted_apart() {
    let _turn = begin();
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
        .map(|what| counter(&format!("sharing_bus_subscriber_{what}_total{{subscriber=view}}")));
    assert_eq!(seen, [4, 4, 2]);
    assert_eq!((view.lagged(), view.lagged_essential()), (4, 2));
    assert_totals(&bus);
}

#[test]
fn several_buses_add_up() {
    let _turn = begin();
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

/// A bus that had ended went on counting its sessions for as long as the process lived.
#[test]
fn a_bus_that_has_ended_adds_nothing_to_the_gauges() {
    let _turn = begin();
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
fn everything_is_described_once_for_a_bus() {
    let _turn = begin();
    let bus = SharingBus::new();
    let receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    bus.flush();
    let described = lock(&RECORDER.described).clone();
    let mut names: Vec<_> = described.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!((before, names.len()), (18, 18));
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
fn a_recorder_that_panics_ends_no_bus() {
    let _turn = begin();
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(0)).unwrap();
    bus.flush();
    PANICS.store(true, Ordering::SeqCst);
    // One that joins while it panics, one whose handles panic, and a bus that is built meanwhile.
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

//! The cost of a subscriber: the calls that change the subscriber list, by the number of subscribers, the delay that one
//! subscriber causes to another, and memory.
//!
//! `cargo bench -p sharing-bus-benches --bench growth` writes `results/growth.md`. `cargo test --benches` only checks
//! that the bench runs. The bench is a separate binary because it counts allocations.

use std::alloc::System;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventKind, EventRouting, Overflow, SharingBus};
use sharing_bus_benches::report::{quantile, short};
use sharing_bus_benches::workload::scroll;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::{broadcast, mpsc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Number of times that each call is timed.
const CALLS: usize = 301;

/// Capacity of a queue, in events.
const CAPACITY: usize = 256;

fn main() {
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let sizes: &[usize] = if quick { &[10, 100] } else { &[10, 1000, 100_000] };
    let mut text = "**Calls that change the subscriber list** (µs per call: median, 99th percentile)\n\n".to_owned();
    text.push_str(
        "| subscribers | subscribe | set_filter | unsubscribe | flush after subscribe | drop all, ns per receiver |\n",
    );
    text.push_str("|---:|---:|---:|---:|---:|---:|\n");
    for subscribers in sizes {
        text.push_str(&calls(*subscribers));
    }
    text.push_str(&delays(if quick { 1_000 } else { 400_000 }));
    text.push_str("\n**Memory per subscriber** (bytes)\n\n| queue of 256 | idle | full |\n|---|---:|---:|\n");
    for (name, measure) in [
        ("sharing-bus", memory as fn() -> (isize, isize)),
        ("tokio mpsc", memory_of_mpsc),
        ("tokio broadcast (one ring for all receivers)", memory_of_broadcast),
    ] {
        let (idle, full) = measure();
        let _ = writeln!(text, "| {name} | {idle} | {full} |");
    }
    println!("{text}");
    if !quick {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&results).expect("cannot create the results folder");
        std::fs::write(results.join("growth.md"), text).expect("cannot write the results");
    }
}

/// Times the calls on a bus with this many subscribers, each of which filters by a scroll of its own.
fn calls(subscribers: usize) -> String {
    let bus: SharingBus<u64> = SharingBus::new();
    let subscribe = |number: usize| bus.subscribe_filtered(EventFilter::ScrollId(scroll(number)), 16);
    let mut receivers: Vec<BusReceiver<u64>> = (0..subscribers).map(subscribe).collect();
    bus.flush();
    let (mut subscribed, mut filtered, mut unsubscribed, mut flushed) = (vec![], vec![], vec![], vec![]);
    for call in 0..CALLS {
        let index = call * 7919 % subscribers;
        subscribed.push(micros(|| receivers.push(subscribe(subscribers + call))));
        flushed.push(micros(|| bus.flush()));
        let filter = EventFilter::ScrollId(scroll(2 * subscribers + call));
        filtered.push(micros(|| receivers[index].set_filter(filter)));
        bus.flush();
        let id = receivers[index].id();
        unsubscribed.push(micros(|| assert!(bus.unsubscribe(id))));
        bus.flush();
        receivers[index] = subscribe(3 * subscribers + call);
        bus.flush();
    }
    let count = receivers.len();
    let dropped = micros(|| {
        drop(receivers);
        bus.flush();
    });
    let cells = [subscribed, filtered, unsubscribed, flushed].map(|times| {
        let [median, p99] = [0.5, 0.99].map(|fraction| short(quantile(&times, fraction)));
        format!("{median}, {p99}")
    });
    // The dispatch thread must not free memory during a later measurement.
    bus.shutdown();
    let per_receiver = short(dropped * 1000.0 / count as f64);
    format!("| {subscribers} | {} | {per_receiver} |\n", cells.join(" | "))
}

/// Work on the dispatch thread that one subscriber causes. It returns the values to drop after the measurement.
type Work = fn(&SharingBus<u64>, usize) -> Vec<BusReceiver<u64>>;

/// Times one event to a subscriber, from `publish` to `recv`, while the dispatch thread works for another subscriber.
fn delays(kept: usize) -> String {
    let mut text = format!(
        "\n**Delay of an event while the dispatch thread works for another subscriber** ({kept} events kept; µs: median, \
         maximum)\n\n| work | µs |\n|---|---:|\n"
    );
    let works: [(&str, Work); 6] = [
        ("none", |_, _| vec![]),
        ("a backlog of 1 event", |bus, _| {
            vec![bus.subscription().backlog(1).subscribe()]
        }),
        ("a backlog for which nothing matches", |bus, _| {
            let nothing = EventFilter::custom(|_| false);
            vec![bus.subscription().filter(nothing).backlog(1).subscribe()]
        }),
        ("a backlog of everything", |bus, kept| {
            vec![bus.subscription().queue_capacity(kept).backlog(kept).subscribe()]
        }),
        ("a filter of 10,000 scrolls", |bus, _| {
            let scrolls = (0..10_000).map(|number| EventFilter::ScrollId(scroll(number)));
            vec![bus.subscribe_filtered(EventFilter::any(scrolls), 1)]
        }),
        ("10,000 waiting events of a queue that conflates", |bus, _| {
            let conflating = bus.subscription().overflow(Overflow::Conflate).queue_capacity(10_000);
            let mut receiver = conflating.subscribe();
            for number in 0..20_000 {
                publish(bus, number, EventKind::Output);
            }
            bus.flush();
            while receiver.len() > 9_000 {
                assert!(receiver.try_recv().is_ok(), "the queue is empty");
            }
            assert!(receiver.try_iter().count() > 0, "the queue is empty");
            vec![receiver]
        }),
    ];
    for (name, work) in works {
        let bus: SharingBus<u64> = SharingBus::builder()
            .history(kept / 4)
            .history_per_scroll(20)
            .build()
            .unwrap_or_else(|error| panic!("the bus could not be started: {error}"));
        for number in 0..kept {
            publish(&bus, number % 20_000, EventKind::Output);
        }
        let mut other = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8);
        bus.flush();
        let times: Vec<_> = (0..31)
            .map(|_| {
                let receivers = work(&bus, kept);
                let time = micros(|| {
                    publish(&bus, 0, EventKind::Error);
                    assert!(other.recv().is_ok(), "the bus is closed");
                });
                drop(receivers);
                bus.flush();
                time
            })
            .collect();
        // The dispatch thread must not free memory during a later measurement.
        bus.shutdown();
        let [median, most] = [0.5, 1.0].map(|fraction| short(quantile(&times, fraction)));
        let _ = writeln!(text, "| {name} | {median}, {most} |");
    }
    text
}

fn publish(bus: &SharingBus<u64>, number: usize, kind: EventKind) {
    let routing = EventRouting {
        scroll_id: Some(scroll(number)),
        kind,
        ..EventRouting::default()
    };
    let published = bus.publish(BusEvent::new(routing, number as u64));
    assert!(published.is_ok(), "the bus is closed");
}

fn micros(call: impl FnOnce()) -> f64 {
    let started = Instant::now();
    call();
    started.elapsed().as_nanos() as f64 / 1000.0
}

/// Returns the bytes per subscriber, measured with 1,000 subscribers: with empty queues, and with full queues of shared
/// events.
fn memory() -> (isize, isize) {
    let bus: SharingBus<u64> = SharingBus::new();
    bus.flush();
    let before = live();
    let receivers: Vec<_> = (0..1000)
        .map(|_| bus.subscribe_filtered(EventFilter::All, CAPACITY))
        .collect();
    bus.flush();
    let idle = live() - before;
    for number in 0..CAPACITY {
        let sent = bus.publish(BusEvent::new(EventRouting::default(), number as u64));
        assert!(sent.is_ok(), "the bus is closed");
    }
    bus.flush();
    let full = live() - before;
    drop(receivers);
    bus.shutdown();
    (idle / 1000, full / 1000)
}

fn memory_of_mpsc() -> (isize, isize) {
    let before = live();
    let channels: Vec<_> = (0..1000).map(|_| mpsc::channel::<Arc<u64>>(CAPACITY)).collect();
    let idle = live() - before;
    for number in 0..CAPACITY {
        let event = Arc::new(number as u64);
        for (sender, _) in &channels {
            assert!(
                sender.try_send(Arc::clone(&event)).is_ok(),
                "the channel is full or closed"
            );
        }
    }
    let full = live() - before;
    (idle / 1000, full / 1000)
}

fn memory_of_broadcast() -> (isize, isize) {
    let before = live();
    let (sender, _) = broadcast::channel::<Arc<u64>>(CAPACITY);
    let receivers: Vec<_> = (0..1000).map(|_| sender.subscribe()).collect();
    let idle = live() - before;
    for number in 0..CAPACITY {
        assert!(
            sender.send(Arc::new(number as u64)).is_ok(),
            "the channel has no receiver"
        );
    }
    let full = live() - before;
    drop(receivers);
    (idle / 1000, full / 1000)
}

/// Returns the number of bytes that are currently allocated.
fn live() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

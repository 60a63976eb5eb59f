//! What a subscriber costs, by how many there are: the calls that change the list, and memory.
//!
//! `cargo bench -p sharing-bus-benches --bench growth` writes `results/growth.md`; `-- --quick` (as under
//! `cargo test --benches`) only shows that it runs. A binary of its own, for it counts allocations.

use std::alloc::System;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventRouting, SharingBus};
use sharing_bus_benches::report::{quantile, short};
use sharing_bus_benches::workload::scroll;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::sync::{broadcast, mpsc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How often each call is made.
const CALLS: usize = 301;

/// Events that a queue holds.
const CAPACITY: usize = 256;

fn main() {
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let crowds: &[usize] = if quick { &[10, 100] } else { &[10, 1000, 100_000] };
    let mut text = "**What changes the subscriber list costs** (µs a call: median, and the 99th of 100)\n\n".to_owned();
    text.push_str("| subscribers | subscribe | set_filter | unsubscribe | until dispatch has followed | all dropped at once, ns each |\n");
    text.push_str("|---:|---:|---:|---:|---:|---:|\n");
    for crowd in crowds {
        text.push_str(&calls(*crowd));
    }
    text.push_str("\n**Memory of a subscriber** (bytes)\n\n| queue of 256 | idle | full |\n|---|---:|---:|\n");
    for (name, measure) in [
        ("sharing-bus", memory as fn() -> (isize, isize)),
        ("tokio mpsc", memory_of_mpsc),
        ("tokio broadcast (the ring is everybody's)", memory_of_broadcast),
    ] {
        let (idle, full) = measure();
        let _ = writeln!(text, "| {name} | {idle} | {full} |");
    }
    println!("{text}");
    if !quick {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        std::fs::create_dir_all(&results).expect("the folder can be made");
        std::fs::write(results.join("growth.md"), text).expect("the results can be written");
    }
}

/// Calls among so many subscribers, each of a scroll of its own.
fn calls(crowd: usize) -> String {
    let bus: SharingBus<u64> = SharingBus::new();
    let subscribe = |number: usize| bus.subscribe_filtered(EventFilter::ScrollId(scroll(number)), 16);
    let mut receivers: Vec<BusReceiver<u64>> = (0..crowd).map(subscribe).collect();
    bus.flush();
    let (mut subscribed, mut filtered, mut unsubscribed, mut followed) = (vec![], vec![], vec![], vec![]);
    for call in 0..CALLS {
        let place = call * 7919 % crowd;
        subscribed.push(micros(|| receivers.push(subscribe(crowd + call))));
        followed.push(micros(|| bus.flush()));
        let filter = EventFilter::ScrollId(scroll(2 * crowd + call));
        filtered.push(micros(|| receivers[place].set_filter(filter)));
        bus.flush();
        let id = receivers[place].id();
        unsubscribed.push(micros(|| assert!(bus.unsubscribe(id))));
        bus.flush();
        receivers[place] = subscribe(3 * crowd + call);
        bus.flush();
    }
    let count = receivers.len();
    let dropped = micros(|| {
        drop(receivers);
        bus.flush();
    });
    let cells = [subscribed, filtered, unsubscribed, followed].map(|times| {
        let [median, late] = [0.5, 0.99].map(|part| short(quantile(&times, part)));
        format!("{median}, {late}")
    });
    // What it still frees is not to be counted elsewhere.
    bus.shutdown();
    let each = short(dropped * 1000.0 / count as f64);
    format!("| {crowd} | {} | {each} |\n", cells.join(" | "))
}

fn micros(call: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    call();
    begun.elapsed().as_nanos() as f64 / 1000.0
}

/// Bytes that one of a thousand subscribers takes, with its queue empty and full of events that all share.
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
        assert!(sent.is_ok(), "the bus is open");
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
            assert!(sender.try_send(Arc::clone(&event)).is_ok(), "there is room");
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
        assert!(sender.send(Arc::new(number as u64)).is_ok(), "there are receivers");
    }
    let full = live() - before;
    drop(receivers);
    (idle / 1000, full / 1000)
}

fn live() -> isize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as isize - stats.bytes_deallocated as isize
}

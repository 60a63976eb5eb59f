//! Instructions of the steps that an event goes through, counted by callgrind: stable where times are not.
//!
//! `ci/counts.sh` runs this and compares with `results/counts.md`. Only the thread of the measured function counts. So that
//! it is also the one that dispatches, these buses are assisted, and the events of a batch are published from within
//! dispatch, by a filter: the publisher that runs the filter runs the whole batch.

#![allow(missing_docs, reason = "the macros make public items")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventRouting, SharingBus};
use sharing_bus_benches::workload::scroll;
use uuid::Uuid;

/// Events of a batch, the one that starts it included; one more, and the thread would be called.
const EVENTS: usize = 63;

/// A bus at rest, and what has subscribed to it.
struct Rest {
    bus: SharingBus<u64>,
    receivers: Vec<BusReceiver<u64>>,
}

fn of_scroll(scroll: Uuid) -> BusEvent<u64> {
    let routing = EventRouting {
        scroll_id: Some(scroll),
        ..EventRouting::default()
    };
    BusEvent::new(routing, 7)
}

/// A bus with so many subscribers that match everything, and so many others of a scroll of their own, the first of which
/// the events are for.
fn at_rest(all: usize, selective: usize) -> Rest {
    let bus: SharingBus<u64> = SharingBus::builder()
        .assisted_dispatch(true)
        .build()
        .expect("the bus starts");
    let everything = (0..all).map(|_| EventFilter::All);
    let scrolls = (1..=selective).map(|number| EventFilter::ScrollId(scroll(number)));
    let receivers = everything
        .chain(scrolls)
        .map(|filter| bus.subscribe_filtered(filter, 2 * EVENTS))
        .collect();
    settle(&bus);
    let mut rest = Rest { bus, receivers };
    warm(&mut rest);
    rest
}

/// One event there and back: what the first one allocates, and how the allocator comes by it, counts for nothing.
fn warm(rest: &mut Rest) {
    batch_of(rest);
    rest.bus.flush();
    for receiver in &mut rest.receivers {
        drop(receiver.try_recv());
    }
    settle(&rest.bus);
}

/// Until the dispatch thread is at rest, and so long that the next publisher takes over.
fn settle(bus: &SharingBus<u64>) {
    bus.flush();
    std::thread::sleep(Duration::from_millis(20));
}

/// The same, with the filter that publishes the rest of a batch as it sees the first event.
fn loaded(all: usize, selective: usize) -> Rest {
    let mut rest = at_rest(all, selective);
    let (inside, fresh) = (rest.bus.clone(), AtomicBool::new(true));
    let filter = EventFilter::custom(move |_: &BusEvent<u64>| {
        if fresh.swap(false, Ordering::Relaxed) {
            for _ in 1..EVENTS {
                inside.publish(of_scroll(scroll(1))).expect("there is room");
            }
        }
        false
    });
    rest.receivers.push(rest.bus.subscribe_filtered(filter, 1));
    settle(&rest.bus);
    rest
}

/// Full queues.
fn delivered(all: usize, selective: usize) -> Rest {
    let mut rest = loaded(all, selective);
    batch_of(&rest);
    rest.bus.flush();
    // The one that published it.
    rest.receivers.pop();
    rest
}

fn batch_of(rest: &Rest) {
    rest.bus.publish(of_scroll(scroll(1))).expect("the bus is open");
}

#[library_benchmark]
#[bench::nobody(at_rest(0, 0))]
#[bench::one(at_rest(1, 0))]
fn publish_on_an_idle_bus(rest: Rest) -> Rest {
    rest.bus
        .publish(black_box(of_scroll(scroll(1))))
        .expect("the bus is open");
    rest
}

#[library_benchmark]
#[bench::nobody_matches(loaded(0, 0))]
#[bench::one_of_128_matches(loaded(0, 128))]
#[bench::one_of_16384_matches(loaded(0, 16_384))]
#[bench::one_matches(loaded(1, 0))]
#[bench::all_of_8_match(loaded(8, 0))]
#[bench::all_of_64_match(loaded(64, 0))]
#[bench::all_of_512_match(loaded(512, 0))]
fn publish_and_dispatch_63(rest: Rest) -> Rest {
    batch_of(&rest);
    rest
}

#[library_benchmark]
#[bench::of_64_queues(delivered(64, 0))]
fn receive_63(mut rest: Rest) -> Rest {
    for receiver in &mut rest.receivers {
        while let Ok(delivery) = receiver.try_recv() {
            black_box(&delivery);
        }
    }
    rest
}

library_benchmark_group!(
    name = steps,
    benchmarks = [publish_on_an_idle_bus, publish_and_dispatch_63, receive_63]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no", "--separate-threads=yes"])),
    library_benchmark_groups = steps
);

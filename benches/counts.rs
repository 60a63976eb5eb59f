//! Instructions per step of an event, counted by callgrind. Unlike times, the counts are the same in every run.
//!
//! `ci/counts.sh` runs this bench and compares the counts with `results/counts.md`. Only the thread of the measured
//! function is counted, so that thread must also dispatch. The buses therefore use assisted dispatch. A filter
//! publishes the rest of a batch while the first event is dispatched, and the thread that runs the filter dispatches
//! the whole batch.

#![allow(missing_docs, reason = "the macros generate public items")]

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventRouting, SharingBus};
use sharing_bus_benches::workload::scroll;
use uuid::Uuid;

/// Number of events in a batch, including the first one. One more event would fill the batch, and a full batch wakes
/// the dispatch thread.
const EVENTS: usize = 63;

/// An idle bus and its receivers.
struct Fixture {
    bus: SharingBus<u64>,
    receivers: Vec<BusReceiver<u64>>,
}

fn event_of(scroll: Uuid) -> BusEvent<u64> {
    let routing = EventRouting {
        scroll_id: Some(scroll),
        ..EventRouting::default()
    };
    BusEvent::new(routing, 7)
}

/// Returns a bus with `all` subscribers that match every event, and `selective` subscribers that filter by a scroll of
/// their own. The events belong to the scroll of the first selective subscriber.
fn idle_bus(all: usize, selective: usize) -> Fixture {
    let bus: SharingBus<u64> = SharingBus::builder()
        .assisted_dispatch(true)
        .build()
        .expect("the bus did not start");
    let everything = (0..all).map(|_| EventFilter::All);
    let scrolls = (1..=selective).map(|number| EventFilter::ScrollId(scroll(number)));
    let receivers = everything
        .chain(scrolls)
        .map(|filter| bus.subscribe_filtered(filter, 2 * EVENTS))
        .collect();
    wait_until_idle(&bus);
    let mut fixture = Fixture { bus, receivers };
    warm_up(&mut fixture);
    fixture
}

/// Publishes and receives one event, so that no later count includes the allocations of the first event.
fn warm_up(fixture: &mut Fixture) {
    publish_batch(fixture);
    fixture.bus.flush();
    for receiver in &mut fixture.receivers {
        drop(receiver.try_recv());
    }
    wait_until_idle(&fixture.bus);
}

/// Waits until the dispatch thread is idle, and has been idle long enough that the next publisher dispatches.
fn wait_until_idle(bus: &SharingBus<u64>) {
    bus.flush();
    std::thread::sleep(Duration::from_millis(20));
}

/// Returns the bus of [`idle_bus`], plus one subscriber whose filter publishes the rest of a batch when it is called
/// with the first event.
fn batching_bus(all: usize, selective: usize) -> Fixture {
    let mut fixture = idle_bus(all, selective);
    let (bus, first) = (fixture.bus.clone(), AtomicBool::new(true));
    let filter = EventFilter::custom(move |_: &BusEvent<u64>| {
        if first.swap(false, Ordering::Relaxed) {
            for _ in 1..EVENTS {
                bus.publish(event_of(scroll(1))).expect("the bus is closed");
            }
        }
        false
    });
    fixture.receivers.push(fixture.bus.subscribe_filtered(filter, 1));
    wait_until_idle(&fixture.bus);
    fixture
}

/// Returns a bus with one batch in the queue of each subscriber.
fn delivered_batch(all: usize, selective: usize) -> Fixture {
    let mut fixture = batching_bus(all, selective);
    publish_batch(&fixture);
    fixture.bus.flush();
    // Removes the subscriber whose filter published the batch.
    fixture.receivers.pop();
    fixture
}

fn publish_batch(fixture: &Fixture) {
    fixture.bus.publish(event_of(scroll(1))).expect("the bus is closed");
}

#[library_benchmark]
#[bench::no_subscriber(idle_bus(0, 0))]
#[bench::one_subscriber(idle_bus(1, 0))]
fn publish_on_an_idle_bus(fixture: Fixture) -> Fixture {
    fixture
        .bus
        .publish(black_box(event_of(scroll(1))))
        .expect("the bus is closed");
    fixture
}

#[library_benchmark]
#[bench::none_matches(batching_bus(0, 0))]
#[bench::one_of_128_matches(batching_bus(0, 128))]
#[bench::one_of_16384_matches(batching_bus(0, 16_384))]
#[bench::one_matches(batching_bus(1, 0))]
#[bench::all_of_8_match(batching_bus(8, 0))]
#[bench::all_of_64_match(batching_bus(64, 0))]
#[bench::all_of_512_match(batching_bus(512, 0))]
fn publish_and_dispatch_63(fixture: Fixture) -> Fixture {
    publish_batch(&fixture);
    fixture
}

#[library_benchmark]
#[bench::from_64_queues(delivered_batch(64, 0))]
fn receive_63(mut fixture: Fixture) -> Fixture {
    for receiver in &mut fixture.receivers {
        while let Ok(delivery) = receiver.try_recv() {
            black_box(&delivery);
        }
    }
    fixture
}

library_benchmark_group!(
    name = steps,
    benchmarks = [publish_on_an_idle_bus, publish_and_dispatch_63, receive_63]
);

main!(
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no", "--separate-threads=yes"])),
    library_benchmark_groups = steps
);

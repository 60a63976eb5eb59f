//! A small host on `sharing-bus` that runs commands concurrently or replays a recording.
//!
//! Each line becomes an event. A console view, an archiver and a progress line receive the events, each through its own
//! queue.
//!
//! ```sh
//! cargo run --release --example mux                                # three commands of the Rust toolchain
//! cargo run --release --example mux -- 'make -j2' 'tail -f log'    # your own commands
//! cargo run --release --example mux -- --replay recording.jsonl --slow 5
//! ```
//!
//! The host uses plain threads: one for each output stream of a command and one for each subscriber. The modules:
//!
//! - `args` parses the command line.
//! - The crate `sharing-bus-example-sessions`, in `examples/sessions`, publishes the events.
//! - `view`, `archive`, `progress` and `slow_subscriber` are the subscribers.
//! - `summary` compares the subscribers' counts with the bus's own statistics.
//! - `errors` reports errors.

mod archive;
mod args;
mod errors;
mod progress;
mod slow_subscriber;
mod summary;
mod view;

use std::fmt::Display;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::{env, io};

use clap::Parser;
use sharing_bus::{BusReceiver, Overflow, SubscriptionBuilder};
use sharing_bus_example_sessions::{Bus, Record, replay, run_commands};
use uuid::Uuid;

use crate::archive::Archive;
use crate::args::Args;
use crate::errors::ErrorReporter;
use crate::progress::Progress;
use crate::summary::{Summary, Tally};

/// Capacity of the large queues. They absorb bursts of several seconds, so a subscriber that keeps up on average loses
/// no event.
const LARGE_QUEUE: usize = 65_536;

fn main() -> ExitCode {
    let args = Args::parse();
    let progress = Progress::new();
    let errors = ErrorReporter::new(progress.clone());
    match run(&args, &progress, &errors) {
        // A broken pipe means that the reader of standard output has exited, which is not an error.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => errors.report(error),
        _ => {}
    }
    if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A subscriber: its label in the summary, and its thread, which receives until the bus closes.
struct Subscriber {
    label: &'static str,
    thread: JoinHandle<io::Result<Tally>>,
}

fn run(args: &Args, progress: &Progress, errors: &ErrorReporter) -> io::Result<()> {
    let dir = match &args.archive {
        Some(dir) => dir.clone(),
        None => env::temp_dir().join(format!("sharing-bus-mux-{}", Uuid::new_v4().simple())),
    };
    let archive = Archive::create(&dir)?;

    let bus = Bus::new();
    let subscribers = subscribe(&bus, args, archive, progress);
    let report = |error: &dyn Display| errors.report(error);
    let published = match &args.replay {
        Some(source) => replay(&bus, source, args.rate, &report),
        None => run_commands(&bus, &args.commands(), &report),
    };

    bus.flush();
    let stats = bus.stats();
    bus.shutdown();

    let mut summary = Summary::new(published, &stats);
    let mut broken_pipe = None;
    for Subscriber { label, thread } in subscribers {
        match thread.join().expect("subscriber threads do not panic") {
            Ok(tally) => summary.add_subscriber(label, tally),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => broken_pipe = Some(error),
            Err(error) => errors.report(format_args!("{label}: {error}")),
        }
    }
    progress.finish();
    if let Some(error) = broken_pipe {
        return Err(error);
    }
    let printed = summary.print(&dir);
    for discrepancy in summary.discrepancies() {
        errors.report(format_args!("inconsistent counts: {discrepancy}"));
    }
    printed
}

/// Starts all subscribers. This happens before the first event is published.
fn subscribe(bus: &Bus, args: &Args, archive: Archive, progress: &Progress) -> Vec<Subscriber> {
    let mut subscribers = Vec::new();
    if !args.quiet {
        let subscription = bus.subscription().filter(args.filter()).queue_capacity(LARGE_QUEUE);
        let (bus, progress) = (bus.clone(), progress.clone());
        let show = move |receiver| view::show(receiver, &bus, &progress);
        subscribers.push(start("console", subscription, show));
    }
    let subscription = bus.subscription().filter(args.filter()).queue_capacity(LARGE_QUEUE);
    subscribers.push(start("archive", subscription, move |receiver| archive.write(receiver)));
    // The progress line shows the current state, so it drops the oldest events if its queue is full.
    let subscription = bus
        .subscription()
        .overflow(Overflow::DropOldest)
        .queue_capacity(LARGE_QUEUE);
    let line = progress.clone();
    subscribers.push(start("progress", subscription, move |receiver| {
        Ok(line.follow(receiver))
    }));
    if let Some(delay) = args.slow() {
        let subscription = bus
            .subscription()
            .filter(args.filter())
            .queue_capacity(slow_subscriber::QUEUE_CAPACITY);
        subscribers.push(start("slow", subscription, move |receiver| {
            Ok(slow_subscriber::receive_slowly(receiver, delay))
        }));
    }
    subscribers
}

fn start(
    label: &'static str,
    subscription: SubscriptionBuilder<'_, Record>,
    receive: impl FnOnce(BusReceiver<Record>) -> io::Result<Tally> + Send + 'static,
) -> Subscriber {
    let receiver = subscription.label(label).subscribe();
    let thread = thread::Builder::new()
        .name(label.into())
        .spawn(move || receive(receiver))
        .expect("the system can start another thread");
    Subscriber { label, thread }
}

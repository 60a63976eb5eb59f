//! A small host on `sharing-bus`: runs commands side by side, or replays a recording, and hands every line to a console
//! view, an archiver and a progress line, each with a queue of its own.
//!
//! ```sh
//! cargo run --release --example mux                                # three commands of the Rust toolchain
//! cargo run --release --example mux -- 'make -j2' 'tail -f log'    # your own
//! cargo run --release --example mux -- --replay recording.jsonl --slow 5
//! ```
//!
//! It is all threads: one for each output stream of a command and one for each subscriber. The rooms: `args` what was
//! asked for; the crate `sharing-bus-example-sessions` publishes; `view`, `archive`, `progress` and `slow_subscriber` subscribe;
//! `summary` tallies what they received and holds it against the bus's own statistics; `errors` collects what went wrong.

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

/// Enough for a burst of some seconds, so that who keeps up on average loses nothing.
const LARGE_QUEUE: usize = 65_536;

fn main() -> ExitCode {
    let args = Args::parse();
    let progress = Progress::new();
    let errors = ErrorReporter::new(progress.clone());
    match run(&args, &progress, &errors) {
        // Whoever read our output has enough: no reason to complain.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => errors.report(error),
        _ => {}
    }
    if errors.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One subscriber: its name in the account, and the thread that receives until the bus ends.
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
        match thread.join().expect("a subscriber does not panic") {
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
        errors.report(format_args!("the summary does not add up: {discrepancy}"));
    }
    printed
}

/// Starts everyone who subscribes, before the first event.
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
    // Who shows the present can do without the oldest events.
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
        .expect("the system has room for another thread");
    Subscriber { label, thread }
}

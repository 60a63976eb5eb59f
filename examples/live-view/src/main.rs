//! The sessions of a bus, live in the browser: runs commands, or replays a recording, and serves a page that shows what
//! passes. Each browser is a subscription of its own, with its own filter and its own bounded queue.
//!
//! ```sh
//! cargo run --release -p live-view                                # three commands of the Rust toolchain, slowed down
//! cargo run --release -p live-view -- 'make -j2' 'tail -f log'    # your own
//! cargo run --release -p live-view -- --replay recording.jsonl --rate 50
//! ```
//!
//! The rooms: `args` what was asked for; the crate `sharing-bus-example-sessions` publishes; `filter`
//! reads what a browser asks for; `feed` is one browser's stream; `session_table` and `overview` watch the bus for all of them;
//! `connections` speaks HTTP, `security` refuses and hardens, `server` puts it together.

mod args;
mod connections;
mod event_json;
mod feed;
mod filter;
mod overview;
mod security;
mod server;
mod session_table;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;

use clap::Parser;
use sharing_bus_example_sessions::{Bus, replay, run_commands};

use crate::args::Args;
use crate::overview::Overview;

/// Events kept for browsers that open later.
const HISTORY: usize = 1000;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("live-view: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn run(args: Args) -> io::Result<()> {
    let bus = Bus::builder().history(HISTORY).build().map_err(io::Error::other)?;
    let sessions = session_table::start(&bus);
    let overview = Arc::new(Overview::new(bus.clone(), sessions));
    let server = server::bind(&args, bus.clone(), Arc::clone(&overview))?;
    println!("live view on http://{}", server.address());
    thread::spawn(move || {
        publish(&bus, &args);
        overview.source_ended();
    });
    server.serve().await;
    Ok(())
}

/// Publishes what was asked for, again and again if so asked, until the bus closes.
fn publish(bus: &Bus, args: &Args) {
    let report = |error: &dyn Display| eprintln!("live-view: {error}");
    loop {
        let published = match &args.replay {
            Some(source) => replay(bus, source, args.rate(), &report),
            None => run_commands(bus, &args.commands(), &report),
        };
        // Nothing comes of a source that has nothing, however often.
        if !args.repeat() || published == 0 || bus.is_closed() {
            return;
        }
    }
}

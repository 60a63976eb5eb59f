//! A web page that shows the sessions of a bus live. The server runs commands or replays a recording, and serves the
//! page. Each browser has its own subscription, with its own filter and its own bounded queue.
//!
//! ```sh
//! cargo run --release -p live-view                                # three commands of the Rust toolchain, slowed down
//! cargo run --release -p live-view -- 'make -j2' 'tail -f log'    # your own commands
//! cargo run --release -p live-view -- --replay recording.jsonl --rate 50
//! ```
//!
//! The modules:
//!
//! - `args` parses the command line.
//! - The crate `sharing-bus-example-sessions`, in `examples/sessions`, publishes the events.
//! - `filter` parses the filter of a browser.
//! - `feed` is the event stream of one browser, and `event_json` formats its events.
//! - `session_table` and `overview` collect the sessions and statistics that all browsers show.
//! - `connections` accepts connections and serves HTTP.
//! - `security` rejects foreign requests and adds security headers.
//! - `server` combines these parts.

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

/// Number of events that the bus keeps for browsers that connect later.
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

/// Runs the source once, or repeatedly with `--repeat`, until the bus closes.
fn publish(bus: &Bus, args: &Args) {
    let report = |error: &dyn Display| eprintln!("live-view: {error}");
    loop {
        let published = match &args.replay {
            Some(source) => replay(bus, source, args.rate(), &report),
            None => run_commands(bus, &args.commands(), &report),
        };
        // A source that published nothing would publish nothing next time, too.
        if !args.repeat() || published == 0 || bus.is_closed() {
            return;
        }
    }
}

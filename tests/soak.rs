//! Runs random scenarios for a given time: `cargo test --release --test soak -- --seconds 600 [--seed N]`.
//!
//! The default is one second. A failure message contains the seed. Run that seed several times with `--seed`, because
//! the schedule differs from run to run.

mod scenario;

use std::time::{Duration, Instant, SystemTime};

use scenario::Summary;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        // Test runners list the tests with this option.
        println!("soak: test");
        return;
    }
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let duration = Duration::from_secs(number("--seconds").unwrap_or(1));
    let first = number("--seed").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().as_secs() << 20
    });

    let started = Instant::now();
    let mut total = Summary::default();
    let mut last_report = Instant::now();
    for seed in first.. {
        total += scenario::run(seed);
        let finished = started.elapsed() >= duration;
        if finished || last_report.elapsed() >= Duration::from_secs(5) {
            last_report = Instant::now();
            println!(
                "{:>4} s, {} seeds: {total:?}",
                started.elapsed().as_secs(),
                seed - first + 1
            );
        }
        if finished {
            break;
        }
    }
}

//! Random scenarios for as long as you like: `cargo test --release --test soak -- --seconds 600 [--seed N]`.
//!
//! Without `--seconds` it runs for one. A failure names the seed; run it again with `--seed`, more than once.

mod scenario;

use std::time::{Duration, Instant, SystemTime};

use scenario::Summary;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        // How a runner of tests asks for their names.
        println!("soak: test");
        return;
    }
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let span = Duration::from_secs(number("--seconds").unwrap_or(1));
    let first = number("--seed").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().as_secs() << 20
    });

    let started = Instant::now();
    let mut total = Summary::default();
    let mut said = Instant::now();
    for seed in first.. {
        total += scenario::run(seed);
        let over = started.elapsed() >= span;
        if over || said.elapsed() >= Duration::from_secs(5) {
            said = Instant::now();
            println!(
                "{:>4} s, {} seeds: {total:?}",
                started.elapsed().as_secs(),
                seed - first + 1
            );
        }
        if over {
            break;
        }
    }
}

//! The examples of hosts, each run as a process: they end by themselves, and their closing accounts add up.

use std::time::Duration;

use assert_cmd::Command;
use escargot::CargoBuild;

/// Long enough for a machine under load; only a host that hangs takes it.
const LIMIT: Duration = Duration::from_secs(120);

/// What the example prints. What it writes besides, on its error stream, depends on the moment.
fn account(example: &str) -> String {
    let built = CargoBuild::new().example(example).run().expect("the example builds");
    let output = Command::new(built.path()).timeout(LIMIT).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaints}");
    assert!(!complaints.contains("panicked"), "{complaints}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_sync_host_selects_over_the_bus_a_ticker_and_a_stop() {
    let expected = "\
published  303
archive    303 received, 0 missed
desk       300 received, 0 missed
  build    100 lines
  shell    100 lines
  tests    100 lines
";
    assert_eq!(account("sync_host"), expected);
}

#[test]
fn the_tokio_host_tells_what_lagged_and_ends_in_order() {
    let expected = "\
console  [... 384 lines lost here ...]
claude   200 lines
codex    200 lines
console  16 received, 384 missed
bus      402 published, 418 delivered, 384 lagged
";
    assert_eq!(account("tokio_host"), expected);
}

#[test]
fn the_smol_host_gives_a_late_joiner_what_came_before() {
    let expected = "\
all    111 heard
alarm  ada
late   10 from before, 61 live, from \"line 41\" on
late   0 gaps
";
    assert_eq!(account("smol_host"), expected);
}

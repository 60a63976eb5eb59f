//! The example hosts, each run as a process. They must exit by themselves and print the expected counts.

use std::time::Duration;

use assert_cmd::Command;
use escargot::CargoBuild;

/// A timeout that only a hanging host exceeds, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs an example and returns its standard output. Its standard error depends on timing, so it is not compared.
fn stdout_of(example: &str) -> String {
    let built = CargoBuild::new()
        .example(example)
        .run()
        .expect("the example must build");
    let output = Command::new(built.path()).timeout(LIMIT).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sync_host_receives_all_events_before_it_stops() {
    let expected = "\
published  303
archive    303 received, 0 missed
monitor    300 received, 0 missed
  build    100 lines
  shell    100 lines
  tests    100 lines
";
    assert_eq!(stdout_of("sync_host"), expected);
}

#[test]
fn tokio_host_reports_lost_events_and_shuts_down_in_order() {
    let expected = "\
console  [... 384 lines lost here ...]
claude   200 lines
codex    200 lines
console  16 received, 384 missed
bus      402 published, 418 delivered, 384 lagged
";
    assert_eq!(stdout_of("tokio_host"), expected);
}

#[test]
fn smol_host_replays_history_to_a_late_subscriber() {
    let expected = "\
all    111 received
alarm  ada
late   10 from the backlog, 61 live, first \"line 41\"
late   0 gaps
";
    assert_eq!(stdout_of("smol_host"), expected);
}

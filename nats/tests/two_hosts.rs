//! Runs the example `two_hosts` as a process. It ends by itself, and its report is the same each time.

use std::time::Duration;

use assert_cmd::Command;
use escargot::CargoBuild;

/// Time limit of the example. It is long because the machine may be busy.
const LIMIT: Duration = Duration::from_secs(180);

#[test]
fn viewer_follows_one_scroll_across_two_hosts() {
    let build = CargoBuild::new().package("sharing-bus-nats").example("two_hosts");
    let built = build.run().expect("the example builds");
    let output = Command::new(built.path()).timeout(LIMIT).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaints}");
    assert!(!complaints.contains("panicked"), "{complaints}");
    // Four sessions with 200 lines, one registration and one end each. Three lines of each session come before its
    // registration.
    let expected = "\
alpha    808 events of 4 sessions, 808 confirmed by the server
beta     808 events of 4 sessions, 808 confirmed by the server
viewer   2 sessions of one scroll, 0 events missed
  alpha  197 lines, in order, up to 200
  beta   197 lines, in order, up to 200
  398 events came from the server, 0 of them did not match
";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    for line in ["alpha.agent says 4", "beta.agent says 200"] {
        assert!(complaints.contains(line), "{complaints}");
    }
}

//! Tests of the example `mux`, run as a process: sessions, archives, losses, invalid input and exit codes.

#![cfg(unix)] // The commands need `sh`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::{fs, process};

use assert_cmd::Command;
use escargot::CargoBuild;
use serde_json::{Value, json};
use tempfile::TempDir;

fn executable() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let build = CargoBuild::new().example("mux").run();
        build.expect("the example must build").path().to_owned()
    })
}

/// Returns a command that runs the example and archives into `archive`.
fn mux(archive: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(executable());
    command.arg("--archive").arg(archive.path()).args(args);
    command
}

fn temp() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn output(command: &mut Command) -> (String, String, Option<i32>) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
        status.code(),
    )
}

fn record(connector: &str, session: Option<&str>, kind: &str, number: usize) -> String {
    let record = json!({
        "ts": "2026-02-09T01:16:32.841Z", "connector_id": connector, "native_session_id": session, "kind": kind,
        "payload": { "number": number },
    });
    format!("{record}\n")
}

/// Returns a recording of two sessions of two connectors, with alternating records. Each session has two records
/// before its registration and `after` records after it.
fn recording(after: usize) -> String {
    let sessions = [("red", Some("r")), ("blue", Some("b"))];
    let kinds = ["user_message", "tool_call", "session_registered"].into_iter();
    let kinds = kinds
        .chain((0..after).map(|_| "assistant_message"))
        .chain(["session_ended"]);
    let mut text = record("red", None, "system", 0);
    for (number, kind) in kinds.enumerate() {
        for (connector, session) in sessions {
            text += &record(connector, session, kind, number);
        }
    }
    text
}

/// Returns the records of each file in the archive, by file name.
fn archived(archive: &TempDir) -> HashMap<String, Vec<Value>> {
    let entries = fs::read_dir(archive.path()).unwrap().map(Result::unwrap);
    let read = |path: PathBuf| {
        let lines = fs::read_to_string(path).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), read(entry.path())))
        .collect()
}

/// Returns the counts of a subscriber from the table that `mux` prints last: matched, received and missed.
fn row(stdout: &str, label: &str) -> [u64; 3] {
    let row = stdout
        .lines()
        .find(|line| line.split_whitespace().next() == Some(label));
    let row = row.unwrap_or_else(|| panic!("no row for {label} in:\n{stdout}"));
    let mut numbers = row.split_whitespace().skip(1).map(|word| word.parse().unwrap());
    [(); 3].map(|()| numbers.next().unwrap())
}

#[test]
fn replay_is_archived_in_one_file_per_scroll_including_early_records() {
    let archive = temp();
    let (stdout, stderr, code) = output(mux(&archive, &["--replay", "-"]).write_stdin(recording(100)));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    for label in ["console", "archive", "progress"] {
        assert_eq!(row(&stdout, label), [209, 209, 0], "{label}");
    }
    assert!(stdout.contains("209 events published"), "{stdout}");

    let mut files = archived(&archive);
    assert_eq!(files.remove("unbound.jsonl").unwrap().len(), 1);
    assert_eq!(files.len(), 2);
    for (name, records) in files {
        let scroll = name.strip_suffix(".jsonl").unwrap();
        assert_eq!(records.len(), 104);
        for (number, record) in records.iter().enumerate() {
            assert_eq!(record["scroll_id"], scroll);
            assert_eq!(record["connector_id"], records[0]["connector_id"]);
            assert_eq!(record["payload"]["number"], number, "the records must be in order");
        }
    }
}

#[test]
fn replaying_an_archive_reproduces_it() {
    let (first, second) = (temp(), temp());
    mux(&first, &["--quiet", "--replay", "-"])
        .write_stdin(recording(5))
        .assert()
        .success();
    let mut files = archived(&first);
    files.remove("unbound.jsonl").unwrap();
    for (name, records) in files {
        let path = first.path().join(&name);
        mux(&second, &["--quiet", "--replay", path.to_str().unwrap()])
            .assert()
            .success();
        assert_eq!(archived(&second).remove(&name).unwrap(), records);
    }
}

#[test]
fn second_run_replaces_the_files_of_the_first() {
    let archive = temp();
    for _ in 0..2 {
        mux(&archive, &["--quiet", "--replay", "-"])
            .write_stdin(recording(5))
            .assert()
            .success();
        assert_eq!(archived(&archive).values().map(Vec::len).sum::<usize>(), 19);
    }
}

#[test]
fn lines_before_the_registration_are_shown_unbound() {
    let archive = temp();
    let (stdout, _, _) = output(mux(&archive, &["--replay", "-"]).write_stdin(recording(1)));
    let of_red: Vec<_> = stdout.lines().filter(|line| line.starts_with("red ")).collect();
    let bound: Vec<_> = of_red.iter().map(|line| !line.contains(" -------- ")).collect();
    assert_eq!(bound, [false, false, false, true, true, true], "{stdout}");
}

#[test]
fn invalid_lines_are_reported_and_skipped() {
    let archive = temp();
    let mut input = recording(0).into_bytes();
    input.splice(0..0, *b"not json\n\n\xff\xfe\n{\"ts\":\"only\"}\n[\n");
    let (stdout, stderr, code) = output(mux(&archive, &["--quiet", "--replay", "-"]).write_stdin(input));
    assert_eq!(code, Some(1));
    assert_eq!(row(&stdout, "archive"), [9, 9, 0]);
    let numbers: Vec<_> = stderr
        .lines()
        .map(|line| {
            line.strip_prefix("mux: <stdin>:")
                .and_then(|rest| rest.split_once(": not a record: "))
        })
        .map(|parts| parts.unwrap_or_else(|| panic!("{stderr}")).0)
        .collect();
    assert_eq!(numbers, ["1", "3", "4", "5"], "{stderr}");
    assert!(
        !stderr.contains("at line"),
        "a message must not contain a second line number: {stderr}"
    );
}

#[test]
fn missing_recording_is_reported_by_name() {
    let archive = temp();
    let (_, stderr, code) = output(&mut mux(&archive, &["--quiet", "--replay", "no/such/file.jsonl"]));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("mux: no/such/file.jsonl: "), "{stderr}");
}

#[test]
fn archive_that_cannot_be_created_is_reported_by_name() {
    let file = temp().path().join("file");
    let archive = file.join("sub");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "").unwrap();
    let (_, stderr, code) = output(
        Command::new(executable())
            .args(["--quiet", "--replay", "-", "--archive"])
            .arg(&archive)
            .write_stdin(""),
    );
    assert_eq!(code, Some(1));
    assert!(stderr.contains(archive.to_str().unwrap()), "{stderr}");
    fs::remove_dir_all(file.parent().unwrap()).unwrap();
}

#[test]
fn filters_apply_to_console_and_archive_but_not_to_the_progress_line() {
    let by = |args: &[&str]| {
        let archive = temp();
        let mut all = vec!["--replay", "-"];
        all.extend_from_slice(args);
        let (stdout, stderr, code) = output(mux(&archive, &all).write_stdin(recording(10)));
        assert_eq!((stderr.as_str(), code), ("", Some(0)));
        assert_eq!(row(&stdout, "progress"), [29, 29, 0]);
        assert_eq!(row(&stdout, "console"), row(&stdout, "archive"));
        let written = archived(&archive).values().map(Vec::len).sum::<usize>();
        assert_eq!(row(&stdout, "archive")[0], written as u64);
        (row(&stdout, "console")[0], archived(&archive))
    };
    assert_eq!(by(&["--filter", "connector=blue"]).0, 14);
    assert_eq!(by(&["--filter", "kind=message"]).0, 22);
    assert_eq!(by(&["--filter", "kind=user_message"]).0, 2);
    assert_eq!(by(&["--filter", "kind=user_message", "--filter", "kind=tool"]).0, 4);
    assert_eq!(by(&["--filter", "kind=message", "--filter", "connector=red"]).0, 11);
    assert_eq!(by(&["--filter", "connector=none"]).0, 0);

    // A session gets the same scroll id in each replay. The filter matches the events that are bound to the scroll.
    let (_, files) = by(&["--filter", "connector=blue"]);
    let scroll = files.keys().find_map(|name| name.strip_suffix(".jsonl")).unwrap();
    assert_eq!(by(&["--filter", &format!("scroll={scroll}")]).0, 12);
}

#[test]
fn slow_subscriber_loses_only_its_own_events() {
    let archive = temp();
    let args = ["--quiet", "--replay", "-", "--slow", "20"];
    let (stdout, stderr, code) = output(mux(&archive, &args).write_stdin(recording(500)));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    assert_eq!(row(&stdout, "archive"), [1009, 1009, 0]);
    let [matched, received, missed] = row(&stdout, "slow");
    assert_eq!((matched, received + missed), (1009, 1009));
    assert!(missed > 0, "{stdout}");
}

#[test]
fn commands_are_connectors_and_their_streams_are_sessions() {
    let archive = temp();
    let commands = ["printf '1\\n2\\n3\\n4\\n5\\n'; echo oops >&2", "true", "echo 6"];
    let (stdout, stderr, code) = output(&mut mux(&archive, &commands));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    // Seven lines, a registration and an end for each of three streams, and two events for each of three connectors.
    assert_eq!(row(&stdout, "archive"), [19, 19, 0]);

    let mut files = archived(&archive);
    assert_eq!(files.remove("unbound.jsonl").unwrap().len(), 6);
    let mut sessions: Vec<_> = files
        .values()
        .map(|records| {
            let text = |record: &Value| record["payload"]["text"].as_str().map(String::from);
            let lines = records.iter().filter_map(text).collect::<Vec<_>>();
            let name = |field: &str| records[0][field].as_str().unwrap().to_owned();
            (name("connector_id"), name("native_session_id"), lines.join(","))
        })
        .collect();
    sessions.sort();
    let expected = [
        ("echo", "stdout", "6"),
        ("printf", "stderr", "oops"),
        ("printf", "stdout", "1,2,3,4,5"),
    ];
    assert_eq!(sessions, expected.map(|(c, s, l)| (c.into(), s.into(), l.into())));

    // The session is registered after its third line.
    let printf = files.values().find(|records| records.len() == 7).unwrap();
    let kinds: Vec<_> = printf.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        [
            "stdout",
            "stdout",
            "stdout",
            "session_registered",
            "stdout",
            "stdout",
            "session_ended"
        ]
    );
}

#[test]
fn failed_commands_are_reported_and_the_others_continue() {
    let archive = temp();
    let commands = ["no-such-command-here", "exit 3", "echo fine"];
    let (stdout, stderr, code) = output(&mut mux(&archive, &commands));
    assert_eq!(code, Some(1));
    assert!(
        stderr.contains("mux: `no-such-command-here` failed: command not found"),
        "{stderr}"
    );
    assert!(stderr.contains("mux: `exit 3` failed: "), "{stderr}");
    assert!(stdout.contains("| fine\n"), "{stdout}");
}

#[test]
fn default_commands_run_without_errors() {
    let archive = temp();
    let (stdout, stderr, code) = output(mux(&archive, &[]).current_dir(env!("CARGO_MANIFEST_DIR")));
    assert_eq!((stderr.as_str(), code), ("", Some(0)));
    for expected in ["| x86_64-unknown-linux-gnu\n", "sharing-bus v"] {
        assert!(stdout.contains(expected), "{expected}");
    }
    let [matched, received, missed] = row(&stdout, "archive");
    assert_eq!((matched, missed), (received, 0));
    assert!(archived(&archive).len() >= 4);
}

#[test]
fn usage_error_exits_with_code_two() {
    for args in [
        ["--filter", "color=red"],
        ["--filter", "scroll=7"],
        ["--filter", "kind="],
        ["--rate", "0"],
        ["--rate", "5"],
        ["--slow", "soon"],
        ["--no-such", "option"],
    ] {
        mux(&temp(), &args).assert().code(2);
    }
    mux(&temp(), &["--replay", "-", "echo"]).assert().code(2);
}

#[test]
fn rate_limits_the_replay() {
    // Publishing 19 records at 1000 per second takes at least 18 ms.
    let started = std::time::Instant::now();
    mux(&temp(), &["--quiet", "--replay", "-", "--rate", "1000"])
        .write_stdin(recording(5))
        .assert()
        .success();
    assert!(started.elapsed().as_millis() >= 18);
}

#[test]
fn closed_standard_output_ends_the_run_without_an_error() {
    let archive = temp();
    let mut child = process::Command::new(executable())
        .arg("--archive")
        .arg(archive.path())
        .arg("while echo again; do :; done")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("while "), "{line}");

    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn colors_follow_the_terminal_and_the_environment_variables() {
    let has_colors = |variable: (&str, &str)| {
        let mut command = mux(&temp(), &["--replay", "-"]);
        command
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .env(variable.0, variable.1);
        output(command.write_stdin(recording(1))).0.contains('\x1b')
    };
    assert!(!has_colors(("CLICOLOR", "1")), "a pipe is not a terminal");
    assert!(!has_colors(("NO_COLOR", "1")));
    assert!(has_colors(("CLICOLOR_FORCE", "1")));
}

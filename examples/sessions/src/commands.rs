//! The source that runs commands. Each command is a connector, each of its output streams is a session, and each line
//! is an event.
//!
//! A session is registered only after its first lines, because many hosts discover a session through its first output.
//! Those lines are delivered unbound. The bus binds the later ones.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::{fmt, io};

use jiff::Timestamp;
use serde_json::{Value, json};
use sharing_bus::{EventOrigin, PublishError};
use uuid::Uuid;

use crate::record::{Record, SESSION_ENDED, SESSION_REGISTERED};
use crate::{Bus, OnError};

/// Number of lines that a session publishes before it is registered.
const LINES_BEFORE_REGISTRATION: usize = 3;

/// Runs the commands concurrently until all have ended, and returns the number of published events.
pub fn run_commands(bus: &Bus, commands: &[String], on_error: OnError<'_>) -> u64 {
    let connectors = connector_ids(commands);
    thread::scope(|scope| {
        let running: Vec<_> = commands
            .iter()
            .zip(connectors)
            .map(|(command, connector_id)| scope.spawn(move || run_command(bus, connector_id, command, on_error)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().expect("command threads do not panic"))
            .sum()
    })
}

fn run_command(bus: &Bus, connector_id: Arc<str>, command: &str, on_error: OnError<'_>) -> u64 {
    let mut connector = Publisher::new(bus, connector_id, None);
    let mut child = match spawn(command) {
        Ok(child) => child,
        Err(error) => {
            on_error(&format_args!("cannot run `{command}`: {error}"));
            return 0;
        }
    };
    connector.publish("connected", json!({ "command": command }));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let lines = thread::scope(|scope| {
        let stderr = scope.spawn(|| publish_lines(connector.session("stderr"), stderr));
        let stdout = publish_lines(connector.session("stdout"), stdout);
        stdout + stderr.join().expect("command threads do not panic")
    });
    match child.wait() {
        Ok(status) => {
            connector.publish("disconnected", json!({ "status": status.to_string() }));
            // After the bus has closed, the commands lose their output pipes. Such a failure is not an error.
            if !status.success() && !bus.is_closed() {
                on_error(&format_args!("`{command}` failed: {}", Failure(status)));
            }
        }
        Err(error) => on_error(&format_args!("cannot wait for `{command}`: {error}")),
    }
    connector.published + lines
}

#[cfg(not(windows))]
const SHELL: [&str; 2] = ["sh", "-c"];
#[cfg(windows)]
const SHELL: [&str; 2] = ["cmd", "/C"];

fn spawn(command: &str) -> io::Result<Child> {
    let [shell, option] = SHELL;
    Command::new(shell)
        .args([option, command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// The reason why a command failed, according to the exit codes of the shell.
struct Failure(ExitStatus);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code() {
            Some(127) => write!(f, "command not found ({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

/// Publishes a stream line by line until it ends or the bus closes, and returns the number of published events.
///
/// When the bus closes, the stream is dropped. A command that continues to write then receives a broken pipe, as in a
/// pipeline.
fn publish_lines(mut session: Publisher<'_>, stream: Option<impl Read>) -> u64 {
    let Some(stream) = stream else { return 0 };
    let kind = session.session_id.clone().unwrap_or_default();
    let mut lines = 0;
    // A read error ends the stream. The exit status then shows whether the command failed.
    for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        session.publish(&kind, json!({ "text": text }));
        lines += 1;
        if lines == LINES_BEFORE_REGISTRATION {
            session.register();
        }
        if session.closed {
            break;
        }
    }
    if lines > 0 {
        if lines < LINES_BEFORE_REGISTRATION {
            session.register();
        }
        session.publish(SESSION_ENDED, json!({ "lines": lines }));
    }
    session.published
}

/// A publisher for one connector or for one of its sessions.
struct Publisher<'a> {
    bus: &'a Bus,
    connector_id: Arc<str>,
    session_id: Option<Arc<str>>,
    published: u64,
    closed: bool,
}

impl<'a> Publisher<'a> {
    fn new(bus: &'a Bus, connector_id: Arc<str>, session_id: Option<Arc<str>>) -> Self {
        Publisher {
            bus,
            connector_id,
            session_id,
            published: 0,
            closed: false,
        }
    }

    fn session(&self, session_id: &str) -> Publisher<'a> {
        Publisher::new(self.bus, Arc::clone(&self.connector_id), Some(session_id.into()))
    }

    fn register(&mut self) {
        let scroll = Uuid::new_v4().to_string();
        let mut record = self.record(SESSION_REGISTERED, json!({ "scroll_id": scroll }));
        record.registered_scroll_id = Some(scroll);
        self.send(record);
    }

    fn publish(&mut self, kind: &str, payload: Value) {
        let record = self.record(kind, payload);
        self.send(record);
    }

    fn send(&mut self, record: Record) {
        match self.bus.publish(record.into_event(EventOrigin::Connector)) {
            Ok(()) => self.published += 1,
            Err(PublishError::Full(_) | PublishError::Closed(_)) => self.closed = true,
        }
    }

    fn record(&self, kind: &str, payload: Value) -> Record {
        Record {
            ts: Timestamp::now().to_string(),
            connector_id: Arc::clone(&self.connector_id),
            native_session_id: self.session_id.clone(),
            kind: kind.to_owned(),
            payload,
            scroll_id: None,
            registered_scroll_id: None,
        }
    }
}

/// Names each command after its program: `git` for the first, `git#2` for the second.
fn connector_ids(commands: &[String]) -> Vec<Arc<str>> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut name = |command| {
        let program = program(command);
        let count = seen.entry(program).and_modify(|count| *count += 1).or_insert(1);
        match count {
            1 => program.into(),
            _ => format!("{program}#{count}").into(),
        }
    };
    commands.iter().map(|command| name(command)).collect()
}

/// Returns the first word that is not an assignment, without its path.
fn program(command: &str) -> &str {
    let word = command
        .split_whitespace()
        .find(|word| !word.contains('='))
        .unwrap_or(command);
    word.rsplit(['/', '\\']).next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connectors_are_named_after_their_programs() {
        let commands = ["git log", "/usr/bin/git status", "RUST_LOG=info cargo tree", "", "git"].map(String::from);
        assert_eq!(
            connector_ids(&commands).iter().map(|id| &**id).collect::<Vec<_>>(),
            ["git", "git#2", "cargo", "", "git#3"]
        );
    }
}

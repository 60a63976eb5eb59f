//! A host: runs several commands at the same time. Each command is a connector with one session, and each line of
//! output is an event.
//!
//! As in the example `mux`, a session is registered only after its first lines. Those lines are published without a
//! scroll.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use sharing_bus::{BusEvent, Event, EventKind, EventOrigin, EventRouting, PublishError, SharingBus};
use sharing_bus_nats::NatsBridge;
use uuid::Uuid;

use crate::{FOLLOWED, LIMIT, options};

/// Number of lines that a session outputs before it is registered.
const LATE: usize = 3;
const LINES: usize = 200;
/// The connectors. The viewer follows the session of the first.
const CONNECTORS: [&str; 4] = ["agent", "build", "tests", "logs"];

pub(crate) fn run(server: &str, name: &str) -> Result<(), Box<dyn Error>> {
    let bus = SharingBus::<Event>::new();
    let bridge = NatsBridge::builder(&bus, options(server)).start()?;
    let published = thread::scope(|scope| {
        let running = CONNECTORS.map(|connector| {
            let connector = format!("{name}.{connector}");
            let bus = &bus;
            scope.spawn(move || session(bus, &connector).map_err(|error| error.to_string()))
        });
        let ended = running
            .into_iter()
            .map(|thread| thread.join().expect("a session does not panic"));
        ended.sum::<Result<u64, String>>()
    })?;
    let stats = bridge.shutdown(LIMIT)?;
    println!(
        "{name:<8} {published} events of {} sessions, {} confirmed by the server",
        CONNECTORS.len(),
        stats.acked
    );
    Ok(())
}

/// Runs a command to its end, and returns the number of published events.
fn session(bus: &SharingBus, connector: &str) -> Result<u64, Box<dyn Error>> {
    let script = format!("i=0; while [ $i -lt {LINES} ]; do i=$((i + 1)); echo \"$0 says $i\"; done");
    let mut child = Command::new("sh")
        .args(["-c", &script, connector])
        .stdout(Stdio::piped())
        .spawn()?;
    let id = child.id().to_string();
    let output = BufReader::new(child.stdout.take().ok_or("the output is piped")?);
    let mut published = 0;
    let mut publish = |kind, event| -> Result<(), PublishError> {
        published += 1;
        let routing = EventRouting::session(connector, id.as_str(), kind);
        bus.publish(BusEvent::new(routing, event).with_origin(EventOrigin::Connector))
    };
    for (n, line) in output.lines().enumerate() {
        if n == LATE {
            publish(
                EventKind::SessionLifecycle,
                Event::SessionRegistered {
                    connector_id: connector.to_owned(),
                    session_id: id.clone(),
                    scroll_id: scroll(connector).to_string(),
                },
            )?;
        }
        publish(EventKind::Output, Event::Text { text: line? })?;
    }
    publish(
        EventKind::SessionLifecycle,
        Event::SessionEnded {
            connector_id: connector.to_owned(),
            session_id: id.clone(),
        },
    )?;
    child.wait()?;
    Ok(published)
}

/// Returns the scroll of a connector. The agents of all hosts share one scroll, like a conversation that moved between
/// hosts. Every other connector has its own scroll.
fn scroll(connector: &str) -> Uuid {
    if connector.ends_with(CONNECTORS[0]) {
        FOLLOWED
    } else {
        Uuid::new_v5(&FOLLOWED, connector.as_bytes())
    }
}

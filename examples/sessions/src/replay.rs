//! The source that replays a recording. A recording has one record per line. The records are published in order, at a
//! given rate or as fast as possible.
//!
//! Recordings usually contain no scroll ids, so this source assigns one at each session's registration. The id is
//! derived from the names of the connector and the session, unless the registration contains one. Two replays can
//! therefore be compared, and the same `--filter scroll=` works in both.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::num::NonZeroU32;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sharing_bus::EventOrigin;
use uuid::Uuid;

use crate::record::{Record, SESSION_REGISTERED};
use crate::{Bus, OnError};

/// Publishes the records in the file `source` and returns the number of published events. The path `-` reads standard
/// input. Publishing stops early if the bus closes.
pub fn replay(bus: &Bus, source: &Path, rate: Option<NonZeroU32>, on_error: OnError<'_>) -> u64 {
    let (name, input): (_, Box<dyn BufRead>) = if source == Path::new("-") {
        ("<stdin>".to_owned(), Box::new(io::stdin().lock()))
    } else {
        let name = source.display().to_string();
        match File::open(source) {
            Ok(file) => (name, Box::new(BufReader::new(file))),
            Err(error) => {
                on_error(&format_args!("{name}: {error}"));
                return 0;
            }
        }
    };
    let mut pacer = rate.map(Pacer::new);
    let mut published = 0;
    for (number, line) in (1..).zip(input.split(b'\n')) {
        let record = match line {
            Ok(line) if line.trim_ascii().is_empty() => continue,
            Ok(line) => serde_json::from_slice(&line),
            Err(error) => {
                on_error(&format_args!("{name}:{number}: {error}"));
                break;
            }
        };
        match record {
            Ok(record) => {
                if let Some(pacer) = &mut pacer {
                    pacer.wait();
                }
                if bus
                    .publish(assign_scroll(record).into_event(EventOrigin::Replay))
                    .is_err()
                {
                    break;
                }
                published += 1;
            }
            Err(error) => on_error(&format_args!("{name}:{number}: not a record: {}", describe(&error))),
        }
    }
    published
}

/// Describes the error without serde's line number, which is always 1 because each line is parsed by itself.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&position) {
        Some(message) => format!("{message} at column {}", error.column()),
        None => text,
    }
}

fn assign_scroll(mut record: Record) -> Record {
    if record.kind == SESSION_REGISTERED {
        if let Some(session) = &record.native_session_id {
            let derived = || {
                Uuid::new_v5(
                    &Uuid::NAMESPACE_OID,
                    format!("{}/{session}", record.connector_id).as_bytes(),
                )
            };
            record.registered_scroll_id = Some(record.scroll_id.unwrap_or_else(derived).to_string());
        }
    }
    record
}

/// A rate limiter for the whole run. A pause that took too long shortens the next ones.
struct Pacer {
    interval: Duration,
    next: Instant,
}

impl Pacer {
    fn new(rate: NonZeroU32) -> Self {
        Pacer {
            interval: Duration::from_secs(1) / rate.get(),
            next: Instant::now(),
        }
    }

    fn wait(&mut self) {
        thread::sleep(self.next.saturating_duration_since(Instant::now()));
        self.next += self.interval;
    }
}

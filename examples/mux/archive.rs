//! The archiver. It writes one JSON Lines file per scroll, and `unbound.jsonl` for records without a scroll.
//!
//! Records that precede their session's registration are held until a bound event of that session arrives, which
//! carries the scroll id. Records that are still held at the end go to `unbound.jsonl`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sharing_bus::{BusReceiver, Delivery};
use sharing_bus_example_sessions::{Record, SESSION_ENDED};
use uuid::Uuid;

use crate::summary::Tally;

/// Maximum number of deliveries between two flushes.
const BATCH: usize = 1024;

/// An archive directory.
pub(crate) struct Archive {
    dir: PathBuf,
}

type SessionKey = (Arc<str>, Arc<str>);

impl Archive {
    pub(crate) fn create(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir).map_err(|error| with_path(dir, &error))?;
        Ok(Archive { dir: dir.to_owned() })
    }

    /// Writes the received events to files until the bus closes.
    pub(crate) fn write(&self, mut receiver: BusReceiver<Record>) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let mut files = ScrollFiles::new(&self.dir);
        let mut unbound: HashMap<SessionKey, Vec<Record>> = HashMap::new();
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH) > 0 {
            for delivery in batch.drain(..) {
                tally.count(&delivery);
                archive(&mut files, &mut unbound, &delivery)?;
            }
            files.flush()?;
        }
        for record in unbound.into_values().flatten() {
            files.append(None, &record)?;
        }
        files.flush()?;
        Ok(tally.finish(&receiver))
    }
}

fn archive(
    files: &mut ScrollFiles<'_>,
    unbound: &mut HashMap<SessionKey, Vec<Record>>,
    delivery: &Delivery<Record>,
) -> io::Result<()> {
    let record = bound_record(delivery);
    let session = record
        .native_session_id
        .clone()
        .map(|native| (Arc::clone(&record.connector_id), native));
    match (record.scroll_id, session) {
        (Some(scroll), session) => {
            let held = session.and_then(|session| unbound.remove(&session)).unwrap_or_default();
            for mut earlier in held {
                earlier.scroll_id = Some(scroll);
                files.append(Some(scroll), &earlier)?;
            }
            files.append(Some(scroll), &record)?;
            if record.kind == SESSION_ENDED {
                files.close(scroll)?;
            }
            Ok(())
        }
        (None, Some(session)) => {
            unbound.entry(session).or_default().push(record);
            Ok(())
        }
        (None, None) => files.append(None, &record),
    }
}

/// Returns a copy of the record with the scroll id of the delivery.
fn bound_record(delivery: &Delivery<Record>) -> Record {
    let mut record = Record::clone(&delivery.event);
    record.scroll_id = delivery.routing.scroll_id;
    record
}

/// The files that this run has opened.
struct ScrollFiles<'a> {
    dir: &'a Path,
    scrolls: HashMap<Option<Uuid>, ScrollFile>,
}

impl<'a> ScrollFiles<'a> {
    fn new(dir: &'a Path) -> Self {
        ScrollFiles {
            dir,
            scrolls: HashMap::new(),
        }
    }

    fn append(&mut self, id: Option<Uuid>, record: &Record) -> io::Result<()> {
        let scroll = self.scrolls.entry(id).or_insert_with(|| ScrollFile::new(self.dir, id));
        scroll.append(record).map_err(|error| with_path(&scroll.path, &error))
    }

    fn close(&mut self, id: Uuid) -> io::Result<()> {
        match self.scrolls.get_mut(&Some(id)) {
            Some(scroll) => scroll.close().map_err(|error| with_path(&scroll.path, &error)),
            None => Ok(()),
        }
    }

    /// Flushes all files, so that an interrupted run leaves only complete lines.
    fn flush(&mut self) -> io::Result<()> {
        for scroll in self.scrolls.values_mut() {
            scroll.flush().map_err(|error| with_path(&scroll.path, &error))?;
        }
        Ok(())
    }
}

/// The file of one scroll. It is closed when the session ends, and reopened for appending if the scroll continues.
struct ScrollFile {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    created: bool,
}

impl ScrollFile {
    fn new(dir: &Path, id: Option<Uuid>) -> Self {
        let name = id.map_or_else(|| "unbound".to_owned(), |id| id.to_string());
        ScrollFile {
            path: dir.join(name).with_extension("jsonl"),
            file: None,
            created: false,
        }
    }

    fn append(&mut self, record: &Record) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(open(&self.path, mem::replace(&mut self.created, true))?),
        };
        serde_json::to_writer(&mut *file, record)?;
        file.write_all(b"\n")
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    fn close(&mut self) -> io::Result<()> {
        let flushed = self.flush();
        self.file = None;
        flushed
    }
}

/// Opens a file for writing. A file that this run has already `created` is appended to. Any other existing file
/// belongs to an earlier run and is replaced.
fn open(path: &Path, created: bool) -> io::Result<BufWriter<File>> {
    let mut options = File::options();
    if created {
        options.append(true);
    } else {
        options.write(true).create(true).truncate(true);
    }
    options.open(path).map(BufWriter::new)
}

/// Adds the path to an error. The kind becomes `Other`, so that no archive error is mistaken for a closed standard
/// output.
fn with_path(path: &Path, error: &io::Error) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}

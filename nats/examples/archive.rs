//! Maintains a directory with one file for each scroll of a realm's archive. The program, the server and the machine
//! may stop at any moment. After a restart, the program continues without losing or repeating an event.
//!
//! ```sh
//! cargo run -p sharing-bus-nats --example archive -- nats://127.0.0.1:4222 main scrolls
//! ```
//!
//! With a fourth argument, the program ends when no event has arrived for that many seconds.
//!
//! How it resumes: the program appends a batch of events to the files of their scrolls and flushes the files to disk.
//! Only then does it write the position after the batch. Events that arrive again after a crash in between are
//! recognized by their position, which each line contains, and are skipped. A partly written line is removed.
//!
//! An event can also be stored twice on the server, long after the first copy (see `ArchiveOptions::stream`). The
//! program recognizes such an event by its sequence, because the sequences of one source increase within a scroll.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sharing_bus::{BusEvent, Event, EventFilter};
use sharing_bus_nats::{ArchiveReader, Archived, NatsOptions};
use uuid::Uuid;

/// Number of events that are flushed to disk together.
const BATCH: usize = 512;
/// Time to wait for a batch.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, realm, directory, idle @ ..] = &arguments[..] else {
        return Err("usage: archive <server> <realm> <directory> [<idle seconds>]".into());
    };
    let idle = idle
        .first()
        .map(|seconds| seconds.parse().map(Duration::from_secs))
        .transpose()?;
    let mut directory = Directory::open(directory)?;
    let nats = NatsOptions::new(server).realm(realm);
    let mut reader: ArchiveReader<Event> = ArchiveReader::open(nats, EventFilter::All, directory.position)?;
    let mut last = Instant::now();
    while idle.is_none_or(|idle| last.elapsed() < idle) {
        let batch = reader.next_batch(BATCH, PATIENCE);
        if !batch.is_empty() {
            last = Instant::now();
            directory.append(&batch, reader.position())?;
        }
    }
    println!(
        "appended {} events, up to position {}",
        directory.appended, directory.position
    );
    Ok(())
}

/// A line in the file of a scroll.
#[derive(Serialize, Deserialize)]
struct Line {
    position: u64,
    origin: Uuid,
    epoch: Uuid,
    sequence: u64,
    event: BusEvent<Event>,
}

struct Directory {
    path: PathBuf,
    scrolls: HashMap<Option<Uuid>, Scroll>,
    /// All events up to this position are on disk.
    position: u64,
    appended: u64,
}

impl Directory {
    fn open(path: impl Into<PathBuf>) -> Result<Directory, Box<dyn Error>> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        let position = match fs::read_to_string(path.join("position")) {
            Ok(text) => text.trim().parse()?,
            Err(_) => 0,
        };
        Ok(Directory {
            path,
            scrolls: HashMap::new(),
            position,
            appended: 0,
        })
    }

    fn append(&mut self, batch: &[Archived<Event>], position: u64) -> Result<(), Box<dyn Error>> {
        for archived in batch {
            let id = archived.event.routing.scroll_id;
            if !self.scrolls.contains_key(&id) {
                let name = id.map_or("unbound".to_owned(), |id| id.to_string());
                self.scrolls
                    .insert(id, Scroll::open(&self.path.join(format!("{name}.jsonl")))?);
            }
            let scroll = self.scrolls.get_mut(&id).expect("the scroll was inserted above");
            self.appended += u64::from(scroll.append(archived)?);
        }
        for scroll in self.scrolls.values_mut() {
            scroll.force()?;
        }
        // The position is replaced atomically, after the lines are on disk.
        let new = self.path.join("position.new");
        let mut file = File::create(&new)?;
        writeln!(file, "{position}")?;
        file.sync_all()?;
        fs::rename(&new, self.path.join("position"))?;
        File::open(&self.path)?.sync_all()?;
        self.position = position;
        Ok(())
    }
}

struct Scroll {
    file: File,
    forced: bool,
    /// The position of the last line.
    position: u64,
    /// The last sequence of each source, which is a node and one start of its archive.
    sequences: HashMap<(Uuid, Uuid), u64>,
}

impl Scroll {
    /// Opens the file of a scroll, reads its complete lines, and removes a partly written line.
    fn open(path: &Path) -> Result<Scroll, Box<dyn Error>> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut scroll = Scroll {
            file: file.try_clone()?,
            forced: false,
            position: 0,
            sequences: HashMap::new(),
        };
        let mut lines = BufReader::new(file);
        let mut whole = 0;
        let mut text = String::new();
        while lines.read_line(&mut text)? > 0 && text.ends_with('\n') {
            let line: Line = serde_json::from_str(&text)?;
            scroll.note(line.position, (line.origin, line.epoch), line.sequence);
            whole += text.len() as u64;
            text.clear();
        }
        scroll.file.set_len(whole)?;
        scroll.file.seek(std::io::SeekFrom::End(0))?;
        Ok(scroll)
    }

    fn note(&mut self, position: u64, source: (Uuid, Uuid), sequence: u64) {
        self.position = position;
        self.sequences.insert(source, sequence);
    }

    /// Appends an event, and returns whether it was new.
    fn append(&mut self, archived: &Archived<Event>) -> Result<bool, Box<dyn Error>> {
        let source = (archived.origin, archived.epoch);
        let known = self
            .sequences
            .get(&source)
            .is_some_and(|last| archived.sequence <= *last);
        if known || archived.position <= self.position {
            return Ok(false);
        }
        let line = Line {
            position: archived.position,
            origin: archived.origin,
            epoch: archived.epoch,
            sequence: archived.sequence,
            event: archived.event.clone(),
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.forced = false;
        self.note(archived.position, source, archived.sequence);
        Ok(true)
    }

    fn force(&mut self) -> Result<(), Box<dyn Error>> {
        if !self.forced {
            self.file.sync_all()?;
            self.forced = true;
        }
        Ok(())
    }
}

//! Keeps a folder with one file for each scroll of a realm's archive. It may be ended at any moment, as may the server and the
//! machine: started again it goes on where it was, with nothing lost and nothing twice.
//!
//! ```sh
//! cargo run -p sharing-bus-nats --example archive -- nats://127.0.0.1:4222 main scrolls
//! ```
//!
//! A fourth argument ends it when nothing has come for so many seconds.
//!
//! How it resumes: a batch of events is appended to the files of its scrolls and forced to the disk; then the position after
//! it is. What comes again after a crash in between is known by its position, which each line has, and left out. A line that
//! was cut off is cut away. An event that the server took twice, long after (see `ArchiveOptions::stream`), is known by its
//! sequence, for within a scroll those of one source increase.

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

/// How many events are forced to the disk together.
const BATCH: usize = 512;
/// How long to wait for them.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, realm, folder, idle @ ..] = &arguments[..] else {
        return Err("usage: archive <server> <realm> <folder> [<idle seconds>]".into());
    };
    let idle = idle
        .first()
        .map(|seconds| seconds.parse().map(Duration::from_secs))
        .transpose()?;
    let mut folder = Folder::open(folder)?;
    let nats = NatsOptions::new(server).realm(realm);
    let mut reader: ArchiveReader<Event> = ArchiveReader::open(nats, EventFilter::All, folder.position)?;
    let mut last = Instant::now();
    while idle.is_none_or(|idle| last.elapsed() < idle) {
        let batch = reader.next_batch(BATCH, PATIENCE);
        if !batch.is_empty() {
            last = Instant::now();
            folder.append(&batch, reader.position())?;
        }
    }
    println!("{} events more, up to position {}", folder.appended, folder.position);
    Ok(())
}

/// A line of a scroll's file.
#[derive(Serialize, Deserialize)]
struct Line {
    position: u64,
    origin: Uuid,
    epoch: Uuid,
    sequence: u64,
    event: BusEvent<Event>,
}

struct Folder {
    path: PathBuf,
    scrolls: HashMap<Option<Uuid>, Scroll>,
    /// Everything up to here is on the disk.
    position: u64,
    appended: u64,
}

impl Folder {
    fn open(path: impl Into<PathBuf>) -> Result<Folder, Box<dyn Error>> {
        let path = path.into();
        fs::create_dir_all(&path)?;
        let position = match fs::read_to_string(path.join("position")) {
            Ok(text) => text.trim().parse()?,
            Err(_) => 0,
        };
        Ok(Folder {
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
            let scroll = self.scrolls.get_mut(&id).expect("it is there now");
            self.appended += u64::from(scroll.append(archived)?);
        }
        for scroll in self.scrolls.values_mut() {
            scroll.force()?;
        }
        // Replaced in one step, and only now that the lines are there.
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
    /// The last sequence of each start of a source.
    sequences: HashMap<(Uuid, Uuid), u64>,
}

impl Scroll {
    /// Reads what is there, up to a line that was cut off.
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

    /// Whether it was new.
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

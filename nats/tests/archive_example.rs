//! Runs the example `archive` as a process. The process and the server are killed several times.

mod common;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{LIMIT, wait_until};
use sharing_bus::{BusEvent, Event, EventKind, EventRouting, SharingBus};
use sharing_bus_nats::{Archive, ArchiveOptions, NatsOptions};
use sharing_bus_nats_test_server::Server;
use uuid::Uuid;

const SCROLLS: u64 = 30;
const EACH: u64 = 200;

struct Consumer(Child);

impl Consumer {
    fn start(program: &Path, server: &Server, folder: &Path) -> Consumer {
        let mut command = Command::new(program);
        command.arg(server.url()).arg("test").arg(folder).stdout(Stdio::null());
        Consumer(command.spawn().unwrap())
    }
}

impl Drop for Consumer {
    /// Kills the process, as a crash would.
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Returns the complete lines of each file. The last line may be partly written.
fn lines(folder: &Path) -> HashMap<String, Vec<String>> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let whole = |text: String| {
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(str::to_owned)
            .collect()
    };
    files
        .map(|path| (name(&path), whole(fs::read_to_string(&path).unwrap())))
        .collect()
}

fn count(folder: &Path) -> u64 {
    lines(folder).values().map(|lines| lines.len() as u64).sum()
}

#[test]
fn killed_consumer_stores_each_event_once() {
    let build = escargot::CargoBuild::new()
        .package("sharing-bus-nats")
        .example("archive");
    let built = build.run().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start_jetstream();
    let bus = SharingBus::<Event>::new();
    let nats = NatsOptions::new(server.url()).realm("test").queue_capacity(100_000);
    let archive = Archive::start(&bus, nats, ArchiveOptions::new()).unwrap();
    let publish = |from: u64, to: u64| {
        for n in from..to {
            for scroll in 0..SCROLLS {
                let routing = EventRouting {
                    scroll_id: Some(Uuid::from_u128(scroll.into())),
                    ..EventRouting::session("shell", scroll.to_string(), EventKind::Output)
                };
                bus.publish(BusEvent::new(routing, Event::Text { text: n.to_string() }))
                    .unwrap();
            }
        }
    };
    publish(0, EACH / 2);
    // The consumer is killed during its work in each round. The server is killed in one round.
    for round in 1..=4 {
        let consumer = Consumer::start(built.path(), &server, folder.path());
        wait_until("more events are archived", || count(folder.path()) >= round * 500);
        if round == 2 {
            server.kill();
            server.restart();
            publish(EACH / 2, EACH);
            wait_until("the archive has continued", || count(folder.path()) >= 1500);
        }
        drop(consumer);
    }
    let torn = folder.path().join(format!("{}.jsonl", Uuid::from_u128(3)));
    let text = fs::read(&torn).unwrap();
    fs::write(&torn, &text[..text.len() - 5]).unwrap();
    // Cuts off a line and sets back the position, as if the machine had failed before both were on disk.
    let torn_position = fs::read_to_string(folder.path().join("position")).unwrap();
    let earlier: u64 = torn_position.trim().parse::<u64>().unwrap().saturating_sub(600);
    fs::write(folder.path().join("position"), earlier.to_string()).unwrap();

    bus.flush();
    assert_eq!(archive.shutdown(LIMIT).unsettled(), 0);
    let consumer = Consumer::start(built.path(), &server, folder.path());
    wait_until("all events are archived", || count(folder.path()) >= SCROLLS * EACH);
    drop(consumer);
    // No more events arrive until the idle limit ends the example.
    let mut last = Command::new(built.path());
    last.arg(server.url()).arg("test").arg(folder.path()).arg("1");
    let said = String::from_utf8(last.output().unwrap().stdout).unwrap();
    assert!(
        said.ends_with(&format!("up to position {}\n", SCROLLS * EACH)),
        "{said}"
    );

    let files = lines(folder.path());
    assert_eq!(files.len() as u64, SCROLLS);
    for (scroll, lines) in files {
        let texts = lines.iter().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["event"]["event"]["text"]["text"]
                .as_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        });
        assert!(texts.clone().eq(0..EACH), "{scroll}: {:?}", texts.collect::<Vec<_>>());
    }
}

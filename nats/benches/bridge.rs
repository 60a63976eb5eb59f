//! Cost of the bridge: throughput and latency compared with the bare client, and the traffic that filters save.
//!
//! ```sh
//! cargo bench -p sharing-bus-nats --bench bridge
//! ```
//!
//! One run uses one server on loopback. The two contenders run alternately, each goes first in every other round, and
//! the report gives medians. The bare client publishes and receives the bridge's messages byte for byte, under a realm
//! of the same length. The results are written to `results.md` in this directory.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use async_nats::{Client, HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
use sharing_bus_nats::{NatsBridge, NatsOptions, NatsStats, Remote, RemoteReceiver};
use sharing_bus_nats_test_server::Server;
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Number of events in a round. It is below the capacity of the client's channel, so that the bare subscriber loses no
/// message.
const EVENTS: usize = 50_000;
const ROUNDS: usize = 25;
const PINGS: usize = 2_000;
/// Length of the text in an event, similar to that of a line of output.
const TEXT: usize = 120;
const SCROLLS: u128 = 1_000;
const EACH: usize = 20;
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn Error>> {
    // Under `cargo test`, the benchmark runs briefly and writes no results.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let server = Server::start();
    let mut report = heading(&server);
    compare_with_bare_client(&server, &mut report, if quick { 1 } else { ROUNDS })?;
    compare_filters(&server, &mut report)?;
    print!("{report}");
    if quick {
        return Ok(());
    }
    std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results.md"), report)?;
    Ok(())
}

fn heading(server: &Server) -> String {
    let version = server.monitor("/varz")["version"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let cores = thread::available_parallelism().map_or(0, usize::from);
    format!(
        "# Measurements of the bridge\n\n\
         Written by `cargo bench -p sharing-bus-nats --bench bridge`: one run with nats-server {version} on \
         loopback. The publisher, both buses, both bridges and the server share {cores} cores.\n\n"
    )
}

/// A message written by the bridge.
#[derive(Clone)]
struct Captured {
    subject: String,
    headers: HeaderMap,
    payload: Bytes,
}

/// Two buses with a bridge each, and a receiver on the second bus.
struct Bridged {
    bus: SharingBus<Event>,
    here: NatsBridge<Event>,
    there: NatsBridge<Event>,
    receiver: RemoteReceiver<Event>,
    /// Keeps the import of events active.
    _remote: Remote<Event>,
}

impl Bridged {
    fn start(server: &Server, realm: &str, filter: EventFilter) -> Result<Bridged, Box<dyn Error>> {
        let options = || NatsOptions::new(server.url()).realm(realm).queue_capacity(2 * EVENTS);
        let (bus, other) = (SharingBus::new(), SharingBus::new());
        let here = NatsBridge::builder(&bus, options()).start()?;
        let there = NatsBridge::builder(&other, options()).start()?;
        let remote = there.subscribe_remote(filter);
        let receiver = remote.receiver(2 * EVENTS);
        if !remote.wait_ready(LIMIT) {
            return Err("the server does not answer".into());
        }
        Ok(Bridged {
            bus,
            here,
            there,
            receiver,
            _remote: remote,
        })
    }

    fn receive(&mut self, count: usize) -> Result<(), Box<dyn Error>> {
        for _ in 0..count {
            let delivery = self.receiver.recv_timeout(LIMIT)?;
            if delivery.missed() > 0 {
                return Err("an event was lost".into());
            }
        }
        Ok(())
    }

    fn throughput(&mut self) -> Result<f64, Box<dyn Error>> {
        let bus = self.bus.clone();
        let begin = Instant::now();
        let publisher = thread::spawn(move || (0..EVENTS).try_for_each(|n| bus.publish(event(1, n))));
        self.receive(EVENTS)?;
        let rate = per_second(EVENTS, begin);
        publisher.join().expect("the thread does not panic")?;
        Ok(rate)
    }

    fn latency(&mut self) -> Result<Duration, Box<dyn Error>> {
        let mut times = Vec::with_capacity(PINGS);
        for n in 0..PINGS {
            let begin = Instant::now();
            self.bus.publish(event(1, n))?;
            self.receive(1)?;
            times.push(begin.elapsed());
        }
        Ok(median(times))
    }
}

/// The client without a bridge: one connection publishes and one receives, each on its own thread and runtime.
struct Bare {
    runtime: Runtime,
    client: Client,
    messages: Vec<Captured>,
    /// Receives one value for each message that arrived.
    arrived: mpsc::Receiver<()>,
}

impl Bare {
    fn start(server: &Server, messages: Vec<Captured>) -> Result<Bare, Box<dyn Error>> {
        let (sender, arrived) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let url = server.url();
        let first = messages.first().ok_or("nothing was captured")?.subject.clone();
        let realm = first.split('.').take(2).collect::<Vec<_>>().join(".");
        thread::spawn(move || {
            let received = runtime()?.block_on(async {
                let (_client, mut subscriber) = subscribe(&url, format!("{realm}.>")).await?;
                ready.send(())?;
                while subscriber.next().await.is_some() {
                    sender.send(())?;
                }
                Ok::<(), Box<dyn Error>>(())
            });
            // The outcome is an error, because a send fails when the benchmark is over.
            drop(received);
            Ok::<(), std::io::Error>(())
        });
        is_ready.recv_timeout(LIMIT)?;
        let runtime = runtime()?;
        let client = runtime.block_on(async_nats::connect(server.url()))?;
        Ok(Bare {
            runtime,
            client,
            messages,
            arrived,
        })
    }

    fn send(&self, messages: impl IntoIterator<Item = Captured>) -> Result<(), Box<dyn Error>> {
        self.runtime.block_on(async {
            for message in messages {
                self.client
                    .publish_with_headers(message.subject, message.headers, message.payload)
                    .await?;
            }
            Ok(self.client.flush().await?)
        })
    }

    fn throughput(&self) -> Result<f64, Box<dyn Error>> {
        let messages = self.messages.clone();
        let begin = Instant::now();
        self.send(messages)?;
        for _ in 0..EVENTS {
            self.arrived.recv_timeout(LIMIT)?;
        }
        Ok(per_second(EVENTS, begin))
    }

    fn latency(&self) -> Result<Duration, Box<dyn Error>> {
        let mut times = Vec::with_capacity(PINGS);
        for message in self.messages.iter().take(PINGS).cloned() {
            let begin = Instant::now();
            self.send([message])?;
            self.arrived.recv_timeout(LIMIT)?;
            times.push(begin.elapsed());
        }
        Ok(median(times))
    }
}

fn compare_with_bare_client(server: &Server, report: &mut String, rounds: usize) -> Result<(), Box<dyn Error>> {
    let mut bridged = Bridged::start(server, "bench", EventFilter::All)?;
    let messages = capture(server, &mut bridged)?;
    let bytes = messages.iter().map(wire_size).sum::<usize>() / messages.len();
    let bare = Bare::start(server, messages)?;
    let (mut of_bridge, mut of_bare, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let (mut slow, mut fast) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let (bridge, raw) = in_turn(round, || bridged.throughput(), || bare.throughput())?;
        of_bridge.push(bridge);
        of_bare.push(raw);
        ratios.push(bridge / raw);
        let (bridge, raw) = in_turn(round, || bridged.latency(), || bare.latency())?;
        slow.push(bridge);
        fast.push(raw);
    }
    let (bridge, raw, ratio) = (middle(of_bridge), middle(of_bare), middle(ratios.clone()));
    ratios.sort_by(f64::total_cmp);
    let (lower, upper) = (ratios[rounds / 4], ratios[rounds * 3 / 4]);
    let (slow, fast) = (median(slow), median(fast));
    let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
    writeln!(report, "## Throughput and latency\n")?;
    writeln!(
        report,
        "{EVENTS} events of {bytes} bytes on the wire (subject, headers, {TEXT} characters of text as JSON), \
         {rounds} alternating rounds. Latency is from `publish` to the receiver's thread, one event at a time, {PINGS} \
         in each round.\n"
    )?;
    writeln!(report, "| | events per second | latency |\n|---|---:|---:|")?;
    writeln!(
        report,
        "| bus, bridge, server, bridge, bus | {bridge:.0} | {:.0} µs |",
        micros(slow)
    )?;
    writeln!(
        report,
        "| bare async-nats, same bytes | {raw:.0} | {:.0} µs |",
        micros(fast)
    )?;
    writeln!(
        report,
        "| bridge relative to bare client, by round | {:.0} % (half of the rounds: {:.0} to {:.0} %) | {:+.0} µs |\n",
        ratio * 100.0,
        lower * 100.0,
        upper * 100.0,
        micros(slow) - micros(fast)
    )?;
    Ok(())
}

/// Captures the messages of one round of the bridge, and moves them to another realm for the bare client.
fn capture(server: &Server, bridged: &mut Bridged) -> Result<Vec<Captured>, Box<dyn Error>> {
    let (sender, captured) = mpsc::channel();
    let (ready, is_ready) = mpsc::channel();
    let url = server.url();
    let taker = thread::spawn(move || {
        let runtime = runtime().map_err(|error| error.to_string())?;
        let taken = runtime.block_on(async {
            let (_client, subscriber) = subscribe(&url, "sb1.bench.>".to_owned()).await?;
            ready.send(())?;
            let mut messages = subscriber.take(EVENTS);
            while let Some(message) = messages.next().await {
                sender.send(Captured {
                    subject: message.subject.replacen(".bench.", ".plain.", 1),
                    headers: message.headers.unwrap_or_default(),
                    payload: message.payload,
                })?;
            }
            Ok::<(), Box<dyn Error>>(())
        });
        taken.map_err(|error| error.to_string())
    });
    is_ready.recv_timeout(LIMIT)?;
    bridged.throughput()?;
    taker.join().expect("the thread does not panic")?;
    Ok(captured.iter().collect())
}

fn wire_size(message: &Captured) -> usize {
    let headers = message.headers.iter();
    let lines = headers.flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
    let lines = lines.map(|(name, value)| name.to_string().len() + value.as_str().len() + ": \r\n".len());
    message.subject.len() + "NATS/1.0\r\n\r\n".len() + lines.sum::<usize>() + message.payload.len()
}

fn compare_filters(server: &Server, report: &mut String) -> Result<(), Box<dyn Error>> {
    let wanted = scroll(7);
    let known = EventFilter::ScrollId(wanted);
    let opaque = EventFilter::custom(move |event: &BusEvent| event.routing.scroll_id == Some(wanted));
    let events = SCROLLS as usize * EACH;
    writeln!(report, "## One scroll among {SCROLLS}\n")?;
    writeln!(
        report,
        "A node subscribes to one scroll while {events} events of {SCROLLS} scrolls are published. The table shows the \
         traffic from the server to all clients, the publisher included, as counted by the server (`/varz`):\n"
    )?;
    writeln!(
        report,
        "| filter | messages | bytes | delivered |\n|---|---:|---:|---:|"
    )?;
    let mut all = Vec::new();
    for (name, realm, filter) in [
        ("evaluated by the server", "known", known),
        ("evaluated by the bridge", "blind", opaque),
    ] {
        let mut bridged = Bridged::start(server, realm, filter)?;
        let before = sent(server);
        for n in 0..EACH {
            for id in 0..SCROLLS {
                bridged.bus.publish(event(id, n))?;
            }
        }
        bridged.receive(EACH)?;
        let published = bridged.here.shutdown(LIMIT)?.acked;
        // The other bridge has to process all messages that the server sends to it.
        let due = if realm == "blind" { published } else { EACH as u64 };
        let stats = settle(&bridged.there, due)?;
        let after = sent(server);
        let (messages, bytes) = (after.0 - before.0, after.1 - before.1);
        writeln!(report, "| {name} | {messages} | {bytes} | {} |", stats.imported)?;
        all.push(bytes);
    }
    let [few, many] = all[..] else { return Ok(()) };
    writeln!(
        report,
        "\nRatio of bytes without and with evaluation by the server: {:.0} to 1.\n",
        many as f64 / few as f64
    )?;
    writeln!(
        report,
        "Both figures include the few round trips by which the bridges confirm events."
    )?;
    Ok(())
}

/// Waits until the bridge has processed this many messages, matching or not.
fn settle(there: &NatsBridge<Event>, due: u64) -> Result<NatsStats, Box<dyn Error>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let stats = there.stats();
        if stats.imported + stats.filtered_locally >= due {
            return Ok(stats);
        }
        if Instant::now() > deadline {
            return Err("some messages did not arrive".into());
        }
        thread::yield_now();
    }
}

/// Returns the number of messages and bytes that the server has sent to its clients.
fn sent(server: &Server) -> (u64, u64) {
    let page = server.monitor("/varz");
    let count = |name: &str| page[name].as_u64().unwrap_or_default();
    (count("out_msgs"), count("out_bytes"))
}

fn scroll(id: u128) -> Uuid {
    Uuid::from_u128(id)
}

fn event(id: u128, n: usize) -> BusEvent {
    let routing = EventRouting {
        scroll_id: Some(scroll(id)),
        ..EventRouting::session("agent", "session-1", EventKind::Output)
    };
    let text = format!("{n:0>TEXT$}");
    BusEvent::new(routing, Event::Text { text })
}

async fn subscribe(url: &str, subject: String) -> Result<(Client, Subscriber), Box<dyn Error>> {
    let client = async_nats::connect(url).await?;
    let subscriber = client.subscribe(subject).await?;
    client.flush().await?;
    // The server answers this request after it has read the subscription.
    client.request("sb1-bench.no-responder", Bytes::new()).await.err();
    Ok((client, subscriber))
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

type Outcome<T> = Result<T, Box<dyn Error>>;

fn in_turn<T>(round: usize, bridge: impl FnOnce() -> Outcome<T>, bare: impl FnOnce() -> Outcome<T>) -> Outcome<(T, T)> {
    if round % 2 == 0 {
        let first = bridge()?;
        Ok((first, bare()?))
    } else {
        let first = bare()?;
        Ok((bridge()?, first))
    }
}

fn per_second(count: usize, begin: Instant) -> f64 {
    count as f64 / begin.elapsed().as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

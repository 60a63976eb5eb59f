//! A host without an async runtime. It uses plain threads, and a `select!` over the bus and other channels.
//!
//! ```sh
//! cargo run --example sync_host
//! ```
//!
//! Three connectors publish their output, each from its own thread. Two subscribers receive the events. The *archiver*
//! waits only for events, so it iterates over its receiver. The *monitor* also repaints a status line periodically and
//! stops on request. Its events are therefore delivered into a channel, and it selects over that channel, a ticker and
//! a stop channel.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select, tick};
use sharing_bus::{BusEvent, Delivery, Event, EventFilter, EventKind, EventRouting, SharingBus};

const LINES: usize = 100;

fn main() {
    let bus = SharingBus::new();

    // A subscriber receives all matching events that are published after it has subscribed, so subscribe first. The
    // capacity limits how many events can wait in a queue before the subscriber loses some. The queues here can hold
    // all events of the run.
    let mut archive = bus.subscription().label("archive").queue_capacity(1024).subscribe();
    let archiver = thread::spawn(move || (archive.iter().count(), archive.lagged()));

    // The channel replaces the subscriber's queue, so its capacity is the limit. Only events that match the filter are
    // sent into the channel.
    let (sender, events) = bounded(1024);
    let (stop, stopped) = bounded::<()>(0);
    let forward = bus
        .subscription()
        .label("monitor")
        .filter(EventFilter::Kind(EventKind::Output))
        .forward_to(sender);
    let monitor = thread::spawn(move || Monitor::default().run(&events, &stopped));

    let connectors = ["build", "shell", "tests"].map(|name| {
        let bus = bus.clone();
        thread::spawn(move || connector(&bus, name))
    });
    for connector in connectors {
        connector.join().expect("a connector panicked");
    }

    // After the flush, all accepted events are in the queues, so the monitor receives all of them before it stops.
    bus.flush();
    drop(stop);
    let monitor = monitor.join().expect("the monitor panicked");

    // Shutdown closes the bus. The archiver's iterator ends once the archiver has drained its queue.
    bus.shutdown();
    let (archived, missed) = archiver.join().expect("the archiver panicked");

    // Print the summary. The forward counts the events that the channel accepted and rejected. `stats` returns all
    // other statistics.
    let stats = bus.stats();
    println!("published  {}", stats.published);
    println!("archive    {archived} received, {missed} missed");
    println!("monitor    {} received, {} missed", monitor.received, forward.lagged());
    for (connector, lines) in &monitor.lines {
        println!("  {connector:<8} {lines} lines");
    }
}

/// Publishes the events of one connector: `Connected`, and then its lines. `publish` waits while the ingress is full,
/// so the connector is ahead of dispatch by at most the ingress capacity. It never waits for a subscriber.
fn connector(bus: &SharingBus, name: &str) {
    let publish = |kind, event| bus.publish(BusEvent::new(EventRouting::session(name, "1", kind), event));
    let run = || {
        publish(EventKind::ConnectorLifecycle, Event::Connected)?;
        for number in 1..=LINES {
            let text = format!("line {number}");
            publish(EventKind::Output, Event::Text { text })?;
        }
        Ok::<_, sharing_bus::PublishError>(())
    };
    // An error means that the bus has been closed.
    if run().is_err() {
        eprintln!("{name} stopped early: the bus is closed");
    }
}

#[derive(Default)]
struct Monitor {
    received: u64,
    lines: BTreeMap<String, u64>,
    changed: bool,
}

impl Monitor {
    fn run(mut self, events: &Receiver<Delivery>, stopped: &Receiver<()>) -> Self {
        let ticker = tick(Duration::from_millis(20));
        loop {
            select! {
                recv(events) -> delivery => match delivery {
                    Ok(delivery) => self.show(&delivery),
                    Err(_closed) => return self, // The bus has closed.
                },
                recv(ticker) -> _ => self.repaint(),
                recv(stopped) -> _ => {
                    events.try_iter().for_each(|delivery| self.show(&delivery));
                    return self;
                }
            }
        }
    }

    fn show(&mut self, delivery: &Delivery) {
        let connector = delivery.routing.connector_id.as_deref().unwrap_or("host");
        *self.lines.entry(connector.to_owned()).or_default() += 1;
        self.received += 1;
        self.changed = true;
    }

    /// Prints the status line to standard error. The number of repaints varies from run to run.
    fn repaint(&mut self) {
        if std::mem::take(&mut self.changed) {
            eprintln!("{} lines so far", self.received);
        }
    }
}

//! A host without a runtime: plain threads, and a `select!` that waits for the bus and for other things.
//!
//! ```sh
//! cargo run --example sync_host
//! ```
//!
//! Three connectors publish their output, each from a thread of its own. Two subscribers receive it. The *archiver* has
//! nothing else to wait for, so it iterates over its receiver. The *desk* repaints a status line now and then and can be
//! told to stop, so it has the bus deliver into a channel and selects over that, a ticker and a stop channel.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded, select, tick};
use sharing_bus::{BusEvent, Delivery, Event, EventFilter, EventKind, EventRouting, SharingBus};

const LINES: usize = 100;

fn main() {
    let bus = SharingBus::new();

    // Subscribe first: whatever is published after this line is seen. A capacity is how far a subscriber may fall behind
    // before it loses events; these have room for the whole run.
    let mut archive = bus.subscription().label("archive").queue_capacity(1024).subscribe();
    let archiver = thread::spawn(move || (archive.iter().count(), archive.lagged()));

    // The channel takes the place of a queue, so its capacity counts. What the filter leaves out never gets there.
    let (sender, events) = bounded(1024);
    let (stop, stopped) = bounded::<()>(0);
    let forward = bus
        .subscription()
        .label("desk")
        .filter(EventFilter::Kind(EventKind::Output))
        .forward_to(sender);
    let desk = thread::spawn(move || Desk::default().run(&events, &stopped));

    let connectors = ["build", "shell", "tests"].map(|name| {
        let bus = bus.clone();
        thread::spawn(move || connector(&bus, name))
    });
    for connector in connectors {
        connector.join().expect("a connector panicked");
    }

    // After a flush everything accepted is in the queues, so the desk finds all of it when it is told to stop.
    bus.flush();
    drop(stop);
    let desk = desk.join().expect("the desk panicked");

    // What is left ends with the bus: the archiver's iterator is over once its queue is drained.
    bus.shutdown();
    let (archived, missed) = archiver.join().expect("the archiver panicked");

    // The closing account. The forward knows what the channel took and refused; the bus knows it all.
    let stats = bus.stats();
    println!("published  {}", stats.published);
    println!("archive    {archived} received, {missed} missed");
    println!("desk       {} received, {} missed", desk.received, forward.lagged());
    for (connector, lines) in &desk.lines {
        println!("  {connector:<8} {lines} lines");
    }
}

/// A connector: says hello, and writes its lines. `publish` waits while the bus is full, so it is never ahead of dispatch
/// by more than the ingress holds; it never waits for a subscriber.
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
    // The bus is closed: somebody has ended the host, so there is nothing left to say.
    if run().is_err() {
        eprintln!("{name} was cut short");
    }
}

#[derive(Default)]
struct Desk {
    received: u64,
    lines: BTreeMap<String, u64>,
    changed: bool,
}

impl Desk {
    fn run(mut self, events: &Receiver<Delivery>, stopped: &Receiver<()>) -> Self {
        let ticker = tick(Duration::from_millis(20));
        loop {
            select! {
                recv(events) -> delivery => match delivery {
                    Ok(delivery) => self.show(&delivery),
                    Err(_closed) => return self, // The bus has ended.
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

    /// On the error stream, where a terminal would have its status line; nothing depends on how often.
    fn repaint(&mut self) {
        if std::mem::take(&mut self.changed) {
            eprintln!("{} lines so far", self.received);
        }
    }
}

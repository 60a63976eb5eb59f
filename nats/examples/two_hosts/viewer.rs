//! The viewer: a bus on which the events of one scroll from all hosts are published.

use std::collections::BTreeMap;
use std::error::Error;

use sharing_bus::{Event, EventFilter, SharingBus};
use sharing_bus_nats::{NatsBridge, Remote, RemoteReceiver};

use crate::{FOLLOWED, HOSTS, LIMIT, options};

pub(crate) struct Viewer {
    bridge: NatsBridge<Event>,
    receiver: RemoteReceiver<Event>,
    /// Keeps the import of events active.
    _remote: Remote<Event>,
}

/// The lines received from one host.
#[derive(Default)]
struct Seen {
    lines: u64,
    in_order: bool,
    last: u64,
}

impl Viewer {
    /// Starts the viewer, and returns once the server has its subscription. The viewer receives every event published
    /// after that.
    pub(crate) fn start(server: &str) -> Result<Viewer, Box<dyn Error>> {
        let bus = SharingBus::new();
        // The viewer publishes no events, so its bridge exports none.
        let bridge = NatsBridge::builder(&bus, options(server)).start()?;
        let remote = bridge.subscribe_remote(EventFilter::ScrollId(FOLLOWED));
        let receiver = remote.receiver(4096);
        if !remote.wait_ready(LIMIT) {
            return Err("the server does not answer".into());
        }
        Ok(Viewer {
            bridge,
            receiver,
            _remote: remote,
        })
    }

    /// Follows the scroll until its session on every host has ended, and returns the report.
    pub(crate) fn follow(mut self) -> Result<String, Box<dyn Error>> {
        let mut hosts: BTreeMap<String, Seen> = BTreeMap::new();
        let (mut registered, mut ended, mut missed) = (0, 0, 0);
        while ended < HOSTS.len() {
            let delivery = self.receiver.recv_timeout(LIMIT)?;
            missed += delivery.missed();
            let connector = delivery.routing.connector_id.as_deref().unwrap_or_default();
            let host = connector.split('.').next().unwrap_or_default();
            match &*delivery.event {
                Event::SessionRegistered { .. } => registered += 1,
                Event::SessionEnded { .. } => ended += 1,
                Event::Text { text } => {
                    eprintln!("{text}");
                    let number = text.rsplit(' ').next().unwrap_or_default().parse()?;
                    hosts.entry(host.to_owned()).or_default().add(number);
                }
                _ => {}
            }
        }
        let stats = self.bridge.shutdown(LIMIT)?;
        let mut report = format!("viewer   {registered} sessions of one scroll, {missed} events missed\n");
        for (host, seen) in hosts {
            let order = if seen.in_order { "in order" } else { "out of order" };
            report += &format!("  {host:<6} {} lines, {order}, up to {}\n", seen.lines, seen.last);
        }
        report += &format!(
            "  {} events came from the server, {} of them did not match\n",
            stats.imported, stats.filtered_locally
        );
        Ok(report)
    }
}

impl Seen {
    fn add(&mut self, number: u64) {
        self.in_order = number > self.last && (self.lines == 0 || self.in_order);
        self.last = number;
        self.lines += 1;
    }
}

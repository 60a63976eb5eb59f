//! The final summary. It compares the subscribers' own counts of received and missed events with the bus's statistics.

use std::io::{self, Write};
use std::path::Path;

use sharing_bus::{BusReceiver, BusStats, Delivery, SubscriberStats};
use sharing_bus_example_sessions::Record;

/// Counts that one subscriber keeps of its own deliveries.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    received: u64,
    missed: u64,
    last_sequence: u64,
    out_of_order: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, delivery: &Delivery<Record>) {
        self.received += 1;
        self.missed += delivery.missed();
        if delivery.sequence() <= self.last_sequence {
            self.out_of_order += 1;
        }
        self.last_sequence = delivery.sequence();
    }

    /// Returns the number of events that were lost after the last delivery, which no delivery reports. Call this method
    /// after the receiver has returned the end.
    pub(crate) fn missed_at_end(&self, receiver: &BusReceiver<Record>) -> u64 {
        receiver.lagged().saturating_sub(self.missed)
    }

    /// Adds the events that were lost after the last delivery.
    pub(crate) fn finish(mut self, receiver: &BusReceiver<Record>) -> Self {
        self.missed += self.missed_at_end(receiver);
        self
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed
    }
}

/// The counts that must be consistent with each other.
pub(crate) struct Summary {
    /// Number of published events, as counted by the source.
    published: u64,
    stats: BusStats,
    subscribers: Vec<(SubscriberStats, Tally)>,
}

impl Summary {
    /// Creates a summary. `stats` must be taken after the final flush, while all subscribers still exist.
    pub(crate) fn new(published: u64, stats: &BusStats) -> Self {
        Summary {
            published,
            stats: stats.clone(),
            subscribers: Vec::new(),
        }
    }

    /// Adds a subscriber that has received all of its events.
    pub(crate) fn add_subscriber(&mut self, label: &str, tally: Tally) {
        let bus_stats = self
            .stats
            .subscribers
            .iter()
            .find(|stats| stats.label.as_deref() == Some(label));
        if let Some(bus_stats) = bus_stats {
            self.subscribers.push((bus_stats.clone(), tally));
        }
    }

    pub(crate) fn print(&self, archive: &Path) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "\n{:<10} {:>9} {:>9} {:>9}  filter",
            "subscriber", "matched", "received", "missed"
        )?;
        for (stats, tally) in &self.subscribers {
            let label = stats.label.as_deref().unwrap_or_default();
            writeln!(
                out,
                "{label:<10} {:>9} {:>9} {:>9}  {}",
                matched(stats),
                tally.received,
                tally.missed,
                stats.filter
            )?;
        }
        let BusStats {
            published, unmatched, ..
        } = self.stats;
        writeln!(
            out,
            "{published} events published, {unmatched} matched no subscriber; archive in {}",
            archive.display()
        )?;
        out.flush()
    }

    /// Returns a message for each inconsistency.
    pub(crate) fn discrepancies(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |holds: bool, message: String| {
            if !holds {
                found.push(message);
            }
        };
        let bus = &self.stats;
        check(
            self.published == bus.published && bus.published == bus.dispatched,
            format!(
                "the source published {}, but the bus accepted {} and dispatched {}",
                self.published, bus.published, bus.dispatched
            ),
        );
        for (stats, tally) in &self.subscribers {
            let label = stats.label.as_deref().unwrap_or_default();
            let matched = matched(stats);
            check(
                matched == tally.received + tally.missed,
                format!(
                    "{label} matched {matched}, but received {} and missed {}",
                    tally.received, tally.missed
                ),
            );
            check(
                stats.lagged == tally.missed,
                format!("{label} missed {}, but the bus counted {}", tally.missed, stats.lagged),
            );
            check(
                tally.out_of_order == 0,
                format!("{label} received {} events out of order", tally.out_of_order),
            );
            check(
                stats.filter != "*" || matched == self.published,
                format!(
                    "{label} has no filter, but matched {matched} of {} events",
                    self.published
                ),
            );
        }
        found
    }
}

fn matched(stats: &SubscriberStats) -> u64 {
    stats.delivered + stats.lagged
}

#[cfg(test)]
mod tests {
    use super::*;
    use sharing_bus::{BusEvent, EventRouting, SharingBus};

    fn record() -> Record {
        let line = r#"{"ts":"t","connector_id":"c","native_session_id":null,"kind":"k"}"#;
        serde_json::from_str(line).unwrap()
    }

    /// Publishes five events to a subscriber whose queue holds three, applies `change`, and returns the discrepancies.
    fn discrepancies_after(change: impl FnOnce(&mut Tally, &mut BusStats)) -> Vec<String> {
        let bus: SharingBus<Record> = SharingBus::new();
        let mut receiver = bus.subscription().queue_capacity(3).label("x").subscribe();
        for _ in 0..5 {
            bus.publish(BusEvent::new(EventRouting::default(), record())).unwrap();
        }
        bus.flush();
        let mut stats = bus.stats();
        bus.shutdown();
        let mut tally = Tally::default();
        while let Ok(delivery) = receiver.recv() {
            tally.count(&delivery);
        }
        assert_eq!(tally.missed_at_end(&receiver), 2);
        let mut tally = tally.finish(&receiver);
        assert_eq!((tally.received, tally.missed), (3, 2));
        change(&mut tally, &mut stats);
        let mut summary = Summary::new(5, &stats);
        summary.add_subscriber("x", tally);
        summary.discrepancies()
    }

    #[test]
    fn consistent_run_has_no_discrepancies() {
        assert_eq!(discrepancies_after(|_, _| {}), Vec::<String>::new());
    }

    #[test]
    fn each_inconsistent_count_is_reported() {
        assert_eq!(discrepancies_after(|tally, _| tally.received -= 1).len(), 1);
        assert_eq!(discrepancies_after(|tally, _| tally.missed += 1).len(), 2);
        assert_eq!(discrepancies_after(|tally, _| tally.out_of_order += 1).len(), 1);
        assert_eq!(
            discrepancies_after(|_, stats| stats.subscribers[0].delivered += 1).len(),
            2
        );
        assert_eq!(discrepancies_after(|_, stats| stats.published -= 1).len(), 1);
        assert_eq!(discrepancies_after(|_, stats| stats.dispatched -= 1).len(), 1);
    }
}

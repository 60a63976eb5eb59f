//! The overview that each browser shows beside its events: the event rate, the subscribers and the sessions.
//!
//! One task reads the statistics of the bus twice per second and publishes the JSON text in a watch channel. A slow
//! browser skips old overviews and receives the latest one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use sharing_bus::SubscriberStats;
use sharing_bus_example_sessions::Bus;
use tokio::sync::watch;
use tokio::time::{self, MissedTickBehavior};

use crate::session_table::{Session, SessionTable};

const INTERVAL: Duration = Duration::from_millis(500);
/// Number of rates in the overview, which together span one minute.
const RATE_COUNT: usize = 120;
const MAX_SESSIONS: usize = 40;

#[derive(Serialize)]
struct OverviewJson<'a> {
    published: u64,
    source_ended: bool,
    /// Events per second, with the latest last.
    rates: &'a VecDeque<u64>,
    subscribers: Vec<Subscriber>,
    sessions: Vec<Session>,
    sessions_seen: usize,
}

#[derive(Serialize)]
struct Subscriber {
    id: String,
    label: String,
    filter: String,
    queued: u64,
    capacity: usize,
    delivered: u64,
    lagged: u64,
}

impl From<SubscriberStats> for Subscriber {
    fn from(stats: SubscriberStats) -> Self {
        Subscriber {
            id: stats.id.to_string(),
            label: stats.label.as_deref().unwrap_or_default().to_owned(),
            filter: stats.filter,
            queued: stats.queued,
            capacity: stats.capacity,
            delivered: stats.delivered,
            lagged: stats.lagged,
        }
    }
}

pub(crate) struct Overview {
    bus: Bus,
    sessions: SessionTable,
    source_ended: AtomicBool,
    text: watch::Sender<Arc<str>>,
}

impl Overview {
    pub(crate) fn new(bus: Bus, sessions: SessionTable) -> Self {
        Overview {
            bus,
            sessions,
            source_ended: AtomicBool::new(false),
            text: watch::Sender::new("".into()),
        }
    }

    /// Returns a receiver for the latest text, if there is one, and for all later ones.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<str>> {
        let mut text = self.text.subscribe();
        if !text.borrow().is_empty() {
            text.mark_changed();
        }
        text
    }

    pub(crate) fn source_ended(&self) {
        // Ordering: Relaxed. The flag publishes no other data.
        self.source_ended.store(true, Ordering::Relaxed);
    }

    /// Updates the overview periodically, and never returns.
    pub(crate) async fn run(&self) {
        let mut ticks = time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rates = VecDeque::from([0; RATE_COUNT]);
        let (mut before, mut dispatched) = (time::Instant::now(), 0);
        loop {
            ticks.tick().await;
            let stats = self.bus.stats();
            let now = time::Instant::now();
            rates.pop_front();
            rates.push_back(per_second(stats.dispatched - dispatched, now - before));
            (before, dispatched) = (now, stats.dispatched);
            let (sessions, sessions_seen) = self.sessions.latest(MAX_SESSIONS);
            let overview = OverviewJson {
                published: stats.published,
                // Ordering: Relaxed, as for the store.
                source_ended: self.source_ended.load(Ordering::Relaxed),
                rates: &rates,
                subscribers: stats.subscribers.into_iter().map(Subscriber::from).collect(),
                sessions,
                sessions_seen,
            };
            let text = serde_json::to_string(&overview).expect("strings and numbers serialize");
            self.text.send_replace(text.into());
        }
    }
}

/// Returns the rate of events. The first tick completes immediately, so a shorter time counts as one interval.
fn per_second(events: u64, time: Duration) -> u64 {
    let micros = time.max(INTERVAL).as_micros();
    u64::try_from(u128::from(events) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_per_second() {
        assert_eq!(per_second(50, Duration::from_millis(500)), 100);
        assert_eq!(per_second(50, Duration::from_secs(2)), 25);
        assert_eq!(per_second(50, Duration::ZERO), 100);
        assert_eq!(per_second(u64::MAX, INTERVAL), u64::MAX);
    }
}

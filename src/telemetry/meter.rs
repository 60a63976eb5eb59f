//! The feature `metrics`: counters, gauges and a histogram in the recorder that the host has installed.
//!
//! The handles of the bus are created when the bus is built, and those of a subscriber when the dispatch thread
//! attaches it. At the end of each batch, the dispatcher records the changes of all values as differences, including
//! those of gauges. So values with the same name add up, for example those of several buses or of subscribers with the
//! same label. After the recorder has panicked, the dispatcher no longer uses the affected handles.

use std::time::Instant;

use metrics::{
    Counter, Gauge, Histogram, SharedString, Unit, counter, describe_counter, describe_gauge, describe_histogram,
    gauge, histogram,
};

use crate::ingress::stamp::PublishedAt;
use crate::queue::{Pushed, QueueState};
use crate::stats::{BusFigures, Totals};
use crate::subscribers::list::Subscription;
use crate::sync::panic::{self, DropGuarded};
use crate::sync::{Arc, BATCH};

/// Names and descriptions, in the order of [`Figures`].
const COUNTERS: [(&str, &str); 10] = [
    ("sharing_bus_published_total", "events accepted from publishers"),
    ("sharing_bus_dispatched_total", "events dispatched"),
    (
        "sharing_bus_delivered_total",
        "events put into queues, summed over all subscribers",
    ),
    (
        "sharing_bus_lagged_total",
        "events lost because a queue was full, summed over all subscribers",
    ),
    (
        "sharing_bus_merged_total",
        "events merged into other delivered events, summed over all subscribers",
    ),
    ("sharing_bus_unmatched_total", "events that matched no subscriber"),
    ("sharing_bus_filter_panics_total", "panics in filters"),
    (
        "sharing_bus_payload_panics_total",
        "panics in the session hooks of payloads",
    ),
    ("sharing_bus_reaped_total", "subscriptions reaped"),
    (
        "sharing_bus_failed_total",
        "subscriptions ended because their functions panicked",
    ),
];
const GAUGES: [(&str, &str); 3] = [
    ("sharing_bus_ingress_depth", "events accepted but not yet dispatched"),
    ("sharing_bus_subscribers", "open subscriptions"),
    ("sharing_bus_sessions", "bound sessions"),
];
const LATENCY: &str = "sharing_bus_dispatch_latency_seconds";
const SUBSCRIBER_DELIVERED: &str = "sharing_bus_subscriber_delivered_total";
const SUBSCRIBER_MERGED: &str = "sharing_bus_subscriber_merged_total";
const SUBSCRIBER_LAGGED: &str = "sharing_bus_subscriber_lagged_total";
const SUBSCRIBER_LAGGED_ESSENTIAL: &str = "sharing_bus_subscriber_lagged_essential_total";
const QUEUE_DEPTH: &str = "sharing_bus_queue_depth";

/// The label of all metrics about subscribers. Its value is the label of the subscription.
const LABEL: &str = "subscriber";
/// The label value of all subscriptions without a label. They share one time series.
const UNLABELED: &str = "unlabelled";

/// The values of the counters and gauges of a bus.
#[derive(Clone, Copy, Default)]
struct Figures {
    counters: [u64; COUNTERS.len()],
    gauges: [u64; GAUGES.len()],
}

impl Figures {
    fn of(totals: &Totals, bus: &BusFigures) -> Self {
        Figures {
            counters: [
                bus.published,
                totals.dispatched,
                totals.delivered,
                totals.lagged,
                totals.merged,
                totals.unmatched,
                totals.filter_panics,
                totals.payload_panics,
                bus.reaped,
                totals.failed,
            ],
            gauges: [
                bus.published - totals.dispatched,
                bus.subscribers as u64,
                bus.sessions as u64,
            ],
        }
    }
}

/// The metric handles of a bus.
struct BusMetrics {
    counters: [Counter; COUNTERS.len()],
    gauges: [Gauge; GAUGES.len()],
    latency: Histogram,
}

impl BusMetrics {
    fn register() -> Self {
        BusMetrics {
            counters: COUNTERS.map(|(name, description)| {
                describe_counter!(name, Unit::Count, description);
                counter!(name)
            }),
            gauges: GAUGES.map(|(name, description)| {
                describe_gauge!(name, Unit::Count, description);
                gauge!(name)
            }),
            latency: {
                let description =
                    "time from the publish call, including its wait for ingress space, to the end of the batch";
                describe_histogram!(LATENCY, Unit::Seconds, description);
                histogram!(LATENCY)
            },
        }
    }

    /// Records the differences between the figures reported last and those of now, and the latency of each event.
    fn record(&self, shown: &Figures, now: &Figures, published: &[PublishedAt]) {
        for (counter, (shown, now)) in self.counters.iter().zip(shown.counters.iter().zip(now.counters)) {
            if now > *shown {
                counter.increment(now - shown);
            }
        }
        for (gauge, (shown, now)) in self.gauges.iter().zip(shown.gauges.iter().zip(now.gauges)) {
            change(gauge, *shown, now);
        }
        if !published.is_empty() {
            let now = Instant::now();
            for published_at in published {
                self.latency.record(published_at.latency(now));
            }
        }
    }
}

/// Changes a gauge by the difference, because other buses or subscribers may change the same gauge.
fn change(gauge: &Gauge, before: u64, now: u64) {
    if now > before {
        gauge.increment((now - before) as f64);
    } else if before > now {
        gauge.decrement((before - now) as f64);
    }
}

fn describe_subscribers() {
    describe_counter!(
        SUBSCRIBER_MERGED,
        Unit::Count,
        "events merged into other delivered events"
    );
    describe_counter!(SUBSCRIBER_DELIVERED, Unit::Count, "events put into the queue");
    describe_counter!(SUBSCRIBER_LAGGED, Unit::Count, "events lost because the queue was full");
    describe_counter!(
        SUBSCRIBER_LAGGED_ESSENTIAL,
        Unit::Count,
        "essential events lost because the queue was full"
    );
    describe_gauge!(QUEUE_DEPTH, Unit::Count, "events in the queues of open subscriptions");
}

/// The metrics of a bus.
pub(super) struct BusMeter {
    /// The metrics, or `None` after the recorder has panicked.
    metrics: Option<DropGuarded<BusMetrics>>,
    /// The figures recorded last.
    shown: Figures,
    /// The publish times of the events of this batch.
    published: Vec<PublishedAt>,
    /// The queues whose recorded depth may be above zero.
    filled: DropGuarded<Vec<Filled>>,
}

/// A queue and the depth recorded last.
struct Filled {
    depth: Arc<Depth>,
    shown: u64,
}

impl BusMeter {
    pub(super) fn new() -> Self {
        let metrics = panic::run(|| {
            describe_subscribers();
            BusMetrics::register()
        });
        BusMeter {
            metrics: metrics.ok().map(DropGuarded::new),
            shown: Figures::default(),
            published: Vec::with_capacity(BATCH),
            filled: DropGuarded::new(Vec::new()),
        }
    }

    pub(super) fn dispatched(&mut self, published_at: PublishedAt) {
        self.published.push(published_at);
    }

    pub(super) fn batch_ended(&mut self, totals: &Totals, figures: impl FnOnce() -> BusFigures) {
        self.show_depths();
        let Some(metrics) = &self.metrics else {
            return self.published.clear();
        };
        let now = Figures::of(totals, &figures());
        let recorded = panic::run(|| metrics.record(&self.shown, &now, &self.published));
        self.shown = now;
        self.published.clear();
        if recorded.is_err() {
            self.metrics = None;
            panic::log_warning!("the metrics recorder panicked; the bus records no more totals");
        }
    }

    /// Records the depth of each queue that was not empty at the last call. Receivers do not report when they empty a
    /// queue, so this method checks those queues again.
    fn show_depths(&mut self) {
        let recorded = panic::run(|| {
            self.filled.retain_mut(|filled| {
                let queued = filled.depth.queued();
                change(&filled.depth.gauge, filled.shown, queued);
                filled.shown = queued;
                queued > 0
            });
        });
        if recorded.is_err() {
            self.filled = DropGuarded::new(Vec::new());
        }
    }
}

impl Drop for BusMeter {
    fn drop(&mut self) {
        if let Some(metrics) = &self.metrics {
            // Subtract this bus's share from the gauges, because no other bus does so.
            let end = Figures {
                gauges: Default::default(),
                ..self.shown
            };
            let _ = panic::run(|| metrics.record(&self.shown, &end, &[]));
        }
    }
}

/// A queue and the gauge of its depth.
struct Depth {
    queue: Arc<QueueState>,
    gauge: Gauge,
}

impl Depth {
    /// Returns the number of queued events. A queue whose subscription has ended counts as empty.
    fn queued(&self) -> u64 {
        if self.queue.is_closed() { 0 } else { self.queue.queued() }
    }
}

/// The metrics of a subscriber.
pub(super) struct SubscriberMeter {
    /// The metrics, or `None` after the recorder has panicked.
    metrics: Option<DropGuarded<SubscriberMetrics>>,
    /// The queue's count of lost essential events, as of the last record.
    lost_essential: u64,
}

/// Numbers of a subscriber's events to record.
#[derive(Clone, Copy, Default)]
struct Sum {
    queued: u64,
    lost: u64,
    lost_essential: u64,
    merged: u64,
}

/// The metric handles of a subscriber.
struct SubscriberMetrics {
    delivered: Counter,
    lagged: Counter,
    lagged_essential: Counter,
    merged: Counter,
    depth: Arc<Depth>,
}

impl SubscriberMetrics {
    fn register<E>(subscription: &Subscription<E>) -> Self {
        let label = match &subscription.label {
            Some(label) => SharedString::from(Arc::clone(label)),
            None => SharedString::const_str(UNLABELED),
        };
        SubscriberMetrics {
            delivered: counter!(SUBSCRIBER_DELIVERED, LABEL => label.clone()),
            lagged: counter!(SUBSCRIBER_LAGGED, LABEL => label.clone()),
            lagged_essential: counter!(SUBSCRIBER_LAGGED_ESSENTIAL, LABEL => label.clone()),
            merged: counter!(SUBSCRIBER_MERGED, LABEL => label.clone()),
            depth: Arc::new(Depth {
                queue: Arc::clone(&subscription.queue),
                gauge: gauge!(QUEUE_DEPTH, LABEL => label),
            }),
        }
    }

    fn record(&self, sum: Sum) {
        for (counter, events) in [
            (&self.delivered, sum.queued),
            (&self.lagged, sum.lost),
            (&self.lagged_essential, sum.lost_essential),
            (&self.merged, sum.merged),
        ] {
            if events > 0 {
                counter.increment(events);
            }
        }
    }

    /// Returns `true` if the bus tracks the queue's depth and therefore holds the other reference.
    fn is_listed(&self) -> bool {
        Arc::strong_count(&self.depth) > 1
    }
}

impl SubscriberMeter {
    pub(super) fn new<E>(subscription: &Subscription<E>) -> Self {
        let metrics = panic::run(|| SubscriberMetrics::register(subscription));
        SubscriberMeter {
            metrics: metrics.ok().map(DropGuarded::new),
            lost_essential: 0,
        }
    }

    pub(super) fn batch_delivered(&mut self, pushed: Pushed, bus: &mut BusMeter) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        let lost_essential = metrics.depth.queue.lagged_essential();
        let sum = Sum {
            queued: pushed.queued,
            lost: pushed.lost,
            lost_essential: lost_essential - self.lost_essential,
            merged: pushed.merged,
        };
        self.lost_essential = lost_essential;
        if sum.queued > 0 && !metrics.is_listed() {
            let depth = Arc::clone(&metrics.depth);
            bus.filled.push(Filled { depth, shown: 0 });
        }
        self.record(sum);
    }

    pub(super) fn unsubscribed(&mut self, lost: u64) {
        self.record(Sum { lost, ..Sum::default() });
    }

    fn record(&mut self, sum: Sum) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        if panic::run(|| metrics.record(sum)).is_err() {
            self.metrics = None;
        }
    }
}

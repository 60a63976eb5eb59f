//! Telemetry: [tracing](https://docs.rs/tracing) of subscribers and sessions, and [metrics](https://docs.rs/metrics) of
//! all counters. Each of the two needs the Cargo feature of the same name.
//!
//! 1. `meter`: the metrics.
//! 2. `trace`: the tracing events and the span around dispatch.
//! 3. `lag`: the rule for when tracing reports a lagging subscriber.
//! 4. `no_meter`, `no_trace`: the same types without fields, for builds without the features.
//!
//! The dispatcher owns one [`Telemetry`] for the bus and one [`SubscriberTelemetry`] for each subscriber, and does not
//! share them. The callers are the same with and without the features, and a build without features stores no data.
//!
//! Tracing subscribers and metrics recorders are user code. They run without a lock or guard held, and behind a panic
//! boundary. Tracing reads the clock only when a subscriber loses events.

#[cfg(feature = "tracing")]
mod lag;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(not(feature = "metrics"))]
mod no_meter;
#[cfg(not(feature = "tracing"))]
mod no_trace;
#[cfg(feature = "tracing")]
mod trace;

#[cfg(not(feature = "metrics"))]
use no_meter as meter;
#[cfg(not(feature = "tracing"))]
use no_trace as trace;

pub(crate) use trace::{Scope, session_bound, subscribed};

use crate::ingress::stamp::PublishedAt;
use crate::queue::Pushed;
use crate::stats::{BusFigures, Totals};
use crate::subscribers::list::Subscription;

/// The telemetry of the bus.
pub(crate) struct Telemetry {
    meter: meter::BusMeter,
    trace: trace::BusTrace,
}

impl Telemetry {
    /// Creates the telemetry of a bus whose dispatch thread has this name. The thread that builds the bus calls this
    /// method.
    pub(crate) fn new(thread_name: &str) -> Self {
        Telemetry {
            meter: meter::BusMeter::new(),
            trace: trace::BusTrace::new(thread_name),
        }
    }

    /// Returns the span in which a thread dispatches a batch.
    pub(crate) fn scope(&self) -> Scope {
        self.trace.scope()
    }

    /// Records that an event was dispatched.
    pub(crate) fn dispatched(&mut self, published_at: PublishedAt) {
        self.meter.dispatched(published_at);
    }

    /// Reports the changes since the last call. `figures` is called only if metrics are recorded.
    pub(crate) fn batch_ended(&mut self, totals: &Totals, figures: impl FnOnce() -> BusFigures) {
        self.meter.batch_ended(totals, figures);
    }
}

/// The telemetry of one subscriber.
pub(crate) struct SubscriberTelemetry {
    meter: meter::SubscriberMeter,
    trace: trace::SubscriberTrace,
}

impl SubscriberTelemetry {
    pub(crate) fn new<E>(subscription: &Subscription<E>) -> Self {
        SubscriberTelemetry {
            meter: meter::SubscriberMeter::new(subscription),
            trace: trace::SubscriberTrace::new(),
        }
    }

    /// Reports the result of pushing all events of a batch to the subscriber.
    pub(crate) fn batch_delivered<E>(
        &mut self,
        pushed: Pushed,
        subscription: &Subscription<E>,
        telemetry: &mut Telemetry,
    ) {
        self.meter.batch_delivered(pushed, &mut telemetry.meter);
        self.trace.batch_delivered(pushed, subscription);
    }

    /// Reports that the subscription has ended and left the list. `lost` is the number of events that still waited for
    /// queue space and are now lost.
    pub(crate) fn unsubscribed<E>(&mut self, subscription: &Subscription<E>, lost: u64) {
        self.meter.unsubscribed(lost);
        self.trace.unsubscribed(subscription, lost);
    }
}

#[cfg(all(test, not(any(feature = "tracing", feature = "metrics"))))]
mod tests {
    use std::mem::{needs_drop, size_of};

    use super::*;

    #[test]
    fn telemetry_without_features_stores_nothing_and_drops_nothing() {
        assert_eq!(
            [
                size_of::<Telemetry>(),
                size_of::<SubscriberTelemetry>(),
                size_of::<PublishedAt>()
            ],
            [0; 3]
        );
        assert!(!needs_drop::<Telemetry>() && !needs_drop::<SubscriberTelemetry>() && !needs_drop::<Scope>());
    }
}

//! Telemetry: [tracing](https://docs.rs/tracing) of subscribers and sessions, and [metrics](https://docs.rs/metrics) of
//! all counters. Each half needs the feature of its name.
//!
//! The dispatcher owns one [`Watch`] for the bus and one [`OutletWatch`] for each subscriber, and does not share them.
//! Without its feature, a half is a set of types without fields, whose methods do nothing. So the callers are the same
//! with and without the features, and a build without features stores no data.
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

pub(crate) use meter::Stamp;
pub(crate) use trace::{Scope, session_bound, subscribed};

use crate::queue::Pushed;
use crate::shared::Shared;
use crate::stats::Totals;
use crate::subscribers::Subscription;

/// The telemetry of the bus.
pub(crate) struct Watch {
    meter: meter::Bus,
    trace: trace::Bus,
}

impl Watch {
    /// Creates the telemetry of a bus whose dispatch thread has this name. The thread that builds the bus calls this
    /// method.
    pub(crate) fn new(thread_name: &str) -> Self {
        Watch {
            meter: meter::Bus::new(),
            trace: trace::Bus::new(thread_name),
        }
    }

    /// Returns the span in which a thread dispatches a batch.
    pub(crate) fn scope(&self) -> Scope {
        self.trace.scope()
    }

    /// Records that an event was dispatched.
    pub(crate) fn dispatched(&mut self, stamp: Stamp) {
        self.meter.dispatched(stamp);
    }

    /// Reports the changes since the last call.
    pub(crate) fn batch_ended<E>(&mut self, shared: &Shared<E>, totals: &Totals) {
        self.meter.batch_ended(shared, totals);
    }
}

/// The telemetry of one subscriber.
pub(crate) struct OutletWatch {
    meter: meter::Subscriber,
    trace: trace::Subscriber,
}

impl OutletWatch {
    pub(crate) fn new<E>(subscription: &Subscription<E>) -> Self {
        OutletWatch {
            meter: meter::Subscriber::new(subscription),
            trace: trace::Subscriber::new(),
        }
    }

    /// Records the outcome of a push.
    pub(crate) fn pushed(&mut self, pushed: Pushed) {
        self.meter.pushed(pushed);
        self.trace.pushed(pushed);
    }

    /// Reports the pushes of a batch after the subscriber has received all its events of that batch.
    pub(crate) fn served<E>(&mut self, subscription: &Subscription<E>, watch: &mut Watch) {
        self.meter.served(&mut watch.meter);
        self.trace.served(subscription);
    }

    /// Reports that the subscription has ended and left the list. `lost` is the number of events that still waited for
    /// queue space and are now lost.
    pub(crate) fn left<E>(&mut self, subscription: &Subscription<E>, lost: u64) {
        self.meter.left(lost);
        self.trace.left(subscription, lost);
    }
}

#[cfg(all(test, not(any(feature = "tracing", feature = "metrics"))))]
mod tests {
    use std::mem::{needs_drop, size_of};

    use super::*;

    #[test]
    fn telemetry_without_features_stores_nothing_and_drops_nothing() {
        assert_eq!(
            [size_of::<Watch>(), size_of::<OutletWatch>(), size_of::<Stamp>()],
            [0; 3]
        );
        assert!(!needs_drop::<Watch>() && !needs_drop::<OutletWatch>() && !needs_drop::<Scope>());
    }
}

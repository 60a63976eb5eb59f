//! What the bus tells the outside: [tracing](https://docs.rs/tracing) of what befalls subscribers and sessions,
//! [metrics](https://docs.rs/metrics) of everything it counts; each behind the feature of its name.
//!
//! Owned by the dispatcher, one [`Watch`] for the bus and an [`OutletWatch`] for each subscriber, and not shared. Without its
//! feature, a half is a type without fields whose calls do nothing: so the rooms that tell know of no feature, and a build
//! without both stores nothing and asks nothing.
//!
//! Subscribers of tracing and recorders of metrics are user code: they run under no lock or guard and behind a panic
//! boundary. No clock is read for tracing unless somebody lost events.

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

/// The dispatcher's view of the bus.
pub(crate) struct Watch {
    meter: meter::Bus,
    trace: trace::Bus,
}

impl Watch {
    /// For a bus whose dispatch thread has this name. Called when it is built, on the caller's thread.
    pub(crate) fn new(thread_name: &str) -> Self {
        Watch {
            meter: meter::Bus::new(),
            trace: trace::Bus::new(thread_name),
        }
    }

    /// The span that a batch is dispatched in, by whichever thread.
    pub(crate) fn scope(&self) -> Scope {
        self.trace.scope()
    }

    /// An event has been taken through matching.
    pub(crate) fn dispatched(&mut self, stamp: Stamp) {
        self.meter.dispatched(stamp);
    }

    /// Tells what has changed since the last time.
    pub(crate) fn batch_ended<E>(&mut self, shared: &Shared<E>, totals: &Totals) {
        self.meter.batch_ended(shared, totals);
    }
}

/// The dispatcher's view of a subscriber.
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

    pub(crate) fn pushed(&mut self, pushed: Pushed) {
        self.meter.pushed(pushed);
        self.trace.pushed(pushed);
    }

    /// It has all that it gets of this batch.
    pub(crate) fn served<E>(&mut self, subscription: &Subscription<E>, watch: &mut Watch) {
        self.meter.served(&mut watch.meter);
        self.trace.served(subscription);
    }

    /// Its subscription has ended and left the list, and with it so many events that waited for room.
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
    fn a_build_without_the_features_stores_nothing_and_drops_nothing() {
        assert_eq!(
            [size_of::<Watch>(), size_of::<OutletWatch>(), size_of::<Stamp>()],
            [0; 3]
        );
        assert!(!needs_drop::<Watch>() && !needs_drop::<OutletWatch>() && !needs_drop::<Scope>());
    }
}

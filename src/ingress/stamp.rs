//! The stamp that a publisher puts on a command: the cut, and the publish time of an event.
//!
//! Plain values. Without the feature `metrics`, the publish time is empty, and no clock is read.

use crate::subscribers::id::SubscriberId;

/// The values that a publisher records before it sends an event.
pub(crate) struct Stamp {
    /// The lowest id that no subscription had when the publish began. An event with this cut reaches every subscription
    /// with a lower id. A subscription with another id may only receive it if the two calls overlapped.
    pub(crate) cut: SubscriberId,
    pub(crate) published_at: PublishedAt,
}

impl Stamp {
    pub(crate) fn new(cut: SubscriberId) -> Self {
        Stamp {
            cut,
            published_at: PublishedAt::now(),
        }
    }
}

#[cfg(feature = "metrics")]
mod stamped {
    use std::time::{Duration, Instant};

    /// The time of the call that published an event.
    pub(crate) struct PublishedAt(Instant);

    impl PublishedAt {
        pub(crate) fn now() -> Self {
            PublishedAt(Instant::now())
        }

        /// Returns the time from the call to `now`.
        pub(crate) fn latency(&self, now: Instant) -> Duration {
            now.saturating_duration_since(self.0)
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod stamped {
    pub(crate) struct PublishedAt;

    impl PublishedAt {
        pub(crate) fn now() -> Self {
            PublishedAt
        }
    }
}

pub(crate) use stamped::PublishedAt;

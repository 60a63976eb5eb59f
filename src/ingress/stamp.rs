//! The publish time of an event, from which the dispatch latency is computed.
//!
//! A plain value. Without the feature `metrics` it is empty, and no clock is read.

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

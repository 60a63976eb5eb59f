//! The counts of an archive: shared counters, and the snapshot that [`Archive::stats`](super::Archive::stats) returns.

use async_nats::{ClientError, Event};

use crate::stats::Counter;

/// The counts of an archive, returned by [`Archive::stats`](crate::Archive::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArchiveStats {
    /// Events taken from the archive's queue.
    pub accepted: u64,
    /// Events that the server has acknowledged. An event that was sent twice counts once.
    pub stored: u64,
    /// Acknowledgments for events that the stream already had, because an earlier acknowledgment was lost.
    pub duplicates: u64,
    /// Number of times that an event was sent again.
    pub retried: u64,
    /// Discarded events that are larger than the server or the stream accepts.
    pub refused: u64,
    /// Discarded events that the codec failed to encode.
    pub encode_failures: u64,
    /// Essential events lost because the archive's queue was full.
    pub lagged: u64,
    /// Successful connects, including the first.
    pub connects: u64,
    /// Failed attempts to connect. See [`NatsStats::connect_failures`](crate::NatsStats::connect_failures).
    pub connect_failures: u64,
}

impl ArchiveStats {
    /// Returns the number of accepted events that are neither stored nor discarded.
    pub fn unsettled(&self) -> u64 {
        self.accepted
            .saturating_sub(self.stored + self.refused + self.encode_failures)
    }
}

/// The counters behind [`ArchiveStats`].
#[derive(Debug, Default)]
pub(super) struct ArchiveCounters {
    pub(super) accepted: Counter,
    pub(super) stored: Counter,
    pub(super) duplicates: Counter,
    pub(super) retried: Counter,
    pub(super) refused: Counter,
    pub(super) encode_failures: Counter,
    pub(super) lagged: Counter,
    pub(super) connects: Counter,
    pub(super) connect_failures: Counter,
}

impl ArchiveCounters {
    pub(super) fn read(&self) -> ArchiveStats {
        ArchiveStats {
            accepted: self.accepted.get(),
            stored: self.stored.get(),
            duplicates: self.duplicates.get(),
            retried: self.retried.get(),
            refused: self.refused.get(),
            encode_failures: self.encode_failures.get(),
            lagged: self.lagged.get(),
            connects: self.connects.get(),
            connect_failures: self.connect_failures.get(),
        }
    }

    /// Counts an event reported by the client.
    pub(super) fn count_event(&self, event: &Event) {
        match event {
            Event::Connected => self.connects.add(1),
            Event::ClientError(ClientError::Other(_)) => self.connect_failures.add(1),
            _ => {}
        }
    }
}

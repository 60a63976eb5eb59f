//! Requests to the importer: [`Command`], sent by the host's handles and by the importer's own round trips.

use std::sync::Arc;

use sharing_bus::EventFilter;
use tokio::sync::mpsc;

use crate::runtime::latch::Latch;

/// A request to the importer.
pub(crate) enum Command<E> {
    /// Imports the events that match `filter`, and opens `ready` once the server has the subscriptions.
    AddInterest {
        id: u64,
        filter: EventFilter<E>,
        ready: Arc<Latch>,
    },
    /// Removes the interest with this id.
    RemoveInterest(u64),
    /// The server has the subscriptions as of this change.
    Subscribed(u64),
    /// All messages that the server matched before this change have arrived, so the replaced subscriptions can close.
    Drained(u64),
}

/// The sending half of the importer's command channel.
pub(crate) type CommandSender<E> = mpsc::UnboundedSender<Command<E>>;

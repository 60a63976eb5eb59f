//! Helper functions that create queues and parcels for tests and models.

use crate::delivery::parcel::{Bundle, Envelope, Parcel};
use crate::event::{BusEvent, EventRouting};
use crate::overflow::Overflow;
use crate::queue::{Pushed, QueueConfig, QueueConsumer, QueueProducer, queue};
use crate::sync::counted::Counted;

/// Creates a queue that does not conflate.
pub(crate) fn plain(capacity: usize, overflow: Overflow) -> (QueueProducer<()>, QueueConsumer<()>) {
    queue(QueueConfig::new(capacity, overflow), || {
        unreachable!("the queue does not conflate")
    })
}

fn envelope(sequence: u64) -> Envelope<()> {
    Envelope::new(sequence, BusEvent::new(EventRouting::default(), ()))
}

pub(crate) fn single(sequence: u64) -> Parcel<()> {
    Parcel::Event(Counted::new(envelope(sequence)))
}

pub(crate) fn bundle(sequences: impl Iterator<Item = u64>) -> Parcel<()> {
    let events = sequences.map(envelope);
    Parcel::whole(Counted::new(Bundle::Owned(events.collect())))
}

/// Pushes one parcel, and returns the result.
pub(crate) fn push(producer: &mut QueueProducer<()>, parcel: Parcel<()>) -> Pushed {
    let mut pushed = Pushed::default();
    producer.push(parcel, &mut pushed);
    pushed
}

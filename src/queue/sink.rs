//! Delivery into a channel of the host, in place of a queue.
//!
//! The dispatch thread owns the sink, and calls it under no lock and behind the panic boundary.

use crate::delivery::Delivery;
use crate::delivery::parcel::Parcel;
use crate::end_reason::EndReason;
use crate::queue::account::{Account, Outcome, Pushed};
use crate::sink::{Sink, SinkError};
use crate::sync::atomic::Ordering;
use crate::sync::panic::{self, DropGuarded, Panicked};

/// A sink of the host. Any thread may drop the last owner of a sink, so the sink has its own panic boundary.
pub(crate) type GuardedSink<E> = DropGuarded<Box<dyn Sink<E>>>;

/// A sink, and the last event that it accepted.
pub(super) struct SinkTail<E> {
    sink: GuardedSink<E>,
    /// The number of that event among all matching events.
    position: u64,
}

impl<E> SinkTail<E> {
    pub(super) fn new(sink: GuardedSink<E>) -> Self {
        SinkTail { sink, position: 0 }
    }

    /// Sends each event to the sink. An event is lost if the sink is full or panics. If the sink is closed, the event
    /// counts as published after the end of the subscription.
    ///
    /// Once the sink has lost an event, each further event is sent without its bundle. So the deliveries in a channel
    /// that is often full do not keep the lost events alive.
    pub(super) fn push(&mut self, account: &mut Account, parcel: Parcel<E>, pushed: &mut Pushed)
    where
        E: 'static,
    {
        account.push_each(parcel, pushed, |account, mut parcel| {
            if account.lagged > 0 {
                parcel.detach();
            }
            let position = account.next_position();
            let missed = position - self.position - 1;
            let delivery = Delivery { parcel, missed };
            match panic::run(|| self.sink.try_send(delivery)) {
                Ok(Ok(())) => {
                    self.position = position;
                    Outcome::queued()
                }
                Ok(Err(SinkError::Closed(_))) => Outcome::default().and_ends(EndReason::Closed),
                Ok(Err(SinkError::Full(_))) if !account.state.disconnects => Outcome::lost(1),
                Ok(Err(SinkError::Full(_))) => Outcome::lost(1).and_ends(EndReason::Overflowed),
                Err(Panicked) => Outcome::lost(1).and_ends(EndReason::Failed),
            }
        });
        // Ordering: Relaxed, a statistic: events that the sink has accepted are not queued here.
        let received = &account.state.receiver.received;
        received.store(account.delivered, Ordering::Relaxed);
    }
}

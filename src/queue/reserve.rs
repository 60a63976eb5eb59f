//! The overflow rule of a queue that reserves its last places for essential events.
//!
//! Private to the dispatch thread. The filter of essential events runs only while the queue is short of space.

use crate::delivery::parcel::Parcel;
use crate::end_reason::EndReason;
use crate::filter::EventFilter;
use crate::queue::account::{Account, Outcome, Pushed};
use crate::queue::state::Entry;
use crate::sync::atomic::Ordering;
use crate::sync::panic::{self, Streak};
use crate::sync::ring;

/// The filter of essential events, and the number of places reserved for them.
pub(crate) struct Essential<E> {
    pub(crate) filter: EventFilter<E>,
    /// Number of places that only essential events may use.
    pub(crate) reserve: usize,
}

/// A ring with a reserve.
pub(super) struct ReservingTail<E> {
    ring: ring::Producer<Entry<E>>,
    essential: Essential<E>,
    /// The consecutive panics of the filter of essential events.
    panics: Streak,
    lagged_essential: u64,
}

impl<E> ReservingTail<E> {
    pub(super) fn new(ring: ring::Producer<Entry<E>>, essential: Essential<E>) -> Self {
        ReservingTail {
            ring,
            essential,
            panics: Streak::default(),
            lagged_essential: 0,
        }
    }

    /// Pushes a parcel whole if it leaves the reserve free, and otherwise event by event. With
    /// [`Overflow::Disconnect`](crate::Overflow::Disconnect), only the loss of an essential event ends the
    /// subscription.
    #[inline(never)]
    pub(super) fn push(&mut self, account: &mut Account, parcel: Parcel<E>, pushed: &mut Pushed) {
        let wanted = parcel.len() + self.essential.reserve as u64;
        if account.space(wanted) == wanted {
            return account.push_newest(&mut self.ring, parcel, pushed);
        }
        let mut panics = 0;
        account.push_each(parcel, pushed, |account, parcel| {
            let result = panic::run(|| self.essential.filter.matches(parcel.first().event()));
            panics += u64::from(result.is_err());
            let failed = self.panics.record(&result);
            let outcome = self.push_one(account, parcel, result.unwrap_or(false), failed);
            if failed {
                outcome.and_ends(EndReason::Failed)
            } else {
                outcome
            }
        });
        pushed.panics += panics;
        // Ordering: Relaxed, see the counters of `QueueState`.
        account
            .state
            .lagged_essential
            .store(self.lagged_essential, Ordering::Relaxed);
    }

    /// Queues one event if the reserve permits it. `ends` means that the event is the subscription's last loss.
    fn push_one(&mut self, account: &mut Account, mut parcel: Parcel<E>, is_essential: bool, ends: bool) -> Outcome {
        let reserve = if is_essential { 0 } else { self.essential.reserve as u64 };
        // The filter of essential events may have ended the subscription.
        let open = !ends && !account.state.is_closed();
        if open && account.space(reserve + 1) > reserve {
            let position = account.next_position();
            // Other events of the bundle may be lost.
            parcel.detach();
            let refused = self.ring.push(Entry { parcel, position });
            debug_assert!(refused.is_ok());
            return Outcome::queued();
        }
        self.lagged_essential += u64::from(is_essential);
        if is_essential && account.state.disconnects {
            Outcome::lost(1).and_ends(EndReason::Overflowed)
        } else {
            Outcome::lost(1)
        }
    }
}

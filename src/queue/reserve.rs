//! The overflow rule of a queue that reserves its last places for essential events.
//!
//! Private to the dispatch thread. The filter of essential events runs only while the queue is short of space.

use crate::delivery::parcel::Parcel;
use crate::event::BusEvent;
use crate::filter::EventFilter;
use crate::queue::account::{Account, Outcome, Pushed};
use crate::queue::state::Entry;
use crate::sync::atomic::Ordering;
use crate::sync::{panic, ring};

/// The filter of essential events, and the number of places reserved for them.
pub(crate) struct Essential<E> {
    pub(crate) filter: EventFilter<E>,
    /// Number of places that only essential events may use.
    pub(crate) reserve: usize,
}

impl<E> Essential<E> {
    /// Evaluates the filter. A panic of the filter is counted, and the event is then not essential.
    fn is_essential(&self, event: &BusEvent<E>, panics: &mut u64) -> bool {
        panic::run(|| self.filter.matches(event)).unwrap_or_else(|_| {
            *panics += 1;
            false
        })
    }
}

/// A ring with a reserve.
pub(super) struct ReservingTail<E> {
    ring: ring::Producer<Entry<E>>,
    essential: Essential<E>,
    lagged_essential: u64,
}

impl<E> ReservingTail<E> {
    pub(super) fn new(ring: ring::Producer<Entry<E>>, essential: Essential<E>) -> Self {
        ReservingTail {
            ring,
            essential,
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
            let is_essential = self.essential.is_essential(parcel.first().event(), &mut panics);
            self.push_one(account, parcel, is_essential)
        });
        pushed.panics += panics;
        // Ordering: Relaxed, see the counters of `QueueState`.
        account
            .state
            .lagged_essential
            .store(self.lagged_essential, Ordering::Relaxed);
    }

    fn push_one(&mut self, account: &mut Account, parcel: Parcel<E>, is_essential: bool) -> Outcome {
        let reserve = if is_essential { 0 } else { self.essential.reserve as u64 };
        if account.space(reserve + 1) > reserve {
            let position = account.next_position();
            let refused = self.ring.push(Entry { parcel, position });
            debug_assert!(refused.is_ok());
            return Outcome::Queued;
        }
        self.lagged_essential += u64::from(is_essential);
        if is_essential && account.state.disconnects {
            Outcome::LostAndEnds
        } else {
            Outcome::Lost
        }
    }
}

//! Essential events: those that may use the last places of a queue.
//!
//! Private to the dispatch thread. The filter is asked only while the queue is short of room.

use crate::boundary;
use crate::event::BusEvent;
use crate::filter::EventFilter;
use crate::parcel::Parcel;
use crate::queue::Entry;
use crate::queue::producer::{Account, Pushed};
use crate::sync::atomic::Ordering;
use crate::sync::ring;

pub(crate) struct Essential<E> {
    pub(crate) filter: EventFilter<E>,
    /// Places that only essential events may take.
    pub(crate) reserve: usize,
}

impl<E> Essential<E> {
    /// Whether an event is essential. A panic of the filter is no, and is counted.
    pub(super) fn is_essential(&self, event: &BusEvent<E>, panics: &mut u64) -> bool {
        boundary::run(|| self.filter.matches(event)).unwrap_or_else(|_| {
            *panics += 1;
            false
        })
    }
}

impl Account {
    /// Event by event: the last places are for the essential ones, and only they end the subscription if they are lost.
    #[inline(never)]
    pub(super) fn push_by_class<E>(
        &mut self,
        ring: &mut ring::Producer<Entry<E>>,
        essential: &Essential<E>,
        parcel: Parcel<E>,
    ) -> Pushed {
        let mut pushed = Pushed::default();
        for parcel in parcel.apart() {
            let is_essential = essential.is_essential(parcel.first().event(), &mut pushed.panics);
            let reserve = if is_essential { 0 } else { essential.reserve as u64 };
            let position = self.next_position();
            if self.room(reserve + 1) > reserve {
                self.delivered += 1;
                pushed.queued += 1;
                let refused = ring.push(Entry { parcel, position });
                debug_assert!(refused.is_ok());
            } else {
                self.lagged += 1;
                self.lagged_essential += u64::from(is_essential);
                pushed.lost += 1;
                pushed.ends = is_essential && self.disconnects();
            }
            if pushed.ends {
                break;
            }
        }
        // Ordering: Relaxed, see `QueueState`'s counters.
        self.state
            .lagged_essential
            .store(self.lagged_essential, Ordering::Relaxed);
        pushed
    }
}

//! Essential events: those that may use the last places of a queue.
//!
//! Private to the dispatch thread. The filter is asked only while the queue is short of room.

use crate::delivery::parcel::Parcel;
use crate::event::BusEvent;
use crate::filter::EventFilter;
use crate::queue::Entry;
use crate::queue::producer::{Account, Pushed};
use crate::sync::atomic::Ordering;
use crate::sync::panic;
use crate::sync::ring;

pub(crate) struct Essential<E> {
    pub(crate) filter: EventFilter<E>,
    /// Places that only essential events may take.
    pub(crate) reserve: usize,
}

impl<E> Essential<E> {
    /// Whether an event is essential. A panic of the filter is no, and is counted.
    pub(super) fn is_essential(&self, event: &BusEvent<E>, panics: &mut u64) -> bool {
        panic::run(|| self.filter.matches(event)).unwrap_or_else(|_| {
            *panics += 1;
            false
        })
    }
}

/// A queue with a reserve.
pub(super) struct Reserving<E> {
    ring: ring::Producer<Entry<E>>,
    essential: Essential<E>,
    lagged_essential: u64,
}

impl<E> Reserving<E> {
    pub(super) fn new(ring: ring::Producer<Entry<E>>, essential: Essential<E>) -> Self {
        Reserving {
            ring,
            essential,
            lagged_essential: 0,
        }
    }
}

impl Account {
    /// Where room is short, event by event: the last places are for the essential ones, and only they end the
    /// subscription if they are lost.
    #[inline(never)]
    pub(super) fn push_by_class<E>(&mut self, tail: &mut Reserving<E>, parcel: Parcel<E>) -> Pushed {
        let reserve = tail.essential.reserve as u64;
        let wanted = parcel.len() + reserve;
        if self.room(wanted) == wanted {
            return self.push_newest(&mut tail.ring, parcel);
        }
        let mut pushed = Pushed::default();
        for parcel in parcel.apart() {
            let is_essential = tail.essential.is_essential(parcel.first().event(), &mut pushed.panics);
            let reserve = if is_essential { 0 } else { reserve };
            let position = self.next_position();
            if self.room(reserve + 1) > reserve {
                self.delivered += 1;
                pushed.queued += 1;
                let refused = tail.ring.push(Entry { parcel, position });
                debug_assert!(refused.is_ok());
            } else {
                self.lagged += 1;
                tail.lagged_essential += u64::from(is_essential);
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
            .store(tail.lagged_essential, Ordering::Relaxed);
        pushed
    }
}

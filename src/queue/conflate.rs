//! A queue that conflates: what finds no room waits, and is queued once the receiver has made some.
//!
//! The dispatch thread's side of it. It asks the receiver to tell of room by a flag that both swap, and looks once more
//! after it has asked.

use crate::delivery::parcel::Parcel;
use crate::queue::Entry;
use crate::queue::pending::Conflation;
use crate::queue::producer::{Account, Pushed};
use crate::sync::atomic::Ordering;
use crate::sync::ring;

pub(super) struct Conflating<E> {
    ring: ring::Producer<Entry<E>>,
    pending: Conflation<E>,
    /// Delivered as a part of others.
    merged: u64,
    /// The number of the last event that was queued, among those that were queued or lost.
    position: u64,
}

impl<E> Conflating<E> {
    pub(super) fn new(ring: ring::Producer<Entry<E>>, pending: Conflation<E>) -> Self {
        Conflating {
            ring,
            pending,
            merged: 0,
            position: 0,
        }
    }

    /// Queues a parcel, `lost` events after the last one.
    fn queue(&mut self, parcel: Parcel<E>, lost: u64) {
        let position = self.position + lost + 1;
        self.position += lost + parcel.len();
        let refused = self.ring.push(Entry { parcel, position });
        debug_assert!(
            refused.is_ok(),
            "there is a place for all that is queued and all that waits"
        );
    }
}

impl Account {
    /// What finds no room, or something that waits already, waits.
    #[inline(never)]
    pub(super) fn push_or_wait<E>(&mut self, tail: &mut Conflating<E>, parcel: Parcel<E>) -> Pushed {
        let mut pushed = Pushed::default();
        self.fill_room(tail, &mut pushed);
        let rest = self.queue_what_fits(tail, parcel, &mut pushed);
        for parcel in rest.into_iter().flat_map(Parcel::apart) {
            let added = tail.pending.add(parcel);
            self.lagged += added.lost;
            pushed.lost += added.lost;
            pushed.panics += added.panics;
        }
        self.wait_for_room(tail, &mut pushed);
        pushed
    }

    /// Queues what waits, as far as there is room, and has the receiver tell when there is more.
    pub(super) fn hand_over<E>(&mut self, tail: &mut Conflating<E>) -> Pushed {
        let mut pushed = Pushed::default();
        self.fill_room(tail, &mut pushed);
        self.wait_for_room(tail, &mut pushed);
        pushed
    }

    /// Queues all that waits, room or not.
    pub(super) fn hand_over_rest<E>(&mut self, tail: &mut Conflating<E>) -> Pushed {
        let mut pushed = Pushed::default();
        while !tail.pending.is_empty() {
            self.queue_pending(tail, &mut pushed);
        }
        self.commit_pending(tail);
        pushed
    }

    /// Loses all that waits, and returns how much it was.
    pub(super) fn lose_pending<E>(&mut self, tail: &mut Conflating<E>) -> u64 {
        let lost = tail.pending.clear();
        self.lagged += lost;
        self.commit_pending(tail);
        lost
    }

    /// Queues what a parcel has room for, if nothing waits before it, and returns the rest.
    fn queue_what_fits<E>(
        &mut self,
        tail: &mut Conflating<E>,
        mut parcel: Parcel<E>,
        pushed: &mut Pushed,
    ) -> Option<Parcel<E>> {
        if !tail.pending.is_empty() {
            return Some(parcel);
        }
        let len = parcel.len();
        let room = self.room(len);
        let (fits, rest) = match parcel.split(room) {
            Some(fits) => (fits, Some(parcel)),
            None if room == len => (parcel, None),
            None => return Some(parcel),
        };
        self.delivered += fits.len();
        pushed.queued += fits.len();
        let lost = tail.pending.take_lost();
        tail.queue(fits, lost);
        rest
    }

    fn wait_for_room<E>(&mut self, tail: &mut Conflating<E>, pushed: &mut Pushed) {
        if !tail.pending.is_empty() {
            self.state.ask_for_room();
            // Room that was made before the receiver could see that is told by nobody.
            self.fill_room(tail, pushed);
        }
        pushed.waits = !tail.pending.is_empty();
        self.commit_pending(tail);
    }

    fn fill_room<E>(&mut self, tail: &mut Conflating<E>, pushed: &mut Pushed) {
        while !tail.pending.is_empty() && self.room(1) > 0 {
            self.queue_pending(tail, pushed);
        }
    }

    fn queue_pending<E>(&mut self, tail: &mut Conflating<E>, pushed: &mut Pushed) {
        if let Some(oldest) = tail.pending.pop() {
            self.delivered += 1;
            tail.merged += oldest.merged;
            pushed.queued += 1;
            pushed.merged += oldest.merged;
            tail.queue(oldest.parcel, oldest.lost_before);
        }
    }

    fn commit_pending<E>(&self, tail: &Conflating<E>) {
        // Ordering: Relaxed for both, see `QueueState`'s counters.
        self.state.merged.store(tail.merged, Ordering::Relaxed);
        self.state.pending.store(tail.pending.waiting(), Ordering::Relaxed);
    }
}

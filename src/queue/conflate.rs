//! The overflow rule of a conflating queue: events without space wait, and are queued once the receiver has made space.
//!
//! Private to the dispatch thread. While events wait, the dispatch thread requests a notification from the receiver.
//! The request is a flag that both threads swap. After the request, the dispatch thread checks for space once more.

use crate::delivery::parcel::Parcel;
use crate::queue::account::{Account, Outcome, Pushed};
use crate::queue::pending::PendingEvents;
use crate::queue::state::Entry;
use crate::sync::atomic::Ordering;
use crate::sync::ring;

/// A ring, and the events that wait for space in it.
pub(super) struct ConflatingTail<E> {
    ring: ring::Producer<Entry<E>>,
    pending: PendingEvents<E>,
    /// Number of events that were merged into delivered ones.
    merged: u64,
    /// The number of the last queued event, among the queued and lost ones.
    position: u64,
}

impl<E> ConflatingTail<E> {
    pub(super) fn new(ring: ring::Producer<Entry<E>>, pending: PendingEvents<E>) -> Self {
        ConflatingTail {
            ring,
            pending,
            merged: 0,
            position: 0,
        }
    }

    /// Queues the events for which there is space. The others wait. No event overtakes a waiting event.
    #[inline(never)]
    pub(super) fn push(&mut self, account: &mut Account, parcel: Parcel<E>, pushed: &mut Pushed) {
        self.fill_space(account, pushed);
        if let Some(rest) = self.queue_fitting(account, parcel, pushed) {
            let mut panics = 0;
            account.push_each(rest, pushed, |_, parcel| {
                let added = self.pending.add(parcel);
                panics += added.panics;
                Outcome::Waits { lost: added.lost }
            });
            pushed.panics += panics;
        }
        self.wait_for_space(account, pushed);
    }

    /// Queues waiting events as far as there is space, and requests a notification if some still wait.
    pub(super) fn push_pending(&mut self, account: &mut Account) -> Pushed {
        let mut pushed = Pushed::default();
        self.fill_space(account, &mut pushed);
        self.wait_for_space(account, &mut pushed);
        pushed
    }

    /// Queues all waiting events, beyond the capacity if necessary.
    pub(super) fn push_all_pending(&mut self, account: &mut Account) -> Pushed {
        let mut pushed = Pushed::default();
        while !self.pending.is_empty() {
            self.queue_oldest(account, &mut pushed);
        }
        self.commit(account);
        pushed
    }

    /// Loses all waiting events, and returns their number.
    pub(super) fn lose_pending(&mut self, account: &mut Account) -> u64 {
        let lost = self.pending.clear();
        account.lagged += lost;
        self.commit(account);
        lost
    }

    /// Queues the part of a parcel for which there is space, unless other events wait already. Returns the rest.
    fn queue_fitting(
        &mut self,
        account: &mut Account,
        mut parcel: Parcel<E>,
        pushed: &mut Pushed,
    ) -> Option<Parcel<E>> {
        if !self.pending.is_empty() {
            return Some(parcel);
        }
        let len = parcel.len();
        let space = account.space(len);
        let (fitting, rest) = match parcel.split(space) {
            Some(fitting) => (fitting, Some(parcel)),
            None if space == len => (parcel, None),
            None => return Some(parcel),
        };
        account.delivered += fitting.len();
        pushed.queued += fitting.len();
        let lost = self.pending.take_lost();
        self.queue(fitting, lost);
        rest
    }

    fn wait_for_space(&mut self, account: &mut Account, pushed: &mut Pushed) {
        if !self.pending.is_empty() {
            account.state.request_space();
            // The receiver does not notify of space that it made before it could see the request.
            self.fill_space(account, pushed);
        }
        pushed.waits = !self.pending.is_empty();
        self.commit(account);
    }

    fn fill_space(&mut self, account: &mut Account, pushed: &mut Pushed) {
        while !self.pending.is_empty() && account.space(1) > 0 {
            self.queue_oldest(account, pushed);
        }
    }

    fn queue_oldest(&mut self, account: &mut Account, pushed: &mut Pushed) {
        if let Some(oldest) = self.pending.pop() {
            account.delivered += 1;
            self.merged += oldest.merged;
            pushed.queued += 1;
            pushed.merged += oldest.merged;
            self.queue(oldest.parcel, oldest.lost_before);
        }
    }

    /// Queues a parcel, `lost` events after the last queued one.
    fn queue(&mut self, parcel: Parcel<E>, lost: u64) {
        let position = self.position + lost + 1;
        self.position += lost + parcel.len();
        let refused = self.ring.push(Entry { parcel, position });
        debug_assert!(
            refused.is_ok(),
            "the ring has a place for each queued and each waiting event"
        );
    }

    fn commit(&self, account: &Account) {
        // Ordering: Relaxed for both, see the counters of `QueueState`.
        account.state.merged.store(self.merged, Ordering::Relaxed);
        account.state.pending.store(self.pending.waiting(), Ordering::Relaxed);
    }
}

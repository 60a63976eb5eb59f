//! The overflow rule of a conflating queue: events without space wait, and are queued once the receiver has made space.
//!
//! Private to the dispatch thread. Waiting events do not keep the other events of their bundles alive. While events
//! wait, the dispatch thread requests a notification from the receiver. The request is a flag that both threads swap.
//! After the request, the dispatch thread checks for space once more.

use crate::delivery::parcel::Parcel;
use crate::end_reason::EndReason;
use crate::queue::account::{Account, Outcome, Pushed};
use crate::queue::pending::PendingEvents;
use crate::queue::state::Entry;
use crate::sync::atomic::Ordering;
use crate::sync::{SLICE, ring};

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
            self.add_pending(account, rest, pushed);
        }
        self.wait_for_space(account, pushed);
    }

    /// Queues waiting events as far as there is space, and requests a notification if some still wait.
    pub(super) fn push_pending(&mut self, account: &mut Account, pushed: &mut Pushed) {
        self.fill_space(account, pushed);
        self.wait_for_space(account, pushed);
    }

    /// Queues all waiting events, beyond the capacity if necessary.
    pub(super) fn push_all_pending(&mut self, account: &mut Account, pushed: &mut Pushed) {
        while self.has_pending(account) {
            self.queue_oldest(account, pushed);
        }
        self.commit(account);
    }

    /// Loses all waiting events, and returns their number.
    pub(super) fn lose_pending(&mut self, account: &mut Account) -> u64 {
        let lost = self.pending.clear();
        account.lagged += lost;
        self.commit(account);
        lost
    }

    /// Returns `true` if events wait and may still be queued. After the end of the subscription, they are lost.
    fn has_pending(&self, account: &Account) -> bool {
        !self.pending.is_empty() && !account.state.is_closed()
    }

    /// Adds the events of a parcel to the waiting events, until the subscription ends.
    fn add_pending(&mut self, account: &mut Account, parcel: Parcel<E>, pushed: &mut Pushed) {
        let first = parcel.first().sequence;
        let mut panics = 0;
        account.push_each(parcel, pushed, |_, parcel| {
            let added = self.pending.add(parcel);
            panics += u64::from(added.panicked);
            let outcome = Outcome::lost(added.lost);
            if added.failed {
                outcome.and_ends(EndReason::Failed)
            } else {
                outcome
            }
        });
        self.pending.detach_from(first);
        pushed.panics += panics;
    }

    /// Queues the part of a parcel for which there is space, unless other events wait already. Returns the rest.
    fn queue_fitting(
        &mut self,
        account: &mut Account,
        mut parcel: Parcel<E>,
        pushed: &mut Pushed,
    ) -> Option<Parcel<E>> {
        if !self.pending.is_empty() || account.state.is_closed() {
            return Some(parcel);
        }
        let len = parcel.len();
        let (fitting, rest) = match account.space(len) {
            0 => return Some(parcel),
            space if space == len => (parcel, None),
            space => {
                let fitting = parcel.repacked(space);
                parcel.skip(space);
                (fitting, Some(parcel))
            }
        };
        account.delivered += fitting.len();
        pushed.queued += fitting.len();
        let lost = self.pending.take_lost();
        self.queue(fitting, lost);
        rest
    }

    fn wait_for_space(&mut self, account: &mut Account, pushed: &mut Pushed) {
        if self.has_pending(account) {
            account.state.request_space();
            // The receiver does not notify of space that it made before it could see the request.
            self.fill_space(account, pushed);
        }
        pushed.waits = self.has_pending(account);
        self.commit(account);
    }

    /// Queues waiting events as far as there is space, but at most one slice, because the subscriber chooses the capacity.
    /// The receiver notifies the dispatch thread when it takes one of these events, and the next slice follows.
    fn fill_space(&mut self, account: &mut Account, pushed: &mut Pushed) {
        for _ in 0..SLICE {
            if !self.has_pending(account) || account.space(1) == 0 {
                return;
            }
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

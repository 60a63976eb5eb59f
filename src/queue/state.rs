//! The state that both ends of a queue and the bus share, and the type of the entries.
//!
//! All fields are atomics. The dispatch thread writes the counters, the receiver writes its own cache line, and either
//! may close.

use crate::delivery::parcel::Parcel;
use crate::end_reason::EndReason;
use crate::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use crate::sync::waker::WakerCell;

/// The value of [`QueueState::end`] while the subscription has not ended.
const OPEN: u8 = 0;

const REASONS: [EndReason; 4] = [
    EndReason::Closed,
    EndReason::Unsubscribed,
    EndReason::Overflowed,
    EndReason::Failed,
];

/// Returns the value of [`QueueState::end`] for a reason. It differs from [`OPEN`].
fn code(reason: EndReason) -> u8 {
    reason as u8 + 1
}

/// The content of one place in a queue.
pub(super) struct Entry<E> {
    pub(super) parcel: Parcel<E>,
    /// The number of the first event among all events that matched the subscriber, from 1.
    pub(super) position: u64,
}

/// The fields that the receiver writes. They have a cache line of their own, because the dispatch thread reads the
/// other fields at every push.
#[repr(align(64))]
pub(super) struct ReceiverSide {
    pub(super) waker: WakerCell,
    /// Number of events that the receiver has taken. Only the receiver writes it.
    pub(super) received: AtomicU64,
    /// Set while events wait for space. The receiver then notifies the dispatch thread when it next makes space.
    space_wanted: AtomicBool,
}

/// The state that both ends of a queue and the bus share.
pub(crate) struct QueueState {
    pub(super) capacity: usize,
    /// The loss of an event ends the subscription.
    pub(super) disconnects: bool,
    /// [`OPEN`], or the code of the reason for which the subscription ended.
    end: AtomicU8,
    // The dispatch thread updates the counters below after each push. No other thread writes them.
    /// Number of matching events that were queued and not displaced.
    pub(super) delivered: AtomicU64,
    /// Number of matching events that were lost.
    pub(super) lagged: AtomicU64,
    /// Number of essential events among the lost ones.
    pub(super) lagged_essential: AtomicU64,
    /// Number of events that were merged into delivered ones.
    pub(super) merged: AtomicU64,
    /// Number of events that wait for space, including those merged into others.
    pub(super) pending: AtomicU64,
    pub(super) receiver: ReceiverSide,
}

impl QueueState {
    pub(super) fn new(capacity: usize, disconnects: bool) -> Self {
        QueueState {
            capacity,
            disconnects,
            end: AtomicU8::new(OPEN),
            delivered: AtomicU64::new(0),
            lagged: AtomicU64::new(0),
            lagged_essential: AtomicU64::new(0),
            merged: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            receiver: ReceiverSide {
                waker: WakerCell::new(),
                received: AtomicU64::new(0),
                space_wanted: AtomicBool::new(false),
            },
        }
    }

    /// Ends the subscription: no further event is queued, and queued events stay readable. Returns `true` if this call
    /// ended it. If so, the caller must [`wake`](Self::wake) the receiver. The reason of the first call stays.
    pub(crate) fn close(&self, reason: EndReason) -> bool {
        // Ordering: AcqRel. Release pairs with the Acquire in `is_closed`: a receiver that sees the end set by the
        // dispatch thread sees every push before it. Acquire, also if this call comes later, orders it after the close
        // that came first.
        let ended = self
            .end
            .compare_exchange(OPEN, code(reason), Ordering::AcqRel, Ordering::Acquire);
        ended.is_ok()
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Acquire, pairs with `close`.
        self.end.load(Ordering::Acquire) != OPEN
    }

    /// Returns the reason for which the subscription ended, or `None` while it is open.
    pub(crate) fn end_reason(&self) -> Option<EndReason> {
        // Ordering: Acquire, as in `is_closed`.
        let end = self.end.load(Ordering::Acquire);
        REASONS.into_iter().find(|reason| code(*reason) == end)
    }

    /// Wakes the receiver if it waits.
    pub(crate) fn wake(&self) {
        self.receiver.waker.wake();
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    // Ordering of the counters: Relaxed unless stated otherwise. Each has one writer and is a statistic on its own. A
    // caller that has seen a flush or an event has synchronized with the writer through that.

    pub(crate) fn delivered(&self) -> u64 {
        // Ordering: Acquire, pairs with the Release in `Account::commit`: that many events can be received.
        self.delivered.load(Ordering::Acquire)
    }

    pub(crate) fn lagged(&self) -> u64 {
        self.lagged.load(Ordering::Relaxed)
    }

    pub(crate) fn lagged_essential(&self) -> u64 {
        self.lagged_essential.load(Ordering::Relaxed)
    }

    pub(crate) fn merged(&self) -> u64 {
        self.merged.load(Ordering::Relaxed)
    }

    pub(crate) fn pending(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(crate) fn queued(&self) -> u64 {
        let received = self.receiver.received.load(Ordering::Relaxed);
        // The receiver may be ahead of the counters of the current batch.
        self.delivered().saturating_sub(received)
    }

    /// Requests a notification when the receiver next makes space. The dispatch thread checks for space once more after
    /// this call.
    pub(super) fn request_space(&self) {
        // Ordering: AcqRel, pairs with `take_space_request`. One of the two swaps comes first. If it is this one, the
        // receiver finds the request and notifies. If it is the receiver's, the check that follows sees the space.
        self.receiver.space_wanted.swap(true, Ordering::AcqRel);
    }

    /// Takes the request of the dispatch thread, if there is one. The receiver calls this method after it has made
    /// space.
    pub(super) fn take_space_request(&self) -> bool {
        // Ordering: AcqRel, pairs with `request_space`. A read-modify-write even if there is no request.
        self.receiver.space_wanted.swap(false, Ordering::AcqRel)
    }
}

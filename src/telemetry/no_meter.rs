//! Replaces `meter.rs` without the feature `metrics`. It stores nothing and does nothing.

use crate::ingress::stamp::PublishedAt;
use crate::queue::Pushed;
use crate::stats::{BusFigures, Totals};
use crate::subscribers::list::Subscription;

pub(super) struct BusMeter;

impl BusMeter {
    pub(super) fn new() -> Self {
        BusMeter
    }

    pub(super) fn dispatched(&mut self, _: PublishedAt) {}

    pub(super) fn batch_ended(&mut self, _: &Totals, _: impl FnOnce() -> BusFigures) {}
}

pub(super) struct SubscriberMeter;

impl SubscriberMeter {
    pub(super) fn new<E>(_: &Subscription<E>) -> Self {
        SubscriberMeter
    }

    pub(super) fn batch_delivered(&mut self, _: Pushed, _: &mut BusMeter) {}

    pub(super) fn unsubscribed(&mut self, _: u64) {}
}

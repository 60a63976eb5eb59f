//! The replacement for `meter.rs` without the feature `metrics`. It stores nothing, and its methods do nothing.

use crate::queue::Pushed;
use crate::shared::Shared;
use crate::stats::Totals;
use crate::subscribers::Subscription;

pub(crate) struct Stamp;

impl Stamp {
    pub(crate) fn now() -> Self {
        Stamp
    }
}

pub(super) struct Bus;

impl Bus {
    pub(super) fn new() -> Self {
        Bus
    }

    pub(super) fn dispatched(&mut self, _: Stamp) {}

    pub(super) fn batch_ended<E>(&mut self, _: &Shared<E>, _: &Totals) {}
}

pub(super) struct Subscriber;

impl Subscriber {
    pub(super) fn new<E>(_: &Subscription<E>) -> Self {
        Subscriber
    }

    pub(super) fn pushed(&mut self, _: Pushed) {}

    pub(super) fn served(&mut self, _: &mut Bus) {}

    pub(super) fn left(&mut self, _: u64) {}
}

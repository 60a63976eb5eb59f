//! Subscriber ids: [`SubscriberId`].
//!
//! A plain value; nothing here is shared.

use std::fmt;

/// The id of a subscription. It is unique for the life of its bus, because ids are not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct SubscriberId(pub(super) u64);

impl SubscriberId {
    /// An id that no subscription reaches.
    pub(crate) const END: Self = SubscriberId(u64::MAX);

    pub(crate) fn new(number: u64) -> Self {
        SubscriberId(number)
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

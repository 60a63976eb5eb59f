//! The reason for which a subscription ended: [`EndReason`].
//!
//! A plain value; nothing here is shared. The queue's state stores it (see `queue/state.rs`).

/// The reason for which a subscription ended; returned by [`BusReceiver::end_reason`](crate::BusReceiver::end_reason)
/// and [`Forward::end_reason`](crate::Forward::end_reason).
///
/// If several causes end a subscription at the same time, the first one is the reason. The reason never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The bus or the receiving side ended the subscription in an orderly way: the bus has ended, the receiver was
    /// [closed](crate::BusReceiver::close) or dropped, or the channel of a [`Forward`](crate::Forward) has no
    /// receiver.
    Closed,
    /// The subscription was ended by its id ([`unsubscribe`](crate::SharingBus::unsubscribe)), or by
    /// [`Forward::close`](crate::Forward::close).
    Unsubscribed,
    /// An event was lost, and the subscription has the rule [`Overflow::Disconnect`](crate::Overflow::Disconnect).
    Overflowed,
    /// The subscription's own functions panicked: eight times in a row in its filter, in its filter of
    /// [essential](crate::SubscriptionBuilder::essential) events or in its
    /// [merge function](crate::SubscriptionBuilder::conflate_with), or once in its [`Sink`](crate::Sink).
    ///
    /// See [`EventFilter::custom`](crate::EventFilter::custom) for the exact rule.
    Failed,
}

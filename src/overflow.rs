//! Overflow: [`Overflow`], the rule for an event that finds its subscriber's queue full.
//!
//! A plain value; nothing here is shared.

/// The rule for an event that finds its subscriber's queue full.
///
/// Each lost event is counted, see [`Delivery::missed`](crate::Delivery::missed) and
/// [`BusReceiver::lagged`](crate::BusReceiver::lagged).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Overflow {
    /// The new event is lost, and all queued events stay. Suits a subscriber that needs the beginning of a session.
    #[default]
    DropNewest,
    /// The oldest queued event is lost, and the new event takes its place. Suits a subscriber that shows the present.
    DropOldest,
    /// The new event is lost, and the subscription ends. The receiver reads the queued events and then
    /// [`Closed`](crate::TryRecvError::Closed). Suits a subscriber that starts again rather than continue with a gap.
    Disconnect,
    /// The new event waits beside the queue, one event for each scroll. The dispatch thread queues it as soon as the
    /// receiver has made space. Suits a subscriber that shows the present of many sessions, such as their progress.
    ///
    /// An event replaces an earlier event of its scroll that still waits. With
    /// [`conflate_with`](crate::SubscriptionBuilder::conflate_with), a function of the host merges the two instead. The
    /// result waits behind all older events. [`Delivery::merged`](crate::Delivery::merged) returns how many other events
    /// it replaced or absorbed; those events are not lost. Events without a scroll wait one for each session that they
    /// name. Events that name neither share one place.
    ///
    /// At most as many events wait as the queue holds. If one more scroll comes, the event that has waited longest is
    /// lost, with all events merged into it. When the bus ends, all waiting events are queued beyond the capacity, so
    /// the last state of each scroll arrives. When the subscription ends before the bus, they are lost. Such a queue
    /// takes twice the memory of the others.
    Conflate,
}

//! Overflow: [`Overflow`], the rule for an event that arrives while its subscriber's queue is full.
//!
//! A plain value; nothing here is shared. The dispatch thread applies the rule when it pushes events (see
//! `queue/mod.rs`).

/// The rule for an event that arrives while its subscriber's queue is full.
///
/// Each lost event is counted. See [`Delivery::missed`](crate::Delivery::missed) and
/// [`BusReceiver::lagged`](crate::BusReceiver::lagged). [Memory](crate::docs::performance#memory) states for each rule
/// which events a queue keeps alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Overflow {
    /// The new event is lost, and all queued events stay. This rule suits a subscriber that needs the beginning of a
    /// session. The first event that is queued after the loss reports it. If no event follows, only
    /// [`lagged`](crate::BusReceiver::lagged) reports it.
    #[default]
    DropNewest,
    /// The oldest queued event is lost, and the new event takes its place. This rule suits a subscriber that shows the
    /// current state. The next delivery reports the loss.
    DropOldest,
    /// The new event is lost, and the subscription ends. The lost event is the last one that counts as matching, and
    /// nothing follows it. The receiver returns the queued events and then reports
    /// [`Closed`](crate::TryRecvError::Closed). Its reason is
    /// [`EndReason::Overflowed`](crate::EndReason::Overflowed). This rule suits a subscriber that must restart after a
    /// gap. No delivery follows the loss, so only [`lagged`](crate::BusReceiver::lagged) reports it.
    Disconnect,
    /// The new event waits beside the queue, one event for each scroll. The dispatch thread queues it as soon as the
    /// receiver has made space. This rule suits a subscriber that shows the current state of many sessions, such as
    /// their progress.
    ///
    /// An event replaces an earlier event of its scroll that still waits. With
    /// [`conflate_with`](crate::SubscriptionBuilder::conflate_with), a function of the host merges the two events
    /// instead. The result waits behind all older events. [`Delivery::merged`](crate::Delivery::merged) returns the
    /// number of other events that it replaced or absorbed. Those events are not lost. Among events without a scroll,
    /// one event waits for each combination of connector and session. Events that name neither of these share one
    /// place.
    ///
    /// The number of waiting events is limited to the capacity of the queue. If an event of one more scroll arrives,
    /// the event that has waited longest is lost, together with all events merged into it. When the bus ends, all
    /// waiting events are queued beyond the capacity, so the last state of each scroll arrives. When the subscription
    /// ends before the bus, the waiting events are lost. A queue with this rule takes twice the memory of a queue with
    /// `DropNewest`.
    Conflate,
}

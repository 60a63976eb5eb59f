//! Forwarding: [`Forward`], the handle to a subscription that delivers into a channel of the host.
//!
//! A [`Forward`] holds only references to the shared state. The dispatch thread owns the sink.

use std::fmt;

use crate::end_reason::EndReason;
use crate::event::{Event, Payload};
use crate::filter::EventFilter;
use crate::queue::QueueState;
use crate::shared::Shared;
use crate::subscribers::id::SubscriberId;
use crate::subscribers::list::Subscription;
use crate::sync::Arc;

/// A handle to a subscription that delivers into a channel of the host; returned by
/// [`forward_to`](crate::SubscriptionBuilder::forward_to).
///
/// The handle does not keep the bus alive, and dropping it does not end the subscription. None of its methods waits for
/// the dispatch thread.
pub struct Forward<E: Payload = Event> {
    shared: Arc<Shared<E>>,
    id: SubscriberId,
    label: Option<Arc<str>>,
    queue: Arc<QueueState>,
}

impl<E: Payload> Forward<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, subscription: &Subscription<E>) -> Self {
        Forward {
            shared,
            id: subscription.id,
            label: subscription.label.clone(),
            queue: Arc::clone(&subscription.queue),
        }
    }

    /// Returns the id of this subscription, for [`SharingBus::unsubscribe`](crate::SharingBus::unsubscribe).
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// Returns the [label](crate::SubscriptionBuilder::label) of this subscription.
    pub fn label(&self) -> Option<&str> {
        self.label.as_deref()
    }

    /// Returns the number of events sent into the channel so far. The number may trail the dispatch thread by a batch,
    /// and is exact after a [`flush`](crate::SharingBus::flush) if no thread publishes.
    pub fn delivered(&self) -> u64 {
        self.queue.delivered()
    }

    /// Returns the number of matching events lost so far: those that found the channel full, and the event during which
    /// the [`Sink`](crate::Sink) panicked. The number may trail the dispatch thread by a batch, and is exact after a
    /// [`flush`](crate::SharingBus::flush) if no thread publishes.
    pub fn lagged(&self) -> u64 {
        self.queue.lagged()
    }

    /// Returns `true` if the subscription has ended. `true` never changes back, and `false` may be stale at once. Right
    /// after the bus was closed, the method returns `false` until the bus has dispatched all accepted events. After the
    /// channel is closed, the method returns `false` until the next matching event ends the subscription.
    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Returns the reason for which the subscription has ended, or `None` while it is open. A reason never changes, and
    /// `None` may be stale at once, as for [`is_closed`](Self::is_closed).
    pub fn end_reason(&self) -> Option<EndReason> {
        self.queue.end_reason()
    }

    /// Ends the subscription. Returns `true` if this call ended it.
    ///
    /// The bus forwards no further events, and the dispatch thread soon drops the sender of the channel. A call on the
    /// dispatch thread, for example in the [`Sink`](crate::Sink), is exact: the sink is not called again. After a call
    /// on another thread, the sink can still accept one event: the one that the dispatch thread is sending at that
    /// moment. See also [the guarantees](crate::docs::guarantees#the-end-of-a-subscription).
    pub fn close(&self) -> bool {
        self.shared.unsubscribe(self.id)
    }

    /// Replaces the filter, in the same way as [`BusReceiver::set_filter`](crate::BusReceiver::set_filter).
    ///
    /// # Panics
    ///
    /// If the filter is [nested](EventFilter#nesting) too deeply.
    #[track_caller]
    pub fn set_filter(&self, filter: EventFilter<E>) {
        filter.assert_depth();
        self.shared.set_filter(self.id, filter);
    }
}

impl<E: Payload> fmt::Debug for Forward<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward")
            .field("id", &self.id())
            .field("label", &self.label())
            .field("lagged", &self.lagged())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

//! The methods of [`SharingBus`], the public handle of the bus. Every call goes to the shared state.
//!
//! The type itself is in `shared.rs`, because the builder creates it and its methods create builders.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use crate::builder::{BusBuilder, SubscriptionBuilder};
use crate::error::PublishError;
use crate::event::{BusEvent, EventOrigin, EventRouting, Payload};
use crate::filter::EventFilter;
use crate::ingress::Wait;
use crate::receiver::BusReceiver;
use crate::shared::{Shared, SharingBus};
use crate::stats::BusStats;
use crate::subscribers::id::SubscriberId;
use crate::sync::Arc;
use crate::telemetry;

impl<E: Payload> SharingBus<E> {
    /// Creates a bus with space for 1024 events in the ingress and for 256 events in each queue.
    ///
    /// # Panics
    ///
    /// If the operating system does not start the dispatch thread. [`BusBuilder::build`] returns an error instead.
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(bus) => bus,
            Err(error) => panic!("the bus could not be started: {error:?}"),
        }
    }

    /// Returns a builder for a bus with other settings.
    pub fn builder() -> BusBuilder<E> {
        BusBuilder::new()
    }

    fn shared(&self) -> &Shared<E> {
        &self.handle.shared
    }
}

/// # Publishing
impl<E: Payload> SharingBus<E> {
    /// Publishes an event; blocks the thread while the ingress is full.
    ///
    /// The call is one send into a channel, so its cost does not depend on the number of subscribers. With
    /// [`assisted_dispatch`](crate::BusBuilder::assisted_dispatch), a call on an idle bus also dispatches a batch.
    /// After `Ok`, the event will be dispatched, even if the bus is closed right afterward. Publishing succeeds without
    /// any subscriber. In async code, use [`publish_async`](Self::publish_async), because this method blocks the thread
    /// of a task without a panic.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`] if the bus is closed. [`PublishError::Full`] only on the dispatch thread (in a filter,
    /// a waker or a payload's `Drop`), where this method never waits. Both errors contain the event.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventKind, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    ///
    /// let routing = EventRouting::session("shell", "1", EventKind::Output);
    /// bus.publish(BusEvent::new(routing, Event::Text { text: "hello".into() }))?;
    /// assert_eq!(*receiver.recv().unwrap().event, Event::Text { text: "hello".into() });
    /// # Ok::<(), sharing_bus::PublishError>(())
    /// ```
    pub fn publish(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.shared().publish(event, Wait::Forever)
    }

    /// Publishes an event if the ingress has space now. Never waits for space, so threads, tasks and the dispatch
    /// thread can call it.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] if the ingress is full, [`PublishError::Closed`] if the bus is closed. Both contain the
    /// event.
    pub fn try_publish(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.shared().publish(event, Wait::Never)
    }

    /// Publishes an event; blocks the thread for at most `timeout` while the ingress is full. On the dispatch thread,
    /// this method never waits. In async code, use [`publish_async`](Self::publish_async) with a timer of the runtime.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] if the ingress had no space within `timeout`, [`PublishError::Closed`] if the bus is
    /// closed. Both contain the event.
    pub fn publish_timeout(&self, event: BusEvent<E>, timeout: Duration) -> Result<(), PublishError<E>> {
        self.shared().publish(event, Wait::AtMost(timeout))
    }

    /// Publishes an event; the task waits while the ingress is full. Works on any runtime.
    ///
    /// The future is cancel safe: if it is dropped before it is ready, the event has not been published, and is dropped
    /// with the future.
    ///
    /// A task that publishes again and again yields to other tasks: after 128 calls without a wait, the future is
    /// pending once although the ingress has space. It then wakes its own task. Use [`try_publish`](Self::try_publish)
    /// to publish without a task, rather than polling this future once.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`] if the bus is closed. [`PublishError::Full`] only if the future is polled on the
    /// dispatch thread (in a filter, a waker or a payload's `Drop`), where it never waits. Both errors contain the
    /// event.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// bus.publish_async(BusEvent::new(EventRouting::default(), Event::Connected)).await.unwrap();
    /// assert_eq!(*receiver.recv_async().await.unwrap().event, Event::Connected);
    /// # })
    /// ```
    pub async fn publish_async(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.shared().publish_async(event).await
    }
}

/// # Publishing expensive events
impl<E: Payload> SharingBus<E> {
    /// Returns `true` if a subscriber may match an event with this routing. `false` means that no subscriber can match
    /// the event, so the host need not create it.
    ///
    /// Any thread can call this method. It never waits, takes no lock and allocates nothing. It reads some counts, and
    /// computes up to five hashes for the routing fields that subscribers filter by.
    ///
    /// The result is always `true`:
    /// - for [`EventKind::SessionLifecycle`](crate::EventKind::SessionLifecycle), because such an event may change
    ///   [sessions](crate#late-binding) without any subscriber. Give this kind to each event that registers or ends a
    ///   session, or publish that event without this check;
    /// - on a bus with a [history](crate::BusBuilder::history), because later subscribers may receive the event;
    /// - while a subscription has the filter [`All`](EventFilter::All), or a filter without an equality, such as a
    ///   single [`custom`](EventFilter::custom) or [`not`](EventFilter::not);
    /// - on a closed bus, so that the publisher receives the error.
    ///
    /// The result may be `true` although no subscriber matches the event, among others in these cases:
    /// - The event has a session but no `scroll_id`, and a subscriber filters by scroll. The event may still be bound
    ///   to that scroll.
    /// - A subscriber filters by origin, because this method does not receive the event's origin.
    /// - A receiver was dropped a moment ago, or a subscriber is leaving or changing its filter.
    ///
    /// # Concurrent changes of subscriptions
    ///
    /// A subscriber counts from the return of its `subscribe` call until its subscription ends. During the `subscribe`
    /// call, it may or may not count. While a filter is being replaced, an event that both the old and the new filter
    /// match is never missed.
    ///
    /// The result may be stale at once. A later subscriber may still receive events that were published earlier and
    /// not yet dispatched, but it misses the events that were skipped.
    ///
    /// ```
    /// # futures::executor::block_on(async {
    /// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let _errors = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 16);
    ///
    /// let routing = EventRouting::session("shell", "1", EventKind::Output);
    /// assert!(!bus.is_interested(&routing));
    ///
    /// let _shell = bus.subscribe_filtered(EventFilter::ConnectorId("shell".into()), 16);
    /// if bus.is_interested(&routing) {
    ///     bus.publish_async(BusEvent::new(routing, Event::Text { text: "42 %".into() })).await?;
    /// }
    /// # assert_eq!(bus.stats().published, 1);
    /// # Ok::<(), sharing_bus::PublishError>(())
    /// # }).unwrap();
    /// ```
    pub fn is_interested(&self, routing: &EventRouting) -> bool {
        self.shared().is_interested(routing, None)
    }

    /// Creates an event and publishes it, but only if a subscriber may match it.
    ///
    /// `Ok(true)` means that this method called `payload` and published the event as [`publish`](Self::publish) does.
    /// `Ok(false)` means that no subscriber can match the event. Then `payload` was not called, no event was published,
    /// and the [statistics](Self::stats) count nothing.
    ///
    /// The check is that of [`is_interested`](Self::is_interested), with the same limits, and also considers the
    /// origin. `payload` runs on the calling thread without a lock held. If it panics, no event is published. Once the
    /// event exists, the call blocks the thread while the ingress is full, except on the dispatch thread.
    ///
    /// # Errors
    ///
    /// The same as for [`publish`](Self::publish). On a closed bus, `payload` is always called, because the error
    /// contains the event.
    ///
    /// ```
    /// use sharing_bus::{Event, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let mut errors = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 16);
    /// let publish = |kind, line: &[u8]| {
    ///     let routing = EventRouting::session("shell", "1", kind);
    ///     let text = || Event::Text { text: String::from_utf8_lossy(line).into_owned() };
    ///     bus.publish_with(routing, EventOrigin::Connector, text)
    /// };
    ///
    /// assert!(!publish(EventKind::Output, b"compiling")?);
    /// assert!(publish(EventKind::Error, b"no space left")?);
    /// assert_eq!(errors.recv().unwrap().sequence(), 1);
    /// # Ok::<(), sharing_bus::PublishError>(())
    /// ```
    pub fn publish_with(
        &self,
        routing: EventRouting,
        origin: EventOrigin,
        payload: impl FnOnce() -> E,
    ) -> Result<bool, PublishError<E>> {
        self.event_if_interested(routing, origin, payload)
            .map_or(Ok(false), |event| self.publish(event).map(|()| true))
    }

    /// Creates and publishes an event as [`publish_with`](Self::publish_with) does, but never waits for space in the
    /// ingress.
    ///
    /// # Errors
    ///
    /// The same as for [`try_publish`](Self::try_publish). Both errors contain the event.
    pub fn try_publish_with(
        &self,
        routing: EventRouting,
        origin: EventOrigin,
        payload: impl FnOnce() -> E,
    ) -> Result<bool, PublishError<E>> {
        self.event_if_interested(routing, origin, payload)
            .map_or(Ok(false), |event| self.try_publish(event).map(|()| true))
    }

    fn event_if_interested(
        &self,
        routing: EventRouting,
        origin: EventOrigin,
        payload: impl FnOnce() -> E,
    ) -> Option<BusEvent<E>> {
        let interested = self.shared().is_interested(&routing, Some(origin));
        interested.then(|| BusEvent::new(routing, payload()).with_origin(origin))
    }
}

/// # Flushing and closing
impl<E: Payload> SharingBus<E> {
    /// Blocks the thread until all events accepted before this call have been dispatched.
    ///
    /// Each of these events is then in the queues of its subscribers or counted as lost. The backlogs of subscriptions
    /// that began before this call are in their queues, too. The statistics are up to date, and receivers dropped before this call are removed from the subscriber list. The call does not wait for
    /// receivers to receive. On a closed bus, it waits until the bus has dispatched all accepted events and has ended.
    ///
    /// On the dispatch thread, which cannot wait for itself, the call returns at once. In a task, the call blocks the
    /// thread of the runtime without a panic, so use [`flush_async`](Self::flush_async). Under [tokio's paused
    /// clock](crate::docs::patterns#tokios-paused-clock), this blocking call is the better one.
    pub fn flush(&self) {
        self.shared().flush();
    }

    /// Waits as a task for the same conditions as [`flush`](Self::flush). Works on any runtime. The future can be
    /// dropped at any time. A task that flushes again and again yields to other tasks, as with
    /// [`publish_async`](Self::publish_async).
    ///
    /// On the dispatch thread, the future is ready at once.
    pub async fn flush_async(&self) {
        self.shared().flush_async().await;
    }

    /// Closes the bus. Returns `true` if this call closed it.
    ///
    /// A closed bus refuses new events and dispatches the accepted events. Each receiver then returns its queued events
    /// and after them reports `Closed`. This method does not wait for any of these steps, so threads, tasks and the
    /// dispatch thread can call it.
    ///
    /// ```
    /// # use sharing_bus::{BusEvent, Event, EventRouting, SharingBus, RecvError};
    /// let bus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    ///
    /// assert!(bus.close());
    /// assert!(!bus.close());
    /// assert!(receiver.recv().is_ok());
    /// assert_eq!(receiver.recv().unwrap_err(), RecvError);
    /// ```
    pub fn close(&self) -> bool {
        self.shared().close_ingress()
    }

    /// Closes the bus, and blocks the thread until the bus has dispatched all accepted events and the dispatch thread
    /// has ended.
    ///
    /// The call does not wait for receivers to receive. Several calls, also from several threads, are allowed. On the
    /// dispatch thread, the call closes the bus and returns at once. In async code, call [`close`](Self::close) and
    /// then await [`flush_async`](Self::flush_async), because this method blocks the thread of a task without a panic.
    pub fn shutdown(&self) {
        self.close();
        if self.shared().ingress.on_dispatch_thread() {
            return;
        }
        let mut thread = self.handle.thread.lock();
        if let Some(thread) = thread.take() {
            // `join` fails only if the dispatch thread panicked, which the panic hook has already reported.
            let _ = thread.join();
        }
    }

    /// Returns `true` if the bus refuses new events. `true` never changes back, and `false` may be stale at once. The
    /// receivers report the end later, see [`BusReceiver::is_closed`].
    pub fn is_closed(&self) -> bool {
        self.shared().ingress.is_closed()
    }
}

/// # Subscribing
impl<E: Payload> SharingBus<E> {
    /// Subscribes to all events, with the bus's default [queue capacity](BusBuilder::queue_capacity).
    ///
    /// The call never waits for the dispatch thread, so threads, tasks and the dispatch thread can call it. See
    /// [`SubscriptionBuilder::subscribe`].
    pub fn subscribe_all(&self) -> BusReceiver<E> {
        self.subscription().subscribe()
    }

    /// Subscribes to the events that match `filter`, with a queue for `queue_capacity` events. Never waits for the
    /// dispatch thread.
    ///
    /// # Panics
    ///
    /// - If the queue capacity is zero, or greater than `usize::MAX / 256`.
    /// - If the filter is [nested](EventFilter#nesting) too deeply.
    #[track_caller]
    pub fn subscribe_filtered(&self, filter: EventFilter<E>, queue_capacity: usize) -> BusReceiver<E> {
        self.subscription()
            .filter(filter)
            .queue_capacity(queue_capacity)
            .subscribe()
    }

    /// Returns a builder for a subscription with other settings, for example an overflow rule or a label.
    pub fn subscription(&self) -> SubscriptionBuilder<'_, E> {
        SubscriptionBuilder::new(&self.handle.shared, self.handle.queue_capacity)
    }

    /// Ends a subscription. Returns `true` if this call ended it, and `false` if it had ended before or never existed.
    ///
    /// The bus queues no further events for the subscription, and calls none of its functions again. [The
    /// guarantees](crate::docs::guarantees#the-end-of-a-subscription) define which event can still be under way. The
    /// queued events stay readable. After them, the receiver reports `Closed`. Its reason is
    /// [`EndReason::Unsubscribed`](crate::EndReason::Unsubscribed). The call never waits for the
    /// dispatch thread.
    ///
    /// ```
    /// # use sharing_bus::{SharingBus, TryRecvError};
    /// let bus: SharingBus = SharingBus::new();
    /// let mut receiver = bus.subscribe_all();
    /// assert!(bus.unsubscribe(receiver.id()));
    /// assert!(!bus.unsubscribe(receiver.id()));
    /// assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
    /// ```
    pub fn unsubscribe(&self, id: SubscriberId) -> bool {
        self.shared().unsubscribe(id)
    }

    /// Returns the number of open subscriptions, including forwarded ones. Never waits. The number may be stale at
    /// once, if other threads subscribe or unsubscribe.
    pub fn subscriber_count(&self) -> usize {
        self.shared().subscribers.live()
    }
}

/// # Sessions
impl<E: Payload> SharingBus<E> {
    /// Returns the global id to which a session is bound. The lookup allocates nothing. It waits only for another
    /// access to the session cache, which is short, because no code of the host runs there.
    ///
    /// A registration takes effect when the bus dispatches it. So its id is visible after a [`flush`](Self::flush), or
    /// once a receiver has received the registration.
    ///
    /// ```
    /// # use sharing_bus::SharingBus;
    /// use uuid::Uuid;
    ///
    /// let bus: SharingBus = SharingBus::new();
    /// assert_eq!(bus.bind_session("shell", "1", Uuid::from_u128(7)), None);
    /// assert_eq!(bus.scroll_id("shell", "1"), Some(Uuid::from_u128(7)));
    /// assert_eq!(bus.forget_session("shell", "1"), Some(Uuid::from_u128(7)));
    /// assert_eq!(bus.session_count(), 0);
    /// ```
    pub fn scroll_id(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        self.shared().sessions.scroll_id(connector_id, native_session_id)
    }

    /// Binds a session without an event, and returns the id to which it was bound before. Use this method for sessions
    /// that the host restores, for example from disk.
    ///
    /// The binding takes effect at once, also for events that are accepted but not yet dispatched. A registration
    /// dispatched later replaces it. The call never waits for the dispatch of events.
    pub fn bind_session(&self, connector_id: &str, native_session_id: &str, scroll_id: Uuid) -> Option<Uuid> {
        let previous = self.shared().sessions.bind(connector_id, native_session_id, scroll_id);
        telemetry::session_bound(connector_id, native_session_id, scroll_id);
        previous
    }

    /// Removes a session's binding and returns the id to which the session was bound.
    ///
    /// The removal takes effect at once, also for events that are accepted but not yet dispatched. The call never waits
    /// for the dispatch of events. To remove the binding in order with the events, publish the end of the session (see
    /// [`SessionChange::Ended`](crate::SessionChange::Ended)) or flush first.
    pub fn forget_session(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        self.shared().sessions.forget(connector_id, native_session_id)
    }

    /// Returns the number of bound sessions. The number may be stale at once.
    pub fn session_count(&self) -> usize {
        self.shared().sessions.len()
    }

    /// Returns a snapshot of the statistics of the bus and of every open subscription.
    ///
    /// The call visits all subscribers and delays no other thread. On a busy bus, the snapshot may trail the dispatch
    /// thread by a batch (see [`BusStats`]).
    pub fn stats(&self) -> BusStats {
        self.shared().stats()
    }
}

impl<E: Payload> Clone for SharingBus<E> {
    fn clone(&self) -> Self {
        SharingBus {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<E: Payload> Default for SharingBus<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Payload> fmt::Debug for SharingBus<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharingBus")
            .field("subscribers", &self.subscriber_count())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

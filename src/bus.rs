//! The face of the bus: [`SharingBus`].
//!
//! Owns the handle count and the dispatch thread's join handle, and nothing else: every call goes to one of the shared
//! rooms. The last handle that is dropped closes the bus; receivers and the dispatch thread hold no handle.

use std::fmt;
use std::task::Waker;
use std::time::Duration;

use uuid::Uuid;

use crate::builder::{BusBuilder, SubscriptionBuilder};
use crate::error::PublishError;
use crate::event::{BusEvent, Event, EventOrigin, EventRouting, Payload};
use crate::filter::EventFilter;
use crate::queue::{Overflow, QueueProducer, Rules, queue};
use crate::receiver::BusReceiver;
use crate::shared::{RoomMade, Shared};
use crate::sink::{Forward, HostSink};
use crate::stats::BusStats;
use crate::subscribers::{SubscriberId, Subscription};
use crate::sync::thread::JoinHandle;
use crate::sync::{Arc, Mutex};
use crate::telemetry;

/// A handle on a bus. Cloning is one reference count; the last handle dropped closes the bus, as
/// [`close`](Self::close) does, and waits for nothing.
///
/// ```
/// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
///
/// let bus = SharingBus::new();
/// let mut shell = bus.subscribe_filtered(EventFilter::ConnectorId("shell".into()), 64);
///
/// for connector in ["shell", "editor"] {
///     let routing = EventRouting::session(connector, "1", EventKind::Output);
///     let text = format!("hello from {connector}");
///     bus.publish(BusEvent::new(routing, Event::Text { text })).unwrap();
/// }
/// bus.shutdown();
///
/// let texts: Vec<_> = shell.iter().map(|delivery| delivery.event.clone()).collect();
/// assert_eq!(texts.len(), 1);
/// assert_eq!(*texts[0], Event::Text { text: "hello from shell".into() });
/// ```
pub struct SharingBus<E: Payload = Event> {
    handle: Arc<Handle<E>>,
}

struct Handle<E: Payload> {
    shared: Arc<Shared<E>>,
    queue_capacity: usize,
    /// Taken by the first shutdown; held while it joins, so that the next one waits for it.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl<E: Payload> Drop for Handle<E> {
    fn drop(&mut self) {
        self.shared.close_ingress();
    }
}

impl<E: Payload> SharingBus<E> {
    /// A bus with room for 1024 events in the ingress and 256 in each queue.
    ///
    /// # Panics
    ///
    /// If the operating system refuses the dispatch thread; [`builder`](Self::builder) returns that as an error.
    pub fn new() -> Self {
        match Self::builder().build() {
            Ok(bus) => bus,
            Err(error) => panic!("the bus could not be started: {error:?}"),
        }
    }

    /// A bus to be set up.
    pub fn builder() -> BusBuilder<E> {
        BusBuilder::new()
    }

    pub(crate) fn start(shared: Arc<Shared<E>>, thread: JoinHandle<()>, queue_capacity: usize) -> Self {
        let handle = Handle {
            shared,
            queue_capacity,
            thread: Mutex::new(Some(thread)),
        };
        SharingBus {
            handle: Arc::new(handle),
        }
    }

    fn shared(&self) -> &Shared<E> {
        &self.handle.shared
    }
}

/// # Publishing
impl<E: Payload> SharingBus<E> {
    /// Publishes an event; waits while the ingress is full.
    ///
    /// Costs one send into a channel, whoever subscribes; with
    /// [`assisted_dispatch`](crate::BusBuilder::assisted_dispatch), on an idle bus, the dispatch of a batch too. Once it returns `Ok` the event will be dispatched, even if
    /// the bus is closed right after. Nobody subscribing is success. In async code use
    /// [`publish_async`](Self::publish_async).
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`] on a closed bus; [`PublishError::Full`] only from within dispatch (in a filter, a waker,
    /// a payload's `Drop`), where it never waits. Both give the event back.
    pub fn publish(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.shared().publish(event, None)
    }

    /// Publishes an event if there is room now; never waits.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] or [`PublishError::Closed`], with the event.
    pub fn try_publish(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.shared().try_publish(event)
    }

    /// Publishes an event; waits up to `timeout` while the ingress is full. On the dispatch thread it never waits.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] if there was no room in time, [`PublishError::Closed`] on a closed bus, with the event.
    pub fn publish_timeout(&self, event: BusEvent<E>, timeout: Duration) -> Result<(), PublishError<E>> {
        self.shared().publish(event, Some(timeout))
    }

    /// Publishes an event; the task waits while the ingress is full. Needs no particular runtime.
    ///
    /// Cancel safe in that a future dropped early has not published; the event goes with it.
    ///
    /// To block on it in code that runs on the dispatch thread (a filter, a waker) is to wait for oneself once the ingress is
    /// full. [`publish`](Self::publish) and [`try_publish`](Self::try_publish) never wait there.
    ///
    /// # Errors
    ///
    /// [`PublishError::Closed`] on a closed bus, with the event.
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

/// # Events that cost to make
impl<E: Payload> SharingBus<E> {
    /// Whether anybody may want an event of this routing, so that it is worth making. False means that nobody could
    /// match it: `publish` would reach nobody. True means that somebody may.
    ///
    /// Never waits, takes no lock and allocates nothing, from any thread: it looks at some counts, and looks up what
    /// the routing says (up to five hashes) where there are subscribers who ask for such a thing.
    ///
    /// Always true:
    /// - of [`EventKind::SessionLifecycle`](crate::EventKind::SessionLifecycle), since such an event changes
    ///   [sessions](crate#late-binding) whoever listens. An event that registers or ends a session has to be of that
    ///   kind, or published without asking;
    /// - on a bus that keeps a [history](crate::BusBuilder::history), for who joins later;
    /// - while somebody subscribes to [`All`](EventFilter::All), or with a filter that has no equality to go by (a
    ///   [`custom`](EventFilter::custom) or a [`not`](EventFilter::not) alone);
    /// - on a closed bus, so that who publishes learns of it.
    ///
    /// True in error, among other cases: for an event of a session that does not say its `scroll_id`, while anybody
    /// asks for a scroll, for it may still be bound to that one; for any origin while anybody asks for one; and for a
    /// moment after a receiver was dropped, or while somebody leaves or changes a filter.
    ///
    /// # Against subscribers who come and go
    ///
    /// A subscriber whose `subscribe` returned before this was called is counted, until it ends; one that subscribes
    /// meanwhile may be or not. While a filter is replaced, an event that both the old and the new one match is never
    /// missed. The answer is of this moment: it may be out of date as soon as it is there. A subscriber that comes
    /// later may still get events that were published earlier and not yet dispatched, and misses what was skipped.
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

    /// Makes an event and publishes it, if anybody may want it. `Ok(true)`: `payload` was called, and the event
    /// published as [`publish`](Self::publish) does. `Ok(false)`: nobody could match it, `payload` was not called, and
    /// nothing was published or counted in the [statistics](Self::stats).
    ///
    /// Who may want it is asked as [`is_interested`](Self::is_interested) does, and what is said there holds here; the
    /// origin is known, so it is asked for too. `payload` runs in this thread, under no lock; if it panics, nothing is
    /// published. Waits for room in the ingress once the event is made, except on the dispatch thread.
    ///
    /// # Errors
    ///
    /// As of [`publish`](Self::publish), with the event: a closed bus always has it made, to give it back.
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
        self.made_if_wanted(routing, origin, payload)
            .map_or(Ok(false), |event| self.publish(event).map(|()| true))
    }

    /// Like [`publish_with`](Self::publish_with), and publishes as [`try_publish`](Self::try_publish) does: it never
    /// waits, and a full ingress gives the event back that was made.
    ///
    /// # Errors
    ///
    /// [`PublishError::Full`] or [`PublishError::Closed`], with the event.
    pub fn try_publish_with(
        &self,
        routing: EventRouting,
        origin: EventOrigin,
        payload: impl FnOnce() -> E,
    ) -> Result<bool, PublishError<E>> {
        self.made_if_wanted(routing, origin, payload)
            .map_or(Ok(false), |event| self.try_publish(event).map(|()| true))
    }

    fn made_if_wanted(
        &self,
        routing: EventRouting,
        origin: EventOrigin,
        payload: impl FnOnce() -> E,
    ) -> Option<BusEvent<E>> {
        let wanted = self.shared().is_interested(&routing, Some(origin));
        wanted.then(|| BusEvent::new(routing, payload()).with_origin(origin))
    }
}

/// # Flushing and closing
impl<E: Payload> SharingBus<E> {
    /// Waits until everything accepted before this call has been dispatched: it is in the queues or counted as lost,
    /// the statistics are up to date, and the slots of receivers dropped before are gone. It does not wait for
    /// receivers to receive. On a closed bus it waits for the end of the draining.
    ///
    /// On the dispatch thread, which cannot wait for itself, it returns at once.
    pub fn flush(&self) {
        let shared = self.shared();
        if !shared.ingress.on_dispatch_thread() {
            shared.flush();
        }
    }

    /// Like [`flush`](Self::flush), as a task. Cancel safe.
    pub async fn flush_async(&self) {
        self.shared().flush_async().await;
    }

    /// Closes the bus: new events are refused, what was accepted is dispatched, then every receiver drains its queue
    /// and sees `Closed`. Waits for none of that. True for the call that closed it.
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

    /// Closes the bus and waits until everything accepted has been dispatched and the dispatch thread is gone. It does
    /// not wait for receivers to receive. Calling it again, or from two threads, is fine.
    ///
    /// On the dispatch thread it closes and returns at once. In async code use [`close`](Self::close) and then
    /// [`flush_async`](Self::flush_async).
    pub fn shutdown(&self) {
        self.close();
        if self.shared().ingress.on_dispatch_thread() {
            return;
        }
        let mut thread = self.handle.thread.lock();
        if let Some(thread) = thread.take() {
            // An error would be a panic of the dispatch thread, which its hook has reported.
            let _ = thread.join();
        }
    }

    /// Whether the bus is closed to new events. True stays true; false may be stale at once.
    pub fn is_closed(&self) -> bool {
        self.shared().ingress.is_closed()
    }
}

/// # Subscribing
impl<E: Payload> SharingBus<E> {
    /// Subscribes to every event, with the bus's queue capacity (256 unless built otherwise).
    pub fn subscribe_all(&self) -> BusReceiver<E> {
        self.subscription().subscribe()
    }

    /// Subscribes to the events that match `filter`, with a queue of `queue_capacity`.
    ///
    /// # Panics
    ///
    /// If the queue capacity is zero, or more than an address space holds.
    #[track_caller]
    pub fn subscribe_filtered(&self, filter: EventFilter<E>, queue_capacity: usize) -> BusReceiver<E> {
        self.subscription()
            .filter(filter)
            .queue_capacity(queue_capacity)
            .subscribe()
    }

    /// A subscription to be set up: filter, queue capacity, overflow, label.
    pub fn subscription(&self) -> SubscriptionBuilder<'_, E> {
        SubscriptionBuilder::new(self, self.handle.queue_capacity)
    }

    pub(crate) fn subscribe(
        &self,
        label: Option<Arc<str>>,
        filter: EventFilter<E>,
        rules: Rules<E>,
        backlog: usize,
    ) -> BusReceiver<E> {
        let room = rules.capacity - rules.essential.as_ref().map_or(0, |essential| essential.reserve);
        let (producer, consumer) = queue(rules, || {
            Waker::from(Arc::new(RoomMade(Arc::clone(&self.handle.shared))))
        });
        // What finds no room would be lost at once.
        let subscription = self.list(label, filter, producer, backlog.min(room));
        BusReceiver::new(Arc::clone(&self.handle.shared), subscription, consumer)
    }

    pub(crate) fn forward(
        &self,
        label: Option<Arc<str>>,
        filter: EventFilter<E>,
        sink: HostSink<E>,
        overflow: Overflow,
        backlog: usize,
    ) -> Forward<E> {
        let producer = QueueProducer::into_sink(sink, overflow);
        let subscription = self.list(label, filter, producer, backlog);
        Forward::new(Arc::clone(&self.handle.shared), &subscription)
    }

    fn list(
        &self,
        label: Option<Arc<str>>,
        filter: EventFilter<E>,
        producer: QueueProducer<E>,
        backlog: usize,
    ) -> Arc<Subscription<E>> {
        let subscribers = &self.shared().subscribers;
        let subscription = subscribers.subscribe(label, filter, producer, backlog);
        telemetry::subscribed(subscribers, &subscription);
        if backlog > 0 {
            // So that it comes without waiting for an event.
            self.shared().request_upkeep();
        }
        subscription
    }

    /// Ends a subscription: nothing more is queued for it, what is queued stays readable, then its receiver sees
    /// `Closed`. True for the call that ended it; false if it had ended before or never was.
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

    /// How many subscriptions are open. May be stale at once if others subscribe or leave.
    pub fn subscriber_count(&self) -> usize {
        self.shared().subscribers.live()
    }
}

/// # Sessions
impl<E: Payload> SharingBus<E> {
    /// The global id that a session is bound to. Allocates nothing. It shows registrations as they are dispatched, so
    /// after a [`flush`](Self::flush) or once the registration has been received.
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

    /// Binds a session without an event, and returns the id it was bound to before: for sessions known from earlier,
    /// say from disk. It takes effect at once, so also for events that are accepted and not yet dispatched; a
    /// registration dispatched later replaces it.
    pub fn bind_session(&self, connector_id: &str, native_session_id: &str, scroll_id: Uuid) -> Option<Uuid> {
        self.shared().sessions.bind(connector_id, native_session_id, scroll_id)
    }

    /// Forgets a session's binding and returns it. It takes effect at once, so also for events that are accepted and
    /// not yet dispatched. To forget in order with the events, publish a session end (see
    /// [`SessionChange::Ended`](crate::SessionChange::Ended)) or flush first.
    pub fn forget_session(&self, connector_id: &str, native_session_id: &str) -> Option<Uuid> {
        self.shared().sessions.forget(connector_id, native_session_id)
    }

    /// How many sessions are bound. May be stale at once.
    pub fn session_count(&self) -> usize {
        self.shared().sessions.len()
    }

    /// What the bus has done so far, and the state of every subscription. Costs a walk over the subscribers and delays
    /// nobody.
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

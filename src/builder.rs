//! The builders of buses and subscriptions: [`BusBuilder`] and [`SubscriptionBuilder`].
//!
//! Builders are plain values. No thread starts and no subscription begins before `build`, `subscribe` or `forward_to`
//! is called.

use std::fmt;
use std::task::Waker;

use crate::dispatch::history::{History, Keep};
use crate::dispatch::{self, Dispatcher};
use crate::error::{BuildError, MAX_CAPACITY};
use crate::event::{BusEvent, Event, Payload};
use crate::filter::EventFilter;
use crate::forward::Forward;
use crate::ingress::Ingress;
use crate::ingress::assist::Assist;
use crate::overflow::Overflow;
use crate::queue::{Essential, GuardedSink, QueueConfig, QueueProducer, queue};
use crate::receiver::BusReceiver;
use crate::sessions::Sessions;
use crate::shared::{Handle, Shared, SharingBus, SpaceWaker};
use crate::sink::Sink;
use crate::stats::Counters;
use crate::subscribers::Subscribers;
use crate::subscribers::list::Subscription;
use crate::sync::panic::DropGuarded;
use crate::sync::thread;
use crate::sync::wait::Latch;
use crate::sync::{Arc, Mutex};
use crate::telemetry::{self, Telemetry};

const INGRESS_CAPACITY: usize = 1024;
const QUEUE_CAPACITY: usize = 256;
const SESSION_CAPACITY: usize = 65_536;
const THREAD_NAME: &str = "sharing-bus";

/// The settings of a bus; returned by [`SharingBus::builder`](crate::SharingBus::builder).
///
/// ```
/// use sharing_bus::{BuildError, SharingBus};
///
/// let bus: SharingBus = SharingBus::builder()
///     .ingress_capacity(4096)
///     .queue_capacity(512)
///     .session_capacity(10_000)
///     .thread_name("events")
///     .build()?;
/// assert_eq!(bus.subscribe_all().capacity(), 512);
///
/// let nothing = SharingBus::<()>::builder().ingress_capacity(0).build();
/// assert!(matches!(nothing, Err(BuildError::ZeroCapacity("ingress_capacity"))));
/// # Ok::<(), BuildError>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct BusBuilder<E = Event> {
    ingress_capacity: usize,
    queue_capacity: usize,
    session_capacity: usize,
    thread_name: String,
    assisted_dispatch: bool,
    history: usize,
    history_per_scroll: usize,
    payload: std::marker::PhantomData<fn(E)>,
}

impl<E: Payload> BusBuilder<E> {
    pub(crate) fn new() -> Self {
        BusBuilder {
            ingress_capacity: INGRESS_CAPACITY,
            queue_capacity: QUEUE_CAPACITY,
            session_capacity: SESSION_CAPACITY,
            thread_name: THREAD_NAME.to_owned(),
            assisted_dispatch: cfg!(sharing_bus_assisted),
            history: 0,
            history_per_scroll: 0,
            payload: std::marker::PhantomData,
        }
    }

    /// Sets the number of accepted events that can wait for the dispatch thread. The default is 1024, and the limit is
    /// `usize::MAX / 256`.
    ///
    /// A publisher waits only while the ingress is full. A flush request occupies one place too. The bus allocates all
    /// places when it starts, at about 100 bytes per place. If that allocation fails, the process aborts, as with any
    /// failed allocation.
    pub fn ingress_capacity(mut self, events: usize) -> Self {
        self.ingress_capacity = events;
        self
    }

    /// Sets the default capacity of a subscriber's queue, in events. The default is 256, and the limit is
    /// `usize::MAX / 256`.
    ///
    /// A subscription can set another capacity ([`SubscriptionBuilder::queue_capacity`]). Each subscription allocates
    /// its whole queue at once: 24 bytes per event, 32 with [`Overflow::DropOldest`], 48 with [`Overflow::Conflate`].
    /// If that allocation fails, the process aborts, as with any failed allocation.
    pub fn queue_capacity(mut self, events: usize) -> Self {
        self.queue_capacity = events;
        self
    }

    /// Sets the maximum number of bound sessions. The default is 65,536.
    ///
    /// A session takes memory only once it is bound, so `usize::MAX` means no limit.
    ///
    /// When one more session is registered, the bus forgets the session with the oldest registration. It counts the
    /// forgotten sessions in [`BusStats::sessions_evicted`](crate::BusStats::sessions_evicted), and logs a warning for
    /// the first one.
    pub fn session_capacity(mut self, sessions: usize) -> Self {
        self.session_capacity = sessions;
        self
    }

    /// Sets the name of the dispatch thread, which debuggers and `perf` display. The default is `sharing-bus`. Linux
    /// truncates the name to 15 bytes.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Lets a publisher that finds the bus idle dispatch its own event instead of waking the dispatch thread. It is off
    /// by default.
    ///
    /// An event published on an idle bus then reaches a waiting receiver after one wake-up instead of two, in about
    /// half the time. The dispatch thread still handles bursts and backlogs. A publisher dispatches at most one batch,
    /// and only if the bus has dispatched nothing for 20 µs. The order of events, the losses and their counting stay
    /// the same.
    ///
    /// Publishers pay for this. Every `publish`, `try_publish`, `publish_timeout`, `publish_async` and `flush` may run
    /// user code that otherwise runs on the dispatch thread: filters, session hooks, wakers, payload drops and loggers.
    /// The panic boundaries are the same, with these differences for the publisher:
    ///
    /// - User code that blocks also blocks the publisher. If it takes a lock that the publisher holds, it blocks
    ///   forever.
    /// - On an idle bus, the call lasts as long as a batch. A time limit does not shorten the batch, because it limits
    ///   only the wait for space in the ingress.
    pub fn assisted_dispatch(mut self, assisted: bool) -> Self {
        self.assisted_dispatch = assisted;
        self
    }

    /// Keeps up to `events` of the last dispatched events, for subscriptions with a
    /// [`backlog`](SubscriptionBuilder::backlog). The default is 0, which keeps no events and costs nothing.
    ///
    /// The history includes events that matched no subscriber. It takes 8 bytes per event and keeps the event itself
    /// alive. It allocates memory as events come, so `usize::MAX` keeps all events.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::builder().history(100).build()?;
    /// for text in ["one", "two", "three"] {
    ///     bus.publish(BusEvent::new(EventRouting::default(), Event::Text { text: text.into() })).unwrap();
    /// }
    /// bus.flush();
    ///
    /// let mut late = bus.subscription().backlog(2).subscribe();
    /// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    /// let seen: Vec<_> = late.iter().take(3).map(|delivery| (delivery.sequence(), delivery.is_backlog())).collect();
    /// assert_eq!(seen, [(2, true), (3, true), (4, false)]);
    /// # Ok::<(), sharing_bus::BuildError>(())
    /// ```
    pub fn history(mut self, events: usize) -> Self {
        self.history = events;
        self
    }

    /// Keeps up to `events` of the last events of each scroll, in addition to those of [`history`](Self::history). The
    /// default is 0.
    ///
    /// With this setting, a late subscriber receives the events of a quiet session even while other sessions are busy.
    /// The number of scrolls is limited to the [`session_capacity`](Self::session_capacity). Beyond that number, the
    /// bus drops the events kept for the scroll whose last event is oldest. Events dispatched without a scroll belong
    /// to no scroll.
    pub fn history_per_scroll(mut self, events: usize) -> Self {
        self.history_per_scroll = events;
        self
    }

    /// Starts the bus and its dispatch thread.
    ///
    /// # Errors
    ///
    /// - [`BuildError::ZeroCapacity`] if a capacity of the ingress, of queues or of sessions is zero.
    /// - [`BuildError::CapacityTooLarge`] if a capacity of the ingress or of queues is greater than `usize::MAX / 256`.
    /// - [`BuildError::InvalidThreadName`] if the thread name contains a NUL byte.
    /// - [`BuildError::Spawn`] if the operating system does not start the thread.
    pub fn build(self) -> Result<SharingBus<E>, BuildError> {
        self.check()?;
        let (ingress, commands) = Ingress::new(self.ingress_capacity);
        let (assist, parker) = self.assisted_dispatch.then(Assist::new).unzip();
        let shared = Arc::new(Shared {
            ingress,
            subscribers: Subscribers::new(self.history > 0 || self.history_per_scroll > 0),
            sessions: Sessions::new(self.session_capacity),
            counters: Counters::new(),
            ended: Latch::new(),
            assist,
        });
        let history = History::new(Keep {
            events: self.history,
            per_scroll: self.history_per_scroll,
            scrolls: self.session_capacity,
        });
        let telemetry = Telemetry::new(&self.thread_name);
        let dispatcher = Box::new(Dispatcher::new(Arc::clone(&shared), commands, history, telemetry));
        let thread = thread::Builder::new().name(self.thread_name);
        let thread = dispatch::spawn(thread, &shared, dispatcher, parker).map_err(BuildError::Spawn)?;
        let handle = Handle {
            shared,
            queue_capacity: self.queue_capacity,
            thread: Mutex::new(Some(thread)),
        };
        Ok(SharingBus {
            handle: Arc::new(handle),
        })
    }

    fn check(&self) -> Result<(), BuildError> {
        for (setting, capacity) in [
            ("ingress_capacity", self.ingress_capacity),
            ("queue_capacity", self.queue_capacity),
            ("session_capacity", self.session_capacity),
        ] {
            if capacity == 0 {
                return Err(BuildError::ZeroCapacity(setting));
            }
        }
        for (setting, capacity) in [
            ("ingress_capacity", self.ingress_capacity),
            ("queue_capacity", self.queue_capacity),
        ] {
            if capacity > MAX_CAPACITY {
                return Err(BuildError::CapacityTooLarge(setting));
            }
        }
        if self.thread_name.contains('\0') {
            return Err(BuildError::InvalidThreadName);
        }
        Ok(())
    }
}

impl<E> fmt::Debug for BusBuilder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusBuilder")
            .field("ingress_capacity", &self.ingress_capacity)
            .field("queue_capacity", &self.queue_capacity)
            .field("session_capacity", &self.session_capacity)
            .field("thread_name", &self.thread_name)
            .field("assisted_dispatch", &self.assisted_dispatch)
            .field("history", &self.history)
            .field("history_per_scroll", &self.history_per_scroll)
            .finish()
    }
}

/// The settings of a subscription; returned by [`SharingBus::subscription`](crate::SharingBus::subscription).
///
/// ```
/// use sharing_bus::{EventFilter, EventKind, Overflow, SharingBus};
///
/// let bus: SharingBus = SharingBus::new();
/// let view = bus
///     .subscription()
///     .filter(EventFilter::Kind(EventKind::Output))
///     .queue_capacity(64)
///     .overflow(Overflow::DropOldest)
///     .label("console")
///     .subscribe();
/// assert_eq!((view.label(), view.capacity()), (Some("console"), 64));
/// ```
#[must_use = "a subscription begins with `subscribe`"]
pub struct SubscriptionBuilder<'a, E: Payload = Event> {
    shared: &'a Arc<Shared<E>>,
    filter: EventFilter<E>,
    queue: QueueConfig<E>,
    backlog: usize,
    label: Option<Arc<str>>,
}

impl<'a, E: Payload> SubscriptionBuilder<'a, E> {
    pub(crate) fn new(shared: &'a Arc<Shared<E>>, queue_capacity: usize) -> Self {
        SubscriptionBuilder {
            shared,
            filter: EventFilter::All,
            queue: QueueConfig::new(queue_capacity, Overflow::default()),
            backlog: 0,
            label: None,
        }
    }

    /// Sets the filter. By default, the subscription receives all events.
    ///
    /// # Panics
    ///
    /// If the filter is [nested](EventFilter#nesting) too deeply.
    #[track_caller]
    pub fn filter(mut self, filter: EventFilter<E>) -> Self {
        filter.assert_depth();
        self.filter = filter;
        self
    }

    /// Sets the capacity of the queue, in events. The default is the bus's
    /// [`queue_capacity`](BusBuilder::queue_capacity). The subscription allocates the whole queue at once.
    pub fn queue_capacity(mut self, events: usize) -> Self {
        self.queue.capacity = events;
        self
    }

    /// Sets the rule for an event that arrives while the queue is full. The default is [`Overflow::DropNewest`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self.queue.merge = None;
        self
    }

    /// Begins the subscription with a backlog: up to `events` of the newest matching events from the bus's
    /// [history](BusBuilder::history), in dispatch order. The default is 0.
    ///
    /// The backlog is also limited to the capacity of the queue without its [reserve](Self::essential). The live events
    /// follow the backlog without a gap and without a duplicate, even while other threads publish.
    /// [`Delivery::is_backlog`](crate::Delivery::is_backlog) returns `true` for the events of the backlog. All events
    /// whose `publish` returned before this subscription began count as backlog, even if the bus had not dispatched them.
    ///
    /// The dispatch thread evaluates the filter for the events of the history, newest first, until enough events match.
    /// If the filter names only scrolls, the dispatch thread searches only the history of the bus and the histories of
    /// these scrolls. A long search does not delay other subscribers: the dispatch thread examines up to 512 events at a
    /// time and dispatches other events in between. Events that leave the history meanwhile are not found. Backlog events are delivered as they were dispatched. So an event that was dispatched before its
    /// session was registered has no scroll in the backlog either.
    ///
    /// See [`BusBuilder::history`] for an example.
    pub fn backlog(mut self, events: usize) -> Self {
        self.backlog = events;
        self
    }

    /// Sets a name for the subscription. Statistics, tracing events and metrics include the name.
    ///
    /// With the feature `metrics`, each distinct label creates one time series per metric, so avoid unique labels.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Creates the subscription and returns its receiver.
    ///
    /// The filter is applied to every event whose `publish` begins after this call returns, and to no event whose
    /// `publish` returned before this call began. If the bus has ended, the receiver is closed from the start. The call
    /// never waits for the dispatch thread. It copies a part of the subscriber list, and allocates the whole queue.
    ///
    /// # Panics
    ///
    /// - If the queue capacity is zero, or greater than `usize::MAX / 256`.
    /// - If [essential](Self::essential) events are combined with [`Overflow::DropOldest`] or [`Overflow::Conflate`].
    /// - If the reserve for essential events is not less than the queue capacity.
    #[track_caller]
    pub fn subscribe(self) -> BusReceiver<E> {
        let capacity = self.queue.capacity;
        assert!(
            capacity > 0,
            "a subscription needs a queue capacity of at least 1, not 0"
        );
        assert!(
            capacity <= MAX_CAPACITY,
            "a subscription needs a queue capacity of at most {MAX_CAPACITY}, not {capacity}"
        );
        let mut usable = capacity;
        if let Some(essential) = &self.queue.essential {
            assert!(
                matches!(self.queue.overflow, Overflow::DropNewest | Overflow::Disconnect),
                "a queue that makes space for every event cannot have a reserve for essential events"
            );
            assert!(
                essential.reserve < capacity,
                "a reserve of {} leaves nothing of a queue of {capacity}",
                essential.reserve
            );
            usable -= essential.reserve;
        }
        let shared = Arc::clone(self.shared);
        let (producer, consumer) = queue(self.queue, || Waker::from(Arc::new(SpaceWaker(Arc::clone(&shared)))));
        // A backlog beyond the usable capacity would be lost at once.
        let backlog = self.backlog.min(usable);
        let subscription = list(&shared, self.label, self.filter, producer, backlog);
        BusReceiver::new(shared, subscription, consumer)
    }
}

/// Adds a subscription to the subscriber list.
fn list<E: Payload>(
    shared: &Shared<E>,
    label: Option<Arc<str>>,
    filter: EventFilter<E>,
    producer: QueueProducer<E>,
    backlog: usize,
) -> Arc<Subscription<E>> {
    let subscription = shared.subscribers.subscribe(label, filter, producer, backlog);
    telemetry::subscribed(&shared.subscribers, &subscription);
    if backlog > 0 {
        // The dispatch thread delivers the backlog without waiting for an event.
        shared.request_upkeep();
    }
    subscription
}

/// # Essential events and merged events
impl<E: Payload> SubscriptionBuilder<'_, E> {
    /// Reserves the last `reserve` places of the queue for essential events: those that match `filter`. By default, no
    /// event is essential.
    ///
    /// A lagging subscriber then loses its other events first, for example deltas, and its essential events last, for
    /// example completions. While at most `reserve` places are free, an event that is not essential is lost, as if the
    /// queue were full. An essential event is lost if the queue is full, so the reserve is no guarantee. If no event
    /// may be lost, use [credits](crate::docs::patterns#delivery-without-loss).
    ///
    /// [`lagged`](BusReceiver::lagged) and [`missed`](crate::Delivery::missed) count all lost events.
    /// [`lagged_essential`](BusReceiver::lagged_essential) counts the lost essential events. With
    /// [`Overflow::Disconnect`], only the loss of an essential event ends the subscription. The events stay in the
    /// order of dispatch.
    ///
    /// This filter does not affect which events the subscription matches. The dispatch thread evaluates it only while
    /// the queue is short of space. If it panics, the event counts as not essential. After eight consecutive panics,
    /// the event is lost and the subscription ends, as for a [custom filter](EventFilter::custom).
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let completion = EventFilter::Kind(EventKind::SessionLifecycle);
    /// let mut view = bus.subscription().queue_capacity(4).essential(completion, 1).subscribe();
    ///
    /// let publish = |kind| {
    ///     bus.publish(BusEvent::new(EventRouting::session("c", "s", kind), Event::Connected)).unwrap();
    /// };
    /// (0..9).for_each(|_| publish(EventKind::Output));
    /// publish(EventKind::SessionLifecycle);
    /// bus.flush();
    ///
    /// assert_eq!((view.lagged(), view.lagged_essential()), (6, 0));
    /// let last = view.try_iter().last().unwrap();
    /// assert_eq!((last.routing.kind, last.missed()), (EventKind::SessionLifecycle, 6));
    /// ```
    ///
    /// # Panics
    ///
    /// If the filter is [nested](EventFilter#nesting) too deeply.
    #[track_caller]
    pub fn essential(mut self, filter: EventFilter<E>, reserve: usize) -> Self {
        filter.assert_depth();
        self.queue.essential = Some(Essential { filter, reserve });
        self
    }

    /// Sets [`Overflow::Conflate`], with a function that merges the waiting events of a scroll.
    ///
    /// With this rule, one event of each scroll waits while the queue is full. If a newer event of that scroll arrives,
    /// the bus calls `merge` with the waiting event and the newer event:
    ///
    /// - `Some(event)` replaces both, and its number of [merged](crate::Delivery::merged) events increases by one. For
    ///   example, the function can concatenate two text deltas. To keep only the newer event, return it.
    /// - `None` keeps the waiting event, and the newer event is lost.
    ///
    /// A later call of [`overflow`](Self::overflow) removes the function.
    ///
    /// The function runs on the dispatch thread, and only while the queue is full. It must return quickly. If it
    /// panics, the newer event is lost. After eight consecutive panics, the subscription ends, as for a [custom
    /// filter](EventFilter::custom). The returned event goes only to this subscriber. The bus does not bind or match
    /// it again. It waits as the event of the original scroll, regardless of its own routing.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let mut view = bus
    ///     .subscription()
    ///     .queue_capacity(1)
    ///     .conflate_with(|waiting: &BusEvent, newer| match (&*waiting.event, &*newer.event) {
    ///         (Event::Text { text: so_far }, Event::Text { text }) => {
    ///             Some(BusEvent::new(newer.routing.clone(), Event::Text { text: format!("{so_far}{text}") }))
    ///         }
    ///         _ => Some(newer),
    ///     })
    ///     .subscribe();
    ///
    /// for text in ["Once", " upon", " a", " time"] {
    ///     bus.publish(BusEvent::new(EventRouting::default(), Event::Text { text: text.into() })).unwrap();
    /// }
    /// bus.flush();
    ///
    /// assert_eq!(*view.recv().unwrap().event, Event::Text { text: "Once".into() });
    /// let rest = view.recv().unwrap();
    /// assert_eq!(*rest.event, Event::Text { text: " upon a time".into() });
    /// assert_eq!((rest.merged(), rest.missed(), view.lagged()), (2, 0, 0));
    /// ```
    pub fn conflate_with(
        mut self,
        merge: impl Fn(&BusEvent<E>, BusEvent<E>) -> Option<BusEvent<E>> + Send + Sync + 'static,
    ) -> Self {
        self.queue.overflow = Overflow::Conflate;
        self.queue.merge = Some(DropGuarded::new(Box::new(merge)));
        self
    }
}

/// # Delivery into a channel of the host
impl<E: Payload> SubscriptionBuilder<'_, E> {
    /// Creates a subscription that delivers into a channel of the host instead of a queue of the bus.
    ///
    /// A synchronous host can then wait for the bus and for other channels in one `select!`. Code that works only with
    /// channels can also receive events.
    ///
    /// If the channel is full, the event is lost and counted ([`Forward::lagged`](crate::Forward::lagged),
    /// [`Delivery::missed`](crate::Delivery::missed)). With [`Overflow::Disconnect`], that loss ends the subscription.
    /// If the channel is closed, the next matching event ends the subscription. When the subscription or the bus ends,
    /// the dispatch thread drops the sender, and the channel's receiver sees the end.
    ///
    /// The capacity of the channel replaces the [`queue_capacity`](Self::queue_capacity), and it does not limit the
    /// [`backlog`](Self::backlog).
    ///
    /// The call never waits for the dispatch thread. The dispatch thread calls the sink for each event, so a sink must
    /// never wait. A bus handle in the sink [keeps the bus open](crate::docs::patterns#a-handle-inside-the-bus).
    ///
    /// Deliveries of one batch share their memory, as [`Delivery`](crate::Delivery) describes. After the first loss,
    /// each event is sent without the others. So a channel that is often full keeps at most 63 lost events alive, those
    /// of one batch.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Delivery, Event, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let (sender, events) = crossbeam_channel::bounded::<Delivery>(64);
    /// let (stop, stopped) = crossbeam_channel::bounded::<()>(1);
    /// bus.subscription().label("view").forward_to(sender);
    /// bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
    ///
    /// crossbeam_channel::select! {
    ///     recv(events) -> delivery => assert_eq!(*delivery.unwrap().event, Event::Connected),
    ///     recv(stopped) -> _ => return,
    /// }
    /// # drop(stop);
    /// ```
    ///
    /// # Panics
    ///
    /// - With [`Overflow::DropOldest`], because the bus cannot take the oldest event out of the channel.
    /// - With [`Overflow::Conflate`] or [essential](Self::essential) events, because a channel does not report its free
    ///   capacity.
    #[track_caller]
    pub fn forward_to(self, sink: impl Sink<E>) -> Forward<E> {
        // Guarded before the checks: if a check panics, a second panic in the sink's `Drop` would abort the process.
        let sink = GuardedSink::new(Box::new(sink));
        let overflow = self.queue.overflow;
        assert!(
            overflow != Overflow::DropOldest,
            "a channel cannot drop its oldest event"
        );
        assert!(
            overflow != Overflow::Conflate && self.queue.essential.is_none(),
            "a channel does not report its free capacity"
        );
        let producer = QueueProducer::into_sink(sink, overflow);
        let subscription = list(self.shared, self.label, self.filter, producer, self.backlog);
        Forward::new(Arc::clone(self.shared), &subscription)
    }
}

impl<E: Payload> fmt::Debug for SubscriptionBuilder<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionBuilder")
            .field("filter", &self.filter)
            .field("queue_capacity", &self.queue.capacity)
            .field("overflow", &self.queue.overflow)
            .field("backlog", &self.backlog)
            .field("label", &self.label)
            .finish()
    }
}

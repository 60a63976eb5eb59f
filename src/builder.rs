//! How a bus and a subscription are set up: [`BusBuilder`] and [`SubscriptionBuilder`].
//!
//! Plain values until `build` or `subscribe`.

use std::{fmt, io};

use crate::bus::SharingBus;
use crate::dispatch::Dispatcher;
use crate::dispatch::history::{History, Keep};
use crate::error::BuildError;
use crate::event::{BusEvent, Event, Payload};
use crate::filter::EventFilter;
use crate::ingress::Ingress;
use crate::ingress::assist::{Dispatch, Turn};
use crate::queue::{Essential, Overflow, Rules};
use crate::receiver::BusReceiver;
use crate::sessions::Sessions;
use crate::shared::Shared;
use crate::sink::{Forward, HostSink, Sink};
use crate::stats::Counters;
use crate::subscribers::Subscribers;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::wait::Latch;
use crate::sync::{Arc, Parker};
use crate::telemetry::Watch;

const INGRESS_CAPACITY: usize = 1024;
const QUEUE_CAPACITY: usize = 256;
const SESSION_CAPACITY: usize = 65_536;
const THREAD_NAME: &str = "sharing-bus";

/// Settings of a bus; made by [`SharingBus::builder`].
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

    /// How many accepted events may wait for the dispatch thread; 1024 unless told. Flush requests take a place too.
    pub fn ingress_capacity(mut self, events: usize) -> Self {
        self.ingress_capacity = events;
        self
    }

    /// How many events a subscriber's queue holds unless its subscription says otherwise; 256 unless told. The memory
    /// for it, 24 bytes an event (32 with [`Overflow::DropOldest`], 48 with [`Overflow::Conflate`]), is taken when
    /// subscribing; if it cannot be had, the process aborts as with any allocation.
    pub fn queue_capacity(mut self, events: usize) -> Self {
        self.queue_capacity = events;
        self
    }

    /// How many sessions stay bound; 65,536 unless told. One more, and the session whose registration is oldest is
    /// forgotten, which is counted ([`BusStats::sessions_evicted`](crate::BusStats::sessions_evicted)) and, the first
    /// time, warned of.
    pub fn session_capacity(mut self, sessions: usize) -> Self {
        self.session_capacity = sessions;
        self
    }

    /// The dispatch thread's name, as debuggers and `perf` show it (Linux cuts it to 15 bytes); `sharing-bus` unless
    /// told.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Lets a publisher that finds the bus idle dispatch its event itself, instead of waking the dispatch thread for it;
    /// off unless told.
    ///
    /// What is published on an idle bus then reaches a waiting receiver after one wake-up instead of two, in about half
    /// the time. Bursts and backlogs still go to the dispatch thread: a publisher runs one batch at most, and only if
    /// nothing has been dispatched for 20 µs. All else stays as it is: the order, what is lost and where it is counted.
    ///
    /// The price is paid by publishers. Every `publish`, `try_publish`, `publish_timeout`, `publish_async` and `flush`
    /// may then run the user code that is otherwise left to the dispatch thread (filters, session hooks, wakers, payload
    /// drops, loggers), behind the same panic boundaries, but at the publisher's expense: one that blocks, blocks that
    /// publisher, and one that takes a lock which the publisher holds, blocks for ever. On an idle bus the call takes
    /// as long as a batch does, time limits notwithstanding, for they count the wait for room alone.
    pub fn assisted_dispatch(mut self, assisted: bool) -> Self {
        self.assisted_dispatch = assisted;
        self
    }

    /// Keeps the last events that were dispatched, whoever matched them, so many at most, for subscribers that ask for a
    /// [`backlog`](SubscriptionBuilder::backlog); 0 unless told, and then nothing is kept and it costs nothing.
    ///
    /// What is kept is held by reference: 8 bytes for each, and the event itself for as long.
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

    /// Keeps the last events of each scroll, so many at most, beside those of [`history`](Self::history): so a quiet
    /// session has its own for whoever joins late, however busy the others are. 0 unless told.
    ///
    /// It is kept for as many scrolls as [`session_capacity`](Self::session_capacity) says; beyond that, what the scroll
    /// that has been quiet for longest has of its own is let go of. Events that were dispatched without a scroll belong to
    /// none.
    pub fn history_per_scroll(mut self, events: usize) -> Self {
        self.history_per_scroll = events;
        self
    }

    /// Starts the bus and its dispatch thread.
    ///
    /// # Errors
    ///
    /// A capacity of zero, a thread name with a NUL byte, or an operating system that refuses the thread.
    ///
    /// # Panics
    ///
    /// If a capacity is more than an address space holds.
    pub fn build(self) -> Result<SharingBus<E>, BuildError> {
        for (setting, capacity) in [
            ("ingress_capacity", self.ingress_capacity),
            ("queue_capacity", self.queue_capacity),
            ("session_capacity", self.session_capacity),
        ] {
            if capacity == 0 {
                return Err(BuildError::ZeroCapacity(setting));
            }
        }
        if self.thread_name.contains('\0') {
            return Err(BuildError::InvalidThreadName);
        }
        let (ingress, commands) = Ingress::new(self.ingress_capacity);
        let (turn, parker) = self.assisted_dispatch.then(Turn::new).unzip();
        let shared = Arc::new(Shared {
            ingress,
            subscribers: Subscribers::new(self.history > 0 || self.history_per_scroll > 0),
            sessions: Sessions::new(self.session_capacity),
            counters: Counters::new(),
            ended: Latch::new(),
            turn,
        });
        let history = History::new(Keep {
            events: self.history,
            per_scroll: self.history_per_scroll,
            scrolls: self.session_capacity,
        });
        let watch = Watch::new(&self.thread_name);
        let dispatcher = Box::new(Dispatcher::new(Arc::clone(&shared), commands, history, watch));
        let thread = thread::Builder::new().name(self.thread_name);
        let thread = spawn(thread, &shared, dispatcher, parker).map_err(BuildError::Spawn)?;
        Ok(SharingBus::start(shared, thread, self.queue_capacity))
    }
}

/// Starts the dispatch thread: the dispatcher's home, or the helper of those who take turns with it.
fn spawn<E: Payload>(
    thread: thread::Builder,
    shared: &Arc<Shared<E>>,
    dispatcher: Box<Dispatcher<E>>,
    parker: Option<Parker>,
) -> io::Result<JoinHandle<()>> {
    let for_thread = Arc::clone(shared);
    let (Some(turn), Some(parker)) = (&shared.turn, parker) else {
        return thread.spawn(move || {
            let _here = for_thread.ingress.enter();
            dispatcher.run_to_end();
        });
    };
    let thread = thread.spawn(move || {
        if let Some(turn) = &for_thread.turn {
            turn.serve(&for_thread.ingress, &parker);
        }
    })?;
    // Only now: the dispatcher keeps alive what keeps it, until the thread ends the bus.
    turn.put(dispatcher);
    Ok(thread)
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

/// Settings of a subscription; made by [`SharingBus::subscription`].
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
    bus: &'a SharingBus<E>,
    filter: EventFilter<E>,
    queue: Rules<E>,
    backlog: usize,
    label: Option<Arc<str>>,
}

impl<'a, E: Payload> SubscriptionBuilder<'a, E> {
    pub(crate) fn new(bus: &'a SharingBus<E>, queue_capacity: usize) -> Self {
        SubscriptionBuilder {
            bus,
            filter: EventFilter::All,
            queue: Rules::new(queue_capacity, Overflow::default()),
            backlog: 0,
            label: None,
        }
    }

    /// Which events to receive; all unless told.
    pub fn filter(mut self, filter: EventFilter<E>) -> Self {
        self.filter = filter;
        self
    }

    /// How many events the queue holds; the bus's setting unless told.
    pub fn queue_capacity(mut self, events: usize) -> Self {
        self.queue.capacity = events;
        self
    }

    /// What happens to an event that finds the queue full; the newest is dropped unless told.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self.queue.merge = None;
        self
    }

    /// Begins with earlier events: the newest that match of those that the bus has kept ([`BusBuilder::history`]), so many
    /// at most and no more than the queue holds without its [reserve](Self::essential), in their order; none unless told.
    /// The live events follow, with no gap and no duplicate in between, whatever is published meanwhile. Each tells
    /// whether it is one of them ([`Delivery::is_backlog`](crate::Delivery::is_backlog)).
    ///
    /// The filter is evaluated for what is kept, on the dispatch thread, until enough is found; one that asks for scrolls
    /// alone looks no further than at the history of all and at theirs. Events are as they were dispatched: one that came
    /// before its session's registration has no scroll here either.
    pub fn backlog(mut self, events: usize) -> Self {
        self.backlog = events;
        self
    }

    /// A name for people, shown in statistics.
    pub fn label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Subscribes: every event whose `publish` begins after this returns is seen. On a closed bus that has ended, the
    /// receiver is closed from the start.
    ///
    /// Never waits for the dispatch thread; costs a copy of the subscriber list.
    ///
    /// # Panics
    ///
    /// If the queue capacity is zero, or more than an address space holds. If [essential](Self::essential) events are
    /// named together with [`Overflow::DropOldest`] or [`Overflow::Conflate`], or with a reserve that is the whole queue.
    #[track_caller]
    pub fn subscribe(self) -> BusReceiver<E> {
        let Rules {
            capacity,
            overflow,
            essential,
            ..
        } = &self.queue;
        assert!(
            *capacity > 0,
            "a subscription needs a queue capacity of at least 1, not 0"
        );
        if let Some(essential) = essential {
            assert!(
                matches!(overflow, Overflow::DropNewest | Overflow::Disconnect),
                "there is no place to reserve in a queue that makes room for every event"
            );
            assert!(
                essential.reserve < *capacity,
                "a reserve of {} leaves nothing of a queue of {capacity}",
                essential.reserve
            );
        }
        self.bus.subscribe(self.label, self.filter, self.queue, self.backlog)
    }
}

/// # Losing well
impl<E: Payload> SubscriptionBuilder<'_, E> {
    /// Names the essential events, and how many places of the queue are for them alone: so that a subscriber that lags
    /// loses its deltas first and its completions last. None are named unless told.
    ///
    /// Once no more than `reserve` places are left, an event that is not essential is lost as if the queue were full; an
    /// essential one is lost only if it is. Both are counted in [`lagged`](BusReceiver::lagged) and told by
    /// [`missed`](crate::Delivery::missed); the essential ones also in
    /// [`lagged_essential`](BusReceiver::lagged_essential). With [`Overflow::Disconnect`] only the loss of an essential
    /// event ends the subscription. The order stays that of dispatch.
    ///
    /// The filter is of no account for who gets the event, and is evaluated on the dispatch thread, only while the queue
    /// is short of room. A panic in it counts as not essential.
    ///
    /// ```
    /// use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
    ///
    /// let bus = SharingBus::new();
    /// let completion = EventFilter::Kind(EventKind::SessionLifecycle);
    /// let mut view = bus.subscription().queue_capacity(4).essential(completion, 1).subscribe();
    ///
    /// let publish = |kind| bus.publish(BusEvent::new(EventRouting::session("c", "s", kind), Event::Connected)).unwrap();
    /// (0..9).for_each(|_| publish(EventKind::Output));
    /// publish(EventKind::SessionLifecycle);
    /// bus.flush();
    ///
    /// assert_eq!((view.lagged(), view.lagged_essential()), (6, 0));
    /// let last = view.try_iter().last().unwrap();
    /// assert_eq!((last.routing.kind, last.missed()), (EventKind::SessionLifecycle, 6));
    /// ```
    pub fn essential(mut self, filter: EventFilter<E>, reserve: usize) -> Self {
        self.queue.essential = Some(Essential { filter, reserve });
        self
    }

    /// Has what finds the queue full wait, one event for each scroll ([`Overflow::Conflate`]), merged by a function of
    /// yours: of the event that waits and a newer one of its scroll it makes one, text deltas put together, say.
    ///
    /// What it returns waits in place of both and counts one as [merged](crate::Delivery::merged); to keep the newer alone,
    /// return that. With `None` the one that waits stays as it is and the newer is lost. A later
    /// [`overflow`](Self::overflow) takes the function back.
    ///
    /// The function runs on the dispatch thread and only while the queue is full, so it has to be quick; a panic in it
    /// loses the newer event. What it returns goes to this subscriber alone, is not bound or matched again, and waits in
    /// the place of its scroll whatever routing it has.
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
        self.queue.merge = Some(Box::new(merge));
        self
    }
}

/// # A channel of your own
impl<E: Payload> SubscriptionBuilder<'_, E> {
    /// Subscribes, and delivers into a channel that the host already has, in place of a queue of the bus's: so that a sync
    /// host waits for the bus and for other things in one `select!`, or a part of the program that knows of channels alone
    /// gets events.
    ///
    /// A full channel loses the event and counts it ([`Forward::lagged`](crate::Forward::lagged),
    /// [`Delivery::missed`](crate::Delivery::missed)); with [`Overflow::Disconnect`] it ends the subscription. A closed
    /// channel ends it as the next matching event finds it so. When the subscription ends, or the bus, the dispatch thread
    /// drops the sender, and the channel's receiver sees its end. The queue capacity is the channel's own, and a backlog is
    /// as long as was asked.
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
    /// With [`Overflow::DropOldest`], for the oldest is in the channel and out of reach; with [`Overflow::Conflate`] or
    /// [essential](Self::essential) events, for nobody tells how much room a channel has.
    #[track_caller]
    pub fn forward_to(self, sink: impl Sink<E>) -> Forward<E> {
        let overflow = self.queue.overflow;
        assert!(
            overflow != Overflow::DropOldest,
            "a channel of the host's cannot drop its oldest event"
        );
        assert!(
            overflow != Overflow::Conflate && self.queue.essential.is_none(),
            "a channel of the host's does not tell how much room it has"
        );
        let sink = HostSink::new(sink);
        self.bus.forward(self.label, self.filter, sink, overflow, self.backlog)
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

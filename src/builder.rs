//! How a bus and a subscription are set up: [`BusBuilder`] and [`SubscriptionBuilder`].
//!
//! Plain values until `build` or `subscribe`.

use std::{fmt, io};

use crate::bus::SharingBus;
use crate::dispatch::Dispatcher;
use crate::error::BuildError;
use crate::event::{Event, Payload};
use crate::filter::EventFilter;
use crate::history::{History, Keep};
use crate::ingress::Ingress;
use crate::queue::Overflow;
use crate::receiver::BusReceiver;
use crate::sessions::Sessions;
use crate::shared::Shared;
use crate::sink::{Forward, HostSink, Sink};
use crate::stats::Counters;
use crate::subscribers::Subscribers;
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, Parker};
use crate::turn::{Dispatch, Turn};
use crate::wait::Latch;

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
    /// for it, 24 bytes an event, is taken when subscribing.
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
    /// If the memory for a capacity cannot be had.
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
            subscribers: Subscribers::new(),
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
        let dispatcher = Box::new(Dispatcher::new(Arc::clone(&shared), commands, history));
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
    queue_capacity: usize,
    overflow: Overflow,
    backlog: usize,
    label: Option<Arc<str>>,
}

impl<'a, E: Payload> SubscriptionBuilder<'a, E> {
    pub(crate) fn new(bus: &'a SharingBus<E>, queue_capacity: usize) -> Self {
        SubscriptionBuilder {
            bus,
            filter: EventFilter::All,
            queue_capacity,
            overflow: Overflow::default(),
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
        self.queue_capacity = events;
        self
    }

    /// What happens to an event that finds the queue full; the newest is dropped unless told.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Begins with earlier events: the newest that match of those that the bus has kept ([`BusBuilder::history`]), so many
    /// at most and no more than the queue holds, in their order; none unless told. The live events follow, with no gap and
    /// no duplicate in between, whatever is published meanwhile. Each tells whether it is one of them
    /// ([`Delivery::is_backlog`](crate::Delivery::is_backlog)).
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
    /// If the queue capacity is zero, or if the memory for it cannot be had.
    #[track_caller]
    pub fn subscribe(self) -> BusReceiver<E> {
        assert!(
            self.queue_capacity > 0,
            "a subscription needs a queue capacity of at least 1, not 0"
        );
        self.bus.subscribe(
            self.label,
            self.filter,
            self.queue_capacity,
            self.overflow,
            self.backlog,
        )
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
    /// With [`Overflow::DropOldest`], for the oldest is in the channel and out of reach.
    #[track_caller]
    pub fn forward_to(self, sink: impl Sink<E>) -> Forward<E> {
        assert!(
            self.overflow != Overflow::DropOldest,
            "a channel of the host's cannot drop its oldest event"
        );
        let sink = HostSink::new(sink);
        self.bus
            .forward(self.label, self.filter, sink, self.overflow, self.backlog)
    }
}

impl<E: Payload> fmt::Debug for SubscriptionBuilder<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionBuilder")
            .field("filter", &self.filter)
            .field("queue_capacity", &self.queue_capacity)
            .field("overflow", &self.overflow)
            .field("backlog", &self.backlog)
            .field("label", &self.label)
            .finish()
    }
}

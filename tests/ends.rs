//! Nothing follows the end of a subscription: each way to end it, combined with each way in which events are delivered.
//!
//! In most tests, code of the host runs in the middle of a batch, on the dispatch thread. It ends the subscription, or
//! another thread does while that code runs. No further event is delivered, and no function of the subscription is
//! called again.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use common::*;
use sharing_bus::{
    BusEvent, BusReceiver, Delivery, EndReason, EventFilter, EventRouting, Forward, Overflow, Payload, SharingBus,
    Sink, SinkError, SubscriberId,
};

/// Number of events of a batch, enough for a bundle.
const EVENTS: u64 = 20;

/// The event during which the subscription ends.
const LAST: u64 = 3;

/// A payload that can call a hook when it is dropped.
struct Item {
    number: u64,
    on_drop: Option<Arc<Hook>>,
}

impl Payload for Item {}

impl Drop for Item {
    fn drop(&mut self) {
        if let Some(hook) = &self.on_drop {
            hook.call(self.number);
        }
    }
}

fn item(number: u64, on_drop: Option<Arc<Hook>>) -> BusEvent<Item> {
    let routing = EventRouting {
        scroll_id: (number > 0).then(|| scroll(1)),
        ..EventRouting::default()
    };
    BusEvent::new(routing, Item { number, on_drop })
}

/// Publishes the events so that they are dispatched in one batch, and waits until they are delivered.
fn publish_batch(bus: &SharingBus<Item>, events: impl IntoIterator<Item = BusEvent<Item>>) {
    let block = Block::new(bus, item(0, None));
    events.into_iter().for_each(|event| bus.publish(event).unwrap());
    block.release();
    bus.flush();
}

fn items(numbers: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = BusEvent<Item>> {
    numbers.map(|number| item(number, None))
}

/// A function of the subscription. It ends the subscription during the event [`LAST`], and counts the later calls.
#[derive(Default)]
struct Hook {
    end: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    armed: Mutex<bool>,
    calls_after: AtomicU64,
}

impl Hook {
    fn set(&self, end: impl FnOnce() + Send + 'static) {
        *lock(&self.end) = Some(Box::new(end));
        *lock(&self.armed) = true;
    }

    fn call(&self, number: u64) {
        if !*lock(&self.armed) {
            return;
        }
        if number == LAST {
            let end = lock(&self.end).take();
            if let Some(end) = end {
                return end();
            }
        }
        if lock(&self.end).is_none() {
            self.calls_after.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// A waker that calls the hook as if for the event [`LAST`].
struct HookWaker(Arc<Hook>);

impl Wake for HookWaker {
    fn wake(self: Arc<Self>) {
        self.0.call(LAST);
    }
}

/// A sink that calls the hook for each delivery, and accepts it.
struct HookSink {
    hook: Arc<Hook>,
    accepted: mpsc::Sender<u64>,
}

impl Sink<Item> for HookSink {
    fn try_send(&mut self, delivery: Delivery<Item>) -> Result<(), SinkError<Item>> {
        self.hook.call(delivery.event.number);
        self.accepted.send(delivery.event.number).unwrap();
        Ok(())
    }
}

/// The ways of delivery, each with the code of the host that runs in the middle of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Path {
    /// Matching, before the events are delivered.
    Filter,
    /// The ring, of which a reserve is kept free. The filter of essential events runs for each event.
    Reserve,
    /// A queue that drops its oldest events. The payload of each displaced event is dropped.
    DropOldest,
    /// A conflating queue. The merge function runs for each event that waits.
    Conflate,
    Sink,
    /// The filter runs for each event of the history.
    BacklogFilter,
    BacklogSink,
    /// The waker runs after the batch.
    Waker,
}

const PATHS: [Path; 8] = [
    Path::Filter,
    Path::Reserve,
    Path::DropOldest,
    Path::Conflate,
    Path::Sink,
    Path::BacklogFilter,
    Path::BacklogSink,
    Path::Waker,
];

/// The ways in which code of the host ends a subscription.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Unsubscribe,
    /// `BusReceiver::close` or `Forward::close`.
    Close,
    DropReceiver,
}

const ENDS: [End; 3] = [End::Unsubscribe, End::Close, End::DropReceiver];

/// The handle of the subscription. The hook can take it.
enum Handle {
    Receiver(BusReceiver<Item>),
    Forward(Forward<Item>, mpsc::Receiver<u64>),
}

impl Handle {
    fn id(&self) -> SubscriberId {
        match self {
            Handle::Receiver(receiver) => receiver.id(),
            Handle::Forward(forward, _) => forward.id(),
        }
    }

    fn close(&mut self) -> bool {
        match self {
            Handle::Receiver(receiver) => receiver.close(),
            Handle::Forward(forward, _) => forward.close(),
        }
    }

    /// Returns the numbers of the delivered events.
    fn delivered(&mut self) -> Vec<u64> {
        match self {
            Handle::Receiver(receiver) => receiver.try_iter().map(|delivery| delivery.event.number).collect(),
            Handle::Forward(_, accepted) => accepted.try_iter().collect(),
        }
    }

    fn lagged(&self) -> u64 {
        match self {
            Handle::Receiver(receiver) => receiver.lagged(),
            Handle::Forward(forward, _) => forward.lagged(),
        }
    }

    fn end_reason(&self) -> Option<EndReason> {
        match self {
            Handle::Receiver(receiver) => receiver.end_reason(),
            Handle::Forward(forward, _) => forward.end_reason(),
        }
    }

    fn expected_reason(&self, end: End) -> EndReason {
        match (self, end) {
            (Handle::Receiver(_), End::Close | End::DropReceiver) => EndReason::Closed,
            _ => EndReason::Unsubscribed,
        }
    }
}

fn subscribe(bus: &SharingBus<Item>, path: Path, hook: &Arc<Hook>) -> Handle {
    let called = Arc::clone(hook);
    let calling = move |event: &BusEvent<Item>| {
        called.call(event.event.number);
        event.event.number > 0
    };
    let subscription = bus.subscription().filter(EventFilter::ScrollId(scroll(1)));
    let (accepted, receiver) = mpsc::channel();
    let hook = Arc::clone(hook);
    let sink = HookSink { hook, accepted };
    let subscription = match path {
        Path::Filter => subscription.filter(EventFilter::custom(calling)),
        Path::Reserve => subscription
            .queue_capacity(EVENTS as usize)
            .essential(EventFilter::custom(calling), 1),
        Path::DropOldest => subscription
            .queue_capacity(EVENTS as usize)
            .overflow(Overflow::DropOldest),
        Path::Conflate => subscription.queue_capacity(1).conflate_with(move |_, newer| {
            calling(&newer);
            Some(newer)
        }),
        Path::Sink => return Handle::Forward(subscription.forward_to(sink), receiver),
        Path::BacklogFilter => subscription
            .filter(EventFilter::custom(calling))
            .backlog(EVENTS as usize),
        Path::BacklogSink => {
            let forward = subscription.backlog(EVENTS as usize).forward_to(sink);
            return Handle::Forward(forward, receiver);
        }
        Path::Waker => subscription,
    };
    Handle::Receiver(subscription.subscribe())
}

/// The delivered events, and the number of lost ones.
fn expected(path: Path) -> (Vec<u64>, u64) {
    match path {
        Path::Filter | Path::BacklogFilter => (Vec::new(), 0),
        // The event itself is lost, because its essential filter has ended the subscription.
        Path::Reserve => ((1..LAST).collect(), 1),
        // The displaced event is lost, and the event that displaced it is the last one.
        Path::DropOldest => ((LAST + 1..=EVENTS + LAST).collect(), LAST),
        // The second event waits. The third one has been merged into it, and both are lost with the subscription.
        Path::Conflate => (vec![1], 2),
        Path::Sink | Path::BacklogSink => ((1..=LAST).collect(), 0),
        Path::Waker => ((1..=EVENTS).collect(), 0),
    }
}

/// The thread that ends the subscription.
#[derive(Clone, Copy, Debug)]
enum Place {
    DispatchThread,
    /// Another thread, while the dispatch thread runs the hook.
    OtherThread,
}

fn check(path: Path, end: End, place: Place) {
    let is_backlog = matches!(path, Path::BacklogFilter | Path::BacklogSink);
    let kept = if is_backlog { 2 * EVENTS as usize } else { 0 };
    let bus = SharingBus::builder().history(kept).build().unwrap();
    let hook = Arc::new(Hook::default());
    if is_backlog {
        publish_batch(&bus, items(1..=EVENTS));
    }
    // The backlog is delivered only after the hook can end the subscription.
    let block = is_backlog.then(|| Block::new(&bus, item(0, None)));
    let handle = Arc::new(Mutex::new(Some(subscribe(&bus, path, &hook))));
    let id = lock(&handle).as_ref().unwrap().id();
    if path == Path::DropOldest {
        for number in 1..=EVENTS {
            bus.publish(item(number, Some(Arc::clone(&hook)))).unwrap();
            bus.flush();
        }
    }
    if path == Path::Waker {
        if let Some(Handle::Receiver(receiver)) = &mut *lock(&handle) {
            let waker = Waker::from(Arc::new(HookWaker(Arc::clone(&hook))));
            assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        }
    }
    let (inside, taken) = (bus.clone(), Arc::clone(&handle));
    let end_now = move || match end {
        End::Unsubscribe => assert!(inside.unsubscribe(id)),
        End::Close => assert!(lock(&taken).as_mut().unwrap().close()),
        End::DropReceiver => drop(lock(&taken).take()),
    };
    let deliver = || match (path, block) {
        (_, Some(block)) => block.release(),
        (Path::DropOldest, _) => publish_batch(&bus, items(EVENTS + 1..=2 * EVENTS)),
        _ => publish_batch(&bus, items(1..=EVENTS)),
    };
    match place {
        Place::DispatchThread => {
            hook.set(end_now);
            deliver();
        }
        Place::OtherThread => {
            let ((enter, entered), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
            hook.set(move || {
                enter.send(()).unwrap();
                let _ = may_go_on.recv_timeout(DEADLINE);
            });
            thread::scope(|scope| {
                scope.spawn(deliver);
                entered.recv_timeout(DEADLINE).expect("the hook must run");
                end_now();
                go_on.send(()).unwrap();
            });
        }
    }
    publish_batch(&bus, items(3 * EVENTS..=4 * EVENTS));

    assert!(
        lock(&hook.end).is_none(),
        "{path:?}, {end:?}, {place:?}: the hook must have run"
    );
    let calls_after = hook.calls_after.load(Ordering::SeqCst);
    assert!(
        calls_after == 0 || path == Path::DropOldest,
        "{path:?}, {end:?}, {place:?}: {calls_after} calls after the end"
    );
    let (delivered, lagged) = expected(path);
    assert_eq!(
        (bus.stats().delivered, bus.stats().lagged),
        (delivered.len() as u64, lagged),
        "{path:?}, {end:?}, {place:?}"
    );
    if let Some(handle) = &mut *lock(&handle) {
        assert_eq!(
            (handle.delivered(), handle.lagged(), handle.end_reason()),
            (delivered, lagged, Some(handle.expected_reason(end))),
            "{path:?}, {end:?}, {place:?}"
        );
    }
    bus.shutdown();
}

fn check_all(place: Place) {
    for path in PATHS {
        for end in ENDS {
            let forwards = matches!(path, Path::Sink | Path::BacklogSink);
            // Dropping a `Forward` does not end its subscription.
            if !(forwards && end == End::DropReceiver) {
                check(path, end, place);
            }
        }
    }
}

#[test]
fn nothing_follows_an_end_by_the_subscriptions_own_code() {
    check_all(Place::DispatchThread);
}

/// The event that is being delivered at the moment of the call is the last one.
#[test]
fn only_the_event_being_delivered_follows_an_end_by_another_thread() {
    check_all(Place::OtherThread);
}

type EndingCall = fn(Delivery<Item>) -> Result<(), SinkError<Item>>;

/// A sink that ends the subscription itself with its third event.
struct EndingSink {
    end: EndingCall,
    calls: Arc<AtomicU64>,
}

impl Sink<Item> for EndingSink {
    fn try_send(&mut self, delivery: Delivery<Item>) -> Result<(), SinkError<Item>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if delivery.event.number == LAST {
            return (self.end)(delivery);
        }
        Ok(())
    }
}

#[test]
fn a_sink_that_ends_its_subscription_is_not_called_again() {
    let ends: [(EndingCall, u64, EndReason); 3] = [
        (|delivery| Err(SinkError::Closed(delivery)), 0, EndReason::Closed),
        (|delivery| Err(SinkError::Full(delivery)), 1, EndReason::Overflowed),
        (|_| panic_quietly(), 1, EndReason::Failed),
    ];
    for (end, lagged, reason) in ends {
        let bus = SharingBus::new();
        let calls = Arc::new(AtomicU64::new(0));
        let sink = EndingSink {
            end,
            calls: Arc::clone(&calls),
        };
        let subscription = bus.subscription().filter(EventFilter::ScrollId(scroll(1)));
        let forward = subscription.overflow(Overflow::Disconnect).forward_to(sink);
        publish_batch(&bus, items(1..=EVENTS));
        publish_batch(&bus, items(1..=EVENTS));
        assert_eq!(calls.load(Ordering::SeqCst), LAST);
        assert_eq!((forward.delivered(), forward.lagged()), (LAST - 1, lagged));
        assert_eq!(forward.end_reason(), Some(reason));
        assert!(forward.is_closed() && !forward.close());
        assert_eq!(forward.end_reason(), Some(reason), "the first reason must stay");
    }
}

#[test]
fn nothing_follows_an_overflow_that_disconnects() {
    let everything = || EventFilter::ScrollId(scroll(1));
    for (events, essential) in [(EVENTS, false), (5, false), (EVENTS, true), (5, true)] {
        let bus = SharingBus::new();
        let subscription = bus.subscription().filter(everything()).queue_capacity(2);
        let subscription = subscription.overflow(Overflow::Disconnect);
        let subscription = match essential {
            true => subscription.essential(everything(), 1),
            false => subscription,
        };
        let mut receiver = subscription.subscribe();
        publish_batch(&bus, items(1..=events));
        publish_batch(&bus, items(1..=events));
        let received: Vec<_> = receiver.try_iter().map(|delivery| delivery.event.number).collect();
        assert_eq!((received, receiver.lagged()), (vec![1, 2], 1));
        assert_closed(&mut receiver);
        assert!(!receiver.close());
        assert_eq!(receiver.end_reason(), Some(EndReason::Overflowed));
        assert_eq!((bus.stats().delivered, bus.stats().lagged), (2, 1));
    }
}

/// Closing the bus ends no subscription before its accepted events. After the end, nothing follows.
#[test]
fn a_bus_that_is_closed_within_a_batch_delivers_the_accepted_events_and_nothing_else() {
    let bus = SharingBus::new();
    let hook = Arc::new(Hook::default());
    let inside = bus.clone();
    hook.set(move || assert!(inside.close()));
    let mut sink = subscribe(&bus, Path::Sink, &hook);
    let mut ring = bus.subscribe_filtered(EventFilter::ScrollId(scroll(1)), EVENTS as usize);
    let block = Block::new(&bus, item(0, None));
    items(1..=EVENTS).for_each(|event| bus.publish(event).unwrap());
    block.release();
    bus.flush();
    let all: Vec<u64> = (1..=EVENTS).collect();
    assert_eq!(sink.delivered(), all);
    let received: Vec<_> = ring.iter().map(|delivery| delivery.event.number).collect();
    assert_eq!(received, all);
    assert!(bus.publish(item(1, None)).is_err());
    assert_closed(&mut ring);
    assert_eq!(
        (sink.end_reason(), ring.end_reason()),
        (Some(EndReason::Closed), Some(EndReason::Closed))
    );
}

#[test]
fn a_receiver_reports_why_its_subscription_ended() {
    let bus = SharingBus::<Number>::new();
    let mut receivers: Vec<_> = (0..3).map(|_| bus.subscribe_all()).collect();
    assert!(receivers.iter().all(|receiver| receiver.end_reason().is_none()));
    publish_numbers(&bus, [1]);
    assert!(receivers[0].close() && !bus.unsubscribe(receivers[0].id()));
    assert!(bus.unsubscribe(receivers[1].id()) && !receivers[1].close());
    bus.shutdown();
    let reasons: Vec<_> = receivers.iter().map(BusReceiver::end_reason).collect();
    assert_eq!(
        reasons,
        [EndReason::Closed, EndReason::Unsubscribed, EndReason::Closed].map(Some)
    );
    for receiver in &mut receivers {
        assert_eq!(numbers(&drain(receiver)), [1]);
        assert_closed(receiver);
    }
    // The bus has ended, so these subscriptions are closed from the start.
    let (sender, _channel) = crossbeam_channel::bounded::<Delivery<Number>>(1);
    assert_eq!(bus.subscribe_all().end_reason(), Some(EndReason::Closed));
    assert_eq!(
        bus.subscription().forward_to(sender).end_reason(),
        Some(EndReason::Closed)
    );
}

/// Several threads end one subscription. Exactly one call succeeds, and the reason is that of this call.
#[test]
fn the_first_of_several_ends_is_the_reason() {
    for _ in 0..200 {
        let bus = SharingBus::<Number>::new();
        let mut receiver = subscribe_with(&bus, Overflow::Disconnect, 1);
        let id = receiver.id();
        let start = Barrier::new(3);
        let (closed, unsubscribed) = thread::scope(|scope| {
            let unsubscribing = scope.spawn(|| {
                start.wait();
                bus.unsubscribe(id)
            });
            let publishing = scope.spawn(|| {
                start.wait();
                publish_numbers(&bus, 1..=2);
            });
            start.wait();
            let closed = receiver.close();
            publishing.join().unwrap();
            (closed, unsubscribing.join().unwrap())
        });
        let expected = match (closed, unsubscribed) {
            (true, false) => EndReason::Closed,
            (false, true) => EndReason::Unsubscribed,
            (false, false) => EndReason::Overflowed,
            (true, true) => panic!("two calls ended one subscription"),
        };
        assert_eq!(receiver.end_reason(), Some(expected));
    }
}

/// The merge function makes space in the queue and then ends the subscription. The waiting events must not use the
/// space.
#[test]
fn a_waiting_event_is_lost_even_if_the_end_comes_with_space() {
    let bus = SharingBus::new();
    let own: Arc<Mutex<Option<BusReceiver<Item>>>> = Arc::default();
    let inside = Arc::clone(&own);
    let subscription = bus.subscription().filter(EventFilter::ScrollId(scroll(1)));
    let receiver = subscription.queue_capacity(1).conflate_with(move |_, newer| {
        let mut receiver = lock(&inside);
        let receiver = receiver.as_mut()?;
        assert!(receiver.try_recv().is_ok() && receiver.close());
        Some(newer)
    });
    *lock(&own) = Some(receiver.subscribe());
    publish_batch(&bus, items(1..=EVENTS));
    let mut receiver = lock(&own).take().unwrap();
    assert_closed(&mut receiver);
    assert_eq!((bus.stats().delivered, receiver.lagged()), (1, LAST - 1));
}

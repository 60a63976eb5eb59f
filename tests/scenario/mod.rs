//! A random scenario on real threads, followed by a sequential check of its records.
//!
//! The seed determines the publishers, the subscribers, and whether the bus closes early. Publishers register, end and
//! use sessions. Subscribers use every receive method, change their filters, leave early, or are unsubscribed by
//! another thread. Each publisher and each subscriber records its results. One more subscriber receives every event,
//! and its log gives the order of dispatch. After all threads have ended, each record is checked against the log.
//!
//! The seed does not determine the schedule of the threads, so a seed that fails once may pass the next time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use fastrand::Rng;
use futures::executor::block_on;
use sharing_bus::{
    BusEvent, BusReceiver, Delivery, EventFilter, EventKind, EventRouting, Overflow, Payload, SessionChange,
    SharingBus, SubscriberId, TryRecvError,
};
use uuid::Uuid;

/// Number of sessions that the publishers share.
const SESSIONS: u64 = 4;

const OVERFLOWS: [Overflow; 4] = [
    Overflow::DropNewest,
    Overflow::DropOldest,
    Overflow::Disconnect,
    Overflow::Conflate,
];

/// The effect of an event on its session.
#[derive(Clone, Debug)]
enum Action {
    None,
    Register(String),
    End,
}

/// A payload that identifies its publisher and its position.
#[derive(Clone, Debug)]
pub(crate) struct TaggedEvent {
    publisher: u64,
    /// Index of the event among those of its publisher.
    number: u64,
    /// Clock value taken just before its `publish` call.
    began: u64,
    session: String,
    action: Action,
}

impl Payload for TaggedEvent {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        let (connector_id, session_id) = ("c", self.session.as_str());
        match &self.action {
            Action::None => None,
            Action::Register(scroll_id) => Some(SessionChange::Registered {
                connector_id,
                session_id,
                scroll_id,
            }),
            Action::End => Some(SessionChange::Ended {
                connector_id,
                session_id,
            }),
        }
    }
}

/// A logical clock. If one tick ends before another begins, the first tick has the smaller number.
struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// The cause of the end of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The bus has ended.
    Bus,
    /// The subscription was unsubscribed, closed, or disconnected by an overflow, before the bus ended.
    Early,
    /// The receiver was dropped before the bus ended.
    Dropped,
}

/// The record of one subscriber.
struct Report {
    filter: EventFilter<TaggedEvent>,
    /// Whether the filter was replaced.
    refiltered: bool,
    capacity: usize,
    overflow: Overflow,
    /// Clock value taken just before the `subscribe` call.
    began: u64,
    /// Clock value taken after `subscribe` returned.
    subscribed: u64,
    deliveries: Vec<Delivery<TaggedEvent>>,
    lagged: u64,
    merged: u64,
    end: End,
}

/// Totals of one or more scenarios.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) published: u64,
    pub(crate) deliveries: u64,
    pub(crate) lagged: u64,
    pub(crate) subscriptions: u64,
    pub(crate) bound: u64,
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.published += other.published;
        self.deliveries += other.deliveries;
        self.lagged += other.lagged;
        self.subscriptions += other.subscriptions;
        self.bound += other.bound;
    }
}

/// Time limit of a scenario. A correct scenario takes far less time.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs and checks the scenario of this seed. Panics with the seed if a check fails or the scenario hangs.
pub(crate) fn run(seed: u64) -> Summary {
    let (done, result) = mpsc::channel();
    let running = thread::spawn(move || drop(done.send(run_and_check(seed))));
    match result.recv_timeout(DEADLINE) {
        Ok(summary) => summary,
        Err(RecvTimeoutError::Timeout) => panic!("seed {seed} hangs"),
        Err(RecvTimeoutError::Disconnected) => {
            // The panic has been reported on standard error.
            drop(running.join());
            panic!("seed {seed} failed");
        }
    }
}

fn run_and_check(seed: u64) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let clock = Clock(AtomicU64::new(0));
    let per_publisher = rng.u64(20..200);
    let publishers = rng.u64(1..4);
    let ingress = rng.usize(1..32);
    let bus: SharingBus<TaggedEvent> = SharingBus::builder().ingress_capacity(ingress).build().unwrap();
    let log = bus.subscription().queue_capacity(4 * 200).label("log").subscribe();

    let (returned, reports, log) = thread::scope(|scope| {
        let logging = scope.spawn(move || collect_log(log));
        let publishing: Vec<_> = (0..publishers)
            .map(|publisher| {
                let (bus, clock, rng) = (bus.clone(), &clock, rng.fork());
                scope.spawn(move || publish(&bus, clock, rng, publisher, per_publisher))
            })
            .collect();
        let subscribing: Vec<_> = (0..rng.u64(1..5))
            .map(|_| {
                let (bus, clock, rng) = (bus.clone(), &clock, rng.fork());
                scope.spawn(move || subscribe_repeatedly(&bus, clock, rng))
            })
            .collect();
        let closes_early = rng.u8(..4) == 0;
        if closes_early {
            thread::sleep(Duration::from_micros(rng.u64(..2_000)));
            bus.close();
        }
        let returned: Vec<_> = publishing.into_iter().map(|thread| thread.join().unwrap()).collect();
        bus.shutdown();
        let reports: Vec<Report> = subscribing
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        (returned, reports, logging.join().unwrap())
    });

    let accepted: Vec<_> = returned.iter().map(|times| times.len() as u64).collect();
    check_order(&log, &accepted);
    let bound = check_binding(&log);
    for report in &reports {
        check_report(report, &log, &returned);
    }
    check_totals(&bus, &accepted, &reports);
    Summary {
        published: accepted.iter().sum(),
        deliveries: reports.iter().map(|report| report.deliveries.len() as u64).sum(),
        lagged: reports.iter().map(|report| report.lagged).sum(),
        subscriptions: reports.len() as u64,
        bound,
    }
}

fn collect_log(mut receiver: BusReceiver<TaggedEvent>) -> Vec<Delivery<TaggedEvent>> {
    let log = receiver.iter().collect();
    assert_eq!(receiver.lagged(), 0, "the log must not lose an event");
    log
}

/// Publishes with every publish method. Returns the clock value taken after each successful call. Stops early if the bus
/// is closed.
fn publish(bus: &SharingBus<TaggedEvent>, clock: &Clock, mut rng: Rng, publisher: u64, count: u64) -> Vec<u64> {
    let mut returned = Vec::new();
    while (returned.len() as u64) < count {
        let accepted = returned.len() as u64;
        let event = tagged_event(clock, &mut rng, publisher, accepted);
        let published = match rng.u8(..5) {
            0 => bus.try_publish(event),
            1 => bus.publish_timeout(event, Duration::from_micros(rng.u64(..50))),
            2 => block_on(bus.publish_async(event)),
            _ => bus.publish(event),
        };
        match published {
            Ok(()) => returned.push(clock.tick()),
            Err(error) if error.is_full() => assert_eq!(error.into_event().event.number, accepted),
            Err(error) => {
                assert!(error.is_closed() && bus.is_closed());
                break;
            }
        }
        if rng.u8(..40) == 0 {
            bus.flush();
        }
    }
    returned
}

fn tagged_event(clock: &Clock, rng: &mut Rng, publisher: u64, number: u64) -> BusEvent<TaggedEvent> {
    let session = format!("s{}", rng.u64(..SESSIONS));
    let action = match rng.u8(..10) {
        0 => Action::Register(Uuid::from_u128(rng.u128(..3)).to_string()),
        1 => Action::End,
        _ => Action::None,
    };
    let kind = if rng.bool() { EventKind::Tool } else { EventKind::Output };
    let routing = EventRouting::session("c", session.as_str(), kind);
    let began = clock.tick();
    let tagged = TaggedEvent {
        publisher,
        number,
        began,
        session,
        action,
    };
    BusEvent::new(routing, tagged)
}

fn subscribe_repeatedly(bus: &SharingBus<TaggedEvent>, clock: &Clock, mut rng: Rng) -> Vec<Report> {
    (0..rng.u8(1..6)).map(|_| subscribe(bus, clock, &mut rng)).collect()
}

fn subscribe(bus: &SharingBus<TaggedEvent>, clock: &Clock, rng: &mut Rng) -> Report {
    let filter = filter(rng);
    let capacity = rng.usize(1..40);
    let overflow = OVERFLOWS[rng.usize(..OVERFLOWS.len())];
    let builder = bus.subscription().filter(filter.clone()).overflow(overflow);
    let began = clock.tick();
    let mut receiver = builder.queue_capacity(capacity).subscribe();
    let subscribed = clock.tick();

    let mut deliveries = Vec::new();
    let mut refiltered = false;
    let mut end = End::Bus;
    // One subscriber in four ends its subscription early, after this many deliveries.
    let leave_after = if rng.u8(..4) == 0 { rng.usize(..30) } else { usize::MAX };
    loop {
        if deliveries.len() >= leave_after && end == End::Bus {
            end = End::Early;
            match rng.u8(..3) {
                0 => drop(receiver.close()),
                1 => drop(unsubscribe_on_another_thread(bus, receiver.id())),
                _ => {
                    end = End::Dropped;
                    break;
                }
            }
        }
        if rng.u8(..50) == 0 {
            receiver.set_filter(self::filter(rng));
            refiltered = true;
        }
        if !receive(&mut receiver, rng, &mut deliveries) {
            break;
        }
    }
    if overflow == Overflow::Disconnect && end == End::Bus {
        // Either the bus or an overflow has ended the subscription.
        end = End::Early;
    }
    if end != End::Dropped {
        assert_eq!(
            receiver.try_recv().unwrap_err(),
            TryRecvError::Closed,
            "no event may follow the end of the subscription"
        );
        // The dispatch thread may still be counting the events that it dropped at the end of the subscription.
        bus.flush();
    }
    let (lagged, merged) = (receiver.lagged(), receiver.merged());
    assert!(receiver.capacity() == capacity && (end == End::Dropped || receiver.is_empty()));
    Report {
        filter,
        refiltered,
        capacity,
        overflow,
        began,
        subscribed,
        deliveries,
        lagged,
        merged,
        end,
    }
}

fn unsubscribe_on_another_thread(bus: &SharingBus<TaggedEvent>, id: SubscriberId) -> bool {
    thread::scope(|scope| scope.spawn(|| bus.unsubscribe(id)).join().unwrap())
}

fn filter(rng: &mut Rng) -> EventFilter<TaggedEvent> {
    match rng.u8(..7) {
        0 => EventFilter::ScrollId(Uuid::from_u128(rng.u128(..3))),
        1 => EventFilter::Kind(EventKind::Tool),
        2 => EventFilter::not(EventFilter::Kind(EventKind::Tool)),
        3 => EventFilter::Session {
            connector_id: "c".into(),
            native_session_id: format!("s{}", rng.u64(..SESSIONS)).into(),
        },
        4 => {
            let publisher = rng.u64(..3);
            EventFilter::custom(move |event: &BusEvent<TaggedEvent>| event.event.publisher == publisher)
        }
        _ => EventFilter::All,
    }
}

/// Receives with a random receive method. Returns false if the subscription has ended.
fn receive(
    receiver: &mut BusReceiver<TaggedEvent>,
    rng: &mut Rng,
    deliveries: &mut Vec<Delivery<TaggedEvent>>,
) -> bool {
    match rng.u8(..6) {
        0 => match receiver.try_recv() {
            Ok(delivery) => deliveries.push(delivery),
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(TryRecvError::Closed) => return false,
        },
        1 => match receiver.recv_timeout(Duration::from_micros(rng.u64(..200))) {
            Ok(delivery) => deliveries.push(delivery),
            Err(error) => return error == sharing_bus::RecvTimeoutError::Timeout,
        },
        2 => return receiver.recv_many(deliveries, rng.usize(1..8)) > 0,
        3 => return block_on(receiver.recv_many_async(deliveries, 4)) > 0,
        4 => match block_on(receiver.recv_async()) {
            Ok(delivery) => deliveries.push(delivery),
            Err(_) => return false,
        },
        _ => match receiver.recv() {
            Ok(delivery) => deliveries.push(delivery),
            Err(_) => return false,
        },
    }
    true
}

/// Checks guarantees 1, 2 and 8. The log holds each accepted event once, its sequences have no gap, and the events of
/// each publisher are in order.
fn check_order(log: &[Delivery<TaggedEvent>], accepted: &[u64]) {
    let mut next = vec![0; accepted.len()];
    for (index, delivery) in log.iter().enumerate() {
        assert_eq!(delivery.sequence(), index as u64 + 1);
        let tagged = &delivery.event;
        let expected = &mut next[tagged.publisher as usize];
        assert_eq!(tagged.number, *expected, "publisher {}", tagged.publisher);
        *expected += 1;
    }
    assert_eq!(next, accepted);
}

/// Checks guarantee 5: the latest registration before an event, in dispatch order, binds the event. Returns the number of
/// bound events.
fn check_binding(log: &[Delivery<TaggedEvent>]) -> u64 {
    let mut sessions: HashMap<&str, Uuid> = HashMap::new();
    let mut bound = 0;
    for delivery in log {
        let tagged = &delivery.event;
        if let Action::Register(scroll_id) = &tagged.action {
            sessions.insert(&tagged.session, scroll_id.parse().unwrap());
        }
        let expected = sessions.get(tagged.session.as_str()).copied();
        assert_eq!(delivery.routing.scroll_id, expected, "event {}", delivery.sequence());
        bound += u64::from(expected.is_some());
        if let Action::End = tagged.action {
            sessions.remove(tagged.session.as_str());
        }
    }
    bound
}

/// Checks guarantees 1, 2 and 4 for one subscriber. Its deliveries equal events of the log in order, and `missed` reports
/// each gap exactly.
fn check_report(report: &Report, log: &[Delivery<TaggedEvent>], returned: &[Vec<u64>]) {
    let is_earlier = |event: &Delivery<TaggedEvent>| {
        returned[event.event.publisher as usize][event.event.number as usize] < report.began
    };
    let deliveries = &report.deliveries;
    assert!(
        deliveries.is_sorted_by(|a, b| a.sequence() < b.sequence()),
        "the deliveries must be in order, without duplicates"
    );
    for delivery in deliveries {
        let logged = &log[delivery.sequence() as usize - 1];
        assert!(
            std::sync::Arc::ptr_eq(&logged.event, &delivery.event),
            "a sequence must identify the same event for all subscribers"
        );
        assert_eq!(logged.routing, delivery.routing);
        assert!(!is_earlier(logged), "the event was published before the subscription");
    }
    let reported: u64 = deliveries.iter().map(Delivery::missed).sum();
    assert!(reported <= report.lagged);
    if report.refiltered {
        return;
    }
    assert!(deliveries.iter().all(|delivery| report.filter.matches(delivery)));
    if report.overflow == Overflow::Conflate {
        return check_conflated(report, log);
    }

    let matching = |from: u64, to: u64| {
        let between = log[from as usize..(to.max(from + 1) - 1) as usize].iter();
        between.filter(|delivery| report.filter.matches(delivery))
    };
    // Events published after `subscribe` returned must be counted as missed if they precede the first delivery. Events
    // whose `publish` overlapped `subscribe` may be counted as missed, but need not be. Earlier events must not.
    let first = deliveries.first().map_or(log.len() as u64 + 1, Delivery::sequence);
    let due = matching(0, first)
        .filter(|delivery| delivery.event.began > report.subscribed)
        .count() as u64;
    let early = deliveries.first().map_or(report.lagged, Delivery::missed);
    if report.end == End::Bus || !deliveries.is_empty() {
        assert!(
            due <= early,
            "{due} events were published after the subscription, but only {early} are reported as missed"
        );
    }
    assert!(early <= matching(0, first).filter(|event| !is_earlier(event)).count() as u64);
    for pair in deliveries.windows(2) {
        let between = matching(pair[0].sequence(), pair[1].sequence()).count() as u64;
        assert_eq!(
            between,
            pair[1].missed(),
            "between {} and {}",
            pair[0].sequence(),
            pair[1].sequence()
        );
    }
    let Some(last) = deliveries.last() else { return };
    let after = matching(last.sequence(), log.len() as u64 + 1).count() as u64;
    match report.end {
        End::Bus => assert_eq!(
            report.lagged - reported,
            after,
            "every loss after the last delivery must be counted"
        ),
        End::Early => assert!(report.lagged - reported <= after),
        End::Dropped => {}
    }
    if report.end == End::Bus && report.overflow == Overflow::DropOldest {
        assert_eq!(after, 0, "the newest events must not be dropped");
    }
}

/// Checks guarantees 2 and 4 for a subscriber that conflates. Its first delivery is the first event that it matched. From
/// there on, each matching event is delivered, lost, or merged into a later event with the same key.
fn check_conflated(report: &Report, log: &[Delivery<TaggedEvent>]) {
    let deliveries = &report.deliveries;
    let reported: u64 = deliveries.iter().map(Delivery::merged).sum();
    assert!(reported <= report.merged);
    let first = deliveries
        .first()
        .map_or(log.len() + 1, |first| first.sequence() as usize);
    let matching =
        |part: &[Delivery<TaggedEvent>]| part.iter().filter(|event| report.filter.matches(event)).count() as u64;
    let due = |event: &&Delivery<TaggedEvent>| report.filter.matches(event) && event.event.began > report.subscribed;
    if report.end == End::Bus || !deliveries.is_empty() {
        assert_eq!(
            log[..first - 1].iter().filter(due).count(),
            0,
            "no event published after the subscription may precede the first delivery"
        );
    }
    let matched = matching(&log[first - 1..]);
    let accounted = deliveries.len() as u64 + report.lagged + report.merged;
    match report.end {
        End::Bus => assert_eq!((accounted, reported), (matched, report.merged)),
        End::Early => assert!(accounted <= matched),
        End::Dropped => {}
    }
    for (index, delivery) in deliveries.iter().enumerate() {
        let is_same = |other: &Delivery<TaggedEvent>| conflation_key(other) == conflation_key(delivery);
        let before = deliveries[..index].iter().rev().find(|other| is_same(other));
        let since = before.map_or(first - 1, |before| before.sequence() as usize);
        let between = log[since..delivery.sequence() as usize - 1].iter();
        let same = between
            .filter(|other| report.filter.matches(other) && is_same(other))
            .count() as u64;
        assert!(
            delivery.merged() <= same,
            "the merged events must have the same key and follow the previous delivery with that key"
        );
    }
}

/// Returns the key by which events are conflated: the scroll or, without a scroll, the session.
fn conflation_key(event: &Delivery<TaggedEvent>) -> (Option<Uuid>, Option<&str>) {
    match event.routing.scroll_id {
        Some(scroll) => (Some(scroll), None),
        None => (None, event.routing.native_session_id.as_deref()),
    }
}

/// Checks the statistics against the counts of the publishers and subscribers.
fn check_totals(bus: &SharingBus<TaggedEvent>, accepted: &[u64], reports: &[Report]) {
    let stats = bus.stats();
    let published: u64 = accepted.iter().sum();
    assert_eq!(
        (stats.published, stats.dispatched, stats.ingress_depth),
        (published, published, 0)
    );
    assert_eq!((stats.filter_panics, stats.payload_panics), (0, 0));
    assert_eq!((bus.subscriber_count(), stats.subscribers.len()), (0, 0));
    if reports.iter().all(|report| report.end != End::Dropped) {
        let received: u64 = reports.iter().map(|report| report.deliveries.len() as u64).sum();
        let lagged: u64 = reports.iter().map(|report| report.lagged).sum();
        let merged: u64 = reports.iter().map(|report| report.merged).sum();
        // The log loses and merges no event.
        assert_eq!((stats.merged, stats.lagged), (merged, lagged));
        // Events that were being queued while a subscription ended may count as delivered but not be received.
        let late = stats.delivered - (received + published);
        assert!(late == 0 || reports.iter().any(|report| report.end == End::Early));
        assert!(reports.iter().all(|report| report.capacity > 0));
    }
}

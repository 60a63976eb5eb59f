//! A random scenario on real threads, and the sequential check of what everybody saw.
//!
//! From a seed come publishers that register, end and use sessions, subscribers that receive in every way, leave early,
//! change their filter or are unsubscribed by others, and a close at a random moment. Each side writes down what it saw.
//! One subscriber, the witness, takes everything: its log is the order of dispatch, and all the rest is checked against
//! it, on one thread, after the fact.
//!
//! The schedule is the machine's and not the seed's: a seed that fails may pass the next time.

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

/// Sessions that publishers contend for.
const SESSIONS: u64 = 4;

const OVERFLOWS: [Overflow; 4] = [
    Overflow::DropNewest,
    Overflow::DropOldest,
    Overflow::Disconnect,
    Overflow::Conflate,
];

/// What an event does to its session.
#[derive(Clone, Debug)]
enum Act {
    Talk,
    Register(String),
    End,
}

/// A payload that says where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Stamp {
    publisher: u64,
    /// Its place among its publisher's events.
    number: u64,
    /// The clock as its `publish` began.
    began: u64,
    session: String,
    act: Act,
}

impl Payload for Stamp {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        let (connector_id, session_id) = ("c", self.session.as_str());
        match &self.act {
            Act::Talk => None,
            Act::Register(scroll_id) => Some(SessionChange::Registered {
                connector_id,
                session_id,
                scroll_id,
            }),
            Act::End => Some(SessionChange::Ended {
                connector_id,
                session_id,
            }),
        }
    }
}

/// Counts moments: one that ended before another began has the smaller number.
struct Clock(AtomicU64);

impl Clock {
    fn tick(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

/// How a subscription ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With the bus.
    Bus,
    /// Unsubscribed, closed, or disconnected by an overflow: somewhere on the way.
    Early,
    /// The receiver was dropped with events in its queue.
    Dropped,
}

/// What one subscriber saw.
struct Report {
    filter: EventFilter<Stamp>,
    /// The filter was replaced on the way, after this many deliveries at the latest.
    refiltered: bool,
    capacity: usize,
    overflow: Overflow,
    /// The clock after `subscribe` returned.
    subscribed: u64,
    deliveries: Vec<Delivery<Stamp>>,
    lagged: u64,
    merged: u64,
    end: End,
}

/// What a scenario was made of.
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

/// Far more than a scenario takes; one that gets there hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// Runs the scenario of this seed and checks it. Panics with the seed if something is wrong, or if it hangs.
pub(crate) fn run(seed: u64) -> Summary {
    let (done, result) = mpsc::channel();
    let running = thread::spawn(move || drop(done.send(play(seed))));
    match result.recv_timeout(DEADLINE) {
        Ok(summary) => summary,
        Err(RecvTimeoutError::Timeout) => panic!("seed {seed} hangs"),
        Err(RecvTimeoutError::Disconnected) => {
            // It panicked, and has said why.
            drop(running.join());
            panic!("seed {seed} failed");
        }
    }
}

fn play(seed: u64) -> Summary {
    let mut rng = Rng::with_seed(seed);
    let clock = Clock(AtomicU64::new(0));
    let per_publisher = rng.u64(20..200);
    let publishers = rng.u64(1..4);
    let ingress = rng.usize(1..32);
    let bus: SharingBus<Stamp> = SharingBus::builder().ingress_capacity(ingress).build().unwrap();
    let witness = bus.subscription().queue_capacity(4 * 200).label("witness").subscribe();

    let (accepted, reports, witness) = thread::scope(|scope| {
        let watching = scope.spawn(move || watch(witness));
        let publishing: Vec<_> = (0..publishers)
            .map(|publisher| {
                let (bus, clock, rng) = (bus.clone(), &clock, rng.fork());
                scope.spawn(move || publish(&bus, clock, rng, publisher, per_publisher))
            })
            .collect();
        let subscribing: Vec<_> = (0..rng.u64(1..5))
            .map(|_| {
                let (bus, clock, rng) = (bus.clone(), &clock, rng.fork());
                scope.spawn(move || subscribe_again_and_again(&bus, clock, rng))
            })
            .collect();
        let closes_early = rng.u8(..4) == 0;
        if closes_early {
            thread::sleep(Duration::from_micros(rng.u64(..2_000)));
            bus.close();
        }
        let accepted: Vec<u64> = publishing.into_iter().map(|thread| thread.join().unwrap()).collect();
        bus.shutdown();
        let reports: Vec<Report> = subscribing
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect();
        (accepted, reports, watching.join().unwrap())
    });

    check_order(&witness, &accepted);
    let bound = check_binding(&witness);
    for report in &reports {
        check_report(report, &witness);
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

fn watch(mut witness: BusReceiver<Stamp>) -> Vec<Delivery<Stamp>> {
    let log = witness.iter().collect();
    assert_eq!(witness.lagged(), 0, "the witness has room for everything");
    log
}

/// Publishes in every way there is; returns how many were accepted. A refusal is the last call: the bus is closed.
fn publish(bus: &SharingBus<Stamp>, clock: &Clock, mut rng: Rng, publisher: u64, count: u64) -> u64 {
    let mut accepted = 0;
    while accepted < count {
        let event = stamped(clock, &mut rng, publisher, accepted);
        let published = match rng.u8(..5) {
            0 => bus.try_publish(event),
            1 => bus.publish_timeout(event, Duration::from_micros(rng.u64(..50))),
            2 => block_on(bus.publish_async(event)),
            _ => bus.publish(event),
        };
        match published {
            Ok(()) => accepted += 1,
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
    accepted
}

fn stamped(clock: &Clock, rng: &mut Rng, publisher: u64, number: u64) -> BusEvent<Stamp> {
    let session = format!("s{}", rng.u64(..SESSIONS));
    let act = match rng.u8(..10) {
        0 => Act::Register(Uuid::from_u128(rng.u128(..3)).to_string()),
        1 => Act::End,
        _ => Act::Talk,
    };
    let kind = if rng.bool() { EventKind::Tool } else { EventKind::Output };
    let routing = EventRouting::session("c", session.as_str(), kind);
    let began = clock.tick();
    let stamp = Stamp {
        publisher,
        number,
        began,
        session,
        act,
    };
    BusEvent::new(routing, stamp)
}

fn subscribe_again_and_again(bus: &SharingBus<Stamp>, clock: &Clock, mut rng: Rng) -> Vec<Report> {
    (0..rng.u8(1..6)).map(|_| subscribe(bus, clock, &mut rng)).collect()
}

fn subscribe(bus: &SharingBus<Stamp>, clock: &Clock, rng: &mut Rng) -> Report {
    let filter = filter(rng);
    let capacity = rng.usize(1..40);
    let overflow = OVERFLOWS[rng.usize(..OVERFLOWS.len())];
    let builder = bus.subscription().filter(filter.clone()).overflow(overflow);
    let mut receiver = builder.queue_capacity(capacity).subscribe();
    let subscribed = clock.tick();

    let mut deliveries = Vec::new();
    let mut refiltered = false;
    let mut end = End::Bus;
    // One in four leaves before the bus ends, in one of these ways.
    let patience = if rng.u8(..4) == 0 { rng.usize(..30) } else { usize::MAX };
    loop {
        if deliveries.len() >= patience && end == End::Bus {
            end = End::Early;
            match rng.u8(..3) {
                0 => drop(receiver.close()),
                1 => drop(unsubscribe_elsewhere(bus, receiver.id())),
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
        // The bus may have ended it, or its own overflow.
        end = End::Early;
    }
    if end != End::Dropped {
        assert_eq!(
            receiver.try_recv().unwrap_err(),
            TryRecvError::Closed,
            "nothing follows the end"
        );
        // The dispatch thread may still be counting what it dropped as the subscription ended.
        bus.flush();
    }
    let (lagged, merged) = (receiver.lagged(), receiver.merged());
    assert!(receiver.capacity() == capacity && (end == End::Dropped || receiver.is_empty()));
    Report {
        filter,
        refiltered,
        capacity,
        overflow,
        subscribed,
        deliveries,
        lagged,
        merged,
        end,
    }
}

fn unsubscribe_elsewhere(bus: &SharingBus<Stamp>, id: SubscriberId) -> bool {
    thread::scope(|scope| scope.spawn(|| bus.unsubscribe(id)).join().unwrap())
}

fn filter(rng: &mut Rng) -> EventFilter<Stamp> {
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
            EventFilter::custom(move |event: &BusEvent<Stamp>| event.event.publisher == publisher)
        }
        _ => EventFilter::All,
    }
}

/// Receives in one of the ways there are; false at the end.
fn receive(receiver: &mut BusReceiver<Stamp>, rng: &mut Rng, deliveries: &mut Vec<Delivery<Stamp>>) -> bool {
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

/// Promises 1, 2 and 8: everything accepted is in the log once, numbered without a gap, each publisher's in its order.
fn check_order(log: &[Delivery<Stamp>], accepted: &[u64]) {
    let mut next = vec![0; accepted.len()];
    for (index, delivery) in log.iter().enumerate() {
        assert_eq!(delivery.sequence(), index as u64 + 1);
        let stamp = &delivery.event;
        let expected = &mut next[stamp.publisher as usize];
        assert_eq!(stamp.number, *expected, "publisher {}", stamp.publisher);
        *expected += 1;
    }
    assert_eq!(next, accepted);
}

/// Promise 5: the latest registration before an event, in dispatch order, binds it. Returns how many were bound.
fn check_binding(log: &[Delivery<Stamp>]) -> u64 {
    let mut sessions: HashMap<&str, Uuid> = HashMap::new();
    let mut bound = 0;
    for delivery in log {
        let stamp = &delivery.event;
        if let Act::Register(scroll_id) = &stamp.act {
            sessions.insert(&stamp.session, scroll_id.parse().unwrap());
        }
        let expected = sessions.get(stamp.session.as_str()).copied();
        assert_eq!(delivery.routing.scroll_id, expected, "event {}", delivery.sequence());
        bound += u64::from(expected.is_some());
        if let Act::End = stamp.act {
            sessions.remove(stamp.session.as_str());
        }
    }
    bound
}

/// Promises 1, 2 and 4 for one subscriber: what it has is the log's, in order, and every gap is what it is told.
fn check_report(report: &Report, log: &[Delivery<Stamp>]) {
    let deliveries = &report.deliveries;
    assert!(
        deliveries.is_sorted_by(|a, b| a.sequence() < b.sequence()),
        "in order, no duplicate"
    );
    for delivery in deliveries {
        let logged = &log[delivery.sequence() as usize - 1];
        assert!(
            std::sync::Arc::ptr_eq(&logged.event, &delivery.event),
            "the same event under the same number"
        );
        assert_eq!(logged.routing, delivery.routing);
    }
    let told: u64 = deliveries.iter().map(Delivery::missed).sum();
    assert!(told <= report.lagged);
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
    // Before the first delivery lies what it missed there, and at most that: what was published after it subscribed.
    let first = deliveries.first().map_or(log.len() as u64 + 1, Delivery::sequence);
    let owed = matching(0, first)
        .filter(|delivery| delivery.event.began > report.subscribed)
        .count() as u64;
    let early = deliveries.first().map_or(report.lagged, Delivery::missed);
    if report.end == End::Bus || !deliveries.is_empty() {
        assert!(
            owed <= early,
            "{owed} events were published after it subscribed, {early} told as missed"
        );
    }
    assert!(early <= matching(0, first).count() as u64);
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
        End::Bus => assert_eq!(report.lagged - told, after, "the tail"),
        End::Early => assert!(report.lagged - told <= after),
        End::Dropped => {}
    }
    if report.end == End::Bus && report.overflow == Overflow::DropOldest {
        assert_eq!(after, 0, "the newest survive");
    }
}

/// Promises 2 and 4 for one that conflates: from its first delivery on, which waited for nothing, every event that matches
/// is delivered, lost or merged into a later one of its owner.
fn check_conflated(report: &Report, log: &[Delivery<Stamp>]) {
    let deliveries = &report.deliveries;
    let told: u64 = deliveries.iter().map(Delivery::merged).sum();
    assert!(told <= report.merged);
    let first = deliveries
        .first()
        .map_or(log.len() + 1, |first| first.sequence() as usize);
    let matching = |part: &[Delivery<Stamp>]| part.iter().filter(|event| report.filter.matches(event)).count() as u64;
    let owed = |event: &&Delivery<Stamp>| report.filter.matches(event) && event.event.began > report.subscribed;
    if report.end == End::Bus || !deliveries.is_empty() {
        assert_eq!(
            log[..first - 1].iter().filter(owed).count(),
            0,
            "nothing is missed before the first"
        );
    }
    let matched = matching(&log[first - 1..]);
    let accounted = deliveries.len() as u64 + report.lagged + report.merged;
    match report.end {
        End::Bus => assert_eq!((accounted, told), (matched, report.merged)),
        End::Early => assert!(accounted <= matched),
        End::Dropped => {}
    }
    for (index, delivery) in deliveries.iter().enumerate() {
        let is_same = |other: &Delivery<Stamp>| owner(other) == owner(delivery);
        let before = deliveries[..index].iter().rev().find(|other| is_same(other));
        let since = before.map_or(first - 1, |before| before.sequence() as usize);
        let between = log[since..delivery.sequence() as usize - 1].iter();
        let same = between
            .filter(|other| report.filter.matches(other) && is_same(other))
            .count() as u64;
        assert!(
            delivery.merged() <= same,
            "what went into it is of its owner and after its last"
        );
    }
}

/// Whose event it is, for one that conflates.
fn owner(event: &Delivery<Stamp>) -> (Option<Uuid>, Option<&str>) {
    match event.routing.scroll_id {
        Some(scroll) => (Some(scroll), None),
        None => (None, event.routing.native_session_id.as_deref()),
    }
}

/// The statistics against everybody's own count.
fn check_totals(bus: &SharingBus<Stamp>, accepted: &[u64], reports: &[Report]) {
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
        // The witness has everything.
        assert_eq!((stats.merged, stats.lagged), (merged, lagged));
        // What was being queued as a subscription ended may come after its end.
        let late = stats.delivered - (received + published);
        assert!(late == 0 || reports.iter().any(|report| report.end == End::Early));
        assert!(reports.iter().all(|report| report.capacity > 0));
    }
}

//! Compares the whole bus with a sequential model, for random sequences of calls.
//!
//! The model is plain code: a vector of subscribers with one queue each, a list of sessions by age, and the last events.
//! It applies each call at once. The bus may run behind while only publishes and subscribes follow each other, because
//! the cut of a subscription is exact. Before and after each other call, the test flushes the bus, and compares the queue
//! lengths, the counts of lost events and all statistics. Each receive compares the received events.

mod common;

use std::collections::VecDeque;

use common::*;
use proptest::prelude::*;
use sharing_bus::{
    BusEvent, BusReceiver, Event, EventFilter, EventKind, EventRouting, Overflow, RecvTimeoutError, SharingBus,
    TryRecvError,
};
use std::time::Duration;
use uuid::Uuid;

/// Capacity of the session cache.
const SESSIONS: usize = 2;

/// Number of events that the bus keeps for late joiners.
const HISTORY: usize = 4;

#[derive(Clone, Copy, Debug)]
enum FilterSpec {
    All,
    Scroll(u8),
    Session(u8),
    Kind(bool),
    NotScroll(u8),
}

impl FilterSpec {
    fn build(self) -> EventFilter {
        match self {
            FilterSpec::All => EventFilter::All,
            FilterSpec::Scroll(n) => EventFilter::ScrollId(scroll_of(n)),
            FilterSpec::Session(n) => EventFilter::Session {
                connector_id: "c".into(),
                native_session_id: session_name(n).into(),
            },
            FilterSpec::Kind(tool) => EventFilter::Kind(kind(tool)),
            FilterSpec::NotScroll(n) => EventFilter::not(EventFilter::ScrollId(scroll_of(n))),
        }
    }
}

fn scroll_of(n: u8) -> Uuid {
    scroll(n.into())
}

fn session_name(n: u8) -> String {
    format!("s{n}")
}

fn kind(tool: bool) -> EventKind {
    if tool { EventKind::Tool } else { EventKind::Output }
}

/// One call. An index selects a subscriber, modulo the number of subscribers.
#[derive(Clone, Copy, Debug)]
enum Step {
    Subscribe {
        filter: FilterSpec,
        capacity: usize,
        overflow: Overflow,
        backlog: usize,
    },
    SetFilter(usize, FilterSpec),
    Unsubscribe(usize),
    CloseReceiver(usize),
    DropReceiver(usize),
    Receive(usize),
    ReceiveMany(usize, usize),
    Publish {
        session: u8,
        set: Option<u8>,
        tool: bool,
    },
    Register {
        session: u8,
        scroll: u8,
    },
    RegisterInvalid(u8),
    End(u8),
    Bind {
        session: u8,
        scroll: u8,
    },
    Forget(u8),
    CloseBus,
}

impl Step {
    /// Returns `true` if the result of the call does not depend on how far dispatch is.
    fn runs_ahead(self) -> bool {
        matches!(
            self,
            Step::Subscribe { .. }
                | Step::Publish { .. }
                | Step::Register { .. }
                | Step::RegisterInvalid(_)
                | Step::End(_)
        )
    }
}

fn filter_spec() -> impl Strategy<Value = FilterSpec> {
    prop_oneof![
        3 => Just(FilterSpec::All),
        2 => (0..3u8).prop_map(FilterSpec::Scroll),
        1 => (0..3u8).prop_map(FilterSpec::Session),
        1 => any::<bool>().prop_map(FilterSpec::Kind),
        1 => (0..3u8).prop_map(FilterSpec::NotScroll),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let overflow = prop::sample::select(vec![Overflow::DropNewest, Overflow::DropOldest, Overflow::Disconnect]);
    let at = any::<usize>;
    prop_oneof![
        30 => (0..3u8, prop::option::weighted(0.2, 0..3u8), any::<bool>())
            .prop_map(|(session, set, tool)| Step::Publish { session, set, tool }),
        10 => (0..3u8, 0..3u8).prop_map(|(session, scroll)| Step::Register { session, scroll }),
        2 => (0..3u8).prop_map(Step::RegisterInvalid),
        4 => (0..3u8).prop_map(Step::End),
        2 => (0..3u8, 0..3u8).prop_map(|(session, scroll)| Step::Bind { session, scroll }),
        2 => (0..3u8).prop_map(Step::Forget),
        8 => (filter_spec(), 1..4usize, overflow, prop_oneof![Just(0), 0..6usize])
            .prop_map(|(filter, capacity, overflow, backlog)| Step::Subscribe { filter, capacity, overflow, backlog }),
        4 => (at(), filter_spec()).prop_map(|(index, filter)| Step::SetFilter(index, filter)),
        2 => at().prop_map(Step::Unsubscribe),
        2 => at().prop_map(Step::CloseReceiver),
        2 => at().prop_map(Step::DropReceiver),
        15 => at().prop_map(Step::Receive),
        8 => (at(), 0..4usize).prop_map(|(index, max)| Step::ReceiveMany(index, max)),
        1 => Just(Step::CloseBus),
    ]
}

/// The compared parts of a delivery: sequence, missed, scroll, backlog.
type Seen = (u64, u64, Option<Uuid>, bool);

/// A queued event.
#[derive(Clone, Copy)]
struct Queued {
    sequence: u64,
    /// The position among the matching events.
    position: u64,
    scroll: Option<Uuid>,
    is_backlog: bool,
}

struct Subscriber {
    receiver: BusReceiver,
    filter: EventFilter,
    capacity: usize,
    overflow: Overflow,
    ended: bool,
    queue: VecDeque<Queued>,
    matched: u64,
    lagged: u64,
    last_position: u64,
}

impl Subscriber {
    /// Pushes a matching event. Returns how many more events are delivered and lost, and whether the subscription ends.
    fn push(&mut self, sequence: u64, scroll: Option<Uuid>, is_backlog: bool) -> (u64, u64, bool) {
        self.matched += 1;
        let entry = Queued {
            sequence,
            position: self.matched,
            scroll,
            is_backlog,
        };
        if self.queue.len() < self.capacity {
            self.queue.push_back(entry);
            return (1, 0, false);
        }
        self.lagged += 1;
        match self.overflow {
            Overflow::DropOldest => {
                self.queue.pop_front();
                self.queue.push_back(entry);
            }
            Overflow::Disconnect => self.ended = true,
            _ => {}
        }
        (0, 1, self.ended)
    }

    fn pop(&mut self) -> Option<Seen> {
        let next = self.queue.pop_front()?;
        let missed = next.position - self.last_position - 1;
        self.last_position = next.position;
        Some((next.sequence, missed, next.scroll, next.is_backlog))
    }
}

struct Model {
    bus: SharingBus,
    closed: bool,
    subscribers: Vec<Subscriber>,
    /// Sessions and their scrolls, starting with the oldest registration.
    sessions: Vec<(u8, Uuid)>,
    evicted: u64,
    /// The last events, with their sequences.
    history: VecDeque<(u64, BusEvent)>,
    dispatched: u64,
    delivered: u64,
    lagged: u64,
    unmatched: u64,
    reaped: u64,
    /// The last call may have ended a subscription. An event still counts as matched until dispatch sees that.
    ended: bool,
}

impl Model {
    fn new() -> Self {
        Model {
            bus: SharingBus::builder()
                .session_capacity(SESSIONS)
                .history(HISTORY)
                .build()
                .unwrap(),
            closed: false,
            subscribers: Vec::new(),
            sessions: Vec::new(),
            evicted: 0,
            history: VecDeque::new(),
            dispatched: 0,
            delivered: 0,
            lagged: 0,
            unmatched: 0,
            reaped: 0,
            ended: false,
        }
    }

    fn bind(&mut self, session: u8, scroll: Uuid) -> Option<Uuid> {
        let before = self.forget(session);
        self.sessions.push((session, scroll));
        if self.sessions.len() > SESSIONS {
            self.sessions.remove(0);
            self.evicted += 1;
        }
        before
    }

    fn forget(&mut self, session: u8) -> Option<Uuid> {
        let at = self.sessions.iter().position(|(bound, _)| *bound == session)?;
        Some(self.sessions.remove(at).1)
    }

    fn scroll_id(&self, session: u8) -> Option<Uuid> {
        let bound = self.sessions.iter().find(|(bound, _)| *bound == session);
        bound.map(|(_, scroll)| *scroll)
    }

    /// Publishes an event, and applies its dispatch to the model.
    fn publish(&mut self, session: u8, set: Option<u8>, kind: EventKind, event: Event) {
        let mut routing = EventRouting::session("c", session_name(session), kind);
        routing.scroll_id = set.map(scroll_of);
        let event = BusEvent::new(routing, event);
        let published = self.bus.publish(event.clone());
        assert_eq!(published.is_err(), self.closed);
        if self.closed {
            return;
        }

        let mut bound = event;
        let registered = match &*bound.event {
            Event::SessionRegistered { scroll_id, .. } => scroll_id.parse().ok(),
            _ => None,
        };
        if let Some(scroll) = registered {
            self.bind(session, scroll);
        }
        let set = bound.routing.scroll_id;
        bound.routing.scroll_id = registered.or(set).or_else(|| self.scroll_id(session));
        if matches!(*bound.event, Event::SessionEnded { .. }) {
            self.forget(session);
        }

        self.dispatched += 1;
        let mut matched = false;
        for subscriber in &mut self.subscribers {
            if !subscriber.ended && subscriber.filter.matches(&bound) {
                matched = true;
                let (delivered, lagged, overflowed) = subscriber.push(self.dispatched, bound.routing.scroll_id, false);
                self.delivered += delivered;
                self.lagged += lagged;
                self.reaped += u64::from(overflowed);
                self.ended |= overflowed;
            }
        }
        self.unmatched += u64::from(!matched);
        self.history.push_back((self.dispatched, bound));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    fn pick(&mut self, index: usize) -> Option<&mut Subscriber> {
        let count = self.subscribers.len();
        (count > 0).then(|| &mut self.subscribers[index % count])
    }

    fn step(&mut self, step: Step) {
        if !step.runs_ahead() || self.ended {
            self.check();
            self.ended = !step.runs_ahead();
        }
        match step {
            Step::Subscribe {
                filter,
                capacity,
                overflow,
                backlog,
            } => self.subscribe(filter, capacity, overflow, backlog),
            Step::SetFilter(index, filter) => {
                if let Some(subscriber) = self.pick(index) {
                    subscriber.receiver.set_filter(filter.build());
                    subscriber.filter = filter.build();
                }
            }
            Step::Unsubscribe(index) => {
                let bus = self.bus.clone();
                if let Some(subscriber) = self.pick(index) {
                    assert_eq!(bus.unsubscribe(subscriber.receiver.id()), !subscriber.ended);
                    subscriber.ended = true;
                }
            }
            Step::CloseReceiver(index) => {
                if let Some(subscriber) = self.pick(index) {
                    let closed = subscriber.receiver.close();
                    assert_eq!(closed, !subscriber.ended);
                    subscriber.ended = true;
                    self.reaped += u64::from(closed);
                }
            }
            Step::DropReceiver(index) => {
                if !self.subscribers.is_empty() {
                    let dropped = self.subscribers.swap_remove(index % self.subscribers.len());
                    self.reaped += u64::from(!dropped.ended);
                }
            }
            Step::Receive(index) => {
                if let Some(subscriber) = self.pick(index) {
                    receive(subscriber);
                }
            }
            Step::ReceiveMany(index, max) => {
                if let Some(subscriber) = self.pick(index) {
                    receive_many(subscriber, max);
                }
            }
            Step::Publish { session, set, tool } => self.publish(session, set, kind(tool), Event::Connected),
            Step::Register { session, scroll } => self.register(session, scroll_of(scroll).to_string()),
            Step::RegisterInvalid(session) => self.register(session, "no uuid".into()),
            Step::End(session) => {
                let (connector_id, session_id) = ("c".into(), session_name(session));
                let event = Event::SessionEnded {
                    connector_id,
                    session_id,
                };
                self.publish(session, None, EventKind::SessionLifecycle, event);
            }
            Step::Bind { session, scroll } => {
                let before = self.bus.bind_session("c", &session_name(session), scroll_of(scroll));
                assert_eq!(before, self.bind(session, scroll_of(scroll)));
            }
            Step::Forget(session) => {
                let before = self.bus.forget_session("c", &session_name(session));
                assert_eq!(before, self.forget(session));
            }
            Step::CloseBus => {
                assert_eq!(self.bus.close(), !self.closed);
                self.closed = true;
                self.subscribers
                    .iter_mut()
                    .for_each(|subscriber| subscriber.ended = true);
            }
        }
    }

    fn subscribe(&mut self, filter: FilterSpec, capacity: usize, overflow: Overflow, backlog: usize) {
        let builder = self.bus.subscription().filter(filter.build());
        // A closed bus may still be draining. The flush waits until the bus has ended.
        if self.closed {
            self.bus.flush();
        }
        let builder = builder.queue_capacity(capacity).overflow(overflow);
        let mut subscriber = Subscriber {
            receiver: builder.backlog(backlog).subscribe(),
            filter: filter.build(),
            capacity,
            overflow,
            ended: self.closed,
            queue: VecDeque::new(),
            matched: 0,
            lagged: 0,
            last_position: 0,
        };
        if !self.closed {
            let newest_first = self.history.iter().rev();
            let matching = newest_first.filter(|(_, event)| subscriber.filter.matches(event));
            let mut found: Vec<_> = matching.take(backlog.min(capacity)).collect();
            found.reverse();
            for (sequence, event) in found {
                subscriber.push(*sequence, event.routing.scroll_id, true);
                self.delivered += 1;
            }
        }
        self.subscribers.push(subscriber);
    }

    fn register(&mut self, session: u8, scroll_id: String) {
        let event = Event::SessionRegistered {
            connector_id: "c".into(),
            session_id: session_name(session),
            scroll_id,
        };
        self.publish(session, None, EventKind::SessionLifecycle, event);
    }

    /// Compares all observable state of the bus with the model.
    fn check(&self) {
        self.bus.flush();
        let open = || self.subscribers.iter().filter(|subscriber| !subscriber.ended);
        let stats = self.bus.stats();
        assert_eq!((stats.published, stats.dispatched), (self.dispatched, self.dispatched));
        assert_eq!((stats.delivered, stats.lagged), (self.delivered, self.lagged));
        assert_eq!((stats.unmatched, stats.reaped), (self.unmatched, self.reaped));
        assert_eq!(
            (stats.sessions, stats.sessions_evicted),
            (self.sessions.len(), self.evicted)
        );
        assert_eq!(stats.ingress_depth, 0);
        assert_eq!(
            (self.bus.is_closed(), self.bus.subscriber_count()),
            (self.closed, open().count())
        );
        for session in 0..3 {
            assert_eq!(self.bus.scroll_id("c", &session_name(session)), self.scroll_id(session));
        }
        assert_eq!(stats.subscribers.len(), open().count());
        for subscriber in open() {
            let of_bus = stats
                .subscribers
                .iter()
                .find(|stats| stats.id == subscriber.receiver.id())
                .unwrap();
            assert_eq!(of_bus.delivered + of_bus.lagged, subscriber.matched);
            assert_eq!(
                (of_bus.queued, of_bus.lagged),
                (subscriber.queue.len() as u64, subscriber.lagged)
            );
            assert_eq!(of_bus.filter, subscriber.filter.to_string());
        }
        for subscriber in &self.subscribers {
            let receiver = &subscriber.receiver;
            assert_eq!(
                (receiver.len(), receiver.lagged()),
                (subscriber.queue.len(), subscriber.lagged)
            );
            assert_eq!(receiver.is_closed(), subscriber.ended);
        }
    }
}

fn seen(delivery: &sharing_bus::Delivery) -> Seen {
    let scroll = delivery.routing.scroll_id;
    (delivery.sequence(), delivery.missed(), scroll, delivery.is_backlog())
}

/// Receives one delivery, or checks the error if none is expected.
fn receive(subscriber: &mut Subscriber) {
    match subscriber.pop() {
        Some(expected) => assert_eq!(seen(&subscriber.receiver.recv().unwrap()), expected),
        None if subscriber.ended => {
            assert!(subscriber.receiver.recv().is_err());
            assert_eq!(subscriber.receiver.try_recv().unwrap_err(), TryRecvError::Closed);
        }
        None => {
            assert_eq!(subscriber.receiver.try_recv().unwrap_err(), TryRecvError::Empty);
            let timed = subscriber.receiver.recv_timeout(Duration::ZERO);
            assert_eq!(timed.unwrap_err(), RecvTimeoutError::Timeout);
        }
    }
}

fn receive_many(subscriber: &mut Subscriber, max: usize) {
    if subscriber.queue.is_empty() && !subscriber.ended {
        return;
    }
    let mut buffer = Vec::new();
    let count = subscriber.receiver.recv_many(&mut buffer, max);
    let expected: Vec<_> = std::iter::from_fn(|| subscriber.pop()).take(max).collect();
    assert_eq!(count, expected.len());
    assert_eq!(buffer.iter().map(seen).collect::<Vec<_>>(), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_bus_matches_the_model(steps in prop::collection::vec(step(), 1..80)) {
        let mut model = Model::new();
        for step in steps {
            model.step(step);
        }
        model.check();
    }
}

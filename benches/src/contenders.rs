//! The compared channels behind one interface: each channel is started for a workload, fed by publishers, and shut
//! down.

mod broadcast;
mod fan_out;
mod ours;
mod reference;
mod rings;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use sharing_bus::EventRouting;
use tokio::runtime::Runtime;

use crate::pace::{Pace, Tally, WINDOW};
use crate::workload::{EventSpec, Filter, Names, Workload};

/// One of the compared channels.
#[derive(Clone, Copy)]
pub struct Contender {
    /// Name in the tables.
    pub name: &'static str,
    /// Starts the channel and its consumers.
    pub start: fn(&Setup) -> Running,
}

/// The parameters of one measurement.
pub struct Setup<'a> {
    /// The runtime that runs consumer tasks.
    pub runtime: &'a Runtime,
    /// The subscribers and the events.
    pub workload: &'a Workload,
    /// The record of completed bursts. Consumers report to it.
    pub pace: Arc<Pace>,
    /// The function that a consumer calls for each event, for latency measurements.
    pub on_receive: Option<OnReceive>,
    /// Whether to add one subscriber that never receives.
    pub stuck: bool,
}

/// A function that takes the time at which a received event was published.
pub type OnReceive = Arc<dyn Fn(Instant) + Send + Sync>;

/// The function that one publishing thread calls for each event.
pub type Publisher = Box<dyn FnMut(&EventSpec) + Send>;

/// A started contender with its consumers.
pub struct Running {
    /// One publisher for each publishing thread. Dropping all of them ends the consumers.
    pub publishers: Vec<Publisher>,
    consumers: Vec<Consumer>,
    /// Receivers that are kept alive and never receive.
    stuck: Vec<Box<dyn std::any::Any + Send>>,
}

enum Consumer {
    Task(tokio::task::JoinHandle<()>),
    Thread(JoinHandle<()>),
}

impl Running {
    /// Shuts the contender down and waits for its consumers.
    pub fn end(self, runtime: &Runtime) {
        drop(self.publishers);
        for consumer in self.consumers {
            match consumer {
                Consumer::Task(task) => runtime.block_on(task).expect("a consumer panicked"),
                Consumer::Thread(thread) => thread.join().expect("a consumer panicked"),
            }
        }
        drop(self.stuck);
    }
}

/// sharing-bus and the channels whose consumers are tasks.
pub const TASKS: &[Contender] = &[
    ours::TASKS,
    ours::TASKS_ASSISTED,
    reference::TASKS,
    broadcast::TOKIO,
    broadcast::ASYNC_BROADCAST,
    fan_out::TOKIO_MPSC,
];

/// sharing-bus and the channels whose receivers are polled in a loop by one thread.
pub const POLLED: &[Contender] = &[
    ours::POLLED,
    fan_out::CROSSBEAM_POLLED,
    broadcast::BUS_POLLED,
    rings::POLLED,
];

/// sharing-bus and the channels whose consumers are blocking threads.
pub const THREADS: &[Contender] = &[
    ours::THREADS,
    ours::THREADS_ASSISTED,
    fan_out::CROSSBEAM_THREADS,
    broadcast::BUS_THREADS,
];

/// sharing-bus and the channels whose latency to a thread is compared.
pub const LATENCY_THREADS: &[Contender] = &[
    ours::THREADS,
    ours::THREADS_ASSISTED,
    broadcast::TOKIO_THREADS,
    fan_out::CROSSBEAM_THREADS,
];

/// The event that every other channel carries: the same content as in sharing-bus, in one shared allocation.
struct PlainEvent {
    routing: EventRouting,
    published: Instant,
}

impl PlainEvent {
    fn matches(&self, filter: Filter) -> bool {
        filter.matches(self.routing.scroll_id.unwrap_or_default(), self.routing.kind)
    }
}

/// One consumer's filter and counters.
struct Subscription {
    filter: Filter,
    tally: Tally,
    on_receive: Option<OnReceive>,
}

impl Subscription {
    fn matches(&self, event: &PlainEvent) -> bool {
        event.matches(self.filter)
    }

    /// Records a received event that was published at this time.
    fn received(&mut self, published: Instant) {
        if let Some(on_receive) = &self.on_receive {
            on_receive(published);
        }
        self.tally.add_event();
    }
}

impl Setup<'_> {
    /// Returns one subscription for each subscriber of a channel that delivers only matching events.
    fn subscriptions(&self) -> Vec<Subscription> {
        self.subscriptions_with(|filter| self.workload.per_burst(filter))
    }

    /// Returns one subscription for each subscriber of a channel that delivers every event. The receiver filters, so
    /// its tally counts every event.
    fn unfiltered_subscriptions(&self) -> Vec<Subscription> {
        self.subscriptions_with(|_| self.workload.burst.len())
    }

    fn subscriptions_with(&self, per_burst: impl Fn(Filter) -> usize) -> Vec<Subscription> {
        let filters = self.workload.filters.iter();
        filters
            .map(|filter| Subscription {
                filter: *filter,
                tally: Tally::new(&self.pace, per_burst(*filter)),
                on_receive: self.on_receive.clone(),
            })
            .collect()
    }

    /// Returns the capacity of an ingress or a shared channel, which holds all bursts in flight.
    fn capacity(&self) -> usize {
        WINDOW * self.workload.burst.len()
    }

    /// Returns the capacity of one subscriber's queue, which holds the matching events of all bursts in flight.
    fn queue_capacity(&self, filter: Filter) -> usize {
        (WINDOW * self.workload.per_burst(filter)).max(16)
    }

    /// Returns the clock for publish times. Throughput measurements use a constant, because they must not include the
    /// cost of reading the clock.
    fn clock(&self) -> fn() -> Instant {
        thread_local! {
            static START: Instant = Instant::now();
        }
        if self.on_receive.is_some() {
            Instant::now
        } else {
            || START.with(|start| *start)
        }
    }

    /// Returns one publisher for each publishing thread.
    fn publishers<P>(&self, publisher: impl Fn() -> P) -> Vec<Publisher>
    where
        P: FnMut(&EventSpec) + Send + 'static,
    {
        let publishers = (0..self.workload.publishers).map(|_| Box::new(publisher()) as Publisher);
        publishers.collect()
    }

    /// Returns a function that creates the events of the other channels. Every event carries its scroll id, because
    /// these channels have no late binding.
    fn event_factory(&self) -> impl FnMut(&EventSpec) -> Arc<PlainEvent> + Send + 'static {
        let (names, clock) = (self.names(), self.clock());
        move |spec| {
            let bound = EventSpec { bound: true, ..*spec };
            Arc::new(PlainEvent {
                routing: names.routing(&bound),
                published: clock(),
            })
        }
    }

    fn names(&self) -> Arc<Names> {
        Arc::new(Names::new(self.workload.sessions()))
    }

    fn spawn_task(&self, consumer: impl Future<Output = ()> + Send + 'static) -> Consumer {
        Consumer::Task(self.runtime.spawn(consumer))
    }
}

fn spawn_thread(consumer: impl FnOnce() + Send + 'static) -> Consumer {
    Consumer::Thread(thread::spawn(consumer))
}

/// The outcome of polling a receiver once.
enum Polled {
    Received,
    Empty,
    Closed,
}

/// Polls the receivers in a loop until all of them are closed. Each pass empties one receiver after another. A pass
/// that receives nothing yields the thread.
fn poll_all<R>(mut receivers: Vec<(R, Subscription)>, poll: impl Fn(&mut R, &mut Subscription) -> Polled) {
    while !receivers.is_empty() {
        let mut idle = true;
        receivers.retain_mut(|(receiver, subscription)| {
            loop {
                match poll(receiver, subscription) {
                    Polled::Received => idle = false,
                    Polled::Empty => return true,
                    Polled::Closed => return false,
                }
            }
        });
        if idle {
            thread::yield_now();
        }
    }
}

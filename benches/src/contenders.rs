//! The peers behind one face: started for a workload, fed by publishers, and ended.

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
use crate::workload::{Names, Sent, Want, Workload};

/// One of what is compared.
#[derive(Clone, Copy)]
pub struct Contender {
    /// As the tables call it.
    pub name: &'static str,
    /// Starts it, with its consumers running.
    pub start: fn(&Setup) -> Running,
}

/// What a contender is started for.
pub struct Setup<'a> {
    /// Where tasks run.
    pub runtime: &'a Runtime,
    /// Who subscribes to what, and what is sent.
    pub workload: &'a Workload,
    /// Told of each burst that a consumer has whole.
    pub pace: Arc<Pace>,
    /// What a consumer does with the time at which an event was published.
    pub observe: Option<Observe>,
    /// A consumer that never receives, beside the workload's.
    pub stuck: bool,
}

/// What a consumer does with the time at which an event was published.
pub type Observe = Arc<dyn Fn(Instant) + Send + Sync>;

/// What one publishing thread calls for each event.
pub type Publisher = Box<dyn FnMut(&Sent) + Send>;

/// A contender with its consumers.
pub struct Running {
    /// One for each publishing thread. Dropping them all ends the contender.
    pub publishers: Vec<Publisher>,
    consumers: Vec<Consumer>,
    /// Kept alive and not received from.
    stuck: Vec<Box<dyn std::any::Any + Send>>,
}

enum Consumer {
    Task(tokio::task::JoinHandle<()>),
    Thread(JoinHandle<()>),
}

impl Running {
    /// Ends the contender and waits for its consumers.
    pub fn end(self, runtime: &Runtime) {
        drop(self.publishers);
        for consumer in self.consumers {
            match consumer {
                Consumer::Task(task) => runtime.block_on(task).expect("a consumer lost nothing"),
                Consumer::Thread(thread) => thread.join().expect("a consumer lost nothing"),
            }
        }
        drop(self.stuck);
    }
}

/// Ours and the peers whose consumers are tasks.
pub const TASKS: &[Contender] = &[
    ours::TASKS,
    ours::TASKS_ASSISTED,
    reference::TASKS,
    broadcast::TOKIO,
    broadcast::ASYNC_BROADCAST,
    fan_out::TOKIO_MPSC,
];

/// Ours and the peers that one thread sweeps, receiver after receiver, without waiting.
pub const SWEPT: &[Contender] = &[
    ours::SWEPT,
    fan_out::CROSSBEAM_SWEPT,
    broadcast::BUS_SWEPT,
    rings::SWEPT,
];

/// Ours and the peers whose consumers are threads that block.
pub const THREADS: &[Contender] = &[
    ours::THREADS,
    ours::THREADS_ASSISTED,
    fan_out::CROSSBEAM_THREADS,
    broadcast::BUS_THREADS,
];

/// Those whose idle latency to a thread is compared.
pub const LATENCY_THREADS: &[Contender] = &[
    ours::THREADS,
    ours::THREADS_ASSISTED,
    broadcast::TOKIO_THREADS,
    fan_out::CROSSBEAM_THREADS,
];

/// What the peers send: the same event as ours, in one shared allocation.
struct Note {
    routing: EventRouting,
    published: Instant,
}

impl Note {
    fn matches(&self, want: Want) -> bool {
        want.matches(self.routing.scroll_id.unwrap_or_default(), self.routing.kind)
    }
}

/// One consumer's view of the setup: what it wants, and what to do with it.
struct Seat {
    want: Want,
    tally: Tally,
    observe: Option<Observe>,
}

impl Seat {
    fn matches(&self, note: &Note) -> bool {
        note.matches(self.want)
    }

    fn saw(&mut self, published: Instant) {
        if let Some(observe) = &self.observe {
            observe(published);
        }
        self.tally.saw();
    }
}

impl Setup<'_> {
    /// One for each subscriber whose queue gets only what it wants.
    fn seats(&self) -> Vec<Seat> {
        self.seats_for(|want| self.workload.per_burst(want))
    }

    /// One for each subscriber that is sent everything and filters itself, so is paced by everything.
    fn seats_that_filter(&self) -> Vec<Seat> {
        self.seats_for(|_| self.workload.burst.len())
    }

    fn seats_for(&self, per_burst: impl Fn(Want) -> usize) -> Vec<Seat> {
        let wants = self.workload.wants.iter();
        wants
            .map(|want| Seat {
                want: *want,
                tally: Tally::new(&self.pace, per_burst(*want)),
                observe: self.observe.clone(),
            })
            .collect()
    }

    /// Room for all bursts on the way, in an ingress and in a channel that all consumers share.
    fn capacity(&self) -> usize {
        WINDOW * self.workload.burst.len()
    }

    /// Room for a subscriber's part of all bursts on the way.
    fn queue_capacity(&self, want: Want) -> usize {
        (WINDOW * self.workload.per_burst(want)).max(16)
    }

    /// The time, where somebody asks for it: reading the clock is not what throughput measures.
    fn clock(&self) -> fn() -> Instant {
        thread_local! {
            static START: Instant = Instant::now();
        }
        if self.observe.is_some() {
            Instant::now
        } else {
            || START.with(|start| *start)
        }
    }

    /// One for each publishing thread.
    fn publishers<P>(&self, publisher: impl Fn() -> P) -> Vec<Publisher>
    where
        P: FnMut(&Sent) + Send + 'static,
    {
        let publishers = (0..self.workload.publishers).map(|_| Box::new(publisher()) as Publisher);
        publishers.collect()
    }

    /// What makes a peer's events. Who cannot bind late is given the scroll.
    fn notes(&self) -> impl FnMut(&Sent) -> Arc<Note> + Send + 'static {
        let (names, clock) = (self.names(), self.clock());
        move |sent| {
            let bound = Sent { bound: true, ..*sent };
            Arc::new(Note {
                routing: names.routing(&bound),
                published: clock(),
            })
        }
    }

    fn names(&self) -> Arc<Names> {
        Arc::new(Names::new(self.workload.sessions()))
    }

    fn task(&self, consumer: impl Future<Output = ()> + Send + 'static) -> Consumer {
        Consumer::Task(self.runtime.spawn(consumer))
    }
}

fn spawn(consumer: impl FnOnce() + Send + 'static) -> Consumer {
    Consumer::Thread(thread::spawn(consumer))
}

/// What a receiver said.
enum Polled {
    Took,
    Empty,
    Closed,
}

/// Receives from each in turn, all that there is, until all are closed; yields where a round finds nothing.
fn sweep<R>(mut receivers: Vec<(R, Seat)>, take: impl Fn(&mut R, &mut Seat) -> Polled) {
    while !receivers.is_empty() {
        let mut idle = true;
        receivers.retain_mut(|(receiver, seat)| {
            loop {
                match take(receiver, seat) {
                    Polled::Took => idle = false,
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

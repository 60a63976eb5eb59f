//! Deliveries per second beside the reference's design on tokio, in one run.
//!
//! `cargo bench --bench compare` takes about a minute; `-- --rounds N` changes how often each measurement is taken, and
//! `-- --quick` (as under `cargo test --benches`) only shows that it runs.
//!
//! Both contenders have consumers that are tasks on the same two tokio workers, one publishing thread, and an ingress and
//! queues of 4096 (four times and sixteen times the defaults). The publisher sends bursts of 1024 events and keeps at
//! most four of them on the way, which fit into every queue: so neither contender loses anything, neither runs dry, and
//! both wait in the same way. The consumer that takes its last event of a burst counts itself off, and the last of them
//! unparks the publisher. A round measures one contender and then the other, in turn who is first. The table shows
//! medians over the rounds, and the median of the rounds' ratios.

mod reference;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use sharing_bus::{BusEvent, EventFilter, EventKind, EventOrigin, EventRouting, Payload, SharingBus};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// Events per burst.
const BURST: usize = 1024;

/// Bursts on the way at once.
const WINDOW: usize = 4;

/// The ingress and each queue hold all of them.
const CAPACITY: usize = BURST * WINDOW;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let quick = has("--quick") || !has("--bench");
    let rounds = arguments
        .iter()
        .position(|argument| argument == "--rounds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(if quick { 1 } else { 15 });
    let span = Duration::from_millis(if quick { 5 } else { 150 });

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("the runtime starts");

    println!("| subscribers | matching each event | sharing-bus, ns per delivery | reference on tokio | ratio |");
    println!("|---:|---:|---:|---:|---:|");
    for workload in [
        Workload::Everything(1),
        Workload::Everything(8),
        Workload::Everything(64),
        Workload::Everything(512),
        Workload::OneOf(128),
        Workload::OneOf(1024),
    ] {
        compare(&runtime, workload, rounds, span);
    }
}

#[derive(Clone, Copy)]
enum Workload {
    /// So many subscribers that match every event.
    Everything(usize),
    /// So many subscribers, of which one matches each event, in turn.
    OneOf(usize),
}

impl Workload {
    fn subscribers(self) -> usize {
        match self {
            Workload::Everything(count) | Workload::OneOf(count) => count,
        }
    }

    fn scroll_of(self, subscriber: usize) -> Option<Uuid> {
        match self {
            Workload::Everything(_) => None,
            // Spread like random ids.
            Workload::OneOf(_) => Some(Uuid::from_u128(
                (subscriber as u128 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
            )),
        }
    }
}

/// The payload: the burst that the consumer has whole with this one.
struct Mark {
    last_of: Option<usize>,
}

impl Payload for Mark {}

/// The bursts on the way, each with the number of consumers that do not have it whole; the last one wakes the publisher.
struct Bursts {
    outstanding: [AtomicUsize; WINDOW],
    publisher: Thread,
}

impl Bursts {
    fn took(&self, mark: &Mark) {
        let Some(burst) = mark.last_of else { return };
        if self.outstanding[burst].fetch_sub(1, Ordering::AcqRel) == 1 {
            self.publisher.unpark();
        }
    }

    fn wait(&self, burst: usize) {
        while self.outstanding[burst].load(Ordering::Acquire) > 0 {
            thread::park();
        }
    }
}

/// A bus under test, with its consumers running.
trait Contender {
    fn publish(&self, scroll: Option<Uuid>, mark: Mark);

    fn lost(&self) -> u64;
}

struct Ours {
    bus: SharingBus<Mark>,
    connector_id: Arc<str>,
    native_session_id: Arc<str>,
}

impl Ours {
    fn start(runtime: &Runtime, workload: Workload, bursts: &Arc<Bursts>) -> Box<dyn Contender> {
        let bus = SharingBus::<Mark>::builder()
            .ingress_capacity(CAPACITY)
            .queue_capacity(CAPACITY)
            .build()
            .expect("the bus starts");
        for subscriber in 0..workload.subscribers() {
            let filter = workload
                .scroll_of(subscriber)
                .map_or(EventFilter::All, EventFilter::ScrollId);
            let mut receiver = bus.subscription().filter(filter).subscribe();
            let bursts = Arc::clone(bursts);
            runtime.spawn(async move {
                while let Ok(delivery) = receiver.recv_async().await {
                    bursts.took(&delivery.event);
                }
            });
        }
        Box::new(Ours {
            bus,
            connector_id: "connector".into(),
            native_session_id: "native-session".into(),
        })
    }
}

impl Contender for Ours {
    fn publish(&self, scroll: Option<Uuid>, mark: Mark) {
        let event = BusEvent {
            routing: EventRouting {
                scroll_id: Some(scroll.unwrap_or_default()),
                connector_uid: None,
                connector_id: Some(Arc::clone(&self.connector_id)),
                native_session_id: Some(Arc::clone(&self.native_session_id)),
                kind: EventKind::Output,
            },
            origin: EventOrigin::Runtime,
            event: Arc::new(mark),
        };
        assert!(self.bus.publish(event).is_ok(), "the bus is open");
    }

    fn lost(&self) -> u64 {
        self.bus.stats().lagged
    }
}

struct Reference(reference::Bus<Mark>);

impl Reference {
    fn start(runtime: &Runtime, workload: Workload, bursts: &Arc<Bursts>) -> Box<dyn Contender> {
        let bus = runtime.block_on(async { reference::Bus::new(CAPACITY, CAPACITY) });
        for subscriber in 0..workload.subscribers() {
            let filter = workload
                .scroll_of(subscriber)
                .map_or(reference::Filter::All, reference::Filter::ScrollId);
            let mut receiver = bus.subscribe(filter);
            let bursts = Arc::clone(bursts);
            runtime.spawn(async move {
                while let Some(delivery) = receiver.recv().await {
                    bursts.took(&delivery.event);
                }
            });
        }
        Box::new(Reference(bus))
    }
}

impl Contender for Reference {
    fn publish(&self, scroll: Option<Uuid>, mark: Mark) {
        self.0.publish(reference::Routed {
            scroll_id: Some(scroll.unwrap_or_default()),
            connector_id: Some("connector".to_owned()),
            native_session_id: Some("native-session".to_owned()),
            event: Arc::new(mark),
        });
    }

    fn lost(&self) -> u64 {
        self.0.lagged()
    }
}

type Start = fn(&Runtime, Workload, &Arc<Bursts>) -> Box<dyn Contender>;

/// Publishes bursts for `span` and returns nanoseconds per delivery.
fn measure(runtime: &Runtime, workload: Workload, start: Start, span: Duration) -> f64 {
    let bursts = Arc::new(Bursts {
        outstanding: Default::default(),
        publisher: thread::current(),
    });
    let contender = start(runtime, workload, &bursts);
    let mut publisher = Publisher {
        contender: &*contender,
        workload,
        bursts: &bursts,
    };
    publisher.run(WINDOW);
    let begun = Instant::now();
    let mut deliveries = 0;
    while begun.elapsed() < span {
        deliveries += publisher.run(4 * WINDOW);
    }
    let elapsed = begun.elapsed();
    assert_eq!(contender.lost(), 0, "the window fits into every queue");
    elapsed.as_nanos() as f64 / deliveries as f64
}

struct Publisher<'a> {
    contender: &'a dyn Contender,
    workload: Workload,
    bursts: &'a Bursts,
}

impl Publisher<'_> {
    /// Publishes so many bursts and waits for all of them; returns how many deliveries they came to.
    fn run(&mut self, count: usize) -> usize {
        for burst in 0..count {
            let place = burst % WINDOW;
            self.bursts.wait(place);
            self.publish(place);
        }
        for place in 0..WINDOW {
            self.bursts.wait(place);
        }
        let deliveries_per_event = match self.workload {
            Workload::Everything(subscribers) => subscribers,
            Workload::OneOf(_) => 1,
        };
        count * BURST * deliveries_per_event
    }

    fn publish(&mut self, place: usize) {
        let subscribers = self.workload.subscribers();
        self.bursts.outstanding[place].store(subscribers, Ordering::Release);
        // Who matches in turn gets its last event of the burst in the last turn.
        let last_from = match self.workload {
            Workload::Everything(_) => BURST - 1,
            Workload::OneOf(_) => BURST - subscribers,
        };
        for event in 0..BURST {
            let last_of = (event >= last_from).then_some(place);
            let scroll = self.workload.scroll_of(event % subscribers);
            self.contender.publish(scroll, Mark { last_of });
        }
    }
}

fn compare(runtime: &Runtime, workload: Workload, rounds: usize, span: Duration) {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let (our_time, their_time);
        if round % 2 == 0 {
            our_time = measure(runtime, workload, Ours::start, span);
            their_time = measure(runtime, workload, Reference::start, span);
        } else {
            their_time = measure(runtime, workload, Reference::start, span);
            our_time = measure(runtime, workload, Ours::start, span);
        }
        ours.push(our_time);
        theirs.push(their_time);
        ratios.push(their_time / our_time);
    }
    let matching = match workload {
        Workload::Everything(_) => "all",
        Workload::OneOf(_) => "one",
    };
    println!(
        "| {} | {matching} | {:.0} | {:.0} | {:.1}× |",
        workload.subscribers(),
        median(&mut ours),
        median(&mut theirs),
        median(&mut ratios)
    );
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

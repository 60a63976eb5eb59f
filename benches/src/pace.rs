//! Pacing: how far publishers may be ahead of the slowest consumer, the same for every contender.
//!
//! Publishers send bursts and keep at most [`WINDOW`] of them on the way, which fit into every queue. So no contender
//! loses an event, none runs dry, and all wait in the same way: the consumer that completes a burst counts itself off,
//! and the last one wakes the publishers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Bursts on the way at once.
pub const WINDOW: usize = 4;

/// A burst that is not through by then never will be.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which bursts are through, and who waits for them.
#[derive(Default)]
pub struct Pace {
    /// By place in the window: how often a consumer has completed a burst there. On lines of their own.
    completed: [Completed; WINDOW],
    /// Those that receive anything at all, once all have their tally.
    consumers: AtomicUsize,
    publishers: Mutex<Vec<Thread>>,
}

#[derive(Default)]
#[repr(align(128))]
struct Completed(AtomicUsize);

impl Pace {
    fn consumers(&self) -> usize {
        self.consumers.load(Ordering::Acquire)
    }

    /// The calling thread publishes, and is woken when a burst is through.
    pub fn publish_from_here(&self) {
        self.publishers.lock().unwrap().push(thread::current());
    }

    /// Waits until every consumer has the burst with this number whole.
    pub fn wait_for(&self, burst: usize) {
        let target = self.consumers() * (burst / WINDOW + 1);
        let deadline = Instant::now() + PATIENCE;
        while self.completed[burst % WINDOW].0.load(Ordering::Acquire) < target {
            assert!(Instant::now() < deadline, "a consumer is stuck");
            thread::park_timeout(PATIENCE);
        }
    }

    fn complete(&self, place: usize) {
        let through = self.completed[place].0.fetch_add(1, Ordering::AcqRel) + 1;
        if through % self.consumers() == 0 {
            for publisher in self.publishers.lock().unwrap().iter() {
                publisher.unpark();
            }
        }
    }
}

/// One consumer's count of what it has received.
pub struct Tally {
    pace: Arc<Pace>,
    per_burst: usize,
    count: usize,
    place: usize,
}

impl Tally {
    /// For a consumer that receives so many events of each burst; if any, publishers wait for it.
    pub fn new(pace: &Arc<Pace>, per_burst: usize) -> Self {
        pace.consumers.fetch_add(usize::from(per_burst > 0), Ordering::AcqRel);
        Tally {
            pace: Arc::clone(pace),
            per_burst,
            count: 0,
            place: 0,
        }
    }

    /// The consumer has one more event.
    pub fn saw(&mut self) {
        self.count += 1;
        if self.count == self.per_burst {
            self.count = 0;
            self.pace.complete(self.place);
            self.place = (self.place + 1) % WINDOW;
        }
    }
}

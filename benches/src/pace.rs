//! Pacing: the limit on how far publishers may be ahead of the slowest consumer, which is the same for every contender.
//!
//! Publishers send bursts and keep at most [`WINDOW`] bursts in flight, which fit into every queue. No contender loses
//! an event, none runs out of events, and all of them wait in the same way. A consumer that completes a burst adds
//! itself to the burst's count. The last consumer of a burst wakes the publishers.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// Maximum number of bursts in flight.
pub const WINDOW: usize = 4;

/// Time after which a burst that is still incomplete is treated as lost.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The completed bursts, and the publishers that wait for them.
#[derive(Default)]
pub struct Pace {
    /// For each place in the window, the number of times that a consumer has completed a burst there. Each count has a
    /// cache line to itself.
    completed: [Completed; WINDOW],
    /// Number of consumers that receive at least one event per burst. Final once every consumer has its [`Tally`].
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

    /// Registers the calling thread as a publisher. It is woken whenever a burst is complete.
    pub fn register_publisher(&self) {
        self.publishers.lock().unwrap().push(thread::current());
    }

    /// Waits until every consumer has received all events of the burst with this number.
    pub fn wait_for_burst(&self, burst: usize) {
        let target = self.consumers() * (burst / WINDOW + 1);
        let deadline = Instant::now() + TIMEOUT;
        while self.completed[burst % WINDOW].0.load(Ordering::Acquire) < target {
            assert!(Instant::now() < deadline, "a consumer is stuck");
            thread::park_timeout(TIMEOUT);
        }
    }

    fn complete(&self, place: usize) {
        let completed = self.completed[place].0.fetch_add(1, Ordering::AcqRel) + 1;
        if completed % self.consumers() == 0 {
            for publisher in self.publishers.lock().unwrap().iter() {
                publisher.unpark();
            }
        }
    }
}

/// One consumer's count of received events.
pub struct Tally {
    pace: Arc<Pace>,
    per_burst: usize,
    count: usize,
    place: usize,
}

impl Tally {
    /// Creates the tally of a consumer that receives `per_burst` events of each burst. Publishers wait for the consumer
    /// unless `per_burst` is zero.
    pub fn new(pace: &Arc<Pace>, per_burst: usize) -> Self {
        pace.consumers.fetch_add(usize::from(per_burst > 0), Ordering::AcqRel);
        Tally {
            pace: Arc::clone(pace),
            per_burst,
            count: 0,
            place: 0,
        }
    }

    /// Counts one received event.
    pub fn add_event(&mut self) {
        self.count += 1;
        if self.count == self.per_burst {
            self.count = 0;
            self.pace.complete(self.place);
            self.place = (self.place + 1) % WINDOW;
        }
    }
}

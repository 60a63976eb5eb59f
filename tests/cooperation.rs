//! Cooperation with executors: a task that never has to wait yields to the other tasks of its executor.

mod common;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use futures::StreamExt;
use futures::executor::LocalPool;
use futures::task::LocalSpawnExt;
use sharing_bus::{BusReceiver, Delivery, EventFilter, RecvError, SharingBus};

/// Number of events without a wait after which a task that receives may yield.
const BUDGET: usize = 192;

/// Number of calls without a wait after which a task that publishes yields.
const CALLS: usize = 128;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs two tasks on one thread of each runtime. A hanging runtime fails the test.
fn on_each_runtime(tasks: fn() -> [Task; 2]) {
    let runs: [fn([Task; 2]); 5] = [
        |[first, second]| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let tasks = [tokio::spawn(first), tokio::spawn(second)];
                for task in tasks {
                    task.await.unwrap();
                }
            });
        },
        |[first, second]| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .build()
                .unwrap();
            runtime.block_on(async {
                let tasks = [tokio::spawn(first), tokio::spawn(second)];
                for task in tasks {
                    task.await.unwrap();
                }
            });
        },
        |[first, second]| {
            let executor = smol::LocalExecutor::new();
            let tasks = [executor.spawn(first), executor.spawn(second)];
            smol::block_on(executor.run(async {
                for task in tasks {
                    task.await;
                }
            }));
        },
        |[first, second]| {
            let mut pool = LocalPool::new();
            pool.spawner().spawn_local(first).unwrap();
            pool.spawner().spawn_local(second).unwrap();
            pool.run();
        },
        |[first, second]| {
            futures::executor::block_on(futures::future::join(first, second));
        },
    ];
    for run in runs {
        let running = thread::spawn(move || run(tasks()));
        wait_until("both tasks have ended", || running.is_finished());
        running.join().unwrap();
    }
}

/// Yields once.
async fn give_way() {
    let mut given = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A bus and a receiver for a task that is always busy.
struct Busy {
    bus: SharingBus<Number>,
    receiver: BusReceiver<Number>,
}

impl Busy {
    fn new() -> Self {
        let bus = SharingBus::builder().ingress_capacity(100_000).build().unwrap();
        let receiver = bus.subscribe_filtered(EventFilter::All, 2_000);
        Busy { bus, receiver }
    }

    /// Closes the bus, and waits for its end.
    fn closed() -> Self {
        let busy = Busy::new();
        busy.bus.shutdown();
        busy
    }

    /// Fills the queue, so that the next receives need not wait.
    fn refill(&mut self) {
        if self.receiver.len() < 200 {
            publish_numbers(&self.bus, 0..1_000);
        }
    }

    async fn receive(&mut self) -> Delivery<Number> {
        self.refill();
        self.receiver.recv_async().await.unwrap()
    }

    async fn receive_many(&mut self, max: usize) {
        self.refill();
        assert_ne!(self.receiver.recv_many_async(&mut Vec::new(), max).await, 0);
    }
}

/// Returns a task that repeats `step` until the second task has run twenty times. The second task could not run if the
/// first one never yielded.
fn beside_a_counter<F: Future<Output = Busy> + Send + 'static>(busy: Busy, step: fn(Busy) -> F) -> [Task; 2] {
    let done = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&done);
    let first = async move {
        let mut busy = busy;
        while !done.load(Ordering::SeqCst) {
            busy = step(busy).await;
        }
    };
    let second = async move {
        for _ in 0..20 {
            give_way().await;
        }
        ended.store(true, Ordering::SeqCst);
    };
    [Box::pin(first), Box::pin(second)]
}

#[test]
fn a_task_that_receives_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::new(), |mut busy: Busy| async move {
            busy.receive().await;
            busy
        })
    });
}

#[test]
fn a_task_that_polls_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::new(), |mut busy: Busy| async move {
            busy.refill();
            poll_fn(|cx| busy.receiver.poll_recv(cx)).await.unwrap();
            busy
        })
    });
}

#[test]
fn a_task_that_reads_a_stream_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::new(), |mut busy: Busy| async move {
            busy.refill();
            busy.receiver.next().await.unwrap();
            busy
        })
    });
}

#[test]
fn a_task_that_receives_many_events_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::new(), |mut busy: Busy| async move {
            // The maxima are the length of a bundle, and the lengths beside it.
            for max in [1, 63, 64, 65] {
                busy.receive_many(max).await;
            }
            busy
        })
    });
}

/// After the first receive, each receive by the task finds the rest of a bundle.
#[test]
fn a_task_that_also_receives_without_waiting_gives_way() {
    on_each_runtime(|| {
        let mut busy = Busy::new();
        busy.refill();
        busy.receiver.try_recv().unwrap();
        beside_a_counter(busy, |mut busy: Busy| async move {
            busy.receive().await;
            assert_eq!(busy.receiver.try_iter().take(63).count(), 63);
            busy
        })
    });
}

#[test]
fn a_task_that_receives_the_end_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::closed(), |mut busy: Busy| async move {
            assert_eq!(busy.receiver.recv_async().await.unwrap_err(), RecvError);
            busy
        })
    });
}

#[test]
fn a_task_that_publishes_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::new(), |busy: Busy| async move {
            busy.bus.publish_async(number(0)).await.unwrap();
            busy
        })
    });
}

#[test]
fn a_task_that_publishes_to_a_closed_bus_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::closed(), |busy: Busy| async move {
            assert!(busy.bus.publish_async(number(0)).await.unwrap_err().is_closed());
            busy
        })
    });
}

#[test]
fn a_task_that_flushes_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::new(), |busy: Busy| async move {
            busy.bus.flush_async().await;
            busy
        })
    });
}

#[test]
fn a_task_that_flushes_a_closed_bus_gives_way() {
    on_each_runtime(|| {
        beside_a_counter(Busy::closed(), |busy: Busy| async move {
            busy.bus.flush_async().await;
            busy
        })
    });
}

/// A test of `tokio::sync::broadcast`, adapted to the bus.
#[test]
fn a_receive_in_a_biased_select_gives_way() {
    let selecting = thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut busy = Busy::new();
            tokio::select! {
                biased;
                () = async { loop { busy.receive().await; } } => {}
                () = tokio::task::yield_now() => {}
            }
        });
    });
    wait_until("the second branch is selected", || selecting.is_finished());
    selecting.join().unwrap();
}

/// Counts its wake-ups.
#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Keeps the thread busy for longer than a budget.
fn outlast_a_budget() {
    let started = Instant::now();
    while started.elapsed() < Duration::from_millis(1) {}
}

/// Polls `calls` futures until each is ready. Returns the number of polls that were pending. Each of these wakes the
/// task itself.
fn pending_polls<T>(calls: usize, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> usize {
    let woken = Arc::new(WakeCount::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut pending = 0;
    for _ in 0..calls {
        while poll(&mut cx).is_pending() {
            pending += 1;
            assert_eq!(woken.0.load(Ordering::SeqCst), pending, "the task must wake itself");
        }
    }
    assert_eq!(woken.0.load(Ordering::SeqCst), pending, "the task is woken in vain");
    pending
}

#[test]
fn a_receive_yields_once_per_budget() {
    let mut busy = Busy::new();
    busy.refill();
    assert_eq!(pending_polls(BUDGET, |cx| busy.receiver.poll_recv(cx)), 0);
    for _ in 0..3 {
        outlast_a_budget();
        assert_eq!(pending_polls(1, |cx| busy.receiver.poll_recv(cx)), 1);
        assert_eq!(pending_polls(BUDGET - 1, |cx| busy.receiver.poll_recv(cx)), 0);
    }
    while busy.receiver.try_recv().is_ok() {}
    // The task waits, and so renews its budget.
    assert!(
        busy.receiver
            .poll_recv(&mut Context::from_waker(Waker::noop()))
            .is_pending()
    );
    publish_numbers(&busy.bus, 0..BUDGET as u64);
    assert_eq!(pending_polls(BUDGET, |cx| busy.receiver.poll_recv(cx)), 0);
}

#[test]
fn a_task_that_waits_in_time_never_yields() {
    let mut busy = Busy::new();
    for _ in 0..10 {
        publish_numbers(&busy.bus, 0..BUDGET as u64);
        assert_eq!(pending_polls(BUDGET, |cx| busy.receiver.poll_recv(cx)), 0);
        outlast_a_budget();
        assert!(
            busy.receiver
                .poll_recv(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    }
}

#[test]
fn a_publish_yields_once_per_budget() {
    let busy = Busy::new();
    let bus = busy.bus.clone();
    // Calls of the same thread are counted together, so this test needs a new thread.
    let publishing = thread::spawn(move || {
        let mut publish = Box::pin(bus.publish_async(number(0)));
        pending_polls(1_000, |cx| {
            let published = publish.as_mut().poll(cx);
            if published.is_ready() {
                publish = Box::pin(bus.publish_async(number(0)));
            }
            published
        })
    });
    assert_eq!(publishing.join().unwrap(), 999 / CALLS);
    busy.bus.flush();
    assert_eq!(busy.bus.stats().dispatched, 1_000);
}

#[test]
fn a_future_that_yields_and_is_dropped_loses_no_event() {
    let mut busy = Busy::new();
    busy.refill();
    let mut received = Vec::new();
    let mut polls = 0;
    while received.len() < 1_000 {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(delivery) = pin!(busy.receiver.recv_async()).poll(&mut cx) {
            received.push(delivery.unwrap().event.0);
        }
        polls += 1;
        if received.len() % (BUDGET / 2) == 0 {
            outlast_a_budget();
        }
    }
    assert_eq!(received, (0..1_000).collect::<Vec<_>>());
    assert!(polls > 1_000, "no future yielded");
}

#[test]
fn a_thread_has_no_budget() {
    let mut busy = Busy::new();
    busy.refill();
    for n in 0..500 {
        assert_eq!(busy.receiver.try_recv().unwrap().event.0, n);
    }
    outlast_a_budget();
    for n in 500..999 {
        assert_eq!(busy.receiver.recv().unwrap().event.0, n);
    }
    outlast_a_budget();
    let past = Instant::now();
    assert_eq!(busy.receiver.recv_deadline(past).unwrap().event.0, 999);
}

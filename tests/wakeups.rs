//! Guarantee 6, the number of wake-ups: each waiting task is woken once, also if several tasks or threads wait for the
//! same condition. A canceled wait is not woken.

mod common;

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use common::*;
use futures::Stream;
use sharing_bus::{EventFilter, RecvTimeoutError, SharingBus};

/// Counts its wake-ups.
#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A waker, and its count of wake-ups.
struct Task {
    count: Arc<WakeCount>,
    waker: Waker,
}

impl Task {
    fn new() -> Self {
        let count = Arc::new(WakeCount::default());
        let waker = Waker::from(Arc::clone(&count));
        Task { count, waker }
    }

    fn cx(&self) -> Context<'_> {
        Context::from_waker(&self.waker)
    }

    fn poll<F: Future + ?Sized>(&self, future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut self.cx())
    }

    fn wake_ups(&self) -> usize {
        self.count.0.load(Ordering::SeqCst)
    }

    /// Panics if the bus holds a waker of this task.
    #[track_caller]
    fn assert_released(&self) {
        assert_eq!(Arc::strong_count(&self.count), 2, "the bus holds a waker");
    }
}

#[test]
fn a_burst_wakes_a_task_once() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let task = Task::new();
    assert!(receiver.poll_recv(&mut task.cx()).is_pending());
    publish_numbers(&bus, 0..64);
    assert_eq!(task.wake_ups(), 1);
    for n in 0..64 {
        let Poll::Ready(Ok(delivery)) = receiver.poll_recv(&mut task.cx()) else {
            panic!("the event must be queued");
        };
        assert_eq!(delivery.event.0, n);
    }
    assert!(receiver.poll_recv(&mut task.cx()).is_pending());
    bus.flush();
    assert_eq!(task.wake_ups(), 1);
}

#[test]
fn a_canceled_receive_is_not_woken() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let task = Task::new();
    let mut buffer = Vec::new();
    assert!(task.poll(pin!(receiver.recv_async())).is_pending());
    task.assert_released();
    assert!(task.poll(pin!(receiver.recv_many_async(&mut buffer, 8))).is_pending());
    task.assert_released();
    publish_numbers(&bus, [1]);
    assert_eq!(task.wake_ups(), 0);
    assert_eq!(receiver.try_recv().unwrap().event.0, 1);
}

#[test]
fn a_receive_that_was_never_polled_cancels_no_other_wait() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let task = Task::new();
    assert!(Pin::new(&mut receiver).poll_next(&mut task.cx()).is_pending());
    drop(receiver.recv_async());
    publish_numbers(&bus, [1]);
    assert_eq!(task.wake_ups(), 1);
}

#[test]
fn a_finished_receive_leaves_the_next_wait_alone() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let task = Task::new();
    {
        let mut receive = pin!(receiver.recv_async());
        assert!(task.poll(receive.as_mut()).is_pending());
        publish_numbers(&bus, [1]);
        assert!(task.poll(receive.as_mut()).is_ready());
    }
    assert_eq!(task.wake_ups(), 1);
    task.assert_released();
}

#[test]
fn a_thread_that_times_out_leaves_no_waker() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let task = Task::new();
    assert!(receiver.poll_recv(&mut task.cx()).is_pending());
    // The waker of the thread replaces the waker of the task.
    let timed_out = receiver.recv_deadline(std::time::Instant::now());
    assert_eq!(timed_out.unwrap_err(), RecvTimeoutError::Timeout);
    task.assert_released();
    publish_numbers(&bus, [1]);
    assert_eq!(task.wake_ups(), 0);
    assert_eq!(receiver.recv().unwrap().event.0, 1);
}

#[test]
fn canceled_publishes_and_flushes_are_not_woken() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let block = Block::new(&bus, number(0));
    let task = Task::new();
    // The first flush fills the ingress. The other calls wait for space.
    let mut flush = Box::pin(bus.flush_async());
    assert!(task.poll(flush.as_mut()).is_pending());
    assert!(task.poll(pin!(bus.flush_async())).is_pending());
    assert!(task.poll(pin!(bus.publish_async(number(1)))).is_pending());
    drop(flush);
    task.assert_released();
    block.release();
    bus.flush();
    assert_eq!(task.wake_ups(), 0);
    assert_eq!(bus.stats().dispatched, 1);
}

/// Polls each future with a task of its own. Returns the tasks.
fn poll_each<F: Future>(futures: &mut [Pin<Box<F>>]) -> Vec<Task> {
    let poll = |future: &mut Pin<Box<F>>| {
        let task = Task::new();
        assert!(task.poll(future.as_mut()).is_pending());
        task
    };
    futures.iter_mut().map(poll).collect()
}

#[track_caller]
fn wait_until_woken(tasks: &[Task]) {
    wait_until("all tasks are woken", || tasks.iter().all(|task| task.wake_ups() > 0));
}

/// Polls several flushes, releases dispatch, and checks that each flush is woken once and is then ready.
fn check_flushes(bus: &SharingBus<Number>, block: Block<Number>) {
    let mut flushes: Vec<_> = (0..4).map(|_| Box::pin(bus.flush_async())).collect();
    let tasks = poll_each(&mut flushes);
    block.release();
    wait_until_woken(&tasks);
    for (flush, task) in flushes.iter_mut().zip(&tasks) {
        assert!(task.poll(flush.as_mut()).is_ready());
        assert_eq!(task.wake_ups(), 1);
    }
}

#[test]
fn the_end_of_the_bus_wakes_all_tasks_that_flush() {
    let bus = SharingBus::<Number>::new();
    let block = Block::new(&bus, number(0));
    bus.close();
    check_flushes(&bus, block);
}

#[test]
fn a_batch_wakes_all_tasks_that_flush() {
    let bus = SharingBus::<Number>::new();
    let block = Block::new(&bus, number(0));
    check_flushes(&bus, block);
}

#[test]
fn closing_wakes_all_tasks_that_wait_for_space() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let block = Block::new(&bus, number(0));
    bus.try_publish(number(1)).unwrap();
    let mut publishes: Vec<_> = (2..6).map(|n| Box::pin(bus.publish_async(number(n)))).collect();
    let tasks = poll_each(&mut publishes);
    bus.close();
    for (publish, task) in publishes.iter_mut().zip(&tasks) {
        assert_eq!(task.wake_ups(), 1);
        let Poll::Ready(published) = task.poll(publish.as_mut()) else {
            panic!("a closed bus must refuse the event");
        };
        assert!(published.unwrap_err().is_closed());
    }
    block.release();
}

/// Runs `wait` on several threads while dispatch is blocked, and then releases it.
fn all_threads_return(bus: &SharingBus<Number>, wait: fn(&SharingBus<Number>)) {
    let block = Block::new(bus, number(0));
    if bus.stats().ingress_capacity == 1 {
        bus.try_publish(number(1)).unwrap();
    }
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            thread::spawn(move || wait(&bus))
        })
        .collect();
    // Most threads wait by now. Each thread must return whether it waits or not.
    (0..1_000).for_each(|_| thread::yield_now());
    block.release();
    wait_until("all threads return", || {
        waiting.iter().all(|thread| thread.is_finished())
    });
    for thread in waiting {
        thread.join().unwrap();
    }
}

#[test]
fn all_threads_that_flush_return() {
    for capacity in [1, 1024] {
        let bus = SharingBus::builder().ingress_capacity(capacity).build().unwrap();
        all_threads_return(&bus, SharingBus::flush);
    }
}

#[test]
fn all_threads_that_flush_a_closed_bus_return() {
    let bus = SharingBus::new();
    all_threads_return(&bus, |bus| {
        bus.close();
        bus.flush();
        assert_eq!(bus.stats().dispatched, 1);
    });
}

#[test]
fn all_threads_that_shut_the_bus_down_return_after_its_end() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 8);
    all_threads_return(&bus, |bus| {
        bus.shutdown();
        assert_eq!(bus.stats().dispatched, 1);
    });
    assert_eq!(numbers(&drain(&mut receiver)), [0]);
    assert_closed(&mut receiver);
}

#[test]
fn all_threads_that_publish_return_when_the_bus_has_space() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    all_threads_return(&bus, |bus| bus.publish(number(2)).unwrap());
    bus.flush();
    assert_eq!(bus.stats().dispatched, 6);
}

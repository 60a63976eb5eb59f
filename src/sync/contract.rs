//! Tests of the behavior that other modules rely on. A plain build tests the real primitives. A loom build tests the
//! stand-ins in every schedule.

use std::task::{Wake, Waker};

use super::atomic::{AtomicUsize, Ordering};
use super::*;

/// Number of runs of each test in a plain build.
#[cfg(not(sharing_bus_loom))]
const ROUNDS: usize = 200;

#[cfg(not(sharing_bus_loom))]
fn check(body: impl Fn() + Send + Sync + 'static) {
    for _ in 0..ROUNDS {
        body();
    }
}

#[cfg(sharing_bus_loom)]
fn check(body: impl Fn() + Send + Sync + 'static) {
    loom::model(body);
}

fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> thread::JoinHandle<T> {
    thread::Builder::new().spawn(body).expect("the thread of a test starts")
}

/// Yields to the other thread.
fn pause() {
    #[cfg(sharing_bus_loom)]
    loom::thread::yield_now();
    #[cfg(not(sharing_bus_loom))]
    std::thread::yield_now();
}

#[test]
fn load_after_join_returns_the_stored_value() {
    check(|| {
        let swap = Arc::new(ArcSwap::from_pointee(1));
        let mut cache = Cache::new(Arc::clone(&swap));
        assert_eq!(**cache.load(), 1);
        let other = Arc::clone(&swap);
        let writer = spawn(move || other.store(Arc::new(2)));
        let early = [**swap.load(), *swap.load_full()];
        assert!(matches!(early, [1, 1 | 2] | [2, 2]));
        assert!(writer.join().is_ok());
        assert_eq!((*swap.load_full(), **swap.load()), (2, 2));
        assert_eq!(**cache.load(), 2);
    });
}

#[test]
fn swapped_out_value_is_returned_once_and_dropped_with_its_last_reference() {
    check(|| {
        let value = Arc::new(7);
        let weak = Arc::downgrade(&value);
        let gate = Arc::new(ArcSwapOption::from_pointee(value));
        let (reader, closer) = (Arc::clone(&gate), Arc::clone(&gate));
        let reader = spawn(move || reader.load().is_some());
        let closer = spawn(move || closer.swap(None).is_some());
        let closed_here = gate.swap(None).is_some();
        let closed_there = closer.join().is_ok_and(|closed| closed);
        assert!(reader.join().is_ok());
        assert!(
            closed_here != closed_there,
            "exactly one of two swaps must return the value"
        );
        assert!(gate.load().is_none() && gate.load_full().is_none());
        assert!(weak.upgrade().is_none());
    });
}

#[test]
fn channel_is_bounded_and_ordered_and_drains_before_it_disconnects() {
    check(|| {
        let (sender, receiver) = channel::bounded(1);
        assert!(sender.try_send(1).is_ok());
        let refused = sender.try_send(9);
        assert!(matches!(refused, Err(channel::TrySendError::Full(9))));
        // Waits for space, then drops the sender.
        let waiting = spawn(move || sender.send(2).is_ok());
        assert_eq!(receiver.recv().ok(), Some(1));
        assert_eq!(receiver.recv().ok(), Some(2));
        assert!(receiver.recv().is_err());
        assert!(receiver.try_recv().is_err());
        assert!(waiting.join().is_ok_and(|sent| sent));
    });
}

#[test]
fn try_recv_finds_a_value_whose_send_happened_before() {
    check(|| {
        let (sender, receiver) = channel::bounded(1);
        let sent = Arc::new(AtomicUsize::new(0));
        let flag = Arc::clone(&sent);
        let sending = spawn(move || {
            assert!(sender.try_send(1).is_ok());
            flag.store(1, Ordering::Release);
            sender
        });
        if sent.load(Ordering::Acquire) == 1 {
            assert_eq!(receiver.try_recv().ok(), Some(1));
        }
        assert!(sending.join().is_ok());
    });
}

#[test]
fn channel_without_receiver_returns_the_value_to_its_sender() {
    check(|| {
        let (sender, receiver) = channel::bounded(1);
        assert!(sender.try_send(1).is_ok());
        let dropper = spawn(move || drop(receiver));
        // Blocks until the receiver is dropped.
        assert_eq!(sender.send(2).map_err(|refused| refused.0), Err(2));
        assert!(dropper.join().is_ok());
        let refused = sender.try_send(3);
        assert!(matches!(refused, Err(channel::TrySendError::Disconnected(3))));
    });
}

#[test]
fn ring_delivers_whole_values_in_order() {
    check(|| {
        let (mut producer, mut consumer) = ring::RingBuffer::new(1);
        let pushing = spawn(move || {
            let first = producer.push(Box::new(1)).is_ok();
            let second = match producer.push(Box::new(2)) {
                Ok(()) => true,
                Err(rtrb::PushError::Full(refused)) => {
                    assert_eq!(*refused, 2);
                    false
                }
            };
            (first, second)
        });
        let mut taken = Vec::new();
        taken.extend(consumer.pop());
        taken.extend(consumer.pop());
        let (first, second) = pushing.join().unwrap_or_default();
        assert!(first);
        taken.extend(consumer.pop());
        let expected = 1 + usize::from(second);
        let taken: Vec<_> = taken.into_iter().map(|value| *value).collect();
        assert_eq!(taken, [1, 2][..expected]);
    });
}

#[test]
fn pop_and_force_push_never_take_the_same_value() {
    check(|| {
        let queue = Arc::new(ArrayQueue::new(1));
        assert!(queue.force_push(1).is_none());
        let other = Arc::clone(&queue);
        let pushing = spawn(move || other.force_push(2));
        let popped = queue.pop();
        let displaced = pushing.join().unwrap_or_default();
        let rest = queue.pop();
        assert_eq!(queue.pop(), None);
        let mut seen: Vec<_> = [popped, displaced, rest].into_iter().flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2]);
        assert_ne!(displaced, Some(2), "force_push must displace the oldest value");
    });
}

#[test]
fn map_is_shared_by_threads_and_queried_by_borrowed_key() {
    check(|| {
        let map = Arc::new(DashMap::<String, u32>::new());
        assert!(map.insert("a".to_owned(), 1).is_none());
        let other = Arc::clone(&map);
        let writer = spawn(move || {
            assert_eq!(other.insert("a".to_owned(), 2), Some(1));
            other.insert("b".to_owned(), 3)
        });
        let seen = map.get("a").map(|found| *found);
        assert!(seen == Some(1) || seen == Some(2));
        assert!(writer.join().is_ok_and(|previous| previous.is_none()));
        assert_eq!(map.get("b").map(|found| *found), Some(3));
        assert_eq!(map.remove("a"), Some(("a".to_owned(), 2)));
        assert!(map.get("a").is_none() && map.remove("a").is_none());
    });
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// Either `take` returns the registered waker, or the registering thread sees every write made before the `take`.
#[test]
fn waker_is_woken_or_its_owner_sees_the_condition() {
    check(|| {
        let shared = Arc::new((AtomicWaker::new(), AtomicUsize::new(0)));
        let other = Arc::clone(&shared);
        let waking = spawn(move || {
            let (cell, ready) = &*other;
            ready.store(1, Ordering::Release);
            if let Some(waker) = cell.take() {
                waker.wake();
            }
        });
        let count = Arc::new(CountWakes(AtomicUsize::new(0)));
        let (cell, ready) = &*shared;
        cell.register(&Waker::from(Arc::clone(&count)));
        let saw = ready.load(Ordering::Acquire) == 1;
        assert!(waking.join().is_ok());
        let woken = count.0.load(Ordering::Acquire) == 1;
        assert!(saw || woken, "a wake-up was lost");
    });
}

#[test]
fn parker_keeps_a_token_and_synchronizes_with_its_wake() {
    check(|| {
        let parker = Parker::new();
        let waker = Waker::from(parker.unparker());
        waker.wake_by_ref();
        // Returns at once, because the token is available.
        parker.park();
        let value = Arc::new(AtomicUsize::new(0));
        let other = Arc::clone(&value);
        let waking = spawn(move || {
            other.store(1, Ordering::Relaxed);
            waker.wake();
        });
        parker.park();
        assert_eq!(value.load(Ordering::Relaxed), 1);
        assert!(waking.join().is_ok());
    });
}

#[test]
fn mutex_excludes_and_synchronizes() {
    check(|| {
        let shared = Arc::new((Mutex::new(0), AtomicUsize::new(0)));
        let other = Arc::clone(&shared);
        let adding = spawn(move || add_under_lock(&other));
        add_under_lock(&shared);
        assert!(adding.join().is_ok());
        assert_eq!(*shared.0.lock(), 2);
        assert_eq!(shared.1.load(Ordering::Relaxed), 2);
    });
}

/// Adds one in two steps. The lock must keep the other thread from running between them.
fn add_under_lock((count, relaxed): &(Mutex<usize>, AtomicUsize)) {
    let mut count = count.lock();
    let before = relaxed.load(Ordering::Relaxed);
    pause();
    relaxed.store(before + 1, Ordering::Relaxed);
    *count += 1;
}

#[test]
fn token_identifies_its_thread() {
    check(|| {
        let here = thread::token();
        let there = spawn(thread::token).join().ok();
        assert_eq!(here, thread::token());
        assert_ne!(there, Some(here));
    });
}

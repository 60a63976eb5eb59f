//! Guarantee 6, no lost wake-up: the next matching event, a close and an unsubscribe each wake a waiting receiver.
//! A lost wake-up blocks every thread, and loom reports a deadlock.
#![cfg(sharing_bus_loom)]

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use sharing_bus::RecvError;
use sharing_bus_loom_tests::{bus, event, model};

#[test]
fn recv_races_publish() {
    model("recv_races_publish", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let waiting = thread::spawn(move || {
            assert!(receiver.recv().is_ok());
        });
        bus.publish(event()).unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn recv_async_races_publish() {
    model("recv_async_races_publish", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let waiting = thread::spawn(move || {
            assert!(block_on(receiver.recv_async()).is_ok());
        });
        bus.publish(event()).unwrap();
        waiting.join().unwrap();
    });
}

#[test]
fn recv_races_close() {
    model("recv_races_close", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let waiting = thread::spawn(move || {
            assert_eq!(receiver.recv().unwrap_err(), RecvError);
        });
        bus.close();
        waiting.join().unwrap();
    });
}

#[test]
fn recv_races_unsubscribe() {
    model("recv_races_unsubscribe", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let id = receiver.id();
        let waiting = thread::spawn(move || {
            assert_eq!(receiver.recv().unwrap_err(), RecvError);
        });
        assert!(bus.unsubscribe(id));
        waiting.join().unwrap();
    });
}

/// A waker that counts its wake-ups.
struct Count(AtomicUsize);

impl Count {
    fn new() -> Arc<Self> {
        Arc::new(Count(AtomicUsize::new(0)))
    }

    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// One task polls a receiver, and then another task does. If both polls are pending, the second task is woken.
#[test]
fn waker_replaced_between_polls() {
    model("waker_replaced_between_polls", 3, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        let other = bus.clone();
        let publisher = thread::spawn(move || {
            other.publish(event()).unwrap();
            other.flush();
        });
        let (first, second) = (Count::new(), Count::new());
        let mut pending = |count: &Arc<Count>| {
            let waker = Waker::from(Arc::clone(count));
            receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending()
        };
        let both_wait = pending(&first) && pending(&second);
        publisher.join().unwrap();
        if both_wait {
            assert_eq!(second.get(), 1, "the task that polled last must be woken");
        }
    });
}

/// The dispatch thread wakes a task that waits for space in the ingress.
#[test]
fn publish_async_races_dispatch() {
    model("publish_async_races_dispatch", 3, || {
        let bus = bus(1, 4);
        bus.publish(event()).unwrap();
        block_on(bus.publish_async(event())).unwrap();
        bus.flush();
        assert_eq!(bus.stats().dispatched, 2);
    });
}

/// Two tasks wait for the same space in the ingress, and one gives up. The other task still publishes its event.
#[test]
fn canceled_publish_async_races_its_wake_up() {
    model("canceled_publish_async_races_its_wake_up", 2, || {
        let bus = bus(1, 4);
        bus.publish(event()).unwrap();
        let other = bus.clone();
        let waiting = thread::spawn(move || block_on(other.publish_async(event())).unwrap());
        {
            let mut canceled = Box::pin(bus.publish_async(event()));
            let waker = Waker::from(Count::new());
            let _ = canceled.as_mut().poll(&mut Context::from_waker(&waker));
        }
        waiting.join().unwrap();
    });
}

/// `flush` waits for the dispatch thread. The caller then sees the event in the queue.
#[test]
fn flush_sees_dispatched_events() {
    model("flush_sees_dispatched_events", 5, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        bus.publish(event()).unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_ok());
    });
}

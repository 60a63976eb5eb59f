//! Promise 6: a receiver that waits is woken by the next matching event, by close and by unsubscribe. A lost wake-up
//! leaves every thread blocked, which loom reports as a deadlock.
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

/// Counts how often it is woken.
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

/// A receiver polled by one task and then by another: if the second poll finds nothing, the second task is woken.
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
            assert_eq!(second.get(), 1, "the task of the last poll is woken");
        }
    });
}

/// A task that waits for room is woken by the dispatch thread that makes some.
#[test]
fn room_races_a_waiting_task() {
    model("room_races_a_waiting_task", 3, || {
        let bus = bus(1, 4);
        bus.publish(event()).unwrap();
        block_on(bus.publish_async(event())).unwrap();
        bus.flush();
        assert_eq!(bus.stats().dispatched, 2);
    });
}

/// Of two tasks that wait for the same room, one gives up: the other is let in.
#[test]
fn a_cancelled_publish_races_its_turn() {
    model("a_cancelled_publish_races_its_turn", 2, || {
        let bus = bus(1, 4);
        bus.publish(event()).unwrap();
        let other = bus.clone();
        let waiting = thread::spawn(move || block_on(other.publish_async(event())).unwrap());
        {
            let mut giving_up = Box::pin(bus.publish_async(event()));
            let count = Waker::from(Count::new());
            let _ = giving_up.as_mut().poll(&mut Context::from_waker(&count));
        }
        waiting.join().unwrap();
    });
}

/// A flush waits for the dispatch thread's answer and sees what it did.
#[test]
fn flush_sees_what_was_dispatched() {
    model("flush_sees_what_was_dispatched", 5, || {
        let bus = bus(2, 2);
        let mut receiver = bus.subscribe_all();
        bus.publish(event()).unwrap();
        bus.flush();
        assert!(receiver.try_recv().is_ok());
    });
}

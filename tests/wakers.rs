//! Guarantees 3 and 6: wakers are user code. A waker that panics as it is cloned, woken or dropped harms no later wait.

mod common;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;

use common::*;
use futures::Stream;
use sharing_bus::{BusReceiver, Delivery, RecvError, SharingBus};

/// A step of a waker that panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Clone,
    Wake,
    WakeByRef,
    Drop,
}

const FAULTS: [Fault; 4] = [Fault::Clone, Fault::Wake, Fault::WakeByRef, Fault::Drop];

/// The state behind all clones of a waker. One step panics, as long as the state is armed.
struct Faulty {
    fault: Fault,
    /// Number of panics that are left.
    armed: AtomicUsize,
}

impl Faulty {
    /// Returns a waker whose faulty step panics this many times.
    fn waker(fault: Fault, panics: usize) -> Waker {
        let armed = AtomicUsize::new(panics);
        let data = Arc::into_raw(Arc::new(Faulty { fault, armed }));
        // SAFETY: the functions of `VTABLE` treat the pointer as one count of an `Arc<Faulty>`.
        #[expect(unsafe_code, reason = "only a raw waker can panic as it is cloned")]
        unsafe {
            Waker::from_raw(RawWaker::new(data.cast(), &VTABLE))
        }
    }

    fn step(&self, fault: Fault) {
        let armed = |armed: usize| armed.checked_sub(1);
        if self.fault == fault
            && self
                .armed
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, armed)
                .is_ok()
        {
            panic_quietly();
        }
    }
}

#[expect(unsafe_code, reason = "the functions of a raw waker are unsafe")]
static VTABLE: RawWakerVTable = {
    /// Borrows the state of a waker.
    unsafe fn state<'a>(data: *const ()) -> &'a Faulty {
        // SAFETY: the caller owns a count of the `Arc`.
        unsafe { &*data.cast() }
    }
    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: the caller owns a count of the `Arc`.
        unsafe {
            state(data).step(Fault::Clone);
            Arc::increment_strong_count(data.cast::<Faulty>());
        }
        RawWaker::new(data, &VTABLE)
    }
    unsafe fn wake(data: *const ()) {
        // SAFETY: the caller gives up a count of the `Arc`.
        let state = unsafe { Arc::from_raw(data.cast::<Faulty>()) };
        state.step(Fault::Wake);
    }
    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: the caller owns a count of the `Arc`.
        unsafe { state(data).step(Fault::WakeByRef) };
    }
    unsafe fn drop_waker(data: *const ()) {
        // SAFETY: the caller gives up a count of the `Arc`.
        let state = unsafe { Arc::from_raw(data.cast::<Faulty>()) };
        state.step(Fault::Drop);
    }
    RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker)
};

/// A waker that counts its wake-ups.
#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls with a waker whose faulty step panics, and catches its panic. Returns `true` if the poll panicked.
fn poll_faulty<T>(fault: Fault, panics: usize, poll: &mut dyn FnMut(&mut Context<'_>) -> Poll<T>) -> bool {
    let waker = Faulty::waker(fault, panics);
    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut Context::from_waker(&waker))));
    // The faulty step of dropping must be left to the bus.
    std::mem::forget(waker);
    match polled {
        Ok(polled) => {
            assert!(polled.is_pending());
            false
        }
        Err(_) => true,
    }
}

type PollReceiver = fn(&mut BusReceiver<Number>, &mut Context<'_>) -> Poll<Option<Number>>;

fn value(received: Result<Delivery<Number>, RecvError>) -> Option<Number> {
    received.ok().map(|delivery| *delivery.event)
}

/// The calls by which a task receives.
const RECEIVES: [PollReceiver; 4] = [
    |receiver, cx| receiver.poll_recv(cx).map(value),
    |receiver, cx| pin!(receiver.recv_async()).poll(cx).map(value),
    |receiver, cx| {
        Pin::new(receiver)
            .poll_next(cx)
            .map(|next| next.map(|delivery| *delivery.event))
    },
    |receiver, cx| {
        let mut buffer = Vec::new();
        let polled = pin!(receiver.recv_many_async(&mut buffer, 1)).poll(cx);
        polled.map(|_| buffer.pop().map(|delivery| *delivery.event))
    },
];

#[test]
fn a_receiver_works_after_a_panic_of_its_waker() {
    for fault in FAULTS {
        for poll in RECEIVES {
            let bus = SharingBus::new();
            let mut receiver = bus.subscribe_all();
            assert!(!poll_faulty(fault, 1, &mut |cx| poll(&mut receiver, cx)), "{fault:?}");
            publish_numbers(&bus, [1]);
            let count = Arc::new(WakeCount::default());
            let waker = Waker::from(Arc::clone(&count));
            let mut cx = Context::from_waker(&waker);
            assert_eq!(poll(&mut receiver, &mut cx), Poll::Ready(Some(Number(1))), "{fault:?}");
            // The future of a canceled receive no longer waits. The other calls do.
            assert!(receiver.poll_recv(&mut cx).is_pending());
            publish_numbers(&bus, [2]);
            assert_eq!(count.0.load(Ordering::SeqCst), 1, "{fault:?}");
            assert_eq!(poll(&mut receiver, &mut cx), Poll::Ready(Some(Number(2))));
        }
    }
}

/// A clone that panics twice reaches the caller of the poll.
#[test]
fn a_receiver_works_after_a_panic_that_reaches_its_task() {
    for poll in RECEIVES {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_all();
        assert!(poll_faulty(Fault::Clone, 2, &mut |cx| poll(&mut receiver, cx)));
        for n in 1..=3 {
            let count = Arc::new(WakeCount::default());
            let waker = Waker::from(Arc::clone(&count));
            let mut cx = Context::from_waker(&waker);
            assert!(receiver.poll_recv(&mut cx).is_pending());
            publish_numbers(&bus, [n]);
            assert_eq!(count.0.load(Ordering::SeqCst), 1);
            assert_eq!(poll(&mut receiver, &mut cx), Poll::Ready(Some(Number(n))));
        }
    }
}

#[test]
fn a_waker_may_panic_when_another_one_replaces_it() {
    for fault in FAULTS {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_all();
        poll_faulty(fault, 1, &mut |cx| receiver.poll_recv(cx));
        let count = Arc::new(WakeCount::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        // The faulty waker also replaces a healthy one.
        poll_faulty(fault, 1, &mut |cx| receiver.poll_recv(cx));
        assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
        publish_numbers(&bus, [1]);
        assert_eq!(count.0.load(Ordering::SeqCst), 1, "{fault:?}");
        assert_eq!(receiver.try_recv().unwrap().event.0, 1);
    }
}

#[test]
fn a_thread_receives_after_a_panic_of_a_waker() {
    for (fault, round) in FAULTS
        .into_iter()
        .flat_map(|fault| (0..20).map(move |round| (fault, round)))
    {
        let bus = SharingBus::<Number>::new();
        let mut receiver = bus.subscribe_all();
        poll_faulty(fault, 1, &mut |cx| receiver.poll_recv(cx));
        let receiving = thread::spawn(move || receiver.recv().map(|delivery| delivery.event.0));
        // The flushes give the thread time to sleep, without which a lost wake-up would have no effect.
        (0..20).for_each(|_| bus.flush());
        publish_numbers(&bus, [round]);
        wait_until("the thread has received", || receiving.is_finished());
        assert_eq!(receiving.join().unwrap(), Ok(round), "{fault:?}");
    }
}

#[test]
fn a_dropped_receiver_contains_a_panic_of_its_waker() {
    for fault in FAULTS {
        let bus = SharingBus::<Number>::new();
        let mut receiver = bus.subscribe_all();
        poll_faulty(fault, 1, &mut |cx| receiver.poll_recv(cx));
        drop(receiver);
        bus.flush();
        assert_eq!(bus.stats().reaped, 1, "{fault:?}");
    }
}

#[test]
fn the_end_of_a_subscription_contains_a_panic_of_its_waker() {
    for fault in FAULTS {
        let bus = SharingBus::<Number>::new();
        let mut receivers = [bus.subscribe_all(), bus.subscribe_all(), bus.subscribe_all()];
        for receiver in &mut receivers {
            poll_faulty(fault, 1, &mut |cx| receiver.poll_recv(cx));
        }
        assert!(bus.unsubscribe(receivers[0].id()));
        assert!(receivers[1].close());
        bus.shutdown();
        for receiver in &mut receivers {
            assert_eq!(receiver.recv().unwrap_err(), RecvError, "{fault:?}");
        }
    }
}

/// The wake-up of a waiting task may panic. Its notification then reaches the next task.
#[test]
fn a_task_waits_for_space_behind_a_waker_that_panics() {
    for fault in FAULTS {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let block = Block::new(&bus, number(0));
        bus.try_publish(number(1)).unwrap();
        // More faulty tasks wait than the next batches have commands. One of them gives up.
        let mut faulty: Vec<_> = (2..12).map(|n| Box::pin(bus.publish_async(number(n)))).collect();
        for publish in &mut faulty {
            poll_faulty(fault, 1, &mut |cx| publish.as_mut().poll(cx));
        }
        drop(faulty.pop());
        let count = Arc::new(WakeCount::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut healthy = Box::pin(bus.publish_async(number(12)));
        assert!(healthy.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        block.release();
        // With another fault, the faulty tasks are woken first, and their events notify the healthy task later.
        if fault == Fault::Wake {
            wait_until("the healthy task is woken", || count.0.load(Ordering::SeqCst) == 1);
        }
        // A future that has panicked must not be polled again.
        if fault == Fault::Clone {
            faulty.clear();
        }
        let published = faulty.len() as u64 + 3;
        let all = futures::future::join_all(faulty.into_iter().chain([healthy]));
        assert!(futures::executor::block_on(all).iter().all(Result::is_ok));
        bus.flush();
        assert_eq!(bus.stats().dispatched, published, "{fault:?}");
    }
}

#[test]
fn a_task_that_waits_for_space_replaces_a_waker_that_panics() {
    for fault in [Fault::Wake, Fault::WakeByRef, Fault::Drop] {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let block = Block::new(&bus, number(0));
        bus.try_publish(number(1)).unwrap();
        let mut publish = Box::pin(bus.publish_async(number(2)));
        poll_faulty(fault, 1, &mut |cx| publish.as_mut().poll(cx));
        let count = Arc::new(WakeCount::default());
        let waker = Waker::from(Arc::clone(&count));
        assert!(publish.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        block.release();
        wait_until("the task is woken", || count.0.load(Ordering::SeqCst) == 1);
        futures::executor::block_on(publish).unwrap();
    }
}

#[test]
fn a_task_waits_for_a_flush_beside_a_waker_that_panics() {
    for fault in FAULTS {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let block = Block::new(&bus, number(0));
        let mut flushing = Box::pin(bus.flush_async());
        // The ingress is full now, so the next flushes wait for space.
        poll_faulty(fault, 1, &mut |cx| flushing.as_mut().poll(cx));
        let mut waiting = Box::pin(bus.flush_async());
        poll_faulty(fault, 1, &mut |cx| waiting.as_mut().poll(cx));
        bus.close();
        // A flush of a closed bus waits for its end.
        let mut ending = Box::pin(bus.flush_async());
        poll_faulty(fault, 1, &mut |cx| ending.as_mut().poll(cx));
        block.release();
        bus.shutdown();
        futures::executor::block_on(bus.flush_async());
        if fault != Fault::Clone {
            futures::executor::block_on(futures::future::join3(flushing, waiting, ending));
        }
        assert_eq!(bus.stats().dispatched, 1, "{fault:?}");
    }
}

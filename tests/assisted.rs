//! Assisted dispatch: what runs on whose thread, and user code contained on a publisher's. That all else stays as it is,
//! the other tests say, run on assisted buses by `ci/assisted.sh`.

mod common;

use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};

use common::*;
use sharing_bus::{BusEvent, BusReceiver, EventFilter, EventRouting, Payload, PublishError, SharingBus};

fn assisted<E: Payload>() -> SharingBus<E> {
    SharingBus::builder().assisted_dispatch(true).build().unwrap()
}

/// A subscription whose filter notes the thread that it runs on, and takes everything.
fn witness(bus: &SharingBus<Number>) -> (BusReceiver<Number>, mpsc::Receiver<ThreadId>) {
    let (note, noted) = mpsc::channel();
    let filter = EventFilter::custom(move |_| {
        let _ = note.send(thread::current().id());
        true
    });
    (bus.subscribe_filtered(filter, 10_000), noted)
}

/// Publishes after a lull, until it was this thread that dispatched; what else is in the queue stays there.
fn dispatch_here(bus: &SharingBus<Number>, noted: &mpsc::Receiver<ThreadId>) {
    wait_until("a publisher dispatches", || {
        // Whether the lull is long enough, and the thread at rest, is up to the machine.
        thread::sleep(std::time::Duration::from_micros(100));
        bus.publish(number(0)).unwrap();
        noted.recv_timeout(DEADLINE).unwrap() == thread::current().id()
    });
}

#[test]
fn an_idle_bus_is_dispatched_by_its_publisher_within_the_call() {
    let bus = assisted();
    let (mut receiver, noted) = witness(&bus);
    dispatch_here(&bus, &noted);
    let last = drain(&mut receiver).len() as u64;
    assert_eq!(bus.stats().dispatched, last);
    assert!(noted.try_recv().is_err(), "each event is matched once");
}

#[test]
fn every_way_to_publish_assists() {
    type Publish = fn(&SharingBus<Number>) -> Result<(), PublishError<Number>>;
    let ways: [Publish; 4] = [
        |bus| bus.publish(number(1)),
        |bus| bus.try_publish(number(1)),
        |bus| bus.publish_timeout(number(1), DEADLINE),
        |bus| futures::executor::block_on(bus.publish_async(number(1))),
    ];
    for publish in ways {
        let bus = assisted();
        let (_receiver, noted) = witness(&bus);
        wait_until("a publisher dispatches", || {
            thread::sleep(std::time::Duration::from_micros(100));
            publish(&bus).unwrap();
            noted.recv_timeout(DEADLINE).unwrap() == thread::current().id()
        });
    }
}

#[test]
fn a_publisher_runs_one_batch_and_leaves_the_backlog_to_the_thread() {
    let bus = assisted();
    let (mut receiver, noted) = witness(&bus);
    let block = Block::new(&bus, number(0));
    let here = thread::current().id();
    for n in 1..1000 {
        bus.publish(number(n)).unwrap();
    }
    block.release();
    bus.flush();
    assert_eq!(numbers(&drain(&mut receiver)), (0..1000).collect::<Vec<_>>());
    let noted: Vec<_> = noted.try_iter().collect();
    assert!(!noted.contains(&here), "who finds the turn taken goes on");
    let last = noted[999];
    let others = noted.iter().filter(|thread| **thread != last);
    assert!(
        others.count() <= 64,
        "no more than the batch of the publisher that was held"
    );
}

#[test]
fn unless_told_a_publisher_runs_no_user_code() {
    let bus = SharingBus::builder().assisted_dispatch(false).build().unwrap();
    let (_receiver, noted) = witness(&bus);
    for _ in 0..20 {
        thread::sleep(std::time::Duration::from_micros(100));
        bus.publish(number(0)).unwrap();
        assert_ne!(noted.recv_timeout(DEADLINE).unwrap(), thread::current().id());
    }
}

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic::resume_unwind(Box::new("on purpose"));
    }
}

#[test]
fn what_panics_on_a_publishers_thread_stays_there() {
    let bus = assisted();
    let (_receiver, noted) = witness(&bus);
    let panicked_here = Arc::new(AtomicU64::new(0));
    let (here, count) = (thread::current().id(), Arc::clone(&panicked_here));
    let faulty = EventFilter::custom(move |_| {
        if thread::current().id() == here {
            count.fetch_add(1, Ordering::Relaxed);
        }
        panic::resume_unwind(Box::new("on purpose"));
    });
    let _faulty = bus.subscribe_filtered(faulty, 4);
    let mut waiting = bus.subscribe_all();
    let waker = Waker::from(Arc::new(PanickingWaker));
    assert!(waiting.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    dispatch_here(&bus, &noted);
    assert!(panicked_here.load(Ordering::Relaxed) > 0);
    assert_eq!(bus.stats().filter_panics, bus.stats().dispatched);
    assert!(waiting.try_recv().is_ok());
    // The bus lives on, and so does its thread.
    bus.shutdown();
    assert_eq!(waiting.iter().count() as u64, bus.stats().dispatched - 1);
}

/// Publishes on an idle bus with a filter that runs `action` on this thread.
fn in_dispatch_here(bus: &SharingBus<Number>, action: impl FnOnce() + Send + 'static) {
    let (here, action) = (thread::current().id(), Mutex::new(Some(action)));
    let filter = EventFilter::custom(move |_| {
        let here = thread::current().id() == here;
        let action = here.then(|| action.lock().unwrap().take()).flatten();
        if let Some(action) = action {
            action();
        }
        here
    });
    let mut ran = bus.subscribe_filtered(filter, 10_000);
    wait_until("a publisher dispatches", || {
        thread::sleep(std::time::Duration::from_micros(100));
        let _ = bus.publish(number(0));
        bus.flush();
        ran.try_recv().is_ok()
    });
}

#[test]
fn user_code_on_a_publishers_thread_may_use_the_bus() {
    let bus = assisted();
    let mut log = bus.subscribe_all();
    let inside = bus.clone();
    in_dispatch_here(&bus, move || {
        inside.publish(number(1)).unwrap();
        inside.flush();
        let late = inside.subscribe_all();
        assert!(inside.unsubscribe(late.id()));
        drop(inside.subscribe_all());
        inside.bind_session("c", "s", scroll(1));
        assert_eq!(inside.stats().ingress_capacity, 1024);
    });
    bus.flush();
    assert_eq!(numbers(&drain(&mut log)).iter().filter(|n| **n == 1).count(), 1);
    assert_eq!(bus.subscriber_count(), 1);
}

#[test]
fn user_code_on_a_publishers_thread_never_waits_for_room() {
    let bus = SharingBus::builder()
        .assisted_dispatch(true)
        .ingress_capacity(2)
        .build()
        .unwrap();
    let inside = bus.clone();
    let (tell, told) = mpsc::channel();
    in_dispatch_here(&bus, move || {
        let full = |n| inside.publish(number(n)).is_err_and(|error| error.is_full());
        tell.send([full(1), full(2), full(3)]).unwrap();
    });
    assert_eq!(told.recv().unwrap(), [false, false, true]);
}

#[test]
fn user_code_on_a_publishers_thread_may_end_the_bus() {
    let ends: [fn(&SharingBus<Number>); 2] = [|bus| assert!(bus.close()), SharingBus::shutdown];
    for end in ends {
        let bus = assisted();
        let mut log = bus.subscribe_all();
        let inside = bus.clone();
        in_dispatch_here(&bus, move || end(&inside));
        bus.shutdown();
        assert_eq!(log.iter().count() as u64, bus.stats().dispatched);
        assert!(bus.publish(number(1)).unwrap_err().is_closed());
    }
}

/// Holds a handle on its own bus, and tells where it is dropped.
struct Holder {
    bus: Option<SharingBus<Holder>>,
    dropped: mpsc::Sender<ThreadId>,
}

impl Payload for Holder {}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(bus) = self.bus.take() {
            bus.flush();
            bus.shutdown();
        }
        let _ = self.dropped.send(thread::current().id());
    }
}

#[test]
fn the_last_handle_may_go_on_a_publishers_thread() {
    wait_until("a publisher drops the payload", || {
        let bus = assisted::<Holder>();
        let mut receiver = bus.subscribe_filtered(EventFilter::any([]), 1);
        let (dropped, told) = mpsc::channel();
        let bus_inside = Some(bus.clone());
        thread::sleep(std::time::Duration::from_micros(100));
        let holder = Holder {
            bus: bus_inside,
            dropped,
        };
        bus.publish(BusEvent::new(EventRouting::default(), holder)).unwrap();
        drop(bus);
        let on = told.recv_timeout(DEADLINE).expect("the payload is dropped");
        assert!(receiver.recv().is_err());
        on == thread::current().id()
    });
}

#[test]
fn buses_may_be_chained_and_looped_on_one_thread() {
    let (first, second) = (assisted(), assisted());
    let mut log = second.subscribe_all();
    let mut looped = first.subscribe_all();
    let forward = second.clone();
    let _bridge = first.subscribe_filtered(
        EventFilter::custom(move |event: &BusEvent<Number>| {
            if event.event.0 < 1000 {
                forward.publish(number(event.event.0 + 1000)).unwrap();
            }
            false
        }),
        1,
    );
    let back = first.clone();
    let _bridge_back = second.subscribe_filtered(
        EventFilter::custom(move |event: &BusEvent<Number>| {
            back.publish(number(event.event.0)).unwrap();
            back.flush();
            false
        }),
        1,
    );
    for n in 0..50 {
        thread::sleep(std::time::Duration::from_micros(100));
        first.publish(number(n)).unwrap();
    }
    first.flush();
    second.flush();
    first.flush();
    assert_eq!(numbers(&drain(&mut log)), (1000..1050).collect::<Vec<_>>());
    assert_eq!(
        looped.try_iter().filter(|delivery| delivery.event.0 >= 1000).count(),
        50
    );
    // The filters hold handles of the other bus.
    first.shutdown();
    second.shutdown();
}

#[test]
fn nothing_is_kept_of_a_bus_that_has_ended() {
    let owned = Arc::new(());
    let weak: Weak<()> = Arc::downgrade(&owned);
    let bus = assisted();
    let filter = EventFilter::custom(move |_| Arc::strong_count(&owned) > 0);
    let mut receiver = bus.subscribe_filtered(filter, 4);
    bus.publish(number(1)).unwrap();
    drop(bus);
    assert_eq!(receiver.iter().count(), 1);
    drop(receiver);
    wait_until("the filter is dropped", || weak.upgrade().is_none());
}

#[test]
fn a_dropped_receiver_is_reaped_without_traffic() {
    let bus = assisted::<Number>();
    drop(bus.subscribe_all());
    wait_until("the slot is reaped", || bus.stats().reaped == 1);
}

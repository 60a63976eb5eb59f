//! Callers that wait for each other: several publishers that wait for space in the ingress, and several receivers that
//! wait for events. Each test releases all waiting callers at once, and requires that each of them returns.

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::*;
use futures::StreamExt;
use futures::executor::block_on;
use sharing_bus::{BusReceiver, EventFilter, PublishError, SharingBus, SubscriberId};

type Bus = SharingBus<Number>;
type Publish = fn(&Bus, u64) -> Result<(), PublishError<Number>>;

/// Each method that waits for space.
const WAITING: [Publish; 3] = [
    |bus, n| bus.publish(number(n)),
    |bus, n| bus.publish_timeout(number(n), DEADLINE),
    |bus, n| block_on(bus.publish_async(number(n))),
];

/// Returns a bus whose dispatch is blocked and whose ingress is full, and a receiver of every event from 1 on.
fn full_bus(assisted: bool) -> (Bus, Block<Number>, BusReceiver<Number>) {
    let builder = Bus::builder().ingress_capacity(1).assisted_dispatch(assisted);
    let bus = builder.build().unwrap();
    let block = Block::new(&bus, number(0));
    let log = bus.subscribe_filtered(EventFilter::All, 100);
    bus.try_publish(number(1)).unwrap();
    (bus, block, log)
}

/// Joins the threads, and panics at the [`DEADLINE`].
fn join_all<T>(threads: Vec<JoinHandle<T>>) -> Vec<T> {
    let join = |(index, thread): (usize, JoinHandle<T>)| {
        wait_until(&format!("caller {index} returns"), || thread.is_finished());
        thread.join().unwrap()
    };
    threads.into_iter().enumerate().map(join).collect()
}

/// Runs a call on several threads. Returns once each thread is about to call.
fn call_together<T: Send + 'static>(
    bus: &Bus,
    callers: usize,
    call: impl Fn(&Bus, usize) -> T + Copy + Send + 'static,
) -> Vec<JoinHandle<T>> {
    let (entered, waits) = mpsc::channel();
    let caller = |index| {
        let (bus, entered) = (bus.clone(), entered.clone());
        thread::spawn(move || {
            entered.send(()).unwrap();
            call(&bus, index)
        })
    };
    let threads = (0..callers).map(caller).collect();
    waits.iter().take(callers).for_each(drop);
    threads
}

#[test]
fn callers_that_wait_for_space_all_publish() {
    for assisted in [false, true] {
        let (bus, block, mut log) = full_bus(assisted);
        let publishing = call_together(&bus, 12, |bus, index| WAITING[index % 3](bus, 2 + index as u64).is_ok());
        // Each flush needs a place in the ingress, too.
        let flushing = call_together(&bus, 4, |bus, index| match index % 2 {
            0 => bus.flush(),
            _ => block_on(bus.flush_async()),
        });
        block.release();
        assert_eq!(join_all(publishing), [true; 12]);
        join_all(flushing);
        bus.flush();
        let mut received = numbers(&drain(&mut log));
        received.sort_unstable();
        assert_eq!(received, (1..14).collect::<Vec<_>>());
        assert_eq!(bus.stats().published, 14);
    }
}

/// The publish with the short time limit returns first, and only then is dispatch released. So the other publishes
/// wait longer than the short limit.
#[test]
fn a_publish_waits_as_long_as_its_time_limit_allows() {
    for assisted in [false, true] {
        let (bus, block, _log) = full_bus(assisted);
        let publishing = call_together(&bus, 6, |bus, index| WAITING[index % 3](bus, 2).is_ok());
        for limit in [Duration::ZERO, Duration::from_millis(100)] {
            let error = bus.publish_timeout(number(3), limit).unwrap_err();
            assert!(error.is_full());
        }
        assert!(
            publishing.iter().all(|publish| !publish.is_finished()),
            "a publish gave up too early"
        );
        assert!(bus.try_publish(number(3)).unwrap_err().is_full());
        block.release();
        assert_eq!(join_all(publishing), [true; 6]);
        bus.flush();
        assert_eq!(bus.stats().published, 8);
    }
}

#[test]
fn callers_that_wait_for_space_return_when_the_bus_closes() {
    for assisted in [false, true] {
        let (bus, block, mut log) = full_bus(assisted);
        let publishing = call_together(&bus, 9, |bus, index| match WAITING[index % 3](bus, 2) {
            Ok(()) => true,
            Err(error) => {
                assert!(error.is_closed());
                false
            }
        });
        let ending = call_together(&bus, 6, |bus, index| match index % 3 {
            0 => bus.flush(),
            1 => block_on(bus.flush_async()),
            _ => bus.shutdown(),
        });
        bus.close();
        block.release();
        let accepted = join_all(publishing).iter().filter(|accepted| **accepted).count();
        join_all(ending);
        assert_eq!(log.iter().count(), 1 + accepted);
        assert_eq!(bus.stats().published, 2 + accepted as u64);
    }
}

/// All of these callers wait for the end of the same bus.
#[test]
fn callers_that_wait_for_the_end_of_a_closed_bus_all_return() {
    for assisted in [false, true] {
        let (bus, block, _log) = full_bus(assisted);
        bus.close();
        let ending = call_together(&bus, 9, |bus, index| {
            match index % 3 {
                0 => bus.flush(),
                1 => block_on(bus.flush_async()),
                _ => bus.shutdown(),
            }
            bus.stats().dispatched
        });
        assert!(ending.iter().all(|ending| !ending.is_finished()));
        block.release();
        assert_eq!(join_all(ending), [2; 9]);
    }
}

/// Each method that waits for an event. It returns the number of events that it received until the end.
const RECEIVING: [fn(BusReceiver<Number>) -> usize; 6] = [
    |mut receiver| std::iter::from_fn(|| receiver.recv().ok()).count(),
    |mut receiver| std::iter::from_fn(|| receiver.recv_timeout(DEADLINE).ok()).count(),
    |mut receiver| receiver.iter().count(),
    |mut receiver| {
        let mut buffer = Vec::new();
        while receiver.recv_many(&mut buffer, 1) > 0 {}
        buffer.len()
    },
    |mut receiver| {
        block_on(async {
            let mut received = 0;
            while receiver.recv_async().await.is_ok() {
                received += 1;
            }
            received
        })
    },
    |receiver| block_on(receiver.count()),
];

#[test]
fn receivers_that_wait_are_all_woken() {
    type End = fn(&Bus, &[SubscriberId]);
    let ends: [End; 3] = [
        |bus, ids| ids.iter().for_each(|id| assert!(bus.unsubscribe(*id))),
        |bus, _| assert!(bus.close()),
        |bus, _| bus.shutdown(),
    ];
    for assisted in [false, true] {
        for end in ends {
            let bus = Bus::builder().assisted_dispatch(assisted).build().unwrap();
            let receivers: Vec<_> = (0..12).map(|_| bus.subscribe_all()).collect();
            let ids: Vec<_> = receivers.iter().map(BusReceiver::id).collect();
            let receiving: Vec<_> = receivers
                .into_iter()
                .zip(RECEIVING.iter().cycle())
                .map(|(receiver, receive)| thread::spawn(move || receive(receiver)))
                .collect();
            bus.publish(number(1)).unwrap();
            // Without a flush, an unsubscribe could come before the event.
            wait_until("each receiver has taken the event", || {
                let stats = bus.stats();
                stats
                    .subscribers
                    .iter()
                    .all(|subscriber| (subscriber.delivered, subscriber.queued) == (1, 0))
            });
            end(&bus, &ids);
            assert_eq!(join_all(receiving), [1; 12]);
        }
    }
}

/// Counts its wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls a future with a new waker. Returns the wake-ups of that waker, or `None` if the future is ready.
fn poll_waits<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<Arc<Count>> {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    future
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
        .then_some(count)
}

/// The task of a waiting call may change between two polls.
#[test]
fn the_latest_waker_of_a_waiting_call_is_woken() {
    let (bus, block, _log) = full_bus(false);
    let mut waiting: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![
        Box::pin(async { drop(bus.publish_async(number(2)).await) }),
        Box::pin(bus.flush_async()),
    ];
    let poll_all = |waiting: &mut Vec<Pin<Box<dyn Future<Output = ()>>>>| -> Vec<_> {
        waiting
            .iter_mut()
            .map(|call| poll_waits(call.as_mut()).expect("the call waits"))
            .collect()
    };
    let replaced = poll_all(&mut waiting);
    let latest = poll_all(&mut waiting);
    bus.close();
    wait_until("the publish is woken", || latest[0].get() == 1);
    // The publish has failed. The flush now waits for the end of the bus.
    assert!(poll_waits(waiting.remove(0).as_mut()).is_none());
    let replaced_again = poll_all(&mut waiting);
    let latest_again = poll_all(&mut waiting);
    block.release();
    bus.shutdown();
    assert_eq!(latest_again[0].get(), 1);
    for count in replaced.iter().chain(&replaced_again) {
        assert_eq!(count.get(), 0, "a replaced waker was woken");
    }
}

/// The woken tasks are not polled, so none of them can pass its wake-up on to another one.
#[test]
fn each_waiting_task_is_woken_on_its_own() {
    for assisted in [false, true] {
        let (bus, block, _log) = full_bus(assisted);
        let mut publishing: Vec<_> = (0..4).map(|n| Box::pin(bus.publish_async(number(n)))).collect();
        let publishing: Vec<_> = publishing
            .iter_mut()
            .map(|call| poll_waits(call.as_mut()).unwrap())
            .collect();
        bus.close();
        assert!(publishing.iter().all(|count| count.get() == 1));
        let mut flushing: Vec<_> = (0..4).map(|_| Box::pin(bus.flush_async())).collect();
        let flushing: Vec<_> = flushing
            .iter_mut()
            .map(|call| poll_waits(call.as_mut()).unwrap())
            .collect();
        block.release();
        wait_until("each flush is woken", || flushing.iter().all(|count| count.get() == 1));
    }
}

/// One batch makes space for several events. The woken tasks are not polled.
#[test]
fn a_batch_wakes_a_task_for_each_place_that_it_frees() {
    let bus = Bus::builder().ingress_capacity(3).build().unwrap();
    let block = Block::new(&bus, number(0));
    (1..=3).for_each(|n| bus.try_publish(number(n)).unwrap());
    let mut publishing: Vec<_> = (4..=6).map(|n| Box::pin(bus.publish_async(number(n)))).collect();
    let counts: Vec<_> = publishing
        .iter_mut()
        .map(|call| poll_waits(call.as_mut()).unwrap())
        .collect();
    block.release();
    wait_until("each publish is woken", || counts.iter().all(|count| count.get() == 1));
    publishing.into_iter().for_each(|call| block_on(call).unwrap());
    bus.flush();
    assert_eq!(bus.stats().dispatched, 7);
}

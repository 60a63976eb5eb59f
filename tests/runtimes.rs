//! Guarantee 6 and the async API: the same bus on tokio (both schedulers), smol, futures and plain threads.

mod common;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use common::*;
use futures::StreamExt;
use futures::stream::{FusedStream, FuturesUnordered};
use sharing_bus::{
    BusReceiver, Delivery, Event, EventFilter, Forward, Iter, Payload, Recv, RecvError, RecvTimeoutError, SharingBus,
    TryIter,
};

/// Runs a scenario on each runtime, each within the [`DEADLINE`].
fn on_every_runtime<F: Future<Output = ()> + Send + 'static>(scenario: fn() -> F) {
    let within = |run: Box<dyn FnOnce() + Send>| {
        let running = thread::spawn(run);
        wait_until("the scenario ends", || running.is_finished());
        running.join().unwrap();
    };
    within(Box::new(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
        let runtime = runtime.unwrap();
        runtime.block_on(async move { tokio::spawn(scenario()).await.unwrap() });
    }));
    within(Box::new(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(scenario());
    }));
    within(Box::new(move || smol::block_on(smol::spawn(scenario()))));
    within(Box::new(move || futures::executor::block_on(scenario())));
}

#[test]
fn events_arrive_in_order() {
    on_every_runtime(|| async {
        let bus = SharingBus::builder().ingress_capacity(4).build().unwrap();
        let mut receiver = bus.subscribe_filtered(EventFilter::All, 1000);
        let publish = async {
            for n in 0..1000 {
                bus.publish_async(number(n)).await.unwrap();
            }
            bus.flush_async().await;
            bus.close();
        };
        let receive = async {
            let mut received = Vec::new();
            while let Ok(delivery) = receiver.recv_async().await {
                received.push(delivery.event.0);
            }
            received
        };
        let ((), received) = futures::join!(publish, receive);
        assert_eq!(received, (0..1000).collect::<Vec<_>>());
        bus.flush_async().await;
    });
}

#[test]
fn a_waiting_task_is_woken_by_an_event_close_or_unsubscribe() {
    on_every_runtime(|| async {
        for _ in 0..100 {
            let bus = SharingBus::new();
            let mut receivers: Vec<_> = (0..3).map(|_| bus.subscribe_all()).collect();
            let unsubscribed = receivers[2].id();
            // Another thread publishes, unsubscribes and closes while the receivers wait.
            let waking = thread::spawn(move || {
                bus.publish(number(1)).unwrap();
                bus.flush();
                bus.unsubscribe(unsubscribed);
                thread::yield_now();
                bus.close();
            });
            for receiver in &mut receivers {
                assert_eq!(receiver.recv_async().await.unwrap().event.0, 1);
                assert_eq!(receiver.recv_async().await.unwrap_err(), RecvError);
            }
            waking.join().unwrap();
        }
    });
}

#[test]
fn tasks_waiting_for_space_all_publish() {
    on_every_runtime(|| async {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let mut receiver = bus.subscribe_filtered(EventFilter::All, 100);
        let block = Block::new(&bus, number(0));
        bus.try_publish(number(1)).unwrap();
        let waiting = (2..50).map(|n| bus.publish_async(number(n)));
        let mut waiting = pin!(futures::future::join_all(waiting));
        // Each task has found the ingress full and waits.
        assert!(futures::poll!(&mut waiting).is_pending());
        block.release();
        assert!(waiting.await.into_iter().all(|published| published.is_ok()));
        bus.flush_async().await;
        let mut received = numbers(&drain(&mut receiver));
        received.sort_unstable();
        assert_eq!(received, (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn tasks_waiting_for_space_return_when_the_bus_closes() {
    on_every_runtime(|| async {
        let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
        let block = Block::new(&bus, number(0));
        bus.try_publish(number(1)).unwrap();
        // Each future of these collections is polled again only if its own waker was woken.
        let mut waiting: FuturesUnordered<_> = (2..5).map(|n| bus.publish_async(number(n))).collect();
        let mut flushing: FuturesUnordered<_> = (0..3).map(|_| bus.flush_async()).collect();
        assert!(futures::poll!(waiting.next()).is_pending());
        assert!(futures::poll!(flushing.next()).is_pending());
        bus.close();
        let mut returned = Vec::new();
        while let Some(published) = waiting.next().await {
            let error = published.unwrap_err();
            assert!(error.is_closed());
            returned.push(error.into_event().event.0);
        }
        returned.sort_unstable();
        assert_eq!(returned, [2, 3, 4]);
        // The flushes now wait for the end of the bus.
        assert!(futures::poll!(flushing.next()).is_pending());
        block.release();
        while flushing.next().await.is_some() {}
        assert_eq!(bus.stats().dispatched, 2);
    });
}

#[test]
fn a_canceled_publish_wakes_the_next_waiting_task() {
    on_every_runtime(|| async {
        for _ in 0..20 {
            let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
            let block = Block::new(&bus, number(0));
            bus.try_publish(number(1)).unwrap();
            let mut canceled = Box::pin(bus.publish_async(number(2)));
            let mut patient = Box::pin(bus.publish_async(number(3)));
            assert!(futures::poll!(&mut canceled).is_pending());
            assert!(futures::poll!(&mut patient).is_pending());
            block.release();
            // The canceled publish may have been notified already. Its notification must reach the other publish.
            drop(canceled);
            patient.await.unwrap();
        }
    });
}

#[test]
fn a_canceled_receive_loses_no_event() {
    on_every_runtime(|| async {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_filtered(EventFilter::All, 1000);
        let publisher = thread::spawn(move || {
            for n in 0..1000 {
                bus.publish(number(n)).unwrap();
            }
            bus.shutdown();
        });
        let mut received = Vec::new();
        loop {
            // Each receive is polled once and then dropped.
            let polled = futures::poll!(pin!(receiver.recv_async()));
            match polled {
                Poll::Ready(Ok(delivery)) => received.push(delivery.event.0),
                Poll::Ready(Err(RecvError)) => break,
                Poll::Pending => thread::yield_now(),
            }
        }
        publisher.join().unwrap();
        assert_eq!(received, (0..1000).collect::<Vec<_>>());
    });
}

#[test]
fn a_receiver_is_a_stream_that_ends() {
    on_every_runtime(|| async {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_all();
        for n in 0..5 {
            bus.publish(number(n)).unwrap();
        }
        bus.close();
        assert_eq!(receiver.next().await.map(|delivery| delivery.event.0), Some(0));
        assert!(!receiver.is_terminated());
        let rest: Vec<Delivery<Number>> = receiver.by_ref().collect().await;
        assert_eq!(numbers(&rest), [1, 2, 3, 4]);
        assert!(receiver.is_terminated());
        assert!(receiver.next().await.is_none());
    });
}

#[test]
fn recv_many_takes_the_queued_events() {
    on_every_runtime(|| async {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_all();
        for n in 0..5 {
            bus.publish_async(number(n)).await.unwrap();
        }
        bus.flush_async().await;
        let mut buffer = Vec::new();
        assert_eq!(receiver.recv_many_async(&mut buffer, 0).await, 0);
        assert_eq!(receiver.recv_many_async(&mut buffer, 3).await, 3);
        assert_eq!(receiver.recv_many_async(&mut buffer, 9).await, 2);
        assert_eq!(numbers(&buffer), [0, 1, 2, 3, 4]);
        bus.close();
        assert_eq!(receiver.recv_many_async(&mut buffer, 9).await, 0);
    });
}

#[tokio::test]
async fn a_receive_works_in_a_select() {
    let bus = SharingBus::new();
    let mut quiet = bus.subscribe_filtered(EventFilter::any([]), 1);
    let mut busy = bus.subscribe_all();
    for n in 0..100 {
        bus.publish_async(number(n)).await.unwrap();
        let delivery = tokio::select! {
            delivery = quiet.recv_async() => panic!("{delivery:?}"),
            delivery = busy.recv_async() => delivery.unwrap(),
        };
        assert_eq!(delivery.event.0, n);
    }
}

/// A waker that counts its wake-ups.
#[derive(Default)]
struct WakeCount(AtomicUsize);

impl Wake for WakeCount {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(receiver: &mut BusReceiver<Number>, woken: &Arc<WakeCount>) -> Poll<Result<Delivery<Number>, RecvError>> {
    let waker = Waker::from(Arc::clone(woken));
    receiver.poll_recv(&mut Context::from_waker(&waker))
}

#[test]
fn the_task_of_the_latest_poll_is_woken_once() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let (first, second) = (Arc::new(WakeCount::default()), Arc::new(WakeCount::default()));
    assert!(poll(&mut receiver, &first).is_pending());
    assert!(poll(&mut receiver, &second).is_pending());
    bus.publish(number(1)).unwrap();
    bus.publish(number(2)).unwrap();
    bus.flush();
    assert_eq!(
        (first.0.load(Ordering::SeqCst), second.0.load(Ordering::SeqCst)),
        (0, 1)
    );
    assert!(poll(&mut receiver, &second).is_ready() && poll(&mut receiver, &second).is_ready());
    // Only a matching event wakes the task.
    assert!(poll(&mut receiver, &first).is_pending());
    receiver.set_filter(EventFilter::any([]));
    bus.publish(number(3)).unwrap();
    bus.flush();
    assert_eq!(first.0.load(Ordering::SeqCst), 0);
    assert!(bus.unsubscribe(receiver.id()));
    assert_eq!(first.0.load(Ordering::SeqCst), 1);
}

#[test]
fn a_dropped_receiver_drops_its_waker() {
    let bus = SharingBus::<Number>::new();
    let mut receiver = bus.subscribe_all();
    let woken = Arc::new(WakeCount::default());
    assert!(poll(&mut receiver, &woken).is_pending());
    drop(receiver);
    wait_until("the waker is dropped", || Arc::strong_count(&woken) == 1);
}

#[test]
fn threads_wait_with_and_without_a_timeout() {
    let bus = SharingBus::<Number>::new();
    let mut receiver = bus.subscribe_all();
    let started = Instant::now();
    let limit = Duration::from_millis(20);
    assert_eq!(receiver.recv_timeout(limit).unwrap_err(), RecvTimeoutError::Timeout);
    let deadline = Instant::now() + limit;
    assert_eq!(receiver.recv_deadline(deadline).unwrap_err(), RecvTimeoutError::Timeout);
    assert!(started.elapsed() >= 2 * limit);
    let past = receiver.recv_deadline(started);
    assert_eq!(past.unwrap_err(), RecvTimeoutError::Timeout);

    thread::scope(|scope| {
        let receiver = &mut receiver;
        let waiting = scope.spawn(move || {
            let first = receiver.recv().unwrap().event.0;
            let second = receiver.recv_timeout(Duration::MAX).unwrap().event.0;
            let third = receiver.recv_deadline(Instant::now() + DEADLINE).unwrap().event.0;
            let mut rest = Vec::new();
            assert_eq!(receiver.recv_many(&mut rest, 1), 1);
            (first, second, third, rest[0].event.0, receiver.recv().unwrap_err())
        });
        for n in 0..4 {
            bus.publish(number(n)).unwrap();
            bus.flush();
        }
        bus.close();
        assert_eq!(waiting.join().unwrap(), (0, 1, 2, 3, RecvError));
    });
}

#[test]
fn a_receiver_moves_between_threads_and_tasks() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    for round in 0..50 {
        let publish = |n| {
            let bus = bus.clone();
            thread::spawn(move || bus.publish(number(n)).unwrap())
        };
        let publisher = publish(2 * round);
        assert_eq!(receiver.recv().unwrap().event.0, 2 * round);
        publisher.join().unwrap();
        let publisher = publish(2 * round + 1);
        receiver = thread::spawn(move || {
            let delivery = futures::executor::block_on(receiver.recv_async());
            assert_eq!(delivery.unwrap().event.0, 2 * round + 1);
            receiver
        })
        .join()
        .unwrap();
        publisher.join().unwrap();
    }
}

#[test]
fn poll_recv_works_with_poll_fn() {
    on_every_runtime(|| async {
        let bus = SharingBus::new();
        let mut receiver = bus.subscribe_all();
        bus.publish(number(1)).unwrap();
        let delivery = poll_fn(|cx| receiver.poll_recv(cx)).await.unwrap();
        assert_eq!(delivery.event.0, 1);
    });
}

/// Compiles only if threads can send and share these types, with any payload.
#[test]
fn handles_and_receivers_are_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    fn of_payload<E: Payload>() {
        shared::<SharingBus<E>>();
        shared::<BusReceiver<E>>();
        shared::<Delivery<E>>();
        shared::<Forward<E>>();
        shared::<EventFilter<E>>();
        shared::<Recv<'_, E>>();
        shared::<Iter<'_, E>>();
        shared::<TryIter<'_, E>>();
    }
    of_payload::<Event>();
    of_payload::<Number>();
    fn shared_value<T: Send + Sync>(_: &T) {}
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    shared_value(&bus.publish_async(number(1)));
    shared_value(&bus.flush_async());
    shared_value(&receiver.recv_async());
    shared_value(&receiver.recv_many_async(&mut Vec::new(), 1));
}

/// A host's view that holds a receiver, and whose async methods take `&self`.
struct View {
    receiver: BusReceiver<Number>,
}

impl View {
    async fn report(&self) -> (usize, u64, bool) {
        tokio::task::yield_now().await;
        (self.receiver.len(), self.receiver.lagged(), self.receiver.is_closed())
    }
}

#[test]
fn a_task_holds_a_shared_receiver_while_it_waits() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    let bus = SharingBus::new();
    let view = Arc::new(View {
        receiver: bus.subscribe_filtered(EventFilter::All, 2),
    });
    publish_numbers(&bus, 0..3);
    let reports = runtime.unwrap().block_on(async {
        let tasks = [0; 2].map(|_| {
            let view = Arc::clone(&view);
            tokio::spawn(async move { view.report().await })
        });
        futures::future::join_all(tasks).await
    });
    for report in reports {
        assert_eq!(report.unwrap(), (2, 1, false));
    }
}

/// Compiles only if handles, deliveries and futures can be sent between threads.
#[test]
fn handles_cross_threads() {
    fn handle<T: Send + Sync + Clone + 'static>(_: &T) {}
    fn send<T: Send>(value: T) -> T {
        value
    }
    let bus = SharingBus::new();
    handle(&bus);
    let mut receiver = send(bus.subscribe_all());
    drop(send(bus.publish_async(number(1))));
    drop(send(bus.flush_async()));
    drop(send(receiver.recv_async()));
    drop(send(receiver.recv_many_async(&mut Vec::new(), 1)));
    bus.publish(number(1)).unwrap();
    let delivery = receiver.recv().unwrap();
    handle(&delivery);
    handle(&EventFilter::<Number>::All);
    handle(&delivery.clone());
}

/// Counts its wake-ups.
#[derive(Default)]
struct CountingWaker(AtomicUsize);

impl Wake for CountingWaker {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn dropping_a_receiver_does_not_wake_its_task() {
    let bus = SharingBus::<Number>::new();
    let mut receiver = bus.subscribe_all();
    let count = Arc::new(CountingWaker::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    drop(receiver);
    bus.flush();
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    drop(waker);
    assert_eq!(Arc::strong_count(&count), 1, "the bus still holds the waker");
}

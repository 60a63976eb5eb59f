//! Tokio's paused clock, which counts a runtime as idle while the dispatch thread works: the trap, and its remedies.

mod common;

use std::time::Duration;

use common::*;
use sharing_bus::{BusReceiver, SharingBus};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, advance, interval, resume, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(2);

/// Receives within the limit, and returns the number, or `None` if the limit elapsed first.
async fn recv_within(receiver: &mut BusReceiver<Number>) -> Option<u64> {
    let received = timeout(LIMIT, receiver.recv_async()).await;
    received.ok().map(|received| received.unwrap().event.0)
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_elapses_at_once_while_the_event_is_not_dispatched() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let mut receiver = bus.subscribe_all();
    let block = Block::new(&bus, number(0));
    assert_eq!(recv_within(&mut receiver).await, None);
    bus.try_publish(number(1)).unwrap();
    assert!(timeout(LIMIT, bus.publish_async(number(2))).await.is_err());
    assert!(timeout(LIMIT, bus.flush_async()).await.is_err());
    block.release();
    bus.flush();
    // The canceled receive took no event, and the canceled publish published none.
    assert_eq!(numbers(&drain(&mut receiver)), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn after_a_flush_a_receive_finds_its_event_before_the_time_limit() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let started = Instant::now();
    for n in 0..100 {
        bus.publish_async(number(n)).await.unwrap();
        bus.flush();
        assert_eq!(recv_within(&mut receiver).await, Some(n));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_async_flush_without_a_time_limit_works_but_other_timers_run_ahead() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    for n in 0..100 {
        bus.publish_async(number(n)).await.unwrap();
        bus.flush_async().await;
        assert_eq!(recv_within(&mut receiver).await, Some(n));
    }

    let block = Block::new(&bus, number(100));
    let (started, mut ticks) = (Instant::now(), interval(LIMIT));
    let ticking = async {
        for _ in 0..10 {
            ticks.tick().await;
        }
        block.release();
    };
    futures::join!(ticking, bus.flush_async());
    assert_eq!(recv_within(&mut receiver).await, Some(100));
    assert!(started.elapsed() >= 9 * LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_blocking_task_stops_the_clock_until_it_ends() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let (finish, finished) = std::sync::mpsc::channel::<()>();
    let holder = spawn_blocking(move || finished.recv());
    let started = Instant::now();
    for n in 0..100 {
        bus.publish_async(number(n)).await.unwrap();
        assert_eq!(recv_within(&mut receiver).await, Some(n));
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    // The test advances the clock itself.
    let quiet = timeout(LIMIT, receiver.recv_async());
    let (quiet, ()) = futures::join!(quiet, advance(2 * LIMIT));
    assert!(quiet.is_err());
    drop(finish);
    let _ = holder.await;
}

#[tokio::test(start_paused = true)]
async fn a_blocking_receive_in_its_own_thread_stops_the_clock() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    let block = Block::new(&bus, number(0));
    let received = spawn_blocking(move || receiver.recv().unwrap().event.0);
    let released = async {
        tokio::task::yield_now().await;
        block.release();
    };
    let (received, ()) = futures::join!(timeout(LIMIT, received), released);
    assert_eq!(received.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_clock_measures_real_time() {
    sleep(Duration::from_secs(3600)).await;
    resume();
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    for n in 0..100 {
        bus.publish_async(number(n)).await.unwrap();
        let received = timeout(DEADLINE, receiver.recv_async()).await;
        assert_eq!(received.unwrap().unwrap().event.0, n);
    }
}

//! Functions of a subscriber that panic again and again: the subscription ends with the reason `Failed`.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::*;
use futures::StreamExt;
use sharing_bus::{
    BusEvent, BusReceiver, Delivery, EndReason, EventFilter, EventRouting, Overflow, Payload, RecvError,
    RecvTimeoutError, SharingBus, Sink, SinkError, SubscriptionBuilder,
};

/// Number of consecutive panics that end a subscription, as documented at `EventFilter::custom`.
const LIMIT: u64 = 8;

/// The function of a subscriber that panics.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Filter,
    Essential,
    Merge,
}

const FUNCTIONS: [Function; 3] = [Function::Filter, Function::Essential, Function::Merge];

/// Panics unless the number is a multiple of `success`.
fn panic_unless(number: u64, success: u64) -> bool {
    if number % success != 0 {
        panic_quietly();
    }
    true
}

/// Subscribes with a function that panics, unless the number of its event is a multiple of `success`. Also returns the
/// number of its calls.
fn subscribe(bus: &SharingBus<Number>, function: Function, success: u64) -> (BusReceiver<Number>, Arc<AtomicU64>) {
    let calls = Arc::new(AtomicU64::new(0));
    let called = Arc::clone(&calls);
    let call = move |event: &BusEvent<Number>| {
        called.fetch_add(1, Ordering::SeqCst);
        panic_unless(event.event.0, success)
    };
    let subscription: SubscriptionBuilder<'_, Number> = bus.subscription().queue_capacity(2);
    let subscription = match function {
        Function::Filter => subscription.queue_capacity(1000).filter(EventFilter::custom(call)),
        Function::Essential => subscription.essential(EventFilter::custom(call), 1),
        Function::Merge => subscription.conflate_with(move |_, newer| {
            call(&newer);
            Some(newer)
        }),
    };
    (subscription.subscribe(), calls)
}

/// Fills the queue, so that the function is called for each event from then on. A filter is called for these events
/// too, and succeeds.
fn fill(bus: &SharingBus<Number>, function: Function) {
    if function != Function::Filter {
        publish_numbers(bus, [0; 3]);
    }
}

/// Buses with a dispatch thread, and with publishers that dispatch.
fn buses() -> [SharingBus<Number>; 2] {
    [false, true].map(|assisted| SharingBus::builder().assisted_dispatch(assisted).build().unwrap())
}

#[test]
fn eight_consecutive_panics_end_the_subscription_and_no_other() {
    for function in FUNCTIONS {
        for bus in buses() {
            let mut healthy = bus.subscription().queue_capacity(1000).subscribe();
            let (mut faulty, calls) = subscribe(&bus, function, u64::MAX);
            fill(&bus, function);
            calls.store(0, Ordering::SeqCst);
            let panics = bus.stats().filter_panics;
            publish_numbers(&bus, 1..LIMIT - panics);
            assert_eq!((faulty.end_reason(), bus.stats().failed), (None, 0), "{function:?}");
            publish_numbers(&bus, [LIMIT]);
            assert_eq!(faulty.end_reason(), Some(EndReason::Failed), "{function:?}");
            publish_numbers(&bus, 100..150);
            let stats = bus.stats();
            assert_eq!(
                (stats.failed, stats.filter_panics, stats.reaped, stats.subscribers.len()),
                (1, LIMIT, 1, 1),
                "{function:?}"
            );
            assert_eq!(calls.load(Ordering::SeqCst), LIMIT - panics);
            let queued = drain(&mut faulty).len() as u64;
            assert_eq!(
                queued,
                if function == Function::Filter {
                    0
                } else {
                    2.min(queued).max(1)
                }
            );
            assert_closed(&mut faulty);
            assert_eq!(healthy.lagged(), 0);
            assert_eq!(drain(&mut healthy).last().unwrap().event.0, 149);
        }
    }
}

/// All panics are in one batch. The subscription ends in the middle of it.
#[test]
fn the_subscription_ends_within_a_batch() {
    for function in FUNCTIONS {
        let bus = SharingBus::new();
        let (mut faulty, calls) = subscribe(&bus, function, u64::MAX);
        let block = Block::new(&bus, number(0));
        (1..=40).for_each(|n| bus.publish(number(n)).unwrap());
        block.release();
        bus.flush();
        assert_eq!(bus.stats().filter_panics, LIMIT, "{function:?}");
        assert_eq!(faulty.end_reason(), Some(EndReason::Failed));
        // A merge function is not called with the event 0. The other functions are, and succeed.
        let successes = u64::from(function != Function::Merge);
        assert_eq!(calls.load(Ordering::SeqCst), LIMIT + successes, "{function:?}");
        // The event of the last panic is the last loss. A filter that panics matches no event, so it loses none.
        let (delivered, lagged) = match function {
            Function::Filter => (1, 0),
            Function::Essential => (1, LIMIT),
            // Two events are queued. The next one waits, and is lost with the subscription.
            Function::Merge => (2, LIMIT + 1),
        };
        assert_eq!(
            (drain(&mut faulty).len(), faulty.lagged()),
            (delivered, lagged),
            "{function:?}"
        );
        assert_eq!((bus.stats().delivered, bus.stats().lagged), (delivered as u64, lagged));
    }
}

#[test]
fn a_success_resets_the_count() {
    for function in FUNCTIONS {
        let bus = SharingBus::new();
        // Seven panics, one success, and so on.
        let (faulty, _calls) = subscribe(&bus, function, LIMIT);
        fill(&bus, function);
        publish_numbers(&bus, 1..=10 * LIMIT);
        assert_eq!(bus.stats().filter_panics, 10 * (LIMIT - 1), "{function:?}");
        assert_eq!((faulty.end_reason(), bus.stats().failed), (None, 0), "{function:?}");
    }
}

#[test]
fn a_new_filter_starts_without_panics() {
    let bus = SharingBus::new();
    let panics = || EventFilter::custom(|_: &BusEvent<Number>| panic_quietly());
    let receiver = bus.subscribe_filtered(panics(), 1);
    publish_numbers(&bus, 1..LIMIT);
    receiver.set_filter(panics());
    publish_numbers(&bus, 1..LIMIT);
    assert_eq!(
        (receiver.end_reason(), bus.stats().filter_panics),
        (None, 2 * (LIMIT - 1))
    );
    publish_numbers(&bus, [LIMIT]);
    assert_eq!(receiver.end_reason(), Some(EndReason::Failed));
}

#[test]
fn a_filter_that_panics_on_the_history_ends_its_subscription() {
    let bus = SharingBus::builder().history(100).build().unwrap();
    publish_numbers(&bus, 1..=50);
    let panics = EventFilter::custom(|_: &BusEvent<Number>| panic_quietly());
    let mut late = bus.subscription().filter(panics).backlog(10).subscribe();
    assert_eq!(late.recv_timeout(DEADLINE).unwrap_err(), RecvTimeoutError::Closed);
    bus.flush();
    assert_eq!(
        (late.end_reason(), bus.stats().filter_panics),
        (Some(EndReason::Failed), LIMIT)
    );
}

#[test]
fn a_waiting_receiver_sees_the_end() {
    let bus = SharingBus::new();
    let (mut by_thread, _calls) = subscribe(&bus, Function::Filter, u64::MAX);
    let (mut by_stream, _calls) = subscribe(&bus, Function::Filter, u64::MAX);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| by_thread.recv());
        let stream = scope.spawn(|| futures::executor::block_on(by_stream.next()).is_none());
        publish_numbers(&bus, 1..=LIMIT);
        // If the subscriptions have not failed, this ends them, and the test fails instead of hanging.
        bus.shutdown();
        assert_eq!(thread.join().unwrap().unwrap_err(), RecvError);
        assert!(stream.join().unwrap());
    });
    assert_eq!(by_stream.end_reason(), Some(EndReason::Failed));
    assert_eq!((bus.stats().failed, bus.subscriber_count()), (2, 0));
}

/// A subscription that its own function has ended before the last panic keeps its reason, and did not fail.
#[test]
fn an_earlier_end_stays_the_reason() {
    let bus = SharingBus::<Number>::new();
    let (inside, panics) = (bus.clone(), AtomicU64::new(0));
    let id = Arc::new(std::sync::OnceLock::new());
    let own_id = Arc::clone(&id);
    let filter = EventFilter::custom(move |_: &BusEvent<Number>| {
        if panics.fetch_add(1, Ordering::SeqCst) + 1 == LIMIT {
            assert!(inside.unsubscribe(*own_id.get().unwrap()));
        }
        panic_quietly()
    });
    let receiver = bus.subscribe_filtered(filter, 1);
    id.set(receiver.id()).unwrap();
    publish_numbers(&bus, 1..=2 * LIMIT);
    assert_eq!(
        (receiver.end_reason(), bus.stats().failed),
        (Some(EndReason::Unsubscribed), 0)
    );
    bus.shutdown();
}

struct PanickingSink;

impl Sink<Number> for PanickingSink {
    fn try_send(&mut self, _: Delivery<Number>) -> Result<(), SinkError<Number>> {
        panic_quietly()
    }
}

#[test]
fn a_sink_fails_with_its_first_panic() {
    for bus in buses() {
        let forward = bus.subscription().forward_to(PanickingSink);
        publish_numbers(&bus, 1..=10);
        assert_eq!(forward.end_reason(), Some(EndReason::Failed));
        assert_eq!((forward.delivered(), forward.lagged()), (0, 1));
        assert_eq!((bus.stats().failed, bus.stats().filter_panics), (1, 0));
    }
}

/// A panic whose payload panics again when it is dropped.
fn panic_with_a_bomb() -> ! {
    std::panic::resume_unwind(Box::new(Bomb))
}

/// A value that panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_quietly();
    }
}

/// A payload that panics when it is dropped.
struct Hostile(u64);

impl Payload for Hostile {}

impl Drop for Hostile {
    fn drop(&mut self) {
        panic_quietly();
    }
}

fn hostile(number: u64) -> BusEvent<Hostile> {
    BusEvent::new(EventRouting::default(), Hostile(number))
}

/// A sink that refuses each delivery, and panics with a bomb as its last act.
struct HostileSink(Bomb);

impl Sink<Hostile> for HostileSink {
    fn try_send(&mut self, delivery: Delivery<Hostile>) -> Result<(), SinkError<Hostile>> {
        match delivery.event.0 {
            0..20 => Err(SinkError::Full(delivery)),
            20 => panic_with_a_bomb(),
            _ => Err(SinkError::Closed(delivery)),
        }
    }
}

struct WakesWithABomb;

impl std::task::Wake for WakesWithABomb {
    fn wake(self: Arc<Self>) {
        panic_with_a_bomb();
    }
}

/// Each function and each value of a subscriber panics, and the values that panics carry panic as well. No panic ends
/// the bus, and the healthy subscriber receives every event.
#[test]
fn no_user_value_can_end_the_bus() {
    let bus = SharingBus::<Hostile>::builder().history(3).build().unwrap();
    let mut healthy = bus.subscription().queue_capacity(1000).subscribe();
    let bomb = || {
        let owned = Bomb;
        EventFilter::custom(move |event: &BusEvent<Hostile>| {
            let _ = &owned;
            if event.event.0 % 2 == 1 {
                panic_with_a_bomb();
            }
            true
        })
    };
    let queue = |overflow| bus.subscription().filter(bomb()).overflow(overflow).queue_capacity(2);
    let merged = Bomb;
    let mut receivers = vec![
        queue(Overflow::DropNewest).subscribe(),
        queue(Overflow::DropOldest).subscribe(),
        queue(Overflow::Disconnect).subscribe(),
        queue(Overflow::Conflate).subscribe(),
        queue(Overflow::DropNewest).essential(bomb(), 1).subscribe(),
        bus.subscription()
            .queue_capacity(1)
            .conflate_with(move |_, newer: BusEvent<Hostile>| {
                let _ = &merged;
                match newer.event.0 % 3 {
                    0 => panic_with_a_bomb(),
                    1 => None,
                    _ => Some(hostile(newer.event.0)),
                }
            })
            .subscribe(),
    ];
    let waker = std::task::Waker::from(Arc::new(WakesWithABomb));
    for receiver in &mut receivers {
        let polled = receiver.poll_recv(&mut std::task::Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    let _forward = bus.subscription().forward_to(HostileSink(Bomb));
    for burst in 0..3 {
        let block = Block::new(&bus, hostile(0));
        (1..=20).for_each(|n| bus.publish(hostile(20 * burst + n)).unwrap());
        block.release();
        bus.flush();
        receivers.push(bus.subscription().filter(bomb()).backlog(3).subscribe());
        // Receive a part. The rest stays in the queues.
        receivers.iter_mut().for_each(|receiver| drop(receiver.try_recv()));
    }
    // The payload has no `Debug`, so formatting a delivery runs no code of the host.
    let formatted = format!("{:?}", healthy.recv_timeout(DEADLINE).unwrap());
    assert!(formatted.starts_with("Delivery"));
    drop(receivers);
    assert_eq!(drain(&mut healthy).len(), 3 * 21 - 1);
    bus.publish(hostile(1)).unwrap();
    bus.flush();
    assert!(!bus.is_closed() && healthy.try_recv().is_ok());
    bus.shutdown();
    let refused = bus.publish(hostile(1)).unwrap_err();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(refused))).is_err());
    assert_closed(&mut healthy);
}

/// The sink is dropped while the panic of `forward_to` unwinds. A second panic would abort the process.
#[test]
fn a_refused_sink_may_panic_when_it_is_dropped() {
    for overflow in [Overflow::DropOldest, Overflow::Conflate] {
        let refused = std::panic::catch_unwind(move || {
            let bus = SharingBus::<Hostile>::new();
            bus.subscription().overflow(overflow).forward_to(HostileSink(Bomb))
        });
        assert!(refused.is_err());
    }
}

//! User code may use the bus wherever it runs. Each test runs the same calls in every place where the bus runs user
//! code: filters, merge functions, sinks, wakers, session hooks and payload drops. The bus holds no lock there, so no
//! call blocks forever. In the same places, user code may panic, and the bus keeps running.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Wake, Waker};
use std::thread;

use common::*;
use sharing_bus::{
    BusEvent, BusReceiver, Delivery, EventFilter, EventKind, EventRouting, Overflow, Payload, SessionChange,
    SharingBus, Sink, SinkError,
};

type Action = Box<dyn FnOnce() + Send>;

/// User code that runs at the first of its calls.
#[derive(Clone)]
struct Once(Arc<Mutex<Option<Action>>>);

impl Once {
    fn new(action: impl FnOnce() + Send + 'static) -> Self {
        Once(Arc::new(Mutex::new(Some(Box::new(action)))))
    }

    fn run(&self) {
        let action = lock(&self.0).take();
        if let Some(action) = action {
            action();
        }
    }
}

/// Runs its user code when it is dropped.
struct OnDrop(Once);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.run();
    }
}

/// A payload with a session hook, and with user code that its drop runs.
#[derive(Default)]
struct Item {
    hook: Option<Once>,
    _on_drop: Option<OnDrop>,
}

impl Payload for Item {
    fn session_change(&self) -> Option<SessionChange<'_>> {
        if let Some(hook) = &self.hook {
            hook.run();
        }
        None
    }
}

type Bus = SharingBus<Item>;

/// Returns an event of the scroll 1.
fn event(item: Item) -> BusEvent<Item> {
    let routing = EventRouting {
        scroll_id: Some(scroll(1)),
        ..EventRouting::default()
    };
    BusEvent::new(routing, item)
}

fn item() -> BusEvent<Item> {
    event(Item::default())
}

/// Returns an event whose payload runs `once` when it is dropped.
fn dropping(once: &Once) -> BusEvent<Item> {
    event(Item {
        hook: None,
        _on_drop: Some(OnDrop(once.clone())),
    })
}

/// Returns a filter that runs `once` when it is called.
fn calling(once: &Once, matches: bool) -> EventFilter<Item> {
    let once = once.clone();
    EventFilter::custom(move |_| {
        once.run();
        matches
    })
}

/// Returns a filter that matches every event, and runs `once` when it is dropped.
fn owning(once: &Once) -> EventFilter<Item> {
    let owned = OnDrop(once.clone());
    EventFilter::custom(move |_| {
        let _ = &owned;
        true
    })
}

/// Publishes events until the user code has closed the bus, at most `count`.
fn publish(bus: &Bus, count: usize) {
    (0..count).for_each(|_| drop(bus.publish(item())));
}

/// Publishes `event`, and waits for its dispatch.
fn dispatch(bus: &Bus, event: BusEvent<Item>) {
    let _ = bus.publish(event);
    bus.flush();
}

/// The last step of the user code.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    None,
    Close,
    Shutdown,
    Panic,
}

const ENDS: [End; 4] = [End::None, End::Close, End::Shutdown, End::Panic];

/// A place where the bus runs user code. The function runs `once` there, and returns values that must live on.
type Place = fn(&Bus, &Once) -> Option<BusReceiver<Item>>;

/// Runs user code in each place, with each end, with and without assisted dispatch.
fn run_everywhere(places: &[(&str, Place)]) {
    for (name, place) in places {
        ENDS.iter().for_each(|end| run_at(name, *place, *end, true));
    }
}

/// Runs user code in one place. If `dispatch_runs` is false, the place blocks dispatch, so the code does not wait for it.
fn run_at(name: &str, place: Place, end: End, dispatch_runs: bool) {
    for assisted in [false, true] {
        let (done, returned) = mpsc::channel();
        let running = thread::spawn(move || {
            let builder = Bus::builder().ingress_capacity(1).session_capacity(1).history(1);
            let bus = builder.assisted_dispatch(assisted).build().unwrap();
            let inside = bus.clone();
            let once = Once::new(move || {
                use_bus(&inside, item);
                if dispatch_runs {
                    wait_for_bus(&inside, item);
                }
                match end {
                    End::None | End::Panic => {}
                    End::Close => drop(inside.close()),
                    End::Shutdown => inside.shutdown(),
                }
                done.send(()).unwrap();
                if end == End::Panic {
                    panic_quietly();
                }
            });
            let kept = place(&bus, &once);
            if !bus.is_closed() {
                let mut healthy = bus.subscribe_all();
                bus.publish(item()).unwrap();
                healthy.recv_timeout(DEADLINE).unwrap();
            }
            bus.shutdown();
            drop(kept);
        });
        let case = format!("{name}, assisted {assisted}, end {end:?}");
        let outcome = returned.recv_timeout(DEADLINE);
        outcome.unwrap_or_else(|_| panic!("no return from {case}"));
        wait_until(&format!("the bus ends after {case}"), || running.is_finished());
        assert!(running.join().is_ok(), "{case}");
    }
}

#[test]
fn functions_of_a_subscription_may_use_the_bus() {
    run_everywhere(&[
        ("a filter that matches", |bus, once| {
            let receiver = bus.subscribe_filtered(calling(once, true), 4);
            dispatch(bus, item());
            Some(receiver)
        }),
        ("a filter that does not match", |bus, once| {
            let receiver = bus.subscribe_filtered(calling(once, false), 4);
            dispatch(bus, item());
            Some(receiver)
        }),
        ("a filter that panics", |bus, once| {
            let once = once.clone();
            let panics = EventFilter::custom(move |_| {
                once.run();
                panic_quietly()
            });
            let receiver = bus.subscribe_filtered(panics, 4);
            dispatch(bus, item());
            Some(receiver)
        }),
        ("a filter that searches the history", |bus, once| {
            dispatch(bus, item());
            let late = bus.subscription().filter(calling(once, true)).backlog(1);
            let receiver = late.subscribe();
            bus.flush();
            Some(receiver)
        }),
        ("a filter of essential events", |bus, once| {
            let subscription = bus.subscription().queue_capacity(2);
            let receiver = subscription.essential(calling(once, true), 1).subscribe();
            publish(bus, 3);
            bus.flush();
            Some(receiver)
        }),
        ("a merge function", |bus, once| {
            let once = once.clone();
            let merging = bus.subscription().queue_capacity(1).conflate_with(move |_, newer| {
                once.run();
                Some(newer)
            });
            let receiver = merging.subscribe();
            publish(bus, 3);
            bus.flush();
            Some(receiver)
        }),
        ("a sink", |bus, once| {
            bus.subscription().forward_to(UserSink {
                once: once.clone(),
                _on_drop: None,
            });
            dispatch(bus, item());
            None
        }),
        ("a session hook", |bus, once| {
            let hook = Some(once.clone());
            dispatch(bus, event(Item { hook, _on_drop: None }));
            None
        }),
    ]);
}

/// A sink that runs the first part when it receives an event, and the second when it is dropped.
struct UserSink {
    once: Once,
    _on_drop: Option<OnDrop>,
}

impl Sink<Item> for UserSink {
    fn try_send(&mut self, _: Delivery<Item>) -> Result<(), SinkError<Item>> {
        self.once.run();
        Ok(())
    }
}

fn sink_that_runs_on_drop(once: &Once) -> UserSink {
    UserSink {
        once: Once::new(|| {}),
        _on_drop: Some(OnDrop(once.clone())),
    }
}

#[test]
fn dropped_functions_of_a_subscription_may_use_the_bus() {
    run_everywhere(&[
        ("the drop of a replaced filter", |bus, once| {
            let receiver = bus.subscribe_filtered(owning(once), 4);
            bus.flush();
            receiver.set_filter(EventFilter::All);
            bus.flush();
            Some(receiver)
        }),
        ("the drop of a filter that was replaced at once", |bus, once| {
            let receiver = bus.subscribe_filtered(owning(once), 4);
            receiver.set_filter(EventFilter::All);
            bus.flush();
            Some(receiver)
        }),
        ("the drop of the filter of a dropped receiver", |bus, once| {
            drop(bus.subscribe_filtered(owning(once), 4));
            bus.flush();
            None
        }),
        ("the drop of the filter of an unsubscribed receiver", |bus, once| {
            let receiver = bus.subscribe_filtered(owning(once), 4);
            bus.flush();
            bus.unsubscribe(receiver.id());
            bus.flush();
            Some(receiver)
        }),
        ("the drop of a filter at the end of the bus", |bus, once| {
            let receiver = bus.subscribe_filtered(owning(once), 4);
            bus.flush();
            bus.shutdown();
            Some(receiver)
        }),
        ("the drop of a filter after the end of the bus", |bus, once| {
            bus.shutdown();
            Some(bus.subscribe_filtered(owning(once), 4))
        }),
        ("the drop of a filter for an ended subscription", |bus, once| {
            let receiver = bus.subscribe_all();
            bus.unsubscribe(receiver.id());
            receiver.set_filter(owning(once));
            Some(receiver)
        }),
        ("the drop of a filter of essential events", |bus, once| {
            let essential = bus.subscription().queue_capacity(2).essential(owning(once), 1);
            drop(essential.subscribe());
            bus.flush();
            None
        }),
        ("the drop of a merge function", |bus, once| {
            let owned = OnDrop(once.clone());
            let merging = bus.subscription().conflate_with(move |_, newer| {
                let _ = &owned;
                Some(newer)
            });
            drop(merging.subscribe());
            bus.flush();
            None
        }),
        ("the drop of the sink of a closed forward", |bus, once| {
            let forward = bus.subscription().forward_to(sink_that_runs_on_drop(once));
            bus.flush();
            forward.close();
            bus.flush();
            None
        }),
        ("the drop of a sink that dispatch never saw", |bus, once| {
            bus.subscription().forward_to(sink_that_runs_on_drop(once)).close();
            None
        }),
        ("the drop of a sink at the end of the bus", |bus, once| {
            bus.subscription().forward_to(sink_that_runs_on_drop(once));
            bus.shutdown();
            None
        }),
    ]);
}

#[test]
fn dropped_payloads_may_use_the_bus() {
    fn queued(bus: &Bus, once: &Once, overflow: Overflow) -> BusReceiver<Item> {
        let receiver = subscribe_with(bus, overflow, 1);
        dispatch(bus, dropping(once));
        // The history keeps one event, so this one replaces the first.
        dispatch(bus, item());
        receiver
    }
    run_everywhere(&[
        ("the drop of an event that the history evicts", |bus, once| {
            dispatch(bus, dropping(once));
            dispatch(bus, item());
            None
        }),
        ("the drop of the history", |bus, once| {
            dispatch(bus, dropping(once));
            bus.shutdown();
            None
        }),
        ("the drop of a displaced event", |bus, once| {
            Some(queued(bus, once, Overflow::DropOldest))
        }),
        ("the drop of a lost event", |bus, once| {
            let receiver = subscribe_with(bus, Overflow::DropNewest, 1);
            publish(bus, 1);
            dispatch(bus, dropping(once));
            dispatch(bus, item());
            Some(receiver)
        }),
        ("the drop of a received event", |bus, once| {
            let mut receiver = queued(bus, once, Overflow::DropNewest);
            drop(receiver.try_recv());
            Some(receiver)
        }),
        (
            "the drop of an event in the queue of a dropped receiver",
            |bus, once| {
                drop(queued(bus, once, Overflow::DropNewest));
                None
            },
        ),
        (
            "the drop of an event in the queue of an unsubscribed receiver",
            |bus, once| {
                let receiver = queued(bus, once, Overflow::DropNewest);
                bus.unsubscribe(receiver.id());
                drop(receiver);
                None
            },
        ),
        ("the drop of an event that conflation replaces", |bus, once| {
            let receiver = subscribe_with(bus, Overflow::Conflate, 1);
            publish(bus, 1);
            dispatch(bus, dropping(once));
            dispatch(bus, item());
            Some(receiver)
        }),
        (
            "the drop of an event that waits when its subscription ends",
            |bus, once| {
                let receiver = subscribe_with(bus, Overflow::Conflate, 1);
                publish(bus, 1);
                dispatch(bus, dropping(once));
                let other_scroll = BusEvent::new(EventRouting::default(), Item::default());
                dispatch(bus, other_scroll);
                drop(receiver);
                bus.flush();
                None
            },
        ),
    ]);
}

/// A waker that runs the first part when it is woken, and the second when it is dropped.
struct UserWaker {
    on_wake: Option<Once>,
    _on_drop: Option<OnDrop>,
}

impl Wake for UserWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(once) = &self.on_wake {
            once.run();
        }
    }
}

fn waking(once: &Once) -> Waker {
    let on_wake = Some(once.clone());
    Waker::from(Arc::new(UserWaker {
        on_wake,
        _on_drop: None,
    }))
}

fn dropped(once: &Once) -> Waker {
    let on_drop = Some(OnDrop(once.clone()));
    Waker::from(Arc::new(UserWaker {
        on_wake: None,
        _on_drop: on_drop,
    }))
}

/// Returns a receiver that waits with this waker, which the bus then owns.
fn waiting(bus: &Bus, waker: Waker) -> BusReceiver<Item> {
    let mut receiver = bus.subscribe_all();
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    receiver
}

#[test]
fn wakers_of_receivers_may_use_the_bus() {
    run_everywhere(&[
        ("a wake-up by an event", |bus, once| {
            let receiver = waiting(bus, waking(once));
            dispatch(bus, item());
            Some(receiver)
        }),
        ("a wake-up by a backlog", |bus, once| {
            dispatch(bus, item());
            let subscription = bus.subscription().backlog(1);
            // The backlog may arrive before the poll. The next event then wakes the waker.
            let mut receiver = subscription.subscribe();
            while receiver.poll_recv(&mut Context::from_waker(&waking(once))).is_ready() {}
            dispatch(bus, item());
            Some(receiver)
        }),
        ("a wake-up by unsubscribe", |bus, once| {
            let receiver = waiting(bus, waking(once));
            bus.unsubscribe(receiver.id());
            Some(receiver)
        }),
        ("a wake-up by close", |bus, once| {
            let mut receiver = waiting(bus, waking(once));
            receiver.close();
            Some(receiver)
        }),
        ("a wake-up by the end of the bus", |bus, once| {
            let receiver = waiting(bus, waking(once));
            bus.shutdown();
            Some(receiver)
        }),
        ("the drop of the waker of a dropped receiver", |bus, once| {
            drop(waiting(bus, dropped(once)));
            None
        }),
        ("the drop of a woken waker", |bus, once| {
            let receiver = waiting(bus, dropped(once));
            dispatch(bus, item());
            Some(receiver)
        }),
        ("a wake-up of a flush", |bus, once| {
            let block = Block::new(bus, item());
            let mut flush = pin!(bus.flush_async());
            let waker = waking(once);
            assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            block.release();
            bus.flush();
            None
        }),
        ("a wake-up of a flush by the end of the bus", |bus, once| {
            let block = Block::new(bus, item());
            bus.close();
            let mut flush = pin!(bus.flush_async());
            let waker = waking(once);
            assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            block.release();
            bus.shutdown();
            None
        }),
        ("a wake-up by space in the ingress", |bus, once| {
            let block = Block::new(bus, item());
            bus.try_publish(item()).unwrap();
            let mut publish = pin!(bus.publish_async(item()));
            let waker = waking(once);
            assert!(publish.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            block.release();
            bus.flush();
            None
        }),
    ]);
}

/// Polls a future with a waker that the bus then owns, and drops the future.
fn cancel(future: impl Future, waker: Waker) {
    let mut future = pin!(future);
    assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
}

/// Dispatch is blocked in these places, so the ingress is full and the user code must not wait for the bus.
#[test]
fn wakers_of_waiting_tasks_may_use_the_bus_while_dispatch_is_blocked() {
    fn blocked(bus: &Bus) -> Block<Item> {
        let block = Block::new(bus, item());
        bus.try_publish(item()).unwrap();
        block
    }
    let places: [(&str, Place); 5] = [
        ("the drop of a replaced waker", |bus, once| {
            let _block = blocked(bus);
            let mut publish = pin!(bus.publish_async(item()));
            assert!(
                publish
                    .as_mut()
                    .poll(&mut Context::from_waker(&dropped(once)))
                    .is_pending()
            );
            let _ = publish.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            None
        }),
        ("the drop of the waker of a canceled publish", |bus, once| {
            let _block = blocked(bus);
            cancel(bus.publish_async(item()), dropped(once));
            None
        }),
        ("the drop of the waker of a canceled flush", |bus, once| {
            let _block = blocked(bus);
            cancel(bus.flush_async(), dropped(once));
            None
        }),
        (
            "the drop of the waker of a flush canceled after a close",
            |bus, once| {
                let _block = blocked(bus);
                bus.close();
                cancel(bus.flush_async(), dropped(once));
                None
            },
        ),
        ("a wake-up of a waiting publish by a close", |bus, once| {
            let _block = blocked(bus);
            let mut publish = pin!(bus.publish_async(item()));
            assert!(
                publish
                    .as_mut()
                    .poll(&mut Context::from_waker(&waking(once)))
                    .is_pending()
            );
            bus.close();
            None
        }),
    ];
    for (name, place) in places {
        for end in [End::None, End::Close, End::Panic] {
            run_at(name, place, end, false);
        }
    }
}

/// The caller receives a panic of this code, because the code runs for the caller and not for a subscriber.
#[test]
fn code_that_runs_for_its_caller_may_use_the_bus() {
    let places: [(&str, Place); 3] = [
        ("the drop of a replaced waker", |bus, once| {
            let mut receiver = waiting(bus, dropped(once));
            let _ = receiver.poll_recv(&mut Context::from_waker(Waker::noop()));
            Some(receiver)
        }),
        ("a payload function", |bus, once| {
            let lifecycle = EventRouting {
                kind: EventKind::SessionLifecycle,
                ..EventRouting::default()
            };
            let _ = bus.publish_with(lifecycle, Default::default(), || {
                once.run();
                Item::default()
            });
            None
        }),
        ("the drop of an event that a closed bus returns", |bus, once| {
            bus.shutdown();
            drop(bus.publish(dropping(once)).unwrap_err());
            None
        }),
    ];
    for (name, place) in places {
        for end in [End::None, End::Close, End::Shutdown] {
            run_at(name, place, end, true);
        }
    }
}

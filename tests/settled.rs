//! Promises that hold without traffic. Each test first flushes the bus, so that the dispatch thread is idle and holds
//! everything that it will hold. After that, no event is published and no flush follows, so only the call under test
//! can wake the dispatch thread. Each test runs with and without assisted dispatch.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Wake, Waker};

use common::*;
use sharing_bus::{BusReceiver, Delivery, EventFilter, EventKind, EventRouting, Overflow, SharingBus};

type Bus = SharingBus<Number>;

/// Runs a test on a bus with a history, once for each mode of dispatch.
fn in_both_modes(test: impl Fn(Bus)) {
    for assisted in [false, true] {
        let builder = Bus::builder().history(4).assisted_dispatch(assisted);
        test(builder.build().unwrap());
    }
}

#[track_caller]
fn wait_until_freed(value: &str, weak: &Weak<impl Sized>) {
    wait_until(&format!("{value} is freed"), || weak.strong_count() == 0);
}

#[track_caller]
fn wait_until_disconnected(deliveries: &crossbeam_channel::Receiver<Delivery<Number>>) {
    let received = deliveries.recv_timeout(DEADLINE);
    assert!(received.is_err_and(|error| error.is_disconnected()));
}

/// Counts its wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls an empty queue, and returns the wake-ups of its waker.
#[track_caller]
fn wait_for_event(receiver: &mut BusReceiver<Number>) -> Arc<Count> {
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    assert!(receiver.poll_recv(&mut Context::from_waker(&waker)).is_pending());
    count
}

#[track_caller]
fn wait_until_woken(count: &Count) {
    wait_until("the receiver is woken", || count.0.load(Ordering::SeqCst) == 1);
}

#[test]
fn an_ended_subscription_frees_its_slot_its_filter_and_its_events() {
    type End = fn(&Bus, BusReceiver<Number>) -> Option<BusReceiver<Number>>;
    let ends: [(End, u64); 3] = [
        (
            |_, receiver| {
                drop(receiver);
                None
            },
            1,
        ),
        (
            |_, mut receiver| {
                receiver.close();
                Some(receiver)
            },
            1,
        ),
        (
            |bus, receiver| {
                bus.unsubscribe(receiver.id());
                Some(receiver)
            },
            0,
        ),
    ];
    for (end, reaped) in ends {
        in_both_modes(|bus| {
            let (filter, weak) = owning_filter();
            let receiver = bus.subscribe_filtered(filter, 8);
            let other = bus.subscribe_all();
            publish_numbers(&bus, 1..=1);
            let kept = end(&bus, receiver);
            wait_until_freed("the filter", &weak);
            wait_until("the subscription is reaped", || bus.stats().reaped == reaped);
            assert_eq!((bus.subscriber_count(), bus.stats().subscribers.len()), (1, 1));
            assert_eq!(kept.map_or(1, |receiver| receiver.len()), 1);
            assert_eq!(other.len(), 1);
        });
    }
}

#[test]
fn the_events_of_a_dropped_receiver_are_freed_at_once() {
    for events in [1, 20] {
        for assisted in [false, true] {
            let bus = Bus::builder().assisted_dispatch(assisted).build().unwrap();
            let receivers = [
                bus.subscribe_all(),
                bus.subscribe_filtered(EventFilter::any([EventFilter::All]), 64),
            ];
            let block = Block::new(&bus, number(0));
            let events: Vec<_> = (0..events).map(number).collect();
            let payloads: Vec<_> = events.iter().map(|event| Arc::downgrade(&event.event)).collect();
            events.into_iter().for_each(|event| bus.publish(event).unwrap());
            block.release();
            bus.flush();
            assert!(payloads.iter().all(|payload| payload.strong_count() == 1));
            drop(receivers);
            assert!(payloads.iter().all(|payload| payload.strong_count() == 0));
        }
    }
}

#[test]
fn a_subscription_that_the_dispatch_thread_ends_is_reaped() {
    in_both_modes(|bus| {
        let (filter, weak) = owning_filter();
        let subscription = bus.subscription().filter(filter).queue_capacity(1);
        let mut receiver = subscription.overflow(Overflow::Disconnect).subscribe();
        bus.flush();
        bus.publish(number(1)).unwrap();
        bus.publish(number(2)).unwrap();
        wait_until("the subscription is reaped", || bus.stats().reaped == 1);
        wait_until_freed("the filter", &weak);
        assert_eq!(numbers(&drain(&mut receiver)), [1]);
        assert_closed(&mut receiver);
    });
}

#[test]
fn a_forward_whose_channel_is_closed_is_reaped() {
    in_both_modes(|bus| {
        let (filter, weak) = owning_filter();
        let (sender, deliveries) = crossbeam_channel::bounded(1);
        bus.subscription().filter(filter).forward_to(sender);
        bus.flush();
        drop(deliveries);
        bus.publish(number(1)).unwrap();
        wait_until("the subscription is reaped", || bus.stats().reaped == 1);
        wait_until_freed("the filter", &weak);
    });
}

#[test]
fn a_closed_forward_drops_its_sink_and_its_filter() {
    in_both_modes(|bus| {
        let (filter, weak) = owning_filter();
        let (sender, deliveries) = crossbeam_channel::bounded(1);
        let forward = bus.subscription().filter(filter).forward_to(sender);
        bus.flush();
        assert!(forward.close());
        wait_until_disconnected(&deliveries);
        wait_until_freed("the filter", &weak);
    });
}

#[test]
fn a_replaced_filter_is_dropped() {
    in_both_modes(|bus| {
        let (filter, weak) = owning_filter();
        let receiver = bus.subscribe_filtered(filter, 8);
        bus.flush();
        receiver.set_filter(EventFilter::All);
        wait_until_freed("the filter of the receiver", &weak);

        let (filter, weak) = owning_filter();
        let (sender, _deliveries) = crossbeam_channel::bounded(1);
        let forward = bus.subscription().filter(filter).forward_to(sender);
        bus.flush();
        forward.set_filter(EventFilter::All);
        wait_until_freed("the filter of the forward", &weak);
    });
}

/// The functions of a queue are dropped with the subscription, too.
#[test]
fn the_functions_of_an_ended_queue_are_dropped() {
    in_both_modes(|bus| {
        let (filter, essential) = owning_filter();
        let reserving = bus.subscription().queue_capacity(2).essential(filter, 1).subscribe();
        let owned = Arc::new(());
        let merge = Arc::downgrade(&owned);
        let merging = bus.subscription().conflate_with(move |_, newer| {
            let _ = &owned;
            Some(newer)
        });
        let merging = merging.subscribe();
        bus.flush();
        drop((reserving, merging));
        wait_until_freed("the filter of essential events", &essential);
        wait_until_freed("the merge function", &merge);
    });
}

#[test]
fn a_subscription_that_ends_during_the_upkeep_is_reaped() {
    in_both_modes(|bus| {
        let second = Mutex::new(Some(bus.subscribe_all()));
        // The filter of the first subscription is dropped during the upkeep, and drops the second receiver.
        let filter = EventFilter::custom(move |_| lock(&second).is_some());
        let first = bus.subscribe_filtered(filter, 8);
        bus.flush();
        drop(first);
        wait_until("both subscriptions are reaped", || bus.stats().reaped == 2);
        assert!(bus.stats().subscribers.is_empty());
    });
}

#[test]
fn interest_ends_with_the_last_subscription() {
    in_both_modes(|_| {
        let bus = Bus::new();
        let routing = EventRouting::default();
        let receivers =
            [EventFilter::All, EventFilter::Kind(EventKind::System)].map(|filter| bus.subscribe_filtered(filter, 1));
        bus.flush();
        assert!(bus.is_interested(&routing));
        drop(receivers);
        wait_until("no subscriber is interested", || !bus.is_interested(&routing));
    });
}

#[test]
fn a_backlog_arrives_and_wakes_its_receiver() {
    in_both_modes(|bus| {
        publish_numbers(&bus, 1..=3);
        let mut late = bus.subscription().backlog(2).subscribe();
        assert_eq!(late.recv_timeout(DEADLINE).unwrap().event.0, 2);
        wait_until("the backlog is complete", || late.len() == 1);

        let (sender, deliveries) = crossbeam_channel::bounded(4);
        bus.subscription().backlog(2).forward_to(sender);
        let forwarded: Vec<_> = (0..2).map(|_| deliveries.recv_timeout(DEADLINE).unwrap()).collect();
        assert_eq!(numbers(&forwarded), [2, 3]);
        assert!(forwarded.iter().all(Delivery::is_backlog));
    });
}

/// Dispatch is blocked until the receiver waits, so only a wake-up makes it receive the backlog.
#[test]
fn a_backlog_wakes_a_receiver_that_waits() {
    in_both_modes(|bus| {
        publish_numbers(&bus, 1..=3);
        let block = Block::new(&bus, number(4));
        let mut late = bus.subscription().backlog(2).subscribe();
        let count = wait_for_event(&mut late);
        block.release();
        wait_until_woken(&count);
        assert!(late.try_recv().unwrap().is_backlog());
    });
}

#[test]
fn events_that_wait_for_space_arrive() {
    in_both_modes(|bus| {
        let mut view = subscribe_with(&bus, Overflow::Conflate, 2);
        let in_scrolls = [1, 1, 2, 3, 2].into_iter().zip(1..);
        publish_all(&bus, in_scrolls.map(|(id, n)| scroll_event(n, id)));
        assert_eq!(view.len(), 2);
        // Each receive makes space for one more event, even while other events are queued.
        for first in [1, 2] {
            assert_eq!(view.try_recv().unwrap().event.0, first);
            wait_until("the next event is queued", || view.len() == 2);
        }
        assert_eq!(numbers(&drain(&mut view)), [4, 5]);
        wait_until("no event waits", || bus.stats().subscribers[0].pending == 0);
        assert_eq!((view.merged(), bus.stats().merged, view.lagged()), (1, 1, 0));
    });
}

/// Dispatch is blocked until the receiver waits, so only a wake-up makes it receive the event.
#[test]
fn an_event_that_waited_for_space_wakes_its_receiver() {
    in_both_modes(|bus| {
        let subscription = bus.subscription().filter(EventFilter::ScrollId(scroll(1)));
        let mut view = subscription.queue_capacity(1).overflow(Overflow::Conflate).subscribe();
        publish_all(&bus, (1..=3).map(|n| scroll_event(n, 1)));
        let block = Block::new(&bus, number(4));
        assert_eq!(view.try_recv().unwrap().event.0, 1);
        let count = wait_for_event(&mut view);
        block.release();
        wait_until_woken(&count);
        let delivery = view.try_recv().unwrap();
        assert_eq!((delivery.event.0, delivery.merged()), (3, 1));
    });
}

#[test]
fn each_waiting_receiver_is_woken_by_each_cause() {
    type Receivers = [BusReceiver<Number>; 3];
    let causes: [fn(&Bus, &Receivers); 4] = [
        |bus, _| bus.publish(number(1)).unwrap(),
        |bus, receivers| {
            receivers
                .iter()
                .for_each(|receiver| assert!(bus.unsubscribe(receiver.id())))
        },
        |bus, _| assert!(bus.close()),
        |bus, _| bus.shutdown(),
    ];
    for cause in causes {
        in_both_modes(|bus| {
            let mut receivers: Receivers = std::array::from_fn(|_| bus.subscribe_all());
            bus.flush();
            let counts = receivers.each_mut().map(wait_for_event);
            cause(&bus, &receivers);
            counts.iter().for_each(|count| wait_until_woken(count));
        });
    }
}

#[test]
fn the_last_handle_ends_the_bus() {
    in_both_modes(|bus| {
        let (filter, weak) = owning_filter();
        let mut receiver = bus.subscribe_filtered(filter, 8);
        let (sender, deliveries) = crossbeam_channel::bounded(8);
        bus.subscription().forward_to(sender);
        let event = number(1);
        let payload = Arc::downgrade(&event.event);
        publish_all(&bus, [event]);
        drop(receiver.try_recv().unwrap());
        assert_eq!(deliveries.recv_timeout(DEADLINE).unwrap().event.0, 1);
        let count = wait_for_event(&mut receiver);
        drop(bus);
        wait_until_woken(&count);
        assert_closed(&mut receiver);
        wait_until_disconnected(&deliveries);
        wait_until_freed("the filter", &weak);
        // The history held the event until the bus ended.
        wait_until_freed("the event", &payload);
    });
}

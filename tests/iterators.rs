//! The size hints of the iterators and of the stream of a receiver.

mod common;

use std::thread;

use common::*;
use futures::{Stream, StreamExt};
use sharing_bus::{Overflow, SharingBus, TryRecvError};

const OVERFLOWS: [Overflow; 4] = [
    Overflow::DropNewest,
    Overflow::DropOldest,
    Overflow::Disconnect,
    Overflow::Conflate,
];

#[test]
fn a_size_hint_starts_at_the_number_of_queued_events() {
    for overflow in OVERFLOWS {
        let bus = SharingBus::new();
        let mut receiver = subscribe_with(&bus, overflow, 4);
        assert_eq!(receiver.try_iter().size_hint(), (0, None));
        publish_numbers(&bus, 0..3);
        assert_eq!(receiver.try_iter().size_hint(), (3, None));
        assert_eq!(receiver.iter().size_hint(), (3, None));
        assert_eq!(Stream::size_hint(&receiver), (3, None));
        let mut iter = receiver.iter();
        assert!(iter.next().is_some());
        assert_eq!(iter.size_hint(), (2, None));
    }
}

#[test]
fn a_size_hint_is_exact_once_the_end_was_received() {
    for overflow in OVERFLOWS {
        let bus = SharingBus::new();
        let mut receiver = subscribe_with(&bus, overflow, 4);
        publish_numbers(&bus, 0..2);
        bus.shutdown();
        // An event that is queued during an unsubscribe may still follow, so a closed subscription has no upper bound.
        assert_eq!(receiver.iter().size_hint(), (2, None));
        assert_eq!(receiver.try_iter().count(), 2);
        assert_eq!(receiver.try_iter().size_hint(), (0, Some(0)));
        assert_eq!(receiver.iter().size_hint(), (0, Some(0)));
        assert_eq!(Stream::size_hint(&receiver), (0, Some(0)));
        assert!(futures::executor::block_on(receiver.next()).is_none());
    }
}

/// Publishes numbers into a queue of `capacity`, while the test checks the lower bound of each size hint.
#[track_caller]
fn assert_lower_bounds_hold(overflow: Overflow, capacity: usize) {
    let bus = SharingBus::new();
    let mut receiver = subscribe_with(&bus, overflow, capacity);
    let publisher = thread::spawn(move || {
        for n in 0..20_000 {
            bus.publish(scroll_event(n, u128::from(n % 3))).unwrap();
        }
        bus.shutdown();
    });
    while !matches!(receiver.try_recv(), Err(TryRecvError::Closed)) {
        let mut events = receiver.try_iter();
        let (at_least, _) = events.size_hint();
        assert_eq!(events.by_ref().take(at_least).count(), at_least, "{overflow:?}");
    }
    publisher.join().unwrap();
}

#[test]
fn a_receiver_yields_at_least_the_promised_number_while_events_are_lost_or_displaced() {
    for overflow in [Overflow::DropNewest, Overflow::DropOldest, Overflow::Conflate] {
        for capacity in [1, 2, 3, 100] {
            assert_lower_bounds_hold(overflow, capacity);
        }
    }
}

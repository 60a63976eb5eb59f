//! The table "From `async-broadcast`".

use async_broadcast::{RecvError as Lost, TrySendError, broadcast};
use futures::StreamExt;
use futures::executor::block_on;
use sharing_bus::{EventFilter, Overflow, RecvError, SharingBus, TryRecvError};

use super::*;

#[test]
fn broadcast_of_n_becomes_a_builder_with_a_queue_capacity_of_n() {
    let bus = SharingBus::builder().queue_capacity(3).build().unwrap();
    let mut receivers = [bus.subscribe_all(), bus.subscribe_all()];
    publish_numbers(&bus, 0..5);
    for receiver in &mut receivers {
        assert_eq!(numbers(&drain(receiver)), [0, 1, 2]);
    }
}

#[test]
fn broadcast_becomes_publish_async_which_waits_for_the_ingress_only() {
    block_on(async {
        let (sender, mut receiver) = broadcast(1);
        sender.broadcast(1).await.unwrap();
        let mut second = std::pin::pin!(sender.broadcast_direct(2));
        assert!(futures::poll!(&mut second).is_pending(), "the receiver is slow");
        assert_eq!(receiver.recv().await, Ok(1));
        second.await.unwrap();

        let bus = SharingBus::new();
        let mut slow = bus.subscribe_filtered(EventFilter::All, 1);
        bus.publish_async(number(1)).await.unwrap();
        bus.publish_async(number(2)).await.unwrap();
        bus.flush_async().await;
        assert_eq!((numbers(&drain(&mut slow)), slow.lagged()), (vec![1], 1));
    });
}

#[test]
fn broadcast_blocking_becomes_publish() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    assert_eq!(receiver.recv().unwrap().event.0, 1);
}

#[test]
fn try_broadcast_becomes_try_publish_which_no_slow_receiver_makes_full() {
    let (sender, receiver) = broadcast(1);
    sender.try_broadcast(1).unwrap();
    assert_eq!(sender.try_broadcast(2), Err(TrySendError::Full(2)));
    drop(receiver);
    assert_eq!(
        sender.try_broadcast(3),
        Err(TrySendError::Closed(3)),
        "the last receiver closes the channel"
    );

    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let slow = bus.subscribe_filtered(EventFilter::All, 1);
    for n in 0..3 {
        bus.try_publish(number(n)).unwrap();
        bus.flush();
    }
    drop(slow);
    let block = Block::new(&bus, number(3));
    bus.try_publish(number(4)).unwrap();
    let full = bus.try_publish(number(5)).unwrap_err();
    assert!(full.is_full());
    bus.close();
    let closed = bus.try_publish(full.into_event()).unwrap_err();
    assert!(closed.is_closed() && closed.into_event().event.0 == 5);
    block.release();
}

#[test]
fn inactive_becomes_success_and_the_event_reaches_no_later_receiver() {
    let (mut sender, receiver) = broadcast(1);
    let inactive = receiver.deactivate();
    assert_eq!(sender.try_broadcast(1), Err(TrySendError::Inactive(1)));
    sender.set_await_active(false);
    assert_eq!(sender.try_broadcast(1), Err(TrySendError::Inactive(1)));
    drop(inactive);

    assert_eq!(numbers_after_start(&SharingBus::new()), [2]);
}

#[test]
fn waiting_for_the_slowest_receiver_becomes_credits() {
    const PLACES: usize = 4;
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, PLACES);
    let (give, credits) = crossbeam_channel::bounded(PLACES);
    (0..PLACES).for_each(|_| give.send(()).unwrap());
    let publisher = thread::spawn(move || {
        for n in 0..1000 {
            credits.recv().unwrap();
            bus.publish(number(n)).unwrap();
        }
    });
    let mut received = Vec::new();
    while let Ok(delivery) = receiver.recv() {
        received.push(delivery.event.0);
        let _ = give.send(());
    }
    publisher.join().unwrap();
    assert!(received.iter().copied().eq(0..1000));
    assert_eq!(receiver.lagged(), 0);
}

#[test]
fn set_overflow_becomes_drop_oldest_for_each_subscription() {
    let (mut sender, mut receiver) = broadcast(2);
    sender.set_overflow(true);
    for n in 1..=5 {
        sender.try_broadcast(n).unwrap();
    }
    assert_eq!(block_on(receiver.recv()), Err(Lost::Overflowed(3)));
    assert_eq!(block_on(receiver.recv()), Ok(4));

    let bus = SharingBus::new();
    let mut newest = subscribe_with(&bus, Overflow::DropOldest, 2);
    let mut oldest = bus.subscribe_filtered(EventFilter::All, 2);
    publish_numbers(&bus, 1..=5);
    // Overflowed(n) becomes the `missed` of the next delivery.
    let first = newest.try_recv().unwrap();
    assert_eq!((first.event.0, first.missed()), (4, 3));
    assert_eq!(numbers(&drain(&mut oldest)), [1, 2]);
}

#[test]
fn new_receiver_becomes_subscribe_all() {
    let (sender, _receiver) = broadcast(4);
    sender.try_broadcast(1).unwrap();
    let mut receiver = sender.new_receiver();
    sender.try_broadcast(2).unwrap();
    assert_eq!(receiver.try_recv(), Ok(2));

    assert_eq!(numbers_after_start(&SharingBus::new()), [2]);
}

#[test]
fn a_cloned_receiver_becomes_a_new_subscription_with_a_backlog_from_the_history() {
    let (sender, mut receiver) = broadcast(4);
    for n in 1..=3 {
        sender.try_broadcast(n).unwrap();
    }
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.clone().try_recv(), Ok(2), "the same position");

    let bus = SharingBus::builder().history(8).build().unwrap();
    let mut first = bus.subscribe_all();
    publish_numbers(&bus, 1..=3);
    assert_eq!(first.try_recv().unwrap().event.0, 1);
    // The backlog is the newest part of the history, wherever the first receiver is.
    let mut second = bus.subscription().backlog(8).subscribe();
    bus.flush();
    assert_eq!(numbers(&drain(&mut second)), [1, 2, 3]);
    // A position is a sequence.
    let mut third = bus.subscription().backlog(8).subscribe();
    bus.flush();
    let position = 1;
    let rest = drain(&mut third)
        .into_iter()
        .filter(|delivery| delivery.sequence() > position);
    assert_eq!(numbers(&rest.collect::<Vec<_>>()), [2, 3]);
}

#[test]
fn the_receive_methods_become_recv_async_recv_and_try_recv() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    publish_numbers(&bus, 1..=3);
    assert_eq!(block_on(receiver.recv_async()).unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap().event.0, 2);
    assert_eq!(receiver.try_recv().unwrap().event.0, 3);
    assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[test]
fn the_stream_of_a_receiver_stays_and_reports_losses() {
    let (mut sender, receiver) = broadcast(1);
    sender.set_overflow(true);
    for n in 1..=3 {
        sender.try_broadcast(n).unwrap();
    }
    drop(sender);
    assert_eq!(block_on(receiver.collect::<Vec<_>>()), [3], "the stream skips the loss");

    let bus = SharingBus::new();
    let receiver = subscribe_with(&bus, Overflow::DropOldest, 1);
    publish_numbers(&bus, 1..=3);
    drop(bus);
    let seen: Vec<_> = block_on(receiver.collect());
    assert_eq!((seen[0].event.0, seen[0].missed(), seen.len()), (3, 2, 1));
}

#[test]
fn a_deactivated_receiver_becomes_a_filter_that_matches_nothing_between_two_flushes() {
    let (sender, receiver) = broadcast(4);
    sender.try_broadcast(1).unwrap();
    let inactive = receiver.deactivate();
    assert!(sender.try_broadcast(2).is_err());
    let mut receiver = inactive.activate();
    sender.try_broadcast(3).unwrap();
    assert_eq!(receiver.try_recv(), Ok(3), "the queue was dropped");

    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    bus.flush();
    receiver.set_filter(nothing());
    bus.publish(number(2)).unwrap();
    bus.flush();
    receiver.set_filter(EventFilter::All);
    bus.publish(number(3)).unwrap();
    bus.flush();
    // The events queued before the pause stay, and the events of the pause are not lost events.
    assert_eq!((numbers(&drain(&mut receiver)), receiver.lagged()), (vec![1, 3], 0));
}

#[test]
fn set_capacity_becomes_a_second_subscription_and_the_sequence_identifies_duplicates() {
    let bus = SharingBus::new();
    let mut small = bus.subscribe_filtered(EventFilter::All, 4);
    publish_numbers(&bus, [1]);
    let mut large = bus.subscribe_filtered(EventFilter::All, 8);
    publish_numbers(&bus, [2]);
    let mut seen = drain(&mut small);
    drop(small);
    publish_numbers(&bus, [3]);
    let last = seen.last().unwrap().sequence();
    seen.extend(
        drain(&mut large)
            .into_iter()
            .filter(|delivery| delivery.sequence() > last),
    );
    assert_eq!(numbers(&seen), [1, 2, 3]);
}

#[test]
fn is_full_becomes_a_comparison_for_a_receiver_and_an_error_for_the_ingress() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let receiver = bus.subscribe_filtered(EventFilter::All, 1);
    publish_numbers(&bus, [1]);
    assert_eq!(receiver.len(), receiver.capacity());
    let block = Block::new(&bus, number(2));
    bus.try_publish(number(3)).unwrap();
    assert!(bus.try_publish(number(4)).unwrap_err().is_full());
    block.release();
}

#[test]
fn close_receiver_count_and_len_have_counterparts() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    publish_numbers(&bus, 1..=2);
    assert_eq!((bus.subscriber_count(), receiver.len()), (1, 2));
    assert!(bus.close() && !bus.close());
    assert_eq!(receiver.recv().unwrap().event.0, 1);
    assert_eq!(receiver.recv().unwrap().event.0, 2);
    assert_eq!(receiver.recv().unwrap_err(), RecvError);
}

#[test]
fn the_last_dropped_receiver_leaves_the_bus_open() {
    let bus = SharingBus::new();
    drop(bus.subscribe_all());
    bus.publish(number(1)).unwrap();
    assert_eq!(numbers_after_start(&bus), [2]);
}

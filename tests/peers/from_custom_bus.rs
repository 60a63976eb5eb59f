//! The table "From a custom tokio bus".

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use sharing_bus::{
    BusEvent, Delivery, Event, EventFilter, EventKind, EventRouting, Overflow, RecvError, SharingBus, Sink, SinkError,
};
use tokio::sync::mpsc;

use super::*;

#[test]
fn string_ids_become_shared_names() {
    let bus = SharingBus::new();
    let (mut left, mut right) = (bus.subscribe_all(), bus.subscribe_all());
    bus.publish(session_event(EventKind::Output)).unwrap();
    let (left, right) = (left.recv().unwrap(), right.recv().unwrap());
    let name = |delivery: &Delivery| delivery.routing.connector_id.clone().unwrap();
    assert!(Arc::ptr_eq(&name(&left), &name(&right)));
    assert!(Arc::ptr_eq(&left.event, &right.event));
}

#[tokio::test]
async fn a_publish_becomes_publish_async_in_tasks_and_publish_in_threads() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish_async(number(1)).await.unwrap();
    let handle = bus.clone();
    in_a_thread(move || handle.publish(number(2)).unwrap());
    assert_eq!(receiver.recv_async().await.unwrap().event.0, 1);
    assert_eq!(receiver.recv_async().await.unwrap().event.0, 2);
}

#[test]
fn a_lagging_worker_becomes_a_full_ingress_which_returns_the_event() {
    let bus = SharingBus::builder().ingress_capacity(2).build().unwrap();
    let mut receiver = bus.subscribe_all();
    let block = Block::new(&bus, number(0));
    let refused: Vec<_> = (1..=5).filter_map(|n| bus.try_publish(number(n)).err()).collect();
    assert!(refused.iter().all(|error| error.is_full()));
    block.release();
    for error in refused {
        bus.publish(error.into_event()).unwrap();
    }
    bus.flush();
    assert_eq!(numbers(&drain(&mut receiver)), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn binding_in_publish_becomes_binding_in_the_order_of_dispatch() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    publish_all(
        &bus,
        [
            session_event(EventKind::Output),
            registration(&scroll(1).to_string()),
            session_event(EventKind::Output),
        ],
    );
    let scrolls: Vec<_> = drain(&mut receiver)
        .iter()
        .map(|delivery| delivery.routing.scroll_id)
        .collect();
    assert_eq!(scrolls, [None, Some(scroll(1)), Some(scroll(1))]);
}

#[test]
fn a_worker_that_a_panicking_filter_ends_becomes_a_thread_that_continues() {
    let bus = SharingBus::new();
    let mut good = bus.subscribe_all();
    let _bad = bus.subscribe_filtered(EventFilter::custom(|_| panic_quietly()), 1);
    publish_numbers(&bus, 1..=2);
    assert_eq!(numbers(&drain(&mut good)), [1, 2]);
    assert_eq!(bus.stats().filter_panics, 2);
}

#[test]
fn a_list_of_filters_becomes_an_index_that_also_evaluates_functions() {
    let bus = SharingBus::new();
    let (counting, calls) = counting_filter();
    let narrow = EventFilter::all([EventFilter::ScrollId(scroll(1)), counting]);
    let mut receiver = bus.subscribe_filtered(narrow, 8);
    publish_all(&bus, (1..=3).map(|n| scroll_event(n, u128::from(n))));
    assert_eq!(numbers(&drain(&mut receiver)), [1]);
    assert_eq!(calls.load(Ordering::Relaxed), 1, "only the events of the scroll");
}

#[test]
fn the_subscribe_calls_keep_their_names() {
    let bus = SharingBus::new();
    let mut all = bus.subscribe_all();
    let mut filtered = bus.subscribe_filtered(EventFilter::ScrollId(scroll(2)), 8);
    publish_all(&bus, (1..=3).map(|n| scroll_event(n, u128::from(n))));
    assert_eq!(numbers(&drain(&mut all)), [1, 2, 3]);
    assert_eq!(numbers(&drain(&mut filtered)), [2]);
}

#[tokio::test]
async fn a_received_option_becomes_a_result_and_stays_an_option_in_a_stream() {
    let bus = SharingBus::<Number>::new();
    let mut receiver = bus.subscribe_all();
    bus.close();
    assert_eq!(receiver.recv_async().await.unwrap_err(), RecvError);
    assert!(receiver.next().await.is_none());
}

#[test]
fn forwarding_delivers_deliveries() {
    let bus = SharingBus::new();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Delivery<Number>>(8);
    bus.subscription().forward_to(sender);
    publish_numbers(&bus, [1]);
    assert_eq!(receiver.try_recv().unwrap().event.0, 1);
}

/// A sink for code that expects a channel of plain events. It clones each event.
struct Events(mpsc::Sender<Number>);

impl Sink<Number> for Events {
    fn try_send(&mut self, delivery: Delivery<Number>) -> Result<(), SinkError<Number>> {
        self.0
            .try_send(Number::clone(&delivery.event))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SinkError::Full(delivery),
                mpsc::error::TrySendError::Closed(_) => SinkError::Closed(delivery),
            })
    }
}

#[tokio::test]
async fn an_mpsc_receiver_of_events_needs_a_sink_that_unpacks_deliveries() {
    let bus = SharingBus::new();
    let (sender, mut events) = mpsc::channel::<Number>(2);
    let forward = bus.subscription().forward_to(Events(sender));
    for n in 1..=3 {
        bus.publish_async(number(n)).await.unwrap();
    }
    bus.flush_async().await;
    assert_eq!(
        (events.recv().await, events.recv().await),
        (Some(Number(1)), Some(Number(2)))
    );
    assert_eq!(forward.lagged(), 1, "a full channel loses events");
    bus.close();
    assert_eq!(events.recv().await, None);
}

#[test]
fn a_lagged_counter_becomes_lagged_and_missed() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_filtered(EventFilter::All, 1);
    publish_numbers(&bus, 1..=3);
    assert_eq!(receiver.lagged(), 2);
    assert_eq!(drain(&mut receiver)[0].missed(), 0);
    publish_numbers(&bus, [4]);
    assert_eq!(drain(&mut receiver)[0].missed(), 2);
}

#[test]
fn a_log_line_for_each_loss_becomes_the_statistics() {
    let bus = SharingBus::new();
    let _receiver = subscribe_with(&bus, Overflow::DropNewest, 1);
    publish_numbers(&bus, 1..=3);
    let stats = bus.stats();
    assert_eq!((stats.lagged, stats.subscribers[0].lagged), (2, 2));
}

#[test]
fn a_closed_queue_is_removed_when_its_receiver_is_dropped() {
    let bus = SharingBus::<Number>::new();
    drop(bus.subscribe_filtered(nothing(), 1));
    bus.flush();
    assert_eq!((bus.stats().reaped, bus.stats().published), (1, 0));
}

#[test]
fn a_map_of_sessions_becomes_bounded_and_forgets_ended_sessions() {
    let bus = SharingBus::builder().session_capacity(2).build().unwrap();
    let publish = |event| bus.publish(BusEvent::new(EventRouting::default(), event)).unwrap();
    let (connector_id, session_id) = ("c".to_owned(), "s".to_owned());
    publish(Event::SessionRegistered {
        connector_id: connector_id.clone(),
        session_id: session_id.clone(),
        scroll_id: scroll(1).to_string(),
    });
    bus.flush();
    assert_eq!(bus.scroll_id("c", "s"), Some(scroll(1)));
    publish(Event::SessionEnded {
        connector_id,
        session_id,
    });
    bus.flush();
    assert_eq!(bus.scroll_id("c", "s"), None);

    // Sessions loaded from disk.
    for n in 1..=3 {
        assert_eq!(bus.bind_session("c", &n.to_string(), scroll(n)), None);
    }
    assert_eq!(
        (bus.scroll_id("c", "1"), bus.scroll_id("c", "3")),
        (None, Some(scroll(3)))
    );
    assert_eq!((bus.session_count(), bus.stats().sessions_evicted), (2, 1));
}

#[test]
fn a_missing_shutdown_becomes_close_or_shutdown() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(number(1)).unwrap();
    bus.shutdown();
    // The shutdown has waited for the dispatch of the event.
    assert!(receiver.is_closed());
    assert_eq!(numbers(&drain(&mut receiver)), [1]);
}

#[test]
fn a_sleep_in_tests_becomes_a_flush() {
    let bus = SharingBus::new();
    let mut receiver = bus.subscribe_all();
    bus.publish(plain_number(7)).unwrap();
    bus.flush();
    assert_eq!(*receiver.try_recv().unwrap().event, 7);
}

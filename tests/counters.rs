//! Each counter of the statistics changes exactly when it must, and at no other time. Each step of a test names all
//! changes of all counters.

mod common;

use common::*;
use sharing_bus::{
    BusEvent, BusStats, Delivery, Event, EventFilter, EventKind, EventOrigin, EventRouting, Overflow, SharingBus, Sink,
    SinkError,
};

/// Returns the counters of the bus, and those of its first subscriber.
fn counters(stats: &BusStats) -> Vec<(&'static str, i64)> {
    let first = stats.subscribers.first();
    let of_first = |field: fn(&sharing_bus::SubscriberStats) -> u64| first.map_or(0, field) as i64;
    vec![
        ("published", stats.published as i64),
        ("dispatched", stats.dispatched as i64),
        ("delivered", stats.delivered as i64),
        ("lagged", stats.lagged as i64),
        ("merged", stats.merged as i64),
        ("unmatched", stats.unmatched as i64),
        ("reaped", stats.reaped as i64),
        ("filter_panics", stats.filter_panics as i64),
        ("payload_panics", stats.payload_panics as i64),
        ("depth", stats.ingress_depth as i64),
        ("sessions", stats.sessions as i64),
        ("evicted", stats.sessions_evicted as i64),
        ("subscribers", stats.subscribers.len() as i64),
        ("first.queued", of_first(|first| first.queued)),
        ("first.delivered", of_first(|first| first.delivered)),
        ("first.lagged", of_first(|first| first.lagged)),
        ("first.lagged_essential", of_first(|first| first.lagged_essential)),
        ("first.merged", of_first(|first| first.merged)),
        ("first.pending", of_first(|first| first.pending)),
    ]
}

/// Runs `step` and flushes the bus. Every counter must change as `expected` says, and those not named must not change.
#[track_caller]
fn assert_changes<E: sharing_bus::Payload>(bus: &SharingBus<E>, step: impl FnOnce(), expected: &str) {
    bus.flush();
    let before = counters(&bus.stats());
    step();
    bus.flush();
    let after = counters(&bus.stats());
    let changes: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before.1 != after.1)
        .map(|(before, after)| format!("{} {:+}", before.0, after.1 - before.1))
        .collect();
    assert_eq!(changes.join(", "), expected);
    assert_eq!(bus.subscriber_count(), bus.stats().subscribers.len());
}

#[test]
fn events_count_once_for_each_subscriber() {
    let bus = SharingBus::new();
    let publish = |n: u64| publish_numbers(&bus, 0..n);
    assert_changes(&bus, || publish(2), "published +2, dispatched +2, unmatched +2");
    let mut all = None;
    assert_changes(
        &bus,
        || all = Some(subscribe_with(&bus, Overflow::DropNewest, 2)),
        "subscribers +1",
    );
    let mut all = all.unwrap();
    let none = bus.subscribe_filtered(EventFilter::any([]), 1);
    assert_changes(
        &bus,
        || publish(1),
        "published +1, dispatched +1, delivered +1, first.queued +1, first.delivered +1",
    );
    // An event that finds a full queue did match.
    let lost =
        "published +2, dispatched +2, delivered +1, lagged +1, first.queued +1, first.delivered +1, first.lagged +1";
    assert_changes(&bus, || publish(2), lost);
    assert_changes(
        &bus,
        || publish(1),
        "published +1, dispatched +1, lagged +1, first.lagged +1",
    );
    assert_changes(&bus, || drop(all.recv()), "first.queued -1");
    let both = "published +1, dispatched +1, delivered +2, first.queued +1, first.delivered +1";
    none.set_filter(EventFilter::All);
    assert_changes(&bus, || publish(1), both);
    assert_changes(&bus, || none.set_filter(EventFilter::any([])), "");
    assert_changes(&bus, || drop(bus.stats()), "");
    assert_changes(
        &bus,
        || {
            bus.close();
        },
        "subscribers -2, first.queued -2, first.delivered -3, first.lagged -2",
    );
    assert_changes(&bus, || assert!(bus.publish(number(1)).is_err()), "");
    assert_changes(&bus, || drop((all, none, bus.subscribe_all())), "");
}

#[test]
fn refused_events_and_skipped_events_count_nowhere() {
    let bus = SharingBus::builder().ingress_capacity(1).build().unwrap();
    let receiver = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 1);
    assert_changes(
        &bus,
        || {
            let skipped = bus.publish_with(EventRouting::default(), Default::default(), || Number(1));
            assert!(!skipped.unwrap());
        },
        "",
    );
    let block = Block::new(&bus, number(0));
    let stats = bus.stats();
    assert_eq!(
        (stats.published, stats.dispatched, stats.ingress_depth, stats.unmatched),
        (1, 0, 1, 0)
    );
    bus.try_publish(number(1)).unwrap();
    assert!(bus.try_publish(number(2)).is_err());
    // An ended subscription counts no more, although it is not yet reaped.
    assert_eq!((bus.subscriber_count(), stats.subscribers.len()), (2, 2));
    drop(receiver);
    let listed: Vec<_> = bus
        .stats()
        .subscribers
        .iter()
        .map(|subscriber| subscriber.filter.clone())
        .collect();
    assert_eq!((bus.subscriber_count(), listed), (1, vec!["custom".to_owned()]));
    let stats = bus.stats();
    assert_eq!((stats.published, stats.dispatched, stats.ingress_depth), (2, 0, 2));
    block.release();
    bus.flush();
    let stats = bus.stats();
    assert_eq!(
        (stats.published, stats.dispatched, stats.ingress_depth, stats.unmatched),
        (2, 2, 0, 2)
    );
}

#[test]
fn only_a_reap_counts_as_reaped() {
    let bus = SharingBus::new();
    let receivers: Vec<_> = (0..6)
        .map(|_| bus.subscribe_filtered(EventFilter::any([]), 1))
        .collect();
    let [a, mut b, c, d, e, f] = <[_; 6]>::try_from(receivers).unwrap();
    assert_changes(&bus, || drop(a), "reaped +1, subscribers -1");
    assert_changes(&bus, || assert!(b.close()), "reaped +1, subscribers -1");
    assert_changes(&bus, || drop(b), "");
    assert_changes(&bus, || assert!(bus.unsubscribe(c.id())), "subscribers -1");
    assert_changes(&bus, || assert!(!bus.unsubscribe(c.id())), "");
    assert_changes(&bus, || drop(c), "");
    assert_changes(&bus, || drop((d, e)), "reaped +2, subscribers -2");
    let disconnecting = subscribe_with(&bus, Overflow::Disconnect, 1);
    let ends = "published +3, dispatched +3, delivered +1, lagged +1, unmatched +1, reaped +1, subscribers -1";
    f.set_filter(EventFilter::any([]));
    // Each event is a batch of its own, so the third one comes after the end of the subscription.
    assert_changes(&bus, || (0..3).for_each(|n| publish_numbers(&bus, [n])), ends);
    drop(disconnecting);
    assert_changes(&bus, || bus.shutdown(), "subscribers -1");
    assert_changes(&bus, || drop(f), "");
}

/// A sink that accepts the event 1, is full for the event 2, panics at 3, and is closed otherwise.
struct Moody;

impl Sink<Number> for Moody {
    fn try_send(&mut self, delivery: Delivery<Number>) -> Result<(), SinkError<Number>> {
        match delivery.event.0 {
            1 => Ok(()),
            2 => Err(SinkError::Full(delivery)),
            3 => panic_quietly(),
            _ => Err(SinkError::Closed(delivery)),
        }
    }
}

#[test]
fn a_sink_counts_accepted_and_refused_events() {
    for (last, reason) in [(3, "lagged +1, "), (4, "")] {
        let bus = SharingBus::new();
        assert_changes(&bus, || drop(bus.subscription().forward_to(Moody)), "subscribers +1");
        let sent = "published +1, dispatched +1, delivered +1, first.delivered +1";
        assert_changes(&bus, || publish_numbers(&bus, [1]), sent);
        let full = "published +1, dispatched +1, lagged +1, first.lagged +1";
        assert_changes(&bus, || publish_numbers(&bus, [2]), full);
        let ends = format!(
            "published +1, dispatched +1, {reason}reaped +1, subscribers -1, first.delivered -1, first.lagged -1"
        );
        assert_changes(&bus, || publish_numbers(&bus, [last]), &ends);
    }
}

#[test]
fn panics_count_where_they_happen() {
    let bus = SharingBus::new();
    let panics = |_: &BusEvent<Number>| panic_quietly();
    let filter = bus.subscribe_filtered(EventFilter::custom(panics), 1);
    assert_changes(
        &bus,
        || publish_numbers(&bus, [1]),
        "published +1, dispatched +1, unmatched +1, filter_panics +1",
    );
    drop(filter);
    // The index lists this filter under two terms that the event satisfies. The filter is evaluated once.
    let of_kind = EventFilter::all([EventFilter::Kind(EventKind::System), EventFilter::custom(panics)]);
    let of_origin = EventFilter::all([EventFilter::Origin(EventOrigin::Runtime), EventFilter::custom(panics)]);
    let filter = bus.subscribe_filtered(EventFilter::any([of_kind, of_origin]), 1);
    assert_changes(
        &bus,
        || publish_numbers(&bus, [1]),
        "published +1, dispatched +1, unmatched +1, filter_panics +1",
    );
    drop(filter);
    bus.flush();

    let subscription = bus.subscription().queue_capacity(2);
    let reserving = subscription.essential(EventFilter::custom(panics), 1).subscribe();
    let fits = "published +1, dispatched +1, delivered +1, first.queued +1, first.delivered +1";
    assert_changes(&bus, || publish_numbers(&bus, [1]), fits);
    let lost = "published +1, dispatched +1, lagged +1, filter_panics +1, first.lagged +1";
    assert_changes(&bus, || publish_numbers(&bus, [1]), lost);
    drop(reserving);
    bus.flush();

    let merging = bus
        .subscription()
        .queue_capacity(1)
        .conflate_with(|_, _| panic_quietly())
        .subscribe();
    assert_changes(&bus, || publish_numbers(&bus, [1]), fits);
    assert_changes(
        &bus,
        || publish_numbers(&bus, [1]),
        "published +1, dispatched +1, first.pending +1",
    );
    assert_changes(&bus, || publish_numbers(&bus, [1]), lost);
    drop(merging);
}

#[test]
fn a_reserve_counts_lost_essential_events_apart() {
    let bus = SharingBus::new();
    let essential = EventFilter::custom(|event: &BusEvent<Number>| event.event.0 > 0);
    let mut view = bus.subscription().queue_capacity(3).essential(essential, 1).subscribe();
    let fits = "published +2, dispatched +2, delivered +2, first.queued +2, first.delivered +2";
    assert_changes(&bus, || publish_numbers(&bus, [0, 0]), fits);
    assert_changes(
        &bus,
        || publish_numbers(&bus, [0]),
        "published +1, dispatched +1, lagged +1, first.lagged +1",
    );
    let reserved = "published +1, dispatched +1, delivered +1, first.queued +1, first.delivered +1";
    assert_changes(&bus, || publish_numbers(&bus, [1]), reserved);
    let lost = "published +2, dispatched +2, lagged +2, first.lagged +2, first.lagged_essential +1";
    assert_changes(&bus, || publish_numbers(&bus, [1, 0]), lost);
    assert_changes(&bus, || publish_numbers(&bus, [0, 1]), lost);
    assert_eq!((view.lagged(), view.lagged_essential()), (5, 2));
    assert_eq!(
        drain(&mut view).iter().map(Delivery::missed).collect::<Vec<_>>(),
        [0, 0, 1]
    );
}

#[test]
fn conflation_counts_waiting_merged_and_lost_events() {
    let bus = SharingBus::new();
    let publish = |scrolls: &[u128]| publish_all(&bus, scrolls.iter().map(|id| scroll_event(1, *id)));
    let mut view = subscribe_with(&bus, Overflow::Conflate, 2);
    let fits = "published +2, dispatched +2, delivered +2, first.queued +2, first.delivered +2";
    assert_changes(&bus, || publish(&[1, 1]), fits);
    assert_changes(
        &bus,
        || publish(&[1, 1, 2]),
        "published +3, dispatched +3, first.pending +3",
    );
    // The event of the scroll 1 is lost, together with the event merged into it.
    let displaced = "published +1, dispatched +1, lagged +2, first.lagged +2, first.pending -1";
    assert_changes(&bus, || publish(&[3]), displaced);
    assert_changes(&bus, || publish(&[2]), "published +1, dispatched +1, first.pending +1");
    // The waiting events are now 3, and 2 with an older event merged into it.
    assert_changes(
        &bus,
        || drop(view.try_recv()),
        "delivered +1, first.delivered +1, first.pending -1",
    );
    let merged = "delivered +1, merged +1, first.delivered +1, first.merged +1, first.pending -2";
    assert_changes(&bus, || drop(view.try_recv()), merged);
    assert_changes(&bus, || drop(view.try_recv()), "first.queued -1");
    assert_changes(
        &bus,
        || publish(&[4, 5, 5]),
        "published +3, dispatched +3, delivered +1, first.queued +1, first.delivered +1, first.pending +2",
    );
    // A subscription that ends before the bus loses its waiting events.
    let lost = "lagged +2, reaped +1, subscribers -1, first.queued -2, first.delivered -5, first.lagged -2, first.merged -1, first.pending -2";
    assert_changes(&bus, || assert!(view.close()), lost);
    assert_eq!((view.lagged(), view.merged()), (4, 1));

    let view = subscribe_with(&bus, Overflow::Conflate, 1);
    publish(&[1, 1, 1]);
    let ended = "delivered +1, merged +1, subscribers -1, first.queued -1, first.delivered -1, first.pending -2";
    assert_changes(&bus, || bus.shutdown(), ended);
    assert_eq!((view.len(), view.lagged(), view.merged()), (2, 0, 1));
}

#[test]
fn refused_merges_count_as_lost() {
    let bus = SharingBus::new();
    let even = |_: &BusEvent<Number>, newer: BusEvent<Number>| (newer.event.0 % 2 == 0).then_some(newer);
    let mut view = bus.subscription().queue_capacity(1).conflate_with(even).subscribe();
    publish_numbers(&bus, [1]);
    assert_changes(
        &bus,
        || publish_numbers(&bus, [1]),
        "published +1, dispatched +1, first.pending +1",
    );
    assert_changes(
        &bus,
        || publish_numbers(&bus, [1]),
        "published +1, dispatched +1, lagged +1, first.lagged +1",
    );
    assert_changes(
        &bus,
        || publish_numbers(&bus, [2]),
        "published +1, dispatched +1, first.pending +1",
    );
    assert_changes(
        &bus,
        || publish_numbers(&bus, [1]),
        "published +1, dispatched +1, lagged +1, first.lagged +1",
    );
    let queued = "delivered +1, merged +1, first.delivered +1, first.merged +1, first.pending -2";
    assert_changes(&bus, || drop(view.recv()), queued);
    let merged = view.recv().unwrap();
    // The first refused event came before the event 2, and the second one came after it.
    assert_eq!((merged.event.0, merged.missed(), merged.merged()), (2, 1, 1));
    publish_numbers(&bus, [1]);
    assert_eq!(view.recv().unwrap().missed(), 1);
}

#[test]
fn a_backlog_counts_as_delivered_and_no_event_counts_twice() {
    let bus = SharingBus::builder().history(4).build().unwrap();
    publish_numbers(&bus, 1..=3);
    let mut late = None;
    let filter = EventFilter::custom(|event: &BusEvent<Number>| match event.event.0 {
        1 => panic_quietly(),
        n => n != 2,
    });
    let joins = "delivered +1, filter_panics +1, subscribers +1, first.queued +1, first.delivered +1";
    assert_changes(
        &bus,
        || late = Some(bus.subscription().filter(filter).backlog(4).subscribe()),
        joins,
    );
    assert_changes(
        &bus,
        || publish_numbers(&bus, [2]),
        "published +1, dispatched +1, unmatched +1",
    );
    drop(late);
}

#[test]
fn sessions_count_while_they_are_bound() {
    let bus: SharingBus = SharingBus::builder().session_capacity(2).build().unwrap();
    let event = "published +1, dispatched +1, unmatched +1";
    let with = |changes: &str| format!("{event}, {changes}");
    let publish = |event| bus.publish(event).unwrap();
    let id = |n| scroll(n).to_string();
    assert_changes(&bus, || publish(registration(&id(1))), &with("sessions +1"));
    assert_changes(&bus, || publish(registration(&id(2))), event);
    assert_changes(&bus, || publish(registration("no uuid")), event);
    assert_changes(
        &bus,
        || {
            bus.bind_session("c", "t", scroll(3));
        },
        "sessions +1",
    );
    assert_changes(
        &bus,
        || {
            bus.bind_session("c", "t", scroll(4));
        },
        "",
    );
    assert_changes(
        &bus,
        || {
            bus.bind_session("c", "u", scroll(5));
        },
        "evicted +1",
    );
    assert_changes(
        &bus,
        || {
            bus.forget_session("c", "s");
        },
        "",
    );
    assert_changes(
        &bus,
        || {
            bus.forget_session("c", "t");
        },
        "sessions -1",
    );
    let ended = Event::SessionEnded {
        connector_id: "c".into(),
        session_id: "u".into(),
    };
    let ended = BusEvent::new(EventRouting::default(), ended);
    assert_changes(&bus, || publish(ended.clone()), &with("sessions -1"));
    assert_changes(&bus, || publish(ended), event);
}

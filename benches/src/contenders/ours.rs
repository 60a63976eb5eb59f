//! sharing-bus itself.

use std::sync::Arc;
use std::time::Instant;

use sharing_bus::{
    BusBuilder, BusEvent, BusReceiver, Delivery, EventFilter, EventOrigin, Payload, SharingBus, TryRecvError,
};

use super::{Consumer, Contender, Polled, Running, Setup, Subscription, poll_all, spawn_thread};
use crate::workload::{EventSpec, Filter, Names, scroll};

pub(super) const TASKS: Contender = Contender {
    name: "sharing-bus",
    start: |setup| start(setup, SharingBus::builder(), tasks),
};

pub(super) const TASKS_ASSISTED: Contender = Contender {
    name: "sharing-bus, assisted",
    start: |setup| start(setup, SharingBus::builder().assisted_dispatch(true), tasks),
};

pub(super) const THREADS: Contender = Contender {
    name: "sharing-bus",
    start: |setup| start(setup, SharingBus::builder(), threads),
};

pub(super) const THREADS_ASSISTED: Contender = Contender {
    name: "sharing-bus, assisted",
    start: |setup| start(setup, SharingBus::builder().assisted_dispatch(true), threads),
};

pub(super) const POLLED: Contender = Contender {
    name: "sharing-bus",
    start: |setup| start(setup, SharingBus::builder(), polled),
};

/// A payload that holds the time of its publication.
struct PublishedAt(Instant);

impl Payload for PublishedAt {}

type Subscribers = Vec<(BusReceiver<PublishedAt>, Subscription)>;

fn start(setup: &Setup, bus: BusBuilder<PublishedAt>, consume: fn(&Setup, Subscribers) -> Vec<Consumer>) -> Running {
    let bus = bus
        .ingress_capacity(setup.capacity())
        .build()
        .expect("the bus did not start");
    let names = setup.names();
    for session in 0..setup.workload.sessions() {
        let (connector_id, native_session_id) = names.of(session);
        bus.bind_session(connector_id, native_session_id, scroll(session));
    }
    let stuck = setup.stuck.then(|| bus.subscribe_filtered(EventFilter::All, 16));
    let subscribers = setup.subscriptions().into_iter().map(|subscription| {
        let receiver = bus.subscribe_filtered(
            event_filter(subscription.filter),
            setup.queue_capacity(subscription.filter),
        );
        (receiver, subscription)
    });
    let consumers = consume(setup, subscribers.collect());
    Running {
        publishers: setup.publishers(|| publisher(setup, &bus, &names)),
        consumers,
        stuck: stuck.into_iter().map(|receiver| Box::new(receiver) as _).collect(),
    }
}

fn publisher(
    setup: &Setup,
    bus: &SharingBus<PublishedAt>,
    names: &Arc<Names>,
) -> impl FnMut(&EventSpec) + Send + use<> {
    let (bus, names, clock) = (bus.clone(), Arc::clone(names), setup.clock());
    move |spec| {
        let event = BusEvent {
            routing: names.routing(spec),
            origin: EventOrigin::Runtime,
            event: Arc::new(PublishedAt(clock())),
        };
        assert!(bus.publish(event).is_ok(), "the bus is closed");
    }
}

fn event_filter(filter: Filter) -> EventFilter<PublishedAt> {
    match filter {
        Filter::All => EventFilter::All,
        Filter::Scroll(id) => EventFilter::ScrollId(id),
        Filter::Kind(kind) => EventFilter::Kind(kind),
        Filter::Custom(matches) => EventFilter::custom(move |event: &BusEvent<PublishedAt>| {
            matches(event.routing.scroll_id.unwrap_or_default(), event.routing.kind)
        }),
    }
}

fn received(subscription: &mut Subscription, delivery: &Delivery<PublishedAt>) {
    assert_eq!(delivery.missed(), 0, "the queue was full");
    subscription.received(delivery.event.0);
}

fn tasks(setup: &Setup, subscribers: Subscribers) -> Vec<Consumer> {
    let consumers = subscribers.into_iter().map(|(mut receiver, mut subscription)| {
        setup.spawn_task(async move {
            while let Ok(delivery) = receiver.recv_async().await {
                received(&mut subscription, &delivery);
            }
        })
    });
    consumers.collect()
}

fn threads(_: &Setup, subscribers: Subscribers) -> Vec<Consumer> {
    let consumers = subscribers.into_iter().map(|(mut receiver, mut subscription)| {
        spawn_thread(move || {
            while let Ok(delivery) = receiver.recv() {
                received(&mut subscription, &delivery);
            }
        })
    });
    consumers.collect()
}

fn polled(_: &Setup, subscribers: Subscribers) -> Vec<Consumer> {
    vec![spawn_thread(|| {
        poll_all(subscribers, |receiver, subscription| match receiver.try_recv() {
            Ok(delivery) => {
                received(subscription, &delivery);
                Polled::Received
            }
            Err(TryRecvError::Empty) => Polled::Empty,
            Err(TryRecvError::Closed) => Polled::Closed,
        });
    })]
}

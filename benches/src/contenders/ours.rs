//! This crate's bus.

use std::sync::Arc;
use std::time::Instant;

use sharing_bus::{
    BusBuilder, BusEvent, BusReceiver, Delivery, EventFilter, EventOrigin, Payload, SharingBus, TryRecvError,
};

use super::{Consumer, Contender, Polled, Running, Seat, Setup, spawn, sweep};
use crate::workload::{Names, Sent, Want, scroll};

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

pub(super) const SWEPT: Contender = Contender {
    name: "sharing-bus",
    start: |setup| start(setup, SharingBus::builder(), swept),
};

/// The payload.
struct Stamp(Instant);

impl Payload for Stamp {}

type Subscribers = Vec<(BusReceiver<Stamp>, Seat)>;

fn start(setup: &Setup, bus: BusBuilder<Stamp>, consume: fn(&Setup, Subscribers) -> Vec<Consumer>) -> Running {
    let bus = bus.ingress_capacity(setup.capacity()).build().expect("the bus starts");
    let names = setup.names();
    for session in 0..setup.workload.sessions() {
        let (connector_id, native_session_id) = names.of(session);
        bus.bind_session(connector_id, native_session_id, scroll(session));
    }
    let stuck = setup.stuck.then(|| bus.subscribe_filtered(EventFilter::All, 16));
    let subscribers = setup.seats().into_iter().map(|seat| {
        let receiver = bus.subscribe_filtered(filter(seat.want), setup.queue_capacity(seat.want));
        (receiver, seat)
    });
    let consumers = consume(setup, subscribers.collect());
    Running {
        publishers: setup.publishers(|| publisher(setup, &bus, &names)),
        consumers,
        stuck: stuck.into_iter().map(|receiver| Box::new(receiver) as _).collect(),
    }
}

fn publisher(setup: &Setup, bus: &SharingBus<Stamp>, names: &Arc<Names>) -> impl FnMut(&Sent) + Send + use<> {
    let (bus, names, clock) = (bus.clone(), Arc::clone(names), setup.clock());
    move |sent| {
        let event = BusEvent {
            routing: names.routing(sent),
            origin: EventOrigin::Runtime,
            event: Arc::new(Stamp(clock())),
        };
        assert!(bus.publish(event).is_ok(), "the bus is open");
    }
}

fn filter(want: Want) -> EventFilter<Stamp> {
    match want {
        Want::All => EventFilter::All,
        Want::Scroll(id) => EventFilter::ScrollId(id),
        Want::Kind(kind) => EventFilter::Kind(kind),
        Want::Custom(matches) => EventFilter::custom(move |event: &BusEvent<Stamp>| {
            matches(event.routing.scroll_id.unwrap_or_default(), event.routing.kind)
        }),
    }
}

fn took(seat: &mut Seat, delivery: &Delivery<Stamp>) {
    assert_eq!(delivery.missed(), 0, "the window fits into every queue");
    seat.saw(delivery.event.0);
}

fn tasks(setup: &Setup, subscribers: Subscribers) -> Vec<Consumer> {
    let consumers = subscribers.into_iter().map(|(mut receiver, mut seat)| {
        setup.task(async move {
            while let Ok(delivery) = receiver.recv_async().await {
                took(&mut seat, &delivery);
            }
        })
    });
    consumers.collect()
}

fn threads(_: &Setup, subscribers: Subscribers) -> Vec<Consumer> {
    let consumers = subscribers.into_iter().map(|(mut receiver, mut seat)| {
        spawn(move || {
            while let Ok(delivery) = receiver.recv() {
                took(&mut seat, &delivery);
            }
        })
    });
    consumers.collect()
}

fn swept(_: &Setup, subscribers: Subscribers) -> Vec<Consumer> {
    vec![spawn(|| {
        sweep(subscribers, |receiver, seat| match receiver.try_recv() {
            Ok(delivery) => {
                took(seat, &delivery);
                Polled::Took
            }
            Err(TryRecvError::Empty) => Polled::Empty,
            Err(TryRecvError::Closed) => Polled::Closed,
        });
    })]
}

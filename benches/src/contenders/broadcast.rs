//! Channels that deliver every event to every receiver. The receiver filters.

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use tokio::sync::broadcast;

use super::{Contender, PlainEvent, Polled, Publisher, Running, Setup, Subscription, poll_all, spawn_thread};
use crate::workload::EventSpec;

pub(super) const TOKIO: Contender = Contender {
    name: "tokio broadcast",
    start: |setup| {
        let (sender, receivers) = tokio_channel(setup);
        let consumers = receivers.into_iter().map(|(mut receiver, mut subscription)| {
            setup.spawn_task(async move {
                loop {
                    match receiver.recv().await {
                        Ok(event) => received(&mut subscription, &event),
                        Err(broadcast::error::RecvError::Closed) => break,
                        Err(lagged) => panic!("an event was lost: {lagged}"),
                    }
                }
            })
        });
        let consumers = consumers.collect();
        running(tokio_publishers(setup, &sender), consumers)
    },
};

/// One thread per receiver, which waits in `blocking_recv`.
pub(super) const TOKIO_THREADS: Contender = Contender {
    name: "tokio broadcast",
    start: |setup| {
        let (sender, receivers) = tokio_channel(setup);
        let consumers = receivers.into_iter().map(|(mut receiver, mut subscription)| {
            spawn_thread(move || {
                while let Ok(event) = receiver.blocking_recv() {
                    received(&mut subscription, &event);
                }
            })
        });
        let consumers = consumers.collect();
        running(tokio_publishers(setup, &sender), consumers)
    },
};

pub(super) const ASYNC_BROADCAST: Contender = Contender {
    name: "async-broadcast",
    start: |setup| {
        let (sender, receiver) = async_broadcast::broadcast::<Arc<PlainEvent>>(setup.capacity());
        let consumers = setup.unfiltered_subscriptions().into_iter().map(|mut subscription| {
            let mut receiver = receiver.clone();
            setup.spawn_task(async move {
                while let Ok(event) = receiver.recv_direct().await {
                    received(&mut subscription, &event);
                }
            })
        });
        let consumers = consumers.collect();
        drop(receiver);
        let publishers = setup.publishers(|| {
            let (sender, mut make_event) = (sender.clone(), setup.event_factory());
            move |spec: &EventSpec| {
                let sent = sender.try_broadcast(make_event(spec));
                assert!(sent.is_ok(), "the channel is full or closed");
            }
        });
        running(publishers, consumers)
    },
};

pub(super) const BUS_THREADS: Contender = Contender {
    name: "bus",
    start: |setup| {
        let (bus, receivers) = bus_channel(setup);
        let consumers = receivers.into_iter().map(|(mut receiver, mut subscription)| {
            spawn_thread(move || {
                while let Ok(event) = receiver.recv() {
                    received(&mut subscription, &event);
                }
            })
        });
        let consumers = consumers.collect();
        running(bus_publisher(setup, bus), consumers)
    },
};

pub(super) const BUS_POLLED: Contender = Contender {
    name: "bus",
    start: |setup| {
        let (bus, receivers) = bus_channel(setup);
        let poller = spawn_thread(|| {
            poll_all(receivers, |receiver, subscription| match receiver.try_recv() {
                Ok(event) => {
                    received(subscription, &event);
                    Polled::Received
                }
                Err(TryRecvError::Empty) => Polled::Empty,
                Err(TryRecvError::Disconnected) => Polled::Closed,
            });
        });
        running(bus_publisher(setup, bus), vec![poller])
    },
};

fn received(subscription: &mut Subscription, event: &PlainEvent) {
    // `black_box` keeps the compiler from removing the filter, whose result has no other use in a throughput run.
    let matches = std::hint::black_box(subscription.matches(event));
    if matches {
        subscription.received(event.published);
    } else {
        subscription.tally.add_event();
    }
}

fn running(publishers: Vec<Publisher>, consumers: Vec<super::Consumer>) -> Running {
    Running {
        publishers,
        consumers,
        stuck: Vec::new(),
    }
}

type TokioChannel = (
    broadcast::Sender<Arc<PlainEvent>>,
    Vec<(broadcast::Receiver<Arc<PlainEvent>>, Subscription)>,
);

fn tokio_channel(setup: &Setup) -> TokioChannel {
    let (sender, _) = broadcast::channel(setup.capacity());
    let subscriptions = setup.unfiltered_subscriptions().into_iter();
    let receivers = subscriptions
        .map(|subscription| (sender.subscribe(), subscription))
        .collect();
    (sender, receivers)
}

fn tokio_publishers(setup: &Setup, sender: &broadcast::Sender<Arc<PlainEvent>>) -> Vec<Publisher> {
    setup.publishers(|| {
        let (sender, mut make_event) = (sender.clone(), setup.event_factory());
        move |spec: &EventSpec| {
            let sent = sender.send(make_event(spec));
            assert!(sent.is_ok(), "the channel has no receiver");
        }
    })
}

type BusChannel = (
    bus::Bus<Arc<PlainEvent>>,
    Vec<(bus::BusReader<Arc<PlainEvent>>, Subscription)>,
);

fn bus_channel(setup: &Setup) -> BusChannel {
    let mut bus = bus::Bus::new(setup.capacity());
    let subscriptions = setup.unfiltered_subscriptions().into_iter();
    let receivers = subscriptions.map(|subscription| (bus.add_rx(), subscription)).collect();
    (bus, receivers)
}

/// Returns the only publisher, because the channel has a single sender.
fn bus_publisher(setup: &Setup, mut bus: bus::Bus<Arc<PlainEvent>>) -> Vec<Publisher> {
    assert_eq!(setup.workload.publishers, 1, "bus has one publisher");
    let mut make_event = setup.event_factory();
    vec![Box::new(move |spec| {
        let sent = bus.try_broadcast(make_event(spec));
        assert!(sent.is_ok(), "the channel is full or closed");
    })]
}

//! Fan-out by hand: the publisher iterates over a list of filters and sends to one channel per subscriber.

use std::sync::Arc;

use crossbeam_channel::TryRecvError;
use tokio::sync::mpsc;

use super::{Contender, PlainEvent, Polled, Publisher, Running, Setup, Subscription, poll_all, spawn_thread};
use crate::workload::{EventSpec, Filter};

pub(super) const TOKIO_MPSC: Contender = Contender {
    name: "tokio mpsc fan-out",
    start: |setup| {
        let (senders, receivers): (Vec<_>, Vec<_>) = setup
            .subscriptions()
            .into_iter()
            .map(|subscription| {
                let capacity = setup.queue_capacity(subscription.filter);
                let (sender, receiver) = mpsc::channel::<Arc<PlainEvent>>(capacity);
                ((subscription.filter, sender), (receiver, subscription))
            })
            .unzip();
        let consumers = receivers.into_iter().map(|(mut receiver, mut subscription)| {
            setup.spawn_task(async move {
                while let Some(event) = receiver.recv().await {
                    received(&mut subscription, &event);
                }
            })
        });
        Running {
            consumers: consumers.collect(),
            publishers: publishers(setup, senders, |sender, event| sender.try_send(event).is_ok()),
            stuck: Vec::new(),
        }
    },
};

pub(super) const CROSSBEAM_THREADS: Contender = Contender {
    name: "crossbeam fan-out",
    start: |setup| {
        let (senders, receivers) = crossbeam(setup);
        let consumers = receivers.into_iter().map(|(receiver, mut subscription)| {
            spawn_thread(move || {
                while let Ok(event) = receiver.recv() {
                    received(&mut subscription, &event);
                }
            })
        });
        Running {
            consumers: consumers.collect(),
            publishers: publishers(setup, senders, |sender, event| sender.try_send(event).is_ok()),
            stuck: Vec::new(),
        }
    },
};

pub(super) const CROSSBEAM_POLLED: Contender = Contender {
    name: "crossbeam fan-out",
    start: |setup| {
        let (senders, receivers) = crossbeam(setup);
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
        Running {
            consumers: vec![poller],
            publishers: publishers(setup, senders, |sender, event| sender.try_send(event).is_ok()),
            stuck: Vec::new(),
        }
    },
};

type Senders = Vec<(Filter, crossbeam_channel::Sender<Arc<PlainEvent>>)>;
type Receivers = Vec<(crossbeam_channel::Receiver<Arc<PlainEvent>>, Subscription)>;

fn crossbeam(setup: &Setup) -> (Senders, Receivers) {
    let channels = setup.subscriptions().into_iter().map(|subscription| {
        let (sender, receiver) = crossbeam_channel::bounded(setup.queue_capacity(subscription.filter));
        ((subscription.filter, sender), (receiver, subscription))
    });
    channels.unzip()
}

fn received(subscription: &mut Subscription, event: &PlainEvent) {
    subscription.received(event.published);
}

fn publishers<S: Clone + Send + 'static>(
    setup: &Setup,
    senders: Vec<(Filter, S)>,
    send: fn(&S, Arc<PlainEvent>) -> bool,
) -> Vec<Publisher> {
    setup.publishers(|| {
        let (senders, mut make_event) = (senders.clone(), setup.event_factory());
        move |spec: &EventSpec| {
            let event = make_event(spec);
            for (filter, sender) in &senders {
                if event.matches(*filter) {
                    assert!(send(sender, Arc::clone(&event)), "the channel is full or closed");
                }
            }
        }
    })
}

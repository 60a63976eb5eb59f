//! The lower bound: the publisher pushes shared events into one bare `rtrb` ring per consumer. There are no filters, no
//! wake-ups, no order between publishers, and no counters.

use std::sync::Arc;

use super::{Contender, PlainEvent, Polled, Running, poll_all, spawn_thread};

pub(super) const POLLED: Contender = Contender {
    name: "bare rtrb rings",
    start: |setup| {
        assert_eq!(setup.workload.publishers, 1, "a ring has one producer");
        let (mut producers, consumers): (Vec<_>, Vec<_>) = setup
            .subscriptions()
            .into_iter()
            .map(|subscription| {
                let capacity = setup.queue_capacity(subscription.filter);
                let (producer, consumer) = rtrb::RingBuffer::<Arc<PlainEvent>>::new(capacity);
                (producer, (consumer, subscription))
            })
            .unzip();
        let poller = spawn_thread(|| {
            poll_all(consumers, |consumer, subscription| match consumer.pop() {
                Ok(event) => {
                    subscription.received(event.published);
                    Polled::Received
                }
                // This can end the consumer although an event remains: the producer may push and hang up between
                // `pop` and this check. No event is lost, because publishers hang up only after the last burst.
                Err(_) if !consumer.is_abandoned() => Polled::Empty,
                Err(_) => Polled::Closed,
            });
        });
        let mut make_event = setup.event_factory();
        Running {
            publishers: vec![Box::new(move |spec| {
                let event = make_event(spec);
                for producer in &mut producers {
                    assert!(producer.push(Arc::clone(&event)).is_ok(), "the ring is full");
                }
            })],
            consumers: vec![poller],
            stuck: Vec::new(),
        }
    },
};

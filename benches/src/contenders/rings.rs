//! The limit: the publisher pushes shared events into one bare `rtrb` ring per consumer. No filters, no wake-ups, no
//! order between publishers, nothing counted.

use std::sync::Arc;

use super::{Contender, Note, Polled, Running, spawn, sweep};

pub(super) const SWEPT: Contender = Contender {
    name: "bare rtrb rings",
    start: |setup| {
        assert_eq!(setup.workload.publishers, 1, "a ring has one producer");
        let (mut producers, consumers): (Vec<_>, Vec<_>) = setup
            .seats()
            .into_iter()
            .map(|seat| {
                let (producer, consumer) = rtrb::RingBuffer::<Arc<Note>>::new(setup.queue_capacity(seat.want));
                (producer, (consumer, seat))
            })
            .unzip();
        let sweeper = spawn(|| {
            sweep(consumers, |consumer, seat| match consumer.pop() {
                Ok(note) => {
                    seat.saw(note.published);
                    Polled::Took
                }
                // Abandoned is read before empty would be believed.
                Err(_) if !consumer.is_abandoned() => Polled::Empty,
                Err(_) => Polled::Closed,
            });
        });
        let mut notes = setup.notes();
        Running {
            publishers: vec![Box::new(move |sent| {
                let note = notes(sent);
                for producer in &mut producers {
                    assert!(producer.push(Arc::clone(&note)).is_ok(), "the window fits");
                }
            })],
            consumers: vec![sweeper],
            stuck: Vec::new(),
        }
    },
};

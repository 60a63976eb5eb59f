//! A fan-out by hand: the publisher walks a list of filters and sends into a channel each.

use std::sync::Arc;

use crossbeam_channel::TryRecvError;
use tokio::sync::mpsc;

use super::{Contender, Note, Polled, Publisher, Running, Seat, Setup, spawn, sweep};
use crate::workload::{Sent, Want};

pub(super) const TOKIO_MPSC: Contender = Contender {
    name: "tokio mpsc fan-out",
    start: |setup| {
        let (senders, receivers): (Vec<_>, Vec<_>) = setup
            .seats()
            .into_iter()
            .map(|seat| {
                let (sender, receiver) = mpsc::channel::<Arc<Note>>(setup.queue_capacity(seat.want));
                ((seat.want, sender), (receiver, seat))
            })
            .unzip();
        let consumers = receivers.into_iter().map(|(mut receiver, mut seat)| {
            setup.task(async move {
                while let Some(note) = receiver.recv().await {
                    took(&mut seat, &note);
                }
            })
        });
        Running {
            consumers: consumers.collect(),
            publishers: publishers(setup, senders, |sender, note| sender.try_send(note).is_ok()),
            stuck: Vec::new(),
        }
    },
};

pub(super) const CROSSBEAM_THREADS: Contender = Contender {
    name: "crossbeam fan-out",
    start: |setup| {
        let (senders, receivers) = crossbeam(setup);
        let consumers = receivers.into_iter().map(|(receiver, mut seat)| {
            spawn(move || {
                while let Ok(note) = receiver.recv() {
                    took(&mut seat, &note);
                }
            })
        });
        Running {
            consumers: consumers.collect(),
            publishers: publishers(setup, senders, |sender, note| sender.try_send(note).is_ok()),
            stuck: Vec::new(),
        }
    },
};

pub(super) const CROSSBEAM_SWEPT: Contender = Contender {
    name: "crossbeam fan-out",
    start: |setup| {
        let (senders, receivers) = crossbeam(setup);
        let sweeper = spawn(|| {
            sweep(receivers, |receiver, seat| match receiver.try_recv() {
                Ok(note) => {
                    took(seat, &note);
                    Polled::Took
                }
                Err(TryRecvError::Empty) => Polled::Empty,
                Err(TryRecvError::Disconnected) => Polled::Closed,
            });
        });
        Running {
            consumers: vec![sweeper],
            publishers: publishers(setup, senders, |sender, note| sender.try_send(note).is_ok()),
            stuck: Vec::new(),
        }
    },
};

type Senders = Vec<(Want, crossbeam_channel::Sender<Arc<Note>>)>;
type Receivers = Vec<(crossbeam_channel::Receiver<Arc<Note>>, Seat)>;

fn crossbeam(setup: &Setup) -> (Senders, Receivers) {
    let channels = setup.seats().into_iter().map(|seat| {
        let (sender, receiver) = crossbeam_channel::bounded(setup.queue_capacity(seat.want));
        ((seat.want, sender), (receiver, seat))
    });
    channels.unzip()
}

fn took(seat: &mut Seat, note: &Note) {
    seat.saw(note.published);
}

fn publishers<S: Clone + Send + 'static>(
    setup: &Setup,
    senders: Vec<(Want, S)>,
    send: fn(&S, Arc<Note>) -> bool,
) -> Vec<Publisher> {
    setup.publishers(|| {
        let (senders, mut notes) = (senders.clone(), setup.notes());
        move |sent: &Sent| {
            let note = notes(sent);
            for (want, sender) in &senders {
                if note.matches(*want) {
                    assert!(send(sender, Arc::clone(&note)), "the window fits");
                }
            }
        }
    })
}

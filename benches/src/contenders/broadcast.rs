//! Channels that give everything to everybody: the receiver filters.

use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

use tokio::sync::broadcast;

use super::{Contender, Note, Polled, Publisher, Running, Seat, Setup, spawn, sweep};
use crate::workload::Sent;

pub(super) const TOKIO: Contender = Contender {
    name: "tokio broadcast",
    start: |setup| {
        let (sender, receivers) = tokio_channel(setup);
        let consumers = receivers.into_iter().map(|(mut receiver, mut seat)| {
            setup.task(async move {
                loop {
                    match receiver.recv().await {
                        Ok(note) => took(&mut seat, &note),
                        Err(broadcast::error::RecvError::Closed) => break,
                        Err(lagged) => panic!("the window fits: {lagged}"),
                    }
                }
            })
        });
        let consumers = consumers.collect();
        running(tokio_publishers(setup, &sender), consumers)
    },
};

/// With a thread for each receiver, which blocks as tokio has it.
pub(super) const TOKIO_THREADS: Contender = Contender {
    name: "tokio broadcast",
    start: |setup| {
        let (sender, receivers) = tokio_channel(setup);
        let consumers = receivers.into_iter().map(|(mut receiver, mut seat)| {
            spawn(move || {
                while let Ok(note) = receiver.blocking_recv() {
                    took(&mut seat, &note);
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
        let (sender, receiver) = async_broadcast::broadcast::<Arc<Note>>(setup.capacity());
        let consumers = setup.seats_that_filter().into_iter().map(|mut seat| {
            let mut receiver = receiver.clone();
            setup.task(async move {
                while let Ok(note) = receiver.recv_direct().await {
                    took(&mut seat, &note);
                }
            })
        });
        let consumers = consumers.collect();
        drop(receiver);
        let publishers = setup.publishers(|| {
            let (sender, mut note) = (sender.clone(), setup.notes());
            move |sent: &Sent| {
                let sent = sender.try_broadcast(note(sent));
                assert!(sent.is_ok(), "the window fits");
            }
        });
        running(publishers, consumers)
    },
};

pub(super) const BUS_THREADS: Contender = Contender {
    name: "bus",
    start: |setup| {
        let (bus, receivers) = bus_channel(setup);
        let consumers = receivers.into_iter().map(|(mut receiver, mut seat)| {
            spawn(move || {
                while let Ok(note) = receiver.recv() {
                    took(&mut seat, &note);
                }
            })
        });
        let consumers = consumers.collect();
        running(bus_publisher(setup, bus), consumers)
    },
};

pub(super) const BUS_SWEPT: Contender = Contender {
    name: "bus",
    start: |setup| {
        let (bus, receivers) = bus_channel(setup);
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
        running(bus_publisher(setup, bus), vec![sweeper])
    },
};

fn took(seat: &mut Seat, note: &Note) {
    // A real consumer does something with what it wants; here that is no more than looking.
    let wanted = std::hint::black_box(seat.matches(note));
    if wanted {
        seat.saw(note.published);
    } else {
        seat.tally.saw();
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
    broadcast::Sender<Arc<Note>>,
    Vec<(broadcast::Receiver<Arc<Note>>, Seat)>,
);

fn tokio_channel(setup: &Setup) -> TokioChannel {
    let (sender, _) = broadcast::channel(setup.capacity());
    let seats = setup.seats_that_filter().into_iter();
    let receivers = seats.map(|seat| (sender.subscribe(), seat)).collect();
    (sender, receivers)
}

fn tokio_publishers(setup: &Setup, sender: &broadcast::Sender<Arc<Note>>) -> Vec<Publisher> {
    setup.publishers(|| {
        let (sender, mut note) = (sender.clone(), setup.notes());
        move |sent: &Sent| {
            let sent = sender.send(note(sent));
            assert!(sent.is_ok(), "there are receivers");
        }
    })
}

type BusChannel = (bus::Bus<Arc<Note>>, Vec<(bus::BusReader<Arc<Note>>, Seat)>);

fn bus_channel(setup: &Setup) -> BusChannel {
    let mut bus = bus::Bus::new(setup.capacity());
    let seats = setup.seats_that_filter().into_iter();
    let receivers = seats.map(|seat| (bus.add_rx(), seat)).collect();
    (bus, receivers)
}

/// One, as its channel has it.
fn bus_publisher(setup: &Setup, mut bus: bus::Bus<Arc<Note>>) -> Vec<Publisher> {
    assert_eq!(setup.workload.publishers, 1, "bus has one publisher");
    let mut note = setup.notes();
    vec![Box::new(move |sent| {
        let sent = bus.try_broadcast(note(sent));
        assert!(sent.is_ok(), "the window fits");
    })]
}

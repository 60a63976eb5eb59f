//! The tokio design that sharing-bus replaces.
//!
//! `publish` looks up the session in the session cache and sends to a `broadcast` channel. A worker task locks the list
//! of slots and evaluates each filter. For each match, it clones the whole event, owned strings included, and calls
//! `try_send` on the slot's `mpsc` channel. If the channel is full, the event is lost and the slot counts the loss. If
//! the channel is closed, the slot is removed after the failed send.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use sharing_bus::EventKind;
use tokio::sync::{broadcast, mpsc};
use uuid::Uuid;

use super::{Contender, Running};
use crate::workload::{EventSpec, Filter, scroll};

pub(super) const TASKS: Contender = Contender {
    name: "reference on tokio",
    start: |setup| {
        let sessions = setup.workload.sessions();
        let names = setup.names();
        let bound = (0..sessions).map(|session| {
            let (connector_id, native_session_id) = names.of(session);
            let key = (connector_id.to_owned(), native_session_id.to_owned());
            (key, scroll(session))
        });
        let (bound, capacity) = (bound.collect(), setup.capacity());
        let bus = Arc::new(setup.runtime.block_on(async { Bus::new(capacity, bound) }));
        let stuck = setup.stuck.then(|| bus.subscribe(Filter::All, 16));
        let consumers = setup.subscriptions().into_iter().map(|mut subscription| {
            let mut receiver = bus.subscribe(subscription.filter, setup.queue_capacity(subscription.filter));
            setup.spawn_task(async move {
                while let Some(delivery) = receiver.recv().await {
                    subscription.received(*delivery.event);
                }
            })
        });
        let consumers = consumers.collect();
        let publishers = setup.publishers(|| {
            let (bus, names, clock) = (Arc::clone(&bus), Arc::clone(&names), setup.clock());
            move |spec: &EventSpec| {
                let (connector_id, native_session_id) = names.of(spec.session);
                bus.publish(Routed {
                    scroll_id: spec.bound.then_some(spec.scroll),
                    connector_id: Some(connector_id.to_owned()),
                    native_session_id: Some(native_session_id.to_owned()),
                    kind: spec.kind,
                    event: Arc::new(clock()),
                });
            }
        });
        Running {
            publishers,
            consumers,
            stuck: stuck.into_iter().map(|receiver| Box::new(receiver) as _).collect(),
        }
    },
};

/// An event with owned routing. Every delivery clones it.
#[derive(Debug)]
struct Routed<E> {
    scroll_id: Option<Uuid>,
    connector_id: Option<String>,
    native_session_id: Option<String>,
    kind: EventKind,
    event: Arc<E>,
}

impl<E> Clone for Routed<E> {
    fn clone(&self) -> Self {
        Routed {
            scroll_id: self.scroll_id,
            connector_id: self.connector_id.clone(),
            native_session_id: self.native_session_id.clone(),
            kind: self.kind,
            event: Arc::clone(&self.event),
        }
    }
}

struct Slot<E> {
    filter: Filter,
    queue: mpsc::Sender<Routed<E>>,
    lagged: AtomicU64,
}

struct Bus<E> {
    ingress: broadcast::Sender<Routed<E>>,
    sessions: RwLock<HashMap<(String, String), Uuid>>,
    slots: Arc<Mutex<Vec<Slot<E>>>>,
}

impl<E: Send + Sync + 'static> Bus<E> {
    /// Starts the worker on the current runtime.
    fn new(broadcast_capacity: usize, sessions: HashMap<(String, String), Uuid>) -> Self {
        let (ingress, mut events) = broadcast::channel::<Routed<E>>(broadcast_capacity);
        let slots = Arc::new(Mutex::new(Vec::<Slot<E>>::new()));
        let worker_slots = Arc::clone(&slots);
        tokio::spawn(async move {
            loop {
                match events.recv().await {
                    Ok(event) => deliver(&worker_slots, &event),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => break,
                }
            }
        });
        Bus {
            ingress,
            sessions: RwLock::new(sessions),
            slots,
        }
    }

    fn subscribe(&self, filter: Filter, queue_capacity: usize) -> mpsc::Receiver<Routed<E>> {
        let (queue, receiver) = mpsc::channel(queue_capacity);
        self.slots.lock().unwrap().push(Slot {
            filter,
            queue,
            lagged: AtomicU64::new(0),
        });
        receiver
    }

    fn publish(&self, mut event: Routed<E>) {
        if event.scroll_id.is_none() {
            if let (Some(connector_id), Some(native_session_id)) = (&event.connector_id, &event.native_session_id) {
                let key = (connector_id.clone(), native_session_id.clone());
                event.scroll_id = self.sessions.read().unwrap().get(&key).copied();
            }
        }
        let _ = self.ingress.send(event);
    }
}

fn deliver<E>(slots: &Mutex<Vec<Slot<E>>>, event: &Routed<E>) {
    slots.lock().unwrap().retain(|slot| {
        if !slot.filter.matches(event.scroll_id.unwrap_or_default(), event.kind) {
            return true;
        }
        match slot.queue.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                slot.lagged.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    });
}

//! The design that this crate descends from, on tokio: the baseline of the comparison.
//!
//! `publish` consults the session cache and sends into a `broadcast` channel. A worker task locks the list of slots,
//! matches each filter, and offers a clone of the whole event, with its owned strings, to each slot's `mpsc` channel; a
//! full one drops the event and counts it, a closed one is removed after the failed send.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use tokio::sync::{broadcast, mpsc};
use uuid::Uuid;

/// An event with its owned routing, cloned for every delivery.
#[derive(Debug)]
pub(crate) struct Routed<E> {
    pub(crate) scroll_id: Option<Uuid>,
    pub(crate) connector_id: Option<String>,
    pub(crate) native_session_id: Option<String>,
    pub(crate) event: Arc<E>,
}

impl<E> Clone for Routed<E> {
    fn clone(&self) -> Self {
        Routed {
            scroll_id: self.scroll_id,
            connector_id: self.connector_id.clone(),
            native_session_id: self.native_session_id.clone(),
            event: Arc::clone(&self.event),
        }
    }
}

/// The filters that the comparison uses.
#[derive(Clone, Copy)]
pub(crate) enum Filter {
    All,
    ScrollId(Uuid),
}

impl Filter {
    fn matches<E>(&self, event: &Routed<E>) -> bool {
        match self {
            Filter::All => true,
            Filter::ScrollId(id) => event.scroll_id == Some(*id),
        }
    }
}

struct Slot<E> {
    filter: Filter,
    queue: mpsc::Sender<Routed<E>>,
    lagged: AtomicU64,
}

pub(crate) struct Bus<E> {
    ingress: broadcast::Sender<Routed<E>>,
    sessions: RwLock<HashMap<(String, String), Uuid>>,
    slots: Arc<Mutex<Vec<Slot<E>>>>,
    queue_capacity: usize,
}

impl<E: Send + Sync + 'static> Bus<E> {
    /// Starts the worker on the current runtime.
    pub(crate) fn new(broadcast_capacity: usize, queue_capacity: usize) -> Self {
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
            sessions: RwLock::new(HashMap::new()),
            slots,
            queue_capacity,
        }
    }

    pub(crate) fn subscribe(&self, filter: Filter) -> mpsc::Receiver<Routed<E>> {
        let (queue, receiver) = mpsc::channel(self.queue_capacity);
        self.slots.lock().unwrap().push(Slot {
            filter,
            queue,
            lagged: AtomicU64::new(0),
        });
        receiver
    }

    pub(crate) fn publish(&self, mut event: Routed<E>) {
        if event.scroll_id.is_none() {
            if let (Some(connector_id), Some(native_session_id)) = (&event.connector_id, &event.native_session_id) {
                let key = (connector_id.clone(), native_session_id.clone());
                event.scroll_id = self.sessions.read().unwrap().get(&key).copied();
            }
        }
        let _ = self.ingress.send(event);
    }

    pub(crate) fn lagged(&self) -> u64 {
        let slots = self.slots.lock().unwrap();
        slots.iter().map(|slot| slot.lagged.load(Ordering::Relaxed)).sum()
    }
}

fn deliver<E>(slots: &Mutex<Vec<Slot<E>>>, event: &Routed<E>) {
    slots.lock().unwrap().retain(|slot| {
        if !slot.filter.matches(event) {
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

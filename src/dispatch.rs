//! The dispatch thread: it alone numbers, binds, matches and pushes.
//!
//! Owns the receiving end of the ingress, the routing table and every queue's producer, and shares nothing of them.
//! It takes commands one by one as long as there are some, up to a batch, and then wakes each receiver that got
//! something, once. Binding happens here, in the order of the ingress, and a registration is bound before it is pushed:
//! so whoever has seen it publishes after it.
//!
//! User code that runs here (session hooks, filters, wakers, payload drops, loggers) runs under no lock or guard and
//! behind a panic boundary.

use uuid::Uuid;

use crate::boundary;
use crate::delivery::Envelope;
use crate::event::{BusEvent, Payload, SessionChange};
use crate::ingress::Command;
use crate::queue::Pushed;
use crate::routes::{OutletKey, Routes};
use crate::sessions::Sessions;
use crate::shared::Shared;
use crate::stats::Totals;
use crate::subscribers::ListReader;
use crate::sync::channel::Receiver;
use crate::sync::{Arc, BATCH};

pub(crate) struct Dispatcher<E: Payload> {
    shared: Arc<Shared<E>>,
    ingress: Receiver<Command<E>>,
    list: ListReader<E>,
    routes: Routes<E>,
    /// Outlets pushed to in this batch.
    touched: Vec<OutletKey>,
    /// Outlets that the event at hand matches; kept for its memory.
    matched: Vec<OutletKey>,
    totals: Totals,
}

impl<E: Payload> Dispatcher<E> {
    pub(crate) fn new(shared: Arc<Shared<E>>, ingress: Receiver<Command<E>>) -> Self {
        Dispatcher {
            list: shared.subscribers.reader(),
            shared,
            ingress,
            routes: Routes::new(),
            touched: Vec::new(),
            matched: Vec::new(),
            totals: Totals::default(),
        }
    }

    /// Runs until the ingress is closed and drained. The bus is ended when the dispatcher is dropped.
    pub(crate) fn run(mut self) {
        self.shared.ingress.enter_dispatch_thread();
        while let Ok(first) = self.ingress.recv() {
            self.handle(first);
            let mut taken = 1;
            while taken < BATCH {
                let Ok(next) = self.ingress.try_recv() else {
                    break;
                };
                self.handle(next);
                taken += 1;
            }
            self.end_batch();
            self.shared.ingress.made_room(taken);
            if self.shared.subscribers.take_upkeep() {
                self.look_after_list();
            }
        }
    }

    fn handle(&mut self, command: Command<E>) {
        match command {
            Command::Event(event) => self.dispatch(event),
            Command::Flush(request) => {
                self.end_batch();
                self.look_after_list();
                drop(request);
            }
            // Every batch ends with a look at the list.
            Command::Upkeep => {}
        }
    }

    fn dispatch(&mut self, mut event: BusEvent<E>) {
        let sequence = self.totals.dispatched + 1;
        self.bind(&mut event);
        self.routes.follow(self.list.load());
        let panics = &mut self.totals.filter_panics;
        self.routes
            .collect(&event, sequence, &mut self.matched, panics);
        match self.matched.pop() {
            None => {
                self.totals.unmatched += 1;
                boundary::discard(event);
            }
            Some(last) => {
                let envelope = Arc::new(Envelope { sequence, event });
                while let Some(key) = self.matched.pop() {
                    self.push(key, Arc::clone(&envelope));
                }
                self.push(last, envelope);
            }
        }
        self.totals.dispatched = sequence;
        self.shared.counters.publish(&self.totals);
    }

    /// Registers or forgets the session that the event tells of, and gives the event its scroll.
    fn bind(&mut self, event: &mut BusEvent<E>) {
        let BusEvent { routing, event, .. } = event;
        let change = boundary::run(|| event.session_change()).unwrap_or_else(|_| {
            self.totals.payload_panics += 1;
            None
        });
        let sessions = &self.shared.sessions;
        let registered = change.and_then(|change| register(sessions, change));
        if routing.scroll_id.is_none() {
            routing.scroll_id = registered.or_else(|| {
                let connector_id = routing.connector_id.as_deref()?;
                let native_session_id = routing.native_session_id.as_deref()?;
                sessions.scroll_id(connector_id, native_session_id)
            });
        }
        if let Some(SessionChange::Ended {
            connector_id,
            session_id,
        }) = change
        {
            sessions.forget(connector_id, session_id);
        }
    }

    fn push(&mut self, key: OutletKey, envelope: Arc<Envelope<E>>) {
        let Some(outlet) = self.routes.outlet(key) else {
            return;
        };
        match outlet.producer.push(envelope) {
            Pushed::Queued => self.totals.delivered += 1,
            Pushed::Lost => self.totals.lagged += 1,
            Pushed::Overflowed => {
                self.totals.lagged += 1;
                // The receiver that sees the end finds its loss counted.
                outlet.producer.commit();
                self.shared.subscribers.close(&outlet.slot.subscription);
                // This thread looks after the list when the batch ends, so nobody has to be nudged.
                self.shared.subscribers.request_upkeep();
            }
            Pushed::Closed => return,
        }
        if !outlet.touched {
            outlet.touched = true;
            self.touched.push(key);
        }
    }

    /// Makes what was pushed visible in the counters and wakes each receiver that got something.
    fn end_batch(&mut self) {
        for key in self.touched.drain(..) {
            let Some(outlet) = self.routes.outlet(key) else {
                continue;
            };
            outlet.touched = false;
            outlet.producer.commit();
            outlet.producer.state().wake();
        }
    }

    /// Reaps, and lets go of what has left the list, without waiting for the next event.
    fn look_after_list(&mut self) {
        self.shared.subscribers.reap();
        self.routes.follow(self.list.load());
    }
}

/// Binds the session of a registration and returns its id; a text that is no UUID binds nothing.
fn register(sessions: &Sessions, change: SessionChange<'_>) -> Option<Uuid> {
    let SessionChange::Registered {
        connector_id,
        session_id,
        scroll_id,
    } = change
    else {
        return None;
    };
    match Uuid::parse_str(scroll_id) {
        Ok(id) => {
            sessions.bind(connector_id, session_id, id);
            Some(id)
        }
        Err(error) => {
            boundary::log_warning!(
                "registration of {connector_id}/{session_id} binds nothing: its scroll_id is no UUID ({error})"
            );
            None
        }
    }
}

impl<E: Payload> Drop for Dispatcher<E> {
    fn drop(&mut self) {
        self.end_batch();
        self.shared.ingress.close();
        self.shared.subscribers.end();
        // The list is empty now: this frees what the table holds.
        self.routes.follow(self.list.load());
        self.shared.ended.set();
    }
}

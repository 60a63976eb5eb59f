//! The dispatch thread: it alone numbers, binds, matches and pushes.
//!
//! Owns the receiving end of the ingress, the routing table and every queue's producer, and shares nothing of them.
//! It takes commands one by one as long as there are some, up to a batch, and then wakes each receiver that got
//! something, once. Binding happens here, in the order of the ingress, and a registration is bound before it is pushed:
//! so whoever has seen it publishes after it.
//!
//! User code that runs here (session hooks, filters, wakers, payload drops, loggers) runs under no lock or guard and
//! behind a panic boundary.

use crate::binding;
use crate::boundary;
use crate::delivery::Envelope;
use crate::event::{BusEvent, Payload};
use crate::ingress::Command;
use crate::queue::Pushed;
use crate::routes::{OutletKey, Routes};
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
            #[cfg(sharing_bus_planted = "list_per_batch")]
            self.routes.follow(self.list.load());
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
                if cfg!(sharing_bus_planted = "upkeep_taken_late") {
                    self.shared.subscribers.take_upkeep();
                }
            }
            #[cfg(sharing_bus_planted = "end_when_empty")]
            if self.shared.ingress.is_closed() {
                while let Ok(command) = self.ingress.try_recv() {
                    self.handle(command);
                }
                break;
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
        #[cfg(not(sharing_bus_planted = "list_per_batch"))]
        self.routes.follow(self.list.load());
        let panics = &mut self.totals.filter_panics;
        self.routes.collect(&event, sequence, &mut self.matched, panics);
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

    fn bind(&mut self, event: &mut BusEvent<E>) {
        if cfg!(any(
            sharing_bus_planted = "bind_before_send",
            sharing_bus_planted = "bind_after_send"
        )) {
            return;
        }
        if binding::bind(&self.shared.sessions, event).is_err() {
            self.totals.payload_panics += 1;
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

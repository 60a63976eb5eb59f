//! The dispatcher: it alone numbers, binds, matches and pushes. The thread that runs it is, for as long as it does, the
//! dispatch thread: one of its own, and on an assisted bus also a publisher that has the turn (see `turn.rs`).
//!
//! Owns the receiving end of the ingress, the routing table and every queue's producer, and shares nothing of them.
//! It takes commands one by one as long as there are some, up to a batch, and matches each event as it comes. The batch
//! ends subscriber by subscriber: all that one gets is pushed as one parcel, and then it is woken, once. Binding happens
//! here, in the order of the ingress, and a registration is bound before it is pushed: so whoever has seen it publishes
//! after it.
//!
//! User code that runs here (session hooks, filters, wakers, payload drops, loggers) runs under no lock or guard and
//! behind a panic boundary.

mod batch;
pub(crate) mod history;
mod routes;

use std::collections::BTreeSet;

use crate::delivery::parcel::{Envelope, Parcel};
use crate::dispatch::batch::Batch;
use crate::dispatch::history::History;
use crate::dispatch::routes::{Outlet, Routes};
use crate::event::{BusEvent, Payload};
use crate::ingress::Command;
use crate::ingress::assist::Dispatch;
use crate::queue::{Pushed, QueueProducer};
use crate::sessions::binding;
use crate::shared::Shared;
use crate::stats::Totals;
use crate::subscribers::{ListReader, SubscriberId};
use crate::sync::channel::Receiver;
use crate::sync::counted::Lot;
use crate::sync::panic;
use crate::sync::{Arc, BATCH};
use crate::telemetry::Watch;

pub(crate) struct Dispatcher<E: Payload> {
    shared: Arc<Shared<E>>,
    ingress: Receiver<Command<E>>,
    list: ListReader<E>,
    routes: Routes<E>,
    /// The events that somebody matched; the marks in the routing table tell who.
    batch: Batch<E>,
    history: Option<History<E>>,
    tally: Tally,
    /// Events dispatched when the totals were last shown to others.
    shown: u64,
    watch: Watch,
}

impl<E: Payload> Dispatcher<E> {
    pub(crate) fn new(
        shared: Arc<Shared<E>>,
        ingress: Receiver<Command<E>>,
        history: Option<History<E>>,
        watch: Watch,
    ) -> Self {
        Dispatcher {
            list: shared.subscribers.reader(),
            shared,
            ingress,
            routes: Routes::new(),
            batch: Batch::new(),
            history,
            tally: Tally::default(),
            shown: 0,
            watch,
        }
    }

    /// Dispatches a batch: what was received already, and what else there is. Returns how many commands it was.
    fn dispatch_batch(&mut self, first: Option<Command<E>>) -> usize {
        let scope = self.watch.scope();
        let _inside = scope.enter();
        let mut taken = 0;
        let mut next = first.or_else(|| self.ingress.try_recv().ok());
        while let Some(command) = next {
            self.handle(command);
            taken += 1;
            next = (taken < BATCH).then(|| self.ingress.try_recv().ok()).flatten();
        }
        self.end_batch();
        self.shared.ingress.made_room(taken);
        if self.shared.subscribers.take_upkeep() {
            self.look_after_subscribers();
        }
        self.watch.batch_ended(&self.shared, &self.tally.totals);
        taken
    }

    fn handle(&mut self, command: Command<E>) {
        match command {
            Command::Event(event, stamp) => {
                self.dispatch(event);
                self.watch.dispatched(stamp);
            }
            Command::Flush(request) => {
                self.end_batch();
                self.look_after_subscribers();
                self.watch.batch_ended(&self.shared, &self.tally.totals);
                drop(request);
            }
            // Every batch ends with a look at the list.
            Command::Upkeep => {}
        }
    }

    fn dispatch(&mut self, mut event: BusEvent<E>) {
        let sequence = self.tally.totals.dispatched + 1;
        self.bind(&mut event);
        self.follow();
        let panics = &mut self.tally.totals.filter_panics;
        let pushes = self.routes.mark(&event, sequence, self.batch.len(), panics);
        self.tally.totals.unmatched += u64::from(pushes == 0);
        self.tally.totals.dispatched = sequence;
        if self.history.is_some() {
            self.record(Envelope::new(sequence, event), pushes);
        } else if pushes > 0 {
            self.batch.add(Envelope::new(sequence, event), pushes);
        } else {
            panic::discard(event);
        }
    }

    /// Shares an event between the history and those who get it now.
    fn record(&mut self, envelope: Envelope<E>, pushes: usize) {
        let (kept, lot) = Lot::new(envelope, pushes);
        if pushes > 0 {
            self.batch.add_shared(lot, pushes);
        }
        if let Some(history) = &mut self.history {
            history.record(kept);
        }
    }

    /// Brings the routing table up to date. Who leaves it gets first what it has matched, and who joins it begins with its
    /// backlog: all events before this moment are in the history, and all after it are live.
    fn follow(&mut self) {
        if !self.routes.is_current(self.list.load()) {
            self.end_batch();
            self.tally.totals.lagged += self.routes.follow(self.list.load());
            self.hand_over_backlogs();
        }
    }

    fn hand_over_backlogs(&mut self) {
        let Dispatcher {
            shared,
            routes,
            history,
            tally,
            watch,
            ..
        } = self;
        routes.drain_joined(|outlet| {
            let backlog = match history {
                Some(history) => outlet.backlog(history, &mut tally.totals.filter_panics),
                None => return,
            };
            for event in backlog {
                let pushed = outlet.producer.push(Parcel::Backlog(event));
                tally.settle(shared, outlet, pushed);
            }
            outlet.watch.served(&outlet.slot.subscription, watch);
            outlet.producer.state().wake();
            shared.counters.publish(&tally.totals);
        });
    }

    fn bind(&mut self, event: &mut BusEvent<E>) {
        if binding::bind(&self.shared.sessions, event).is_err() {
            self.tally.totals.payload_panics += 1;
        }
    }

    /// Pushes what was matched, and wakes each receiver that got something.
    fn end_batch(&mut self) {
        let Dispatcher {
            shared,
            routes,
            batch,
            tally,
            watch,
            ..
        } = self;
        routes.drain_marked(|outlet, places, alike| {
            batch.hand_out(places, alike, |parcel| {
                let pushed = outlet.producer.push(parcel);
                tally.settle(shared, outlet, pushed);
            });
            outlet.watch.served(&outlet.slot.subscription, watch);
            outlet.producer.state().wake();
        });
        self.batch.clear();
        if self.shown < self.tally.totals.dispatched {
            self.shown = self.tally.totals.dispatched;
            self.shared.counters.publish(&self.tally.totals);
        }
    }

    /// Reaps, lets go of what has left the list, and queues what there is room for by now, without waiting for the next
    /// event.
    fn look_after_subscribers(&mut self) {
        self.shared.subscribers.reap();
        self.follow();
        self.hand_over(QueueProducer::hand_over);
    }

    /// Queues what waits for room.
    fn hand_over(&mut self, queue: fn(&mut QueueProducer<E>) -> Pushed) {
        let waiting = std::mem::take(&mut self.tally.waiting);
        if waiting.is_empty() {
            return;
        }
        for id in waiting {
            let Some(outlet) = self.routes.outlet(id) else {
                continue;
            };
            let pushed = queue(&mut outlet.producer);
            self.tally.settle(&self.shared, outlet, pushed);
            outlet.watch.served(&outlet.slot.subscription, &mut self.watch);
            if pushed.queued > 0 {
                outlet.producer.state().wake();
            }
        }
        self.shared.counters.publish(&self.tally.totals);
    }
}

impl<E: Payload> Dispatch for Dispatcher<E> {
    fn run_batch(&mut self) -> bool {
        self.dispatch_batch(None) == BATCH
    }

    fn run_to_end(mut self: Box<Self>) {
        while let Ok(first) = self.ingress.recv() {
            self.dispatch_batch(Some(first));
        }
    }
}

/// What pushes come to.
#[derive(Default)]
struct Tally {
    totals: Totals,
    /// Whose queues have events that wait for room.
    waiting: BTreeSet<SubscriberId>,
}

impl Tally {
    #[inline]
    fn settle<E: Payload>(&mut self, shared: &Shared<E>, outlet: &mut Outlet<E>, pushed: Pushed) {
        self.totals.delivered += pushed.queued;
        self.totals.lagged += pushed.lost;
        self.totals.merged += pushed.merged;
        outlet.watch.pushed(pushed);
        if pushed.panics > 0 {
            self.totals.filter_panics += pushed.panics;
            outlet.warn_of_panic(
                "a filter of essential events or a merge function",
                "counted as not essential, or as a loss,",
            );
        }
        if pushed.waits {
            self.waiting.insert(outlet.slot.id());
        }
        if pushed.ends {
            shared.subscribers.close(&outlet.slot.subscription);
            // This thread looks after the list when the batch ends, so nobody has to be nudged.
            shared.subscribers.request_upkeep();
        }
    }
}

impl<E: Payload> Drop for Dispatcher<E> {
    fn drop(&mut self) {
        let scope = self.watch.scope();
        let _inside = scope.enter();
        self.end_batch();
        self.hand_over(QueueProducer::hand_over_rest);
        self.shared.ingress.close();
        self.shared.subscribers.end();
        // The list is empty now: this frees what the table holds, and loses what waited for those who left early.
        self.follow();
        self.shared.counters.publish(&self.tally.totals);
        self.watch.batch_ended(&self.shared, &self.tally.totals);
        self.shared.ended.set();
    }
}

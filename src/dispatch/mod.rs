//! Dispatch: one thread numbers, binds and matches the events, and pushes them into the queues.
//!
//! 1. `routes`: the routing table, which finds the matching subscribers and delivers to them.
//! 2. `index`: the index of filters by their terms.
//! 3. `batch`: the matched events of a batch.
//! 4. `subscriber_state`: the dispatch thread's state of a subscriber: filter, queue and telemetry.
//! 5. `history`: the last dispatched events, kept for late subscribers.
//! 6. `backlog`: the delivery of earlier events to late subscribers, in slices.
//!
//! The [`Dispatcher`] owns the receiving end of the ingress, the routing table and every queue's producer, and shares
//! none of them. In this crate, "the dispatch thread" means the thread that currently runs the dispatcher. It is the
//! bus's own thread, or a publisher that assists (see `ingress/assist.rs`).
//!
//! The dispatcher receives commands until the ingress is empty or the batch is full, and matches each event when it
//! receives the event. At the end of the batch, it delivers to one subscriber after another: it pushes all events of a
//! subscriber and then wakes the receiver once.
//!
//! The dispatcher binds each event in the order of the ingress (see `sessions/binding.rs`), and pushes a registration
//! only after binding its session. So a subscriber that has received a registration publishes after that registration,
//! and the bus binds its events.
//!
//! When a subscription has ended, the dispatcher removes it from the subscriber list and from the routing table. The
//! routing table then drops the producer of the subscription's queue. That frees the queue, unless the receiver still
//! exists.
//!
//! User code that runs here (session hooks, filters, wakers, payload drops, loggers) runs under no lock or guard, and
//! behind a panic boundary.

mod backlog;
mod batch;
pub(crate) mod history;
mod index;
mod routes;
mod subscriber_state;

use std::io;

use crate::delivery::parcel::Envelope;
use crate::dispatch::batch::Batch;
use crate::dispatch::history::History;
use crate::dispatch::routes::Routes;
use crate::dispatch::subscriber_state::Tally;
use crate::event::{BusEvent, Payload};
use crate::ingress::assist::BatchRunner;
use crate::ingress::{Command, FlushRequest};
use crate::queue::{Pushed, QueueProducer};
use crate::sessions::binding;
use crate::shared::Shared;
use crate::stats::Totals;
use crate::subscribers::ListReader;
use crate::subscribers::id::SubscriberId;
use crate::sync::channel::Receiver;
use crate::sync::counted::Handles;
use crate::sync::panic::{self, Panicked};
use crate::sync::thread::{self, JoinHandle};
use crate::sync::{Arc, BATCH, Parker};
use crate::telemetry::{self, Telemetry};

/// Starts the dispatch thread. With assisted dispatch, the thread shares the dispatcher with the publishers that
/// assist, and sleeps on the parker. Otherwise it owns the dispatcher.
pub(crate) fn spawn<E: Payload>(
    thread: thread::Builder,
    shared: &Arc<Shared<E>>,
    dispatcher: Box<Dispatcher<E>>,
    parker: Option<Parker>,
) -> io::Result<JoinHandle<()>> {
    let for_thread = Arc::clone(shared);
    let (Some(assist), Some(parker)) = (&shared.assist, parker) else {
        return thread.spawn(move || {
            let _dispatching = for_thread.ingress.enter();
            dispatcher.run_to_end();
        });
    };
    let thread = thread.spawn(move || {
        if let Some(assist) = &for_thread.assist {
            assist.run_thread(&for_thread.ingress, &parker);
        }
    })?;
    // Store the dispatcher only after the thread has started. The dispatcher and the shared state keep each other alive
    // until the thread ends the bus, so a failed start would leak both.
    assist.put(dispatcher);
    Ok(thread)
}

pub(crate) struct Dispatcher<E: Payload> {
    shared: Arc<Shared<E>>,
    ingress: Receiver<Command<E>>,
    list: ListReader<E>,
    routes: Routes<E>,
    batch: Batch<E>,
    history: Option<History<E>>,
    /// Flushes that wait for the backlogs of the subscribers below their cut.
    flushes: Vec<(SubscriberId, FlushRequest)>,
    tally: Tally,
    /// The totals that were last published.
    published: Totals,
}

impl<E: Payload> Dispatcher<E> {
    pub(crate) fn new(
        shared: Arc<Shared<E>>,
        ingress: Receiver<Command<E>>,
        history: Option<History<E>>,
        telemetry: Telemetry,
    ) -> Self {
        Dispatcher {
            list: shared.subscribers.reader(),
            shared,
            ingress,
            routes: Routes::new(),
            batch: Batch::new(),
            history,
            flushes: Vec::new(),
            tally: Tally::new(telemetry),
            published: Totals::default(),
        }
    }

    /// Dispatches a batch: the command `first`, if given, and commands from the ingress. Returns the number of
    /// commands.
    fn dispatch_batch(&mut self, first: Option<Command<E>>) -> usize {
        let scope = self.tally.telemetry.scope();
        let _inside = scope.enter();
        let mut received = 0;
        let mut next = first.or_else(|| self.ingress.try_recv().ok());
        while let Some(command) = next {
            match command {
                Command::Event(event, stamp) => {
                    self.dispatch(event, stamp.cut);
                    self.tally.telemetry.dispatched(stamp.published_at);
                }
                Command::Flush(request, cut) => self.flush(request, cut),
                // The batch ends with the upkeep below.
                Command::Upkeep => {}
            }
            received += 1;
            next = (received < BATCH).then(|| self.ingress.try_recv().ok()).flatten();
        }
        self.deliver();
        self.shared.ingress.notify_space(received);
        self.attach_if_drained();
        self.catch_up();
        if self.shared.subscribers.take_upkeep() {
            self.run_upkeep();
            self.attach_if_drained();
            // A backlog can end its subscription during the upkeep. Its removal does not wait for the next event.
            if self.shared.subscribers.take_upkeep() {
                self.shared.request_upkeep();
            }
        }
        self.end_batch();
        received
    }

    /// Numbers, binds and matches an event, and adds it to the batch.
    fn dispatch(&mut self, mut event: BusEvent<E>, cut: SubscriberId) {
        let sequence = self.tally.totals.dispatched + 1;
        self.bind(&mut event);
        self.follow_list();
        self.attach_before(cut);
        let pushes = self.routes.mark(&event, sequence, self.batch.len(), &mut self.tally);
        self.tally.totals.dispatched = sequence;
        if self.history.is_some() {
            self.add_recorded(Envelope::new(sequence, event), pushes);
        } else if pushes > 0 {
            self.batch.add(Envelope::new(sequence, event), pushes);
        } else {
            self.tally.totals.unmatched += 1;
            panic::discard(event);
        }
    }

    /// Adds a matched event to the batch and to the history.
    fn add_recorded(&mut self, envelope: Envelope<E>, pushes: usize) {
        let (kept, handles) = Handles::new(envelope, pushes);
        if pushes > 0 {
            self.batch.add_shared(handles);
        }
        // A recorded event is counted when no subscriber can match it any more.
        let recorded = self.routes.record(&kept, pushes > 0);
        self.tally.totals.unmatched += u64::from(pushes == 0 && !recorded);
        if let Some(history) = &mut self.history {
            history.record(kept);
        }
    }

    fn bind(&mut self, event: &mut BusEvent<E>) {
        match binding::bind(&self.shared.sessions, event) {
            Ok(Some(bound)) => telemetry::session_bound(bound.connector_id, bound.native_session_id, bound.scroll_id),
            Ok(None) => {}
            Err(Panicked) => self.tally.totals.payload_panics += 1,
        }
    }

    /// Updates the routing table to the current subscriber list. Detached subscribers first receive the events that
    /// they matched. New subscribers are not attached yet.
    fn follow_list(&mut self) {
        if self.routes.is_current(self.list.load()) {
            return;
        }
        self.deliver();
        self.tally.totals.lagged += self.routes.follow(self.list.load());
    }

    /// Attaches the subscribers that had subscribed before a publisher read this cut. The ingress then holds no event
    /// whose publish returned before one of them subscribed. Attached subscribers begin with their backlog.
    fn attach_before(&mut self, cut: SubscriberId) {
        if !self.routes.is_joining(cut) {
            return;
        }
        self.deliver();
        let next = self.tally.totals.dispatched + 1;
        self.routes.attach_before(cut, next, self.history.as_ref());
        self.catch_up();
    }

    /// Attaches all listed subscribers if the ingress is empty. They are in the list that this thread has read, so every
    /// event that was published before them had been sent by then.
    fn attach_if_drained(&mut self) {
        if self.routes.is_joining(SubscriberId::END) && self.ingress.is_empty() {
            self.attach_before(SubscriberId::END);
        }
    }

    /// Delivers a slice of each unfinished backlog, and releases the flushes that no longer wait for one. The batch is
    /// delivered.
    fn catch_up(&mut self) {
        if let Some(history) = &self.history {
            self.routes.catch_up(history, &self.shared.subscribers, &mut self.tally);
        }
        if !self.flushes.is_empty() {
            self.publish_totals();
            self.release_flushes();
        }
    }

    /// Releases the flushes that wait for no backlog. The totals are published.
    fn release_flushes(&mut self) {
        self.flushes.retain(|(cut, _)| self.routes.is_catching_up_before(*cut));
    }

    /// Pushes the matched events and wakes the receivers.
    fn deliver(&mut self) {
        self.routes
            .deliver(&mut self.batch, &self.shared.subscribers, &mut self.tally);
        self.publish_totals();
    }

    fn flush(&mut self, request: FlushRequest, cut: SubscriberId) {
        self.deliver();
        self.run_upkeep();
        self.attach_before(cut);
        self.end_batch();
        self.flushes.push((cut, request));
        self.release_flushes();
    }

    /// Reaps closed subscriptions, follows the list, and queues waiting events for which there is now space. The
    /// dispatch thread does not wait for an event to do this.
    fn run_upkeep(&mut self) {
        self.shared.subscribers.reap();
        self.follow_list();
        self.deliver_pending(QueueProducer::push_pending);
    }

    fn deliver_pending(&mut self, push: fn(&mut QueueProducer<E>, &mut Pushed)) {
        self.routes
            .deliver_pending(push, &self.shared.subscribers, &mut self.tally);
    }

    /// Publishes the totals if they have changed.
    fn publish_totals(&mut self) {
        if self.published != self.tally.totals {
            self.published = self.tally.totals;
            self.shared.counters.publish(&self.tally.totals);
        }
    }

    /// Publishes and reports the results of a batch.
    fn end_batch(&mut self) {
        self.publish_totals();
        let Tally { totals, telemetry, .. } = &mut self.tally;
        telemetry.batch_ended(totals, || self.shared.figures(totals));
    }
}

impl<E: Payload> BatchRunner for Dispatcher<E> {
    fn run_batch(&mut self) -> bool {
        self.dispatch_batch(None) == BATCH || self.routes.is_catching_up()
    }

    fn run_to_end(mut self: Box<Self>) {
        loop {
            let mut first = None;
            if !self.routes.is_catching_up() {
                match self.ingress.recv() {
                    Ok(command) => first = Some(command),
                    Err(_closed) => return,
                }
            }
            self.dispatch_batch(first);
        }
    }
}

impl<E: Payload> Drop for Dispatcher<E> {
    fn drop(&mut self) {
        let scope = self.tally.telemetry.scope();
        let _inside = scope.enter();
        self.deliver();
        self.deliver_pending(QueueProducer::push_all_pending);
        self.shared.ingress.close();
        self.shared.subscribers.end();
        // The list is empty now. Following the list frees the routing table, and loses the events that still wait for
        // space.
        self.follow_list();
        self.end_batch();
        self.shared.ended.set();
    }
}

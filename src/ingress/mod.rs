//! The way in: a bounded channel from every publisher to the dispatch thread, and the gate that closes it.
//!
//! Owns the only long-lived sender, behind an `ArcSwapOption`. Publishing loads it and sends: no lock, no look-up.
//! Closing takes it away. Publishers that are sending at that moment keep it alive for just as long, and the channel
//! tells the dispatch thread that it is disconnected only when the last of them is through and all they sent is
//! drained. So an event is refused or delivered, and never lost in between.
//!
//! Threads wait for room in the channel itself, tasks in a [`WaitList`] that the dispatch thread notifies as it drains.

pub(crate) mod assist;

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use crate::error::PublishError;
use crate::event::BusEvent;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::channel::{self, Receiver, SendTimeoutError, Sender, TrySendError};
use crate::sync::thread;
use crate::sync::wait::{Latch, WaitList};
use crate::sync::{Arc, ArcSwapOption, CachePadded};
use crate::telemetry::Stamp;

/// What the dispatch thread is sent.
pub(crate) enum Command<E> {
    Event(BusEvent<E>, Stamp),
    /// Finish what came before, tidy up, and let the requester go on.
    Flush(FlushRequest),
    /// There may be nothing to dispatch, but the subscriber list has changed.
    Upkeep,
}

/// Somebody waits for a flush; released when this is dropped, whatever becomes of it.
pub(crate) struct FlushRequest(Arc<Latch>);

impl FlushRequest {
    pub(crate) fn new() -> (Self, Arc<Latch>) {
        let done = Arc::new(Latch::new());
        (FlushRequest(Arc::clone(&done)), done)
    }
}

impl Drop for FlushRequest {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// The thread that made this dispatches.
pub(crate) struct Dispatching<'a>(&'a AtomicUsize);

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A command that was not accepted.
pub(crate) type Refused<E> = TrySendError<Command<E>>;

pub(crate) struct Ingress<E> {
    // Apart, as each is written by others: the gate by whoever closes, the room by the dispatch thread after each batch,
    // the count by publishers.
    gate: CachePadded<ArcSwapOption<Sender<Command<E>>>>,
    capacity: usize,
    /// Tasks that wait for room.
    room: CachePadded<WaitList>,
    /// Events accepted.
    published: CachePadded<AtomicU64>,
    /// The thread that dispatches now, by its token; zero if none does.
    dispatching: AtomicUsize,
}

impl<E> Ingress<E> {
    pub(crate) fn new(capacity: usize) -> (Self, Receiver<Command<E>>) {
        let (sender, receiver) = channel::bounded(capacity);
        let ingress = Ingress {
            gate: CachePadded::new(ArcSwapOption::from_pointee(sender)),
            capacity,
            room: CachePadded::new(WaitList::new()),
            published: CachePadded::new(AtomicU64::new(0)),
            dispatching: AtomicUsize::new(0),
        };
        (ingress, receiver)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    pub(crate) fn published(&self) -> u64 {
        // Ordering: Relaxed, a statistic.
        self.published.load(Ordering::Relaxed)
    }

    /// Closes the gate; true for the call that did it.
    pub(crate) fn close(&self) -> bool {
        let closed = self.gate.swap(None).is_some();
        self.room.notify(usize::MAX);
        closed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.gate.load().is_none()
    }

    /// The calling thread dispatches, until it drops this.
    pub(crate) fn enter(&self) -> Dispatching<'_> {
        // Ordering: Relaxed, here and below: a thread asks only whether the last store was its own.
        self.dispatching.store(thread::token(), Ordering::Relaxed);
        Dispatching(&self.dispatching)
    }

    /// Whether the caller is user code that the dispatcher runs, which must not wait for it.
    pub(crate) fn on_dispatch_thread(&self) -> bool {
        self.dispatching.load(Ordering::Relaxed) == thread::token()
    }

    /// The dispatch thread has taken `count` commands.
    pub(crate) fn made_room(&self, count: usize) {
        self.room.notify(count);
    }

    /// Wakes the dispatch thread if it sleeps. Where the ingress is full it does not, and sees what there is to see
    /// once it has drained.
    pub(crate) fn nudge(&self) {
        let _ = self.try_send(Command::Upkeep);
    }

    pub(crate) fn try_publish(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.published_or_refused(self.try_send(Command::Event(event, Stamp::now())))
    }

    /// Waits for room, without limit if there is no timeout.
    pub(crate) fn publish(&self, event: BusEvent<E>, timeout: Option<Duration>) -> Result<(), PublishError<E>> {
        self.published_or_refused(self.send(Command::Event(event, Stamp::now()), timeout))
    }

    pub(crate) async fn publish_async(&self, event: BusEvent<E>) -> Result<(), PublishError<E>> {
        self.published_or_refused(self.send_async(Command::Event(event, Stamp::now())).await)
    }

    pub(crate) fn try_send(&self, command: Command<E>) -> Result<(), Refused<E>> {
        match &*self.gate.load() {
            Some(sender) => sender.try_send(command),
            None => Err(TrySendError::Disconnected(command)),
        }
    }

    /// Sends, and waits for room if need be; the dispatch thread, which would wait for itself, does not.
    pub(crate) fn send(&self, command: Command<E>, timeout: Option<Duration>) -> Result<(), Refused<E>> {
        let command = match self.try_send(command) {
            Err(TrySendError::Full(command)) if !self.on_dispatch_thread() => command,
            done => return done,
        };
        // A wait may be long, so it holds a sender of its own and not a guard of the gate.
        let Some(sender) = self.gate.load_full() else {
            return Err(TrySendError::Disconnected(command));
        };
        match timeout {
            None => sender
                .send(command)
                .map_err(|refused| TrySendError::Disconnected(refused.0)),
            Some(timeout) => sender.send_timeout(command, timeout).map_err(|refused| match refused {
                SendTimeoutError::Timeout(command) => TrySendError::Full(command),
                SendTimeoutError::Disconnected(command) => TrySendError::Disconnected(command),
            }),
        }
    }

    pub(crate) async fn send_async(&self, command: Command<E>) -> Result<(), Refused<E>> {
        let mut waiter = self.room.waiter();
        let mut unsent = Some(command);
        poll_fn(|cx| {
            // Look, register, look again: room that is made in between is seen by the second look.
            for look_again in [true, false] {
                let Some(command) = unsent.take() else {
                    break;
                };
                match self.try_send(command) {
                    Err(TrySendError::Full(command)) => unsent = Some(command),
                    done => {
                        waiter.satisfied();
                        return Poll::Ready(done);
                    }
                }
                if look_again {
                    waiter.register(cx.waker());
                }
            }
            Poll::Pending
        })
        .await
    }

    fn published_or_refused(&self, sent: Result<(), Refused<E>>) -> Result<(), PublishError<E>> {
        match sent {
            Ok(()) => {
                // Ordering: Relaxed, a statistic that publishes nothing.
                self.published.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(TrySendError::Full(Command::Event(event, _))) => Err(PublishError::Full(event)),
            Err(TrySendError::Disconnected(Command::Event(event, _))) => Err(PublishError::Closed(event)),
            Err(_) => unreachable!("an event was sent, so an event came back"),
        }
    }
}

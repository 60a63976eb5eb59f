//! The ingress: a bounded channel from every publisher to the dispatch thread, and the gate that closes it.
//!
//! 1. `stamp`: the cut and the publish time that an event carries.
//! 2. `assist`: assisted dispatch. It decides which thread runs the dispatcher.
//!
//! [`Ingress`] owns the only long-lived sender, behind an `ArcSwapOption`. A publisher loads the sender and sends,
//! without a lock or a lookup. Closing removes the sender. Publishers that are sending at that moment keep the sender
//! alive. The dispatch thread sees a disconnected channel only after the last of these publishers is done and all
//! commands are received. So an event is either refused or dispatched, and never lost in between.
//!
//! A thread waits for space in the channel itself. A task waits in a [`WaitList`], which the dispatch thread notifies
//! after each batch.

pub(crate) mod assist;
pub(crate) mod stamp;

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use crate::error::PublishError;
use crate::event::BusEvent;
use crate::ingress::stamp::Stamp;
use crate::subscribers::id::SubscriberId;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::channel::{self, Receiver, SendTimeoutError, Sender, TrySendError};
use crate::sync::coop;
use crate::sync::thread;
use crate::sync::wait::{Latch, WaitList, Waiter, poll_registered};
use crate::sync::{Arc, ArcSwapOption, CachePadded};

/// A command to the dispatch thread.
pub(crate) enum Command<E> {
    Event(BusEvent<E>, Stamp),
    /// Dispatch all earlier commands, run the upkeep, attach the subscribers below this cut, and release the requester.
    Flush(FlushRequest, SubscriberId),
    /// Run the upkeep of the subscriber list.
    Upkeep,
}

/// A request for a flush. Dropping the request releases the requester, even if the flush did not run.
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

/// How long a thread waits for space.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Never,
    AtMost(Duration),
    Forever,
}

/// A command that was not accepted.
pub(crate) type Refused<E> = TrySendError<Command<E>>;

/// Returns the error of a publish whose event was not accepted.
pub(crate) fn publish_error<E>(refused: Refused<E>) -> PublishError<E> {
    match refused {
        TrySendError::Full(Command::Event(event, _)) => PublishError::Full(event),
        TrySendError::Disconnected(Command::Event(event, _)) => PublishError::Closed(event),
        _ => unreachable!("only events are published"),
    }
}

/// Marks the calling thread as the dispatch thread until it is dropped.
pub(crate) struct Dispatching<'a>(&'a AtomicUsize);

impl Drop for Dispatching<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// A task that waits for space, and the command that it has not yet sent.
struct WaitingSend<'a, E> {
    waiter: Waiter<'a>,
    unsent: Option<Command<E>>,
    /// The call is counted in the budget of its task.
    counted: bool,
}

pub(crate) struct Ingress<E> {
    // The padded fields have separate cache lines, because different threads write them. A closing thread writes the
    // gate, the dispatch thread the wait list, and publishers the count.
    gate: CachePadded<ArcSwapOption<Sender<Command<E>>>>,
    capacity: usize,
    /// Tasks that wait for space.
    space: CachePadded<WaitList>,
    /// Number of accepted events.
    published: CachePadded<AtomicU64>,
    /// The token of the thread that runs the dispatcher, or zero.
    dispatching: AtomicUsize,
}

impl<E> Ingress<E> {
    pub(crate) fn new(capacity: usize) -> (Self, Receiver<Command<E>>) {
        let (sender, receiver) = channel::bounded(capacity);
        let ingress = Ingress {
            gate: CachePadded::new(ArcSwapOption::from_pointee(sender)),
            capacity,
            space: CachePadded::new(WaitList::new()),
            published: CachePadded::new(AtomicU64::new(0)),
            dispatching: AtomicUsize::new(0),
        };
        (ingress, receiver)
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Counts an accepted event.
    pub(crate) fn count_published(&self) {
        // Ordering: Relaxed, a statistic that publishes nothing.
        self.published.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn published(&self) -> u64 {
        // Ordering: Relaxed, a statistic.
        self.published.load(Ordering::Relaxed)
    }

    /// Closes the gate. Returns `true` if this call closed it.
    pub(crate) fn close(&self) -> bool {
        let closed = self.gate.swap(None).is_some();
        self.space.notify(usize::MAX);
        closed
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.gate.load().is_none()
    }

    /// Marks the calling thread as the dispatch thread, until the result is dropped.
    pub(crate) fn enter(&self) -> Dispatching<'_> {
        // Ordering: Relaxed, here and below: a thread only checks whether the last store was its own.
        self.dispatching.store(thread::token(), Ordering::Relaxed);
        Dispatching(&self.dispatching)
    }

    /// Returns `true` if the caller is user code that the dispatcher runs. Such code must not wait for the dispatcher.
    pub(crate) fn on_dispatch_thread(&self) -> bool {
        self.dispatching.load(Ordering::Relaxed) == thread::token()
    }

    /// Wakes up to `count` tasks that wait for space, because the dispatch thread has received that many commands.
    pub(crate) fn notify_space(&self, count: usize) {
        self.space.notify(count);
    }

    /// Wakes the dispatch thread if it sleeps. If the ingress is full, the thread does not sleep, and checks for upkeep
    /// after it has received the commands.
    pub(crate) fn wake_dispatch(&self) {
        let _ = self.try_send(Command::Upkeep);
    }

    /// Sends a command. A full ingress makes the caller wait as long as `wait` allows. On the dispatch thread, which
    /// would wait for itself, the caller never waits.
    #[inline]
    pub(crate) fn send(&self, command: Command<E>, wait: Wait) -> Result<(), Refused<E>> {
        match self.try_send(command) {
            Err(TrySendError::Full(command)) if wait != Wait::Never && !self.on_dispatch_thread() => {
                self.send_waiting(command, wait)
            }
            sent => sent,
        }
    }

    /// Sends a command as a task. Cancel safe: a canceled call has sent nothing. On the dispatch thread, which would
    /// wait for itself, a full ingress refuses the command.
    pub(crate) async fn send_async(&self, command: Command<E>) -> Result<(), Refused<E>> {
        let mut waiting = WaitingSend {
            waiter: self.space.waiter(),
            unsent: Some(command),
            counted: false,
        };
        poll_fn(|cx| {
            if !waiting.counted {
                ready!(coop::poll_call(cx));
                waiting.counted = true;
            }
            let polled = poll_registered(
                &mut waiting,
                |waiting| self.poll_send(waiting),
                |waiting| waiting.waiter.register(cx.waker()),
            );
            if polled.is_pending() {
                coop::renew();
            }
            polled
        })
        .await
    }

    fn try_send(&self, command: Command<E>) -> Result<(), Refused<E>> {
        match &*self.gate.load() {
            Some(sender) => sender.try_send(command),
            None => Err(TrySendError::Disconnected(command)),
        }
    }

    fn send_waiting(&self, command: Command<E>, wait: Wait) -> Result<(), Refused<E>> {
        // The wait may be long, so this method holds a sender instead of a guard of the gate.
        let Some(sender) = self.gate.load_full() else {
            return Err(TrySendError::Disconnected(command));
        };
        let sent = match wait {
            Wait::Never => return Err(TrySendError::Full(command)),
            Wait::AtMost(timeout) => sender.send_timeout(command, timeout),
            Wait::Forever => sender
                .send(command)
                .map_err(|refused| SendTimeoutError::Disconnected(refused.0)),
        };
        sent.map_err(|refused| match refused {
            SendTimeoutError::Timeout(command) => TrySendError::Full(command),
            SendTimeoutError::Disconnected(command) => TrySendError::Disconnected(command),
        })
    }

    fn poll_send(&self, waiting: &mut WaitingSend<'_, E>) -> Poll<Result<(), Refused<E>>> {
        let Some(command) = waiting.unsent.take() else {
            unreachable!("the command is sent once, and the future is not polled afterward");
        };
        match self.try_send(command) {
            Err(TrySendError::Full(command)) if !self.on_dispatch_thread() => {
                waiting.unsent = Some(command);
                Poll::Pending
            }
            sent => {
                waiting.waiter.finish();
                Poll::Ready(sent)
            }
        }
    }
}

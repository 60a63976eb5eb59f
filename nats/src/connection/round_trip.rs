//! Round trips: [`RoundTrips`], the proof that the server has read what was sent before.
//!
//! The client's own flush only writes to the socket, which a server that hangs still takes. So the bridge sends a number to
//! an inbox that it alone subscribes to, and waits for it to come back over the same connection: the server reads a
//! connection in order. Callers wait in a list behind a mutex, held for a push or a pop.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use crate::connection::Connection;

/// The connection broke before the number came back, or the client has ended.
#[derive(Debug)]
pub(crate) struct ConnectionLost;

#[derive(Clone)]
pub(crate) struct RoundTrips {
    connection: Connection,
    inbox: String,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    callers: VecDeque<Caller>,
}

struct Caller {
    number: u64,
    connect_count: u64,
    done: oneshot::Sender<()>,
}

impl RoundTrips {
    /// Must be called within the runtime, which it gives a task.
    pub(crate) async fn start(connection: Connection) -> Result<RoundTrips, ConnectionLost> {
        let inbox = connection.client.new_inbox();
        let subscriber = connection
            .client
            .subscribe(inbox.clone())
            .await
            .map_err(|_| ConnectionLost)?;
        let round_trips = RoundTrips {
            connection,
            inbox,
            waiting: Arc::default(),
        };
        tokio::spawn(round_trips.clone().listen(subscriber));
        Ok(round_trips)
    }

    /// Waits until the server has read everything that was handed to the client before, over the connection that is up.
    pub(crate) async fn round_trip(&self) -> Result<(), ConnectionLost> {
        let connect_count = self.connection.connect_count();
        let (done, outcome) = oneshot::channel();
        let number = {
            let mut waiting = self.lock();
            waiting.next += 1;
            let number = waiting.next;
            waiting.callers.push_back(Caller {
                number,
                connect_count,
                done,
            });
            number
        };
        // A reply, so that the server answers even a client that has asked not to hear itself.
        let (to, reply) = (self.inbox.clone(), self.inbox.clone());
        let sent = self
            .connection
            .client
            .publish_with_reply(to, reply, number.to_string().into());
        sent.await.map_err(|_| ConnectionLost)?;
        outcome.await.map_err(|_| ConnectionLost)?;
        // What came back over a later connection proves nothing of what went over this one.
        if self.connection.connect_count() == connect_count {
            Ok(())
        } else {
            Err(ConnectionLost)
        }
    }

    async fn listen(self, mut subscriber: Subscriber) {
        let mut connection = self.connection.clone();
        loop {
            tokio::select! {
                message = subscriber.next() => {
                    let Some(message) = message else { break };
                    if message.status == Some(StatusCode::NO_RESPONDERS) {
                        // It carries no number; there is one at a time, or nearly so.
                        self.lock().callers.pop_front().done();
                    } else if let Some(number) = std::str::from_utf8(&message.payload).ok().and_then(|text| text.parse().ok()) {
                        self.complete(number);
                    }
                }
                _ = connection.changed() => self.drop_lost(),
            }
        }
        self.lock().callers.clear();
    }

    fn complete(&self, number: u64) {
        let mut waiting = self.lock();
        while waiting.callers.front().is_some_and(|caller| caller.number <= number) {
            // Earlier ones have been lost, and learn so as they are dropped.
            let caller = waiting.callers.pop_front();
            caller.filter(|caller| caller.number == number).done();
        }
    }

    /// Ends the wait of those whose connection is gone.
    fn drop_lost(&self) {
        let connected = self.connection.is_connected();
        let connect_count = self.connection.connect_count();
        let mut waiting = self.lock();
        waiting
            .callers
            .retain(|caller| connected && caller.connect_count == connect_count);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

trait Done {
    fn done(self);
}

impl Done for Option<Caller> {
    fn done(self) {
        if let Some(caller) = self {
            // Nobody waits any more: fine.
            let _ = caller.done.send(());
        }
    }
}

//! Round trips: [`RoundTrips`], the proof that the server has read all messages sent so far.
//!
//! The client's own flush only writes to the socket, which succeeds even if the server hangs. The bridge therefore
//! sends a number to an inbox that only it subscribes to, and waits until the number returns over the same connection.
//! The server reads a connection in order, so by then it has read all earlier messages. Waiting callers are in a list
//! behind a mutex, which is held only while the list changes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{StatusCode, Subscriber};
use futures_util::StreamExt;
use tokio::sync::oneshot;

use crate::connection::Connection;

/// The error of a round trip: the connection broke before the number returned, or the client has ended.
#[derive(Debug)]
pub(crate) struct ConnectionLost;

/// Sends round trips and completes them.
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
    /// Subscribes to the inbox and spawns the task that completes round trips. Must be called within the runtime.
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

    /// Waits until the server has read all messages that the client accepted before this call. Fails if the connection
    /// breaks before that.
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
        // With a reply subject, the server answers even if the client has disabled echoes of its own messages.
        let (to, reply) = (self.inbox.clone(), self.inbox.clone());
        let sent = self
            .connection
            .client
            .publish_with_reply(to, reply, number.to_string().into());
        sent.await.map_err(|_| ConnectionLost)?;
        outcome.await.map_err(|_| ConnectionLost)?;
        // A number that returned over a later connection proves nothing about messages sent over this one.
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
                        // This status carries no number. In almost all cases only one round trip is pending, so the
                        // oldest caller is completed.
                        self.lock().callers.pop_front().done();
                    } else if let Some(number) = parse_number(&message.payload) {
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
            // Earlier round trips were lost. Dropping their callers reports the loss.
            let caller = waiting.callers.pop_front();
            caller.filter(|caller| caller.number == number).done();
        }
    }

    /// Fails all round trips whose connection is lost.
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

fn parse_number(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

trait Done {
    fn done(self);
}

impl Done for Option<Caller> {
    fn done(self) {
        if let Some(caller) = self {
            // The send fails if the caller no longer waits.
            let _ = caller.done.send(());
        }
    }
}

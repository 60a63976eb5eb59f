//! One browser's stream: its deliveries and the overview, as server-sent events.
//!
//! The stream takes from its receiver only when the connection asks for more, which it does as the socket accepts. So a
//! browser that does not read fills its own queue and nothing else.

use std::convert::Infallible;
use std::sync::Arc;

use axum::response::sse::Event;
use futures_util::stream::{self, Stream};
use serde_json::json;
use sharing_bus::BusReceiver;
use sharing_bus_example_sessions::Record;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::event_json;

pub(crate) struct Feed {
    pub(crate) receiver: BusReceiver<Record>,
    /// The filter as it was read.
    pub(crate) filter: String,
    pub(crate) overview: watch::Receiver<Arc<str>>,
    /// The browser's place, given back with the stream.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// What comes next.
enum Step {
    Hello,
    Live,
    Done,
}

impl Feed {
    /// `hello`, then `event` and `overview` as they come, and `end` when the bus has ended.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        stream::unfold((self, Step::Hello), |(mut feed, step)| async move {
            let (event, next) = match step {
                Step::Hello => (feed.hello(), Step::Live),
                Step::Live => feed.next().await,
                Step::Done => return None,
            };
            Some((Ok(event), (feed, next)))
        })
    }

    fn hello(&self) -> Event {
        let hello = json!({
            "id": self.receiver.id().to_string(),
            "label": self.receiver.label(),
            "filter": self.filter,
            "capacity": self.receiver.capacity(),
        });
        Event::default().event("hello").data(hello.to_string())
    }

    /// The overview goes first: it comes twice a second and must not wait for a pause in the events.
    async fn next(&mut self) -> (Event, Step) {
        tokio::select! {
            biased;
            Ok(()) = self.overview.changed() => {
                let text = Arc::clone(&self.overview.borrow_and_update());
                (Event::default().event("overview").data(&*text), Step::Live)
            }
            received = self.receiver.recv_async() => match received {
                Ok(delivery) => (Event::default().event("event").data(event_json::event_json(&delivery)), Step::Live),
                Err(_) => (Event::default().event("end").data("{}"), Step::Done),
            },
        }
    }
}

//! The stream of one browser: its deliveries and the overview, as server-sent events.
//!
//! The stream receives an event only when the connection polls for more data, and the connection does so only while the
//! socket accepts data. A browser that does not read therefore fills its own queue and nothing else.

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
    /// The parsed filter, as text.
    pub(crate) filter: String,
    pub(crate) overview: watch::Receiver<Arc<str>>,
    /// The permit of this browser, released when the stream is dropped.
    pub(crate) _permit: OwnedSemaphorePermit,
}

/// The next step of the stream.
enum Step {
    Hello,
    Live,
    Done,
}

impl Feed {
    /// Returns the stream of server-sent events. It starts with `hello`, continues with `event` and `overview` as they
    /// occur, and finishes with `end` when the bus has closed.
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

    /// Returns the next event. An overview has priority because it must not wait for a pause in the events. Overviews
    /// occur only twice per second.
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

//! A host on tokio, with a task for each view, `select!`, loss reports at the point of loss, and an orderly
//! shutdown.
//!
//! ```sh
//! cargo run --example tokio_host
//! ```
//!
//! The bus does not depend on tokio. Its `_async` methods return ordinary futures. Two sessions publish lines, and
//! each has a view that shows only that session. A slow console loses the events that do not fit into its queue.

use std::time::Duration;

use sharing_bus::{BusEvent, BusReceiver, Event, EventFilter, EventKind, EventRouting, Overflow, SharingBus};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use uuid::Uuid;

const SESSIONS: [(&str, Uuid); 2] = [("claude", Uuid::from_u128(0xc1)), ("codex", Uuid::from_u128(0xc2))];
const LINES: usize = 200;
const LIMIT: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() {
    let bus = SharingBus::new();

    // One task for each view. A view selects its session by the global scroll id. The events below carry no scroll id,
    // so the bus binds each of them once the registration of its session has been dispatched.
    let mut views = JoinSet::new();
    for (connector, scroll) in SESSIONS {
        let receiver = bus.subscribe_filtered(EventFilter::ScrollId(scroll), 1024);
        views.spawn(view(connector, receiver));
    }
    // The console should show the latest events, so a full queue drops the oldest ones.
    let receiver = bus
        .subscription()
        .filter(EventFilter::Kind(EventKind::Output))
        .queue_capacity(16)
        .overflow(Overflow::DropOldest)
        .label("console")
        .subscribe();
    let (resume, busy) = oneshot::channel();
    let console = tokio::spawn(slow_console(receiver, busy));

    let mut sessions = JoinSet::new();
    for (connector, scroll) in SESSIONS {
        sessions.spawn(session(bus.clone(), connector, scroll));
    }
    // A real host would also wait for `tokio::signal::ctrl_c()` here.
    tokio::select! {
        () = async { while sessions.join_next().await.is_some() {} } => {}
        () = sleep(LIMIT) => eprintln!("the sessions take too long"),
    }

    // Shut down in the order in which events flow. First, stop any publishers that are still running.
    sessions.shutdown().await;
    // Then close the bus. It rejects new events and dispatches the accepted ones. `shutdown` would block this thread.
    bus.close();
    bus.flush_async().await;
    // Finally, wait for the subscribers. Their receives return an error after the queues are drained. The timeout
    // limits the wait in case one of them hangs.
    resume.send(()).expect("the console is waiting");
    let drained = async {
        let mut lines = views.join_all().await;
        lines.sort_unstable();
        (lines, console.await.expect("the console panicked"))
    };
    let (lines, (received, missed)) = timeout(LIMIT, drained).await.expect("a subscriber hangs");

    for (connector, lines) in lines {
        println!("{connector:<8} {lines} lines");
    }
    println!("console  {received} received, {missed} missed");
    let stats = bus.stats();
    println!(
        "bus      {} published, {} delivered, {} lagged",
        stats.published, stats.delivered, stats.lagged
    );
}

/// Registers a session with its scroll id, and then publishes lines. `publish_async` suspends the task while the
/// ingress is full. On a closed bus it returns an error with the event, and the session ends.
async fn session(bus: SharingBus, connector: &'static str, scroll: Uuid) {
    let registered = Event::SessionRegistered {
        connector_id: connector.into(),
        session_id: "1".into(),
        scroll_id: scroll.to_string(),
    };
    let lines = (1..=LINES).map(|number| Event::Text {
        text: format!("line {number}"),
    });
    let lines = lines.map(|line| (EventKind::Output, line));
    for (kind, event) in [(EventKind::SessionLifecycle, registered)].into_iter().chain(lines) {
        let event = BusEvent::new(EventRouting::session(connector, "1", kind), event);
        if bus.publish_async(event).await.is_err() {
            return;
        }
    }
}

/// Counts the lines of a session until the bus closes, and prints the count periodically. `recv_async` is cancel safe,
/// so no event is lost when the ticker completes first.
async fn view(connector: &'static str, mut receiver: BusReceiver) -> (&'static str, usize) {
    let mut repaint = interval(Duration::from_millis(20));
    let (mut lines, mut painted) = (0, 0);
    loop {
        tokio::select! {
            delivery = receiver.recv_async() => match delivery {
                Ok(delivery) => lines += usize::from(delivery.routing.kind == EventKind::Output),
                Err(_closed) => return (connector, lines),
            },
            _ = repaint.tick(), if lines > painted => {
                painted = lines;
                eprintln!("{connector}: {lines} lines so far");
            }
        }
    }
}

/// Receives nothing until `busy` completes, so its queue overflows and events are lost. The subscription continues. The
/// next delivery reports how many events were lost right before it. The queue drops its oldest events, so a delivery
/// follows each loss. With another overflow rule, the loop would have to report the losses after the last delivery, too.
async fn slow_console(mut receiver: BusReceiver, busy: oneshot::Receiver<()>) -> (u64, u64) {
    busy.await.expect("the host sends the signal");
    let mut received = 0;
    while let Ok(delivery) = receiver.recv_async().await {
        if delivery.missed() > 0 {
            println!("console  [... {} lines lost here ...]", delivery.missed());
        }
        received += 1;
    }
    (received, receiver.lagged())
}

//! A host on tokio: a task for each view, `select!`, loss that is told where it happened, and a shutdown in order.
//!
//! ```sh
//! cargo run --example tokio_host
//! ```
//!
//! The bus itself knows nothing of tokio: its `_async` calls are futures like any other. Two sessions write, each has a
//! view that shows it alone, and a console that is busy elsewhere loses what it has no room for.

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

    // A task for each view. It asks for its session by the global id; events that carry none are bound to it as soon as
    // the session's registration has passed.
    let mut views = JoinSet::new();
    for (connector, scroll) in SESSIONS {
        let receiver = bus.subscribe_filtered(EventFilter::ScrollId(scroll), 1024);
        views.spawn(view(connector, receiver));
    }
    // The present counts more here than what is long past, so a full queue drops its oldest.
    let receiver = bus
        .subscription()
        .filter(EventFilter::Kind(EventKind::Output))
        .queue_capacity(16)
        .overflow(Overflow::DropOldest)
        .label("console")
        .subscribe();
    let (free, busy) = oneshot::channel();
    let console = tokio::spawn(slow_console(receiver, busy));

    let mut sessions = JoinSet::new();
    for (connector, scroll) in SESSIONS {
        sessions.spawn(session(bus.clone(), connector, scroll));
    }
    // A host waits here for whatever ends it; beside these two for `tokio::signal::ctrl_c()`.
    tokio::select! {
        () = async { while sessions.join_next().await.is_some() {} } => {}
        () = sleep(LIMIT) => eprintln!("that takes too long"),
    }

    // Shutting down, in the order in which events flow. First the publishers, if any are left;
    sessions.shutdown().await;
    // then the bus: nothing new is accepted, and what was accepted is dispatched (`shutdown` would block this thread);
    bus.close();
    bus.flush_async().await;
    // then the subscribers, which drain their queues and see the end. One that hangs is not waited for for ever.
    free.send(()).expect("the console waits");
    let drained = async {
        let mut lines = views.join_all().await;
        lines.sort_unstable();
        (lines, console.await.expect("the console panicked"))
    };
    let (lines, (received, missed)) = timeout(LIMIT, drained).await.expect("a view hangs");

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

/// A session: registers its global id, and writes. `publish_async` waits, as a task, while the bus is full; on a closed
/// bus it gives the event back, and this session has nobody left to tell.
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

/// Counts its session's lines until the bus ends, and repaints now and then. `recv_async` is cancel safe: where the ticker
/// wins, no event is lost.
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

/// Busy with something else at first, and so behind. That is no error and no end: the next delivery says how many are
/// missing right before it.
async fn slow_console(mut receiver: BusReceiver, busy: oneshot::Receiver<()>) -> (u64, u64) {
    busy.await.expect("the host tells");
    let mut received = 0;
    while let Ok(delivery) = receiver.recv_async().await {
        if delivery.missed() > 0 {
            println!("console  [... {} lines lost here ...]", delivery.missed());
        }
        received += 1;
    }
    (received, receiver.lagged())
}

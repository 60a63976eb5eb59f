//! A host on smol, with receivers as streams, a late subscriber that misses nothing, and a receive with a timeout.
//!
//! ```sh
//! cargo run --example smol_host
//! ```
//!
//! The host is a chat. The bus keeps a history for late subscribers. A late subscriber receives the last lines and
//! then the live ones, with no gap and no duplicate in between. An alarm waits for one word and gives up after a
//! timeout.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures::StreamExt;
use sharing_bus::{BusEvent, BusReceiver, Delivery, EventFilter, EventKind, EventRouting, Payload, SharingBus};
use smol::future::FutureExt;

/// A custom payload. It registers no sessions, so its `Payload` implementation is empty.
struct Message {
    author: &'static str,
    text: String,
}

impl Payload for Message {}

type Bus = SharingBus<Message>;

fn main() {
    smol::block_on(chat());
}

async fn chat() {
    let bus = Bus::builder()
        .history(100)
        .build()
        .expect("the system can start a thread");

    // This subscriber exists from the start, so it receives all events. It only counts them.
    let all = bus.subscription().queue_capacity(1024).label("all").subscribe();
    let all = smol::spawn(all.fold(0, |count, _| async move { count + 1 }));
    // Stream combinators could filter as well, but the filter of a subscription also keeps other events out of the
    // queue.
    let alarm = bus
        .subscription()
        .filter(EventFilter::custom(|event: &BusEvent<Message>| {
            event.event.text.contains("fire")
        }))
        .label("alarm")
        .subscribe();
    let alarm = smol::spawn(recv_within(alarm, Duration::from_secs(60)));

    publish_lines(&bus, "ada", lines(1..=50)).await;

    // After the flush, all of these events are in the history. The late subscriber starts with the last ten.
    bus.flush_async().await;
    let late = bus
        .subscription()
        .backlog(10)
        .queue_capacity(1024)
        .label("late")
        .subscribe();
    let late = smol::spawn(late.collect::<Vec<_>>());

    // Two tasks publish concurrently. The bus preserves the order of each task's events.
    let grace = smol::spawn({
        let bus = bus.clone();
        async move { publish_lines(&bus, "grace", lines(1..=30)).await }
    });
    publish_lines(&bus, "ada", lines(51..=80)).await;
    grace.await;
    publish_lines(&bus, "ada", ["fire!".to_owned()]).await;

    // After `close`, each stream yields the events in its queue and then ends.
    bus.close();
    let late = late.await;
    println!("all    {} received", all.await);
    println!(
        "alarm  {}",
        alarm.await.map_or("timed out", |delivery| delivery.event.author)
    );
    let backlog = late.iter().filter(|delivery| delivery.is_backlog()).count();
    println!(
        "late   {backlog} from the backlog, {} live, first \"{}\"",
        late.len() - backlog,
        late[0].event.text
    );
    let gaps = late
        .windows(2)
        .filter(|pair| pair[1].sequence() != pair[0].sequence() + 1)
        .count();
    println!("late   {gaps} gaps");
}

fn lines(numbers: RangeInclusive<usize>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("line {number}"))
}

/// Publishes the texts in order. While the ingress is full, the task is suspended.
async fn publish_lines(bus: &Bus, author: &'static str, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        let routing = EventRouting {
            kind: EventKind::Message,
            ..Default::default()
        };
        if bus
            .publish_async(BusEvent::new(routing, Message { author, text }))
            .await
            .is_err()
        {
            return; // The bus is closed.
        }
    }
}

/// Returns the next delivery, or `None` after the timeout. Dropping the unfinished receive future takes nothing out of
/// the queue.
async fn recv_within(mut receiver: BusReceiver<Message>, limit: Duration) -> Option<Delivery<Message>> {
    let next = async { receiver.recv_async().await.ok() };
    let timeout = async {
        smol::Timer::after(limit).await;
        None
    };
    next.or(timeout).await
}

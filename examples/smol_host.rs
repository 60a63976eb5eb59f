//! A host on smol: receivers as streams, a viewer that joins late and misses nothing, and a time limit for one wait.
//!
//! ```sh
//! cargo run --example smol_host
//! ```
//!
//! A chat room. Its talk is kept for late joiners, whom the bus gives the last lines before the live ones, with no gap and
//! no duplicate in between. A moderator looks for one word and gives up where it does not come in time.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures::StreamExt;
use sharing_bus::{BusEvent, BusReceiver, Delivery, EventFilter, EventKind, EventRouting, Payload, SharingBus};
use smol::future::FutureExt;

/// A payload of one's own. It tells the bus of no sessions, so there is nothing to implement.
struct Said {
    by: &'static str,
    text: String,
}

impl Payload for Said {}

type Bus = SharingBus<Said>;

fn main() {
    smol::block_on(chat());
}

async fn chat() {
    let bus = Bus::builder().history(100).build().expect("the system gives a thread");

    // Who is here from the beginning hears everything; who only counts need not keep the events.
    let all = bus.subscription().queue_capacity(1024).label("all").subscribe();
    let all = smol::spawn(all.fold(0, |count, _| async move { count + 1 }));
    // A stream can be narrowed by what follows it, but a filter does it before the queue, where it costs no room.
    let alarm = bus
        .subscription()
        .filter(EventFilter::custom(|event: &BusEvent<Said>| {
            event.event.text.contains("fire")
        }))
        .label("alarm")
        .subscribe();
    let alarm = smol::spawn(first_within(alarm, Duration::from_secs(60)));

    say(&bus, "ada", lines(1..=50)).await;

    // After a flush all of that is history, and a late joiner begins with the last ten.
    bus.flush_async().await;
    let late = bus
        .subscription()
        .backlog(10)
        .queue_capacity(1024)
        .label("late")
        .subscribe();
    let late = smol::spawn(late.collect::<Vec<_>>());

    // Two at once, each in its own order.
    let grace = smol::spawn({
        let bus = bus.clone();
        async move { say(&bus, "grace", lines(1..=30)).await }
    });
    say(&bus, "ada", lines(51..=80)).await;
    grace.await;
    say(&bus, "ada", ["fire!".to_owned()]).await;

    // The streams end with the bus, each after what is in its queue.
    bus.close();
    let late = late.await;
    println!("all    {} heard", all.await);
    println!(
        "alarm  {}",
        alarm.await.map_or("nothing in time", |delivery| delivery.event.by)
    );
    let backlog = late.iter().filter(|delivery| delivery.is_backlog()).count();
    println!(
        "late   {backlog} from before, {} live, from \"{}\" on",
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

/// Says one text after the other; waits, as a task, while the bus is full.
async fn say(bus: &Bus, by: &'static str, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        let routing = EventRouting {
            kind: EventKind::Message,
            ..Default::default()
        };
        if bus
            .publish_async(BusEvent::new(routing, Said { by, text }))
            .await
            .is_err()
        {
            return; // The chat is over.
        }
    }
}

/// The next delivery, if it comes in time. The future that loses is dropped, which takes nothing out of the queue.
async fn first_within(mut receiver: BusReceiver<Said>, limit: Duration) -> Option<Delivery<Said>> {
    let next = async { receiver.recv_async().await.ok() };
    let late = async {
        smol::Timer::after(limit).await;
        None
    };
    next.or(late).await
}

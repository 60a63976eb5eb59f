//! What the bus does not do, and what to do instead.
//!
//! [The front page](crate#limits) has the limits that a host must know of before it begins: code of yours that blocks
//! dispatch, `panic = "abort"`, `fork`. The README says [when not to use
//! it](https://github.com/sharing-bus/sharing-bus#when-not-to-use-it) at all. These are the rest.
//!
//! # Of its shape
//!
//! - **One thread dispatches.** That makes order, binding and loss exact, and it is a ceiling: two to four million
//!   events a second on the machine of the benches, however many cores there are. Buses are independent, so parts of a
//!   host that need no common order can have one each.
//! - **Publishing says nothing of receiving.** `Ok` means accepted. After a [flush](crate::SharingBus::flush) an event
//!   is in the queues; that somebody has dealt with it, only [an answer](super::patterns#a-request-and-its-answer) can
//!   tell.
//! - **Publishers do not wait for subscribers.** Where they must,
//!   [credits](super::patterns#no-loss-at-all-back-pressure) do it.
//! - **Nothing outlives the process.** An archiver is a subscriber like any other, and what is in its queue is lost
//!   with a crash.
//! - **A consumer for each subscription.** A receiver is not `Clone`. To share the work of one subscription, forward it
//!   into a channel with many receivers:
//!
//! ```
//! use sharing_bus::{BusEvent, Delivery, EventRouting, SharingBus};
//! use std::thread;
//!
//! let bus = SharingBus::new();
//! let (sender, work) = crossbeam_channel::bounded::<Delivery<u64>>(1024);
//! bus.subscription().label("workers").forward_to(sender);
//! let workers = [work.clone(), work].map(|work| {
//!     thread::spawn(move || work.iter().map(|delivery| *delivery.event).sum::<u64>())
//! });
//! for number in 1..=100 {
//!     bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(workers.map(|worker| worker.join().unwrap()).iter().sum::<u64>(), 5050);
//! ```
//!
//! # Of events and filters
//!
//! - **The routing is given**: a scroll, a connector, a session, a kind, an origin. What else an event has is in its
//!   payload, and filtered by a function, which no index helps. A bus of your own type needs none of the fields: leave
//!   them at their [`Default`].
//! - **Names are compared as a whole.** No prefixes, no wildcards, no regular expressions; a function can have them.
//! - **One type of payload for each bus.** An enum of yours carries several.
//! - **Payloads are shared, never owned.** A receiver gets a reference and an `Arc`. It may clone what it needs; after
//!   the last handle is gone nobody can have it. To hand a value over to one receiver, put it into a
//!   `Mutex<Option<T>>`, or use a channel.
//! - **Payloads are dropped by whoever comes last**, a receiver or the dispatch thread. A `Drop` that is slow is slow
//!   there.
//! - **No priorities.** An event waits for those before it.
//! - **No time.** Events carry none but what their payload has, and a delivery tells its place and not its moment.
//!
//! # Of subscriptions
//!
//! - **A capacity stays what it was.** To have another, subscribe anew, and drop the old receiver after that: what
//!   comes in between is seen twice, and [`sequence`](crate::Delivery::sequence) tells which.
//! - **The memory of a queue is taken at once**, 24 bytes a place, 32 where it drops its oldest and 48 where it conflates; a
//!   large one for each of many subscribers is much.
//! - **A forwarded subscription cannot drop its oldest**, for that is in the host's channel; nor can it conflate or keep a
//!   reserve, for nobody tells how much room a channel has.
//! - **A queue conflates or keeps a reserve, not both**: an essential event that passed those that wait would break the order.
//! - **A backlog shows events as they were dispatched**: what came before its session's registration is unbound there
//!   as well.
//!
//! # Of platforms
//!
//! It needs `std`, threads and 64-bit atomics, so no `wasm32-unknown-unknown` and no bare metal. Tests run on Linux.

//! Features that the bus does not have, and alternatives.
//!
//! [The front page](crate#limits) lists the limits that every host must consider: code that blocks dispatch, `panic =
//! "abort"`, and `fork`. The README describes when not to use the bus at all. This page lists the other limitations.
//!
//! # Design
//!
//! - **One thread dispatches all events.** This makes order, binding and loss exact. It also limits throughput to two
//!   to four million events per second on the benchmark machine, regardless of the number of cores. Buses are
//!   independent, so parts of a host that need no common order can use separate buses.
//! - **Publishing does not confirm receipt.** `Ok` means accepted. After a [flush](crate::SharingBus::flush), the event
//!   is in the queues. Only [an answer](super::patterns#a-request-and-its-answer) confirms that a subscriber has
//!   processed it.
//! - **Publishers do not wait for subscribers.** If a publisher must wait, use
//!   [credits](super::patterns#delivery-without-loss).
//! - **Events do not survive the process.** An archiver is an ordinary subscriber. If the process crashes, the events
//!   in the archiver's queue are lost.
//! - **Async runtimes do not see the dispatch thread work.** Under a [paused
//!   clock](super::patterns#tokios-paused-clock) of tokio, a time limit around a receive elapses at once.
//! - **There is no weak handle.** A handle that a filter, a sink, a merge function or a kept payload holds keeps the
//!   bus open. The [remedies](super::patterns#a-handle-inside-the-bus) are a `Weak` of an `Arc` around the handle, and
//!   an explicit [`close`](crate::SharingBus::close).
//! - **Blocking calls do not detect an async runtime.** [`recv`](crate::BusReceiver::recv), `recv_timeout`, `flush`,
//!   `publish` and `shutdown` block the thread of a task without a panic, unlike `blocking_recv` of tokio. In a runtime
//!   with one thread, a task that waits this way for another task waits forever.
//! - **No queue can guarantee the arrival of an event.** [Essential](crate::SubscriptionBuilder::essential) events have
//!   reserved places, but are lost if these are full. [Credits](super::patterns#delivery-without-loss) prevent losses.
//! - **Each subscription has one consumer.** A receiver is not `Clone`. To share the work of one subscription, forward
//!   it to a channel with several receivers:
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
//! # Events and filters
//!
//! - **The routing fields are fixed**: scroll, connector, session, kind and origin. Other properties of an event belong
//!   in its payload. Only a custom function can filter by them, and the index does not help such a filter. A bus with a
//!   custom payload needs none of the routing fields. Leave them at their [`Default`].
//! - **Names are compared as a whole.** There are no prefixes, wildcards or regular expressions. A custom function can
//!   implement them.
//! - **A bus has one payload type.** An enum can carry several kinds of payload.
//! - **Payloads are shared, never owned.** A receiver gets a reference and an `Arc`, and can clone the payload. No
//!   receiver can take ownership of it. To transfer ownership to one receiver, use a payload of type
//!   `Mutex<Option<T>>`, or a channel.
//! - **The last holder drops the payload.** This can be a receiver or the dispatch thread, and a slow `Drop` delays
//!   that thread.
//! - **There are no priorities.** An event waits for all events before it.
//! - **There are no timestamps.** A delivery reports its position, not its time. Put a time into the payload if
//!   necessary.
//!
//! # Subscriptions
//!
//! - **The capacity of a queue is fixed.** To change it, subscribe again, and then drop the old receiver. Both
//!   receivers get the events in between, and [`sequence`](crate::Delivery::sequence) identifies the duplicates.
//! - **A large filter takes time on the dispatch thread** when it is attached, replaced or removed: 0.1 to 0.4 µs for
//!   each indexed term, and up to 1.4 µs for a replaced term among 100,000. So a filter of 10,000 scrolls delays other
//!   events by about 1 ms, and its replacement by about 3 ms. The other work for one subscriber is bounded. The dispatch
//!   thread delivers backlogs and waiting events in slices of 512 events, and dispatches a batch after each slice.
//! - **A queue allocates its memory at once**: 24 bytes per place, 32 bytes if it drops the oldest event, and 48 bytes
//!   if it conflates. Large queues for many subscribers need much memory. The ingress also allocates its memory at
//!   once, about 100 bytes per place. If such an allocation fails, the process aborts.
//! - **A forwarded subscription cannot drop its oldest event**, because that event is in the host's channel. It also
//!   cannot conflate or reserve places, because a channel does not report its free space.
//! - **A queue either conflates or reserves places, not both.** An essential event that overtook the pending events
//!   would break the order.
//! - **A backlog contains events as they were dispatched.** Events from before the registration of their session are
//!   unbound there as well.
//!
//! # Platforms
//!
//! The crate needs `std`, threads and 64-bit atomics. It does not support `wasm32-unknown-unknown` or bare-metal
//! targets. The CI workflow runs the tests on Linux, macOS and Windows.

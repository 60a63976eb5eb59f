//! An in-process event bus with many publishers, one dispatch thread and many subscribers. Each subscriber has its own
//! filter and its own bounded queue.
//!
//! A host application, such as an agent orchestrator, a chat server or a terminal multiplexer, publishes the events of
//! its live sessions. Archivers, views, loggers and bridges subscribe to these events. A slow subscriber loses only its
//! own events, and the bus reports exactly how many were lost and where.
//!
//! The bus is independent of async runtimes. Threads, tokio tasks, smol tasks and every other executor use the same
//! handles.
//!
//! Three terms appear throughout the API:
//!
//! - A *connector* is a component of the host that runs sessions, such as an agent or a shell.
//! - A *session* is one conversation or process of a connector. Its id is unique only within that connector.
//! - A *scroll* is the record of one session. Its `scroll_id` is a globally unique [`Uuid`](uuid::Uuid), which the bus
//!   [adds](#late-binding) to events that lack the id.
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let mut archive = bus.subscribe_all();
//! let mut errors = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 16);
//!
//! for (kind, text) in [(EventKind::Output, "compiling"), (EventKind::Error, "no space left")] {
//!     let routing = EventRouting::session("builder", "run-1", kind);
//!     bus.publish(BusEvent::new(routing, Event::Text { text: text.into() }))?;
//! }
//! bus.shutdown();
//!
//! assert_eq!(archive.iter().count(), 2);
//! assert_eq!(errors.iter().count(), 1);
//! # Ok::<(), sharing_bus::PublishError>(())
//! ```
//!
//! # How it works
//!
//! [`publish`](SharingBus::publish) sends an event into a bounded channel, the *ingress*. The *dispatch thread*
//! receives the events from the ingress in order. For each event, the dispatch thread performs four steps:
//!
//! 1. It assigns the event's [sequence number](Delivery::sequence).
//! 2. It adds the `scroll_id` of the event's session, if the event has none.
//! 3. It looks up the matching subscribers in an index.
//! 4. It pushes a shared reference to the event into the *queue* of each matching subscriber.
//!
//! The cost of publishing does not depend on the subscribers. The cost of dispatching an event grows with the number of
//! matching subscribers, not with the number of all subscribers. The exceptions are [opaque
//! filters](docs::performance#filters), each of which is evaluated for every event.
//!
//! The bus makes nine guarantees:
//!
//! 1. Events of one publisher arrive in the order of publication. All subscribers see one total order.
//! 2. No accepted event is lost before it reaches the queues. For each subscriber, the delivered and the lost events
//!    add up to the matching events. A queue that [conflates](#controlling-loss) also counts merged events. No event is
//!    delivered twice.
//! 3. A slow, stuck, dead or panicking subscriber harms no other subscriber and no publisher.
//! 4. A subscriber sees every matching event whose `publish` began after its `subscribe` returned, and none whose
//!    `publish` returned before its `subscribe` began.
//! 5. [Late binding](#late-binding) has no races.
//! 6. No wake-up is lost, and a canceled receive loses no event.
//! 7. The slot and the memory of a dropped receiver are freed without further traffic.
//! 8. [Closing](#closing) drains the bus: accepted events are dispatched, and receivers drain their queues before they
//!    see `Closed`.
//! 9. Publishing without subscribers succeeds. Bad input causes a typed error, which returns the event, or a documented
//!    panic.
//!
//! The module [`docs::guarantees`] states each guarantee exactly, together with its limits.
//!
//! # Filters
//!
//! An [`EventFilter`] compares a field of the event's [routing](EventRouting), compares its origin, calls a custom
//! function, or combines other filters. Filters run after late binding, so they see the `scroll_id` that the bus added.
//! [`BusReceiver::set_filter`] replaces the filter of a receiver that is in use.
//!
//! ```
//! use sharing_bus::{EventFilter, EventKind};
//!
//! let talk: EventFilter = EventFilter::all([
//!     EventFilter::ConnectorId("claude".into()),
//!     EventFilter::any([EventKind::Message, EventKind::Thinking].map(EventFilter::Kind)),
//! ]);
//! assert_eq!(talk.to_string(), "all(connector=claude, any(kind=message, kind=thinking))");
//! ```
//!
//! Custom functions ([`EventFilter::custom`]) run on the dispatch thread, so they must return quickly. A panic in a
//! custom function counts as no match. A custom function may use the bus: on the dispatch thread, `publish` never waits
//! and `flush` returns immediately.
//!
//! # Lagging
//!
//! Each subscriber has its own queue with a capacity and an [`Overflow`] rule. The rule drops the newest event (the
//! default), drops the oldest event, disconnects the subscriber, or [conflates](#controlling-loss) events. A full queue
//! delays no publisher and no other subscriber.
//!
//! The bus counts losses after filtering and reports each loss at its position in the stream. [`Delivery::missed`]
//! returns the number of events that this subscriber lost right before that delivery. [`BusReceiver::lagged`] returns
//! the total number of lost events. A loss is not an error and never looks like a closed bus. No delivery may follow
//! the last loss, so a subscriber that records losses also compares `lagged` with the sum of `missed` [at the
//! end](docs::patterns#an-archiver).
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let mut slow = bus.subscribe_filtered(EventFilter::All, 2);
//! let publish = || bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
//!
//! (0..5).for_each(|_| publish());
//! bus.flush();
//! assert_eq!((slow.len(), slow.lagged()), (2, 3));
//!
//! assert_eq!(slow.recv().unwrap().missed(), 0);
//! assert_eq!(slow.recv().unwrap().missed(), 0);
//! publish();
//! assert_eq!(slow.recv().unwrap().missed(), 3);
//! ```
//!
//! # Controlling loss
//!
//! For a slow subscriber, which events are lost matters more than how many. A view recovers from a lost token delta,
//! but waits forever after a lost completion. Two settings of a subscription control which events are lost:
//!
//! - [`essential`](SubscriptionBuilder::essential) reserves the last places of the queue for essential events, so that
//!   they are lost last. If these places are full too, essential events are lost.
//!   [`BusReceiver::lagged_essential`] counts them separately.
//! - [`Overflow::Conflate`] holds back the events that find the queue full, at most one event per scroll. A newer event
//!   of the same scroll replaces the pending one, or a function passed to
//!   [`conflate_with`](SubscriptionBuilder::conflate_with) merges the two. The bus queues a pending event as soon as
//!   the receiver frees space. [`Delivery::merged`] returns the number of other events that went into the delivered
//!   one.
//!
//! Neither setting excludes a loss. If no event may be lost, publishers must wait for the subscriber, with
//! [credits](docs::patterns#delivery-without-loss). [`Overflow::Disconnect`] suits a subscriber that reloads its state
//! after a loss.
//!
//! The counts stay exact: delivered, lost, merged and pending events add up to the matching events.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, Overflow, SharingBus};
//! use uuid::Uuid;
//!
//! let bus = SharingBus::new();
//! let mut progress = bus.subscription().queue_capacity(1).overflow(Overflow::Conflate).subscribe();
//! for percent in [10, 20, 30, 40_u64] {
//!     let scroll_id = Some(Uuid::from_u128(7));
//!     bus.publish(BusEvent::new(EventRouting { scroll_id, ..EventRouting::default() }, percent)).unwrap();
//! }
//! bus.flush();
//!
//! assert_eq!(*progress.recv().unwrap().event, 10);
//! let latest = progress.recv().unwrap();
//! assert_eq!((*latest.event, latest.merged(), latest.missed()), (40, 2, 0));
//! ```
//!
//! # Late joiners
//!
//! A bus can keep the most recent events ([`history`](BusBuilder::history)) and the most recent events of each scroll
//! ([`history_per_scroll`](BusBuilder::history_per_scroll)). A subscription with a
//! [`backlog`](SubscriptionBuilder::backlog) starts with the newest matching events of this history and continues with
//! live events. There is no gap and no duplicate between the two, even while other threads publish. The dispatch thread
//! delivers both, so no event can fall between them.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//!
//! let bus = SharingBus::builder().history(1000).build()?;
//! let publish = |number: u64| bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! (1..=5).for_each(publish);
//! bus.flush();
//!
//! let mut view = bus.subscription().backlog(2).subscribe();
//! publish(6);
//! bus.shutdown();
//! assert_eq!(view.iter().map(|delivery| *delivery.event).collect::<Vec<_>>(), [4, 5, 6]);
//! # Ok::<(), sharing_bus::BuildError>(())
//! ```
//!
//! # Expensive payloads
//!
//! Some payloads are expensive to create, for example a copy of a screen or a serialized record.
//! [`publish_with`](SharingBus::publish_with) first checks whether any subscriber may match the event's routing and
//! origin, and creates the payload only in that case. [`is_interested`](SharingBus::is_interested) performs only the
//! check. The check takes 20 to 200 ns, regardless of the number of subscribers.
//!
//! False positives are possible, false negatives are not: an event that some subscriber would match is always created.
//! This holds as long as events that register or end a session have the kind
//! [`SessionLifecycle`](EventKind::SessionLifecycle).
//!
//! ```
//! use sharing_bus::{Event, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let routing = EventRouting::session("terminal", "1", EventKind::Output);
//! let screen = || Event::Text { text: "a costly copy".into() };
//!
//! assert!(!bus.publish_with(routing.clone(), EventOrigin::Runtime, screen)?);
//! let mut view = bus.subscribe_filtered(EventFilter::ConnectorId("terminal".into()), 16);
//! assert!(bus.publish_with(routing, EventOrigin::Runtime, screen)?);
//! assert!(view.recv().is_ok());
//! # Ok::<(), sharing_bus::PublishError>(())
//! ```
//!
//! # Late binding
//!
//! Publishers often know only a connector and that connector's own session id. A *registration* event assigns a global
//! `scroll_id` to such a session. [`Event::SessionRegistered`] is the built-in registration, and a custom [`Payload`]
//! can define its own.
//!
//! From the registration on, in dispatch order, the bus adds the `scroll_id` to every event of the session that has
//! none. An event that already has a `scroll_id` keeps it, but a registration always carries the id that it registers.
//! Events before the registration stay unbound. A later registration of the same session replaces the binding.
//!
//! The dispatch thread binds events in order, so an event is bound if its `publish` began after the registration's
//! `publish` returned. An event is also bound if its publisher had received the registration. A `scroll_id` that is not
//! a UUID binds nothing and causes a warning through the [`log`](https://docs.rs/log) crate.
//!
//! [`Event::SessionEnded`] removes the binding after the end event itself has been bound. When there are more than
//! [`session_capacity`](BusBuilder::session_capacity) sessions, the bus forgets the one with the oldest registration.
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
//! use uuid::Uuid;
//!
//! let bus = SharingBus::new();
//! let scroll = Uuid::from_u128(0x5c011);
//! let mut view = bus.subscribe_filtered(EventFilter::ScrollId(scroll), 16);
//! let publish = |kind, event| {
//!     bus.publish(BusEvent::new(EventRouting::session("claude", "77", kind), event)).unwrap();
//! };
//!
//! publish(EventKind::Output, Event::Text { text: "too early".into() });
//! publish(EventKind::SessionLifecycle, Event::SessionRegistered {
//!     connector_id: "claude".into(),
//!     session_id: "77".into(),
//!     scroll_id: scroll.to_string(),
//! });
//! publish(EventKind::Output, Event::Text { text: "in time".into() });
//! bus.flush();
//!
//! let seen: Vec<_> = view.try_iter().map(|delivery| delivery.routing.kind).collect();
//! assert_eq!(seen, [EventKind::SessionLifecycle, EventKind::Output]);
//! ```
//!
//! # Closing
//!
//! [`close`](SharingBus::close), or dropping the last handle, makes the bus refuse new events. The dispatch thread
//! dispatches the accepted events, and each receiver drains its queue before it sees `Closed`.
//! [`shutdown`](SharingBus::shutdown) also waits for the dispatch thread. A publish that races with a close either
//! succeeds and is delivered, or returns the event. A handle that a filter, a sink or a payload inside the bus holds
//! [keeps the bus open](docs::patterns#a-handle-inside-the-bus).
//!
//! A single subscription ends when its receiver is dropped or closed ([`BusReceiver::close`]), or when another part of
//! the host calls [`unsubscribe`](SharingBus::unsubscribe) with its id. It also ends if its queue
//! [overflows](Overflow::Disconnect) or if its functions [keep panicking](EventFilter::custom). The receiver can still
//! read its queued events, and [`BusReceiver::end_reason`] returns the reason.
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventRouting, SharingBus, TryRecvError};
//!
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscribe_all();
//! bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
//! bus.shutdown();
//!
//! assert!(receiver.try_recv().is_ok());
//! assert_eq!(receiver.try_recv().unwrap_err(), TryRecvError::Closed);
//! ```
//!
//! # Threads
//!
//! A thread can receive with [`recv`](BusReceiver::recv), with a time limit
//! ([`recv_timeout`](BusReceiver::recv_timeout)), in batches ([`recv_many`](BusReceiver::recv_many)), or with an
//! iterator ([`iter`](BusReceiver::iter)). Each of these methods parks the thread and needs no runtime. To wait for the
//! bus and for other sources at once, forward the subscription to a channel with
//! [`forward_to`](SubscriptionBuilder::forward_to), and use `select!` on that channel.
//!
//! ```
//! use std::thread;
//! use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscribe_all();
//! let archiver = thread::spawn(move || receiver.iter().count());
//!
//! for _ in 0..100 {
//!     bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(archiver.join().unwrap(), 100);
//! ```
//!
//! # Async tasks
//!
//! [`publish_async`](SharingBus::publish_async), [`recv_async`](BusReceiver::recv_async),
//! [`flush_async`](SharingBus::flush_async) and the `Stream` implementation of [`BusReceiver`] suspend the task and
//! work on any executor. Receiving is cancel safe, so it can be a branch of a `select!`. `try_publish` never waits and
//! can be called anywhere. `publish`, `flush`, `shutdown` and the receive methods of [threads](#threads) block the
//! thread, so do not call them in tasks. They cannot detect a task, so they do not panic there.
//!
//! Tokio's paused clock does not see the dispatch thread work. See [the
//! remedies](docs::patterns#tokios-paused-clock) for tests.
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventRouting, SharingBus};
//!
//! # futures::executor::block_on(async {
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscribe_all();
//! bus.publish_async(BusEvent::new(EventRouting::default(), Event::Connected)).await?;
//!
//! while let Ok(delivery) = receiver.recv_async().await {
//!     if delivery.missed() > 0 {
//!         eprintln!("lost {} events", delivery.missed());
//!     }
//!     # bus.close();
//! }
//! # Ok::<(), sharing_bus::PublishError>(())
//! # }).unwrap();
//! ```
//!
//! # Crate features
//!
//! All features are disabled by default. A disabled feature costs nothing.
//!
//! | feature | effect |
//! |---|---|
//! | `flume` | [`Sink`] for `flume::Sender`, see [`forward_to`](SubscriptionBuilder::forward_to) |
//! | `tokio` | [`Sink`] for `tokio::sync::mpsc::Sender` |
//! | `serde` | `Serialize` and `Deserialize` for events, [filters](EventFilter), [`Overflow`] and [statistics](BusStats) |
//! | `tracing` | [events](#tracing) about subscribers and sessions, and a span around dispatch |
//! | `metrics` | [counters, gauges and a histogram](#metrics) in the recorder that the host has installed |
//!
//! Install the `tracing` subscriber and the `metrics` recorder globally before building the bus. Both run on the
//! dispatch thread, so they must return quickly. The bus contains their panics.
//!
//! ## Tracing
//!
//! All events have the target `sharing_bus`. The dispatch thread handles each batch inside the span
//! `sharing_bus::dispatch` (info level). The span's field `thread` holds the [name of the dispatch
//! thread](BusBuilder::thread_name).
//!
//! | event | level | fields |
//! |---|---|---|
//! | `subscribed` | debug | `id`, `label`, `filter`, `capacity` |
//! | `lagging begins` | warn | `id`, `label`, `lost` (so far), `suppressed_episodes`, `suppressed_lost` |
//! | `lagging ends` | info | the same fields; `lost` counts the whole episode |
//! | `reaped` (the subscription has ended, for any reason) | debug | `id`, `label`, `delivered`, `lagged` |
//! | `session bound` | debug | `connector_id`, `native_session_id`, `scroll_id` |
//!
//! An episode of lagging begins with the first batch in which a subscriber loses events. It ends with the next batch
//! that queues all its events, or with the subscription. Each reported episode causes two events, however many bus
//! events are lost in it.
//!
//! For each subscriber, the bus reports at most one episode per second. The `suppressed` fields of the subscriber's
//! next report count the episodes in between and their losses. The values of `lost` in `lagging ends` and the values of
//! `suppressed_lost` add up to the total loss.
//!
//! ## Metrics
//!
//! The bus updates its metrics after each batch, so they do not change while the bus is idle. The metrics of several
//! buses in one process add up. A bus that has ended no longer contributes to the gauges.
//!
//! | name | meaning |
//! |---|---|
//! | `sharing_bus_published_total`, `…_dispatched_total`, `…_delivered_total`, `…_lagged_total`, `…_merged_total`, `…_unmatched_total`, `…_filter_panics_total`, `…_payload_panics_total`, `…_reaped_total`, `…_failed_total` | counters, equal to the fields of [`BusStats`] |
//! | `sharing_bus_ingress_depth`, `sharing_bus_subscribers`, `sharing_bus_sessions` | gauges |
//! | `sharing_bus_dispatch_latency_seconds` | histogram of the time from the publishing call (including its wait for space) to the end of the event's batch |
//! | `sharing_bus_subscriber_delivered_total`, `…_subscriber_lagged_total`, `…_subscriber_lagged_essential_total`, `…_subscriber_merged_total`, `sharing_bus_queue_depth` | four counters and a gauge for all subscriptions with the same label; the metric label `subscriber` holds the subscription's label, or `unlabelled` |
//!
//! Each distinct label creates one time series, so avoid unique labels.
//!
//! # Limits
//!
//! Filters, wakers, sinks and payload drops run on the dispatch thread. A panic in such code is contained, but code
//! that blocks there blocks the bus. With [`assisted_dispatch`](BusBuilder::assisted_dispatch), a publisher that finds
//! the bus idle acts as the dispatch thread for one batch. In a host built with `panic = "abort"`, panics are not
//! contained. The dispatch thread does not survive `fork`.
//!
//! To send values from one producer to one consumer, use a channel. If no event may be lost, however slow a subscriber
//! is, use a queue with back-pressure, or [credits](docs::patterns#delivery-without-loss).
//!
//! # Further reading
//!
//! - [Guarantees](docs::guarantees): the exact wording of each guarantee, and its limits.
//! - [Patterns](docs::patterns): an archiver, a request with its answer, delivery without loss, a test.
//! - [Performance](docs::performance): the cost of each operation, and the settings that change it.
//! - [Limitations](docs::limitations): features that the bus does not have, and alternatives.
//! - [Internals](docs::internals): the path of an event, and the synchronization along it.
//! - [Migrating](docs::migrating) from `tokio::sync::broadcast`, from `async-broadcast` or from a custom bus.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod bus;
mod delivery;
mod dispatch;
pub mod docs;
mod end_reason;
mod error;
mod event;
mod filter;
mod forward;
mod ingress;
mod name;
mod overflow;
mod queue;
mod receiver;
#[cfg(feature = "serde")]
mod serde;
mod sessions;
mod shared;
mod sink;
mod stats;
mod subscribers;
mod sync;
mod telemetry;

/// The examples of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use builder::{BusBuilder, SubscriptionBuilder};
pub use delivery::Delivery;
pub use end_reason::EndReason;
pub use error::{BuildError, PublishError, RecvError, RecvTimeoutError, TryRecvError};
pub use event::{BusEvent, Event, EventKind, EventOrigin, EventRouting, ParseNameError, Payload, SessionChange};
pub use filter::{CustomFilter, EventFilter};
pub use forward::Forward;
pub use overflow::Overflow;
pub use receiver::{BusReceiver, Iter, Recv, TryIter};
pub use shared::SharingBus;
pub use sink::{Sink, SinkError};
pub use stats::{BusStats, SubscriberStats};
pub use subscribers::id::SubscriberId;

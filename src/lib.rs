//! An in-process event bus: many publishers, one dispatch thread, many subscribers, each with its own filter and its
//! own bounded queue.
//!
//! A host (an agent orchestrator, a chat server, a terminal multiplexer, a test rig) publishes the events of many live
//! sessions. Archivers, views, loggers and bridges subscribe. A slow one loses only its own events and knows exactly
//! what it lost. Events that do not yet know their global `scroll_id` are bound to it as soon as their session's
//! registration has passed. The bus belongs to no async runtime: threads, tokio, smol and anything else that polls
//! futures use the same handles.
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
//! [`publish`](SharingBus::publish) is one send into a bounded channel, the *ingress*. One thread, *dispatch*, takes
//! events out of it in order. It numbers each ([`Delivery::sequence`]), binds it, finds the subscribers that match in
//! an index, and pushes a shared reference into the *queue* of each. So the cost of publishing does not depend on who
//! subscribes, and the cost of dispatching depends on who matches, not on how many subscribers there are.
//!
//! What this promises:
//!
//! 1. What one publisher publishes arrives in that order, and all subscribers see one total order.
//! 2. Nothing accepted is lost before the queues. For each subscriber, what was delivered and what lagged add up to
//!    what matched (with what was merged, where it [conflates](#losing-well)), and nothing comes twice.
//! 3. A slow, stuck, dead or panicking subscriber harms no other subscriber and no publisher.
//! 4. An event is seen by every subscriber whose `subscribe` returned before its `publish` began.
//! 5. [Late binding](#late-binding) has no race.
//! 6. No wake-up is lost, and a cancelled receive loses nothing.
//! 7. A dropped receiver's slot and memory are freed without further traffic.
//! 8. [Closing](#closing) drains.
//! 9. Nobody subscribing is success; bad input is a typed error that gives the event back, or a documented panic.
//!
//! # Filters
//!
//! An [`EventFilter`] is an equality on an event's [routing](EventRouting) or origin, a function of yours, or any
//! combination. Filters see events as dispatched, with their late-bound `scroll_id`. A filter can be replaced while
//! its receiver is in use ([`BusReceiver::set_filter`]).
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
//! Functions ([`EventFilter::custom`]) run on the dispatch thread, so they have to be quick. A panic in one counts as
//! no match. They may use the bus: publishing from there never waits, and a flush there returns at once.
//!
//! # Lagging
//!
//! Each subscriber has a queue of its own, with a capacity and an [`Overflow`] rule: drop the newest event (the
//! default), drop the oldest, disconnect, or [conflate](#losing-well). A full queue delays nobody. Loss is counted after
//! the filter, and told in its place: [`Delivery::missed`] is what this subscriber lost right before that delivery, and
//! [`BusReceiver::lagged`] what it lost in all. Losing events is no error and never looks like closing.
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
//! # Losing well
//!
//! Which events a slow subscriber loses matters more than how many: a lost completion strands a view, a lost token delta
//! does not. Two ways to say so:
//!
//! - [`essential`](SubscriptionBuilder::essential) names the events that may use the last places of the queue. What is lost
//!   of them is also counted apart ([`BusReceiver::lagged_essential`]).
//! - [`Overflow::Conflate`] has what finds the queue full wait, one event for each scroll, the newest or, with
//!   [`conflate_with`](SubscriptionBuilder::conflate_with), what a function of yours makes of them. It is queued as soon as
//!   the receiver makes room. [`Delivery::merged`] tells how many others went into an event.
//!
//! The account stays exact: what was delivered, lost and merged adds up to what matched.
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
//! A bus can keep the last events ([`history`](BusBuilder::history)) and the last of each scroll
//! ([`history_per_scroll`](BusBuilder::history_per_scroll)). A subscription that asks for a
//! [`backlog`](SubscriptionBuilder::backlog) then begins with the newest of them that match, and goes on with live events:
//! no gap, no duplicate, whatever is published meanwhile. The dispatch thread does both, so there is no moment in between.
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
//! # Events that cost to make
//!
//! Some events are costly to make: a screen to copy, a record to serialise. [`publish_with`](SharingBus::publish_with)
//! asks first whether anybody may want the event, by its routing and origin, and has the payload made only then;
//! [`is_interested`](SharingBus::is_interested) only asks. It costs 20 to 200 ns, however many subscribe, and is wrong
//! in one direction alone: what a subscriber would match is always made, as long as events that register or end a session
//! are of the kind [`SessionLifecycle`](EventKind::SessionLifecycle).
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
//! Producers often know only their connector and its own session id. An event that registers the session
//! ([`Event::SessionRegistered`], or whatever your [`Payload`] says is one) gives it a global `scroll_id`. From then
//! on, in dispatch order, every event of that session that has no `scroll_id` gets it; one that has keeps its own; the
//! registration itself carries the id it registers. What was published before the registration stays unbound. Since
//! the dispatch thread does this in order, an event published after the registration's `publish` returned is bound,
//! and so is whatever somebody publishes who has received it. A later registration of the same session replaces the
//! binding. A `scroll_id` that is no UUID is warned of through the [`log`](https://docs.rs/log) crate and binds nothing.
//!
//! A session's end ([`Event::SessionEnded`]) forgets the binding after the end itself was bound. Beyond
//! [`session_capacity`](BusBuilder::session_capacity) sessions, the oldest registration is forgotten.
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
//! [`close`](SharingBus::close), or dropping the last handle, refuses new events; what was accepted is dispatched;
//! then each receiver drains its queue and sees `Closed`. [`shutdown`](SharingBus::shutdown) also waits for the dispatch
//! thread. A publish that races a close either succeeds, and is delivered, or gives the event back.
//! A single subscription ends by dropping the receiver, by [`BusReceiver::close`], or from elsewhere by
//! [`unsubscribe`](SharingBus::unsubscribe); with the last two, what is queued can still be read.
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
//! # Sync hosts
//!
//! Receive with [`recv`](BusReceiver::recv), with a time limit, in batches ([`BusReceiver::recv_many`]), or by
//! iterating; each parks the thread and needs no runtime. To wait for the bus and for other things at once, have it deliver
//! into a channel of yours ([`SubscriptionBuilder::forward_to`]) and `select!` over that.
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
//! # Async hosts
//!
//! [`publish_async`](SharingBus::publish_async), [`recv_async`](BusReceiver::recv_async),
//! [`flush_async`](SharingBus::flush_async) and the [`Stream`](futures_core::Stream) implementation wait as tasks on any
//! executor. Receiving is cancel safe, so it can stand in a `select!`. `try_publish` never waits and may be called
//! anywhere; `publish`, `flush` and `shutdown` block the thread and belong outside tasks.
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
//! # Features
//!
//! None is on unless asked for, and one that is off costs nothing.
//!
//! | feature | what it adds |
//! |---|---|
//! | `flume` | [`Sink`] for `flume::Sender`, see [`forward_to`](SubscriptionBuilder::forward_to) |
//! | `tokio` | [`Sink`] for `tokio::sync::mpsc::Sender` |
//! | `serde` | `Serialize` and `Deserialize` for events, [filters](EventFilter), [`Overflow`] and [statistics](BusStats) |
//! | `tracing` | what befalls subscribers and sessions, as [events](#tracing), and a span around dispatch |
//! | `metrics` | [counters, gauges and a latency](#metrics) in the recorder that the host has installed |
//!
//! Install the subscriber of tracing and the recorder of metrics before the bus is built, for the whole process. Either may
//! panic and harms nobody. Like filters they run on the dispatch thread, so they have to be quick.
//!
//! ## Tracing
//!
//! All under the target `sharing_bus`. A batch is dispatched inside the span `sharing_bus::dispatch` (info), whose field
//! `thread` is the [dispatch thread's name](BusBuilder::thread_name).
//!
//! | event | level | fields |
//! |---|---|---|
//! | `subscribed` | debug | `id`, `label`, `filter`, `capacity` |
//! | `lagging begins` | warn | `id`, `label`, `lost` so far, `suppressed_episodes`, `suppressed_lost` |
//! | `lagging ends` | info | the same, `lost` in the whole episode |
//! | `reaped`: the subscription has ended, however it did | debug | `id`, `label`, `delivered`, `lagged` |
//! | `session bound` | debug | `connector_id`, `native_session_id`, `scroll_id` |
//!
//! An episode of lagging begins with the first batch in which a subscriber loses events, and ends with the first that finds
//! room for all, or with the subscription. Each is two lines however much is lost, and a subscriber has at most one begin
//! a second: the episodes in between are left out, and counted with what was lost in them in the `suppressed` fields of its
//! next line. So what is `lost` by the ends and what was suppressed add up to all that it lost.
//!
//! ## Metrics
//!
//! Told after each batch; on an idle bus they stay as they were after the last. What several buses of a process tell adds up;
//! one that has ended adds nothing to the gauges any more.
//!
//! | name | what it is |
//! |---|---|
//! | `sharing_bus_published_total`, `…_dispatched_total`, `…_delivered_total`, `…_lagged_total`, `…_merged_total`, `…_unmatched_total`, `…_filter_panics_total`, `…_payload_panics_total`, `…_reaped_total` | counters, as in [`BusStats`] |
//! | `sharing_bus_ingress_depth`, `sharing_bus_subscribers`, `sharing_bus_sessions` | gauges |
//! | `sharing_bus_dispatch_latency_seconds` | histogram: from the call that published an event, its wait for room included, to the end of its batch |
//! | `sharing_bus_subscriber_delivered_total`, `…_subscriber_lagged_total`, `…_subscriber_lagged_essential_total`, `…_subscriber_merged_total`, `sharing_bus_queue_depth` | four counters and a gauge for the subscribers of one label: `subscriber` is it, or `unlabelled` |
//!
//! Whoever gives each subscriber a label of its own gets a series for each.
//!
//! # Limits
//!
//! Filters, wakers and payload drops run on the dispatch thread, each behind a panic boundary; one that blocks, blocks
//! the bus. (With [`assisted_dispatch`](BusBuilder::assisted_dispatch) a publisher that finds the bus idle is the dispatch
//! thread for a batch.) A host built with `panic = "abort"` has no such boundary. The dispatch thread does not survive `fork`. For
//! one value to one consumer, use a channel; for events that must never be lost whatever the subscriber does, use a
//! queue with back-pressure.
//!
//! # Further reading
//!
//! - [The promises](docs::guarantees) in their exact words, and what they do not say.
//! - [Patterns](docs::patterns): an archiver, a request with its answer, no loss at all, a test.
//! - [Performance](docs::performance): what costs what, and what to set.
//! - [Limitations](docs::limitations), and [internals](docs::internals).
//! - [Migrating](docs::migrating) from `tokio::sync::broadcast`, from `async-broadcast`, from a bus of your own.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod builder;
mod bus;
mod delivery;
mod dispatch;
pub mod docs;
mod error;
mod event;
mod filter;
mod forward;
mod ingress;
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
pub use bus::SharingBus;
pub use delivery::Delivery;
pub use error::{BuildError, PublishError, RecvError, RecvTimeoutError, TryRecvError};
pub use event::{BusEvent, Event, EventKind, EventOrigin, EventRouting, ParseNameError, Payload, SessionChange};
pub use filter::{CustomFilter, EventFilter};
pub use forward::Forward;
pub use overflow::Overflow;
pub use receiver::{BusReceiver, Iter, Recv, TryIter};
pub use sink::{Sink, SinkError};
pub use stats::{BusStats, SubscriberStats};
pub use subscribers::id::SubscriberId;

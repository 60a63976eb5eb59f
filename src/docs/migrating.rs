//! Call-by-call tables for hosts that use another kind of bus.
//!
//! The following differences apply to all three tables. In the repository, `tests/migrating.rs` runs each row as a
//! test, beside the channel that it replaces.
//!
//! - A loss is not an error and ends nothing. A loop like `while let Ok(delivery) = receiver.recv_async().await`
//!   continues after a loss. The first delivery after the gap returns the number of missing events from
//!   [`missed`](crate::Delivery::missed). No delivery may follow the last gap, so also check
//!   [`lagged`](crate::BusReceiver::lagged) after the loop.
//! - Events pass through the dispatch thread. They are not yet in the queues when the publishing call returns. If this
//!   matters, mostly in tests, call [`flush`](crate::SharingBus::flush).
//! - Under a paused clock of tokio, a time limit around a receive elapses at once. The runtime counts as idle while the
//!   dispatch thread works. See [the remedies](super::patterns#tokios-paused-clock).
//! - A state can be copied before or after the call of `subscribe`. The subscription begins between two events either
//!   way (see [guarantee 4](super::guarantees#4-subscribers-see-later-events)). If the state is copied first, the
//!   events before the subscription are missing. If the subscription begins first, the state may already contain its
//!   first events. [A view that joins late](super::patterns#a-view-that-joins-late) shows how to skip them.
//!
//! # From `tokio::sync::broadcast`
//!
//! | tokio | sharing-bus |
//! |---|---|
//! | `broadcast::channel::<T>(n)` | `SharingBus::<E>::builder().queue_capacity(n).build()?`; each subscriber has its own queue of exactly `n`, whereas tokio rounds `n` up to a power of two |
//! | `T: Clone`, cloned for each receiver | `E: Payload`, with `impl Payload for T {}` if the host defines `T`; otherwise, wrap `T` in a type of the host. `()`, `String`, `Vec<u8>` and `u64` are payloads already. The event is shared, never cloned, so `E` must also be `Sync`; put a type that is only `Send` into a `Mutex` |
//! | `Sender::clone` | [`SharingBus::clone`](crate::SharingBus) |
//! | `tx.send(value)`, which never waits, returns the number of receivers, and fails without receivers | [`publish`](crate::SharingBus::publish) or [`publish_async`](crate::SharingBus::publish_async), which may wait for space in the ingress; [`try_publish`](crate::SharingBus::try_publish) never waits. Publishing without subscribers succeeds |
//! | `tx.subscribe()` | [`subscribe_all`](crate::SharingBus::subscribe_all), or [`subscribe_filtered`](crate::SharingBus::subscribe_filtered) with a filter. As with tokio, the receiver gets no event whose publishing call returned earlier |
//! | `rx.resubscribe()` | subscribe through a bus handle, because receivers hold none; give the filter and the capacity again |
//! | `rx.recv().await` | [`recv_async`](crate::BusReceiver::recv_async) |
//! | `Err(RecvError::Lagged(n))` | no error; `missed()` of the first delivery after the gap returns `n`, which counts matching events only. With [`DropOldest`](crate::Overflow::DropOldest), that is the next delivery. With the default rule, the queued events come first, and if no event follows the gap, only `lagged()` reports it |
//! | `Err(RecvError::Closed)` | `Err(`[`RecvError`](crate::RecvError)`)` |
//! | `rx.try_recv()`, which finds a value as soon as `send` has returned | [`try_recv`](crate::BusReceiver::try_recv), which finds an event once it has been dispatched; flush first to be certain |
//! | `rx.blocking_recv()`, which panics in a task | [`recv`](crate::BusReceiver::recv), or [`recv_timeout`](crate::BusReceiver::recv_timeout), which block the thread of a task without a panic |
//! | `BroadcastStream::new(rx)` (tokio-stream), whose items are `Result`s | the receiver is a `Stream` of deliveries |
//! | `rx.len()`, `rx.is_empty()`, which also count overwritten values | [`len`](crate::BusReceiver::len), [`is_empty`](crate::BusReceiver::is_empty), which count the queued events only |
//! | `rx.is_closed()`, true as soon as the last sender is dropped | [`is_closed`](crate::BusReceiver::is_closed), true once the bus has dispatched all accepted events; [`SharingBus::is_closed`](crate::SharingBus::is_closed) is true at once |
//! | `tx.len()`, `tx.is_empty()` | each subscriber has its own queue; [`stats`](crate::SharingBus::stats) reports the lengths of all queues and of the ingress |
//! | `tx.receiver_count()` | [`subscriber_count`](crate::SharingBus::subscriber_count), which also counts forwarded subscriptions |
//! | `tx.closed().await` (no receivers left) | none; [`stats`](crate::SharingBus::stats) lists the current subscribers |
//! | drop of the last `Sender` | drop of the last handle, or [`close`](crate::SharingBus::close); filters, sinks and payloads that hold a handle [keep the bus open](super::patterns#a-handle-inside-the-bus) |
//! | `Sender::downgrade`, `WeakSender`, `strong_count`, `weak_count` | receivers do not keep the bus open, so they need no weak handle; otherwise, put the only handle into an `Arc` and use its `Weak` |
//! | `same_channel` | none |
//!
//! A broadcast ring drops its oldest values. The bus drops the newest event by default. For the same behavior as the
//! ring, use [`Overflow::DropOldest`](crate::Overflow::DropOldest):
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, Overflow, RecvError, SharingBus};
//!
//! # futures::executor::block_on(async {
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscription().queue_capacity(2).overflow(Overflow::DropOldest).subscribe();
//! for number in 1..=3_u64 {
//!     bus.publish_async(BusEvent::new(EventRouting::default(), number)).await.unwrap();
//! }
//! bus.close();
//! bus.flush_async().await;
//!
//! // With tokio's channel: Err(Lagged(1)), Ok(2), Ok(3), Err(Closed).
//! let second = receiver.recv_async().await.unwrap();
//! assert_eq!((*second.event, second.missed()), (2, 1));
//! assert_eq!(*receiver.recv_async().await.unwrap().event, 3);
//! assert_eq!(receiver.recv_async().await.unwrap_err(), RecvError);
//! # });
//! ```
//!
//! # From `async-broadcast`
//!
//! | async-broadcast | sharing-bus |
//! |---|---|
//! | `broadcast::<T>(n)` | `SharingBus::<E>::builder().queue_capacity(n).build()?`; each subscriber has its own queue of `n` |
//! | `s.broadcast(value).await`, `broadcast_direct` | [`publish_async`](crate::SharingBus::publish_async), which waits for the ingress, not for receivers |
//! | `s.broadcast_blocking(value)` | [`publish`](crate::SharingBus::publish) |
//! | `s.try_broadcast(value)`, `TrySendError::Full` | [`try_publish`](crate::SharingBus::try_publish), [`PublishError`](crate::PublishError); a slow receiver fills only its own queue |
//! | `TrySendError::Closed`, also after the last receiver was dropped | [`PublishError::is_closed`](crate::PublishError::is_closed), only after the bus was closed; it stays open without receivers |
//! | `TrySendError::Inactive`, `set_await_active(false)` | publishing without active subscribers succeeds, and no later subscriber receives the event, except from a [history](crate#late-joiners) |
//! | waiting for the slowest receiver (the default) | [credits](super::patterns#delivery-without-loss) for the subscribers that must not lose events |
//! | `set_overflow(true)` | [`Overflow::DropOldest`](crate::Overflow::DropOldest) on each subscription |
//! | `s.new_receiver()` | [`subscribe_all`](crate::SharingBus::subscribe_all) |
//! | `r.clone()`, which continues at the same position | subscribe again; with a [history](crate#late-joiners), the new subscription can start with a backlog. The backlog holds the newest events, so skip those up to the [`sequence`](crate::Delivery::sequence) of the position |
//! | `r.recv().await`, `recv_direct`, `recv_blocking`, `try_recv` | [`recv_async`](crate::BusReceiver::recv_async), [`recv`](crate::BusReceiver::recv), [`try_recv`](crate::BusReceiver::try_recv) |
//! | `Err(RecvError::Overflowed(n))` | no error; `missed()` of the next delivery returns `n`, with [`DropOldest`](crate::Overflow::DropOldest) |
//! | the receiver as a `Stream`, which skips losses silently | the same, but each item reports the losses before it |
//! | `r.deactivate()`, `InactiveReceiver::activate` | drop the receiver, and later subscribe again; a bus handle keeps the bus open. To keep the queued events, call [`set_filter`](crate::BusReceiver::set_filter) with `EventFilter::any([])`, which matches nothing, and later restore the filter. Flush before both calls, because an event that is not yet dispatched may be matched against either filter |
//! | `set_capacity` | none; subscribe again, and skip the events that both receivers get, by their `sequence` |
//! | `r.new_sender()`, `s.sender_count()` | clone a bus handle; the bus does not report the number of handles |
//! | `is_full()` | `len() == capacity()` for one receiver, [`PublishError::is_full`](crate::PublishError::is_full) for the ingress |
//! | `close()`, `s.receiver_count()`, `r.len()` | [`close`](crate::SharingBus::close), [`subscriber_count`](crate::SharingBus::subscriber_count), [`len`](crate::BusReceiver::len) |
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventRouting, SharingBus};
//!
//! # futures::executor::block_on(async {
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscribe_all();
//! receiver.set_filter(EventFilter::any([])); // With async-broadcast: deactivate().
//! bus.publish_async(BusEvent::new(EventRouting::default(), 1_u64)).await.unwrap();
//! bus.flush_async().await; // Otherwise, the first event may be matched against the second filter.
//! receiver.set_filter(EventFilter::All); // With async-broadcast: activate().
//! bus.publish_async(BusEvent::new(EventRouting::default(), 2_u64)).await.unwrap();
//! assert_eq!(*receiver.recv_async().await.unwrap().event, 2);
//! # });
//! ```
//!
//! # From a custom tokio bus
//!
//! Many hosts contain a custom bus of the following design. A `broadcast` channel feeds a worker task. For each event,
//! the worker evaluates a list of filters, and sends a clone of the event into the `mpsc` channel of each matching
//! subscriber. The method names of sharing-bus are similar, so most of the migration changes types.
//!
//! | custom bus | sharing-bus |
//! |---|---|
//! | `String` ids in an event, cloned for each delivery | `Arc<str>`; events are shared |
//! | `publish`: a cache lookup and a `broadcast` send | [`publish_async`](crate::SharingBus::publish_async) in tasks, [`publish`](crate::SharingBus::publish) in threads |
//! | `Lagged` in the worker: all subscribers lose events, and no counter counts them | the ingress loses no event: a publisher waits, or [`try_publish`](crate::SharingBus::try_publish) returns the event |
//! | binding in `publish`, which may overtake the registration | binding in [the order of dispatch](crate#late-binding) |
//! | a worker task, which needs the runtime and ends when a filter panics | a dedicated thread; panics are contained |
//! | a list of filters, each evaluated for every event | an index; custom functions still work |
//! | `subscribe_all()`, `subscribe_filtered(filter, n)`, an `mpsc::Receiver` | [`subscribe_all`](crate::SharingBus::subscribe_all), [`subscribe_filtered`](crate::SharingBus::subscribe_filtered), a [`BusReceiver`](crate::BusReceiver) |
//! | `rx.recv().await`, an `Option` | [`recv_async`](crate::BusReceiver::recv_async), a `Result`; as a `Stream`, an `Option` |
//! | a subscriber that needs an `mpsc::Receiver` | [`forward_to`](crate::SubscriptionBuilder::forward_to) a sender of `Delivery<E>`, with the feature `tokio`. If the subscriber needs a sender of `E`, implement [`Sink`](crate::Sink) [as below](#a-channel-of-plain-events). A full channel loses events, as before |
//! | a `lagged` counter | [`lagged`](crate::BusReceiver::lagged), and [`missed`](crate::Delivery::missed) for the position of each loss |
//! | a log line for each dropped event | none; read [`stats`](crate::SharingBus::stats) or `missed` |
//! | a closed queue, removed after a failed send | removed soon after its receiver is dropped, without an event |
//! | a `HashMap` of sessions that only grows | [bounded](crate::BusBuilder::session_capacity); a session end removes its entry; [`scroll_id`](crate::SharingBus::scroll_id) reads it |
//! | sessions loaded from disk into the map | [`bind_session`](crate::SharingBus::bind_session) |
//! | no shutdown: the worker ends with the runtime | [`close`](crate::SharingBus::close) drains the bus, [`shutdown`](crate::SharingBus::shutdown) waits |
//! | `sleep` in tests | [`flush`](crate::SharingBus::flush) |
//!
//! A migration has five steps:
//!
//! 1. Implement [`Payload`](crate::Payload) for the event type, and return a session change for the values that
//!    register or end a session.
//! 2. Build the events with [`EventRouting`](crate::EventRouting).
//! 3. Replace the subscribing calls, and then the publishing calls.
//! 4. Delete the worker and the cache.
//! 5. End the host with a shutdown.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, Payload, SessionChange, SharingBus};
//! use uuid::Uuid;
//!
//! /// The unchanged event type of the host.
//! enum AgentEvent {
//!     SessionRegistered { connector_id: String, session_id: String, scroll_id: String },
//!     Output(String),
//! }
//!
//! impl Payload for AgentEvent {
//!     fn session_change(&self) -> Option<SessionChange<'_>> {
//!         match self {
//!             AgentEvent::SessionRegistered { connector_id, session_id, scroll_id } => {
//!                 Some(SessionChange::Registered { connector_id, session_id, scroll_id })
//!             }
//!             AgentEvent::Output(_) => None,
//!         }
//!     }
//! }
//!
//! # futures::executor::block_on(async {
//! let bus = SharingBus::new();
//! let scroll = Uuid::from_u128(7);
//! let mut view = bus.subscribe_filtered(EventFilter::ScrollId(scroll), 256);
//! let registered = AgentEvent::SessionRegistered {
//!     connector_id: "claude".into(),
//!     session_id: "77".into(),
//!     scroll_id: scroll.to_string(),
//! };
//! for (kind, event) in [
//!     (EventKind::SessionLifecycle, registered),
//!     (EventKind::Output, AgentEvent::Output("hello".into())),
//! ] {
//!     bus.publish_async(BusEvent::new(EventRouting::session("claude", "77", kind), event)).await.unwrap();
//! }
//! bus.close();
//! bus.flush_async().await;
//!
//! assert_eq!(view.recv_async().await.unwrap().routing.kind, EventKind::SessionLifecycle);
//! let output = view.recv_async().await.unwrap();
//! assert!(matches!(&*output.event, AgentEvent::Output(text) if text == "hello"));
//! # });
//! ```
//!
//! ## A channel of plain events
//!
//! A forwarded subscription delivers [`Delivery<E>`](crate::Delivery), because a delivery also reports losses. Code
//! that receives plain events from a channel needs a sink that unpacks each delivery. The event itself is shared, so
//! the sink sends its `Arc`, or a clone.
//!
//! ```
//! use sharing_bus::{BusEvent, Delivery, EventRouting, SharingBus, Sink, SinkError};
//! use std::sync::Arc;
//! use tokio::sync::mpsc;
//! use tokio::sync::mpsc::error::TrySendError;
//!
//! struct Events(mpsc::Sender<Arc<String>>);
//!
//! impl Sink<String> for Events {
//!     fn try_send(&mut self, delivery: Delivery<String>) -> Result<(), SinkError<String>> {
//!         self.0.try_send(Arc::clone(&delivery.event)).map_err(|error| match error {
//!             TrySendError::Full(_) => SinkError::Full(delivery),
//!             TrySendError::Closed(_) => SinkError::Closed(delivery),
//!         })
//!     }
//! }
//!
//! # futures::executor::block_on(async {
//! let bus = SharingBus::new();
//! let (sender, mut events) = mpsc::channel(256);
//! let forward = bus.subscription().forward_to(Events(sender));
//! bus.publish_async(BusEvent::new(EventRouting::default(), "hello".to_owned())).await.unwrap();
//! assert_eq!(*events.recv().await.unwrap(), "hello");
//! assert_eq!(forward.lagged(), 0); // The losses, which the plain events do not report.
//! # });
//! ```

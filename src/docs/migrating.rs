//! Call by call from other ways of doing it.
//!
//! In all three: a loss is no error and no end here. `while let Ok(delivery) = receiver.recv_async().await` goes on,
//! and [`missed`](crate::Delivery::missed) says what is not there. And what is published passes through the dispatch
//! thread, so it is in the queues soon, not as the call returns; where that matters (in tests, mostly),
//! [`flush`](crate::SharingBus::flush).
//!
//! # From `tokio::sync::broadcast`
//!
//! | there | here |
//! |---|---|
//! | `broadcast::channel::<T>(n)` | `SharingBus::<E>::builder().queue_capacity(n).build()?`; each subscriber has its own `n` |
//! | `T: Clone`, cloned for each receiver | `E: Payload`, `impl Payload for T {}`; shared, never cloned |
//! | `Sender::clone` | [`SharingBus::clone`](crate::SharingBus) |
//! | `tx.send(value)`, an error with no receivers | [`publish`](crate::SharingBus::publish) or [`publish_async`](crate::SharingBus::publish_async), which may wait for room in the ingress; [`try_publish`](crate::SharingBus::try_publish), which never waits. Nobody subscribing is success |
//! | `tx.subscribe()` | [`subscribe_all`](crate::SharingBus::subscribe_all), or with a filter [`subscribe_filtered`](crate::SharingBus::subscribe_filtered) |
//! | `rx.resubscribe()` | subscribe at the bus; receivers hold no handle on it |
//! | `rx.recv().await` | [`recv_async`](crate::BusReceiver::recv_async) |
//! | `Err(RecvError::Lagged(n))` | no error; `n` is the next delivery's `missed()`, of what matched alone |
//! | `Err(RecvError::Closed)` | `Err(`[`RecvError`](crate::RecvError)`)` |
//! | `rx.try_recv()` | [`try_recv`](crate::BusReceiver::try_recv) |
//! | `rx.blocking_recv()` | [`recv`](crate::BusReceiver::recv), also [with a time limit](crate::BusReceiver::recv_timeout) |
//! | `BroadcastStream::new(rx)` (tokio-stream) | the receiver is a `Stream` |
//! | `rx.len()`, `rx.is_empty()`, `rx.is_closed()` | [`len`](crate::BusReceiver::len), [`is_empty`](crate::BusReceiver::is_empty), [`is_closed`](crate::BusReceiver::is_closed) |
//! | `tx.len()`, `tx.is_empty()` | each queue has its own; [`stats`](crate::SharingBus::stats) tells all of them, and what is in the ingress |
//! | `tx.receiver_count()` | [`subscriber_count`](crate::SharingBus::subscriber_count) |
//! | `tx.closed().await` (no receivers left) | none; [`stats`](crate::SharingBus::stats) tells who is there |
//! | drop of the last `Sender` | drop of the last handle, or [`close`](crate::SharingBus::close) |
//! | `Sender::downgrade`, `WeakSender`, `strong_count`, `weak_count` | not needed for receivers, which keep no bus open; for others, an `Arc` of yours around a handle, and its `Weak` |
//! | `same_channel` | none |
//!
//! A ring of broadcast's drops its oldest values. The default here drops the newest; for the same, ask for
//! [`Overflow::DropOldest`](crate::Overflow::DropOldest):
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
//! // There: Err(Lagged(1)), Ok(2), Ok(3), Err(Closed).
//! let second = receiver.recv_async().await.unwrap();
//! assert_eq!((*second.event, second.missed()), (2, 1));
//! assert_eq!(*receiver.recv_async().await.unwrap().event, 3);
//! assert_eq!(receiver.recv_async().await.unwrap_err(), RecvError);
//! # });
//! ```
//!
//! # From `async-broadcast`
//!
//! | there | here |
//! |---|---|
//! | `broadcast::<T>(n)` | `SharingBus::<E>::builder().queue_capacity(n).build()?`; each subscriber has its own `n` |
//! | `s.broadcast(value).await`, `broadcast_direct` | [`publish_async`](crate::SharingBus::publish_async): waits for the ingress, not for receivers |
//! | `s.broadcast_blocking(value)` | [`publish`](crate::SharingBus::publish) |
//! | `s.try_broadcast(value)`, `TrySendError::Full`, `Closed` | [`try_publish`](crate::SharingBus::try_publish), [`PublishError`](crate::PublishError); a slow receiver makes nothing full but its own queue |
//! | `TrySendError::Inactive`, `set_await_active(false)` | nobody subscribing is success |
//! | waiting for the slowest receiver (the default) | [credits](super::patterns#no-loss-at-all-back-pressure) for those who must lose nothing |
//! | `set_overflow(true)` | [`Overflow::DropOldest`](crate::Overflow::DropOldest), for each subscription |
//! | `s.new_receiver()` | [`subscribe_all`](crate::SharingBus::subscribe_all) |
//! | `r.clone()`, which goes on where the other is | subscribe anew; with a [history](crate#late-joiners), a backlog comes along |
//! | `r.recv().await`, `recv_direct`, `recv_blocking`, `try_recv` | [`recv_async`](crate::BusReceiver::recv_async), [`recv`](crate::BusReceiver::recv), [`try_recv`](crate::BusReceiver::try_recv) |
//! | `Err(RecvError::Overflowed(n))` | no error; `n` is the next delivery's `missed()` |
//! | the receiver as a `Stream` | the same |
//! | `r.deactivate()`, `InactiveReceiver::activate` | a handle on the bus keeps it open; or [`set_filter`](crate::BusReceiver::set_filter) with `EventFilter::any([])`, which matches nothing, and back |
//! | `set_capacity` | none; subscribe anew |
//! | `r.new_sender()`, `s.sender_count()` | handles of the bus come from handles, and are not counted |
//! | `is_full()` | nothing is full for all; `len() == capacity()` for one receiver, [`PublishError::is_full`](crate::PublishError::is_full) for the ingress |
//! | `close()`, `receiver_count()`, `len()` | [`close`](crate::SharingBus::close), [`subscriber_count`](crate::SharingBus::subscriber_count), [`len`](crate::BusReceiver::len) |
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventRouting, SharingBus};
//!
//! # futures::executor::block_on(async {
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscribe_all();
//! receiver.set_filter(EventFilter::any([])); // There: deactivate().
//! bus.publish_async(BusEvent::new(EventRouting::default(), 1_u64)).await.unwrap();
//! bus.flush_async().await;
//! receiver.set_filter(EventFilter::All); // There: activate().
//! bus.publish_async(BusEvent::new(EventRouting::default(), 2_u64)).await.unwrap();
//! assert_eq!(*receiver.recv_async().await.unwrap().event, 2);
//! # });
//! ```
//!
//! # From a tokio bus of your own
//!
//! That is: a `broadcast` channel into a worker task, which matches a list of filters and sends a clone of the event
//! into an `mpsc` channel for each subscriber. Many hosts have written one. Names are alike, so most of a migration is
//! types.
//!
//! | there | here |
//! |---|---|
//! | `String` ids in an event, cloned for every delivery | `Arc<str>`; an event is shared |
//! | `publish`: a look-up in the cache, a `broadcast` send | [`publish_async`](crate::SharingBus::publish_async) in tasks, [`publish`](crate::SharingBus::publish) in threads |
//! | `Lagged` in the worker: events that everybody loses and nobody counts | the ingress loses none: who publishes waits, or has it back from [`try_publish`](crate::SharingBus::try_publish) |
//! | binding in `publish`, which may overtake the registration | binding in [the order of dispatch](crate#late-binding) |
//! | a worker task, which needs the runtime, and ends with a panic of a filter | a thread of the bus's own; panics are contained |
//! | a list of filters, each asked for every event | an index; functions still work |
//! | `subscribe_all()`, `subscribe_filtered(filter, n)`, an `mpsc::Receiver` | [the](crate::SharingBus::subscribe_all) [same](crate::SharingBus::subscribe_filtered), a [`BusReceiver`](crate::BusReceiver) |
//! | `rx.recv().await`, an `Option` | [`recv_async`](crate::BusReceiver::recv_async), a `Result`; as a `Stream`, an `Option` |
//! | a subscriber that needs an `mpsc::Receiver` | [`forward_to`](crate::SubscriptionBuilder::forward_to) its sender, with the feature `tokio` |
//! | a `lagged` counter | [`lagged`](crate::BusReceiver::lagged), and where it happened: [`missed`](crate::Delivery::missed) |
//! | a log line for each dropped event | none; look at [`stats`](crate::SharingBus::stats), or at `missed` |
//! | a closed queue, removed once a send into it fails | removed when its receiver is dropped |
//! | a `HashMap` of sessions that only grows | [bounded](crate::BusBuilder::session_capacity), and forgotten with their end; [`scroll_id`](crate::SharingBus::scroll_id) reads it |
//! | sessions loaded from disk into the map | [`bind_session`](crate::SharingBus::bind_session) |
//! | no end: the worker goes with the runtime | [`close`](crate::SharingBus::close) drains, [`shutdown`](crate::SharingBus::shutdown) waits |
//! | `sleep` in tests | [`flush`](crate::SharingBus::flush) |
//!
//! In steps: make your event a payload and say which of its values register a session ([`Payload`](crate::Payload));
//! build events through [`EventRouting`](crate::EventRouting); replace the subscribing calls and then the publishing
//! ones; delete the worker and the cache; end with a shutdown.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, Payload, SessionChange, SharingBus};
//! use uuid::Uuid;
//!
//! /// The host's own type, as it was.
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

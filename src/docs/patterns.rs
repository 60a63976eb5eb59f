//! Common tasks of a host, each with a complete example.
//!
//! The repository also contains complete hosts of about one page each: `examples/sync_host.rs`,
//! `examples/tokio_host.rs` and `examples/smol_host.rs`. The hosts `examples/mux` and `examples/live-view` are larger.
//!
//! # An archiver
//!
//! An archiver records all events in order and writes them in batches. It uses a large queue,
//! [`recv_many`](crate::BusReceiver::recv_many), and the default overflow rule, which keeps the oldest events. The
//! archive marks each gap at its position.
//!
//! A delivery reports the gap before it, so no delivery reports a gap at the very end. After the last delivery, the
//! archiver compares [`lagged`](crate::BusReceiver::lagged) with the sum of all [`missed`](crate::Delivery::missed),
//! and marks the difference. Without this step, an archive that lost its last events looks complete.
//!
//! ```
//! use sharing_bus::{BusEvent, BusReceiver, EventRouting, SharingBus};
//! use std::io::{self, Write};
//! use std::thread;
//!
//! fn archive(mut events: BusReceiver<u64>, mut file: impl Write) -> io::Result<u64> {
//!     let mut batch = Vec::new();
//!     let mut marked = 0;
//!     while events.recv_many(&mut batch, 256) > 0 {
//!         for delivery in batch.drain(..) {
//!             mark_gap(&mut file, delivery.missed())?;
//!             marked += delivery.missed();
//!             writeln!(file, "{}", delivery.event)?;
//!         }
//!         file.flush()?; // Once per batch.
//!     }
//!     mark_gap(&mut file, events.lagged() - marked)?; // The gap at the end.
//!     file.flush()?;
//!     Ok(events.lagged())
//! }
//!
//! fn mark_gap(file: &mut impl Write, missing: u64) -> io::Result<()> {
//!     if missing == 0 { Ok(()) } else { writeln!(file, "-- {missing} missing --") }
//! }
//!
//! let bus = SharingBus::new();
//! let events = bus.subscription().queue_capacity(65_536).label("archive").subscribe();
//! let archiver = thread::spawn(move || archive(events, Vec::new()));
//! // An archiver that is too slow, with a queue that is too small.
//! let late = bus.subscription().queue_capacity(2).subscribe();
//! for number in 1..=1000 {
//!     bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(archiver.join().unwrap()?, 0);
//!
//! let mut file = Vec::new();
//! assert_eq!(archive(late, &mut file)?, 998);
//! assert_eq!(String::from_utf8_lossy(&file), "1\n2\n-- 998 missing --\n");
//! # Ok::<(), io::Error>(())
//! ```
//!
//! # A view of one session
//!
//! A view filters by the scroll of its session. Events of other sessions cost such a view nothing, however many views
//! there are. The view shows the present state, so its queue may drop the oldest events. To show another session,
//! replace the filter. To close the view, drop its receiver.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventRouting, Overflow, SharingBus};
//! use uuid::Uuid;
//!
//! let bus = SharingBus::new();
//! let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
//! let publish = |scroll, text: &str| {
//!     let routing = EventRouting { scroll_id: Some(scroll), ..Default::default() };
//!     bus.publish(BusEvent::new(routing, text.to_owned())).unwrap();
//! };
//!
//! let mut view = bus
//!     .subscription()
//!     .filter(EventFilter::ScrollId(first))
//!     .queue_capacity(128)
//!     .overflow(Overflow::DropOldest)
//!     .subscribe();
//! publish(first, "one");
//! publish(second, "two");
//! bus.flush();
//!
//! view.set_filter(EventFilter::ScrollId(second));
//! publish(second, "three");
//! bus.flush();
//! assert_eq!(view.try_iter().map(|delivery| delivery.event.to_string()).collect::<Vec<_>>(), ["one", "three"]);
//! ```
//!
//! # A request and its answer
//!
//! The answer is an ordinary event of a session whose name only the requester uses. The requester subscribes before it
//! sends the request, so it cannot miss the answer. The filter is an equality, so a thousand requesters cost no more
//! than one. A time limit ends the wait if no answer arrives.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, Payload, SharingBus};
//! use std::thread;
//! use std::time::Duration;
//!
//! enum Call {
//!     Square { of: u64, reply_to: String },
//!     Answer(u64),
//! }
//! impl Payload for Call {}
//!
//! fn ask(bus: &SharingBus<Call>, of: u64, name: &str) -> Option<u64> {
//!     let answers = EventFilter::Session { connector_id: "answers".into(), native_session_id: name.into() };
//!     let mut answer = bus.subscribe_filtered(answers, 1);
//!     let routing = EventRouting { kind: EventKind::Tool, ..Default::default() };
//!     bus.publish(BusEvent::new(routing, Call::Square { of, reply_to: name.to_owned() })).ok()?;
//!     match *answer.recv_timeout(Duration::from_secs(60)).ok()?.event {
//!         Call::Answer(number) => Some(number),
//!         Call::Square { .. } => None,
//!     }
//! }
//!
//! let bus = SharingBus::new();
//! let mut requests = bus.subscribe_filtered(EventFilter::Kind(EventKind::Tool), 64);
//! let server = thread::spawn({
//!     let bus = bus.clone();
//!     move || {
//!         while let Ok(request) = requests.recv() {
//!             if let Call::Square { of, reply_to } = &*request.event {
//!                 let routing = EventRouting::session("answers", reply_to.as_str(), EventKind::Message);
//!                 let _ = bus.publish(BusEvent::new(routing, Call::Answer(of * of)));
//!             }
//!         }
//!     }
//! });
//! assert_eq!(ask(&bus, 12, "request-1"), Some(144));
//! bus.shutdown();
//! server.join().unwrap();
//! ```
//!
//! # Delivery without loss
//!
//! By design, a full queue loses events, and no publisher waits for a subscriber. To make a publisher wait, let it take
//! a *credit* before it publishes. There is one credit for each place in the queue. The consumer returns a credit for
//! each event that it has received, so the queue never overflows. With several lossless consumers, take a credit from
//! each of them. In async code, use a semaphore of the runtime instead of a channel.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventRouting, SharingBus};
//! use std::thread;
//!
//! const PLACES: usize = 16;
//! let bus = SharingBus::new();
//! let mut events = bus.subscribe_filtered(EventFilter::All, PLACES);
//! let (give, credits) = crossbeam_channel::bounded(PLACES);
//! for _ in 0..PLACES {
//!     give.send(()).unwrap();
//! }
//!
//! let consumer = thread::spawn(move || {
//!     let mut sum = 0;
//!     while let Ok(delivery) = events.recv() {
//!         sum += *delivery.event;
//!         let _ = give.send(()); // The place of the received event is free.
//!     }
//!     (sum, events.lagged())
//! });
//! for number in 1..=1000_u64 {
//!     credits.recv().unwrap();
//!     bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(consumer.join().unwrap(), (500_500, 0));
//! ```
//!
//! A credit covers only the events for which publishers take it. Give such a subscription a filter that matches no
//! other events. There are two alternatives:
//!
//! - [`Overflow::Disconnect`](crate::Overflow::Disconnect) suits a subscriber that restarts from a
//!   [backlog](crate#late-joiners) or an archive after a loss.
//! - [`forward_to`](crate::SubscriptionBuilder::forward_to) an unbounded channel loses no event and delays no
//!   publisher. Only memory limits the channel.
//!
//! # A handle inside the bus
//!
//! A handle keeps the bus open. This includes a handle that the bus itself owns: in a custom filter, a
//! [`Sink`](crate::Sink), a merge function, or the payload of an event in a queue or in the
//! [history](crate::BusBuilder::history). The bus and such a handle keep each other alive. If the host then drops its
//! own handles, the bus does not close, its thread does not end, and its receivers wait forever.
//!
//! There are three remedies:
//!
//! - Give the code a [`Weak`](std::sync::Weak) reference. The host puts its handle into an `Arc`, and the code upgrades
//!   the reference for each use. After the host has dropped the `Arc`, no upgrade succeeds. There must be no other
//!   handle, so share the `Arc` instead of clones of the handle.
//! - Call [`close`](crate::SharingBus::close) or [`shutdown`](crate::SharingBus::shutdown) explicitly. A closed bus
//!   ends with all handles still alive, and drops the filters, the sinks and the history.
//! - Give the code the sender of a channel instead. A thread of the host receives from the channel and publishes.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventKind, EventRouting, SharingBus};
//! use std::sync::Arc;
//!
//! let bus = Arc::new(SharingBus::new());
//! let weak = Arc::downgrade(&bus);
//! // Publishes an alarm for each large number. Filters run on the dispatch thread, where publishing never waits.
//! let alarm = EventFilter::custom(move |event: &BusEvent<u64>| {
//!     if let (true, Some(bus)) = (*event.event > 100, weak.upgrade()) {
//!         let routing = EventRouting { kind: EventKind::Error, ..Default::default() };
//!         let _ = bus.try_publish(BusEvent::new(routing, 0));
//!     }
//!     false
//! });
//! let _alarm = bus.subscribe_filtered(alarm, 1);
//! let mut errors = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8);
//! bus.publish(BusEvent::new(EventRouting::default(), 101)).unwrap();
//! assert_eq!(*errors.recv().unwrap().event, 0);
//!
//! drop(bus); // Closes the bus, because the filter holds no handle.
//! assert!(errors.recv().is_err());
//! ```
//!
//! # Shutting down a host
//!
//! Shut down in the order in which events flow: publishers, bus, subscribers. First stop the publishers and join them.
//! Then call [`shutdown`](crate::SharingBus::shutdown), or in a task [`close`](crate::SharingBus::close) followed by
//! [`flush_async`](crate::SharingBus::flush_async). Finally join the subscribers, which drain their queues and then see
//! the end of the bus. Remaining bus handles do no harm: publishing through them returns
//! [`Closed`](crate::PublishError::Closed).
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::thread;
//!
//! let bus = SharingBus::new();
//! let mut events = bus.subscription().queue_capacity(1 << 20).subscribe();
//! let stop = AtomicBool::new(false);
//! thread::scope(|scope| {
//!     let subscriber = scope.spawn(|| events.iter().count() as u64);
//!     let publisher = scope.spawn(|| {
//!         let mut published = 0;
//!         while !stop.load(Ordering::Relaxed) && published < 1 << 20 {
//!             bus.publish(BusEvent::new(EventRouting::default(), published)).unwrap();
//!             published += 1;
//!         }
//!         published
//!     });
//!
//!     stop.store(true, Ordering::Relaxed);
//!     let published = publisher.join().unwrap();
//!     bus.shutdown();
//!     assert_eq!(subscriber.join().unwrap(), published);
//! });
//! ```
//!
//! # Testing code that uses the bus
//!
//! A test subscribes, runs the code, calls [`flush`](crate::SharingBus::flush), and checks the result. After a flush,
//! every earlier event is in the queues and in the counts. A test therefore needs no sleep and no time limit, and it
//! can assert that no event arrived. [`matches`](crate::EventFilter::matches) tests a filter without a bus.
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus, TryRecvError};
//!
//! /// The code under test: reports the exit code of a failed command.
//! fn report(bus: &SharingBus, code: i32) {
//!     if code != 0 {
//!         let routing = EventRouting { kind: EventKind::Error, ..Default::default() };
//!         let _ = bus.publish(BusEvent::new(routing, Event::Text { text: format!("exit code {code}") }));
//!     }
//! }
//!
//! let bus = SharingBus::new();
//! let mut errors = bus.subscribe_filtered(EventFilter::Kind(EventKind::Error), 8);
//! report(&bus, 0);
//! bus.flush();
//! assert_eq!(errors.try_recv().unwrap_err(), TryRecvError::Empty);
//!
//! report(&bus, 3);
//! bus.flush();
//! assert_eq!(*errors.try_recv().unwrap().event, Event::Text { text: "exit code 3".into() });
//! assert_eq!(bus.stats().published, 1);
//! ```
//!
//! ## Tokio's paused clock
//!
//! Under a paused clock (`start_paused = true`), tokio advances the time to the next timer as soon as the runtime has
//! nothing to do. The work of the dispatch thread is invisible to the runtime, so the runtime counts as idle while an
//! event is on its way. A limit such as `timeout(Duration::from_secs(2), receiver.recv_async())` then elapses at once.
//! The same holds for a limit around `flush_async` and around `publish_async` on a full ingress. The canceled call
//! loses nothing. These remedies work:
//!
//! - Call the blocking [`flush`](crate::SharingBus::flush) between the publish and the receive. A blocked runtime does
//!   not advance its clock, and after the flush the receive finds its event at once. This is the simplest remedy.
//! - Await [`flush_async`](crate::SharingBus::flush_async) outside any time limit. Other timers of the runtime may
//!   elapse during the flush.
//! - Keep the clock from advancing during a part of the test. A running `spawn_blocking` task has this effect, for
//!   example one that waits until the test drops a sender. The test then moves the time with `tokio::time::advance`.
//! - Call `tokio::time::resume`. Later limits measure real time.
//!
//! A receive without any time limit needs no remedy, unless another timer ends the test.
//! [`recv_timeout`](crate::BusReceiver::recv_timeout) measures real time and ignores the paused clock.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//! use std::time::Duration;
//! use tokio::time::timeout;
//!
//! let bus = SharingBus::new();
//! let mut receiver = bus.subscribe_all();
//! bus.publish_async(BusEvent::new(EventRouting::default(), 7_u64)).await.unwrap();
//! bus.flush(); // Without this call, the time limit may elapse at once.
//! let delivery = timeout(Duration::from_secs(2), receiver.recv_async()).await.unwrap();
//! assert_eq!(*delivery.unwrap().event, 7);
//! # });
//! ```
//!
//! # A view that joins late
//!
//! If the most recent events are enough, request a [backlog](crate#late-joiners). With
//! [`history_per_scroll`](crate::BusBuilder::history_per_scroll), busy sessions do not displace the events of quiet
//! ones.
//!
//! If the present state is the sum of all events, a keeper must maintain that state and the sequence of the last event
//! in it. A new view first subscribes, then copies the state, and then skips the events that the state already
//! contains. In the other order, the events between the copy and the subscription are missing. That order suits a view
//! which tolerates a gap, or a host that publishes nothing in between.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//! use std::sync::Mutex;
//!
//! let bus = SharingBus::new();
//! let publish = |number: u64| bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! // The state of the keeper: the sequence of the last event, and the sum of all events.
//! let mut keeper = bus.subscribe_all();
//! let kept = Mutex::new((0, 0));
//! let mut keep = || keeper.try_iter().for_each(|delivery| {
//!     let mut kept = kept.lock().unwrap();
//!     *kept = (delivery.sequence(), kept.1 + *delivery.event);
//! });
//!
//! publish(1);
//! publish(2);
//! let mut view = bus.subscribe_all();
//! publish(3);
//! bus.flush();
//! keep();
//! let (last, mut sum) = *kept.lock().unwrap();
//! publish(4);
//! bus.flush();
//! for delivery in view.try_iter().filter(|delivery| delivery.sequence() > last) {
//!     sum += *delivery.event;
//! }
//! assert_eq!(sum, 10);
//! ```
//!
//! # Forwarding to a channel of the host
//!
//! A thread that waits for several sources needs one channel for all of them.
//! [`forward_to`](crate::SubscriptionBuilder::forward_to) accepts the sender of a channel of deliveries. If the channel
//! carries a message type of the host, wrap the sender and convert each delivery.
//!
//! ```
//! use crossbeam_channel::{Sender, TrySendError, bounded};
//! use sharing_bus::{BusEvent, Delivery, Event, EventRouting, SharingBus, Sink, SinkError};
//!
//! enum Message {
//!     Bus(Delivery),
//!     Key(char),
//! }
//!
//! struct ToMain(Sender<Message>);
//!
//! impl Sink<Event> for ToMain {
//!     fn try_send(&mut self, delivery: Delivery) -> Result<(), SinkError> {
//!         match self.0.try_send(Message::Bus(delivery)) {
//!             Err(TrySendError::Full(Message::Bus(delivery))) => Err(SinkError::Full(delivery)),
//!             Err(TrySendError::Disconnected(Message::Bus(delivery))) => Err(SinkError::Closed(delivery)),
//!             _ => Ok(()),
//!         }
//!     }
//! }
//!
//! let bus = SharingBus::new();
//! let (keyboard, messages) = bounded(64);
//! bus.subscription().forward_to(ToMain(keyboard.clone()));
//! bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
//! bus.flush();
//! keyboard.send(Message::Key('q')).unwrap();
//!
//! let kinds: Vec<_> = messages.try_iter().map(|message| match message {
//!     Message::Bus(delivery) => format!("{:?}", delivery.event),
//!     Message::Key(key) => key.to_string(),
//! }).collect();
//! assert_eq!(kinds, ["Connected", "q"]);
//! ```
//!
//! # Losing less important events first
//!
//! A view that misses a token delta shows a gap. A view that misses the end of an answer shows a spinner forever. Name
//! the events that should be lost last, and [reserve](crate::SubscriptionBuilder::essential) places for the largest
//! number of them that may arrive at once. A reserve is capacity, not a guarantee: if more of these events arrive while
//! the view is stuck, they are lost too. Check [`lagged_essential`](crate::BusReceiver::lagged_essential): while it
//! returns 0, the state of the view is valid. Otherwise, the view should reload its state. If no event may be lost, use
//! [credits](#delivery-without-loss).
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let lifecycle = [EventKind::SessionLifecycle, EventKind::Error].map(EventFilter::Kind);
//! let mut view = bus
//!     .subscription()
//!     .queue_capacity(64)
//!     .essential(EventFilter::any(lifecycle), 16)
//!     .subscribe();
//!
//! let publish = |kind| {
//!     let routing = EventRouting::session("claude", "1", kind);
//!     bus.publish(BusEvent::new(routing, Event::Connected)).unwrap();
//! };
//! (0..1000).for_each(|_| publish(EventKind::Output));
//! publish(EventKind::Error);
//! bus.flush();
//!
//! let errors = view.try_iter().filter(|delivery| delivery.routing.kind == EventKind::Error).count();
//! assert_eq!((errors, view.lagged(), view.lagged_essential()), (1, 952, 0));
//! ```
//!
//! # Only the latest event of each session
//!
//! A dashboard shows the present state of each session, and earlier states only if time permits.
//! [`Overflow::Conflate`](crate::Overflow::Conflate) keeps the newest event of each scroll while the dashboard is
//! behind. If an event is only a part of the state (a delta),
//! [`conflate_with`](crate::SubscriptionBuilder::conflate_with) merges the parts. If the pending event must stay
//! separate, such as a completion, the merge function returns `None`, and the newer event is lost.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, Payload, SharingBus};
//! use uuid::Uuid;
//!
//! enum Piece {
//!     Delta(String),
//!     Done,
//! }
//! impl Payload for Piece {}
//!
//! let bus = SharingBus::new();
//! let mut dashboard = bus
//!     .subscription()
//!     .queue_capacity(2)
//!     .conflate_with(|waiting: &BusEvent<Piece>, newer| match (&*waiting.event, &*newer.event) {
//!         (Piece::Delta(so_far), Piece::Delta(text)) => {
//!             Some(BusEvent::new(newer.routing.clone(), Piece::Delta(format!("{so_far}{text}"))))
//!         }
//!         (Piece::Delta(_), Piece::Done) => Some(newer),
//!         (Piece::Done, _) => None,
//!     })
//!     .subscribe();
//!
//! let publish = |session, piece| {
//!     let scroll_id = Some(Uuid::from_u128(session));
//!     bus.publish(BusEvent::new(EventRouting { scroll_id, ..EventRouting::default() }, piece)).unwrap();
//! };
//! publish(1, Piece::Delta("a".into()));
//! publish(1, Piece::Delta("b".into()));
//! publish(2, Piece::Delta("x".into()));
//! publish(2, Piece::Done);
//! publish(1, Piece::Delta("c".into()));
//! publish(1, Piece::Delta("d".into()));
//! bus.shutdown();
//!
//! let shown: Vec<_> = dashboard.iter().map(|delivery| match &*delivery.event {
//!     Piece::Delta(text) => (text.clone(), delivery.merged()),
//!     Piece::Done => ("done".into(), delivery.merged()),
//! }).collect();
//! assert_eq!(shown, [("a".into(), 0), ("b".into(), 0), ("done".into(), 1), ("cd".into(), 1)]);
//! ```
//!
//! # Expensive payloads
//!
//! A screen dump or a serialized state is worth creating only if some subscriber receives it.
//! [`publish_with`](crate::SharingBus::publish_with) checks this first.
//! [`is_interested`](crate::SharingBus::is_interested) is the check alone. Use it in a task that publishes with
//! [`publish_async`](crate::SharingBus::publish_async), or to create several events from one state. Publish events that
//! register or end a session unconditionally, or with the kind
//! [`EventKind::SessionLifecycle`](crate::EventKind::SessionLifecycle).
//!
//! ```
//! use sharing_bus::{Event, EventFilter, EventKind, EventOrigin, EventRouting, SharingBus};
//! use std::cell::Cell;
//!
//! let bus = SharingBus::new();
//! let made = Cell::new(0);
//! let publish_screen = || {
//!     let routing = EventRouting::session("terminal", "1", EventKind::Output);
//!     bus.publish_with(routing, EventOrigin::Connector, || {
//!         made.set(made.get() + 1);
//!         Event::Text { text: "a whole screen".into() }
//!     })
//! };
//!
//! assert!(!publish_screen()?);
//! let mut view = bus.subscribe_filtered(EventFilter::ConnectorId("terminal".into()), 8);
//! assert!(publish_screen()?);
//! assert_eq!((made.get(), view.recv().unwrap().missed()), (1, 0));
//! # Ok::<(), sharing_bus::PublishError>(())
//! ```

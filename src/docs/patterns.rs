//! What hosts build on the bus, each as a piece of code that runs.
//!
//! Whole hosts, a page each: `examples/sync_host.rs`, `examples/tokio_host.rs` and `examples/smol_host.rs`; a larger
//! one is `examples/mux`.
//!
//! # An archiver
//!
//! It wants everything, in order, and writes in pieces. So: a large queue,
//! [`recv_many`](crate::BusReceiver::recv_many), and the default overflow rule, which keeps how things began. Where
//! something is missing, the archive says so in its place.
//!
//! ```
//! use sharing_bus::{BusEvent, BusReceiver, Event, EventRouting, SharingBus};
//! use std::io::{self, Write};
//! use std::thread;
//!
//! fn archive(mut events: BusReceiver, mut file: impl Write) -> io::Result<u64> {
//!     let mut batch = Vec::new();
//!     while events.recv_many(&mut batch, 256) > 0 {
//!         for delivery in batch.drain(..) {
//!             if delivery.missed() > 0 {
//!                 writeln!(file, "-- {} missing --", delivery.missed())?;
//!             }
//!             writeln!(file, "{} {:?}", delivery.sequence(), delivery.event)?;
//!         }
//!         file.flush()?; // Once for all that was there.
//!     }
//!     Ok(events.lagged())
//! }
//!
//! let bus = SharingBus::new();
//! let events = bus.subscription().queue_capacity(65_536).label("archive").subscribe();
//! let archiver = thread::spawn(move || archive(events, Vec::new()));
//! for _ in 0..1000 {
//!     bus.publish(BusEvent::new(EventRouting::default(), Event::Connected)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(archiver.join().unwrap().unwrap(), 0);
//! ```
//!
//! # A view of one session
//!
//! Filtered by its scroll, it costs nothing while other sessions talk, however many views there are. It shows the
//! present, so the oldest may go. To show another session, give it another filter; to close it, drop it.
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
//! The answer is an event like any other, of a session whose name only the asker knows. It subscribes before it asks,
//! so the answer cannot be there too soon; the filter is an equality, so a thousand askers cost no more than one; and
//! who never gets an answer waits no longer than it wants to.
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
//! # No loss at all: back-pressure
//!
//! A full queue loses events, by design: no publisher waits for a subscriber. Where one must, let it wait for a
//! *credit* before it publishes. There are as many credits as the queue has places, and the consumer gives one back for
//! each event that it has received, so the queue is never full. With several lossless consumers, take a credit of each.
//! In async code, a semaphore of your runtime does the same.
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
//!         let _ = give.send(()); // Received, so its place is free.
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
//! Two other ways. [`Overflow::Disconnect`](crate::Overflow::Disconnect) for who would rather begin again, from a
//! [backlog](crate#late-joiners) or an archive, than have a gap. And
//! [`forward_to`](crate::SubscriptionBuilder::forward_to) an unbounded channel, which loses nothing and holds nothing
//! back, so that memory is the only bound.
//!
//! # Shutting down a host
//!
//! In the order in which events flow: publishers, then the bus, then subscribers. Stop the publishers and join them;
//! [`shutdown`](crate::SharingBus::shutdown), or [`close`](crate::SharingBus::close) and
//! [`flush_async`](crate::SharingBus::flush_async) in a task; then join the subscribers, which drain their queues and
//! see the end by themselves. Handles that others still hold do not matter: what they publish comes back as
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
//! Subscribe, act, [`flush`](crate::SharingBus::flush), look. After a flush everything that was published before is in
//! the queues and in the counts, so a test needs no sleep and no time limit, and "nothing came" is as sure as "this
//! came". A filter can be tested without a bus, by [`matches`](crate::EventFilter::matches).
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind, EventRouting, SharingBus, TryRecvError};
//!
//! /// What is to be tested: reports a command's exit, if it failed.
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
//! # A view that joins late
//!
//! Where the last events are enough, ask for a [backlog](crate#late-joiners); where each session needs its own,
//! [`history_per_scroll`](crate::BusBuilder::history_per_scroll) keeps the quiet ones apart from the busy. Where the
//! present state is the sum of all events, somebody has to keep that state, together with the sequence of the last
//! event in it. A view then subscribes first, takes the state, and passes over what the state already has.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//! use std::sync::Mutex;
//!
//! let bus = SharingBus::new();
//! let publish = |number: u64| bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! // The keeper, here a sum: the sequence of the last event in it, and itself.
//! let mut keeper = bus.subscribe_all();
//! let kept = Mutex::new((0, 0));
//! let mut keep = || keeper.try_iter().for_each(|delivery| {
//!     let mut kept = kept.lock().unwrap();
//!     *kept = (delivery.sequence(), kept.1 + *delivery.event);
//! });
//!
//! publish(1);
//! publish(2);
//! let mut view = bus.subscribe_all(); // First of all; it may be given some of the two before, or not.
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
//! # Into a channel of the host's
//!
//! A thread that waits for several things wants one channel for all of them.
//! [`forward_to`](crate::SubscriptionBuilder::forward_to) takes the sender of a channel of deliveries; for one of the
//! host's own messages, wrap the sender and say what a delivery becomes.
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
//! # Losing the lesser events first
//!
//! A view that misses a token delta shows a gap; one that misses the end of a turn shows a spinner for ever. Name the
//! events that must not be missed, and [reserve](crate::SubscriptionBuilder::essential) some places for them, as many as may
//! come in one go. Watch [`lagged_essential`](crate::BusReceiver::lagged_essential): while it stays 0 the view can trust its
//! state, and otherwise it should load it anew.
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
//! let publish = |kind| bus.publish(BusEvent::new(EventRouting::session("claude", "1", kind), Event::Connected)).unwrap();
//! (0..1000).for_each(|_| publish(EventKind::Output));
//! publish(EventKind::Error);
//! bus.flush();
//!
//! let errors = view.try_iter().filter(|delivery| delivery.routing.kind == EventKind::Error).count();
//! assert_eq!((errors, view.lagged(), view.lagged_essential()), (1, 952, 0));
//! ```
//!
//! # Only the latest of each session
//!
//! A dashboard wants the present state of each session, and as much of what came before as it has time for.
//! [`Overflow::Conflate`](crate::Overflow::Conflate) keeps the newest event of each scroll while the dashboard is behind. Where
//! an event is only a part of the state (a delta),
//! [`conflate_with`](crate::SubscriptionBuilder::conflate_with) puts the parts together. A function that meets an event which
//! must stay by itself, a completion say, returns `None` for what comes after it.
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
//! # Events that cost to make
//!
//! A screen dump or a serialized state is worth its making only if somebody looks.
//! [`publish_with`](crate::SharingBus::publish_with) asks first; [`is_interested`](crate::SharingBus::is_interested) is the
//! question alone, for a task that publishes with [`publish_async`](crate::SharingBus::publish_async) or makes several events
//! of one state. Publish what changes sessions without asking, or under
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

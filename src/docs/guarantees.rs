//! The exact wording of the nine guarantees, and the limits of each.
//!
//! [The front page](crate#how-it-works) states each guarantee in one line. Each guarantee has a test that fails when
//! the guarantee is broken. Each guarantee about a race also has a loom model, which runs the shipped sources through
//! every schedule up to a stated bound. In the repository, `tests/README.md` lists these tests and models.
//!
//! This page uses the following terms:
//!
//! - An event is *accepted* once a publishing call has returned `Ok`.
//! - An event is *dispatched* once the dispatch thread has numbered it, bound it and determined which subscribers
//!   match.
//! - An event is *delivered* to a subscriber once it is in that subscriber's queue.
//! - An event is *received* once the receiver has taken it out of the queue.
//!
//! # 1. Order
//!
//! All subscribers see one order, the order of dispatch. [`Delivery::sequence`](crate::Delivery::sequence) returns an
//! event's position in this order. The position is the same for all subscribers. It strictly increases from one
//! delivery of a subscriber to the next.
//!
//! If one publishing call returned before another one began, the event of the first call comes first. Events from one
//! thread therefore arrive in the order in which that thread published them. An event that is published in reaction to
//! another event comes after that event.
//!
//! Not guaranteed:
//!
//! - An order between overlapping publishing calls, from two threads or from two futures that are polled side by side.
//!   Either order is possible, but it is the same for all subscribers.
//! - That a task waiting for space publishes before a later [`try_publish`](crate::SharingBus::try_publish).
//! - An order between the *receives* of two subscribers. One subscriber may be far ahead of the other.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//! use std::thread;
//!
//! let bus = SharingBus::new();
//! let (mut left, mut right) = (bus.subscribe_all(), bus.subscribe_all());
//! thread::scope(|scope| {
//!     for publisher in 0..2_u64 {
//!         let bus = &bus;
//!         scope.spawn(move || (0..100).for_each(|number| {
//!             bus.publish(BusEvent::new(EventRouting::default(), publisher * 100 + number)).unwrap();
//!         }));
//!     }
//! });
//! bus.shutdown();
//!
//! let seen: Vec<u64> = left.iter().map(|delivery| *delivery.event).collect();
//! assert!(right.iter().map(|delivery| *delivery.event).eq(seen.iter().copied()));
//! assert!(seen.iter().filter(|number| **number < 100).is_sorted());
//! ```
//!
//! # 2. Exact loss
//!
//! An accepted event is dispatched exactly once. For each subscriber, each matching event is either delivered or lost:
//! `delivered + lagged == matched`. No event is delivered twice.
//!
//! The next delivery reports a loss. Its [`missed`](crate::Delivery::missed) is the number of matching events lost
//! between the previous delivery and this one. The sum of all `missed` values and the loss since the last delivery
//! equals [`lagged`](crate::BusReceiver::lagged).
//!
//! If a queue [conflates](crate::Overflow::Conflate), an event can also be delivered as part of another event, or wait
//! for space: `delivered + lagged + merged + pending == matched`. [`merged`](crate::Delivery::merged) returns the
//! number of events that went into a delivery. The bus queues a pending event as soon as the receiver has taken the
//! events before it, without further traffic. No event is pending after the bus has ended.
//!
//! If [essential](crate::SubscriptionBuilder::essential) events are named, a lost essential event counts in `lagged`
//! and in `lagged_essential`.
//!
//! Not guaranteed:
//!
//! - A delivery that reports the last loss, because no delivery may follow it. At the end, compare `lagged` with the
//!   sum of `missed`, as [an archiver](super::patterns#an-archiver) does.
//! - Anything about events that were still queued when the receiver was dropped.
//! - A match when the filter panics. The panic counts as no match and is counted in
//!   [`filter_panics`](crate::BusStats::filter_panics).
//! - A match after [the end of a subscription](#the-end-of-a-subscription). With
//!   [`Overflow::Disconnect`](crate::Overflow::Disconnect), the event that ends the subscription is its last loss.
//!   Without essential events, it is also the only loss.
//! - Exact counters on a busy bus, where they can trail by one batch. After a [`flush`](crate::SharingBus::flush)
//!   without concurrent publishing, they are exact.
//!
//! ```
//! use sharing_bus::{BusEvent, EventFilter, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let mut slow = bus.subscribe_filtered(EventFilter::All, 2);
//! for number in 1..=5_u64 {
//!     bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! }
//! bus.shutdown();
//!
//! // No delivery follows the loss, so no delivery reports it.
//! assert!(slow.iter().all(|delivery| delivery.missed() == 0));
//! assert_eq!(slow.lagged(), 3);
//! ```
//!
//! # 3. Isolation
//!
//! A slow, stuck, leaked or dropped subscriber causes no loss for other subscribers. Its queue fills up, and then only
//! this subscriber loses events. Publishers wait only for space in the ingress. They may thus wait for the dispatch
//! thread, but never for a subscriber.
//!
//! A panic in a filter, a merge function, a waker, a payload's hook or `Drop`, or the logger ends only that call. A
//! panic in a [`Sink`](crate::Sink) also ends the sink's subscription. [Eight consecutive
//! panics](crate::EventFilter::custom) of a filter or of a merge function end its subscription. So a function that
//! always panics does not slow the other subscribers for long.
//!
//! Not guaranteed:
//!
//! - Progress while such code *blocks*. It runs on the dispatch thread, so the bus waits until it returns. See [the
//!   limits](crate#limits).
//! - Processor time. A subscriber that computes competes with the other threads of the host.
//!
//! # 4. Subscribers see later events
//!
//! A new subscriber receives every matching event whose publish began after its subscribe returned. It receives none
//! whose publish returned before its subscribe began, apart from a requested [backlog](crate#late-joiners). Overlapping
//! calls go either way.
//!
//! A state of the host can therefore be copied first, before the subscription, or afterward. Copied first, the state
//! lacks the events between the copy and the subscription. Copied afterward, the state may already contain the first
//! events of the subscription, and no event is missing. [A view that joins
//! late](super::patterns#a-view-that-joins-late) uses the second order.
//!
//! After [`set_filter`](crate::BusReceiver::set_filter) has returned, each event whose publish begins is matched
//! against the new filter.
//!
//! Not guaranteed:
//!
//! - Which filter an event is matched against that was accepted before `set_filter` returned. Flush before the call to
//!   apply the old filter to all earlier events.
//! - That the backlog holds an earlier event. A [history](crate::BusBuilder::history) keeps a limited number of events.
//!
//! ```
//! use sharing_bus::{BusEvent, EventRouting, SharingBus};
//!
//! let bus = SharingBus::new();
//! let publish = |number: u64| bus.publish(BusEvent::new(EventRouting::default(), number)).unwrap();
//! publish(1);
//! bus.flush();
//! let mut late = bus.subscribe_all();
//! publish(2);
//! assert_eq!(*late.recv().unwrap().event, 2);
//! ```
//!
//! # 5. Late binding
//!
//! [The front page](crate#late-binding) introduces late binding. An event without a `scroll_id` gets the id of the last
//! registration of its session that precedes it in the order of dispatch. It gets none if the session ended, or
//! [`forget_session`](crate::SharingBus::forget_session) was called, after that registration.
//!
//! An event is bound if its publishing call began after the registration's publishing call had returned. It is also
//! bound if its publishing call began after any receiver had received the registration. No bound event comes before the
//! registration that bound it. A `scroll_id` that is already set is kept, except in a registration: it always carries
//! the id that it registers.
//!
//! Not guaranteed:
//!
//! - Binding of events that were published before the registration, in a queue or in a backlog.
//! - Binding of sessions beyond [`session_capacity`](crate::BusBuilder::session_capacity). The bus forgets the oldest
//!   registrations.
//! - An order between events and [`bind_session`](crate::SharingBus::bind_session) or `forget_session`. These calls
//!   take effect immediately, so they also affect events that were accepted earlier and not yet dispatched.
//!
//! # 6. Wake-ups
//!
//! A waiting receiver, whether a thread or a task, is woken by the next matching event, and by the end of its
//! subscription. A call that waits for space in the ingress, or for a flush, is woken as reliably. A receive that times
//! out, or whose future is dropped, has taken no event, and no later event wakes its task.
//!
//! A task that never has to wait yields to the other tasks of its executor from time to time.
//!
//! Not guaranteed:
//!
//! - A wake-up for each event. There is one wake-up for each batch. A task that finds several deliveries receives them
//!   without another wake-up.
//! - The absence of spurious wake-ups. [`poll_recv`](crate::BusReceiver::poll_recv) may be woken without a delivery, as
//!   any future may.
//! - Readiness at every poll. A task that yields finds a call pending that could be ready.
//! - Publication by a [`publish_async`](crate::SharingBus::publish_async) future that is dropped early. Such a future
//!   has not published, and its event is dropped with it.
//!
//! # 7. Dropped receivers
//!
//! Dropping a receiver frees its queued events before the drop returns. Soon afterwards, the dispatch thread frees the
//! slot, the filter and the queue, whether or not an event arrives. The slot is removed exactly once, and no concurrent
//! subscription is lost.
//!
//! Not guaranteed:
//!
//! - Removal of the slot before `drop` returns. A flush waits for the removal.
//! - Removal of a leaked receiver (`std::mem::forget`). Its slot stays and its queue fills up. From then on, it costs
//!   as much as a lagging subscriber.
//! - Release of events that other parts of the host hold. A retained delivery keeps [other events of its
//!   batch](crate::Delivery) alive, and a [history](crate::BusBuilder::history) keeps its events alive.
//!
//! ```
//! use sharing_bus::SharingBus;
//!
//! let bus: SharingBus = SharingBus::new();
//! drop(bus.subscribe_all());
//! bus.flush();
//! assert_eq!(bus.stats().reaped, 1);
//! assert!(bus.stats().subscribers.is_empty());
//! ```
//!
//! # 8. Closing drains
//!
//! After [`close`](crate::SharingBus::close), or after the last handle was dropped, every accepted event is dispatched.
//! Each receiver sees `Closed` once it has received all events in its queue. It never sees `Closed` earlier, and no
//! event follows.
//!
//! A publishing call that races with the close is either accepted, with all guarantees above, or returns the event. The
//! last handle may be dropped on any thread, including the dispatch thread.
//!
//! Not guaranteed:
//!
//! - That `close` waits. [`shutdown`](crate::SharingBus::shutdown) waits for the dispatch thread. To wait for the
//!   receivers, join the threads or tasks that receive.
//! - Dispatch after `main` has returned. Without a shutdown, the process may end before the dispatch thread has
//!   finished.
//!
//! ## The end of a subscription
//!
//! A subscription ends once, and [`EndReason`](crate::EndReason) lists the reasons. After the end, no event is
//! queued or forwarded. The filter, the filter of essential events, the merge function and the sink are not called
//! again. Later events do not count as matching, and neither do matched events of the current batch that are not yet
//! delivered. Events that are queued before the end stay readable, and no event is received after `Closed`.
//!
//! Code of the host can end a subscription while the dispatch thread delivers to it:
//!
//! - On the dispatch thread, the end is exact. This concerns calls in a filter, a merge function, a sink, a waker or a
//!   payload's `Drop`. An event during whose delivery the end comes is delivered if it was already queued or if the sink
//!   accepts it. Otherwise, it is lost.
//! - On another thread, one delivery can still be under way when the call returns. It is a single event in these cases:
//!   a sink, a backlog, a reserve, a conflating queue without space, and
//!   [`DropOldest`](crate::Overflow::DropOldest). Otherwise, it can be the matching events of one batch, which the
//!   dispatch thread queues in one step.
//!
//! Events that wait in a conflating queue when the subscription ends are lost.
//!
//! # 9. Bad input
//!
//! Publishing an event that no subscriber matches succeeds. Runtime failures are typed errors: a
//! [`PublishError`](crate::PublishError), which returns the event, a [`BuildError`](crate::BuildError), or one of the
//! errors of receiving. A registration whose id does not parse is delivered like any other event and binds nothing. The
//! bus logs a warning about it through `log`.
//!
//! Programming errors cause a panic with a message. The affected methods document these panics:
//!
//! - a queue capacity of zero, or one greater than `usize::MAX / 256`;
//! - a [reserve](crate::SubscriptionBuilder::essential) that leaves no other place in the queue, or that is combined
//!   with an overflow rule that makes space;
//! - [forwarding](crate::SubscriptionBuilder::forward_to) with an overflow rule or a reserve that a channel cannot
//!   support;
//! - a filter that is [nested](crate::EventFilter#nesting) too deeply.
//!
//! Not guaranteed: any behavior after memory has run out.

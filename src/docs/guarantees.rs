//! The nine promises in their exact words, and what each does not say.
//!
//! [The front page](crate#how-it-works) has them in a line each. Every promise has a test that fails where it is
//! broken, and each that is about a race has a model that runs the shipped sources through every schedule up to a
//! stated bound: [tests/README.md](https://github.com/sharing-bus/sharing-bus/tree/main/tests) lists which.
//!
//! Words used here. An event is *accepted* once a publishing call has returned `Ok`. It is *dispatched* when the
//! dispatch thread has numbered it, bound it and found who matches. It is *delivered* to a subscriber when it is in
//! that one's queue, and *received* when the receiver has taken it out.
//!
//! # 1. Order
//!
//! All subscribers see one order, that in which events were dispatched.
//! [`Delivery::sequence`](crate::Delivery::sequence) is an event's place in it, the same for everybody, and strictly
//! increases from one delivery of a subscriber to its next. An event whose publishing call returned before another's
//! began comes before that one. So what one thread publishes arrives in that order, and what somebody publishes in
//! reaction to an event comes after the event.
//!
//! Not promised: an order between calls that overlap, those of two threads or two futures polled side by side. It is
//! whatever it turns out to be, and the same for all. Nor that a task which waits for room is served before one that
//! comes later with [`try_publish`](crate::SharingBus::try_publish). Nor an order between *receiving* in two
//! subscribers: one may be far ahead of the other.
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
//! An accepted event is dispatched, once. For each subscriber the events that matched are those delivered and those
//! lost: `delivered + lagged == matched`. A loss is told before the next delivery, as that one's
//! [`missed`](crate::Delivery::missed): so many events that matched came between it and the delivery before. All
//! `missed` so far and the loss since then add up to [`lagged`](crate::BusReceiver::lagged). Nothing comes twice.
//!
//! Where a queue [conflates](crate::Overflow::Conflate), an event may also be delivered as a part of another, which tells how
//! many went into it ([`merged`](crate::Delivery::merged)), or wait for room: `delivered + lagged + merged + pending ==
//! matched`, and nothing waits any more once the bus has ended. It is queued as soon as the receiver has taken what is before
//! it, with no need of further events. Where [essential](crate::SubscriptionBuilder::essential) events are named, those of
//! them that are lost are counted in `lagged` as well as apart.
//!
//! Not promised: that the last loss is told by a delivery, for there may be none after it; ask `lagged` in the end. Nor
//! anything of what was queued and never received as the receiver was dropped. A filter that panics has not matched,
//! and is counted in [`filter_panics`](crate::BusStats::filter_panics) instead. A subscription that has ended matches
//! nothing: with [`Overflow::Disconnect`](crate::Overflow::Disconnect) the event that ended it is the one loss, and the
//! last. Counters read on a busy bus may trail by a batch; after a [`flush`](crate::SharingBus::flush) with nobody
//! publishing they are exact.
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
//! // The loss is behind the last delivery, so no delivery tells of it.
//! assert!(slow.iter().all(|delivery| delivery.missed() == 0));
//! assert_eq!(slow.lagged(), 3);
//! ```
//!
//! # 3. Nobody is harmed
//!
//! A subscriber that is slow, stuck, leaked or gone takes no event from the others: its queue fills up, and then it
//! alone loses events. Publishers wait for room in the ingress, so at most for the dispatch thread, and never for a
//! subscriber. A panic in a filter, a function that merges, a waker, a payload's hook or `Drop`, or in the logger ends
//! that one call; one in a [`Sink`](crate::Sink) also ends its subscription.
//!
//! Not promised: anything where such code *blocks*. It runs on the dispatch thread, and the bus waits as long as it
//! does; see [the limits](crate#limits). Nor a share of the processor: a subscriber that computes takes it from the
//! others as any thread does.
//!
//! # 4. Subscribed before, seen
//!
//! A subscriber sees, that is matches, every event whose publishing began after its `subscribe` returned. The same
//! holds for the new filter after [`set_filter`](crate::BusReceiver::set_filter).
//!
//! Not promised: that it sees none from before. An event that was accepted and not yet dispatched may reach it. Where a
//! clean beginning counts, flush first; where earlier events are wanted, ask for [a backlog](crate#late-joiners).
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
//! [What it is](crate#late-binding) stands on the front page. Exactly: an event without a `scroll_id` gets that of the
//! latest registration of its session before it, in the order of dispatch; with an end or a
//! [`forget_session`](crate::SharingBus::forget_session) in between, none. So an event is bound if its publishing began
//! after the registration's had returned, or after anybody received the registration. No bound event comes before the
//! registration that bound it. A `scroll_id` that is set is kept, and a registration that has none carries the one it
//! registers.
//!
//! Not promised: that an event published before the registration is ever bound, in a queue or a backlog either. Nor
//! anything of sessions beyond the [`session_capacity`](crate::BusBuilder::session_capacity), the oldest of which are
//! forgotten. And [`bind_session`](crate::SharingBus::bind_session) and `forget_session` take effect at once, so also
//! for events that were accepted before them.
//!
//! # 6. No wake-up is lost
//!
//! A receiver that waits, as a thread or as a task, is woken by the next event that it matches and by the end of its
//! subscription, however that comes about. Whoever waits for room in the ingress or for a flush is woken likewise. A
//! receive that is given up, by a time limit or by dropping its future, has taken nothing.
//!
//! Not promised: a wake-up for each event. There is one for each batch, and a task that finds several deliveries
//! receives them without another. A [`poll_recv`](crate::BusReceiver::poll_recv) may be woken for nothing, as any
//! future may. A [`publish_async`](crate::SharingBus::publish_async) that is dropped early has not published, and its
//! event is gone with it.
//!
//! # 7. Dropped is gone
//!
//! Dropping a receiver frees what is queued for it before the drop returns. Its slot, its filter and its queue are let
//! go of soon after, by the dispatch thread, whether or not an event comes. It happens once, and no subscription made
//! meanwhile is lost by it.
//!
//! Not promised: that the slot is gone as `drop` returns; a flush waits for that. A receiver that is leaked
//! (`std::mem::forget`) keeps its slot: its queue fills, and from then on it costs what a lagging subscriber does. A
//! delivery that somebody kept keeps [its neighbours](crate::Delivery) alive, and a
//! [history](crate::BusBuilder::history) what it holds.
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
//! After [`close`](crate::SharingBus::close), or the drop of the last handle, everything accepted is dispatched, and
//! each receiver sees `Closed` once it has received what is in its queue, never before and never anything after. A
//! publishing call that races the close has either been accepted, with all that follows from it, or gives the event
//! back. The last handle may be dropped anywhere, on the dispatch thread too.
//!
//! Not promised: that `close` waits. [`shutdown`](crate::SharingBus::shutdown) waits for the dispatch thread, and
//! nothing waits for receivers but joining whoever receives. A process that returns from `main` without a shutdown may
//! end before the dispatch thread has.
//!
//! # 9. Bad input
//!
//! An event that nobody wants is published with success. What can go wrong at run time is a typed error: a
//! [`PublishError`](crate::PublishError), which gives the event back, a [`BuildError`](crate::BuildError), or one of
//! the errors of receiving. A registration whose id does not parse is delivered like any event, warned of through
//! `log`, and binds nothing. What only a mistake in the program can bring about panics, says so, and is documented
//! where it does: a queue capacity of zero or beyond any memory, a [reserve](crate::SubscriptionBuilder::essential) that is
//! the whole queue or goes with a rule that makes room, and [forwarding](crate::SubscriptionBuilder::forward_to) with a rule
//! that a channel cannot follow.
//!
//! Not promised: anything once the memory runs out.

//! What costs what, and which setting changes it.
//!
//! Beside its peers: [the README's table](https://github.com/sharing-bus/sharing-bus#speed). How it is measured, and
//! where the nanoseconds go: [benches/README.md](https://github.com/sharing-bus/sharing-bus/tree/main/benches). The
//! figures here are from the same runs, on two cores of a server under a hypervisor; take their proportions and not
//! their size.
//!
//! # What costs what
//!
//! | step | cost | grows with |
//! |---|---|---|
//! | `publish`, the call | some 0.4 µs | nothing; waits while the ingress is full |
//! | `is_interested`, before an event is made | 0.02 µs, to 0.2 µs where all that a routing says is asked for by somebody | nothing |
//! | an event that nobody wants | some 1,200 instructions, publishing included | opaque filters |
//! | an event, from `publish` to the one receiver | 234 ns a piece in a steady stream | |
//! | the same among 128 subscribers of which one matches | 392 ns, for each wakes another task | opaque filters |
//! | the same among 16,384 | 505 ns | opaque filters |
//! | a delivery, where 64 or more match | 7 to 10 ns | receivers, which share the cores |
//! | a delivery, in instructions | 3.5 to bring it there, 56 to receive it | |
//! | an event to a waiting task on an idle bus | 22 µs, two wake-ups | |
//! | the same, assisted | 10 µs, one wake-up | |
//! | `subscribe` | 2 µs among 1,000, 10 µs among 100,000 | a copy of a chunk of the list |
//! | `set_filter`, `unsubscribe` | 15 µs among 1,000, 30 µs among 100,000 | the same, and the dispatch thread's wake-up |
//! | a dropped receiver | 1 to 2 µs, where many are dropped at once | |
//! | `stats` | a walk over the subscribers, and a text for each filter | subscribers |
//! | a subscriber | 7 KB with a queue of 256, of which 24 bytes are for each place | its queue's capacity |
//!
//! # Filters
//!
//! Equalities are free, as it were: one that does not match is not looked at. `any` of them is so too, and `all` needs
//! but one equality to be found by. [`custom`](crate::EventFilter::custom) and [`not`](crate::EventFilter::not) by
//! themselves are evaluated for every event. Put them beside an equality, the narrowest there is:
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind};
//!
//! let long = EventFilter::custom(|event: &BusEvent| {
//!     matches!(&*event.event, Event::Text { text } if text.len() > 1000)
//! });
//! // Evaluated for the errors of one connector, and for nothing else.
//! let errors = EventFilter::Kind(EventKind::Error);
//! let filter = EventFilter::all([EventFilter::ConnectorId("shell".into()), errors, long]);
//! assert_eq!(filter.to_string(), "all(connector=shell, kind=error, custom)");
//! ```
//!
//! Filtering after receiving works, and costs a place in the queue and a wake-up for each event that is thrown away.
//!
//! # Payloads
//!
//! An event is allocated once and shared, so a large payload costs as much for a thousand subscribers as for one. What
//! every publish pays is its own: the payload's allocation and the two names of a session. Keep the names as `Arc<str>`
//! and clone them, and a name costs a step of a reference count in place of an allocation:
//!
//! ```
//! use sharing_bus::{BusEvent, EventKind, EventRouting, SharingBus};
//! use std::sync::Arc;
//!
//! let bus = SharingBus::new();
//! let session = EventRouting::session("shell", "42", EventKind::Output); // Once.
//! for number in 0..100_u64 {
//!     bus.publish(BusEvent::new(session.clone(), number)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(Arc::strong_count(session.connector_id.as_ref().unwrap()), 1);
//! ```
//!
//! # Receiving
//!
//! Wake-ups are the dear part: an event that wakes its task costs some fifty times what a delivery among many does. The
//! bus makes one for each batch and subscriber. A receiver gains the most by taking all there is before it waits again,
//! with [`recv_many`](crate::BusReceiver::recv_many) or [`try_iter`](crate::BusReceiver::try_iter), and by doing once a
//! batch what need not be done for each event (a repaint, a flush of a file).
//!
//! A delivery that is kept may keep up to 63 others. To keep few events for long, keep `delivery.event.clone()`.
//!
//! # Capacities
//!
//! - *Queue*: how far a subscriber may fall behind. The rate at which its events come, times the longest time that it
//!   may be busy elsewhere. Look at [`lagged`](crate::SubscriberStats::lagged) in the statistics, by label: it should
//!   not grow.
//! - *Ingress*: how much of a burst is taken before publishers wait. Each place takes the size of an event without its
//!   payload, about a hundred bytes. [`ingress_depth`](crate::BusStats::ingress_depth) near the capacity says
//!   that the dispatch thread is the bottleneck, or that code of yours keeps it.
//! - *Sessions*: as many as live at the same time, with some to spare.
//! - *History*: it holds events, payloads and all. Recording one takes a push into a queue; with a history per
//!   scroll another one, a look-up, and two steps in a tree of the scrolls.
//!
//! # Assisted dispatch
//!
//! [`assisted_dispatch`](crate::BusBuilder::assisted_dispatch) is for hosts whose bus is mostly idle and whose views
//! should show at once. Throughput stays the same where many match, and is up to a fifth less where one does. Mind that
//! publishers then run filters and wakers: leave it off where a publisher must not be held up by them, or holds locks
//! that they take.
//!
//! # Builds
//!
//! Measure a release build. A debug build is much slower on both sides of a queue, and may lose events where a release
//! does not.

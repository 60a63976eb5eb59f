//! The cost of each operation, and the settings that change it.
//!
//! In the repository, `benches/results/compare.md` compares the bus with its alternatives. `benches/README.md`
//! describes the measurements, and where the time is spent. The figures on this page come from the same runs, on two
//! cores of a virtual server. Ratios of these figures are more meaningful than the absolute values.
//!
//! # Costs
//!
//! | operation | cost | grows with |
//! |---|---|---|
//! | `publish`, the call alone | about 0.4 µs | nothing; it waits while the ingress is full |
//! | `is_interested`, before creating an event | 0.02 µs; up to 0.2 µs if subscribers filter by every field of the routing | nothing |
//! | an event that no subscriber matches | about 1,200 instructions, including the publish | opaque filters |
//! | an event, from `publish` to one receiver | 234 ns per event in a steady stream | |
//! | an event that one of 128 subscribers matches | 392 ns, because each event wakes another task | opaque filters |
//! | an event that one of 16,384 subscribers matches | 505 ns | opaque filters |
//! | a delivery, if 64 or more subscribers match | 7 to 10 ns | receivers, which share the cores |
//! | a delivery, in instructions | 3.9 to dispatch to one more subscriber, 53 to receive | |
//! | an event to a waiting task on an idle bus | 22 µs, two wake-ups | |
//! | the same with assisted dispatch | 10 µs, one wake-up | |
//! | `subscribe` | 2 µs among 1,000, 10 µs among 100,000 | a copy of a chunk of the list |
//! | `set_filter`, `unsubscribe` | 15 µs among 1,000, 30 µs among 100,000 | a copy of a chunk of the list, and the wake-up of the dispatch thread |
//! | dropping a receiver | 1 to 2 µs, if many are dropped at once | |
//! | `stats` | a walk over the subscribers, and a string for each filter | subscribers |
//! | a subscriber | 7 KB with a queue of 256, at 24 bytes per place | the capacity of its queue |
//!
//! # Slower cases
//!
//! Two operations are slower than those of other buses:
//!
//! - On an idle bus, an event reaches a waiting task in 22 µs, compared to 9.5 µs with `tokio::sync::broadcast`. The
//!   dispatch thread must wake up first. With [assisted dispatch](#assisted-dispatch), the event takes 10 µs.
//! - The `publish` call takes about 0.4 µs. A call that only evaluates a short list of filters, and sends nothing,
//!   takes about a sixth of that.
//!
//! # Filters
//!
//! Equality filters are practically free, because dispatch does not evaluate those that do not match. The same holds
//! for `any` of equality filters, and for `all` with at least one. A [`custom`](crate::EventFilter::custom) or
//! [`not`](crate::EventFilter::not) filter alone is *opaque*: it is evaluated for every event. Combine it with the
//! narrowest possible equality:
//!
//! ```
//! use sharing_bus::{BusEvent, Event, EventFilter, EventKind};
//!
//! let long = EventFilter::custom(|event: &BusEvent| {
//!     matches!(&*event.event, Event::Text { text } if text.len() > 1000)
//! });
//! // Evaluated only for the errors of one connector.
//! let errors = EventFilter::Kind(EventKind::Error);
//! let filter = EventFilter::all([EventFilter::ConnectorId("shell".into()), errors, long]);
//! assert_eq!(filter.to_string(), "all(connector=shell, kind=error, custom)");
//! ```
//!
//! Filtering after receiving also works, but costs a place in the queue and a wake-up for each discarded event.
//!
//! # Payloads
//!
//! An event is allocated once and shared, so a large payload costs as much for a thousand subscribers as for one. Each
//! publish pays for the allocation of its payload and of the two names of its session. Keep these names as `Arc<str>`
//! and clone them. A name then costs one reference count increment instead of an allocation:
//!
//! ```
//! use sharing_bus::{BusEvent, EventKind, EventRouting, SharingBus};
//! use std::sync::Arc;
//!
//! let bus = SharingBus::new();
//! let session = EventRouting::session("shell", "42", EventKind::Output); // Created once.
//! for number in 0..100_u64 {
//!     bus.publish(BusEvent::new(session.clone(), number)).unwrap();
//! }
//! bus.shutdown();
//! assert_eq!(Arc::strong_count(session.connector_id.as_ref().unwrap()), 1);
//! ```
//!
//! # Receiving
//!
//! Wake-ups are the most expensive part. A delivery that wakes its task costs about fifty times as much as one of many
//! deliveries after one wake-up. The bus wakes each subscriber at most once per batch.
//!
//! A receiver is fastest if it takes all available deliveries before it waits again, with
//! [`recv_many`](crate::BusReceiver::recv_many) or [`try_iter`](crate::BusReceiver::try_iter). Work that is not
//! necessary for every event, such as a repaint or a file flush, belongs at the end of each batch.
//!
//! A task that receives for 0.1 ms without a wait [yields](crate::BusReceiver#cooperation) to other tasks.
//!
//! # Memory
//!
//! The events of a batch that match the same subscribers are stored together. That memory is freed when the last of its
//! deliveries is dropped. So a queue also keeps those events alive that the receiver has already taken from the batch
//! that it is receiving, at most 63. A retained delivery may keep up to 63 other events alive. To retain few events for
//! a long time, keep `delivery.event.clone()` instead.
//!
//! If a subscriber loses a part of a batch, the bus stores the delivered part again, without the lost events. This
//! table states which lost, displaced or merged events stay alive because of the events that were delivered:
//!
//! | delivery | such events |
//! |---|---|
//! | [`DropNewest`](crate::Overflow::DropNewest), [`Disconnect`](crate::Overflow::Disconnect), a [reserve](crate::SubscriptionBuilder::essential) | none |
//! | [`DropOldest`](crate::Overflow::DropOldest) | at most 63: the displaced part of the oldest batch in the queue. A retained delivery keeps those of its own batch. |
//! | [`Conflate`](crate::Overflow::Conflate), with or without a merge function | none; each waiting event keeps only itself alive |
//! | [`forward_to`](crate::SubscriptionBuilder::forward_to) | those of the first batch with a loss, at most 63 for all deliveries together |
//! | a [backlog](crate::SubscriptionBuilder::backlog) | none; each of its events keeps only itself alive |
//!
//! A closed receiver keeps its queued events alive until they are received or the receiver is dropped. A leaked
//! receiver keeps them forever. A [history](crate::BusBuilder::history) keeps its own events alive.
//!
//! # Capacities
//!
//! - *Queue*: the number of events by which a subscriber may fall behind. Multiply the rate of its events by the
//!   longest time that the subscriber may be busy. In the statistics, the subscriber's
//!   [`lagged`](crate::SubscriberStats::lagged) should not grow.
//! - *Ingress*: the number of events in a burst that are accepted before publishers wait. Each place takes the size of
//!   an event without its payload, about one hundred bytes. If [`ingress_depth`](crate::BusStats::ingress_depth) stays
//!   near the capacity, the dispatch thread is the bottleneck, or host code delays it.
//! - *Sessions*: the number of sessions that are open at the same time, plus a margin.
//! - *History*: the number of events to hold in memory, including their payloads. Recording an event is one push into a
//!   queue. A history per scroll adds another push, a lookup, and four tree operations.
//!
//! # Assisted dispatch
//!
//! [`assisted_dispatch`](crate::BusBuilder::assisted_dispatch) suits a host whose bus is mostly idle and whose views
//! must react at once. Throughput is unchanged if many subscribers match, and up to a fifth lower if one does.
//! Publishers then run filters and wakers. Leave assisted dispatch off if a filter or waker must not delay a publisher,
//! or if it takes a lock that a publisher holds.
//!
//! # Builds
//!
//! Measure release builds. A debug build is much slower on both sides of a queue, and may lose events that a release
//! build would not lose.

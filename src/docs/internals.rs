//! The path of an event through the bus, and the synchronization along it.
//!
//! This page is for readers of the sources, and for estimates of how long a call can wait. It describes the
//! implementation, which may change between versions. Only the [guarantees](super::guarantees) are part of the
//! contract. Paths are relative to `src/`, and the first lines of each file describe its contents.
//!
//! ```text
//!             publishers (any thread, any task)
//!                         │
//!                         │  publish, try_publish, publish_async, ...
//!                         ▼
//!                 ════ ingress ════         one bounded channel, in order
//!                         │
//!                         ▼
//!     ┌─ dispatch thread ─────────────────────────────┐
//!     │                                               │
//!     │   number ───► bind ───► match ───► batch      │
//!     │                ▲          ▲          │        │
//!     └────────────────┼──────────┼──────────┼────────┘
//!                      │          │          │  one parcel and one wake-up per subscriber
//!               session cache     │          ├──► queue ──► BusReceiver  (thread, task, stream)
//!                  scroll_id,     │          ├──► queue ──► BusReceiver
//!               bind_session,     │          └──► Sink ───► channel of the host
//!              forget_session     │
//!                                 │
//!                          subscriber list
//!             subscribe, set_filter, unsubscribe, drop
//! ```
//!
//! # Ingress (`ingress/`)
//!
//! The ingress is one bounded channel from all publishers to the dispatch thread. A publish loads the channel's sender
//! and sends once. It takes no lock, looks nothing up, and does not depend on the subscribers. A publisher waits only
//! for space in this channel. Threads wait in the channel itself. Tasks wait in a list that the dispatch thread
//! notifies after each batch (`sync/wait.rs`).
//!
//! Closing the bus removes the sender. A publisher that is sending at that moment still holds the sender. The channel
//! reports its end to the dispatch thread once the last such publisher is done and the channel is drained. The
//! guarantee about [closing](super::guarantees#8-closing-drains) follows from this rule.
//!
//! # Dispatch (`dispatch/`)
//!
//! One thread performs all work that depends on order, in the order of the ingress, and shares none of its state.
//! Numbering, binding and loss accounting therefore have no races. The dispatch thread takes events until the ingress
//! is empty or the batch has 64 events. For each event, it performs three steps:
//!
//! 1. *Number*: the event gets its sequence.
//! 2. *Bind* (`sessions/binding.rs`): a registration is added to the session cache. For an event without a scroll, the
//!    dispatch thread looks up the session there. Binding in `publish` could not be correct. Binding before the send
//!    would let a bound event overtake its registration. Binding after the send would leave a reaction unbound.
//! 3. *Match* (`dispatch/routes.rs`, `dispatch/index.rs`): see [Matching](#matching). The event is added to the batch,
//!    with a bit for each subscriber that matched.
//!
//! At the end of the batch, the dispatch thread delivers to one subscriber after the other (`dispatch/batch.rs`,
//! `delivery/parcel.rs`). It pushes the subscriber's events, as one bundle if that is cheaper, and wakes the subscriber
//! once. Subscribers that match the same events share one bundle. A bundle takes one entry in a queue and one reference
//! count.
//!
//! # Matching
//!
//! The index files a filter under its *index terms* (`subscribers/terms.rs`). Index terms are equalities of which at
//! least one holds for every event that the filter matches. `ScrollId(x)` is its own term. `any` has the terms of all
//! its parts, and `all` has those of its most selective part. The thread that sets a filter computes its terms, before
//! it locks the subscriber list.
//!
//! The dispatch thread looks up the few terms that an event satisfies. This yields the candidates without visiting
//! other subscribers. The dispatch thread evaluates a filter only if the term alone does not imply the filter.
//! Subscribers to all events share one bit mask. The remaining filters (`not` and `custom`) have no index terms. They
//! form one list, which the dispatch thread scans for every event.
//!
//! # Subscriber list (`subscribers/`)
//!
//! The subscriber list is immutable and is replaced as a whole. It consists of chunks of 128 slots
//! (`subscribers/list.rs`). A call that subscribes, changes a filter or unsubscribes copies the chunks that it changes.
//! A mutex serializes these writers, and readers only load a pointer.
//!
//! For every event, the dispatch thread compares that pointer with the previous one. If the pointer has changed, the
//! thread updates its routing table with the differences. A subscription that was made before a publish began is
//! therefore in the table when that event is matched.
//!
//! A dropped receiver stores the reason of the end in its queue, records its id and wakes the dispatch thread. The
//! dispatch thread removes all recorded ids from the list in one write.
//!
//! # Queues (`queue/`)
//!
//! A queue is a ring with one producer, the dispatch thread, and one consumer, the receiver. A drop-oldest queue allows
//! both ends to remove entries. The dispatch thread numbers the events that match a subscriber, and each entry carries
//! this number. The receiver compares the number with the previous one, and the gap between them is
//! [`missed`](crate::Delivery::missed). Loss is therefore exact at both ends of the queue, and no counter has to be
//! read together with the queue.
//!
//! Every wait follows one order: check, register, check again, sleep. The signaling side changes the checked state
//! first and then checks for registered waiters. A receiver registers in a cell for one waker (`sync/waker.rs`). The
//! cell runs no code of the waker while it changes, so a waker that panics leaves it intact.
//!
//! A conflating queue has a ring of twice the capacity. On the dispatch side, it also has the pending events, by
//! sequence and by scroll. While events are pending, the dispatch thread requests space by swapping a flag, and then
//! checks the ring once more. The receiver swaps the flag back when it takes an entry. If the flag was set, the
//! receiver requests upkeep, in which the dispatch thread queues the pending events.
//!
//! # Cooperation (`sync/coop.rs`)
//!
//! An executor can run another task only when the current task waits. A task on a busy bus never waits, so it yields
//! by itself once its budget is spent: it wakes itself and returns `Pending` once. A wait renews the budget. Calls of
//! `publish_async` and `flush_async` are counted per thread, and the budget has 128 of them.
//!
//! A receive is much cheaper than to yield, so the budget of a receiver is 0.1 ms. At each poll, a receiver compares
//! the number of received events with the number at which it must read the clock. It does so after 128
//! events, after 192, and at least every 256 events from then on. A budget of events would be longer for slow tasks, or cost fast
//! ones 8 % with 64 subscribers.
//!
//! tokio has a similar budget for each poll of a task. The bus does not use it, also with the feature `tokio`. Every
//! event would then cost an access to a variable of the thread. Other runtimes would gain nothing. Both limits work
//! side by side.
//!
//! # Reference counts (`sync/counted.rs`)
//!
//! All subscribers share one copy of an event. When a shared value is created, the maximum number of its handles is
//! already known, and one plain store counts all of these handles. Each handle then costs one atomic step, when it is
//! dropped. A handle of an `Arc` costs two. This file is the only one with `unsafe` code.
//!
//! # Interest (`subscribers/interest.rs`, `subscribers/term_counts.rs`)
//!
//! Each writer of the subscriber list also counts the index terms of its filters. The counts are in a hash table that
//! publishers read without a lock. A filter is counted before the list contains it, and stays counted until the list no
//! longer contains it. Writers announce a removal before they reduce any count. A publisher that finds no interested
//! subscriber can therefore detect whether a concurrent removal makes this result unreliable.
//!
//! # The cut of a subscription (`ingress/stamp.rs`, `dispatch/routes.rs`)
//!
//! Subscriber ids increase. Before a publisher sends an event, it reads the id of the next subscription and puts the id
//! on the event. This costs one load of a cache line that is rarely written. The dispatch thread attaches a subscriber
//! at the first event that carries a higher id, because that `publish` began after the `subscribe`. If no such event
//! comes, it attaches the subscriber once the ingress is empty. So a new subscriber receives every event published after
//! it subscribed, and no event whose `publish` returned before.
//!
//! # Late joiners (`dispatch/history.rs`, `dispatch/backlog.rs`)
//!
//! The dispatch thread records each event when it matches the event. When it attaches a new subscriber, all recorded
//! events belong to the backlog, and all later events are live. Both steps run on one thread between two events, so the
//! backlog ends exactly where the live events begin.
//!
//! A long search of the history must not delay other subscribers. The dispatch thread therefore examines up to 512
//! events of the history for each subscriber, then dispatches the next batch, and so on. It keeps the events that it
//! dispatches meanwhile, and delivers them after the backlog. Then it adds the filter to the index.
//!
//! # Assisted dispatch (`ingress/assist.rs`)
//!
//! With [`assisted_dispatch`](crate::BusBuilder::assisted_dispatch), publishers take part in dispatch. If the
//! dispatcher has been idle for at least 20 µs, a publisher runs one batch and then releases the dispatcher. It leaves
//! all other work to the bus's own thread. Requesting and releasing the dispatcher are operations on the same atomic,
//! so no event is left behind.
//!
//! # Locks
//!
//! The bus holds no lock while it runs code of the host: filters, wakers, sinks, payload hooks and drops, and the
//! logger. The bus has the following locks:
//!
//! - The mutex of the subscriber list, for writers only.
//! - A mutex around the wakers of tasks that wait for space or for a flush. It is held to add or remove a waker.
//! - A mutex around the waker of each receiver. It is held to move the waker in or out.
//! - The locks of the session cache, for registrations and, one shard at a time, for lookups.
//! - On an assisted bus, a mutex that is held to move the dispatcher in and out.
//!
//! A receive that need not wait takes none of these locks. One that has to wait takes the third one, and the dispatch
//! thread never waits for it. A publish takes only the last one, and a task that has to wait for space also takes the
//! second one. When a thread has to sleep or to be woken, the channel and the parker use their own locks.
//!
//! # Verification
//!
//! Every primitive above comes from `sync/`. A build with `--cfg sharing_bus_loom` replaces the primitives with
//! stand-ins, which [loom](https://docs.rs/loom) runs in every schedule up to a stated bound. All other code is the
//! shipped source.

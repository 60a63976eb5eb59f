//! How an event travels, and who synchronizes with whom.
//!
//! For readers of the sources and for who wants to know what a call can wait for. None of it is promised; [the
//! promises](super::guarantees) are. Rooms are named by their files under `src/`, and each of them opens with what it
//! owns.
//!
//! ```text
//!       publishers: any thread, any task
//!                       │
//!                       │  publish, try_publish, publish_async, ...
//!                       ▼
//!               ═════ ingress ═════        one bounded channel, in order
//!                       │
//!                       ▼
//!    ┌─ dispatch: one thread ──────────────────────────────┐
//!    │                                                     │
//!    │   number ────► bind ────► match ────► batch         │
//!    │                  ▲          ▲           │           │
//!    └──────────────────┼──────────┼───────────┼───────────┘
//!                       │          │           │   a parcel and a wake-up for each subscriber
//!                       │          │           ├──► queue ──► BusReceiver    a thread, a task, a stream
//!               session cache      │           ├──► queue ──► BusReceiver
//!        scroll_id, bind_session,  │           └──► Sink  ──► a channel of the host's
//!                 forget_session   │
//!                                  │
//!                           subscriber list
//!                  subscribe, set_filter, unsubscribe, drop
//! ```
//!
//! # The ingress (`ingress.rs`)
//!
//! One bounded channel from all publishers to the dispatch thread. Publishing is a load of the sender and one send: no
//! lock, no look-up, nothing that depends on who subscribes. Its capacity is the only thing that a publisher ever waits
//! for. Threads wait in the channel; tasks wait in a list that the dispatch thread notifies after each batch
//! (`wait.rs`).
//!
//! Closing takes the sender away. Who is sending at that moment still holds it, and the channel tells the dispatch
//! thread of its end only when the last of them is through and all is drained. That is the whole of
//! [closing](super::guarantees#8-closing-drains).
//!
//! # Dispatch (`dispatch.rs`)
//!
//! One thread does everything that must be in order, in the order of the ingress, and shares none of its state. So
//! neither numbering nor binding nor loss has a race to lose. It takes events one by one, up to 64, for as long as
//! there are some:
//!
//! 1. *Number*: the event gets its sequence.
//! 2. *Bind* (`binding.rs`): a registration enters the session cache, and an event without a scroll looks there. Done
//!    here and not in `publish`, since there it could not be right: binding before the send lets a bound event overtake
//!    its registration, and after the send leaves a reaction unbound.
//! 3. *Match* (`routes.rs`, `cover.rs`): see below. The event joins the batch, with a mark for each who gets it.
//!
//! Then the batch ends, subscriber by subscriber (`batch.rs`, `parcel.rs`): what one gets is pushed, as one bundle if
//! that is worth it, and it is woken, once. A bundle is shared by all who get the same events, and takes one place in a
//! queue and one count.
//!
//! # Matching
//!
//! A filter is filed under equalities of which one must hold for whatever it matches: its cover. `ScrollId(x)` is
//! covered by itself, `any` by all that its parts are covered by, `all` by its narrowest part. An event looks under the
//! few keys that it has, so finds its candidates without a walk over the others, and evaluates only the filters that
//! their key does not decide. What has no cover (`not`, `custom`, all events) is kept in one list that every event
//! walks.
//!
//! # The subscriber list (`subscribers.rs`, `slots.rs`)
//!
//! An immutable state in chunks of 128 slots, replaced as a whole. Who subscribes, changes a filter or leaves copies
//! the chunks it touches, under a mutex that only such writers take. Readers load a pointer. The dispatch thread looks
//! at that pointer for every event, and where it has changed refiles what is different: so who subscribed before a
//! publish began is in the table when that event is matched.
//!
//! A receiver that is dropped sets its queue's flag, notes its id and nudges the dispatch thread, which takes all that
//! are noted out of the list in one write.
//!
//! # Queues (`queue.rs`)
//!
//! A ring with one producer, the dispatch thread, and one consumer, the receiver; for drop-oldest, a queue whose two
//! ends may both take from it. The dispatch thread numbers what matched the subscriber, and each entry carries that
//! number. The receiver compares it with the last one it saw: the difference is [`missed`](crate::Delivery::missed). So
//! a loss is exact whichever end it was lost at, and no counter has to be read together with a queue.
//!
//! Waiting follows one order everywhere: look, register, look again, sleep. Who signals changes what is looked at
//! first, and then looks for who waits.
//!
//! A queue that conflates has a ring twice as long and, on the dispatch thread's side, what waits for room, by sequence and
//! by scroll. While something waits, the dispatch thread asks for room by a flag that it swaps, and looks once more; the
//! receiver swaps the flag back as it takes an entry, and if it was set asks for the upkeep that hands over what waits.
//!
//! # Handles on an event (`lot.rs`)
//!
//! An event is held once. Who shares it knows in advance how many get it, so all handles are counted by one plain store
//! as it is made, and each costs one atomic step, as it is dropped. `Arc` takes two. It is the only room with `unsafe`
//! code.
//!
//! # Interest (`interest.rs`, `census.rs`)
//!
//! Whoever writes the subscriber list also counts what its filters ask for, in a hash table of counts that publishers read
//! without a lock. A filter is counted in before the list has it and counted out after the list has it no more; a withdrawal
//! is announced before anything is counted out, so an asker that finds nobody knows whether to believe it.
//!
//! # Late joiners (`history.rs`)
//!
//! The dispatch thread records an event as it matches it, and hands a backlog over as it files the new subscriber. Both
//! happen on that one thread, between two events, so there is no moment between the last event of a backlog and the
//! first live one.
//!
//! # Assisted dispatch (`turn.rs`)
//!
//! With [`assisted_dispatch`](crate::BusBuilder::assisted_dispatch) "the dispatch thread" is whoever has the turn. A
//! publisher that finds it free, after 20 µs without any, takes it, runs one batch and gives it back; all else is left
//! to the bus's own thread. Who asks for the turn and who lets go of it meet in one atomic, so no event is left behind.
//!
//! # Locks
//!
//! None is held while code of the host's runs: filters, wakers, sinks, payloads' hooks and drops, the logger. What
//! there is: the list's mutex, for its writers; those around the wakers of tasks that wait for room or for a flush, to
//! put one in or take one out; the session cache's, for registrations and, a shard at a time, for look-ups; and on an
//! assisted bus one to move the dispatcher in and out. A receive takes none of them, and a publish none but the last;
//! where a thread has to sleep or to be woken, the channel and the parker below them have their own.
//!
//! # How it is checked
//!
//! Every primitive above comes from one room, `sync.rs`, and a build with `--cfg sharing_bus_loom` has stand-ins there
//! that [loom](https://docs.rs/loom) drives through all schedules. All the rest is the shipped source.

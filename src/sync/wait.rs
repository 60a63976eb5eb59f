//! Waiting: a list of tasks that wait for a condition, a latch, and a function that blocks a thread on a poll.
//!
//! A [`WaitList`] owns the wakers of the tasks that wait, in order of arrival. A mutex guards the wakers; it is held
//! only to insert and remove them. Wakers are user code, so they are cloned, woken and dropped outside the mutex.
//! (`event-listener` offers the same list, but wakes under its lock.) A [`Latch`] is a flag that is set once, with a
//! list of the tasks and threads that wait for it. [`block_on`] polls on a thread and parks the thread in between.
//!
//! A waiter checks the condition, registers its waker, and checks again before it sleeps ([`poll_registered`]). A
//! notifier first changes the condition and then looks for waiters. Both perform a read-modify-write of one counter, so
//! at least one of the two sees the other.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::panic;
use crate::sync::{Mutex, Parker};

/// The wakers of a list by ticket, and so in order of arrival.
#[derive(Default)]
struct Waiters {
    last_ticket: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// Tasks that wait until a notification makes something available.
pub(crate) struct WaitList {
    /// Number of registered wakers. It spares `notify` the lock when no task waits.
    waiting: AtomicUsize,
    waiters: Mutex<Waiters>,
}

impl WaitList {
    pub(crate) fn new() -> Self {
        WaitList {
            waiting: AtomicUsize::new(0),
            waiters: Mutex::new(Waiters::default()),
        }
    }

    /// Wakes the `count` tasks that have waited longest. A task whose waker panics does not count, because it may never
    /// use its notification.
    pub(crate) fn notify(&self, count: usize) {
        let mut left = count;
        while left > 0 && self.has_waiters() {
            left = wake_all(self.take(left));
        }
    }

    #[inline]
    fn has_waiters(&self) -> bool {
        // Ordering: AcqRel, a read-modify-write, pairs with the one in `publish_len`. If this one comes first, the
        // registering waiter sees the caller's change. If it comes second, this call sees the waiter.
        self.waiting.fetch_add(0, Ordering::AcqRel) > 0
    }

    /// Removes the wakers of the `count` tasks that have waited longest.
    fn take(&self, count: usize) -> BTreeMap<u64, Waker> {
        let mut waiters = self.waiters.lock();
        let rest = match waiters.wakers.keys().nth(count).copied() {
            Some(first_to_stay) => waiters.wakers.split_off(&first_to_stay),
            None => BTreeMap::new(),
        };
        let woken = std::mem::replace(&mut waiters.wakers, rest);
        self.publish_len(&waiters);
        woken
    }

    pub(crate) fn waiter(&self) -> Waiter<'_> {
        Waiter {
            list: self,
            ticket: None,
        }
    }

    /// Stores the number of waiters. The caller holds the lock, so the last store is the current number.
    fn publish_len(&self, waiters: &Waiters) {
        // Ordering: AcqRel, a read-modify-write, pairs with the one in `has_waiters`.
        self.waiting.swap(waiters.wakers.len(), Ordering::AcqRel);
    }
}

/// Wakes tasks, and returns how many of the wakers panicked.
fn wake_all(wakers: BTreeMap<u64, Waker>) -> usize {
    let woken = wakers.into_values().map(|waker| panic::run(|| waker.wake()));
    woken.filter(Result::is_err).count()
}

/// One task's place in a [`WaitList`].
///
/// A waiter that is dropped after a notification, but before [`finish`](Self::finish), passes the notification on. So a
/// canceled wait loses no notification.
pub(crate) struct Waiter<'a> {
    list: &'a WaitList,
    ticket: Option<u64>,
}

impl Waiter<'_> {
    /// Registers a waker, which replaces any earlier waker of this waiter. A waiter keeps its place in the order of
    /// arrival, also after a notification that it could not use.
    pub(crate) fn register(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut waiters = self.list.waiters.lock();
        let ticket = self.ticket.unwrap_or_else(|| {
            waiters.last_ticket += 1;
            waiters.last_ticket
        });
        let replaced = waiters.wakers.insert(ticket, waker);
        self.list.publish_len(&waiters);
        drop(waiters);
        self.ticket = Some(ticket);
        panic::discard(replaced);
    }

    /// Ends the wait: the condition was met, so no notification needs to be passed on.
    pub(crate) fn finish(&mut self) {
        self.leave();
    }

    /// Removes the waiter from the list. Returns `true` if a notification had removed it before.
    fn leave(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else {
            return false;
        };
        let mut waiters = self.list.waiters.lock();
        let waker = waiters.wakers.remove(&ticket);
        self.list.publish_len(&waiters);
        drop(waiters);
        let notified = waker.is_none();
        panic::discard(waker);
        notified
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if self.leave() {
            self.list.notify(1);
        }
    }
}

/// Checks a condition, registers a waker, and checks again.
///
/// The second check is necessary: a change between the first check and the registration wakes no task.
#[inline]
pub(crate) fn poll_registered<S, T>(
    state: &mut S,
    check: impl Fn(&mut S) -> Poll<T>,
    register: impl FnOnce(&mut S),
) -> Poll<T> {
    if let ready @ Poll::Ready(_) = check(state) {
        return ready;
    }
    register(state);
    check(state)
}

/// A flag that is set once, and that tasks and threads wait for.
pub(crate) struct Latch {
    set: AtomicBool,
    waiters: WaitList,
}

impl Latch {
    pub(crate) fn new() -> Self {
        Latch {
            set: AtomicBool::new(false),
            waiters: WaitList::new(),
        }
    }

    pub(crate) fn set(&self) {
        // Ordering: Release, pairs with the Acquire in `is_set`: a waiter that sees the flag sees everything that
        // happened before the call.
        self.set.store(true, Ordering::Release);
        self.waiters.notify(usize::MAX);
    }

    pub(crate) fn is_set(&self) -> bool {
        // Ordering: Acquire, pairs with `set`.
        self.set.load(Ordering::Acquire)
    }

    /// Waits as a task. Cancel safe.
    pub(crate) async fn wait(&self) {
        let mut waiter = self.waiters.waiter();
        std::future::poll_fn(|cx| self.poll_wait(&mut waiter, cx)).await;
    }

    /// Blocks the thread.
    pub(crate) fn wait_blocking(&self) {
        let mut waiter = self.waiters.waiter();
        block_on(&Parker::new(), None, |cx| self.poll_wait(&mut waiter, cx));
    }

    fn poll_wait(&self, waiter: &mut Waiter<'_>, cx: &mut Context<'_>) -> Poll<()> {
        let check = |_: &mut Waiter<'_>| {
            if self.is_set() { Poll::Ready(()) } else { Poll::Pending }
        };
        poll_registered(waiter, check, |waiter| waiter.register(cx.waker()))
    }
}

/// Polls until ready, and parks the thread between polls. Returns `None` if the deadline passes first.
pub(crate) fn block_on<T>(
    parker: &Parker,
    deadline: Option<Instant>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Option<T> {
    let waker = Waker::from(parker.unparker());
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(value) = poll(&mut cx) {
            return Some(value);
        }
        match deadline {
            None => parker.park(),
            Some(deadline) => {
                if !parker.park_deadline(deadline) {
                    return match poll(&mut cx) {
                        Poll::Ready(value) => Some(value),
                        Poll::Pending => None,
                    };
                }
            }
        }
    }
}

/// A waker for tests.
#[cfg(test)]
mod count {
    use std::task::Wake;

    use super::*;
    use crate::sync::Arc;

    /// Counts its wake-ups.
    pub(crate) struct Count(AtomicUsize);

    impl Count {
        pub(crate) fn new() -> Arc<Self> {
            Arc::new(Count(AtomicUsize::new(0)))
        }

        pub(crate) fn waker(count: &Arc<Self>) -> Waker {
            Waker::from(Arc::clone(count))
        }

        pub(crate) fn get(&self) -> usize {
            self.0.load(Ordering::Acquire)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::AcqRel);
        }
    }
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::count::Count;
    use super::*;

    #[test]
    fn a_condition_met_before_the_registration_is_seen_after_it() {
        let (mut met, mut registered) = (false, 0);
        let mut poll = |meets: bool| {
            let check = |met: &mut bool| if *met { Poll::Ready(()) } else { Poll::Pending };
            poll_registered(&mut met, check, |met| {
                registered += 1;
                *met = meets;
            })
        };
        assert_eq!(
            [poll(false), poll(true), poll(true)],
            [Poll::Pending, Poll::Ready(()), Poll::Ready(())]
        );
        assert_eq!(registered, 2, "the last poll found the condition at once");
    }

    #[test]
    fn a_latch_wakes_each_waiter() {
        let latch = Latch::new();
        let counts = [Count::new(), Count::new(), Count::new()];
        let mut waiters = [(); 3].map(|()| latch.waiters.waiter());
        let mut poll_all = || {
            let polls = waiters.iter_mut().zip(&counts);
            let polls =
                polls.map(|(waiter, count)| latch.poll_wait(waiter, &mut Context::from_waker(&Count::waker(count))));
            polls.collect::<Vec<_>>()
        };
        assert_eq!(poll_all(), [Poll::Pending; 3]);
        latch.set();
        assert_eq!(poll_all(), [Poll::Ready(()); 3]);
        assert_eq!(counts.each_ref().map(|count| count.get()), [1, 1, 1]);
    }

    #[test]
    fn waiters_are_notified_in_order_of_arrival() {
        let list = WaitList::new();
        let counts = [Count::new(), Count::new(), Count::new()];
        let mut waiters = [list.waiter(), list.waiter(), list.waiter()];
        for (waiter, count) in waiters.iter_mut().zip(&counts) {
            waiter.register(&Count::waker(count));
        }
        list.notify(2);
        assert_eq!(counts.each_ref().map(|count| count.get()), [1, 1, 0]);
        list.notify(2);
        assert_eq!(counts.each_ref().map(|count| count.get()), [1, 1, 1]);
    }

    #[test]
    fn a_notified_waiter_that_registers_again_is_first_again() {
        let list = WaitList::new();
        let (first, second) = (Count::new(), Count::new());
        let (mut unlucky, mut next) = (list.waiter(), list.waiter());
        unlucky.register(&Count::waker(&first));
        next.register(&Count::waker(&second));
        list.notify(1);
        unlucky.register(&Count::waker(&first));
        list.notify(1);
        assert_eq!((first.get(), second.get()), (2, 0));
    }

    #[test]
    fn a_second_waker_replaces_the_first_in_its_place() {
        let list = WaitList::new();
        let (before, after, other) = (Count::new(), Count::new(), Count::new());
        let (mut waiter, mut next) = (list.waiter(), list.waiter());
        waiter.register(&Count::waker(&before));
        next.register(&Count::waker(&other));
        waiter.register(&Count::waker(&after));
        list.notify(1);
        assert_eq!((before.get(), after.get(), other.get()), (0, 1, 0));
    }

    #[test]
    fn a_notification_is_passed_on_only_by_a_waiter_dropped_unfinished() {
        for (notified, finished, passed_on) in [(true, false, 1), (true, true, 0), (false, false, 0)] {
            let list = WaitList::new();
            let (first, second) = (Count::new(), Count::new());
            let (mut leaving, mut staying) = (list.waiter(), list.waiter());
            leaving.register(&Count::waker(&first));
            staying.register(&Count::waker(&second));
            if notified {
                list.notify(1);
            }
            if finished {
                leaving.finish();
            }
            drop(leaving);
            assert_eq!(second.get(), passed_on, "notified {notified}, finished {finished}");
        }
    }
}

/// These models are small enough for every execution.
#[cfg(all(test, sharing_bus_loom))]
pub(crate) mod models {
    use super::*;
    use crate::sync::Arc;
    pub(crate) use crate::sync::wait::count::Count;

    #[test]
    fn set_races_a_waiting_thread() {
        loom::model(|| {
            let latch = Arc::new(Latch::new());
            let other = Arc::clone(&latch);
            let seen = Arc::new(AtomicUsize::new(0));
            let written = Arc::clone(&seen);
            let setting = loom::thread::spawn(move || {
                written.store(1, Ordering::Relaxed);
                other.set();
            });
            latch.wait_blocking();
            assert_eq!(
                seen.load(Ordering::Relaxed),
                1,
                "a store before the latch is visible behind it"
            );
            setting.join().unwrap();
        });
    }

    /// A waiter that finds no space in both checks is woken as soon as there is space.
    #[test]
    fn notify_races_a_waiter() {
        loom::model(|| {
            let list = Arc::new(WaitList::new());
            let space = Arc::new(AtomicUsize::new(0));
            let (other, freed) = (Arc::clone(&list), Arc::clone(&space));
            let freeing = loom::thread::spawn(move || {
                freed.store(1, Ordering::Relaxed);
                other.notify(1);
            });
            let count = Count::new();
            let mut waiter = list.waiter();
            waiter.register(&Count::waker(&count));
            let waits = space.load(Ordering::Relaxed) == 0;
            freeing.join().unwrap();
            assert!(!waits || count.get() == 1, "the wake-up is lost");
        });
    }

    /// A waiter that is dropped as it is notified passes the notification on.
    #[test]
    fn notify_races_a_dropped_waiter() {
        loom::model(|| {
            let list = Arc::new(WaitList::new());
            let (first, second) = (Count::new(), Count::new());
            let mut leaving = list.waiter();
            leaving.register(&Count::waker(&first));
            let mut staying = list.waiter();
            staying.register(&Count::waker(&second));
            let other = Arc::clone(&list);
            let notifying = loom::thread::spawn(move || other.notify(1));
            drop(leaving);
            notifying.join().unwrap();
            assert_eq!(second.get(), 1, "the notification is lost");
        });
    }
}

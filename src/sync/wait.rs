//! Waiting without a lock held: tasks that wait for a condition, and threads that wait like tasks.
//!
//! [`WaitList`] owns the wakers of whoever waits, first come first served, behind a mutex that is held only to put
//! wakers in and take them out: wakers are cloned, woken and dropped outside it, because they are user code.
//! (`event-listener` does this job too, but wakes under its list's lock.) [`Latch`] is a flag that is set once, with a
//! list of those who wait for it. [`block_on`] lets a thread wait the way a task does.
//!
//! Whoever waits follows one order: look, register, look again, sleep. Whoever signals first changes what is looked
//! at and then looks for waiters. Both pass through read-modify-writes of one counter, so one of them sees the other.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::panic;
use crate::sync::{Mutex, Parker};

#[derive(Default)]
struct Line {
    next_ticket: u64,
    wakers: BTreeMap<u64, Waker>,
}

/// Tasks in line for something that a notification makes available.
pub(crate) struct WaitList {
    /// How many wakers are in line, so that a notification with nobody waiting takes no lock.
    waiting: AtomicUsize,
    line: Mutex<Line>,
}

impl WaitList {
    pub(crate) fn new() -> Self {
        WaitList {
            waiting: AtomicUsize::new(0),
            line: Mutex::new(Line::default()),
        }
    }

    /// Wakes the first `count` in line.
    pub(crate) fn notify(&self, count: usize) {
        // Ordering: AcqRel, a read-modify-write, pairs with the one in `Waiter::register`. If this one comes first,
        // the waiter that registers sees what the caller changed before; if it comes second, it sees the waiter.
        let waiting = self.waiting.fetch_add(0, Ordering::AcqRel);
        if waiting == 0 {
            return;
        }
        let mut line = self.line.lock();
        let rest = match line.wakers.keys().nth(count).copied() {
            Some(first_to_stay) => line.wakers.split_off(&first_to_stay),
            None => BTreeMap::new(),
        };
        let woken = std::mem::replace(&mut line.wakers, rest);
        self.publish_len(&line);
        drop(line);
        for waker in woken.into_values() {
            let _ = panic::run(|| waker.wake());
        }
    }

    pub(crate) fn waiter(&self) -> Waiter<'_> {
        Waiter {
            list: self,
            ticket: None,
        }
    }

    fn publish_len(&self, line: &Line) {
        // Ordering: AcqRel, a read-modify-write; see `notify`. Called with the line locked, so the last one is right.
        self.waiting.swap(line.wakers.len(), Ordering::AcqRel);
    }
}

/// One task's place in a [`WaitList`].
///
/// Dropped after it was notified and before it said that it is [`satisfied`](Self::satisfied), it passes the
/// notification on, so that a cancelled wait loses none.
pub(crate) struct Waiter<'a> {
    list: &'a WaitList,
    ticket: Option<u64>,
}

impl Waiter<'_> {
    /// Puts the waker in line, or in place of the one that this waiter has there. Who was notified and found that others
    /// had been quicker is first in line again.
    pub(crate) fn register(&mut self, waker: &Waker) {
        let waker = waker.clone();
        let mut line = self.list.line.lock();
        let ticket = self.ticket.unwrap_or_else(|| {
            line.next_ticket += 1;
            line.next_ticket
        });
        let replaced = line.wakers.insert(ticket, waker);
        self.list.publish_len(&line);
        drop(line);
        self.ticket = Some(ticket);
        panic::discard(replaced);
    }

    /// The waiter has what it waited for and leaves the line.
    pub(crate) fn satisfied(&mut self) {
        self.leave();
    }

    /// Leaves the line; true if a notification had taken the waiter out of it.
    fn leave(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else {
            return false;
        };
        let mut line = self.list.line.lock();
        let waker = line.wakers.remove(&ticket);
        self.list.publish_len(&line);
        drop(line);
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

/// A flag that is set once and waited for.
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
        // Ordering: Release, pairs with the Acquire in `is_set`: who sees the flag sees what came before it.
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

    /// Waits as a thread.
    pub(crate) fn wait_blocking(&self) {
        let mut waiter = self.waiters.waiter();
        block_on(&Parker::new(), None, |cx| self.poll_wait(&mut waiter, cx));
    }

    fn poll_wait(&self, waiter: &mut Waiter<'_>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_set() {
            return Poll::Ready(());
        }
        waiter.register(cx.waker());
        if self.is_set() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// Polls until ready, parking the thread in between; `None` if the deadline passes first.
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

/// A waker that tells.
#[cfg(test)]
mod count {
    use std::task::Wake;

    use super::*;
    use crate::sync::Arc;

    /// Counts how often it is woken.
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
    fn who_waits_longest_is_notified_first() {
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
    fn who_came_too_late_is_first_again() {
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
    fn another_waker_takes_the_place_of_the_one_before() {
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
    fn a_turn_is_passed_on_by_who_had_it_and_left_unsatisfied_alone() {
        for (notified, satisfied, passed_on) in [(true, false, 1), (true, true, 0), (false, false, 0)] {
            let list = WaitList::new();
            let (first, second) = (Count::new(), Count::new());
            let (mut leaving, mut staying) = (list.waiter(), list.waiter());
            leaving.register(&Count::waker(&first));
            staying.register(&Count::waker(&second));
            if notified {
                list.notify(1);
            }
            if satisfied {
                leaving.satisfied();
            }
            drop(leaving);
            assert_eq!(second.get(), passed_on, "notified {notified}, satisfied {satisfied}");
        }
    }
}

/// Small enough for every execution there is.
#[cfg(all(test, sharing_bus_loom))]
pub(crate) mod models {
    use super::*;
    use crate::sync::Arc;
    pub(crate) use crate::sync::wait::count::Count;

    #[test]
    fn set_races_a_thread_that_waits() {
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
                "what came before the latch is seen behind it"
            );
            setting.join().unwrap();
        });
    }

    /// Look, register, look again: whoever finds no room twice is woken once there is some.
    #[test]
    fn notify_races_a_waiter() {
        loom::model(|| {
            let list = Arc::new(WaitList::new());
            let room = Arc::new(AtomicUsize::new(0));
            let (other, made) = (Arc::clone(&list), Arc::clone(&room));
            let making = loom::thread::spawn(move || {
                made.store(1, Ordering::Relaxed);
                other.notify(1);
            });
            let count = Count::new();
            let mut waiter = list.waiter();
            waiter.register(&Count::waker(&count));
            let waits = room.load(Ordering::Relaxed) == 0;
            making.join().unwrap();
            assert!(!waits || count.get() == 1, "the wake-up is lost");
        });
    }

    /// A waiter that gives up as its turn comes passes it on.
    #[test]
    fn notify_races_a_waiter_that_gives_up() {
        loom::model(|| {
            let list = Arc::new(WaitList::new());
            let (first, second) = (Count::new(), Count::new());
            let mut giving_up = list.waiter();
            giving_up.register(&Count::waker(&first));
            let mut staying = list.waiter();
            staying.register(&Count::waker(&second));
            let other = Arc::clone(&list);
            let notifying = loom::thread::spawn(move || other.notify(1));
            drop(giving_up);
            notifying.join().unwrap();
            assert_eq!(second.get(), 1, "the turn is lost");
        });
    }
}

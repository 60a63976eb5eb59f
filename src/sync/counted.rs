//! A shared value whose handles are counted many at a time: [`Lot`] and [`Counted`].
//!
//! The one room with `unsafe` code, for what `Arc` does not offer. Whoever shares a value knows in advance how many will
//! get it: the dispatch thread an event's pushes, a receiver the deliveries of a bundle. All their handles are counted as
//! the value is made, with one plain store. Each is then handed out by a move and costs one atomic step, as it is
//! dropped; with `Arc` it costs two. Half of a delivery's time was those two steps (see `benches/README.md`).
//!
//! Synchronised by the count alone. A handle gives up its part by a Release step, and who finds that no other is left
//! acquires all of them before it drops the value. Nobody reaches the value but through a handle, and nobody reaches it
//! for writing until it is dropped.
#![expect(
    unsafe_code,
    reason = "one atomic step a delivery instead of two, which no safe type offers"
)]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::sync::count::{AtomicUsize, Ordering};

struct Inner<T> {
    /// Handles that there are, taken or not.
    count: AtomicUsize,
    value: T,
}

/// A handle on a shared value.
pub(crate) struct Counted<T> {
    inner: NonNull<Inner<T>>,
    owned: PhantomData<Inner<T>>,
}

// SAFETY: as for `Arc`. A handle gives `&T` wherever it is sent or shared, hence `T: Sync`, and drops the `T` there if
// it is the last, hence `T: Send`.
unsafe impl<T: Send + Sync> Send for Counted<T> {}
// SAFETY: as above; from `&Counted<T>` another thread can clone a handle of its own.
unsafe impl<T: Send + Sync> Sync for Counted<T> {}

impl<T> Counted<T> {
    /// The value by itself: one handle.
    pub(crate) fn new(value: T) -> Self {
        Lot::new(value, 0).0
    }

    /// A handle that is counted, and nobody else's.
    fn of(inner: NonNull<Inner<T>>) -> Self {
        Counted {
            inner,
            owned: PhantomData,
        }
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: this handle is counted, so the value has not been dropped, and nobody writes to it.
        unsafe { self.inner.as_ref() }
    }

    #[cfg(all(test, not(sharing_bus_loom)))]
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl<T> Deref for Counted<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.inner().value
    }
}

impl<T> Clone for Counted<T> {
    fn clone(&self) -> Self {
        // SAFETY: this handle is counted.
        unsafe { count_another(self.inner) };
        Counted::of(self.inner)
    }
}

impl<T> Drop for Counted<T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: this handle is counted and given up here.
        unsafe { give_up(self.inner, 1) }
    }
}

/// Handles that are counted and not yet taken; none, in the end.
pub(crate) struct Lot<T> {
    /// Dangles once none is left.
    inner: NonNull<Inner<T>>,
    left: usize,
    owned: PhantomData<Inner<T>>,
}

// SAFETY: a lot is a number of handles.
unsafe impl<T: Send + Sync> Send for Lot<T> {}
// SAFETY: likewise; and `&Lot<T>` gives nothing away.
unsafe impl<T: Send + Sync> Sync for Lot<T> {}

impl<T> Lot<T> {
    /// Shares a value by a handle and so many others.
    pub(crate) fn new(value: T, others: usize) -> (Counted<T>, Self) {
        let count = AtomicUsize::new(others + 1);
        let inner = NonNull::from(Box::leak(Box::new(Inner { count, value })));
        let lot = Lot {
            inner,
            left: others,
            owned: PhantomData,
        };
        (Counted::of(inner), lot)
    }

    /// Takes a handle out of the lot, if one is left.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Counted<T>> {
        self.left = self.left.checked_sub(1)?;
        // Counted when the lot was made, and no longer the lot's.
        Some(Counted::of(self.inner))
    }

    /// Takes a handle out of the lot and leaves one there, counting another if need be. None if none is left.
    pub(crate) fn take_or_clone(&mut self) -> Option<Counted<T>> {
        if self.left == 1 {
            // SAFETY: the one that is left is counted.
            unsafe { count_another(self.inner) };
            self.left = 2;
        }
        self.take()
    }
}

impl<T> Drop for Lot<T> {
    fn drop(&mut self) {
        if self.left > 0 {
            // SAFETY: those left are counted, and given up here.
            unsafe { give_up(self.inner, self.left) }
        }
    }
}

/// Counts one more handle.
///
/// # Safety
///
/// The caller has one that is counted.
unsafe fn count_another<T>(inner: NonNull<Inner<T>>) {
    // SAFETY: a counted handle keeps the value from being dropped.
    let count = unsafe { &inner.as_ref().count };
    // Ordering: Relaxed, as for `Arc`: the caller's handle keeps the value alive for the new one.
    if count.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
        // So many can only have been forgotten, and one more round would free the value under those that are left.
        std::process::abort();
    }
}

/// Gives up so many handles, and drops the value if they are the last.
///
/// # Safety
///
/// They are counted, the caller's to give up, and used by nobody afterwards.
#[inline]
unsafe fn give_up<T>(inner: NonNull<Inner<T>>, handles: usize) {
    // SAFETY: the handles are counted, so the value has not been dropped.
    let count = unsafe { &inner.as_ref().count };
    // Ordering: Acquire, pairs with the Release below: if no others are left, what was done through them is done. It then
    // stays so, for only from a handle can there be another; so the last step needs no read-modify-write.
    if count.load(Ordering::Acquire) != handles {
        // Ordering: Release, pairs with both Acquires: whoever finds itself the last sees what was done through these.
        if count.fetch_sub(handles, Ordering::Release) != handles {
            return;
        }
        // Ordering: Acquire, pairs with the Release of the others. A load and not a fence, which ThreadSanitizer does
        // not know.
        count.load(Ordering::Acquire);
    }
    // SAFETY: made from a box in `Lot::new`, and no handle is left that could reach it.
    drop(unsafe { Box::from_raw(inner.as_ptr()) });
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::sync::Arc;

    /// A lot of so many handles in all, and what tells whether the value is alive: 2 while it is, 1 afterwards.
    fn lot(handles: usize) -> (Counted<Arc<()>>, Lot<Arc<()>>, Arc<()>) {
        let value = Arc::new(());
        let (first, others) = Lot::new(Arc::clone(&value), handles - 1);
        (first, others, value)
    }

    #[test]
    fn a_value_lives_as_long_as_a_handle_taken_or_not() {
        let (first, mut others, value) = lot(3);
        drop(first);
        let second = others.take();
        drop(others);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(second);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_lot_gives_as_many_handles_as_were_counted() {
        let (first, mut others, value) = lot(3);
        let taken: Vec<_> = std::iter::from_fn(|| others.take()).collect();
        assert_eq!(taken.len(), 2);
        assert!(taken.iter().all(|handle| handle.same(&first)));
        assert!(others.take().is_none() && others.take_or_clone().is_none());
        drop((taken, first, others));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn the_last_of_a_lot_is_cloned_if_asked() {
        let (first, mut others, value) = lot(2);
        let taken: Vec<_> = (0..5).map_while(|_| others.take_or_clone()).collect();
        assert_eq!(taken.len(), 5);
        drop((taken, first));
        assert_eq!(Arc::strong_count(&value), 2, "the lot has one still");
        let last = others.take();
        assert!(others.take().is_none());
        drop(others);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(last);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_clone_is_a_handle_like_others() {
        let (first, others, value) = lot(1);
        drop(others);
        let clone = first.clone();
        drop(first);
        assert!(Arc::ptr_eq(&clone, &value));
        drop(clone);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    /// Freed once, by whoever is the last, with every handle's work done.
    #[test]
    fn threads_give_up_their_handles_in_any_order() {
        const THREADS: usize = 4;
        for _ in 0..2_000 {
            let (first, mut others, value) = lot(2 * THREADS);
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    let handle = others.take_or_clone();
                    scope.spawn(move || {
                        let copy = handle.clone();
                        drop(handle);
                        assert!(Arc::strong_count(copy.as_ref().unwrap()) >= 1);
                    });
                }
                drop((first, others));
            });
            assert_eq!(Arc::strong_count(&value), 1);
        }
    }
}

#[cfg(all(test, sharing_bus_loom))]
mod models {
    use super::*;
    use crate::sync::Arc;

    /// Drops of the value, and what each handle has left of itself in it: relaxed, so that only the count orders it.
    struct Value {
        marks: [AtomicUsize; 3],
        drops: Arc<AtomicUsize>,
    }

    impl Drop for Value {
        fn drop(&mut self) {
            let marks = self.marks.each_ref().map(|mark| mark.load(Ordering::Relaxed));
            assert_eq!(marks, [1; 3], "the value goes while it is in use");
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The handle's user, for the last time.
    fn finish(handle: Counted<Value>, place: usize) {
        handle.marks[place].store(1, Ordering::Relaxed);
    }

    fn race(hand_out: fn(Counted<Value>, Lot<Value>) -> [Counted<Value>; 3]) {
        loom::model(move || {
            let drops = Arc::new(AtomicUsize::new(0));
            let value = Value {
                marks: std::array::from_fn(|_| AtomicUsize::new(0)),
                drops: Arc::clone(&drops),
            };
            let (first, others) = Lot::new(value, 3);
            let [a, b, c] = hand_out(first, others);
            let threads = [(a, 0), (b, 1)].map(|(handle, place)| loom::thread::spawn(move || finish(handle, place)));
            finish(c, 2);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(drops.load(Ordering::Relaxed), 1, "dropped once");
        });
    }

    #[test]
    fn handles_race_the_last() {
        race(|first, mut others| [first, others.take().unwrap(), others.take().unwrap()]);
    }

    #[test]
    fn clones_race_the_last() {
        race(|first, mut others| {
            let second = others.take_or_clone().unwrap();
            drop(others);
            let third = second.clone();
            [first, second, third]
        });
    }
}

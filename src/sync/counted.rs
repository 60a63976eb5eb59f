//! A shared value whose handles are counted many at a time: [`Handles`] and [`Counted`].
//!
//! This is the only file with `unsafe` code, because `Arc` cannot count handles in advance. The number of handles is
//! fixed when a value is shared: one for each push of an event, or one for each delivery of a bundle. One plain store
//! counts all these handles when the value is created. Each handle is then moved out, and costs one atomic operation
//! when it is dropped. An `Arc` needs two. Those two operations were half of the time of a delivery (see
//! `benches/README.md`).
//!
//! The count is the only synchronization. Dropping a handle decrements the count with Release ordering. The thread that
//! drops the last handle acquires all earlier decrements before it drops the value. Threads reach the value only
//! through a handle, and only for reading until it is dropped.
#![expect(
    unsafe_code,
    reason = "one atomic operation per delivery instead of two, which no safe type offers"
)]

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::sync::count::{AtomicUsize, Ordering};

/// The allocation that all handles share.
struct Inner<T> {
    /// Number of handles, taken out or not.
    count: AtomicUsize,
    value: T,
}

/// A handle to a shared value.
pub(crate) struct Counted<T> {
    inner: NonNull<Inner<T>>,
    owned: PhantomData<Inner<T>>,
}

// SAFETY: the bounds are those of `Arc`. A handle provides `&T` on each thread that has it, which needs `T: Sync`. The
// last handle drops the `T` on its thread, which needs `T: Send`.
unsafe impl<T: Send + Sync> Send for Counted<T> {}
// SAFETY: the bounds are the same, because another thread can clone a handle from `&Counted<T>`.
unsafe impl<T: Send + Sync> Sync for Counted<T> {}

impl<T> Counted<T> {
    /// Shares a value with one handle.
    pub(crate) fn new(value: T) -> Self {
        Handles::new(value, 0).0
    }

    /// Creates a handle for one unit of the count, which the caller must own.
    fn of(inner: NonNull<Inner<T>>) -> Self {
        Counted {
            inner,
            owned: PhantomData,
        }
    }

    fn inner(&self) -> &Inner<T> {
        // SAFETY: this handle is counted, so the value has not been dropped, and no thread writes to it.
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
        // SAFETY: this handle is counted, and it is not used afterward.
        unsafe { give_up(self.inner, 1) }
    }
}

/// Handles that are counted and not yet taken out.
pub(crate) struct Handles<T> {
    /// The allocation. The pointer may dangle once no handle is left.
    inner: NonNull<Inner<T>>,
    left: usize,
    owned: PhantomData<Inner<T>>,
}

// SAFETY: a `Handles` is a number of handles, so the bounds are those of `Counted`.
unsafe impl<T: Send + Sync> Send for Handles<T> {}
// SAFETY: the bounds are those of `Counted`, and `&Handles<T>` provides no access to the handles.
unsafe impl<T: Send + Sync> Sync for Handles<T> {}

impl<T> Handles<T> {
    /// Shares a value. Returns one handle, and a [`Handles`] of `others` further handles.
    pub(crate) fn new(value: T, others: usize) -> (Counted<T>, Self) {
        let count = AtomicUsize::new(others + 1);
        let inner = NonNull::from(Box::leak(Box::new(Inner { count, value })));
        let handles = Handles {
            inner,
            left: others,
            owned: PhantomData,
        };
        (Counted::of(inner), handles)
    }

    /// Takes out one handle, or returns `None` if no handle is left.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Counted<T>> {
        self.left = self.left.checked_sub(1)?;
        // `new` counted this handle, and the decrement of `left` removes it from this value.
        Some(Counted::of(self.inner))
    }

    /// Takes out one handle and leaves at least one, which may need another count. Returns `None` if no handle is left.
    pub(crate) fn take_or_clone(&mut self) -> Option<Counted<T>> {
        if self.left == 1 {
            // SAFETY: the remaining handle is counted.
            unsafe { count_another(self.inner) };
            self.left = 2;
        }
        self.take()
    }
}

impl<T> Drop for Handles<T> {
    fn drop(&mut self) {
        if self.left > 0 {
            // SAFETY: the remaining handles are counted, and they are not used afterward.
            unsafe { give_up(self.inner, self.left) }
        }
    }
}

/// Increments the count by one handle.
///
/// # Safety
///
/// The caller must own a counted handle.
unsafe fn count_another<T>(inner: NonNull<Inner<T>>) {
    // SAFETY: a counted handle keeps the value from being dropped.
    let count = unsafe { &inner.as_ref().count };
    // Ordering: Relaxed, as for `Arc`: the caller's handle keeps the value alive for the new one.
    if count.fetch_add(1, Ordering::Relaxed) > isize::MAX as usize {
        // That many handles exist only if they were leaked. If the count overflowed, the value would be freed while
        // handles to it exist.
        std::process::abort();
    }
}

/// Decrements the count by `handles`, and drops the value if no handle is left.
///
/// # Safety
///
/// The caller must own that many counted handles, and must not use them afterward.
#[inline]
unsafe fn give_up<T>(inner: NonNull<Inner<T>>, handles: usize) {
    // SAFETY: the handles are counted, so the value has not been dropped.
    let count = unsafe { &inner.as_ref().count };
    // Ordering: Acquire, pairs with the Release below. If no other handle is left, this thread sees all accesses
    // through the dropped handles. Only the owner of a handle can make another one, so the count cannot change any
    // more. The last step therefore needs no read-modify-write.
    if count.load(Ordering::Acquire) != handles {
        // Ordering: Release, pairs with both Acquires. The thread that drops the last handle sees all accesses through
        // these handles.
        if count.fetch_sub(handles, Ordering::Release) != handles {
            return;
        }
        // Ordering: Acquire, pairs with the Release of the other threads. It is a load instead of a fence, because
        // ThreadSanitizer does not support fences.
        count.load(Ordering::Acquire);
    }
    // SAFETY: these were the last handles.
    unsafe { free(inner) }
}

/// Drops the value and frees its allocation.
///
/// # Safety
///
/// No handle to the value is left.
// Not inlined, so that the drop of a handle is small enough to be inlined itself.
#[inline(never)]
unsafe fn free<T>(inner: NonNull<Inner<T>>) {
    // SAFETY: the pointer is from a `Box` in `Handles::new`, and no handle can reach it.
    drop(unsafe { Box::from_raw(inner.as_ptr()) });
}

#[cfg(all(test, not(sharing_bus_loom)))]
mod tests {
    use super::*;
    use crate::sync::Arc;

    /// Shares an `Arc` with `handles` handles in total. Returns the first handle, the others, and a clone of the `Arc`.
    /// The strong count of the clone is 2 while the shared value exists, and 1 after it is dropped.
    fn shared(handles: usize) -> (Counted<Arc<()>>, Handles<Arc<()>>, Arc<()>) {
        let value = Arc::new(());
        let (first, others) = Handles::new(Arc::clone(&value), handles - 1);
        (first, others, value)
    }

    #[test]
    fn a_value_lives_as_long_as_any_counted_handle() {
        let (first, mut others, value) = shared(3);
        drop(first);
        let second = others.take();
        drop(others);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(second);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn exactly_the_counted_handles_can_be_taken() {
        let (first, mut others, value) = shared(3);
        let taken: Vec<_> = std::iter::from_fn(|| others.take()).collect();
        assert_eq!(taken.len(), 2);
        assert!(taken.iter().all(|handle| handle.same(&first)));
        assert!(others.take().is_none() && others.take_or_clone().is_none());
        drop((taken, first, others));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn take_or_clone_never_takes_the_last_handle() {
        let (first, mut others, value) = shared(2);
        let taken: Vec<_> = (0..5).map_while(|_| others.take_or_clone()).collect();
        assert_eq!(taken.len(), 5);
        drop((taken, first));
        assert_eq!(Arc::strong_count(&value), 2, "one handle is left");
        let last = others.take();
        assert!(others.take().is_none());
        drop(others);
        assert_eq!(Arc::strong_count(&value), 2);
        drop(last);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_clone_keeps_the_value_alive() {
        let (first, others, value) = shared(1);
        drop(others);
        let clone = first.clone();
        drop(first);
        assert!(Arc::ptr_eq(&clone, &value));
        drop(clone);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    /// The value is dropped once, after the accesses through all handles.
    #[test]
    fn threads_drop_their_handles_in_any_order() {
        const THREADS: usize = 4;
        for _ in 0..2_000 {
            let (first, mut others, value) = shared(2 * THREADS);
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

    /// The shared value. It counts its drops, and each handle sets one mark in it. The marks are relaxed, so that only
    /// the count orders them.
    struct Value {
        marks: [AtomicUsize; 3],
        drops: Arc<AtomicUsize>,
    }

    impl Drop for Value {
        fn drop(&mut self) {
            let marks = self.marks.each_ref().map(|mark| mark.load(Ordering::Relaxed));
            assert_eq!(marks, [1; 3], "the value is dropped while it is in use");
            self.drops.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Uses the handle for the last time and drops it.
    fn finish(handle: Counted<Value>, place: usize) {
        handle.marks[place].store(1, Ordering::Relaxed);
    }

    fn race(hand_out: fn(Counted<Value>, Handles<Value>) -> [Counted<Value>; 3]) {
        loom::model(move || {
            let drops = Arc::new(AtomicUsize::new(0));
            let value = Value {
                marks: std::array::from_fn(|_| AtomicUsize::new(0)),
                drops: Arc::clone(&drops),
            };
            let (first, others) = Handles::new(value, 3);
            let [a, b, c] = hand_out(first, others);
            let threads = [(a, 0), (b, 1)].map(|(handle, place)| loom::thread::spawn(move || finish(handle, place)));
            finish(c, 2);
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(drops.load(Ordering::Relaxed), 1, "the value is dropped once");
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

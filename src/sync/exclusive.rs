//! A value that only its owner uses: [`Exclusive`].

/// A value that is accessed only through `&mut`. It may be shared between threads even if the type of the value may
/// not, because no thread reaches the value through a shared reference.
///
/// Without `unsafe` code, a mutex has this property. The mutex is never locked, so it costs nothing, and loom need not
/// model it.
pub(crate) struct Exclusive<T>(parking_lot::Mutex<T>);

impl<T> Exclusive<T> {
    pub(crate) fn new(value: T) -> Self {
        Exclusive(parking_lot::Mutex::new(value))
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut T {
        self.0.get_mut()
    }
}

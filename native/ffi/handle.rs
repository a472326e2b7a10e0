//! Values behind opaque pointers: locked, poisoned by a panic, freed once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};

/// A value that a foreign caller holds by pointer. Two threads on one handle wait for each other.
pub struct Handle<T> {
    value: Mutex<T>,
    poisoned: AtomicBool,
}

impl<T> Handle<T> {
    /// Moves the value behind a pointer that [`free`](Self::free) takes back.
    pub fn into_raw(value: T) -> *mut Handle<T> {
        Box::into_raw(Box::new(Handle { value: Mutex::new(value), poisoned: AtomicBool::new(false) }))
    }

    /// The handle behind a foreign pointer.
    ///
    /// # Safety
    /// `raw` is null, or came from [`into_raw`](Self::into_raw) of the same type and is not freed before `'a` ends.
    pub unsafe fn borrow<'a>(raw: *const Handle<T>) -> Result<&'a Handle<T>> {
        // SAFETY: the caller's contract is exactly that of `as_ref`; only a shared reference is formed.
        unsafe { raw.as_ref() }.ok_or_else(|| Kind::InvalidArgument.error("a handle is null"))
    }

    /// Takes the value back and drops it; null is nothing to do.
    ///
    /// # Safety
    /// `raw` is null, or came from [`into_raw`](Self::into_raw) of the same type and is used by nobody any more.
    pub unsafe fn free(raw: *mut Handle<T>) {
        if !raw.is_null() {
            // SAFETY: the caller gives the only pointer to a box made by `into_raw`.
            drop(unsafe { Box::from_raw(raw) });
        }
    }

    /// Runs `work` under the handle's lock. A panic inside becomes an error, and the handle takes no more work.
    pub fn with<R>(&self, work: impl FnOnce(&mut T) -> Result<R>) -> Result<R> {
        let mut value = self.value.lock();
        if self.poisoned.load(Ordering::Relaxed) {
            return Err(Kind::State.error("this handle failed before and takes no more work; close it"));
        }
        catch_unwind(AssertUnwindSafe(|| work(&mut value))).unwrap_or_else(|_| {
            self.poisoned.store(true, Ordering::Relaxed);
            Err(internal())
        })
    }
}

/// What a caught panic becomes; the panic hook has printed its place.
pub fn internal() -> Error {
    Kind::Internal.error("an internal fault was caught at the library's border; please report it with the log")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_poisons_the_handle_and_nothing_else() {
        let raw = Handle::into_raw(1);
        // SAFETY: made above, freed below.
        let handle = unsafe { Handle::borrow(raw) }.unwrap();
        let caught = handle.with(|_| -> Result<()> { panic!("on purpose") });
        assert_eq!(caught.unwrap_err().kind(), Kind::Internal);
        assert_eq!(handle.with(|value| Ok(*value)).unwrap_err().kind(), Kind::State);
        // SAFETY: not used any more.
        unsafe { Handle::free(raw) };
    }

    #[test]
    fn null_is_an_error_and_freeing_it_is_nothing() {
        // SAFETY: null is allowed by both contracts.
        unsafe {
            assert!(Handle::<i32>::borrow(std::ptr::null()).is_err());
            Handle::<i32>::free(std::ptr::null_mut());
        }
    }
}

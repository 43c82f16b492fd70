//! The word that a connection or a peer has in the interface, as the state of a handler.

use std::ffi::c_void;
use std::mem::needs_drop;

/// Whether there is anything to keep of a state. Of one without bytes, and without an end of its own, there is nothing.
const fn is_kept<S>() -> bool {
    size_of::<S>() > 0 || needs_drop::<S>()
}

/// Lends the state behind a word, which is made when there is none.
///
/// # Safety
/// The word is the server's place for it, and null or what this function or [`crate::Endpoint::connect`] put there, with the same type.
pub(crate) unsafe fn with<S: Default, R>(word: *mut *mut c_void, act: impl FnOnce(&mut S) -> R) -> R {
    if !is_kept::<S>() {
        return act(&mut S::default());
    }
    // SAFETY: as the caller promises (I2).
    let place = unsafe { &mut *word };
    if place.is_null() {
        *place = Box::into_raw(Box::new(S::default())).cast();
    }
    // SAFETY: a box of ours; events of a connection come one after the other (I3).
    act(unsafe { &mut *place.cast::<S>() })
}

/// The same of a word that stays as it is.
///
/// # Safety
/// As above.
pub(crate) unsafe fn look<S: Default, R>(word: *mut c_void, act: impl FnOnce(&S) -> R) -> R {
    if !is_kept::<S>() || word.is_null() {
        return act(&S::default());
    }
    // SAFETY: a box of ours (I3).
    act(unsafe { &*word.cast::<S>() })
}

/// Takes the state back.
///
/// # Safety
/// As above, for the last time.
pub(crate) unsafe fn take<S: Default>(word: *mut c_void) -> S {
    if !is_kept::<S>() || word.is_null() {
        return S::default();
    }
    // SAFETY: a box of ours (I3).
    *unsafe { Box::from_raw(word.cast::<S>()) }
}

/// A state as a word.
pub(crate) fn word<S: 'static>(state: S) -> *mut c_void {
    if is_kept::<S>() { Box::into_raw(Box::new(state)).cast() } else { std::ptr::null_mut() }
}

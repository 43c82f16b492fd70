//! Threads that take no signals: those of a program are for its own.

use std::mem::MaybeUninit;

/// What the program's processor says of itself, which must not be put off.
const FAULTS: [libc::c_int; 6] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGABRT];

/// Runs `act` with signals blocked, so that threads it starts have them blocked for good. Those that come meanwhile come after.
pub(crate) fn blocked<R>(act: impl FnOnce() -> R) -> R {
    let before = block();
    let restored = Restored(before);
    let result = act();
    drop(restored);
    result
}

struct Restored(libc::sigset_t);

impl Drop for Restored {
    fn drop(&mut self) {
        // SAFETY: the set is one that the system gave (I2).
        let _code =
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// The mask before.
fn block() -> libc::sigset_t {
    let mut all = MaybeUninit::<libc::sigset_t>::zeroed();
    let mut before = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: places for sets, which the functions fill; zeros are an empty one (I2).
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for signal in FAULTS {
            libc::sigdelset(all.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    }
}

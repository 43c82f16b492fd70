//! Wake-ups from other threads: one eventfd per ring, written only when nobody has written it yet.

use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes the ring's thread from any thread. Cheap to clone; wakes in a row cost one system call until the ring's thread
/// has seen them.
#[derive(Clone)]
pub struct Waker(Arc<State>);

struct State {
    event: OwnedFd,
    pending: AtomicBool,
}

impl Waker {
    /// Makes a waker; a ring makes its own, a simulated driver is given one.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: I6: no memory is passed.
        let fd = crate::socket::check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: I5: a descriptor the kernel just made for us.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(State { event, pending: AtomicBool::new(false) })))
    }

    /// Makes the ring's current or next wait return.
    pub fn wake(&self) {
        if self.0.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        let one = 1u64;
        // SAFETY: I6: the kernel reads eight bytes during the call. A full counter (EAGAIN) wakes just as well.
        unsafe { libc::write(self.0.event.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    pub(crate) fn raw(&self) -> RawFd {
        self.0.event.as_raw_fd()
    }

    /// Empties the event and says whether somebody woke us. Whoever wakes after this writes again. Only the thread that
    /// is woken calls it, and of a ring only its driver.
    #[must_use]
    pub fn take(&self) -> bool {
        let mut count = 0u64;
        // SAFETY: I6: the kernel writes eight bytes during the call; an empty counter (EAGAIN) is fine.
        unsafe { libc::read(self.raw(), (&raw mut count).cast(), 8) };
        self.0.pending.swap(false, Ordering::AcqRel)
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Waker({})", self.raw())
    }
}

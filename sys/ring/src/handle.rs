//! Descriptors that operations hold: shared, closed when the last operation and the last owner let go.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::rc::Rc;

thread_local! {
    static NEXT_SERIAL: Cell<u32> = const { Cell::new(1) };
}

/// A descriptor (socket, listener, file) as operations share it. The kernel's number cannot be reused while any
/// operation holds a clone, so an operation never reaches a stranger's file (I5).
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

/// Eight bytes, so that the allocation with its counts fits the allocator's smallest chunk: every connection has one.
struct Inner {
    raw: RawFd,
    /// The serial, and [`SIMULATED`].
    marks: u32,
}

/// Set in the marks of a descriptor that the kernel knows nothing of.
const SIMULATED: u32 = 1 << 31;

impl Handle {
    /// Takes ownership of a kernel descriptor.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self::of(fd.into_raw_fd(), 0)
    }

    /// A descriptor of a simulated driver; the kernel knows nothing of it.
    #[must_use]
    pub fn simulated(number: i32) -> Self {
        Self::of(number, SIMULATED)
    }

    /// The descriptor's number; a simulated driver's own number for a simulated one.
    #[must_use]
    pub fn raw(&self) -> RawFd {
        self.0.raw
    }

    /// The kernel descriptor, for calls that borrow one; `None` when simulated.
    #[must_use]
    pub fn kernel(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: I5: the handle owns the descriptor and keeps it open as long as it is borrowed.
        (!self.0.is_simulated()).then(|| unsafe { BorrowedFd::borrow_raw(self.0.raw) })
    }

    /// Tells this descriptor from earlier ones that had the same number on this thread.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.0.marks & !SIMULATED
    }

    /// How many hold the descriptor now (owner and operations).
    #[must_use]
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    fn of(raw: RawFd, mark: u32) -> Self {
        let serial = NEXT_SERIAL.get();
        // From 1 to the largest without the mark, and round again: two in a row always differ.
        NEXT_SERIAL.set(serial % (SIMULATED - 1) + 1);
        Self(Rc::new(Inner { raw, marks: serial | mark }))
    }
}

impl Inner {
    fn is_simulated(&self) -> bool {
        self.marks & SIMULATED != 0
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !self.is_simulated() {
            // SAFETY: I5: taken from its owner when the handle was made, and given up only here.
            drop(unsafe { OwnedFd::from_raw_fd(self.raw) });
        }
    }
}

impl From<OwnedFd> for Handle {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.0.is_simulated() { "simulated " } else { "" };
        write!(f, "Handle({kind}{})", self.0.raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_of_successive_handles_differ_even_when_they_begin_again() {
        NEXT_SERIAL.set(SIMULATED - 2);
        let serials: Vec<u32> = (0..5).map(|_| Handle::simulated(7).serial()).collect();
        assert_eq!(serials, [SIMULATED - 2, SIMULATED - 1, 1, 2, 3]);
    }
}

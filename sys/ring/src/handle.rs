//! Descriptors that operations hold: shared, closed when the last operation and the last owner let go.

use std::cell::Cell;
use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

thread_local! {
    static NEXT_SERIAL: Cell<u32> = const { Cell::new(1) };
}

/// A descriptor (socket, listener, file) as operations share it. The kernel's number cannot be reused while any
/// operation holds a clone, so an operation never reaches a stranger's file (I5).
#[derive(Clone)]
pub struct Handle(Rc<Inner>);

struct Inner {
    kind: Kind,
    serial: u32,
}

enum Kind {
    Kernel(OwnedFd),
    Simulated(i32),
}

impl Handle {
    /// Takes ownership of a kernel descriptor.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self::of(Kind::Kernel(fd))
    }

    /// A descriptor of a simulated driver; the kernel knows nothing of it.
    #[must_use]
    pub fn simulated(number: i32) -> Self {
        Self::of(Kind::Simulated(number))
    }

    /// The descriptor's number; a simulated driver's own number for a simulated one.
    #[must_use]
    pub fn raw(&self) -> RawFd {
        match &self.0.kind {
            Kind::Kernel(fd) => fd.as_raw_fd(),
            Kind::Simulated(number) => *number,
        }
    }

    /// The kernel descriptor, for calls that borrow one; `None` when simulated.
    #[must_use]
    pub fn kernel(&self) -> Option<BorrowedFd<'_>> {
        match &self.0.kind {
            Kind::Kernel(fd) => Some(fd.as_fd()),
            Kind::Simulated(_) => None,
        }
    }

    /// Tells this descriptor from earlier ones that had the same number on this thread.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.0.serial
    }

    /// How many hold the descriptor now (owner and operations).
    #[must_use]
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }

    fn of(kind: Kind) -> Self {
        let serial = NEXT_SERIAL.get();
        NEXT_SERIAL.set(serial.wrapping_add(1).max(1));
        Self(Rc::new(Inner { kind, serial }))
    }
}

impl From<OwnedFd> for Handle {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            Kind::Kernel(fd) => write!(f, "Handle({})", fd.as_raw_fd()),
            Kind::Simulated(number) => write!(f, "Handle(simulated {number})"),
        }
    }
}

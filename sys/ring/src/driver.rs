//! What carries operations out: the interface that the drivers (uring, epoll, simulated) share.

use crate::handle::Handle;
use crate::op::Op;
use crate::slice::Slice;
use crate::slots::{OpId, Slots};
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// How long a driver may sleep for completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: take what is there.
    Poll,
    /// Until something happens or the time is up.
    AtMost(Duration),
    /// Until something happens.
    Forever,
    /// Until `completions` are there, or `at_most` has passed since the sleep began and at least one is: on a busy ring they
    /// are handled together, and an idle one wakes with the first. Never longer than `limit`.
    ///
    /// What batches is the time. A socket that receives datagrams counts as one however many wait in it, so with few
    /// sockets the number is rarely reached; and a wake-up from another thread waits like a completion. The uring driver
    /// needs Linux 6.12 for it in one system call, else it takes two; epoll sleeps out the time after the first one.
    Batch {
        /// How many are enough.
        completions: u32,
        /// How long fewer wait for more.
        at_most: Duration,
        /// How long to sleep while nothing happens; `None`: for ever.
        limit: Option<Duration>,
    },
}

impl Wait {
    /// The same, but no longer than `time`.
    #[must_use]
    pub fn limited(self, time: Duration) -> Self {
        match self {
            Self::Poll => Self::Poll,
            Self::AtMost(limit) => Self::AtMost(limit.min(time)),
            Self::Forever => Self::AtMost(time),
            Self::Batch { completions, at_most, limit } => {
                let limit = Some(limit.map_or(time, |limit| limit.min(time)));
                Self::Batch { completions, at_most, limit }
            }
        }
    }
}

/// One completion as a driver reports it.
#[derive(Debug)]
pub struct Event {
    /// The operation.
    pub id: OpId,
    /// Zero or more: success, as the system call would return it; negative: an errno.
    pub result: i32,
    /// Whether the operation will complete again.
    pub more: bool,
    /// What came with it.
    pub arrival: Arrival,
}

/// What a completion brings besides its result.
#[derive(Debug)]
pub enum Arrival {
    /// Nothing.
    None,
    /// Received bytes.
    Bytes(Slice),
    /// Datagrams, which are with their operation.
    Datagrams,
    /// An accepted connection.
    Connection(OwnedFd),
    /// An accepted connection of a simulated driver.
    Simulated(Handle),
}

/// A driver. It reports every submitted operation's last completion exactly once, never completes inside `submit` or
/// `cancel`, and leaves an operation's buffers alone after its last completion.
///
/// The `try_` calls are the direct way: they never block and involve no slot.
pub trait Driver {
    /// The driver's name as shown to people.
    fn name(&self) -> &'static str;

    /// Starts an operation that was just put into a slot.
    fn submit(&mut self, id: OpId, op: &mut Op);

    /// Asks for an operation's end. It still completes: with what it had moved, with `ECANCELED`, or as it would have.
    fn cancel(&mut self, id: OpId);

    /// Told of an operation that has completed for the last time, before its submitter gets it back.
    fn retire(&mut self, _op: &mut Op) {}

    /// Collects completions into `events`, sleeping as `wait` allows when there are none.
    ///
    /// # Errors
    /// Only what no retry can mend (the ring itself is broken).
    fn poll(&mut self, wait: Wait, slots: &mut Slots, events: &mut Vec<Event>) -> io::Result<()>;

    /// Whether sends should be tried directly before they become operations. A driver that batches submissions says no.
    fn prefers_direct_send(&self) -> bool;

    /// Receives what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else what `recv(2)` says.
    fn try_recv(&mut self, socket: &Handle, buffer: &mut [u8]) -> io::Result<usize>;

    /// Sends what fits; `more` announces that more follows at once.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; else what `send(2)` says.
    fn try_send(&mut self, socket: &Handle, bytes: &[u8], more: bool) -> io::Result<usize>;

    /// Sends a range of a file that is in memory.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; else what `sendfile(2)` says.
    fn try_sendfile(
        &mut self,
        socket: &Handle,
        file: &Handle,
        offset: u64,
        bytes: usize,
    ) -> io::Result<usize>;

    /// Reads what of a file is in memory into `targets`, one after the other, up to 16 of them.
    ///
    /// # Errors
    /// `WouldBlock` when the first byte is not in memory or the file system cannot tell; else what `preadv2(2)` says.
    fn try_read(&mut self, file: &Handle, targets: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize>;

    /// Whether a file range is in memory, so that sending it cannot wait for a disk.
    fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool;

    /// Shuts a connection's direction down.
    ///
    /// # Errors
    /// What `shutdown(2)` says; `NotConnected` is ordinary.
    fn shutdown(&mut self, socket: &Handle, how: Shutdown) -> io::Result<()>;

    /// Whether this thread's [`crate::Waker`] was used since the last call.
    fn take_woken(&mut self) -> bool;

    /// Told before the drop when every operation has completed; memory shared with the kernel may go.
    fn settled(&mut self) {}
}

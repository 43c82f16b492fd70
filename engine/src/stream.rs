//! A connection as a task sees it: an asynchronous, consume-n, back-pressured stream.

mod polling;

use crate::connection::SendProgress;
use crate::core::Core;
use crate::governor::GovernedRead;
use crate::protocol::Events;
use crate::record::{ConnId, Flags, Outgoing, Record};
use crate::session::Session;
use crate::worker::{Abandoned, Local, WorkerHandle};
use ringway_ring::{Handle, Pool, SLICE_BYTES_MAX, Slice};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

/// The connection of a running task, or one that this value owns (see [`WorkerHandle::hold`]) and closes when it is dropped.
/// The engine owns every receive: dropping one of these futures loses no byte.
pub struct Stream {
    local: Rc<Local>,
    id: ConnId,
    is_owner: bool,
}

impl Stream {
    pub(crate) fn new(local: Rc<Local>, id: ConnId) -> Self {
        Self { local, id, is_owner: false }
    }

    /// The stream that owns a connection.
    pub(crate) fn owner(local: Rc<Local>, id: ConnId) -> Self {
        Self { local, id, is_owner: true }
    }

    /// Another handle of the same connection, for who reads while somebody else sends. Dropping it does nothing to the
    /// connection; behind the connection's end it says that the connection is gone. Of several handles that wait with
    /// wakers other than the task's own, only the one that waited last is sure to be woken.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self::new(Rc::clone(&self.local), self.id)
    }

    /// Waits for the next bytes; `None` at the end of the stream. What is not used goes back with [`Stream::unread`].
    ///
    /// # Errors
    /// `ConnectionReset` when the connection broke.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing: what arrives stays on the connection.
    pub async fn read(&mut self) -> io::Result<Option<Slice>> {
        poll_fn(|context| self.poll_read(context)).await
    }

    /// Waits until at least `bytes` (up to [`SLICE_BYTES_MAX`]) are there and returns exactly so many in one piece.
    ///
    /// # Errors
    /// `UnexpectedEof` when the stream ends first (what arrived can still be read), `ConnectionReset` when the connection
    /// broke, `InvalidInput` when `bytes` is too large.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing: what arrives stays on the connection, in order.
    pub async fn read_exact(&mut self, bytes: usize) -> io::Result<Slice> {
        if bytes > SLICE_BYTES_MAX || bytes == 0 {
            let reason = format!("an exact read takes 1 to {SLICE_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        poll_fn(|context| {
            self.wait(context, Events::DATA, |core, id| polling::poll_read_exact(core, id, bytes))
        })
        .await
    }

    /// Waits until more than `bytes` are unread and returns them in one piece, as far as the largest slice reaches; `None`
    /// when the stream ends first. For a reader that put an incomplete message of `bytes` back.
    ///
    /// # Errors
    /// As [`Stream::read`].
    ///
    /// # Cancellation
    /// As [`Stream::read`].
    pub async fn read_beyond(&mut self, bytes: usize) -> io::Result<Option<Slice>> {
        poll_fn(|context| self.poll_read_beyond(context, bytes)).await
    }

    /// Puts back what was read and not used: it is read again first.
    pub fn unread(&mut self, rest: Slice) {
        self.with(|core, id| {
            if let Some(record) = core.conns.get(id) {
                record.inbox.unread(rest);
            }
        });
    }

    /// Sends bytes; waits only while the connection's queue is full.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection broke.
    ///
    /// # Cancellation
    /// A dropped future has sent nothing, or everything.
    pub async fn write(&mut self, bytes: Slice) -> io::Result<()> {
        self.room().await?;
        self.send(bytes);
        Ok(())
    }

    /// Sends `head` and a range of `file`; waits only while the connection's queue is full.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection broke.
    pub async fn write_file(
        &mut self,
        head: Option<Slice>,
        file: Handle,
        offset: u64,
        bytes: u64,
    ) -> io::Result<()> {
        self.room().await?;
        self.send_file(head, file, offset, bytes);
        Ok(())
    }

    /// Sends bytes behind what was sent before, without waiting: the caller bounds how much.
    pub fn send(&mut self, bytes: Slice) {
        self.with(|core, id| core.send(id, Outgoing::Bytes(bytes)));
    }

    /// Sends two pieces behind what was sent before, without waiting; in one go where nothing else is on its way.
    #[cfg(feature = "gather")]
    pub fn send_both(&mut self, first: Slice, second: Slice) {
        self.with(|core, id| core.send_both(id, first, second));
    }

    /// Sends `head` and a range of `file` behind what was sent before, without waiting.
    pub fn send_file(&mut self, head: Option<Slice>, file: Handle, offset: u64, bytes: u64) {
        let piece = Outgoing::File { head, file, offset, bytes, is_warm: false };
        self.with(|core, id| core.send(id, piece));
    }

    /// As [`crate::Conn::governed_read`], waiting as long as the answer is [`GovernedRead::Block`].
    ///
    /// # Errors
    /// `ConnectionReset` when the connection broke.
    pub async fn governed_read(&mut self) -> io::Result<GovernedRead> {
        poll_fn(|context| {
            self.wait(context, Events::DATA, |core, id| match core.conns.get(id) {
                None => Poll::Ready(Err(polling::gone())),
                Some(record) if record.flags.has(Flags::BROKEN) => Poll::Ready(Err(polling::gone())),
                Some(_) => match core.govern_read(id) {
                    GovernedRead::Block => Poll::Pending,
                    answer => Poll::Ready(Ok(answer)),
                },
            })
        })
        .await
    }

    /// As [`crate::Conn::governed_read`]: asks without waiting. After [`GovernedRead::Block`] the connection's task is woken when
    /// there is another answer.
    #[must_use]
    pub fn try_governed_read(&mut self) -> GovernedRead {
        self.with(|core, id| if core.is_governed() { core.govern_read(id) } else { GovernedRead::Allow })
    }

    /// What was asked for and told [`GovernedRead::Block`] is not wanted any more: the next question is a new one.
    pub fn withdraw_read(&mut self) {
        self.with(Core::withdraw_read);
    }

    /// As [`crate::Conn::set_scope`].
    pub fn set_scope(&mut self, site: u16) {
        self.with(|core, id| {
            if let Some(record) = core.conns.get(id) {
                record.site = site;
            }
        });
    }

    /// As [`crate::Conn::set_send_rate`].
    pub fn set_send_rate(&mut self, bytes_per_s: u64, burst_bytes: u64) {
        self.with(|core, id| core.set_send_rate(id, bytes_per_s, burst_bytes));
    }

    /// Waits until everything sent is with the kernel.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection broke.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await
    }

    /// Copies bytes into a slice of this worker's pool.
    ///
    /// # Errors
    /// `OutOfMemory` at the pool's limit, or above [`SLICE_BYTES_MAX`].
    pub fn slice_of(&self, bytes: &[u8]) -> io::Result<Slice> {
        let slice = self.with(|core, _| core.ring.pool().copy_of(bytes));
        slice.ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Asks for the connection to be given up when the worker's clock reaches `at_ms`: waits then end with `TimedOut`.
    pub fn set_deadline(&mut self, at_ms: u64) {
        self.with(|core, id| {
            if let Some(record) = core.conns.get(id) {
                record.events.remove(Events::TIMEOUT);
                core.deadlines.arm(id.index, at_ms);
            }
        });
    }

    /// Drops the deadline, and its effect when it has passed.
    pub fn clear_deadline(&mut self) {
        self.with(|core, id| {
            if let Some(record) = core.conns.get(id) {
                record.events.remove(Events::TIMEOUT);
                core.deadlines.disarm(id.index);
            }
        });
    }

    /// Reads what of a file is in memory into `targets`, without an operation: see [`ringway_ring::Ring::try_read`].
    ///
    /// # Errors
    /// `WouldBlock` when the first byte must be waited for; else what `preadv2(2)` says.
    pub fn try_read(
        &self,
        file: &Handle,
        targets: &mut [io::IoSliceMut<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        self.with(|core, _| core.ring.try_read(file, targets, offset))
    }

    /// How far sending has come, to be compared with a later look. Costs a system call.
    #[must_use]
    pub fn send_progress(&self) -> SendProgress {
        self.with(|core, id| core.send_progress(id))
    }

    /// The two words that the protocol keeps with the connection.
    #[must_use]
    pub fn context(&self) -> [u64; 2] {
        self.with(|core, id| core.conns.get(id).map_or([0; 2], |record| record.context))
    }

    /// Keeps two words with the connection.
    pub fn set_context(&mut self, context: [u64; 2]) {
        self.with(|core, id| {
            if let Some(record) = core.conns.get(id) {
                record.context = context;
            }
        });
    }

    /// When what the worker handles now had arrived: shared by all of it.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.with(|core, _| core.turn_started)
    }

    /// Where this worker's slices come from.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.with(|core, _| core.pool())
    }

    /// The peer's address; `None` for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.with(|core, id| core.conns.get(id).and_then(Record::peer))
    }

    /// What the filter's handshake agreed on; `None` without a filter, and before the handshake is done.
    #[must_use]
    pub fn session(&self) -> Option<Rc<Session>> {
        self.with(|core, id| core.conns.get(id).and_then(|record| record.session()))
    }

    /// Whether the peer has finished sending. Unread bytes may still be there.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.with(|core, id| core.conns.get(id).is_none_or(|record| record.flags.has(Flags::ENDED)))
    }

    /// Whether a held connection may be used for something new: nothing is to be read, everything is sent, and neither its end
    /// nor a failure is known. Asked when one is taken out of a pool, and when it is put there: nobody is woken for it
    /// until it is polled again. Costs no system call unless something has come.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.with(Core::is_quiet)
    }

    /// Bytes that were sent and are not with the kernel. Without io_uring the part of the piece under way that is with the
    /// kernel does not count; with it the whole piece does.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.with(Core::queued_bytes)
    }

    /// Finishes sending: the end (and before it a filter's last words) follows what was sent before. Reading goes on. What
    /// is sent later is dropped.
    pub fn shutdown_write(&mut self) {
        self.with(Core::shutdown_write);
    }

    /// Resets the connection at once: the peer sees that what it got is not whole.
    pub fn abort(&mut self) {
        self.with(Core::abort);
    }

    /// Waits until the handshake of a held connection's filter is done: see [`Stream::poll_handshake`].
    ///
    /// # Errors
    /// As [`Stream::poll_handshake`].
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn handshake(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_handshake(context)).await
    }

    /// Whether the server drains, or the connection's endpoint was removed: this answer should be the connection's last.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.with(Core::drains)
    }

    /// The worker this connection lives on.
    #[must_use]
    pub fn worker(&self) -> WorkerHandle {
        WorkerHandle::new(Rc::clone(&self.local))
    }

    /// The worker's clock in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.with(|core, _| core.now_ms)
    }

    async fn room(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_room(context)).await
    }

    fn with<T>(&self, act: impl FnOnce(&mut Core, ConnId) -> T) -> T {
        act(&mut self.local.core.borrow_mut(), self.id)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !cfg!(feature = "held") || !self.is_owner {
            return;
        }
        // Dropped in a protocol's turn, which has the core: then the worker does this when the turn is over.
        let released = self.local.core.try_borrow_mut().map(|mut core| core.let_go(self.id));
        match released {
            Ok(waker) => drop(waker),
            Err(_lent_out) => self.local.abandoned.borrow_mut().push(Abandoned::Stream(self.id)),
        }
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({})", self.id.index)
    }
}

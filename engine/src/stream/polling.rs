//! Polls of a connection's stream: one attempt each, and who is to be woken when it was too early.

use super::Stream;
use crate::core::Core;
use crate::protocol::Events;
use crate::receiving::INBOX_BYTES_MAX;
use crate::record::{ConnId, Flags, Mode, Record};
use crate::sending::QUEUE_PIECES_MAX;
use ringway_ring::{Pool, Slice};
use std::io;
use std::task::{Context, Poll};

impl Stream {
    /// As [`Stream::read`], for who polls by hand.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn poll_read(&self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        self.wait(context, Events::DATA, poll_read)
    }

    /// As [`Stream::read_beyond`], for who polls by hand.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn poll_read_beyond(
        &self,
        context: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<io::Result<Option<Slice>>> {
        self.wait(context, Events::DATA, |core, id| poll_read_beyond(core, id, bytes))
    }

    /// As [`Stream::flush`], for who polls by hand.
    ///
    /// # Errors
    /// `ConnectionReset` when the connection broke; `BrokenPipe` when a held one can send no more, while what its peer has
    /// said before can still be read.
    pub fn poll_flush(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait(context, Events::SENT, |core, id| poll_sending(core, id, |record| record.is_flushed()))
    }

    /// Waits until the queue has room for another piece; a piece has at most [`ringway_ring::SLICE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// As [`Stream::poll_flush`].
    pub fn poll_room(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let has_room = |record: &mut Record| record.queued() < QUEUE_PIECES_MAX;
        self.wait(context, Events::SENT, |core, id| poll_sending(core, id, has_room))
    }

    /// Waits until at most `bytes` are queued (see [`Stream::queued_bytes`]), for who bounds memory rather than pieces.
    ///
    /// # Errors
    /// As [`Stream::poll_flush`].
    pub fn poll_queued(&self, context: &mut Context<'_>, bytes: usize) -> Poll<io::Result<()>> {
        self.wait(context, Events::SENT, |core, id| poll_queued(core, id, bytes))
    }

    /// Waits until the handshake of a held connection's filter is done; at once where there is no filter. What is sent before
    /// waits for it by itself.
    ///
    /// # Errors
    /// Why the filter gave up; `UnexpectedEof` when the peer ended first; as [`Stream::read`].
    pub fn poll_handshake(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wait(context, Events::DATA, poll_handshake)
    }

    /// One attempt of a wait. The engine wakes the connection's task at every event, and the task that polled a held
    /// connection last at those that it waits for; a future that is polled with a waker of its own (as combinators do)
    /// must be woken too.
    pub(super) fn wait<T>(
        &self,
        context: &Context<'_>,
        wants: Events,
        attempt: impl FnOnce(&mut Core, ConnId) -> Poll<T>,
    ) -> Poll<T> {
        let tasks = &self.local.tasks;
        let (polled, is_told) = self.with(|core, id| {
            let polled = attempt(core, id);
            let is_told = match core.conns.get(id) {
                _ if polled.is_ready() => true,
                Some(record) if record.is_owned() => core.attend(id, wants, tasks.current(context.waker())),
                Some(record) => record.task.is_some_and(|task| tasks.owns(task, context.waker())),
                None => false,
            };
            (polled, is_told)
        });
        if !is_told {
            let waker = context.waker().clone();
            let _replaced = self.with(|core, id| core.conns.get(id)?.extra().waker.replace(waker));
        }
        polled
    }
}

pub(super) fn poll_read(core: &mut Core, id: ConnId) -> Poll<io::Result<Option<Slice>>> {
    core.pull_beyond(id, 0);
    let Some(record) = core.conns.get(id) else { return Poll::Ready(Err(gone())) };
    if let Some(slice) = record.inbox.take_first() {
        let is_low = record.inbox.capacity() * 4 <= INBOX_BYTES_MAX;
        if record.mode == Mode::Paused && is_low {
            core.set_mode(id, Mode::Stream);
        }
        return Poll::Ready(Ok(Some(slice)));
    }
    if let Some(error) = failure(record) {
        return Poll::Ready(Err(error));
    }
    if record.flags.has(Flags::ENDED) {
        return Poll::Ready(Ok(None));
    }
    core.set_mode(id, Mode::Stream);
    core.rearm(id);
    Poll::Pending
}

pub(super) fn poll_read_beyond(core: &mut Core, id: ConnId, bytes: usize) -> Poll<io::Result<Option<Slice>>> {
    core.pull_beyond(id, bytes);
    let pool = core.pool();
    let Some(record) = core.conns.get(id) else { return Poll::Ready(Err(gone())) };
    if record.inbox.len() > bytes {
        return Poll::Ready(Ok(record.inbox.next_joined_beyond(bytes, &pool)));
    }
    if let Some(error) = failure(record) {
        return Poll::Ready(Err(error));
    }
    if record.flags.has(Flags::ENDED) {
        return Poll::Ready(Ok(None));
    }
    core.set_mode(id, Mode::Stream);
    core.rearm(id);
    Poll::Pending
}

pub(super) fn poll_read_exact(core: &mut Core, id: ConnId, bytes: usize) -> Poll<io::Result<Slice>> {
    core.pull_beyond(id, bytes - 1);
    let pool = core.pool();
    let Some(record) = core.conns.get(id) else { return Poll::Ready(Err(gone())) };
    if record.inbox.len() >= bytes {
        return Poll::Ready(take_exact(record, &pool, bytes));
    }
    if let Some(error) = failure(record) {
        return Poll::Ready(Err(error));
    }
    if record.flags.has(Flags::ENDED) {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    if record.is_owned() {
        core.rearm(id);
        return Poll::Pending;
    }
    let want = u32::try_from(bytes).unwrap_or(u32::MAX);
    core.set_mode(id, Mode::Exact(want));
    core.rearm(id);
    // The receive may have found everything in the inbox.
    match core.conns.get(id) {
        Some(record) if record.inbox.len() >= bytes => Poll::Ready(take_exact(record, &pool, bytes)),
        _ => Poll::Pending,
    }
}

/// Takes exactly `bytes`, which are there.
fn take_exact(record: &mut Record, pool: &Pool, bytes: usize) -> io::Result<Slice> {
    let mut first = record.inbox.take_first().ok_or_else(gone)?;
    if first.len() < bytes {
        let Some(mut whole) = pool.get(bytes) else {
            record.inbox.unread(first);
            return Err(io::ErrorKind::OutOfMemory.into());
        };
        whole[..first.len()].copy_from_slice(&first);
        record.inbox.copy_to(&mut whole[first.len()..bytes]);
        return Ok(whole.freeze(bytes));
    }
    let exact = first.split_to(bytes);
    record.inbox.unread(first);
    Ok(exact)
}

/// A wait for what was sent: `is_done` says when it is over.
pub(super) fn poll_sending(
    core: &mut Core,
    id: ConnId,
    is_done: impl Fn(&mut Record) -> bool,
) -> Poll<io::Result<()>> {
    advance_handshake(core, id);
    let Some(record) = core.conns.get(id) else { return Poll::Ready(Err(gone())) };
    if let Some(error) = failure(record).or_else(|| record.write_failure()) {
        return Poll::Ready(Err(error));
    }
    if is_done(record) { Poll::Ready(Ok(())) } else { Poll::Pending }
}

fn poll_queued(core: &mut Core, id: ConnId, bytes: usize) -> Poll<io::Result<()>> {
    let is_done = core.queued_bytes(id) <= bytes;
    let polled = poll_sending(core, id, |_| is_done);
    if polled.is_pending()
        && let Some(record) = core.conns.get(id)
    {
        record.extra().room_at_bytes = bytes.max(1);
    }
    polled
}

fn poll_handshake(core: &mut Core, id: ConnId) -> Poll<io::Result<()>> {
    advance_handshake(core, id);
    let Some(record) = core.conns.get(id) else { return Poll::Ready(Err(gone())) };
    if let Some(error) = failure(record) {
        return Poll::Ready(Err(error));
    }
    if !record.has_filter() || record.session().is_some() {
        return Poll::Ready(Ok(()));
    }
    if record.flags.has(Flags::ENDED) {
        return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
    }
    core.rearm(id);
    Poll::Pending
}

/// What waits to be sent may wait for what the peer's side of the filter says.
fn advance_handshake(core: &mut Core, id: ConnId) {
    if core.conns.get(id).is_some_and(|record| record.has_filter()) {
        core.pull_beyond(id, 0);
    }
}

fn failure(record: &mut Record) -> Option<io::Error> {
    if record.flags.has(Flags::BROKEN) {
        return Some(record.filter_failure().unwrap_or_else(gone));
    }
    record.events.has(Events::TIMEOUT).then(|| io::ErrorKind::TimedOut.into())
}

pub(super) fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

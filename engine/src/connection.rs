//! A connection as its protocol sees it during a turn.

use crate::core::Core;
use crate::filter::Filter;
use crate::governor::{GovernedRead, WAITING};
use crate::protocol::Events;
use crate::record::{ConnId, Flags, Mode, Outgoing};
use crate::sending::QUEUE_PIECES_MAX;
use crate::session::Session;
use crate::stream::Stream;
use crate::worker::Local;
use ringway_ring::{Handle, Pool, Slice, socket};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// A connection, lent to its protocol for one turn. Everything here is immediate: nothing blocks, nothing waits.
pub struct Conn<'a> {
    pub(crate) core: &'a mut Core,
    pub(crate) local: &'a Rc<Local>,
    pub(crate) id: ConnId,
}

impl Conn<'_> {
    /// Everything unread in one piece (see [`crate::Inbox::next_joined`]). Give back what is not used with
    /// [`Conn::unread`].
    pub fn take_joined(&mut self) -> Option<Slice> {
        let pool = self.core.ring.pool().clone();
        self.core.conns.get(self.id)?.inbox.next_joined(&pool)
    }

    /// The same with more than `bytes` bytes where so many are there, even if a piece must be cut for that.
    pub fn take_joined_beyond(&mut self, bytes: usize) -> Option<Slice> {
        let pool = self.core.ring.pool().clone();
        self.core.conns.get(self.id)?.inbox.next_joined_beyond(bytes, &pool)
    }

    /// The next unread slice as it arrived.
    pub fn take(&mut self) -> Option<Slice> {
        self.core.conns.get(self.id)?.inbox.take_first()
    }

    /// Puts back what was taken and not used.
    pub fn unread(&mut self, rest: Slice) {
        if let Some(record) = self.core.conns.get(self.id) {
            record.inbox.unread(rest);
        }
    }

    /// Whether bytes are unread.
    #[must_use]
    pub fn has_input(&mut self) -> bool {
        self.core.conns.get(self.id).is_some_and(|record| !record.inbox.is_empty())
    }

    /// Whether the peer has finished sending. Unread bytes may still be there.
    #[must_use]
    pub fn is_ended(&mut self) -> bool {
        self.has_flag(Flags::ENDED)
    }

    /// Whether reading or writing failed: nothing can be delivered any more.
    #[must_use]
    pub fn is_broken(&mut self) -> bool {
        self.has_flag(Flags::BROKEN)
    }

    /// Whether the server drains, or the connection's endpoint was removed: this answer should be the connection's last.
    #[must_use]
    pub fn is_draining(&mut self) -> bool {
        self.core.drains(self.id)
    }

    /// Sends `bytes` behind what was sent before.
    pub fn send(&mut self, bytes: Slice) {
        if !bytes.is_empty() {
            self.core.send(self.id, Outgoing::Bytes(bytes));
        }
    }

    /// Sends the connection's last bytes: the protocol's answer to this turn must be [`crate::Turn::Close`] or
    /// [`crate::Turn::Linger`]. The FIN leaves in the same segment where that can be.
    pub fn send_last(&mut self, bytes: Slice) {
        if !bytes.is_empty() {
            self.core.send_last(self.id, bytes);
        }
    }

    /// Sends `head` and then `bytes` of `file` from `offset`. `is_warm` says that the caller knows the range to be in
    /// memory. A file that turns out shorter resets the connection.
    pub fn send_file(&mut self, head: Option<Slice>, file: Handle, offset: u64, bytes: u64, is_warm: bool) {
        self.core.send(self.id, Outgoing::File { head, file, offset, bytes, is_warm });
    }

    /// Whether a range of `file` is in memory, so that sending it waits for no disk.
    #[must_use]
    pub fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool {
        self.core.ring.is_resident(file, offset, bytes)
    }

    /// Asks the governor whether new work may begin: the next request, the next message. What continues work that was begun
    /// (its body) is not asked for. Asked again after [`GovernedRead::Block`], in the turn that then comes, it answers for the
    /// same read.
    #[must_use]
    pub fn governed_read(&mut self) -> GovernedRead {
        if self.core.is_governed() { self.core.govern_read(self.id) } else { GovernedRead::Allow }
    }

    /// Says what the connection works for from now on: a site, an export; see [`crate::Scope::Site`]. 0: nothing.
    pub fn set_scope(&mut self, site: u16) {
        if let Some(record) = self.core.conns.get(self.id) {
            record.site = site;
        }
    }

    /// Gives the connection a rate of its own: it sends `bytes_per_s`, and `burst_bytes` at once. 0: its endpoint's rate, or
    /// none. The rate that it has already goes on as it stands.
    pub fn set_send_rate(&mut self, bytes_per_s: u64, burst_bytes: u64) {
        self.core.set_send_rate(self.id, bytes_per_s, burst_bytes);
    }

    /// Whether everything sent so far is with the kernel. If not, [`Events::SENT`] will tell.
    #[must_use]
    pub fn is_flushed(&mut self) -> bool {
        self.core.conns.get(self.id).is_none_or(|record| record.is_flushed())
    }

    /// How far sending has come, to be compared with a later look.
    #[must_use]
    pub fn send_progress(&mut self) -> SendProgress {
        self.core.send_progress(self.id)
    }

    /// Whether everything sent has reached the peer: its kernel at least. Where that cannot be known, whether it is with ours.
    #[must_use]
    pub fn is_delivered(&mut self) -> bool {
        let Some(record) = self.core.conns.get(self.id) else { return true };
        record.is_flushed()
            && record.socket.kernel().is_none_or(|fd| socket::is_delivered(fd).unwrap_or(true))
    }

    /// Lets this connection receive into buffers of 64 KiB while its peer sends much at once. For protocols that handle what comes
    /// and count what they hold of it by its memory ([`Slice::capacity`]), not by pieces.
    pub fn allow_large_receives(&mut self) {
        if let Some(record) = self.core.conns.get(self.id) {
            record.width.allow();
        }
    }

    /// Whether the connection takes more to send without exceeding its queue.
    #[must_use]
    pub fn can_send(&mut self) -> bool {
        let takes = |record: &mut crate::record::Record| {
            record.queued() < QUEUE_PIECES_MAX && !record.flags.has(Flags::BROKEN)
        };
        self.core.conns.get(self.id).is_some_and(takes)
    }

    /// Asks for [`Events::TIMEOUT`] when the worker's clock reaches `at_ms`; replaces an earlier deadline. O(1).
    pub fn set_deadline(&mut self, at_ms: u64) {
        // The turn may have ended the connection: its index is another's then.
        if self.core.conns.get(self.id).is_some() {
            self.core.deadlines.arm(self.id.index, at_ms);
        }
    }

    /// Drops the deadline.
    pub fn clear_deadline(&mut self) {
        if self.core.conns.get(self.id).is_some() {
            self.core.deadlines.disarm(self.id.index);
        }
    }

    /// The worker's clock in milliseconds, as of this turn's beginning.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.core.now_ms
    }

    /// When what this turn handles had arrived: the beginning of the worker's turn, which is shared by all it handles.
    #[must_use]
    pub fn arrived(&self) -> Instant {
        self.core.turn_started
    }

    /// Two words of the protocol's own, kept with the connection; zero at first.
    pub fn context(&mut self) -> [u64; 2] {
        self.core.conns.get(self.id).map_or([0; 2], |record| record.context)
    }

    /// Keeps two words with the connection.
    pub fn set_context(&mut self, context: [u64; 2]) {
        if let Some(record) = self.core.conns.get(self.id) {
            record.context = context;
        }
    }

    /// Where this worker's slices come from.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.core.pool()
    }

    /// What the connection came through.
    #[cfg(feature = "held")]
    #[must_use]
    pub fn door(&mut self) -> crate::DoorKey {
        crate::DoorKey(self.core.conns.get(self.id).map_or(u16::MAX, |record| record.endpoint))
    }

    /// The peer's address; `None` for Unix sockets. Asked of the kernel once, when first wanted.
    pub fn peer(&mut self) -> Option<SocketAddr> {
        self.core.conns.get(self.id)?.peer()
    }

    /// Puts a filter between transport and protocol. Bytes that arrived before go through it.
    pub fn set_filter(&mut self, filter: Box<dyn Filter>) {
        if !cfg!(feature = "filters") {
            // Better no connection than one that is not encrypted.
            return self.core.abort(self.id);
        }
        let Some(record) = self.core.conns.get(self.id) else { return };
        let early = std::mem::take(&mut record.inbox);
        let extra = record.extra();
        extra.filter = Some(filter);
        extra.wire = early;
        self.core.decode(self.id);
    }

    /// Whether a filter is between transport and protocol.
    #[must_use]
    pub fn is_filtered(&mut self) -> bool {
        self.core.conns.get(self.id).is_some_and(|record| record.has_filter())
    }

    /// What the filter's handshake agreed on; `None` without a filter, and before the handshake is done.
    #[must_use]
    pub fn session(&mut self) -> Option<Rc<Session>> {
        self.core.conns.get(self.id)?.session()
    }

    /// A handle for a task that is to hold this connection; to be moved into [`crate::Turn::Task`]. Of several handles
    /// only the one that waited last is sure to be woken.
    #[must_use]
    pub fn detach(&mut self) -> Stream {
        Stream::new(Rc::clone(self.local), self.id)
    }

    /// The worker this connection lives on.
    #[must_use]
    pub fn worker(&self) -> crate::WorkerHandle {
        crate::WorkerHandle::new(Rc::clone(self.local))
    }

    /// Stops or resumes receiving, for protocols that want no more input for now. What is on its way when a pause is asked
    /// for still arrives. While it lasts, the end of the stream is not noticed.
    pub fn pause(&mut self, is_paused: bool) {
        let Some(record) = self.core.conns.get(self.id) else { return };
        if is_paused {
            record.flags.set(Flags::HELD);
            self.core.set_mode(self.id, Mode::Paused);
        } else {
            record.flags.clear(Flags::HELD);
            // A pause of the engine's own, for unread bytes, ends when the turn has read them.
            self.core.settle(self.id);
        }
    }

    pub(crate) fn take_events(&mut self) -> Events {
        self.core.conns.get(self.id).map_or_else(Events::default, |record| std::mem::take(&mut record.events))
    }

    fn has_flag(&mut self, flag: Flags) -> bool {
        self.core.conns.get(self.id).is_none_or(|record| record.flags.has(flag))
    }
}

impl Core {
    /// How far a connection's sending has come.
    pub(crate) fn send_progress(&mut self, id: ConnId) -> SendProgress {
        let Some(record) = self.conns.get(id) else { return SendProgress(0) };
        if record.sending == Some(WAITING) {
            // What the governor keeps back is not the peer's fault: each look finds another state.
            return SendProgress::new(self.now_ms | 1 << 40, 0);
        }
        // What the peer has acknowledged says most; where there is no such thing, what the kernel took.
        if let Some(Ok(bytes)) = record.socket.kernel().map(socket::acknowledged_bytes) {
            return SendProgress::new(0, bytes);
        }
        record.sending.map_or(SendProgress(0), |op| SendProgress::new(op.bits(), self.ring.progress(op)))
    }
}

/// How far a connection's sending had come: what a TCP peer had acknowledged; elsewhere which piece was under way, and how
/// much of it was with the kernel (where that is known before the end; see [`ringway_ring::Ring::progress`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendProgress(u64);

impl SendProgress {
    const BYTES_BITS: u32 = 44;

    /// Whether a piece has ended since `earlier`, or at least `bytes` more of it were sent.
    #[must_use]
    pub fn has_moved(self, earlier: Self, bytes: u64) -> bool {
        let parts =
            |progress: Self| (progress.0 >> Self::BYTES_BITS, progress.0 & ((1 << Self::BYTES_BITS) - 1));
        let ((piece, sent), (piece_before, sent_before)) = (parts(self), parts(earlier));
        piece != piece_before || sent >= sent_before.saturating_add(bytes)
    }

    /// As one word, to be kept in a connection's context.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// From the word.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Generation and index of the operation, folded: two pieces of one connection in a row differ.
    fn new(operation: u64, sent: u64) -> Self {
        let piece = operation ^ (operation >> 32).wrapping_mul(0x9e37_79b9);
        Self(piece << Self::BYTES_BITS | sent & ((1 << Self::BYTES_BITS) - 1))
    }
}

impl fmt::Debug for Conn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conn({})", self.id.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_a_new_piece_or_enough_bytes() {
        let operation = |generation: u64| generation << 32 | 7;
        let earlier = SendProgress::new(operation(1), 1000);
        assert!(!SendProgress::new(operation(1), 1000).has_moved(earlier, 1));
        assert!(!SendProgress::new(operation(1), 1099).has_moved(earlier, 100));
        assert!(SendProgress::new(operation(1), 1100).has_moved(earlier, 100));
        assert!(SendProgress::new(operation(2), 0).has_moved(earlier, 100), "the next piece");
        assert_eq!(SendProgress::from_bits(earlier.bits()), earlier);
    }
}

//! What a session stands on: a connection, a stream of HTTP/2, a connection that this side opened.

use super::core::Outlet;
use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Conn, SendProgress, WorkerHandle};

/// A way for bytes in both directions, as a session sees it during its turn.
pub(super) trait Link {
    fn now_ms(&self) -> u64;

    fn pool(&self) -> Pool;

    /// The next bytes that came, as they came.
    fn take(&mut self) -> Option<Slice>;

    /// Everything that came in one piece, as far as one reaches: more than `bytes` bytes of it where so many are there.
    fn take_joined(&mut self, bytes: usize) -> Option<Slice>;

    /// Puts back what was taken and not used.
    fn unread(&mut self, rest: Slice);

    /// Whether the peer sends nothing any more.
    fn is_ended(&mut self) -> bool;

    fn is_draining(&mut self) -> bool;

    /// Sends bytes behind what was sent before.
    fn send(&mut self, bytes: Slice);

    /// Bytes that wait to be sent.
    fn queued_bytes(&mut self) -> usize;

    /// How far sending has come.
    fn progress(&mut self) -> SendProgress;

    /// Asks for a turn at this time; 0 takes the wish back.
    fn set_deadline(&mut self, at_ms: u64);

    /// By what others reach the session.
    fn outlet(&self) -> Outlet;

    /// Whether what its groups send waits in its inlet.
    fn has_inlet(&self) -> bool {
        false
    }

    fn worker(&self) -> WorkerHandle;
}

/// A connection of its own.
pub(super) struct ConnLink<'a, 'c>(pub(super) &'a mut Conn<'c>);

impl Link for ConnLink<'_, '_> {
    fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    fn pool(&self) -> Pool {
        self.0.pool()
    }

    fn take(&mut self) -> Option<Slice> {
        self.0.take()
    }

    fn take_joined(&mut self, bytes: usize) -> Option<Slice> {
        self.0.take_joined_beyond(bytes)
    }

    fn unread(&mut self, rest: Slice) {
        self.0.unread(rest);
    }

    fn is_ended(&mut self) -> bool {
        self.0.is_ended()
    }

    fn is_draining(&mut self) -> bool {
        self.0.is_draining()
    }

    fn send(&mut self, bytes: Slice) {
        self.0.send(bytes);
    }

    fn queued_bytes(&mut self) -> usize {
        if self.0.is_flushed() { 0 } else { self.0.queued_bytes() }
    }

    fn progress(&mut self) -> SendProgress {
        self.0.send_progress()
    }

    fn set_deadline(&mut self, at_ms: u64) {
        if at_ms == 0 {
            self.0.clear_deadline();
        } else {
            self.0.set_deadline(at_ms);
        }
    }

    fn outlet(&self) -> Outlet {
        Outlet::Conn(self.0.key())
    }

    fn worker(&self) -> WorkerHandle {
        self.0.worker()
    }
}

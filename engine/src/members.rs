//! Connections reached from outside of their turns: work left for a worker by any thread, turns that are asked for, and bytes that
//! many connections share.

use crate::connection::Conn;
use crate::core::Core;
use crate::mailbox::{Mailbox, Message, Visit};
use crate::protocol::Events;
use crate::record::{ConnId, Flags, Mode, Outgoing};
use crate::worker::{Abandoned, WorkerHandle};
use ringway_ring::{Handle, Slice};
use std::fmt;
use std::io;

/// Names one connection of a worker, for whoever wants to reach it later. It says nothing on other workers, and nothing once
/// the connection has ended: nobody else's connection is ever meant by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnKey(ConnId);

impl ConnKey {
    /// The name as a number, to be kept where only that can be.
    #[must_use]
    pub fn bits(self) -> u64 {
        u64::from(self.0.generation) << 32 | u64::from(self.0.index)
    }

    /// The name of that number.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0);
        Self(ConnId { generation: half(bits >> 32), index: half(bits) })
    }
}

/// What became of bytes for one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// They are with the kernel, or on their way there.
    Sent,
    /// Earlier bytes are still on their way: these were not taken. [`Events::SENT`] will tell the connection when it has room.
    Busy,
    /// There is no such connection any more, or nothing can be sent on it.
    Gone,
}

/// Leaves work for one worker, from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Post {
    mailbox: Mailbox,
}

impl Post {
    /// Has the worker do something on its thread, between turns, in the order of the calls; `false` when it has stopped and
    /// never will. One system call wakes it.
    pub fn leave(&self, work: impl FnOnce(&WorkerHandle) + Send + 'static) -> bool {
        self.mailbox.send(Message::Visit(Visit(Box::new(move |worker| work(&worker.handle())))))
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Post")
    }
}

impl WorkerHandle {
    /// What other threads leave work for this worker with.
    #[must_use]
    pub fn post(&self) -> Post {
        Post { mailbox: self.local.tasks.mailbox().clone() }
    }

    /// Gives a connection a turn with [`Events::NUDGED`]. Also during another's turn.
    pub fn nudge(&self, key: ConnKey) {
        match self.local.core.try_borrow_mut() {
            Ok(mut core) => core.notify(key.0, Events::NUDGED),
            Err(_lent_out) => self.local.abandoned.borrow_mut().push(Abandoned::Nudge(key.0)),
        }
    }

    /// Sends the same bytes, in one or several pieces, to many connections: at once and directly where nothing else is on a
    /// connection's way. `told` hears of those that were not sent to; it must not reach for the worker. Not during a turn.
    pub fn multicast(
        &self,
        pieces: &[Slice],
        keys: impl IntoIterator<Item = ConnKey>,
        mut told: impl FnMut(ConnKey, Delivery),
    ) {
        let core = &mut *self.local.core.borrow_mut();
        for key in keys {
            match core.deliver(key.0, pieces) {
                Delivery::Sent => {}
                other => told(key, other),
            }
        }
    }
}

impl Conn<'_> {
    /// The connection's name, for whoever wants to reach it later.
    #[must_use]
    pub fn key(&self) -> ConnKey {
        ConnKey(self.id)
    }

    /// Its socket, for calls that borrow one and neither read nor write the stream; `None` when simulated.
    #[must_use]
    pub fn socket(&mut self) -> Option<Handle> {
        self.core.conns.get(self.id).map(|record| record.socket.clone())
    }

    /// Whether its protocol receives itself: see [`crate::EndpointLimits::receives_apart`].
    #[must_use]
    pub fn is_apart(&mut self) -> bool {
        self.core.conns.get(self.id).is_some_and(|record| record.mode == Mode::Paused && !record.has_filter())
    }

    /// Takes in what the protocol has received itself, behind what is unread.
    pub fn arrived_apart(&mut self, bytes: Slice) {
        self.core.arrived(self.id, bytes, 0);
    }

    /// Looks at the end of what the peer sends, or at an error, that a receive of the protocol's own has met.
    pub fn ended_apart(&mut self) {
        self.core.receive_at_once(self.id, 1);
    }

    /// The same connection, lent on for a shorter time.
    #[must_use]
    pub fn reborrow(&mut self) -> Conn<'_> {
        Conn { core: &mut *self.core, local: self.local, id: self.id }
    }

    /// When the deadline is that is set.
    #[must_use]
    pub fn deadline_ms(&mut self) -> Option<u64> {
        self.core.conns.get(self.id)?;
        self.core.deadlines.deadline(self.id.index)
    }

    /// Ends what is sent when all before it is with the kernel: the peer sees the end of the stream and may go on sending.
    pub fn shut_write(&mut self) {
        self.core.shutdown_write(self.id);
    }

    /// Bytes that were sent and are not with the kernel: see [`crate::Stream::queued_bytes`].
    #[must_use]
    pub fn queued_bytes(&mut self) -> usize {
        self.core.queued_bytes(self.id)
    }
}

impl Core {
    fn deliver(&mut self, id: ConnId, pieces: &[Slice]) -> Delivery {
        let Some(record) = self.conns.get(id) else { return Delivery::Gone };
        let flags = record.flags;
        if flags.has(Flags::BROKEN) || flags.has(Flags::SHUT) || flags.is_closing() || record.is_owned() {
            return Delivery::Gone;
        }
        if !record.is_flushed() {
            return Delivery::Busy;
        }
        let is_plain = !record.has_filter() && !self.is_governed();
        match pieces.split_first() {
            Some((first, rest)) if is_plain => {
                if !self.deliver_directly(id, first) {
                    return Delivery::Gone;
                }
                rest.iter().for_each(|piece| self.send(id, Outgoing::Bytes(piece.clone())));
            }
            _ => pieces.iter().for_each(|piece| self.send(id, Outgoing::Bytes(piece.clone()))),
        }
        Delivery::Sent
    }

    /// One system call, and an operation for what the socket has no room for. `false`: the peer is gone.
    fn deliver_directly(&mut self, id: ConnId, bytes: &Slice) -> bool {
        let Some(record) = self.conns.get(id) else { return false };
        let sent = match self.ring.try_send(&record.socket, bytes) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            // EPIPE, ECONNRESET …: the connection hears of it in a turn of its own.
            Err(_gone) => {
                self.broke(id);
                return false;
            }
        };
        self.counters.bytes_sent.add(sent as u64);
        if sent < bytes.len() {
            let mut rest = bytes.clone();
            rest.advance(sent);
            self.send_rest(id, rest);
        }
        true
    }
}

//! What a layer of a stack of filters is: a machine between those below it and those above it.

use ringway_engine::ring::{Pool, Slice};
use ringway_engine::{Inbox, Session};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::rc::Rc;

/// What a layer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wants {
    /// Bytes from below.
    pub(crate) read: bool,
    /// Bytes from above.
    pub(crate) write: bool,
    /// To be called again after so many milliseconds; 0: not.
    pub(crate) after_ms: u32,
}

impl Wants {
    pub(crate) const ALL: Self = Self { read: true, write: true, after_ms: 0 };
}

/// Where a layer puts what it gives on.
pub(crate) struct Out<'a> {
    pub(crate) up: &'a mut Inbox,
    pub(crate) down: &'a mut Pieces,
    pub(crate) pool: &'a Pool,
}

/// Bytes on their way down, in order.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pieces: VecDeque<Slice>,
    bytes: usize,
}

impl Pieces {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn push(&mut self, piece: Slice) {
        if piece.is_empty() {
            return;
        }
        self.bytes += piece.len();
        // What is short travels with what was before it.
        let is_short = piece.len() * 4 <= piece.capacity();
        if !is_short || !self.pieces.back_mut().is_some_and(|last| last.try_extend(&piece)) {
            self.pieces.push_back(piece);
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Slice> {
        let piece = self.pieces.pop_front()?;
        self.bytes -= piece.len();
        Some(piece)
    }

    /// Puts back what was taken and not used: it comes first again.
    pub(crate) fn unpop(&mut self, piece: Slice) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_front(piece);
        }
    }
}

/// A layer. The one below gives it bytes from the wire, the one above bytes for the wire.
pub(crate) trait Layer {
    /// Called once, before anything else; it may speak first.
    fn begin(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        let _unused = out;
        Ok(())
    }

    /// Takes what it can of `below`.
    fn receive(&mut self, below: &mut Inbox, out: &mut Out<'_>) -> io::Result<()>;

    /// Takes what it can of `above`.
    fn send(&mut self, above: &mut Pieces, out: &mut Out<'_>) -> io::Result<()>;

    /// Sees to as much as it likes of a range of a file that is to go down.
    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: u64,
        out: &mut Out<'_>,
    ) -> io::Result<u64> {
        let _unused = (file, offset, bytes, out);
        Ok(0)
    }

    /// Nothing more comes from below.
    fn ended(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        let _unused = out;
        Ok(())
    }

    /// Nothing more comes from above.
    fn finish(&mut self, out: &mut Out<'_>) -> io::Result<()> {
        let _unused = out;
        Ok(())
    }

    /// What it wants now.
    fn wants(&mut self) -> Wants {
        Wants::ALL
    }

    /// Whether those above may begin.
    fn is_open(&self) -> bool {
        true
    }

    /// Whether it has said that nothing more goes up, although more may come from below.
    fn is_ended(&self) -> bool {
        false
    }

    /// What its handshake agreed on.
    fn session(&self) -> Option<Rc<Session>> {
        None
    }

    /// Who the peer speaks for.
    fn client(&self) -> Option<SocketAddr> {
        None
    }
}

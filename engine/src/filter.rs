//! Filters between transport and protocol: record layers such as TLS, as machines without I/O.

use crate::inbox::Inbox;
use crate::session::Session;
use crate::worker::WorkerHandle;
use ringway_ring::{Pool, Slice};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// A record layer. It sees the wire's bytes in whatever pieces they arrive and gives plain bytes; and the other way.
/// Protocols above do not know that it is there.
pub trait Filter {
    /// Takes whole records out of `wire` (leaving an incomplete one for later) and appends plain bytes to `plain`.
    /// What must be answered on the wire at once (handshakes, alerts) goes to `reply`, and leaves even when this fails.
    /// Called with an empty `wire` when the filter is put on its connection, so that a side that speaks first can.
    ///
    /// # Errors
    /// A record that cannot be right ends the connection; `OutOfMemory` when `pool` is at its limit.
    fn receive(
        &mut self,
        wire: &mut Inbox,
        plain: &mut Inbox,
        reply: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<()>;

    /// Asked before plain bytes become records: what a record takes. `None` while the handshake is not done; the bytes wait.
    /// What must go before them on the wire (new keys) goes to `wire`.
    ///
    /// # Errors
    /// When nothing may be sent any more; `OutOfMemory` when `pool` is at its limit.
    fn room(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<Option<Room>>;

    /// Makes a record in place: [`Room::head`] bytes of whatever, the plain bytes, [`Room::tail`] bytes of whatever.
    ///
    /// # Errors
    /// When no more records can be made.
    fn seal(&mut self, record: &mut [u8]) -> io::Result<()>;

    /// The protocol has shut its write side: the last words on the wire (a close notification).
    ///
    /// # Errors
    /// `OutOfMemory` when `pool` is at its limit.
    fn finish(&mut self, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()>;

    /// The transport's end has come.
    ///
    /// # Errors
    /// `UnexpectedEof` when the peer has not said that it would: what came may be cut short, and the connection is broken.
    fn ended(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Whether the peer has said that nothing follows, on a transport that need not have ended.
    fn is_ended(&self) -> bool {
        false
    }

    /// What the handshake agreed on; `None` while it is not done, and for layers without one.
    fn session(&self) -> Option<Rc<Session>> {
        None
    }
}

/// What a record takes besides its plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes before the plain ones.
    pub head: usize,
    /// Bytes behind them.
    pub tail: usize,
    /// Most plain bytes of one record; at least one.
    pub plain_max: usize,
}

/// Makes the filters of an endpoint's connections. One value per worker.
pub trait FilterSource {
    /// A filter for a new connection. It must have a [`Filter::session`] once its handshake is done: the protocol does not
    /// hear of the connection before.
    fn make(&self) -> Box<dyn Filter>;
}

/// Makes a worker's source of filters, on that worker's thread.
pub type FilterFactory = Arc<dyn Fn(&WorkerHandle) -> io::Result<Rc<dyn FilterSource>> + Send + Sync>;

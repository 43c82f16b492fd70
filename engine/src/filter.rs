//! Filters between transport and protocol: record layers such as TLS, as machines without I/O.

use crate::inbox::Inbox;
use crate::session::Session;
use crate::worker::WorkerHandle;
use ringway_ring::{Pool, Slice};
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
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
    /// `WouldBlock` when what has come is not all taken yet: it is asked again when it has received more of that.
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

    /// Whether the protocol may hear of the connection.
    fn is_open(&self) -> bool {
        self.session().is_some()
    }

    /// Whether [`Filter::receive`] is to be called, with nothing, as soon as the connection is there.
    fn speaks_first(&self) -> bool {
        false
    }

    /// Whether bytes on the wire are of use now. As long as not, what has come is left where it is, and little more is received.
    fn wants_input(&self) -> bool {
        true
    }

    /// After how many milliseconds [`Filter::receive`] is to be called again although nothing came; 0: not. Asked after each call.
    fn nap_ms(&self) -> u32 {
        0
    }

    /// Whether it has plain bytes that it has taken and not given to the wire: the connection is not flushed before.
    fn holds(&self) -> bool {
        false
    }

    /// Whether plain bytes become others than [`Filter::seal`] could make in place, so that [`Filter::rewrite`] is called
    /// instead; [`Filter::room`] has neither head nor tail then.
    fn rewrites(&self) -> bool {
        false
    }

    /// Takes plain bytes, and gives what it makes of them to `wire`.
    ///
    /// # Errors
    /// When nothing may be sent any more; `OutOfMemory` when `pool` is at its limit.
    fn rewrite(&mut self, plain: Slice, wire: &mut dyn FnMut(Slice), pool: &Pool) -> io::Result<()> {
        let _unasked = (plain, wire, pool);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Where it rewrites: sees to as much as it likes of a range of a file, and says how much that was. What it leaves is read and
    /// given to [`Filter::rewrite`].
    ///
    /// # Errors
    /// As above.
    fn send_file(
        &mut self,
        file: BorrowedFd<'_>,
        offset: u64,
        bytes: u64,
        wire: &mut dyn FnMut(Slice),
        pool: &Pool,
    ) -> io::Result<u64> {
        let _unasked = (file, offset, bytes, wire, pool);
        Ok(0)
    }

    /// Who the peer speaks for, as it has said within the filter. Asked once, when the filter is open.
    fn client(&self) -> Option<SocketAddr> {
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
    /// A filter for a new connection. It must be [`Filter::is_open`] once its handshake is done: the protocol does not hear of
    /// the connection before.
    fn make(&self) -> Box<dyn Filter>;

    /// The same for one that looks at who is there; asking for the peer costs a system call.
    fn make_for(&self, peer: &mut dyn FnMut() -> Option<SocketAddr>) -> Box<dyn Filter> {
        let _unasked = peer;
        self.make()
    }
}

/// Makes a worker's source of filters, on that worker's thread.
pub type FilterFactory = Arc<dyn Fn(&WorkerHandle) -> io::Result<Rc<dyn FilterSource>> + Send + Sync>;

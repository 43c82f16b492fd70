//! What a protocol author writes: a handler of messages, and what it hears of.

use crate::connection::Connection;
use crate::framing::{FramingFault, Measure};
use crate::message::Message;
use crate::outbound::Connector;
use ringway_engine::WorkerHandle;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// A protocol's own part: one value per worker, for all connections of an endpoint there.
///
/// Nothing here may block: other connections of the worker wait meanwhile. A panic is caught, counted and ends the connection
/// that it was for.
pub trait Handler: 'static {
    /// The handler is at its place, before any connection: what makes connections outward for it, on this worker.
    fn started(&self, connector: &Connector) {
        let _opens_none = connector;
    }

    /// A connection is there; behind TLS, when its handshake is done. Who speaks first does so here.
    fn opened(&self, conn: &mut Connection<'_>) {
        let _nothing_to_say = conn;
    }

    /// A message has come. Messages come in their order, all that came with one receive in one turn; their answers leave
    /// together.
    fn message(&self, conn: &mut Connection<'_>, message: Message<'_>);

    /// The peer has finished sending, and all it sent was handled. It may still read: unless this says otherwise, the connection
    /// is closed when everything is sent.
    fn ended(&self, conn: &mut Connection<'_>) {
        conn.close();
    }

    /// Everything that was sent is with the kernel. Told where [`Connection::call_when_sent`] has asked for it.
    fn written(&self, conn: &mut Connection<'_>) {
        let _nothing_to_do = conn;
    }

    /// The time that [`Connection::set_timeout`] has set is over.
    fn timeout(&self, conn: &mut Connection<'_>) {
        let _nothing_to_do = conn;
    }

    /// A byte of urgent data has come, where the endpoint takes them apart: [`crate::Urgent::Separate`].
    fn urgent(&self, conn: &mut Connection<'_>, byte: u8) {
        let _nothing_to_do = (conn, byte);
    }

    /// Somebody has asked for this call: [`crate::Sender::nudge`].
    fn nudged(&self, conn: &mut Connection<'_>) {
        let _nothing_to_do = conn;
    }

    /// The server drains, or the endpoint was removed. Unless this says otherwise, the connection is closed when everything is
    /// sent; a message that has begun to come is awaited before.
    fn draining(&self, conn: &mut Connection<'_>) {
        conn.close();
    }

    /// A connection of which [`Handler::opened`] has told is no more.
    fn closed(&self, closed: &Closed) {
        let _nothing_to_do = closed;
    }

    /// How often [`Handler::tick`] is called, in milliseconds; 0: never. Asked once.
    fn tick_ms(&self) -> u64 {
        0
    }

    /// Time has passed: [`Handler::tick_ms`].
    fn tick(&self, worker: &WorkerHandle) {
        let _nothing_to_do = worker;
    }

    /// How long the message is that `input` begins with, where the endpoint's framing is [`crate::Framing::Handler`]. `user` is the
    /// connection's word.
    fn measure(&self, user: u64, input: &[u8]) -> Measure {
        let _is_the_same_for_all = user;
        Measure::Bytes(input.len())
    }
}

/// Makes a worker's handler, on that worker's thread.
pub type HandlerFactory = Arc<dyn Fn(&WorkerHandle) -> io::Result<Rc<dyn Handler>> + Send + Sync>;

/// The end of a connection.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The handler's own word: [`Connection::user`].
    pub user: u64,
    /// Why.
    pub reason: Reason,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The peer has closed in good order.
    Peer,
    /// The handler has closed, or aborted.
    Handler,
    /// The connection broke: it was reset, timed out in the kernel, or what was sent could not be delivered.
    Broken,
    /// Nothing came for too long: [`crate::ConnectionLimits::idle_ms_max`].
    Idle,
    /// A message did not become whole in time: [`crate::ConnectionLimits::read_ms_max`].
    Slow,
    /// The peer took nothing of what was sent for too long: [`crate::ConnectionLimits::stall_ms_max`].
    Stalled,
    /// The peer has ended in the middle of a message.
    CutOff,
    /// The peer, or the handler's measure, broke the framing.
    Framing(FramingFault),
    /// Urgent data came, and the endpoint takes none: [`crate::Urgent::Abort`].
    Urgent,
    /// The handler panicked.
    Panicked,
    /// There was no memory for what came or was sent.
    NoMemory,
    /// Too much waited to be sent.
    Full,
    /// A WebSocket's close frame, of whichever end's: its code (RFC 6455 section 7.4), 1005 without one.
    WebSocket(u16),
    /// The request for a WebSocket was none that can be answered.
    Upgrade,
    /// The connection was one too many.
    Busy,
    /// It could not be made: [`crate::outbound::Connector::connect`]; or the place behind it could not be reached.
    Unreachable,
}

impl Reason {
    /// A short word for machine-readable faces.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Handler => "handler",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::Slow => "slow",
            Self::Stalled => "stalled",
            Self::CutOff => "cut-off",
            Self::Framing(_) => "framing",
            Self::Urgent => "urgent",
            Self::Panicked => "panicked",
            Self::NoMemory => "no-memory",
            Self::Full => "full",
            Self::WebSocket(_) => "websocket",
            Self::Upgrade => "upgrade",
            Self::Busy => "busy",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether something went wrong.
    #[must_use]
    pub fn is_error(self) -> bool {
        !matches!(
            self,
            Self::Peer | Self::Handler | Self::Idle | Self::WebSocket(1000 | 1001 | 1005) | Self::Busy
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Peer => "the peer has closed",
            Self::Handler => "the handler has closed",
            Self::Broken => "the connection broke",
            Self::Idle => "nothing came for idle_ms_max",
            Self::Slow => "a message was not whole after read_ms_max",
            Self::Stalled => "the peer took nothing for stall_ms_max",
            Self::CutOff => "the peer ended in the middle of a message",
            Self::Framing(fault) => return fault.fmt(f),
            Self::Urgent => "urgent data came, which this endpoint does not take",
            Self::Panicked => "the handler panicked",
            Self::NoMemory => "there was no memory",
            Self::Full => "more than queue_bytes_max waited to be sent",
            Self::WebSocket(code) => return write!(f, "closed with code {code}"),
            Self::Upgrade => "the request for a WebSocket could not be answered",
            Self::Busy => "there are connections_max already",
            Self::Unreachable => "it could not be made",
        })
    }
}

/// Why something was not sent. Nothing of it was, unless the memory ended in the midst of it; then the connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The connection is closing, or does not write any more.
    Closed,
    /// Too much waits to be sent: [`crate::ConnectionLimits::queue_bytes_max`].
    Full,
    /// It is longer than its frame can say.
    TooLong,
    /// The worker's memory for slices is at its limit.
    NoMemory,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the connection is closed",
            Self::Full => "too much waits to be sent",
            Self::TooLong => "the message is longer than its frame can say",
            Self::NoMemory => "no memory for slices",
        })
    }
}

impl std::error::Error for SendError {}

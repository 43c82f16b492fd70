//! What a route allows its sockets, and what all sockets of it share on a worker.

use ringway_ws::decoder::Limits;
use ringway_ws::deflate::{Options as DeflateOptions, Spare};
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

/// Whose pages may open a socket. Programs other than browsers name no origin and are always let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// The pages of the host that is asked, by the same scheme.
    #[default]
    Same,
    /// These too, as browsers name them: `https://example.org`.
    SameAnd(Vec<String>),
    /// Everybody's: whoever looks at any page can be made to open a socket with their cookies.
    Any,
}

/// What a route allows its sockets. Times of 0 never come.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// The longest message in bytes, after decompression. 1 MiB.
    pub message_bytes_max: u32,
    /// The longest frame in bytes. 1 MiB.
    pub frame_bytes_max: u32,
    /// Bytes that may wait to be sent before [`super::Socket::send_text`] and its like refuse. 1 MiB.
    pub queue_bytes_max: usize,
    /// After so long without a sign of the peer it is asked for one with a ping, in milliseconds. 30 s.
    pub ping_ms: u64,
    /// How long it has to answer, in milliseconds; then the connection ends. 15 s.
    pub pong_ms: u64,
    /// The longest time between two messages of the peer, in milliseconds; then the socket is closed with 1001. Never.
    pub idle_ms_max: u64,
    /// How long a peer may take none of what is sent to it, in milliseconds; then the connection is reset. 30 s.
    pub stall_ms_max: u64,
    /// How long the peer's close frame is waited for, in milliseconds. 5 s.
    pub close_ms_max: u64,
    /// Whose pages may open one.
    pub origins: Origins,
    /// Subprotocols that are spoken. The client's first that is among them is agreed on.
    pub protocols: Vec<String>,
    /// Compression for clients that offer it; none without.
    pub deflate: Option<DeflateOptions>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            message_bytes_max: 1 << 20,
            frame_bytes_max: 1 << 20,
            queue_bytes_max: 1 << 20,
            ping_ms: 30_000,
            pong_ms: 15_000,
            idle_ms_max: 0,
            stall_ms_max: 30_000,
            close_ms_max: 5_000,
            origins: Origins::Same,
            protocols: Vec::new(),
            deflate: None,
        }
    }
}

impl SocketOptions {
    pub(super) fn limits(&self) -> Limits {
        Limits { message_bytes_max: self.message_bytes_max, frame_bytes_max: self.frame_bytes_max }
    }
}

/// What the sockets of a route share on one worker.
pub(super) struct Terms {
    pub(super) options: SocketOptions,
    pub(super) spare: Rc<Spare>,
    /// For what is compressed and about to be sent.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// Hears of handlers that panic.
    pub(super) panicked: Option<Box<dyn Fn()>>,
}

impl Terms {
    pub(super) fn new(options: SocketOptions) -> Self {
        Self { options, spare: Rc::new(Spare::new()), scratch: RefCell::default(), panicked: None }
    }
}

impl fmt::Debug for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms").field("options", &self.options).finish_non_exhaustive()
    }
}

//! Operations: each owns its buffers and descriptors until its last completion.

mod datagrams;
mod file;
mod send;
mod socket;
mod transmit;

pub use datagrams::{DATAGRAM_BUFFERS_MAX, DATAGRAM_BYTES_MAX, DatagramCounters, DatagramOptions, Datagrams};
pub use file::{OpenFile, ReadFile, StatFile, WriteFile};
pub use send::{Gather, ZeroCopy};
pub use socket::{Connect, Interest};
pub(crate) use transmit::{COLD_BYTES, Stage};
pub use transmit::{Progress, Transmit};

use crate::handle::Handle;
use crate::slice::{Slice, SliceMut};

/// What a ring is asked to do. The ring keeps the value, and with it every buffer and descriptor the kernel may use,
/// until the operation's last completion, whether or not anyone still waits for it.
#[derive(Debug)]
pub enum Op {
    /// Accepts connections until cancelled or failed: one completion each.
    Accept {
        /// The listening socket.
        listener: Handle,
    },
    /// Receives into the ring's own buffers until cancelled, end of stream (result 0) or failure.
    Stream {
        /// A connected socket.
        socket: Handle,
    },
    /// The same into buffers of [`crate::SLICE_BYTES_MAX`] bytes, of which there are few: for peers that send much at once.
    LargeStream {
        /// A connected socket.
        socket: Handle,
    },
    /// Receives datagrams, batch by batch, until cancelled or failed for good.
    Datagrams(Box<Datagrams>),
    /// Receives exactly `want` bytes into `buffer` from `filled` on; fewer only at the end of the stream, at an
    /// error, or when cancelled. The result counts `filled` too.
    Exact {
        /// A connected socket.
        socket: Handle,
        /// The target; handed back with the completion.
        buffer: SliceMut,
        /// Bytes already in place.
        filled: u32,
        /// Bytes that shall be in place at the end, at most the buffer's capacity.
        want: u32,
    },
    /// Sends all of `bytes`; fewer only at an error or when cancelled.
    Send {
        /// A connected socket.
        socket: Handle,
        /// What to send.
        bytes: Slice,
        /// Bytes already sent; the result counts them too.
        sent: u32,
    },
    /// Sends a chain of slices in one go.
    Gather(Box<Gather>),
    /// Sends without copying where the kernel can; completes when the kernel has let go of the buffer.
    /// From 16–32 KiB on it may pay, never on loopback.
    SendZeroCopy(Box<ZeroCopy>),
    /// Sends head, file range and tail.
    Transmit(Box<Transmit>),
    /// Waits until the socket is readable or writable.
    Ready {
        /// Any pollable descriptor.
        socket: Handle,
        /// What to wait for.
        interest: Interest,
    },
    /// Tells until cancelled or failed that something new can be received, once for what came at a time, without receiving it.
    /// The result is 1 when it was not only bytes (the end of the stream, an error; on epoll urgent data too): from then on a
    /// short receive does not mean that nothing is left. Else it is 0, and whoever received less than asked for has
    /// everything.
    Watch {
        /// A connected socket.
        socket: Handle,
    },
    /// Connects a socket.
    Connect(Box<Connect>),
    /// Opens a file below a directory.
    Open(Box<OpenFile>),
    /// Reads a file's metadata.
    Stat(Box<StatFile>),
    /// Reads a range of a file into a buffer.
    Read(Box<ReadFile>),
    /// Writes to a file.
    Write(Box<WriteFile>),
}

impl Op {
    /// Whether one submission may complete more than once.
    #[must_use]
    pub fn is_multishot(&self) -> bool {
        matches!(
            self,
            Self::Accept { .. }
                | Self::Stream { .. }
                | Self::LargeStream { .. }
                | Self::Watch { .. }
                | Self::Datagrams(_)
        )
    }

    /// The operation's name in counters and messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accept { .. } => "accept",
            Self::Stream { .. } => "stream",
            Self::LargeStream { .. } => "large-stream",
            Self::Datagrams(_) => "datagrams",
            Self::Exact { .. } => "exact",
            Self::Send { .. } => "send",
            Self::Gather(_) => "gather",
            Self::SendZeroCopy { .. } => "send-zero-copy",
            Self::Transmit(_) => "transmit",
            Self::Ready { .. } => "ready",
            Self::Watch { .. } => "watch",
            Self::Connect(_) => "connect",
            Self::Open(_) => "open",
            Self::Stat(_) => "stat",
            Self::Read(_) => "read",
            Self::Write(_) => "write",
        }
    }

    /// Bytes that this operation has moved before its final result, for results that count from the beginning.
    #[must_use]
    pub fn moved(&self) -> u32 {
        match self {
            Self::Exact { filled, .. } => *filled,
            Self::Send { sent, .. } => *sent,
            Self::SendZeroCopy(send) => send.sent(),
            Self::Gather(gather) => gather.sent(),
            _ => 0,
        }
    }

    /// The socket the operation works on and the direction it needs; `None` for operations on files, and for a zero-copy
    /// send whose bytes are with the kernel.
    #[must_use]
    pub fn target(&self) -> Option<(&Handle, Interest)> {
        match self {
            Self::Accept { listener } => Some((listener, Interest::Readable)),
            Self::Stream { socket }
            | Self::LargeStream { socket }
            | Self::Watch { socket }
            | Self::Exact { socket, .. } => Some((socket, Interest::Readable)),
            Self::Datagrams(datagrams) => Some((&datagrams.socket, Interest::Readable)),
            Self::Send { socket, .. } => Some((socket, Interest::Writable)),
            Self::SendZeroCopy(send) => send.socket().map(|socket| (socket, Interest::Writable)),
            Self::Gather(gather) => Some((&gather.socket, Interest::Writable)),
            Self::Transmit(transmit) => Some((&transmit.socket, Interest::Writable)),
            Self::Connect(connect) => Some((&connect.socket, Interest::Writable)),
            Self::Ready { socket, interest } => Some((socket, *interest)),
            Self::Open(_) | Self::Stat(_) | Self::Read(_) | Self::Write(_) => None,
        }
    }

    /// Whether a transfer has nothing (left) to move: it ends at once, whatever the socket is up to.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match self {
            Self::Exact { filled, want, .. } => filled >= want,
            Self::Send { bytes, sent, .. } => *sent as usize >= bytes.len(),
            Self::SendZeroCopy(send) => send.sent() as usize >= send.bytes().len(),
            Self::Gather(gather) => gather.left().is_empty(),
            _ => false,
        }
    }

    /// Cuts what the caller wants to what its buffers hold, so that no driver needs to doubt it.
    pub(crate) fn normalise(&mut self) {
        match self {
            Self::Exact { buffer, filled, want, .. } => {
                *want = (*want).min(u32::try_from(buffer.len()).unwrap_or(u32::MAX));
                *filled = (*filled).min(*want);
            }
            Self::Send { bytes, sent, .. } => {
                *sent = (*sent).min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            }
            _ => {}
        }
    }
}

/// What moved before an error counts as the result: it must be served first.
pub(crate) fn partial(moved: u32, result: i32) -> i32 {
    if result < 0 && moved == 0 { result } else { i32::try_from(moved).unwrap_or(i32::MAX) }
}

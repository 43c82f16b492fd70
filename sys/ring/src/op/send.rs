//! Gather sends: a chain of slices leaves in one operation.

use crate::handle::Handle;
use crate::slice::{Chain, Slice};
use std::fmt;

/// Sends a chain; the kernel reads the vector and the message header from this box, which does not move (I4).
pub struct Gather {
    pub(crate) socket: Handle,
    chain: Chain,
    sent: u32,
    /// Set when the end is asked for: what is left after this message stays.
    pub(crate) is_cancelled: bool,
    vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Gather {
    /// A gather send of `chain` on `socket`.
    #[must_use]
    pub fn new(socket: Handle, chain: Chain) -> Box<Self> {
        // SAFETY: I6: an all-zero message header is valid: no name, no vectors, no control data.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { socket, chain, sent: 0, is_cancelled: false, vectors: Vec::new(), header })
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Handle {
        &self.socket
    }

    /// What is still to be sent.
    #[must_use]
    pub fn left(&self) -> &Chain {
        &self.chain
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Takes the sent bytes off the chain; true when nothing is left.
    pub fn advance(&mut self, bytes: u32) -> bool {
        self.chain.advance(bytes as usize);
        self.sent += bytes;
        self.chain.is_empty()
    }

    /// Bytes of the message that was prepared last.
    pub(crate) fn prepared_bytes(&self) -> usize {
        self.vectors.iter().map(|vector| vector.iov_len).sum()
    }

    /// Fills vector and header from what is left; they stay valid until the next call or the drop.
    pub(crate) fn prepare(&mut self) -> &libc::msghdr {
        self.vectors.clear();
        self.vectors.extend(
            self.chain.slices().iter().take(Chain::GATHER_MAX).map(|slice| libc::iovec {
                iov_base: slice.as_ptr().cast_mut().cast(),
                iov_len: slice.len(),
            }),
        );
        self.header.msg_iov = self.vectors.as_mut_ptr();
        self.header.msg_iovlen = self.vectors.len() as _;
        &self.header
    }
}

/// Sends a slice without copying it where the kernel can.
///
/// Once the bytes are with the kernel the operation holds their buffer only: the kernel lets go of it when the peer has
/// taken them or the connection is gone, so the operation must not be what keeps the connection open.
#[derive(Debug)]
pub struct ZeroCopy {
    socket: Option<Handle>,
    pub(crate) bytes: Slice,
    sent: u32,
    copied: bool,
    /// What the send failed with, kept until the kernel has let go of the buffer.
    error: i32,
}

impl ZeroCopy {
    /// A zero-copy send of `bytes` on `socket`.
    #[must_use]
    pub fn new(socket: Handle, bytes: Slice) -> Box<Self> {
        Box::new(Self { socket: Some(socket), bytes, sent: 0, copied: false, error: 0 })
    }

    /// The socket, until the bytes are with the kernel.
    #[must_use]
    pub fn socket(&self) -> Option<&Handle> {
        self.socket.as_ref()
    }

    /// What was to be sent.
    #[must_use]
    pub fn bytes(&self) -> &Slice {
        &self.bytes
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.sent
    }

    /// Whether the kernel copied after all.
    #[must_use]
    pub fn is_copied(&self) -> bool {
        self.copied
    }

    /// Counts what a driver has sent.
    pub fn advance(&mut self, bytes: u32) {
        self.sent += bytes;
    }

    /// Lets go of the socket: the bytes are with the kernel, only the buffer is still in use.
    pub fn release_socket(&mut self) {
        self.socket = None;
    }

    /// Records that the bytes were copied.
    pub fn set_copied(&mut self) {
        self.copied = true;
    }

    /// Records the send's own result, before the kernel has let go of the buffer.
    pub(crate) fn settle(&mut self, result: i32) {
        self.sent += u32::try_from(result).unwrap_or(0);
        self.error = result.min(0);
    }

    /// What the operation comes to: what was sent, or else the error.
    pub(crate) fn outcome(&self) -> i32 {
        super::partial(self.sent, self.error)
    }
}

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({} bytes left)", self.chain.len())
    }
}

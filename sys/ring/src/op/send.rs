//! Gather sends: a chain of slices leaves in one operation.

use crate::handle::Handle;
use crate::slice::Chain;
use std::fmt;

/// Sends a chain; the kernel reads the vector and the message header from this box, which does not move (I4).
pub struct Gather {
    pub(crate) socket: Handle,
    chain: Chain,
    sent: u32,
    vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Gather {
    /// A gather send of `chain` on `socket`.
    #[must_use]
    pub fn new(socket: Handle, chain: Chain) -> Box<Self> {
        // SAFETY: I6: an all-zero message header is valid: no name, no vectors, no control data.
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { socket, chain, sent: 0, vectors: Vec::new(), header })
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

impl fmt::Debug for Gather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({} bytes left)", self.chain.len())
    }
}

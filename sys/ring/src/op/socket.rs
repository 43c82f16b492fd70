//! Operations on sockets that move no payload: connect, readiness.

use crate::handle::Handle;
use crate::socket::RawAddress;

/// What a [`super::Op::Ready`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Data, a connection to accept, or the end of the stream.
    Readable,
    /// Room to send, or a finished connect.
    Writable,
}

/// Connects `socket` to `address`.
#[derive(Debug)]
pub struct Connect {
    /// An unconnected, non-blocking stream socket.
    pub socket: Handle,
    /// The peer, in the kernel's form; its address in memory must hold still, hence the box around this struct.
    pub address: RawAddress,
    /// Set once the connect was started, so that readiness means a result is there.
    pub(crate) started: bool,
}

impl Connect {
    /// A connect that has not been started.
    #[must_use]
    pub fn new(socket: Handle, address: RawAddress) -> Box<Self> {
        Box::new(Self { socket, address, started: false })
    }
}

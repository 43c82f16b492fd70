//! UDP endpoints: addresses where workers receive datagrams in batches, and answer.

mod socket;

pub(crate) use socket::{News, Side, UdpSocket};

use crate::worker::WorkerHandle;
use ringway_ring::socket::{DatagramSocketOptions, Full, Interface, Refusal, SendBatch};
use ringway_ring::{Batch, DatagramOptions, Handle};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;

/// Makes a worker's handler, on that worker's thread.
pub type DatagramHandlerFactory =
    Arc<dyn Fn(&WorkerHandle) -> io::Result<Rc<dyn DatagramHandler>> + Send + Sync>;

/// What a worker does with the datagrams of one endpoint. A handler that may block or compute for long belongs on a
/// [`crate::Port`] instead.
pub trait DatagramHandler: 'static {
    /// Handles what has arrived, at most [`DatagramOptions::batch_max`] datagrams in the order of their arrival. Must not
    /// block. What shall live longer is copied out. Answers given to `out` leave together after the call. A panic costs the
    /// rest of this batch and is counted; answers given before it leave.
    fn datagrams(&self, batch: &Batch, out: &mut Outgoing<'_>);

    /// The socket reported an error that a datagram's way through the network brought (ICMP, interface down), or could not
    /// be received from; reception goes on, or is tried again.
    fn error(&self, _error: &io::Error) {}

    /// The kernel would not send these. What did not fit into the queue is told to whoever gave it, not here.
    fn refused(&self, _refusals: &[Refusal]) {}
}

/// An address where datagrams are received, with its rules and its handler. Several workers share its port, and the kernel
/// spreads peers over them by a hash.
#[derive(Clone)]
pub struct UdpEndpoint {
    /// Where to receive; port 0: any free one.
    pub address: SocketAddr,
    /// The sockets' options. Of several workers each has a socket of its own, whatever `reuse_port` says. With `gro`, trains
    /// come as one datagram, and the buffers are of 64 KiB.
    pub socket: DatagramSocketOptions,
    /// Multicast groups to join. The first worker receives what is sent to them.
    pub groups: Vec<(IpAddr, Interface)>,
    /// Each socket's buffers; `batch_max` is what one socket may bring a turn.
    pub datagrams: DatagramOptions,
    /// Most messages that wait to be sent at a socket; a train of up to 64 datagrams is one.
    pub queue_messages_max: usize,
    /// Most bytes of them.
    pub queue_bytes_max: usize,
    /// What handles the datagrams.
    pub handler: DatagramHandlerFactory,
}

/// Answers on their way to one endpoint's socket; what does not fit is refused to the caller and counted.
#[derive(Debug)]
pub struct Outgoing<'a> {
    batch: &'a mut SendBatch,
    refused: &'a mut u64,
}

impl UdpEndpoint {
    /// An endpoint with ordinary buffers and limits.
    #[must_use]
    pub fn new(address: SocketAddr, handler: DatagramHandlerFactory) -> Self {
        Self {
            address,
            socket: DatagramSocketOptions::default(),
            groups: Vec::new(),
            datagrams: DatagramOptions::default(),
            queue_messages_max: 1024,
            queue_bytes_max: 4 << 20,
            handler,
        }
    }

    /// Binds once per worker.
    pub(crate) fn bind(&self, workers: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
        let options =
            DatagramSocketOptions { reuse_port: workers > 1 || self.socket.reuse_port, ..self.socket };
        let first = ringway_ring::socket::bind_datagrams(self.address, &options)?;
        for &(group, interface) in &self.groups {
            ringway_ring::socket::join_multicast(first.as_fd(), group, interface)?;
        }
        // Port 0 became a real one: the other workers must have the same.
        let address = ringway_ring::socket::local_address(first.as_fd()).unwrap_or(self.address);
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(ringway_ring::socket::bind_datagrams(address, &options)?);
        }
        Ok((address, sockets))
    }

    /// A worker's socket, ready to be received from.
    pub(crate) fn prepare(&self, ring: &ringway_ring::Ring, socket: OwnedFd) -> io::Result<UdpSocket> {
        let socket = Handle::new(socket);
        let mut options = self.datagrams;
        if self.socket.gro {
            options.payload_bytes = ringway_ring::DATAGRAM_BYTES_MAX;
        }
        let datagrams = ring.datagrams(socket.clone(), &options)?;
        let out = SendBatch::new(self.queue_messages_max, self.queue_bytes_max);
        Ok(UdpSocket::new(socket, datagrams, out))
    }
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(batch: &'a mut SendBatch, refused: &'a mut u64) -> Self {
        Self { batch, refused }
    }

    /// Sends a datagram to `to`.
    ///
    /// # Errors
    /// [`Full`] when the queue has no room for it, because the socket takes less than is given; it is lost.
    pub fn send(&mut self, to: SocketAddr, payload: &[u8]) -> Result<(), Full> {
        let pushed = self.batch.push(Some(to), payload);
        *self.refused += u64::from(pushed.is_err());
        pushed
    }

    /// Sends `payload` as datagrams of `segment_bytes`, the last one shorter where it must be. The kernel cuts them if it can,
    /// which costs a fraction of sending them singly.
    ///
    /// # Errors
    /// [`Full`] when the queue has no room for all of them; none is sent.
    pub fn send_train(&mut self, to: SocketAddr, payload: &[u8], segment_bytes: u16) -> Result<(), Full> {
        let pushed = self.batch.push_train(Some(to), payload, segment_bytes);
        if pushed.is_err() {
            *self.refused += payload.len().div_ceil(usize::from(segment_bytes.max(1))) as u64;
        }
        pushed
    }

    /// Messages that wait to be sent.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.batch.len()
    }
}

impl WorkerHandle {
    /// Sends datagrams from the socket of the UDP endpoint at this place in [`crate::ServerOptions::udp`], of one's own accord:
    /// they leave in the worker's next turn. Not from within a handler, which has its own `out`, nor during a turn of a
    /// protocol. `None` when the endpoint is not there, or its handler at work.
    pub fn send_datagrams<T>(&self, endpoint: usize, give: impl FnOnce(&mut Outgoing<'_>) -> T) -> Option<T> {
        let mut out = self.local.core.borrow_mut().udp.lend(endpoint)?;
        let mut refused = 0;
        let given = give(&mut Outgoing::new(&mut out, &mut refused));
        let core = &mut *self.local.core.borrow_mut();
        core.counters.datagrams_refused.add(refused);
        core.udp.give_back(endpoint, out);
        core.udp.flush_later(endpoint);
        Some(given)
    }
}

impl fmt::Debug for UdpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpEndpoint")
            .field("address", &self.address)
            .field("datagrams", &self.datagrams)
            .finish_non_exhaustive()
    }
}

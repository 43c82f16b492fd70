//! UDP endpoints: addresses where workers receive datagrams in batches, and answer.

mod sockets;

pub(crate) use sockets::{News, Next, Side, UdpSocket};

use crate::worker::WorkerHandle;
use ringway_ring::socket::{self, DatagramSocketOptions, Full, Interface, Refusal, SendBatch};
use ringway_ring::{Batch, DatagramOptions, Handle};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
    fn datagrams(&self, batch: &mut Batch, out: &mut Outgoing<'_>);

    /// Which endpoint this handler was put at: its place in [`crate::ServerOptions::udp`], by which
    /// [`WorkerHandle::send_datagrams`] knows it. Told once, before any datagram.
    fn placed(&self, _endpoint: usize) {}

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
    /// Multicast groups to join. The first worker receives what is sent to them. With groups, the sockets report where datagrams
    /// were sent to.
    pub groups: Vec<(IpAddr, Interface)>,
    /// Each socket's buffers; `batch_max` is what one socket may bring a turn.
    pub datagrams: DatagramOptions,
    /// Most messages that wait to be sent at a socket; a train of up to 64 datagrams is one.
    pub queue_messages_max: usize,
    /// Most bytes of them.
    pub queue_bytes_max: usize,
    /// What handles the datagrams.
    pub handler: DatagramHandlerFactory,
    /// Sockets that are bound already, by somebody else (a supervisor, an earlier server, systemd): they are received from
    /// instead of binding `address`. Any number of them serves any number of workers, each by one worker; a worker that gets
    /// none only sends. They are duplicated; whoever gave them may keep them, and what waits in them outlives this server.
    pub sockets: Vec<Arc<OwnedFd>>,
}

/// A worker's sockets as they were bound: the endpoint's place, the socket, and whether it is received from.
pub(crate) struct BoundSocket {
    pub(crate) endpoint: usize,
    pub(crate) socket: OwnedFd,
    pub(crate) receives: bool,
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
            sockets: Vec::new(),
        }
    }

    /// Binds without serving: the address with its real port, and a socket for each of so many workers. For a process that
    /// binds, and passes them on as [`UdpEndpoint::sockets`].
    ///
    /// # Errors
    /// What `socket(2)`, `setsockopt(2)` and `bind(2)` say.
    pub fn bind_for(&self, workers: usize) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
        let options = DatagramSocketOptions {
            reuse_port: workers > 1 || self.socket.reuse_port,
            ..self.socket_options()
        };
        let first = socket::bind_datagrams(self.address, &options)?;
        // Port 0 became a real one: the other workers must have the same.
        let address = socket::local_address(first.as_fd()).unwrap_or(self.address);
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(socket::bind_datagrams(address, &options)?);
        }
        self.join(&sockets)?;
        Ok((address, sockets))
    }

    /// What each worker receives from and sends by for the endpoint of this place: passed sockets, or sockets bound now.
    pub(crate) fn bind(
        &self,
        endpoint: usize,
        workers: usize,
    ) -> io::Result<(SocketAddr, Vec<Vec<BoundSocket>>)> {
        let (address, sockets) =
            if self.sockets.is_empty() { self.bind_for(workers)? } else { self.inherit()? };
        let mut each: Vec<Vec<BoundSocket>> = (0..workers).map(|_| Vec::new()).collect();
        for own in each.iter_mut().skip(sockets.len()) {
            let socket = sockets[0].try_clone()?;
            own.push(BoundSocket { endpoint, socket, receives: false });
        }
        for (index, socket) in sockets.into_iter().enumerate() {
            each[index % workers].push(BoundSocket { endpoint, socket, receives: true });
        }
        Ok((address, each))
    }

    /// Duplicates of the sockets that were passed in, and where they receive.
    fn inherit(&self) -> io::Result<(SocketAddr, Vec<OwnedFd>)> {
        let mut sockets = Vec::with_capacity(self.sockets.len());
        for socket in &self.sockets {
            socket::adopt_datagrams(socket.as_fd(), &self.socket_options())?;
            sockets.push(socket.try_clone()?);
        }
        self.join(&sockets)?;
        let address = sockets.first().and_then(|first| socket::local_address(first.as_fd()));
        Ok((address.unwrap_or(self.address), sockets))
    }

    fn socket_options(&self) -> DatagramSocketOptions {
        let reports_destination = self.socket.reports_destination || !self.groups.is_empty();
        DatagramSocketOptions { reports_destination, ..self.socket }
    }

    /// Makes the first socket a member of the groups.
    fn join(&self, sockets: &[OwnedFd]) -> io::Result<()> {
        let Some(first) = sockets.first() else { return Ok(()) };
        for &(group, interface) in &self.groups {
            match socket::join_multicast(first.as_fd(), group, interface) {
                // EADDRINUSE: whoever passed it on has made it a member.
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    let reason = format!("cannot join the group {group}: {error}");
                    return Err(io::Error::new(error.kind(), reason));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A worker's socket, ready to be used.
    pub(crate) fn prepare(&self, ring: &ringway_ring::Ring, bound: BoundSocket) -> io::Result<UdpSocket> {
        let socket = Handle::new(bound.socket);
        let mut options = self.datagrams;
        if self.socket.gro {
            options.payload_bytes = ringway_ring::DATAGRAM_BYTES_MAX;
        }
        let datagrams = match bound.receives {
            true => Some(ring.datagrams(socket.clone(), &options)?),
            false => None,
        };
        let out = SendBatch::new(self.queue_messages_max, self.queue_bytes_max);
        Ok(UdpSocket::new(bound.endpoint, socket, datagrams, out))
    }
}

impl<'a> Outgoing<'a> {
    pub(crate) fn new(batch: &'a mut SendBatch, refused: &'a mut u64) -> Self {
        Self { batch, refused }
    }

    /// The same for a shorter time, for who keeps it beside something else.
    #[must_use]
    pub fn again(&mut self) -> Outgoing<'_> {
        Outgoing { batch: self.batch, refused: self.refused }
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

    /// As [`Outgoing::send`]; where what was sent before goes to the same address and is as long, both leave as one train that
    /// the kernel cuts. They arrive as the single datagrams that they are.
    ///
    /// # Errors
    /// As [`Outgoing::send`].
    pub fn send_joined(&mut self, to: SocketAddr, payload: &[u8]) -> Result<(), Full> {
        let pushed = self.batch.push_joined(Some(to), payload);
        *self.refused += u64::from(pushed.is_err());
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
        let (place, mut out) = self.local.core.borrow_mut().udp.lend(endpoint)?;
        let mut refused = 0;
        // A panic must not take the queue with it: the endpoint could send nothing any more.
        let given = catch_unwind(AssertUnwindSafe(|| give(&mut Outgoing::new(&mut out, &mut refused))));
        let core = &mut *self.local.core.borrow_mut();
        core.counters.datagrams_refused.add(refused);
        core.udp.give_back(place, out);
        core.udp.flush_later(place);
        Some(given.unwrap_or_else(|panic| resume_unwind(panic)))
    }
}

impl WorkerHandle {
    /// Where this worker's socket of a UDP endpoint receives, with its real port.
    #[must_use]
    pub fn datagram_address(&self, endpoint: usize) -> Option<SocketAddr> {
        let core = self.local.core.borrow();
        core.udp.socket_of(endpoint)?.kernel().and_then(socket::local_address)
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

//! A simulated network: in-memory connections under a real [`Ring`], seeded faults, and a clock that tests advance.
//!
//! The code under test gets a [`Ring`] from [`SimNet::ring`] and sockets from [`SimNet::listen`], [`SimNet::socket`] or
//! [`SimNet::pair`]; the test holds the other ends as [`SimPeer`]s. Nothing runs by itself: the network moves when the
//! ring is polled, and one seed gives one course of events. Files are real ones; only whether they are in memory is
//! simulated ([`SimNet::chill`]).
//!
//! Guarantees kept under every fault: each operation completes for the last time exactly once; what one direction of a
//! socket carries stays in order; an operation that can end does so after a bounded number of polls. A second operation
//! in one direction of a socket is refused with `EBUSY`.

mod driver;
mod faults;
mod files;
mod world;

pub use driver::SimDriver;
pub use faults::Faults;

use ringway_ring::{Handle, Pool, Ring, RingOptions, Waker};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use world::{Place, World};

/// The network and its clock, as the test controls them. Clones are the same network; it is `!Send`, as rings are.
#[derive(Clone)]
pub struct SimNet {
    world: Rc<RefCell<World>>,
}

impl SimNet {
    /// A network whose course `seed` decides.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { world: Rc::new(RefCell::new(World::new(seed, faults))) }
    }

    /// A ring on this network; several may share it. Of `options`, the memory limit, the buffers' size and the limit of
    /// operations count.
    ///
    /// # Errors
    /// When no descriptor is left for the waker.
    pub fn ring(&self, options: &RingOptions) -> io::Result<Ring> {
        let pool = Pool::new(options.pool_bytes_max);
        let waker = Waker::new()?;
        let driver = self.driver(pool.clone(), waker.clone(), options.stream_buffer_bytes);
        Ok(Ring::with_driver(Box::new(driver), pool, waker, options.operations_max))
    }

    /// A driver on this network, for [`Ring::with_driver`].
    #[must_use]
    pub fn driver(&self, pool: Pool, waker: Waker, stream_buffer_bytes: usize) -> SimDriver {
        SimDriver::new(Rc::clone(&self.world), pool, waker, stream_buffer_bytes)
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.world.borrow_mut().faults = faults;
    }

    /// Bytes each direction of connections made from now on holds (64 KiB by default).
    pub fn set_window(&self, bytes: usize) {
        self.world.borrow_mut().window_bytes = bytes;
    }

    /// Sockets the code under test may have before an accept fails with `EMFILE`.
    pub fn set_descriptors_max(&self, count: usize) {
        self.world.borrow_mut().descriptors_max = count;
    }

    /// The simulated time since the network was made.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.world.borrow().now
    }

    /// Moves the clock forward.
    pub fn advance(&self, time: Duration) {
        self.world.borrow_mut().now += time;
    }

    /// Lets a poll that would sleep for a limited time move the clock by that time (off by default).
    pub fn set_advances_itself(&self, advances: bool) {
        self.world.borrow_mut().advances_itself = advances;
    }

    /// What the ring's `prefers_direct_send` says (false by default).
    pub fn set_prefers_direct_send(&self, prefers: bool) {
        self.world.borrow_mut().prefers_direct_send = prefers;
    }

    /// A listening socket for the code under test.
    ///
    /// # Errors
    /// `AddrInUse` when something is at the address.
    pub fn listen(&self, address: SocketAddr) -> io::Result<Handle> {
        self.world.borrow_mut().listen(address)
    }

    /// An unconnected socket for the code under test.
    #[must_use]
    pub fn socket(&self) -> Handle {
        self.world.borrow_mut().fresh()
    }

    /// A connection: the end of the code under test and the test's.
    #[must_use]
    pub fn pair(&self) -> (Handle, SimPeer) {
        let handle = self.world.borrow_mut().connected();
        let peer = self.peer(handle.raw());
        (handle, peer)
    }

    /// Connects to a listener of the code under test.
    ///
    /// # Errors
    /// `ConnectionRefused` when nobody listens or the queue (4096 connections) is full.
    pub fn dial(&self, address: SocketAddr) -> io::Result<SimPeer> {
        let number = self.world.borrow_mut().dial(address)?;
        Ok(self.peer(number))
    }

    /// Makes the test answer connects to `address`; take the connections with [`SimNet::answered`].
    pub fn serve(&self, address: SocketAddr) {
        self.world.borrow_mut().addresses.insert(address, Place::Test(VecDeque::new()));
    }

    /// The next connection that the code under test made to a served address.
    #[must_use]
    pub fn answered(&self, address: SocketAddr) -> Option<SimPeer> {
        let mut world = self.world.borrow_mut();
        let Some(Place::Test(queue)) = world.addresses.get_mut(&address) else { return None };
        let number = queue.pop_front()?;
        drop(world);
        Some(self.peer(number))
    }

    /// Makes connects to `address` wait for ever.
    pub fn swallow(&self, address: SocketAddr) {
        self.world.borrow_mut().addresses.insert(address, Place::Void);
    }

    /// Takes a file out of memory: its pages count as cold until an operation has read them.
    pub fn chill(&self, file: &Handle) {
        self.world.borrow_mut().chill(file.raw());
    }

    /// Sockets that the code under test holds now.
    #[must_use]
    pub fn open_sockets(&self) -> usize {
        let mut world = self.world.borrow_mut();
        world.sweep();
        world.given()
    }

    fn peer(&self, number: i32) -> SimPeer {
        SimPeer { world: Rc::clone(&self.world), number }
    }
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimNet").field("now", &self.now()).finish_non_exhaustive()
    }
}

/// The test's end of a simulated connection. Nothing blocks. Dropped, it closes as a process that is gone: what the code
/// under test sends afterwards is answered with a reset.
pub struct SimPeer {
    world: Rc<RefCell<World>>,
    number: i32,
}

impl SimPeer {
    /// Sends what fits the window.
    ///
    /// # Errors
    /// `WouldBlock` when the window is full; `BrokenPipe` after [`SimPeer::finish`]; `ConnectionReset` when the code
    /// under test is gone or the connection is reset.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.swept();
        let Some(connection) = world.connection_mut(self.number) else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        if connection.is_reset || connection.we_are_gone {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if connection.to_us.is_finished {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match connection.to_us.put(bytes) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Receives what is there; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; `ConnectionReset` after a reset.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = self.swept();
        let Some(connection) = world.connection_mut(self.number) else {
            return Err(io::ErrorKind::ConnectionReset.into());
        };
        match connection.to_peer.take(buffer) {
            0 if connection.is_reset => Err(io::ErrorKind::ConnectionReset.into()),
            0 if connection.to_peer.is_finished => Ok(0),
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Ends the direction to the code under test; it reads the end after what is still under way.
    pub fn finish(&self) {
        if let Some(connection) = self.swept().connection_mut(self.number) {
            connection.to_us.is_finished = true;
        }
    }

    /// Breaks the connection: what is still under way can be read, then comes `ConnectionReset`.
    pub fn reset(&self) {
        if let Some(connection) = self.swept().connection_mut(self.number) {
            connection.is_reset = true;
        }
    }

    /// Bytes on their way to the code under test.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.swept().connection_mut(self.number).map_or(0, |connection| connection.to_us.len())
    }

    fn swept(&self) -> std::cell::RefMut<'_, World> {
        let mut world = self.world.borrow_mut();
        world.sweep();
        world
    }
}

impl Drop for SimPeer {
    fn drop(&mut self) {
        if let Some(connection) = self.swept().connection_mut(self.number) {
            // Unread data turns a close into a reset, as TCP does.
            connection.is_reset |= connection.to_peer.len() > 0;
            connection.to_us.is_finished = true;
            connection.peer_is_gone = true;
        }
    }
}

impl fmt::Debug for SimPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimPeer({})", self.number)
    }
}

//! The simulated network itself: sockets, listeners and the bytes between them.

use super::faults::Faults;
use crate::seed::Rng;
use ringway_ring::{Handle, Interest};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// Numbers of simulated sockets begin here, so that they never look like a descriptor.
const NUMBER_MIN: i32 = 1_000_000;

/// Connections that wait in a listener's queue before further ones are refused.
pub(super) const BACKLOG: usize = 4096;

/// Bytes a direction holds unless [`super::SimNet::set_window`] says otherwise.
const WINDOW_BYTES: usize = 64 * 1024;

/// Residency is tracked in pages of this size.
const PAGE_BYTES: u64 = 4096;

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) faults: Faults,
    pub(super) now: Duration,
    pub(super) advances_itself: bool,
    pub(super) prefers_direct_send: bool,
    pub(super) window_bytes: usize,
    pub(super) descriptors_max: usize,
    pub(super) addresses: BTreeMap<SocketAddr, Place>,
    sockets: BTreeMap<i32, Socket>,
    next_number: i32,
    /// Files of which only these pages are in memory.
    cold: BTreeMap<i32, BTreeSet<u64>>,
}

/// What is found at an address.
pub(super) enum Place {
    /// A listening socket of the code under test.
    Listener(i32),
    /// The test answers: connections made to it, not taken yet.
    Test(VecDeque<i32>),
    /// Nobody answers, ever.
    Void,
}

struct Socket {
    /// The world's own clone: it is the only one left when the code under test has let go.
    handle: Handle,
    /// Whether the code under test has it (a connection in an accept queue is nobody's yet).
    is_given: bool,
    kind: Kind,
}

enum Kind {
    Fresh,
    Listener { address: SocketAddr, queue: VecDeque<i32> },
    Connection(Box<Connection>),
}

/// A connection: `to_us` leads to the code under test, `to_peer` to the test.
pub(super) struct Connection {
    pub(super) to_us: Pipe,
    pub(super) to_peer: Pipe,
    pub(super) is_reset: bool,
    /// The test has dropped its end.
    pub(super) peer_is_gone: bool,
    /// The code under test has dropped its end.
    pub(super) we_are_gone: bool,
}

#[derive(Default)]
pub(super) struct Pipe {
    bytes: VecDeque<u8>,
    window_bytes: usize,
    pub(super) is_finished: bool,
}

impl Pipe {
    fn new(window_bytes: usize) -> Self {
        Self { window_bytes, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn room(&self) -> usize {
        self.window_bytes.saturating_sub(self.bytes.len())
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.room());
        self.bytes.extend(&bytes[..count]);
        count
    }

    pub(super) fn take(&mut self, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(self.bytes.len());
        let (front, back) = self.bytes.as_slices();
        let from_front = count.min(front.len());
        buffer[..from_front].copy_from_slice(&front[..from_front]);
        buffer[from_front..count].copy_from_slice(&back[..count - from_front]);
        self.bytes.drain(..count);
        count
    }

    fn clear(&mut self) {
        self.bytes.clear();
    }
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            rng: Rng::new(seed),
            faults,
            now: Duration::ZERO,
            advances_itself: false,
            prefers_direct_send: false,
            window_bytes: WINDOW_BYTES,
            descriptors_max: usize::MAX,
            addresses: BTreeMap::new(),
            sockets: BTreeMap::new(),
            next_number: NUMBER_MIN,
            cold: BTreeMap::new(),
        }
    }

    /// An unconnected socket of the code under test.
    pub(super) fn fresh(&mut self) -> Handle {
        self.insert(Kind::Fresh, true)
    }

    pub(super) fn listen(&mut self, address: SocketAddr) -> io::Result<Handle> {
        self.sweep();
        if self.addresses.contains_key(&address) {
            return Err(errno(libc::EADDRINUSE));
        }
        let handle = self.insert(Kind::Listener { address, queue: VecDeque::new() }, true);
        self.addresses.insert(address, Place::Listener(handle.raw()));
        Ok(handle)
    }

    /// A connection that belongs to the code under test at once.
    pub(super) fn connected(&mut self) -> Handle {
        let connection = self.connection();
        self.insert(Kind::Connection(connection), true)
    }

    /// The test connects to a listener of the code under test.
    pub(super) fn dial(&mut self, address: SocketAddr) -> io::Result<i32> {
        self.sweep();
        let Some(Place::Listener(listener)) = self.addresses.get(&address) else {
            return Err(errno(libc::ECONNREFUSED));
        };
        let listener = *listener;
        let connection = self.connection();
        let number = self.insert(Kind::Connection(connection), false).raw();
        match self.sockets.get_mut(&listener).map(|socket| &mut socket.kind) {
            Some(Kind::Listener { queue, .. }) if queue.len() < BACKLOG => queue.push_back(number),
            _ => {
                self.sockets.remove(&number);
                return Err(errno(libc::ECONNREFUSED));
            }
        }
        Ok(number)
    }

    /// The code under test connects `socket`; `None` while nobody answers.
    pub(super) fn connect(&mut self, socket: i32, address: Option<SocketAddr>) -> Option<io::Result<()>> {
        let refused = Some(Err(errno(libc::ECONNREFUSED)));
        match self.sockets.get(&socket).map(|socket| &socket.kind) {
            Some(Kind::Fresh) => {}
            Some(_) => return Some(Err(errno(libc::EISCONN))),
            None => return Some(Err(errno(libc::EBADF))),
        }
        match address.and_then(|address| self.addresses.get_mut(&address)) {
            Some(Place::Void) => return None,
            Some(Place::Test(queue)) => queue.push_back(socket),
            // Both ends in the code under test would need a second direction table; tests connect to the test.
            Some(Place::Listener(_)) | None => return refused,
        }
        let connection = self.connection();
        if let Some(entry) = self.sockets.get_mut(&socket) {
            entry.kind = Kind::Connection(connection);
        }
        Some(Ok(()))
    }

    /// The next connection in a listener's queue; it belongs to the code under test from now on.
    pub(super) fn accept(&mut self, listener: i32) -> io::Result<Handle> {
        let given = self.given();
        let Some(Kind::Listener { queue, .. }) = self.sockets.get_mut(&listener).map(|found| &mut found.kind)
        else {
            return Err(errno(libc::EINVAL));
        };
        if queue.is_empty() {
            return Err(errno(libc::EAGAIN));
        }
        if given >= self.descriptors_max {
            return Err(errno(libc::EMFILE));
        }
        let next = queue.pop_front().and_then(|number| self.sockets.get_mut(&number));
        let socket = next.ok_or_else(|| errno(libc::EAGAIN))?;
        socket.is_given = true;
        Ok(socket.handle.clone())
    }

    pub(super) fn connection_mut(&mut self, number: i32) -> Option<&mut Connection> {
        match &mut self.sockets.get_mut(&number)?.kind {
            Kind::Connection(connection) => Some(connection),
            _ => None,
        }
    }

    /// Whether an operation of that direction would not block.
    pub(super) fn is_ready(&self, number: i32, interest: Interest) -> bool {
        match self.sockets.get(&number).map(|socket| &socket.kind) {
            Some(Kind::Listener { queue, .. }) => !queue.is_empty(),
            Some(Kind::Connection(connection)) => match interest {
                Interest::Readable => {
                    connection.to_us.len() > 0 || connection.to_us.is_finished || connection.is_reset
                }
                Interest::Writable => {
                    let pipe = &connection.to_peer;
                    pipe.room() > 0 || pipe.is_finished || connection.is_reset || connection.peer_is_gone
                }
            },
            _ => true,
        }
    }

    /// Receives for the code under test; 0 at the end of the stream.
    pub(super) fn receive(&mut self, number: i32, buffer: &mut [u8]) -> io::Result<usize> {
        let room = self.cut(buffer.len());
        let Some(connection) = self.connection_mut(number) else { return Err(errno(libc::ENOTCONN)) };
        match connection.to_us.take(&mut buffer[..room]) {
            0 if connection.is_reset => Err(errno(libc::ECONNRESET)),
            0 if connection.to_us.is_finished || buffer.is_empty() => Ok(0),
            0 => Err(errno(libc::EAGAIN)),
            count => Ok(count),
        }
    }

    /// Sends for the code under test.
    pub(super) fn send(&mut self, number: i32, bytes: &[u8]) -> io::Result<usize> {
        let count = self.cut(bytes.len());
        let Some(connection) = self.connection_mut(number) else { return Err(errno(libc::ENOTCONN)) };
        if connection.is_reset || connection.to_peer.is_finished {
            return Err(errno(libc::EPIPE));
        }
        if connection.peer_is_gone {
            // The first send is taken and answered with a reset, as TCP does.
            connection.is_reset = true;
            return Ok(count);
        }
        match connection.to_peer.put(&bytes[..count]) {
            0 if !bytes.is_empty() => Err(errno(libc::EAGAIN)),
            count => Ok(count),
        }
    }

    pub(super) fn shutdown(&mut self, number: i32, how: Shutdown) -> io::Result<()> {
        let Some(connection) = self.connection_mut(number) else { return Err(errno(libc::ENOTCONN)) };
        if how != Shutdown::Write {
            connection.to_us.is_finished = true;
            connection.to_us.clear();
        }
        if how != Shutdown::Read {
            connection.to_peer.is_finished = true;
        }
        Ok(())
    }

    /// Notices what the code under test has let go of.
    pub(super) fn sweep(&mut self) {
        let is_gone = |socket: &Socket| socket.is_given && socket.handle.holders() == 1;
        let gone: Vec<i32> =
            self.sockets.iter().filter(|(_, socket)| is_gone(socket)).map(|(number, _)| *number).collect();
        for number in gone {
            self.close(number);
        }
        self.sockets.retain(|_, socket| match &socket.kind {
            Kind::Connection(connection) => !(connection.we_are_gone && connection.peer_is_gone),
            _ => true,
        });
    }

    /// Sockets that the code under test has.
    pub(super) fn given(&self) -> usize {
        self.sockets.values().filter(|socket| socket.is_given && socket.handle.holders() > 1).count()
    }

    /// Takes every page of a file out of memory.
    pub(super) fn chill(&mut self, file: i32) {
        self.cold.insert(file, BTreeSet::new());
    }

    pub(super) fn is_resident(&mut self, file: i32, range: std::ops::Range<u64>) -> bool {
        let evicts = self.rng.chance(self.faults.evict);
        let Some(warm) = self.cold.get_mut(&file) else { return true };
        if evicts {
            warm.pop_first();
        }
        (range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES)).all(|page| warm.contains(&page))
    }

    pub(super) fn warm(&mut self, file: i32, range: std::ops::Range<u64>) {
        if let Some(warm) = self.cold.get_mut(&file) {
            warm.extend(range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES));
        }
    }

    fn close(&mut self, number: i32) {
        let Some(socket) = self.sockets.get_mut(&number) else { return };
        match &mut socket.kind {
            Kind::Connection(connection) => {
                // Unread data turns a close into a reset, as TCP does.
                connection.is_reset |= connection.to_us.len() > 0;
                connection.to_peer.is_finished = true;
                connection.we_are_gone = true;
                socket.is_given = false;
            }
            Kind::Listener { address, queue } => {
                let (address, queue) = (*address, std::mem::take(queue));
                self.addresses.remove(&address);
                self.sockets.remove(&number);
                for waiting in queue {
                    if let Some(connection) = self.connection_mut(waiting) {
                        (connection.is_reset, connection.we_are_gone) = (true, true);
                    }
                }
            }
            Kind::Fresh => {
                self.sockets.remove(&number);
            }
        }
    }

    /// How much of `bytes` a transfer moves: seeded, at least one.
    fn cut(&mut self, bytes: usize) -> usize {
        if bytes > 1 && self.rng.chance(self.faults.short) { self.rng.between(1, bytes - 1) } else { bytes }
    }

    fn connection(&self) -> Box<Connection> {
        Box::new(Connection {
            to_us: Pipe::new(self.window_bytes),
            to_peer: Pipe::new(self.window_bytes),
            is_reset: false,
            peer_is_gone: false,
            we_are_gone: false,
        })
    }

    fn insert(&mut self, kind: Kind, is_given: bool) -> Handle {
        let number = self.next_number;
        self.next_number += 1;
        let handle = Handle::simulated(number);
        self.sockets.insert(number, Socket { handle: handle.clone(), is_given, kind });
        handle
    }
}

/// Errors carry their numbers, as the kernel's do.
fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

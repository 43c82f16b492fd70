//! The datagram operation: receives into a memory region of its own until it is told to stop.

use crate::datagram::{Batch, Layout, Receiver, Record, Region, Supply};
use crate::handle::Handle;
use crate::slice::Pool;
use crate::slots::OpId;
use crate::socket;
use crate::wake::Waker;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Largest payload of a datagram, in bytes; a train of a socket with GRO has at most as many.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;

/// Most buffers of one operation.
pub const DATAGRAM_BUFFERS_MAX: u16 = 1 << 15;

/// Emptied lists of records kept for the next batches.
const SPARE_LISTS_MAX: usize = 8;

/// Dimensions of a [`Datagrams`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramOptions {
    /// Datagrams that may be received and not given back: a power of two up to [`DATAGRAM_BUFFERS_MAX`].
    pub buffers: u16,
    /// Longest payload in bytes, 1 to [`DATAGRAM_BYTES_MAX`]; longer ones are cut and say so. A socket with GRO needs
    /// the largest.
    pub payload_bytes: usize,
    /// Datagrams of one batch at most, and so of one operation's turn; at least 1.
    pub batch_max: usize,
    /// Asks the kernel for huge pages; it may silently have none to give.
    pub huge_pages: bool,
}

impl Default for DatagramOptions {
    fn default() -> Self {
        Self { buffers: 1024, payload_bytes: 2048, batch_max: 256, huge_pages: false }
    }
}

/// What a datagram operation did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatagramCounters {
    /// Datagrams received; a train counts as one.
    pub datagrams: u64,
    /// Batches handed over.
    pub batches: u64,
    /// Times reception was started again after the kernel had ended it.
    pub rearms: u64,
    /// Times no buffer was free.
    pub out_of_buffers: u64,
    /// Errors that did not end the operation.
    pub errors: u64,
    /// Completions that named a buffer the kernel did not hold; always a kernel or driver mistake.
    pub strangers: u64,
}

/// Receives datagrams into buffers of its own; see [`crate::Ring::datagrams`].
pub struct Datagrams {
    pub(crate) socket: Handle,
    pub(crate) region: Arc<Region>,
    pub(crate) supply: Supply,
    pub(crate) receiver: Receiver,
    pub(crate) counters: DatagramCounters,
    /// What a receive's submission points to (I4).
    pub(crate) header: libc::msghdr,
    /// A driver carries it, or has an event of its end on the way.
    pub(crate) is_armed: bool,
    /// An event on the way says that something arrived.
    pub(crate) is_announced: bool,
    /// Errors since the last datagram.
    pub(crate) errors_in_row: u32,
    batch_max: usize,
    arrived: Vec<Record>,
    spare: Vec<Vec<Record>>,
    /// By id: the buffer is in the supply, not with a batch.
    is_supplied: Vec<bool>,
    supplied: usize,
}

impl Datagrams {
    pub(crate) fn new(
        socket: Handle,
        options: &DatagramOptions,
        pool: &Pool,
        waker: Waker,
    ) -> io::Result<Box<Self>> {
        let layout = layout(&socket, options)?;
        let bytes = layout.region_bytes(options.buffers);
        let reservation = pool.reserve(bytes).ok_or_else(|| {
            let reason = format!("{bytes} bytes of datagram buffers exceed the limit of the ring's memory");
            io::Error::new(io::ErrorKind::OutOfMemory, reason)
        })?;
        let region = Region::new(layout, options.buffers, options.huge_pages, waker, reservation)?;
        // SAFETY: I6: an all-zero message header is valid: no name, no vectors, no control data.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_namelen = libc::socklen_t::try_from(layout.name_bytes).unwrap_or(0);
        header.msg_controllen = layout.control_bytes as _;
        Ok(Box::new(Self {
            socket,
            region: Arc::new(region),
            supply: Supply::Free((0..options.buffers).rev().collect()),
            receiver: Receiver::new(),
            counters: DatagramCounters::default(),
            header,
            is_armed: false,
            is_announced: false,
            errors_in_row: 0,
            batch_max: options.batch_max,
            arrived: Vec::with_capacity(usize::from(options.buffers)),
            spare: Vec::new(),
            is_supplied: vec![true; usize::from(options.buffers)],
            supplied: usize::from(options.buffers),
        }))
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &Handle {
        &self.socket
    }

    /// What it did.
    #[must_use]
    pub fn counters(&self) -> DatagramCounters {
        self.counters
    }

    /// Bytes of memory it holds.
    #[must_use]
    pub fn region_bytes(&self) -> usize {
        self.region.layout().region_bytes(self.region.count())
    }

    /// Forgets what its last run has left: events on the way then reach nobody now.
    pub(crate) fn begin(&mut self) {
        (self.is_armed, self.is_announced, self.errors_in_row) = (true, false, 0);
    }

    /// Buffers free to be filled.
    pub(crate) fn supplied(&self) -> usize {
        self.supplied
    }

    /// Whether received datagrams wait to be handed over.
    pub(crate) fn has_arrived(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Notes a datagram that the kernel says it put `bytes` for into a buffer.
    #[inline]
    pub(crate) fn arrive(&mut self, buffer: u16, bytes: u32) {
        match self.is_supplied.get_mut(usize::from(buffer)) {
            Some(is_supplied) if *is_supplied => *is_supplied = false,
            _ => {
                self.counters.strangers += 1;
                return;
            }
        }
        self.supplied -= 1;
        self.arrived.push(Record { bytes, buffer });
    }

    /// The next batch; `None` when nothing has arrived.
    pub(crate) fn take_batch(&mut self, id: OpId) -> Option<Batch> {
        if self.arrived.is_empty() {
            return None;
        }
        let mut records = self.spare.pop().unwrap_or_default();
        if self.arrived.len() <= self.batch_max {
            std::mem::swap(&mut records, &mut self.arrived);
        } else {
            records.extend(self.arrived.drain(..self.batch_max));
        }
        self.counters.datagrams += records.len() as u64;
        self.counters.batches += 1;
        self.errors_in_row = 0;
        Some(Batch { id, region: Arc::clone(&self.region), records })
    }

    /// Takes a batch's buffers back. It is this operation's: the caller has compared the regions.
    pub(crate) fn recycle(&mut self, mut batch: Batch) {
        let mut records = std::mem::take(&mut batch.records);
        self.supply(records.iter().map(|record| record.buffer));
        if self.spare.len() < SPARE_LISTS_MAX {
            records.clear();
            self.spare.push(records);
        }
    }

    /// Takes back buffers of batches that were dropped; `is_wanted`: be woken by the next ones if there are none now.
    pub(crate) fn collect_returned(&mut self, is_wanted: bool) {
        let returned = self.region.take_returned(is_wanted);
        if !returned.is_empty() {
            self.supply(returned.into_iter());
        }
    }

    /// Takes all buffers out of the kernel's group, which is gone.
    pub(crate) fn reclaim(&mut self) -> Option<crate::datagram::Provided> {
        let ids = (0..self.region.count()).rev();
        let free = ids.filter(|&id| self.is_supplied[usize::from(id)]).collect();
        match std::mem::replace(&mut self.supply, Supply::Free(free)) {
            Supply::Provided(provided) => Some(provided),
            Supply::Free(_) => None,
        }
    }

    /// Receives by system calls what is there, up to a batch; true when nothing is left.
    ///
    /// # Errors
    /// What `recvmmsg(2)` says, unless something came before it; `ENOBUFS` when no buffer is free.
    pub(crate) fn receive(&mut self) -> io::Result<bool> {
        let Self { socket, region, supply, receiver, is_supplied, supplied, arrived, .. } = self;
        let Supply::Free(free) = supply else { return Err(io::ErrorKind::Unsupported.into()) };
        let before = arrived.len();
        while arrived.len() - before < self.batch_max {
            if free.is_empty() {
                return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
            }
            let left = self.batch_max - (arrived.len() - before);
            let received = receiver.receive(socket.raw(), region, free, left, |buffer, bytes| {
                is_supplied[usize::from(buffer)] = false;
                *supplied -= 1;
                arrived.push(Record { bytes, buffer });
            });
            match received {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn supply(&mut self, buffers: impl Iterator<Item = u16>) {
        let Self { supply, is_supplied, supplied, .. } = self;
        let fresh = buffers.filter(|&buffer| {
            let place = &mut is_supplied[usize::from(buffer)];
            let is_fresh = !std::mem::replace(place, true);
            *supplied += usize::from(is_fresh);
            is_fresh
        });
        match supply {
            Supply::Free(free) => free.extend(fresh),
            Supply::Provided(provided) => provided.give(fresh),
        }
    }
}

/// Name and control room for what the socket is set to report.
fn layout(socket: &Handle, options: &DatagramOptions) -> io::Result<Layout> {
    let refused = |reason: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if !options.buffers.is_power_of_two() || options.buffers > DATAGRAM_BUFFERS_MAX {
        return refused("the number of datagram buffers is a power of two up to 32768");
    }
    if !(1..=DATAGRAM_BYTES_MAX).contains(&options.payload_bytes) {
        return refused("a datagram buffer has 1 to 65535 bytes");
    }
    if options.batch_max == 0 {
        return refused("a batch has at least one datagram");
    }
    let Some(fd) = socket.kernel() else { return refused("datagrams are received from real sockets") };
    let reports = socket::DatagramReports::of(fd)?;
    if reports.gro && options.payload_bytes < DATAGRAM_BYTES_MAX {
        return refused("a socket with GRO needs datagram buffers of 65535 bytes");
    }
    let (name_bytes, control_bytes) = (reports.name_bytes(), reports.control_bytes());
    Ok(Layout { name_bytes, control_bytes, payload_bytes: options.payload_bytes })
}

impl fmt::Debug for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Datagrams")
            .field("socket", &self.socket)
            .field("region", &self.region)
            .field("supplied", &self.supplied)
            .finish_non_exhaustive()
    }
}

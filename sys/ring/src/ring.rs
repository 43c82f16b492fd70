//! The ring: operations in, completions out, whichever driver carries them.

mod datagrams;

use crate::datagram::Batch;
use crate::driver::{Arrival, Driver, Event, Wait};
use crate::epoll::Epoll;
use crate::handle::Handle;
use crate::op::{COLD_BYTES, Op, Progress, ReadFile, Stage, Transmit};
use crate::slice::{CLASS_BYTES, Pool, SLICE_BYTES_MAX, Slice};
use crate::slots::{OpId, Slots};
use crate::uring::{self, Features, Uring};
use crate::wake::Waker;
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// How long a ring that is dropped waits for the kernel to let go of its buffers before it leaks them.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// How long a transmit of a cold file waits before it asks the exhausted pool for a buffer again.
const STARVED_RETRY: Duration = Duration::from_millis(1);

/// Most reads of cold files at once: each takes 64 KiB of memory, and a thousand peers that ask for the same cold file need
/// only few of them, because what one has read is warm for all.
const COLD_READS_MAX: usize = 16;

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// io_uring or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// What a ring of io_uring takes; the epoll driver makes system calls, which are a filter's matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restrict {
    /// Everything the kernel offers.
    #[default]
    No,
    /// What the driver submits.
    ToAll,
    /// What the driver submits for sockets that are there and files that are open: no connects, no opens.
    ToServing,
    /// That, and connects: for a server that has others behind it.
    ToConnecting,
}

/// Whether a ring is restricted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Restriction {
    /// Nobody asked for it, or there is no io_uring.
    #[default]
    NotAsked,
    /// As asked, and for good.
    Active,
    /// The kernel would not, and why.
    Refused(String),
}

/// A ring's dimensions.
#[derive(Clone, Copy, Debug)]
pub struct RingOptions {
    /// Which driver to use.
    pub driver: DriverChoice,
    /// Submission queue entries; more are submitted in several goes.
    pub submission_entries: u32,
    /// Completion queue entries; the kernel keeps what overflows.
    pub completion_entries: u32,
    /// Buffers the kernel may fill before it must be given new ones: a power of two up to 32,768.
    pub stream_buffers: u16,
    /// Capacity of each, in bytes: one of the size classes.
    pub stream_buffer_bytes: usize,
    /// Buffers of [`SLICE_BYTES_MAX`] bytes for [`Op::LargeStream`], made when the first one is submitted: a power of two up to
    /// 32,768, or 0. Without them such a receive fills the others. On epoll they are the pool's, as many as are needed.
    pub large_buffers: u16,
    /// Most I/O memory of the ring's pool, in bytes.
    pub pool_bytes_max: usize,
    /// Most operations in flight; a submission beyond is handed back.
    pub operations_max: usize,
    /// Which operations of io_uring it takes. Not possible is no error: see [`Report::restriction`].
    pub restrict: Restrict,
}

impl Default for RingOptions {
    fn default() -> Self {
        Self {
            driver: DriverChoice::Auto,
            submission_entries: 256,
            completion_entries: 4096,
            stream_buffers: 128,
            stream_buffer_bytes: 2048,
            large_buffers: 32,
            pool_bytes_max: 256 * 1024 * 1024,
            operations_max: 1 << 20,
            restrict: Restrict::No,
        }
    }
}

/// Which driver was chosen, and why.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The driver's name.
    pub driver: &'static str,
    /// What io_uring offers here, when it is used.
    pub features: Option<Features>,
    /// Why io_uring is not used, when it was wanted.
    pub refusal: Option<String>,
    /// Whether io_uring is restricted to what the driver does.
    pub restriction: Restriction,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.driver)?;
        match (&self.features, &self.refusal) {
            (Some(features), _) => write!(f, " ({features})"),
            (None, Some(refusal)) => write!(f, " (io_uring is not used: {refusal})"),
            (None, None) => Ok(()),
        }
    }
}

/// What a ring did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingCounters {
    /// Operations submitted.
    pub submitted: u64,
    /// Completions, each of a multishot's counted.
    pub completions: u64,
    /// Completions with an id that is not current; always a kernel or driver mistake.
    pub strangers: u64,
    /// Operations whose waiter went away.
    pub orphaned: u64,
    /// Streams that ended because no buffer was free.
    pub out_of_buffers: u64,
    /// Transmits that had to read their file off the worker first.
    pub cold_reads: u64,
    /// Times the kernel was asked for completions.
    pub polls: u64,
}

/// One completion of an operation.
#[derive(Debug)]
pub struct Completion {
    /// The operation; no longer current unless `more`.
    pub id: OpId,
    /// What the submitter passed along.
    pub token: u64,
    /// What the operation's system call would have returned.
    pub result: io::Result<u32>,
    /// Whether the operation will complete again.
    pub more: bool,
    /// What it brought.
    pub payload: Payload,
}

/// What a completion hands over.
#[derive(Debug)]
pub enum Payload {
    /// Nothing: more is to come and this was only news.
    None,
    /// Received bytes.
    Bytes(Slice),
    /// Received datagrams; give them back with [`Ring::recycle`].
    Datagrams(Batch),
    /// An accepted connection.
    Connection(Handle),
    /// The operation after its last completion, with its buffers.
    Finished(Op),
}

/// A submission and completion queue with its memory. `!Send`: a ring belongs to the thread that made it.
pub struct Ring {
    driver: Box<dyn Driver>,
    slots: Slots,
    pool: Pool,
    waker: Waker,
    report: Report,
    events: VecDeque<Event>,
    fresh: Vec<Event>,
    /// Transmits that used up their turn.
    turns: Vec<OpId>,
    /// Transmits that found no buffer to read their file into.
    starved: Vec<OpId>,
    /// Transmits of cold files that wait for others to have read theirs, the oldest first.
    cold: VecDeque<OpId>,
    /// Reads of cold files under way, at most [`COLD_READS_MAX`].
    cold_reads: usize,
    attention: datagrams::Attention,
    operations_max: usize,
    counters: RingCounters,
}

impl Ring {
    /// Sets a ring up.
    ///
    /// # Errors
    /// Why the wanted driver cannot be used, or why no driver can; `InvalidInput` when a dimension is out of its range.
    pub fn new(options: &RingOptions) -> io::Result<Self> {
        check_dimensions(options)?;
        let waker = Waker::new()?;
        let pool = Pool::new(options.pool_bytes_max);
        let (driver, report) = choose(options, &pool, &waker)?;
        Ok(Self::assemble(driver, report, pool, waker, options.operations_max))
    }

    /// A ring on a driver of one's own, for simulation. `pool` is where it takes its buffers from, `waker` the one that
    /// the driver's `take_woken` looks at.
    #[must_use]
    pub fn with_driver(driver: Box<dyn Driver>, pool: Pool, waker: Waker, operations_max: usize) -> Self {
        let report = Report { driver: driver.name(), ..Report::default() };
        Self::assemble(driver, report, pool, waker, operations_max)
    }

    /// Starts an operation. `token` comes back with each of its completions.
    ///
    /// # Errors
    /// The operation itself when `operations_max` are in flight.
    pub fn submit(&mut self, mut op: Op, token: u64) -> Result<OpId, Op> {
        if self.slots.live() >= self.operations_max {
            return Err(op);
        }
        op.normalise();
        self.counters.submitted += 1;
        let id = self.slots.insert(op, token);
        match self.slots.get_mut(id) {
            // The first piece goes out at the next turn, or waits for room.
            Some(Op::Transmit(transmit)) if transmit.stage == Stage::Turn => self.turns.push(id),
            Some(op) => {
                if let Op::Datagrams(datagrams) = op {
                    datagrams.begin();
                }
                self.driver.submit(id, op);
            }
            None => {}
        }
        Ok(id)
    }

    /// Moves as much of a transmit as possible at once, without a slot. When it does not end with [`Progress::Done`] or
    /// an error, submit it.
    ///
    /// # Errors
    /// What `send(2)` or `sendfile(2)` say; `UnexpectedEof` when the file is shorter than its range.
    pub fn try_transmit(&mut self, transmit: &mut Transmit) -> io::Result<Progress> {
        let progress = transmit.advance(&mut *self.driver)?;
        transmit.stage = if progress == Progress::Blocked { Stage::Writable } else { Stage::Turn };
        Ok(progress)
    }

    /// Asks for an operation's end; its last completion comes all the same, with what it had moved.
    pub fn cancel(&mut self, id: OpId) {
        if !self.slots.cancel(id) || self.cancel_datagrams(id) {
            return;
        }
        let stage = match self.slots.get_mut(id) {
            Some(Op::Transmit(transmit)) => {
                transmit.is_cancelled = true;
                Some(transmit.stage)
            }
            Some(Op::Gather(gather)) => {
                gather.is_cancelled = true;
                None
            }
            _ => None,
        };
        match stage {
            None | Some(Stage::Writable) => self.driver.cancel(id),
            Some(Stage::Read(read)) => self.driver.cancel(read),
            // The next turn finds the mark; it shall not wait for other files.
            Some(Stage::Turn) => {
                if let Some(place) = self.cold.iter().position(|cold| *cold == id) {
                    self.cold.remove(place);
                    self.turns.push(id);
                }
            }
        }
    }

    /// Says that nobody waits for an operation any more: it is cancelled, keeps its buffers and descriptors until its
    /// last completion, and is never heard of again.
    pub fn orphan(&mut self, id: OpId) {
        if self.slots.orphan(id) {
            self.counters.orphaned += 1;
            self.cancel(id);
        }
    }

    /// Submits what waits and collects completions, sleeping as `wait` allows when there are none.
    ///
    /// # Errors
    /// Only what no retry can mend.
    pub fn poll(&mut self, wait: Wait) -> io::Result<()> {
        self.counters.polls += 1;
        let wait = match wait {
            _ if !self.events.is_empty() || !self.turns.is_empty() || self.may_read_cold() => Wait::Poll,
            wait if !self.starved.is_empty() => wait.limited(STARVED_RETRY),
            wait => wait,
        };
        let wait = self.attend(wait);
        self.turns.append(&mut self.starved);
        self.driver.poll(wait, &mut self.slots, &mut self.fresh)?;
        self.events.extend(self.fresh.drain(..));
        self.announce_loud();
        for id in std::mem::take(&mut self.turns) {
            self.continue_transmit(id, 0);
        }
        while self.may_read_cold()
            && let Some(id) = self.cold.pop_front()
        {
            self.continue_transmit(id, 0);
        }
        Ok(())
    }

    /// The next completion that was collected.
    pub fn next_completion(&mut self) -> Option<Completion> {
        loop {
            let event = self.events.pop_front()?;
            let completion = self.digest(event);
            if completion.is_some() {
                return completion;
            }
        }
    }

    /// Bytes an operation has moved so far, as far as it is known before its completion: exact for transmits on every
    /// driver, for sends only on epoll. 0 for an operation that is gone.
    #[must_use]
    pub fn progress(&self, id: OpId) -> u64 {
        match self.slots.get(id) {
            Some(Op::Transmit(transmit)) => transmit.sent(),
            Some(op) => u64::from(op.moved()),
            None => 0,
        }
    }

    /// Bytes that a sending operation has still to hand over, as far as [`Ring::progress`] knows.
    #[must_use]
    pub fn left(&self, id: OpId) -> u64 {
        match self.slots.get(id) {
            Some(Op::Transmit(transmit)) => transmit.left(),
            Some(Op::Send { bytes, sent, .. }) => (bytes.len() as u64).saturating_sub(u64::from(*sent)),
            Some(Op::Gather(gather)) => gather.left().len() as u64,
            Some(Op::SendZeroCopy(send)) => {
                (send.bytes().len() as u64).saturating_sub(u64::from(send.sent()))
            }
            _ => 0,
        }
    }

    /// Operations in flight, those nobody waits for included.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.live()
    }

    /// Operations that nobody waits for and the kernel still holds.
    #[must_use]
    pub fn orphans(&self) -> usize {
        self.slots.orphans()
    }

    /// Where this ring's slices come from.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// A handle that wakes this ring's thread from any thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Whether the waker was used since the last call.
    pub fn take_woken(&mut self) -> bool {
        self.driver.take_woken()
    }

    /// Which driver was chosen, and why.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// What the ring did.
    #[must_use]
    pub fn counters(&self) -> RingCounters {
        self.counters
    }

    /// Whether sends should be tried directly before they become operations.
    #[must_use]
    pub fn prefers_direct_send(&self) -> bool {
        self.driver.prefers_direct_send()
    }

    /// Receives what is there, without an operation.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else what `recv(2)` says.
    pub fn try_recv(&mut self, socket: &Handle, buffer: &mut [u8]) -> io::Result<usize> {
        self.driver.try_recv(socket, buffer)
    }

    /// Sends what fits, without an operation.
    ///
    /// # Errors
    /// `WouldBlock` when nothing fits; else what `send(2)` says.
    pub fn try_send(&mut self, socket: &Handle, bytes: &[u8]) -> io::Result<usize> {
        self.driver.try_send(socket, bytes, false)
    }

    /// As [`Ring::try_send`], and announces that more follows at once: data, or the end. The kernel waits for it, for a
    /// limited time, and sends both in one segment.
    ///
    /// # Errors
    /// As [`Ring::try_send`].
    pub fn try_send_more(&mut self, socket: &Handle, bytes: &[u8]) -> io::Result<usize> {
        self.driver.try_send(socket, bytes, true)
    }

    /// Reads what of a file is in memory into `targets`, one after the other, up to 16 of them, without an operation. `0`
    /// means the end of the file.
    ///
    /// # Errors
    /// `WouldBlock` when the first byte is not in memory or the file system cannot tell: it is to be read by an operation.
    /// Else what `preadv2(2)` says.
    pub fn try_read(
        &mut self,
        file: &Handle,
        targets: &mut [IoSliceMut<'_>],
        offset: u64,
    ) -> io::Result<usize> {
        self.driver.try_read(file, targets, offset)
    }

    /// Whether a range of a file is in memory, so that sending it waits for no disk.
    #[must_use]
    pub fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool {
        self.driver.is_resident(file, offset, bytes)
    }

    /// Shuts a connection's direction down.
    ///
    /// # Errors
    /// What `shutdown(2)` says; `NotConnected` is ordinary.
    pub fn shutdown(&mut self, socket: &Handle, how: Shutdown) -> io::Result<()> {
        self.driver.shutdown(socket, how)
    }

    fn assemble(
        driver: Box<dyn Driver>,
        report: Report,
        pool: Pool,
        waker: Waker,
        operations_max: usize,
    ) -> Self {
        Self {
            driver,
            slots: Slots::default(),
            pool,
            waker,
            report,
            events: VecDeque::new(),
            fresh: Vec::new(),
            turns: Vec::new(),
            starved: Vec::new(),
            cold: VecDeque::new(),
            cold_reads: 0,
            attention: datagrams::Attention::default(),
            operations_max,
            counters: RingCounters::default(),
        }
    }

    /// Turns a driver's event into a completion; `None` when nobody is to hear of it.
    fn digest(&mut self, event: Event) -> Option<Completion> {
        let Event { id, result, more, arrival } = event;
        self.counters.completions += 1;
        let Some(op) = self.slots.get_mut(id) else {
            if let Arrival::Datagrams = arrival {
                // News of our own making that the operation's end has overtaken.
                return None;
            }
            self.counters.strangers += 1;
            return None;
        };
        // A driver's event is a step of a transmit that goes on; its end comes from `end_transmit`, between turns.
        if let Op::Transmit(transmit) = op
            && transmit.stage != Stage::Turn
        {
            self.continue_transmit(id, result);
            return None;
        }
        if let Op::Datagrams(_) = op {
            return self.digest_datagrams(Event { id, result, more, arrival });
        }
        if let Some(Op::Read(_)) = self.slots.get(id)
            && let Some(parent) = self.parent_of(id)
        {
            let _buffer = self.slots.retire(id);
            self.cold_reads -= 1;
            self.finish_cold_read(parent, result);
            return None;
        }
        if self.slots.is_orphan(id) {
            if !more {
                let _op = self.slots.retire(id);
            }
            return None;
        }
        if result == -libc::ENOBUFS {
            self.counters.out_of_buffers += 1;
        }
        let token = self.slots.token(id)?;
        let finished = if more { None } else { self.slots.retire(id) };
        let payload = match (arrival, finished) {
            (Arrival::Bytes(slice), _) => Payload::Bytes(slice),
            (Arrival::Connection(fd), _) => Payload::Connection(Handle::new(fd)),
            (Arrival::Simulated(handle), _) => Payload::Connection(handle),
            (_, Some(op)) => Payload::Finished(op),
            (_, None) => Payload::None,
        };
        let result = u32::try_from(result).map_err(|_negative| io::Error::from_raw_os_error(-result));
        Some(Completion { id, token, result, more, payload })
    }

    /// Takes an operation out after its last completion.
    fn retire(&mut self, id: OpId) -> Option<Op> {
        let mut op = self.slots.retire(id)?;
        self.driver.retire(&mut op);
        Some(op)
    }

    /// Gives a transmit its turn; ends it when it is done, failed or cancelled.
    fn continue_transmit(&mut self, id: OpId, step_result: i32) {
        let Some(Op::Transmit(transmit)) = self.slots.get_mut(id) else { return };
        transmit.stage = Stage::Turn;
        if transmit.is_cancelled || step_result < 0 {
            let result = if transmit.is_cancelled { -libc::ECANCELED } else { step_result };
            self.end_transmit(id, result);
            return;
        }
        match transmit.advance(&mut *self.driver) {
            Ok(Progress::Done) => {
                let sent = i32::try_from(transmit.sent()).unwrap_or(i32::MAX);
                self.end_transmit(id, sent);
            }
            Ok(Progress::Blocked) => {
                transmit.stage = Stage::Writable;
                if let Some(op) = self.slots.get_mut(id) {
                    self.driver.submit(id, op);
                }
            }
            Ok(Progress::Yield) => self.turns.push(id),
            Ok(Progress::Cold) => self.read_cold(id),
            Err(error) => {
                // EIO stands for an error without a number: the file ended before its announced range did.
                let result = -error.raw_os_error().unwrap_or(libc::EIO);
                self.end_transmit(id, result);
            }
        }
    }

    fn end_transmit(&mut self, id: OpId, result: i32) {
        self.events.push_back(Event { id, result, more: false, arrival: Arrival::None });
    }

    /// Whether a transmit waits to read its cold file and may.
    fn may_read_cold(&self) -> bool {
        self.cold_reads < COLD_READS_MAX && !self.cold.is_empty()
    }

    /// Reads the file's next bytes off the worker; the buffer is only a means to have them in the page cache.
    fn read_cold(&mut self, parent: OpId) {
        if self.cold_reads >= COLD_READS_MAX {
            self.cold.push_back(parent);
            return;
        }
        let Some(Op::Transmit(transmit)) = self.slots.get(parent) else { return };
        let (file, offset) = (transmit.file.clone(), transmit.offset());
        let bytes = u32::try_from(transmit.left().min(u64::from(COLD_BYTES))).unwrap_or(COLD_BYTES);
        let sizes = CLASS_BYTES.iter().rev().map(|&capacity| capacity.min(bytes as usize));
        let Some(buffer) = sizes.filter_map(|size| self.pool.get(size)).next() else {
            // No memory for reading ahead, not even a little: others give theirs back meanwhile.
            self.starved.push(parent);
            return;
        };
        let read = self.slots.insert(Op::Read(ReadFile::new(file, buffer, offset, bytes)), parent.bits());
        self.slots.orphan(read);
        self.cold_reads += 1;
        self.counters.cold_reads += 1;
        if let Some(Op::Transmit(transmit)) = self.slots.get_mut(parent) {
            transmit.stage = Stage::Read(read);
        }
        if let Some(op) = self.slots.get_mut(read) {
            self.driver.submit(read, op);
        }
    }

    /// The transmit that an inner read belongs to.
    fn parent_of(&self, read: OpId) -> Option<OpId> {
        let parent = OpId::from_bits(self.slots.token(read)?)?;
        match self.slots.get(parent) {
            Some(Op::Transmit(transmit)) if transmit.stage == Stage::Read(read) => Some(parent),
            _ => None,
        }
    }

    fn finish_cold_read(&mut self, parent: OpId, result: i32) {
        if let Some(Op::Transmit(transmit)) = self.slots.get_mut(parent) {
            // A read at the end of a file that shrank brings nothing; sendfile then finds the end.
            transmit.warmed(u64::try_from(result).unwrap_or(0).max(1));
        }
        self.continue_transmit(parent, result.min(0));
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        for id in self.slots.ids() {
            self.orphan(id);
        }
        let deadline = Instant::now() + DROP_WAIT;
        while self.slots.live() > 0 && Instant::now() < deadline {
            if self.poll(Wait::AtMost(Duration::from_millis(10))).is_err() {
                break;
            }
            while self.next_completion().is_some() {}
        }
        if self.slots.live() == 0 {
            self.driver.settled();
        } else {
            // The kernel still holds something: its memory and descriptors are kept for good (I4).
            let _kept_for_the_kernel = std::mem::ManuallyDrop::new(std::mem::take(&mut self.slots));
        }
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("driver", &self.report.driver)
            .field("in_flight", &self.in_flight())
            .field("orphans", &self.orphans())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

fn check_dimensions(options: &RingOptions) -> io::Result<()> {
    let refused = |reason: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    if !options.stream_buffers.is_power_of_two() || options.stream_buffers > 1 << 15 {
        return refused("the number of stream buffers is a power of two up to 32768");
    }
    if options.large_buffers != 0
        && (!options.large_buffers.is_power_of_two() || options.large_buffers > 1 << 15)
    {
        return refused("the number of large buffers is 0 or a power of two up to 32768");
    }
    if !(1..=SLICE_BYTES_MAX).contains(&options.stream_buffer_bytes) {
        return refused("a stream buffer has 1 to 65536 bytes");
    }
    Ok(())
}

fn choose(options: &RingOptions, pool: &Pool, waker: &Waker) -> io::Result<(Box<dyn Driver>, Report)> {
    let epoll = |refusal: Option<String>| -> io::Result<(Box<dyn Driver>, Report)> {
        let driver = Epoll::new(options, pool.clone(), waker.clone())?;
        Ok((Box::new(driver), Report { driver: "epoll", refusal, ..Report::default() }))
    };
    if options.driver == DriverChoice::Epoll {
        return epoll(None);
    }
    let probed = uring::probe();
    let made = probed.and_then(|features| {
        Uring::new(options, pool.clone(), waker.clone()).map(|driver| (driver, features))
    });
    match made {
        Ok((driver, features)) => {
            let restriction = driver.restriction();
            let report = Report { driver: "uring", features: Some(features), refusal: None, restriction };
            Ok((Box::new(driver), report))
        }
        Err(error) if options.driver == DriverChoice::Auto => epoll(Some(error.to_string())),
        Err(error) => Err(error),
    }
}

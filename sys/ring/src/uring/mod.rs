//! The io_uring driver.

mod buffers;
mod groups;
mod probe;
mod registered;
mod restrict;

pub use probe::{Features, probe};

use crate::driver::{Arrival, Driver, Event, Wait};
use crate::handle::Handle;
use crate::op::{Gather, Interest, Op, ReadFile, partial};
use crate::ring::{Restriction, RingOptions};
use crate::slice::{Pool, SLICE_BYTES_MAX};
use crate::slots::{OpId, Slots};
use crate::wake::Waker;
use buffers::Buffers;
use groups::Groups;
use io_uring::squeue::Entry;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use registered::Registered;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::Duration;

/// Completions that belong to no operation carry generation 0, which no [`OpId`] has.
const WAKE: u64 = 1;
const CANCEL: u64 = 2;

/// The buffer group of stream receives.
const STREAM_GROUP: u16 = 0;
/// The buffer group of those that fill large buffers.
const LARGE_GROUP: u16 = 1;

/// Set in a zero-copy notification's result when the kernel copied (io_uring's IORING_NOTIF_USAGE_ZC_COPIED).
const ZERO_COPY_COPIED: u32 = 1 << 31;
/// Asks for that report (IORING_SEND_ZC_REPORT_USAGE).
const ZERO_COPY_REPORT: u16 = 1 << 3;

/// An io_uring with its provided buffers.
pub(crate) struct Uring {
    ring: IoUring,
    restriction: Restriction,
    buffers: Buffers,
    /// Made when they are first wanted.
    large: Option<Buffers>,
    large_buffers: u16,
    groups: Groups,
    registered: Registered,
    pool: Pool,
    waker: Waker,
    woken: bool,
    wake_armed: bool,
    /// Entries that found the submission queue full while the kernel would not take more.
    backlog: VecDeque<Entry>,
    /// Operations to cancel: every operation is here at most once, so it cannot overflow.
    cancels: VecDeque<OpId>,
    /// Operations that could not be started.
    failed: Vec<Event>,
    /// A wait can be given a minimum time (Linux 6.12).
    has_batch_wait: bool,
    /// Gathers whose first slices are sent and that have more.
    unfinished: Vec<OpId>,
    /// Set when everything in flight has completed and memory may be unmapped.
    quiet: bool,
}

impl Uring {
    /// Sets a ring up with the strongest flags the kernel takes.
    pub(crate) fn new(options: &RingOptions, pool: Pool, waker: Waker) -> io::Result<Self> {
        let (ring, restriction) = probe::build(options)?;
        let buffers = Buffers::register(
            &ring,
            STREAM_GROUP,
            pool.clone(),
            options.stream_buffers,
            options.stream_buffer_bytes,
        )?;
        let has_batch_wait = ring.params().is_feature_min_timeout();
        Ok(Self {
            ring,
            restriction,
            buffers,
            large: None,
            large_buffers: options.large_buffers,
            groups: Groups::new(),
            registered: Registered::default(),
            pool,
            waker,
            woken: false,
            wake_armed: false,
            backlog: VecDeque::new(),
            cancels: VecDeque::new(),
            failed: Vec::new(),
            has_batch_wait,
            unfinished: Vec::new(),
            quiet: false,
        })
    }

    /// Whether the ring is restricted.
    pub(crate) fn restriction(&self) -> Restriction {
        self.restriction.clone()
    }

    /// Whether there are large buffers now.
    fn has_large_buffers(&mut self) -> bool {
        if self.large.is_none() && self.large_buffers > 0 {
            let (pool, count) = (self.pool.clone(), self.large_buffers);
            self.large = Buffers::register(&self.ring, LARGE_GROUP, pool, count, SLICE_BYTES_MAX).ok();
            // A kernel that will not have them is not asked again.
            self.large_buffers = 0;
        }
        self.large.is_some()
    }

    fn replenish(&mut self) {
        self.buffers.replenish();
        if let Some(large) = &mut self.large {
            large.replenish();
        }
    }

    fn push(&mut self, entry: Entry) {
        if !self.backlog.is_empty() || !self.try_push(&entry) {
            self.backlog.push_back(entry);
        }
    }

    /// Puts an entry into the submission queue, submitting what is there when it is full.
    fn try_push(&mut self, entry: &Entry) -> bool {
        for _attempt in 0..2 {
            // SAFETY: I4: what the entry points to belongs to an operation in a slot, kept until its last completion.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return true;
            }
            // EBUSY or EAGAIN: completions must be reaped first; the entry waits in the backlog.
            if self.ring.submit().is_err() {
                return false;
            }
        }
        false
    }

    /// Moves backlog, cancels and the wake-up poll into the submission queue as far as it has room.
    fn fill_submission(&mut self) {
        while let Some(entry) = self.backlog.pop_front() {
            if !self.try_push(&entry) {
                self.backlog.push_front(entry);
                return;
            }
        }
        while let Some(id) = self.cancels.pop_front() {
            if !self.try_push(&opcode::AsyncCancel::new(id.bits()).build().user_data(CANCEL)) {
                self.cancels.push_front(id);
                return;
            }
        }
        if !self.wake_armed {
            let poll = opcode::PollAdd::new(Fd(self.waker.raw()), poll_mask(Interest::Readable));
            self.wake_armed = self.try_push(&poll.multi(true).build().user_data(WAKE));
        }
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        let result = match wait {
            Wait::Poll if self.has_nothing_to_do() => return Ok(()),
            Wait::Poll => self.ring.submit(),
            Wait::Forever => self.ring.submit_and_wait(1),
            Wait::AtMost(time) => self.enter_for(1, Some(time), 0),
            Wait::Batch { completions, at_most, limit } => self.enter_batch(completions, at_most, limit),
        };
        match result.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => Ok(()),
            // ETIME: the wait's time is up. EINTR: a signal. EBUSY, EAGAIN: completions must be reaped first.
            Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    /// Whether the kernel would find nothing: nothing to submit, no work of ours that it has put off, no completion that
    /// found the queue full.
    fn has_nothing_to_do(&mut self) -> bool {
        let submission = self.ring.submission();
        submission.is_empty() && !submission.taskrun() && !submission.cq_overflow()
    }

    /// Submits and waits for `completions`, at most `limit`; after `fewer_us` (0: never) one is enough.
    fn enter_for(&self, completions: u32, limit: Option<Duration>, fewer_us: u32) -> io::Result<usize> {
        let args = SubmitArgs::new().min_wait_usec(fewer_us);
        let limit = limit.map(Timespec::from);
        let args = limit.as_ref().map_or(args, |limit| args.timespec(limit));
        self.ring.submitter().submit_with_args(completions as usize, &args)
    }

    fn enter_batch(&self, completions: u32, at_most: Duration, limit: Option<Duration>) -> io::Result<usize> {
        // More than the queue holds would never be there.
        let completions = completions.clamp(1, self.ring.params().cq_entries());
        let at_most_us = u32::try_from(at_most.as_micros()).unwrap_or(u32::MAX);
        if self.has_batch_wait || at_most_us == 0 || completions == 1 {
            let completions = if at_most_us == 0 { 1 } else { completions };
            return self.enter_for(completions, limit, at_most_us);
        }
        let entered = self.enter_for(1, limit, 0)?;
        self.enter_for(completions, Some(at_most), 0).map(|more| entered + more)
    }

    fn reap(&mut self, slots: &mut Slots, events: &mut Vec<Event>) {
        let Self { ring, buffers, large, waker, woken, wake_armed, unfinished, .. } = self;
        let mut completions = ring.completion();
        let mut carried = None;
        while let Some(entry) = carried.take().or_else(|| completions.next()) {
            match entry.user_data() {
                WAKE => {
                    *woken |= waker.take();
                    *wake_armed = cqueue::more(entry.flags());
                }
                CANCEL => {}
                bits => {
                    let Some(id) = OpId::from_bits(bits) else { continue };
                    if let Some(Op::Datagrams(datagrams)) = slots.get_mut(id) {
                        carried = groups::reap(id, entry, &mut completions, datagrams, events);
                        continue;
                    }
                    let of_large = matches!(slots.get_mut(id), Some(Op::LargeStream { .. }));
                    let buffers = large.as_mut().filter(|_| of_large).unwrap_or(buffers);
                    match translate(id, &entry, buffers, slots) {
                        Outcome::Event(event) => events.push(event),
                        Outcome::Unfinished => unfinished.push(id),
                        Outcome::Later => {}
                    }
                }
            }
        }
        drop(completions);
        self.replenish();
        while let Some(id) = self.unfinished.pop() {
            if let Some(op) = slots.get_mut(id) {
                self.submit(id, op);
            }
        }
    }
}

impl Driver for Uring {
    fn name(&self) -> &'static str {
        "uring"
    }

    fn submit(&mut self, id: OpId, op: &mut Op) {
        if let Op::Datagrams(datagrams) = op
            && let Err(error) = self.groups.register(&self.ring, datagrams)
        {
            let result = -error.raw_os_error().unwrap_or(libc::EINVAL);
            self.failed.push(Event { id, result, more: false, arrival: Arrival::None });
            return;
        }
        if let Op::LargeStream { socket } = op
            && !self.has_large_buffers()
        {
            *op = Op::Stream { socket: socket.clone() };
        }
        let block = fixed_block(op).and_then(|block| self.registered.index(&self.ring, &self.pool, block));
        let entry = prepare(op, block).user_data(id.bits());
        self.push(entry);
    }

    fn cancel(&mut self, id: OpId) {
        self.cancels.push_back(id);
    }

    fn retire(&mut self, op: &mut Op) {
        if let Op::Datagrams(datagrams) = op {
            self.groups.unregister(&self.ring, datagrams);
        }
    }

    fn poll(&mut self, wait: Wait, slots: &mut Slots, events: &mut Vec<Event>) -> io::Result<()> {
        self.replenish();
        self.fill_submission();
        let before = events.len();
        // Work that could not be submitted must not be slept on.
        let stuck = !self.backlog.is_empty() || !self.cancels.is_empty();
        let ready = !self.ring.completion().is_empty() || !self.failed.is_empty();
        events.append(&mut self.failed);
        self.enter(if stuck || ready { Wait::Poll } else { wait })?;
        self.reap(slots, events);
        if events.len() == before && stuck {
            self.enter(Wait::AtMost(Duration::from_millis(1)))?;
            self.reap(slots, events);
        }
        Ok(())
    }

    fn prefers_direct_send(&self) -> bool {
        false
    }

    fn try_recv(&mut self, socket: &Handle, buffer: &mut [u8]) -> io::Result<usize> {
        crate::socket::recv(socket.raw(), buffer)
    }

    fn try_send(&mut self, socket: &Handle, bytes: &[u8], more: bool) -> io::Result<usize> {
        crate::socket::send(socket.raw(), bytes, more)
    }

    fn try_sendfile(
        &mut self,
        socket: &Handle,
        file: &Handle,
        offset: u64,
        bytes: usize,
    ) -> io::Result<usize> {
        crate::socket::send_file(socket.raw(), file.raw(), offset, bytes)
    }

    fn try_read(&mut self, file: &Handle, targets: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        crate::file::read_resident(file.raw(), targets, offset)
    }

    fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool {
        crate::file::is_resident(file.raw(), offset, bytes)
    }

    fn shutdown(&mut self, socket: &Handle, how: Shutdown) -> io::Result<()> {
        crate::socket::shutdown(socket.raw(), how)
    }

    fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    fn settled(&mut self) {
        self.quiet = true;
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if !self.quiet {
            // Something may still be in flight: what the kernel could write to stays mapped (I7).
            self.buffers.leak();
            if let Some(large) = &mut self.large {
                large.leak();
            }
            return;
        }
        for (group, buffers) in [(STREAM_GROUP, Some(&mut self.buffers)), (LARGE_GROUP, self.large.as_mut())]
        {
            if let Some(buffers) = buffers
                && self.ring.submitter().unregister_buf_ring(group).is_ok()
            {
                // SAFETY: I7: nothing is in flight and the kernel has let go of the buffer ring.
                unsafe { buffers.unmap() };
            }
        }
    }
}

/// The block of an operation that gains from a registered buffer: the kernel need not pin its pages each time.
fn fixed_block(op: &Op) -> Option<usize> {
    match op {
        Op::SendZeroCopy(send) => Some(send.bytes.block()),
        Op::Read(read) => Some(read.buffer.block()),
        _ => None,
    }
}

/// The submission entry of an operation, without its id. `block` is the registered block its buffer lies in.
fn prepare(op: &mut Op, block: Option<u16>) -> Entry {
    if op.is_complete() {
        // A transfer of no bytes must not wait for the peer.
        return opcode::Nop::new().build();
    }
    let send_flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
    match op {
        Op::Accept { listener } => opcode::AcceptMulti::new(Fd(listener.raw()))
            .flags(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)
            .build(),
        Op::Datagrams(datagrams) => groups::prepare(datagrams),
        Op::Stream { socket } => opcode::RecvMulti::new(Fd(socket.raw()), STREAM_GROUP).build(),
        Op::LargeStream { socket } => opcode::RecvMulti::new(Fd(socket.raw()), LARGE_GROUP).build(),
        Op::Exact { socket, buffer, filled, want } => {
            let target = buffer.get_mut(*filled as usize..*want as usize).unwrap_or_default();
            let bytes = u32::try_from(target.len()).unwrap_or(0);
            opcode::Recv::new(Fd(socket.raw()), target.as_mut_ptr(), bytes).flags(libc::MSG_WAITALL).build()
        }
        Op::Send { socket, bytes, sent } => {
            let left = bytes.get(*sent as usize..).unwrap_or_default();
            let len = u32::try_from(left.len()).unwrap_or(0);
            opcode::Send::new(Fd(socket.raw()), left.as_ptr(), len).flags(send_flags).build()
        }
        Op::SendZeroCopy(send) => {
            let len = u32::try_from(send.bytes.len()).unwrap_or(0);
            // A send that has let go of its socket is never submitted again; the kernel refuses -1.
            let socket = Fd(send.socket().map_or(-1, Handle::raw));
            opcode::SendZc::new(socket, send.bytes.as_ptr(), len)
                .flags(send_flags)
                .zc_flags(ZERO_COPY_REPORT)
                .buf_index(block)
                .build()
        }
        Op::Gather(gather) => {
            let socket = Fd(gather.socket.raw());
            opcode::SendMsg::new(socket, gather.prepare()).flags(send_flags.unsigned_abs()).build()
        }
        Op::Transmit(transmit) => ready(&transmit.socket, Interest::Writable),
        Op::Ready { socket, interest } => ready(socket, *interest),
        Op::Watch { socket } => {
            let mask = poll_mask(Interest::Readable) | lasting_mask();
            opcode::PollAdd::new(Fd(socket.raw()), mask).multi(true).build()
        }
        Op::Connect(connect) => {
            let socket = Fd(connect.socket.raw());
            connect.address.with(|pointer, len| opcode::Connect::new(socket, pointer, len).build())
        }
        Op::Open(open) => {
            let how = (&raw const open.how).cast();
            opcode::OpenAt2::new(Fd(open.directory.raw()), open.path.as_ptr(), how).build()
        }
        Op::Stat(stat) => {
            let target = (&raw mut stat.stat).cast();
            opcode::Statx::new(Fd(stat.file.raw()), c"".as_ptr(), target)
                .flags(libc::AT_EMPTY_PATH)
                .mask(crate::file::STATX_MASK)
                .build()
        }
        Op::Write(write) => {
            let left = write.left();
            let (file, len) = (Fd(write.file.raw()), u32::try_from(left.len()).unwrap_or(u32::MAX));
            // The offset of all ones means the file's own position.
            opcode::Write::new(file, left.as_ptr(), len).offset(write.offset.unwrap_or(u64::MAX)).build()
        }
        Op::Read(read) => prepare_read(read, block),
    }
}

fn prepare_read(read: &mut ReadFile, block: Option<u16>) -> Entry {
    let (file, offset, target) = (Fd(read.file.raw()), read.offset, read.target());
    let bytes = u32::try_from(target.len()).unwrap_or(0);
    match block {
        Some(block) => opcode::ReadFixed::new(file, target.as_mut_ptr(), bytes, block).offset(offset).build(),
        None => opcode::Read::new(file, target.as_mut_ptr(), bytes).offset(offset).build(),
    }
}

fn ready(socket: &Handle, interest: Interest) -> Entry {
    opcode::PollAdd::new(Fd(socket.raw()), poll_mask(interest)).build().flags(squeue::Flags::empty())
}

fn poll_mask(interest: Interest) -> u32 {
    let mask = match interest {
        Interest::Readable => libc::POLLIN,
        Interest::Writable => libc::POLLOUT,
    };
    u32::from(mask.unsigned_abs())
}

/// What a socket is watched for besides bytes, and what is told of it unasked: none of it ends with a receive. Urgent data is not
/// among it: the kernel tells a multishot poll of it (`POLLPRI`) whenever bytes come at all, so that every receive of an answer
/// would be followed by one that finds nothing. What is behind an urgent byte is received with what comes next.
fn lasting_mask() -> u32 {
    let mask = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;
    u32::from(mask.unsigned_abs())
}

/// What a completion of the kernel means.
enum Outcome {
    /// A completion of ours.
    Event(Event),
    /// The operation has more to do.
    Unfinished,
    /// The kernel still holds the buffer: its notification is the last completion.
    Later,
}

/// Turns a completion of the kernel into ours.
fn translate(id: OpId, entry: &cqueue::Entry, buffers: &mut Buffers, slots: &mut Slots) -> Outcome {
    let result = entry.result();
    let flags = entry.flags();
    let more = cqueue::more(flags);
    let mut event = Event { id, result, more, arrival: Arrival::None };
    // The ring counts an event of an unknown operation. A buffer that it names stays the kernel's: nobody knows of which group.
    let Some(op) = slots.get_mut(id) else { return Outcome::Event(event) };
    let bytes = usize::try_from(result).unwrap_or(0);
    let arrived = cqueue::buffer_select(flags).and_then(|buffer| buffers.take(buffer, bytes));
    match op {
        Op::Accept { .. } if result >= 0 => {
            // SAFETY: I5: an accept's result is a descriptor the kernel just made for us.
            event.arrival = Arrival::Connection(unsafe { OwnedFd::from_raw_fd(result) });
            event.result = 0;
        }
        Op::Open(open) if result >= 0 => {
            // SAFETY: I5: an open's result is a descriptor the kernel just made for us.
            open.opened = Some(unsafe { OwnedFd::from_raw_fd(result) });
            event.result = 0;
        }
        Op::Stream { .. } | Op::LargeStream { .. } => {
            if let Some(slice) = arrived.filter(|slice| !slice.is_empty()) {
                event.arrival = Arrival::Bytes(slice);
            }
        }
        Op::Exact { filled, .. } => {
            *filled += u32::try_from(result).unwrap_or(0);
            event.result = partial(*filled, result);
        }
        Op::Send { sent, .. } => {
            *sent += u32::try_from(result).unwrap_or(0);
            event.result = partial(*sent, result);
        }
        Op::SendZeroCopy(send) => {
            if cqueue::notif(flags) {
                // The result of the send came before; the notification only says how it was done.
                if result.cast_unsigned() & ZERO_COPY_COPIED != 0 {
                    send.set_copied();
                }
            } else {
                send.settle(result);
                if more {
                    send.release_socket();
                    return Outcome::Later;
                }
            }
            event.result = send.outcome();
            event.more = false;
        }
        Op::Gather(gather) => match sent_of_gather(gather, result) {
            Some(total) => event.result = total,
            None => return Outcome::Unfinished,
        },
        // What is ready is not told: the epoll driver does not know it either.
        Op::Ready { .. } => event.result = result.min(0),
        Op::Watch { .. } if result >= 0 => {
            event.result = i32::from(result.cast_unsigned() & lasting_mask() != 0);
        }
        _ => {}
    }
    Outcome::Event(event)
}

/// Counts what a gather's message sent; its result when it ends with that, `None` when the next slices shall go.
fn sent_of_gather(gather: &mut Gather, result: i32) -> Option<i32> {
    let sent = u32::try_from(result).unwrap_or(0);
    // A message that was cut short met an error or a cancel; only whole ones go on.
    let is_whole = gather.prepared_bytes() == sent as usize;
    let is_done = gather.advance(sent);
    let goes_on = is_whole && !is_done && !gather.is_cancelled;
    (!goes_on).then(|| partial(gather.sent(), result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn what_waits_in_the_backlog_goes_before_the_cancels() {
        let (pool, waker) = (Pool::new(1 << 20), Waker::new().expect("a descriptor"));
        let options = RingOptions { submission_entries: 2, ..RingOptions::default() };
        let Ok(mut driver) = Uring::new(&options, pool, waker) else {
            eprintln!("SKIPPED: no io_uring");
            return;
        };
        // Sockets on which nothing ever happens: only a cancel that comes after its operation ends it.
        let pairs: Vec<_> =
            (0..20).map(|_| std::os::unix::net::UnixStream::pair().expect("descriptors")).collect();
        let mut slots = Slots::default();
        for (socket, _) in &pairs {
            let socket = Handle::new(socket.try_clone().expect("descriptors").into());
            let id = slots.insert(Op::Ready { socket, interest: Interest::Readable }, 0);
            let entry = prepare(slots.get_mut(id).expect("just put in"), None).user_data(id.bits());
            driver.backlog.push_back(entry);
            driver.cancel(id);
        }
        let (mut events, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(20));
        while events.len() < pairs.len() && Instant::now() < deadline {
            driver.poll(Wait::AtMost(Duration::from_millis(5)), &mut slots, &mut events).expect("sound");
        }
        assert!(events.len() == pairs.len(), "{} of {} ended", events.len(), pairs.len());
        assert!(events.iter().all(|event| event.result == -libc::ECANCELED && !event.more));
        driver.settled();
    }

    #[test]
    fn where_the_kernel_cannot_wait_for_a_batch_two_waits_do() {
        let (pool, waker) = (Pool::new(1 << 20), Waker::new().expect("a descriptor"));
        let Ok(mut driver) = Uring::new(&RingOptions::default(), pool, waker.clone()) else {
            eprintln!("SKIPPED: no io_uring");
            return;
        };
        driver.has_batch_wait = false;
        let (mut slots, mut events) = (Slots::default(), Vec::new());
        let at_most = Duration::from_millis(20);
        let began = Instant::now();
        let idle = Wait::Batch { completions: 10, at_most, limit: Some(at_most) };
        driver.poll(idle, &mut slots, &mut events).expect("sound");
        assert!(began.elapsed() >= at_most, "an idle ring sleeps until the limit");
        waker.wake();
        driver
            .poll(Wait::Batch { limit: None, completions: 10, at_most }, &mut slots, &mut events)
            .expect("sound");
        assert!(
            driver.take_woken() && began.elapsed() >= 2 * at_most,
            "one waits for more, but not for ever"
        );
        driver.settled();
    }
}

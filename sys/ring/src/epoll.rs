//! The epoll driver: the same operations on readiness, for where io_uring is refused.

use crate::RingOptions;
use crate::driver::{Arrival, Driver, Event, Wait};
use crate::handle::Handle;
use crate::lane::Lane;
use crate::op::{Connect, Datagrams, Gather, Interest, Op, ZeroCopy};
use crate::slice::{Pool, SLICE_BYTES_MAX};
use crate::slots::{OpId, Slots};
use crate::socket;
use crate::wake::Waker;
use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Connections taken from one listener before others get their turn.
const ACCEPT_BATCH: usize = 64;

/// Buffers filled from one connection before others get their turn.
const STREAM_BATCH: usize = 8;

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Marks the waker's descriptor among the events.
const WAKE: u64 = u64::MAX;

/// Edge-triggered epoll with the readiness it knows of.
pub(crate) struct Epoll {
    epoll: OwnedFd,
    pool: Pool,
    stream_buffer_bytes: usize,
    waker: Waker,
    woken: bool,
    files: Lane,
    /// Writes have a thread of their own: one that waits for the reader of a pipe must not keep files from being opened.
    writes: Lane,
    states: Vec<State>,
    /// Operations that may make progress now.
    ready: VecDeque<OpId>,
    cancels: VecDeque<OpId>,
    /// Ended outside of `poll`.
    ended: Vec<Event>,
    found: Vec<libc::epoll_event>,
}

/// What is known of one descriptor.
#[derive(Clone, Copy, Default)]
struct State {
    serial: u32,
    is_registered: bool,
    is_readable: bool,
    is_writable: bool,
    /// The peer has finished sending, or the connection is broken: reading gets an answer at once.
    is_hung_up: bool,
    /// The connection is broken: writing gets an error at once.
    is_broken: bool,
    /// Urgent data came: a receive stops at its mark, so a short one says nothing about what is left.
    is_urgent: bool,
    /// Whether a short receive means that nothing is left: not so with datagrams. Asked when first needed.
    is_bytes: Option<bool>,
    input: Option<OpId>,
    output: Option<OpId>,
}

/// How far an attempt came.
enum Attempt {
    /// Last completion.
    Ended(i32, Arrival),
    /// Needs readiness first.
    Waits,
    /// Used up its turn.
    Again,
}

impl State {
    fn waits(&self, id: OpId) -> bool {
        self.input == Some(id) || self.output == Some(id)
    }
}

impl Epoll {
    pub(crate) fn new(options: &RingOptions, pool: Pool, waker: Waker) -> io::Result<Self> {
        // SAFETY: I6: no memory is passed.
        let fd = socket::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: I5: a descriptor the kernel just made for us.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        control(&epoll, waker.raw(), libc::EPOLLIN, WAKE)?;
        let files = Lane::new("ringway-files", waker.clone());
        let writes = Lane::new("ringway-writes", waker.clone());
        Ok(Self {
            epoll,
            pool,
            stream_buffer_bytes: options.stream_buffer_bytes,
            waker,
            woken: false,
            files,
            writes,
            states: Vec::new(),
            ready: VecDeque::new(),
            cancels: VecDeque::new(),
            ended: Vec::new(),
            found: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS],
        })
    }

    /// The state of a descriptor; fresh when the number has been used for another one before.
    fn state(&mut self, handle: &Handle) -> &mut State {
        let index = usize::try_from(handle.raw()).unwrap_or(0);
        if index >= self.states.len() {
            self.states.resize(index + 1, State::default());
        }
        let state = &mut self.states[index];
        if state.serial != handle.serial() {
            *state =
                State { serial: handle.serial(), is_readable: true, is_writable: true, ..State::default() };
        }
        state
    }

    fn start(&mut self, id: OpId, op: &mut Op) -> io::Result<()> {
        let lane = if matches!(op, Op::Write(_)) { &mut self.writes } else { &mut self.files };
        if let Some(started) = lane.start(id, op) {
            return started;
        }
        let Some((handle, interest)) = op.target() else { return Err(io::ErrorKind::Unsupported.into()) };
        let (handle, is_complete) = (handle.clone(), op.is_complete());
        let attempts_first =
            !matches!(op, Op::Stream { .. } | Op::LargeStream { .. } | Op::Watch { .. } | Op::Datagrams(_));
        let state = self.state(&handle);
        let place = match interest {
            Interest::Readable => &mut state.input,
            Interest::Writable => &mut state.output,
        };
        if place.is_some() {
            // One operation a direction: a second would steal the first one's bytes.
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        *place = Some(id);
        if !state.is_registered {
            state.is_registered = true;
            let data = u64::from(state.serial) << 32 | u64::from(handle.raw().unsigned_abs());
            // Registering reports what is ready already, so a stream needs no attempt of its own.
            state.is_readable = attempts_first;
            let events = libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
            if let Err(error) = control(&self.epoll, handle.raw(), events, data) {
                *self.state(&handle) = State::default();
                return Err(error);
            }
        }
        let state = self.state(&handle);
        let is_ready = match interest {
            Interest::Readable => state.is_readable || state.is_hung_up,
            Interest::Writable => state.is_writable || state.is_broken,
        };
        // A transfer of no bytes must not wait for the peer.
        if is_ready || is_complete {
            self.ready.push_back(id);
        }
        Ok(())
    }

    fn wait(&mut self, wait: Wait) -> io::Result<()> {
        // Rounded up: waking early would only mean another wait.
        let rounded = |time: Duration| i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let timeout_ms = match wait {
            Wait::Poll => 0,
            Wait::Forever | Wait::Batch { limit: None, .. } => -1,
            Wait::AtMost(time) | Wait::Batch { limit: Some(time), .. } => rounded(time),
        };
        let room = i32::try_from(self.found.len()).unwrap_or(0);
        // SAFETY: I6: the kernel writes at most `room` events during the call.
        let result =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.found.as_mut_ptr(), room, timeout_ms) };
        match socket::check(result) {
            Ok(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                for index in 0..count {
                    let event = self.found[index];
                    self.note(event.events, event.u64);
                }
                match wait {
                    Wait::Batch { completions, at_most, .. }
                        if !at_most.is_zero() && (1..completions as usize).contains(&count) =>
                    {
                        crate::datagram::sleep_once(at_most);
                        self.wait(Wait::Poll)
                    }
                    _ => Ok(()),
                }
            }
            // EINTR: a signal; the caller comes back.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Records readiness and queues the operations that waited for it.
    fn note(&mut self, events: u32, data: u64) {
        if data == WAKE {
            self.woken |= self.waker.take();
            return;
        }
        let has = |mask: libc::c_int| events & mask.cast_unsigned() != 0;
        let index = usize::try_from(data & 0xffff_ffff).unwrap_or(0);
        let Some(state) = self.states.get_mut(index) else { return };
        if u64::from(state.serial) != data >> 32 {
            return;
        }
        let is_hung_up = has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR);
        state.is_hung_up |= is_hung_up;
        state.is_broken |= has(libc::EPOLLHUP | libc::EPOLLERR);
        state.is_urgent |= has(libc::EPOLLPRI);
        if has(libc::EPOLLIN) || is_hung_up {
            state.is_readable = true;
            self.ready.extend(state.input);
        }
        if has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) {
            state.is_writable = true;
            self.ready.extend(state.output);
        }
    }

    fn attempt(&mut self, id: OpId, slots: &mut Slots, events: &mut Vec<Event>) {
        let Some(op) = slots.get_mut(id) else { return };
        let Some(handle) = op.target().map(|(handle, _)| handle.clone()) else { return };
        // Queued twice, or ended while it was queued.
        if !self.state(&handle).waits(id) {
            return;
        }
        let result = match op {
            Op::Accept { .. } => self.accept(id, &handle, events),
            Op::Stream { .. } => self.stream(id, &handle, self.stream_buffer_bytes, events),
            Op::LargeStream { .. } => self.stream(id, &handle, SLICE_BYTES_MAX, events),
            Op::Datagrams(datagrams) => self.datagrams(id, &handle, datagrams, events),
            Op::Watch { .. } => self.tell(id, &handle, events),
            Op::Exact { buffer, filled, want, .. } => self.exact(&handle, buffer, filled, *want),
            Op::Send { bytes, sent, .. } => self.send(&handle, bytes, sent),
            Op::SendZeroCopy(send) => self.send_copied(&handle, send),
            Op::Gather(gather) => self.gather(&handle, gather),
            Op::Connect(connect) => self.connect(&handle, connect),
            // A transmit comes here after a full socket; when that is over was an event.
            Op::Transmit(_) => self.readiness(&handle, Interest::Writable),
            Op::Ready { interest, .. } => self.verified_readiness(&handle, *interest),
            Op::Open(_) | Op::Stat(_) | Op::Read(_) | Op::Write(_) => return,
        };
        match result {
            Attempt::Waits => {}
            Attempt::Again => self.ready.push_back(id),
            Attempt::Ended(result, arrival) => {
                self.forget(&handle, id);
                events.push(Event { id, result, more: false, arrival });
            }
        }
    }

    fn accept(&mut self, id: OpId, listener: &Handle, events: &mut Vec<Event>) -> Attempt {
        for _ in 0..ACCEPT_BATCH {
            match socket::accept(listener.raw()) {
                Ok(fd) => {
                    let arrival = Arrival::Connection(fd);
                    events.push(Event { id, result: 0, more: true, arrival });
                }
                Err(error) => match error.raw_os_error() {
                    // EAGAIN: nobody waits.
                    Some(libc::EAGAIN) => {
                        self.state(listener).is_readable = false;
                        return Attempt::Waits;
                    }
                    // ECONNABORTED: the peer gave up while it waited; the next one may not have.
                    Some(libc::ECONNABORTED | libc::EINTR) => {}
                    // EMFILE, ENFILE, ENOBUFS, ENOMEM: the caller slows down and submits again.
                    _ => return Attempt::Ended(negative(&error), Arrival::None),
                },
            }
        }
        Attempt::Again
    }

    fn stream(&mut self, id: OpId, socket: &Handle, buffer_bytes: usize, events: &mut Vec<Event>) -> Attempt {
        for _ in 0..STREAM_BATCH {
            let Some(mut buffer) = self.pool.get(buffer_bytes) else {
                return Attempt::Ended(-libc::ENOBUFS, Arrival::None);
            };
            match self.try_recv(socket, &mut buffer) {
                Ok(0) => return Attempt::Ended(0, Arrival::None),
                Ok(bytes) => {
                    let is_full = bytes == buffer.len();
                    let arrival = Arrival::Bytes(buffer.freeze(bytes));
                    events.push(Event { id, result: i32::try_from(bytes).unwrap_or(0), more: true, arrival });
                    let state = self.state(socket);
                    // A short read emptied the socket: the next byte is a new edge. After a hang-up there is none.
                    if !is_full && !state.is_hung_up && !state.is_urgent {
                        if !*state.is_bytes.get_or_insert_with(|| socket::is_stream(socket.raw())) {
                            continue;
                        }
                        state.is_readable = false;
                        return Attempt::Waits;
                    }
                }
                Err(error) => return waits_or_ends(&error, 0),
            }
        }
        Attempt::Again
    }

    /// Says that there is something to receive: receiving it is not this operation's business.
    fn tell(&mut self, id: OpId, socket: &Handle, events: &mut Vec<Event>) -> Attempt {
        let state = self.state(socket);
        let result = i32::from(state.is_hung_up || state.is_urgent);
        events.push(Event { id, result, more: true, arrival: Arrival::None });
        Attempt::Waits
    }

    /// An error ends reception as it does with io_uring; the ring starts it again.
    fn datagrams(
        &mut self,
        id: OpId,
        socket: &Handle,
        datagrams: &mut Datagrams,
        events: &mut Vec<Event>,
    ) -> Attempt {
        let received = datagrams.receive();
        if datagrams.has_arrived() && !std::mem::replace(&mut datagrams.is_announced, true) {
            events.push(Event { id, result: 0, more: true, arrival: Arrival::Datagrams });
        }
        match received {
            Ok(true) => {
                self.state(socket).is_readable = false;
                Attempt::Waits
            }
            Ok(false) => Attempt::Again,
            Err(error) => Attempt::Ended(negative(&error), Arrival::None),
        }
    }

    fn exact(&mut self, socket: &Handle, buffer: &mut [u8], filled: &mut u32, want: u32) -> Attempt {
        while *filled < want {
            let Some(target) = buffer.get_mut(*filled as usize..want as usize) else { break };
            match self.try_recv(socket, target) {
                Ok(0) => break,
                Ok(bytes) => *filled += u32::try_from(bytes).unwrap_or(0),
                Err(error) => return waits_or_ends(&error, *filled),
            }
        }
        Attempt::Ended(i32::try_from(*filled).unwrap_or(i32::MAX), Arrival::None)
    }

    fn send(&mut self, socket: &Handle, bytes: &[u8], sent: &mut u32) -> Attempt {
        while let Some(left) = bytes.get(*sent as usize..).filter(|left| !left.is_empty()) {
            match self.try_send(socket, left, false) {
                Ok(bytes) => *sent += u32::try_from(bytes).unwrap_or(0),
                Err(error) => return waits_or_ends(&error, *sent),
            }
        }
        Attempt::Ended(i32::try_from(*sent).unwrap_or(i32::MAX), Arrival::None)
    }

    /// A zero-copy send without its point: epoll has none.
    fn send_copied(&mut self, socket: &Handle, send: &mut ZeroCopy) -> Attempt {
        send.set_copied();
        let mut sent = send.sent();
        let attempt = self.send(socket, send.bytes(), &mut sent);
        send.advance(sent - send.sent());
        attempt
    }

    fn gather(&mut self, socket: &Handle, gather: &mut Gather) -> Attempt {
        while !gather.left().is_empty() {
            match socket::send_message(socket.raw(), gather.prepare()) {
                Ok(bytes) => {
                    gather.advance(u32::try_from(bytes).unwrap_or(0));
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::WouldBlock {
                        self.state(socket).is_writable = false;
                    }
                    return waits_or_ends(&error, gather.sent());
                }
            }
        }
        Attempt::Ended(i32::try_from(gather.sent()).unwrap_or(i32::MAX), Arrival::None)
    }

    fn connect(&mut self, socket: &Handle, connect: &mut Connect) -> Attempt {
        let was_started = std::mem::replace(&mut connect.started, true);
        let result = if was_started {
            socket::connect_result(socket.raw())
        } else {
            socket::connect(socket.raw(), &connect.address)
        };
        match result {
            Ok(true) => Attempt::Ended(0, Arrival::None),
            // Hung up since it was started, and the error is gone: this will not become a connection any more.
            Ok(false) if was_started && self.state(socket).is_broken => {
                Attempt::Ended(-libc::ENOTCONN, Arrival::None)
            }
            Ok(false) => {
                let state = self.state(socket);
                // An unconnected socket reports a hang-up; what counts comes after this.
                (state.is_writable, state.is_hung_up, state.is_broken) = (false, false, false);
                Attempt::Waits
            }
            Err(error) => Attempt::Ended(negative(&error), Arrival::None),
        }
    }

    fn readiness(&mut self, socket: &Handle, interest: Interest) -> Attempt {
        let state = self.state(socket);
        let is_ready = match interest {
            Interest::Readable => state.is_readable || state.is_hung_up,
            Interest::Writable => state.is_writable || state.is_broken,
        };
        if is_ready { Attempt::Ended(0, Arrival::None) } else { Attempt::Waits }
    }

    /// Readiness that somebody waits for is not guessed from what was known last.
    fn verified_readiness(&mut self, socket: &Handle, interest: Interest) -> Attempt {
        match socket::is_ready(socket.raw(), interest == Interest::Writable) {
            Ok(true) => Attempt::Ended(0, Arrival::None),
            Ok(false) => {
                // The next change is a new edge.
                let state = self.state(socket);
                match interest {
                    Interest::Readable => (state.is_readable, state.is_hung_up) = (false, false),
                    Interest::Writable => (state.is_writable, state.is_broken) = (false, false),
                }
                Attempt::Waits
            }
            Err(error) => waits_or_ends(&error, 0),
        }
    }

    fn end_cancelled(&mut self, id: OpId, slots: &mut Slots, events: &mut Vec<Event>) {
        let Some(op) = slots.get_mut(id) else { return };
        let moved = i32::try_from(op.moved()).unwrap_or(i32::MAX);
        // The lane cannot stop half-way: an operation on a file completes as it would have.
        let Some(handle) = op.target().map(|(handle, _)| handle.clone()) else { return };
        if !self.state(&handle).waits(id) {
            return;
        }
        self.forget(&handle, id);
        let result = if moved > 0 { moved } else { -libc::ECANCELED };
        events.push(Event { id, result, more: false, arrival: Arrival::None });
    }

    fn forget(&mut self, handle: &Handle, id: OpId) {
        let state = self.state(handle);
        for place in [&mut state.input, &mut state.output] {
            if *place == Some(id) {
                *place = None;
            }
        }
    }

    fn collect_files(&mut self, slots: &mut Slots, events: &mut Vec<Event>) {
        let mut outcomes = self.files.take_results();
        outcomes.append(&mut self.writes.take_results());
        for outcome in outcomes {
            if let (Some(Op::Open(open)), Some(fd)) = (slots.get_mut(outcome.id), outcome.opened) {
                open.opened = Some(fd);
            }
            let result = match outcome.result {
                Ok(value) => i32::try_from(value).unwrap_or(i32::MAX),
                Err(error) => negative(&error),
            };
            events.push(Event { id: outcome.id, result, more: false, arrival: Arrival::None });
        }
    }
}

impl Driver for Epoll {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn submit(&mut self, id: OpId, op: &mut Op) {
        if let Err(error) = self.start(id, op) {
            self.ended.push(Event { id, result: negative(&error), more: false, arrival: Arrival::None });
        }
    }

    fn cancel(&mut self, id: OpId) {
        self.cancels.push_back(id);
    }

    fn poll(&mut self, wait: Wait, slots: &mut Slots, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(&mut self.ended);
        // An operation is cancelled before it is attempted again; one that has ended meanwhile is not found.
        while let Some(id) = self.cancels.pop_front() {
            self.end_cancelled(id, slots, events);
        }
        let is_idle = events.is_empty() && self.ready.is_empty();
        self.wait(if is_idle { wait } else { Wait::Poll })?;
        for _ in 0..self.ready.len() {
            let Some(id) = self.ready.pop_front() else { break };
            self.attempt(id, slots, events);
        }
        if self.files.is_busy() || self.writes.is_busy() {
            self.collect_files(slots, events);
        }
        Ok(())
    }

    fn prefers_direct_send(&self) -> bool {
        true
    }

    fn try_recv(&mut self, socket: &Handle, buffer: &mut [u8]) -> io::Result<usize> {
        let result = socket::recv(socket.raw(), buffer);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.state(socket).is_readable = false;
        }
        result
    }

    fn try_send(&mut self, socket: &Handle, bytes: &[u8], more: bool) -> io::Result<usize> {
        let result = socket::send(socket.raw(), bytes, more);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.state(socket).is_writable = false;
        }
        result
    }

    fn try_sendfile(
        &mut self,
        socket: &Handle,
        file: &Handle,
        offset: u64,
        bytes: usize,
    ) -> io::Result<usize> {
        let result = socket::send_file(socket.raw(), file.raw(), offset, bytes);
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.state(socket).is_writable = false;
        }
        result
    }

    fn try_read(&mut self, file: &Handle, targets: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        crate::file::read_resident(file.raw(), targets, offset)
    }

    fn is_resident(&mut self, file: &Handle, offset: u64, bytes: u64) -> bool {
        crate::file::is_resident(file.raw(), offset, bytes)
    }

    fn shutdown(&mut self, socket: &Handle, how: Shutdown) -> io::Result<()> {
        socket::shutdown(socket.raw(), how)
    }

    fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }
}

/// A full or empty socket waits (a direct call noted it); another error ends, but what moved before it is the result.
fn waits_or_ends(error: &io::Error, moved: u32) -> Attempt {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Attempt::Waits,
        Some(libc::EINTR) => Attempt::Again,
        _ if moved > 0 => Attempt::Ended(i32::try_from(moved).unwrap_or(i32::MAX), Arrival::None),
        _ => Attempt::Ended(negative(error), Arrival::None),
    }
}

fn negative(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(libc::EIO)
}

fn control(epoll: &OwnedFd, fd: RawFd, events: libc::c_int, data: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: data };
    // SAFETY: I6: the kernel reads the event during the call.
    let added = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    match socket::check(added) {
        // EEXIST: a duplicate of an earlier descriptor kept the registration alive; its mark is replaced.
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            // SAFETY: I6: the kernel reads the event during the call.
            let changed =
                unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_MOD, fd, &raw mut event) };
            socket::check(changed).map(drop)
        }
        other => other.map(drop),
    }
}

//! A connection to a backend that many requests share: a task of its own reads and writes for all of them.

use super::post::Post;
use super::timer::Timer;
use crate::upstream::Shared;
use ringway_engine::WorkerHandle;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_h2::client::{Buffers, Connection, Event, Failure, Scheme, Unsent};
use ringway_h2::code::{Code, Fault};
use ringway_h2::frame::PAYLOAD_BYTES;
use ringway_h2::limits::Limits;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Most bytes of requests that wait to be sent on one connection.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Pieces of bodies below this are copied: a short piece would keep a long buffer, and a send of its own costs more.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Rounds of one poll: a connection whose backend is as fast as this server lets others have a turn.
const ROUNDS_MAX: usize = 16;

/// A connection.
pub(super) struct Line {
    state: RefCell<State>,
    /// Of the backend's addresses when it was made.
    version: u32,
    post: Rc<Post>,
}

struct State {
    shared: Shared,
    machine: Connection,
    buffers: Buffers,
    askers: Vec<Asker>,
    /// The task that reads and writes.
    driver: Option<Waker>,
    /// Bytes that were put back, because the rest of their frame is to come.
    kept_bytes: usize,
    /// It takes no more requests, for a reason of this side's.
    is_retired: bool,
    /// Answers so far: a connection that has served may be closed without anybody's fault.
    answers: u64,
    /// The worker's time when something came last.
    heard_ms: u64,
    /// What was wrong with what the backend said.
    fault: Option<Fault>,
}

/// A request on the connection.
struct Asker {
    stream: u32,
    waker: Option<Waker>,
    /// The head of the answer, until it is taken.
    head: Option<Slice>,
    pieces: VecDeque<Slice>,
    /// The answer has ended.
    is_whole: bool,
    failure: Option<Failure>,
    /// It waits for room to send.
    wants_room: bool,
}

impl Asker {
    fn new(stream: u32) -> Self {
        let pieces = VecDeque::new();
        Self { stream, waker: None, head: None, pieces, is_whole: false, failure: None, wants_room: false }
    }

    /// Whether it waits, and not for the backend to open its windows.
    fn is_blocked_here(&self, machine: &Connection) -> bool {
        self.wants_room && machine.room(self.stream) > 0
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn wait<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            empty => *empty = Some(context.waker().clone()),
        }
        Poll::Pending
    }
}

impl Line {
    /// Begins to speak on a connection, and has it read and written from now on. Closed after `idle_ms_max` without
    /// requests.
    pub(super) fn start(
        shared: Shared,
        is_secure: bool,
        head_bytes_max: u32,
        version: u32,
        post: &Rc<Post>,
        idle_ms_max: u64,
    ) -> Rc<Self> {
        let limits = Limits {
            header_list_bytes_max: head_bytes_max,
            block_bytes_max: Limits::client().block_bytes_max.max(head_bytes_max.saturating_mul(2)),
            ..Limits::client()
        };
        let scheme = if is_secure { Scheme::Https } else { Scheme::Http };
        let mut buffers = Buffers::default();
        let machine = Connection::new(scheme, limits, &mut buffers);
        let heard_ms = shared.stream.now_ms();
        let worker = shared.stream.worker();
        let state = State {
            shared,
            machine,
            buffers,
            askers: Vec::new(),
            driver: None,
            kept_bytes: 0,
            is_retired: false,
            answers: 0,
            heard_ms,
            fault: None,
        };
        let line = Rc::new(Self { state: RefCell::new(state), version, post: Rc::clone(post) });
        let driven = Driven(Rc::clone(&line));
        let clock = worker.clone();
        worker.spawn(async move { driven.0.drive(&clock, idle_ms_max).await });
        line
    }

    /// Whether another request can be sent now, to the backend's addresses as they are.
    pub(super) fn has_vacancy(&self, version: u32) -> bool {
        let state = self.state.borrow();
        let machine = &state.machine;
        // How many the backend allows is not known before its settings have come.
        let is_free = if machine.is_open() { machine.vacancies() > 0 } else { machine.streams() == 0 };
        self.version == version && !state.is_retired && is_free && !machine.is_leaving()
    }

    /// Whether it can ever take a request again.
    pub(super) fn is_leaving(&self, version: u32) -> bool {
        let state = self.state.borrow();
        self.version != version || state.is_retired || state.machine.is_leaving()
    }

    /// Sends a request's head. `ends`: no body follows.
    pub(super) fn ask(self: &Rc<Self>, head: &[u8], ends: bool) -> Result<Asked, Unsent> {
        let mut state = self.state.borrow_mut();
        let State { machine, buffers, .. } = &mut *state;
        let stream = machine.request(head, ends, buffers)?;
        state.askers.push(Asker::new(stream));
        let is_reused = state.answers > 0;
        let asked_ms = state.shared.stream.now_ms();
        // Requests of one batch leave together.
        state.rouse();
        drop(state);
        Ok(Asked { line: Rc::clone(self), stream, is_reused, asked_ms })
    }

    /// Reads and writes until the connection's end.
    async fn drive(&self, worker: &WorkerHandle, idle_ms_max: u64) {
        let mut idle = Timer::default();
        std::future::poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            match &mut state.driver {
                Some(waker) => waker.clone_from(context.waker()),
                empty => *empty = Some(context.waker().clone()),
            }
            let was_open = state.machine.is_open();
            let polled = state.poll(context);
            if state.machine.is_open() && !was_open {
                self.post.vacated();
            }
            if polled.is_pending() {
                if !state.askers.is_empty() {
                    idle.forget();
                    return Poll::Pending;
                }
                let now_ms = worker.now_ms();
                idle.begin(now_ms, idle_ms_max);
                let is_over = state.is_retired || state.machine.is_leaving();
                if !is_over && !idle.poll(context, worker) {
                    return Poll::Pending;
                }
                state.say_farewell();
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// A connection that is read and written; at its end, whyever, nobody waits for it any more.
struct Driven(Rc<Line>);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.state.borrow_mut().end();
        self.0.post.forget(&self.0);
    }
}

impl State {
    /// Has the task look at the connection, when there is something to send.
    fn rouse(&mut self) {
        if !self.buffers.out.is_empty()
            && let Some(driver) = self.driver.take()
        {
            driver.wake();
        }
    }

    /// Does what there is to do; ready when the connection is at its end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_MAX {
            if self.flush().is_err() {
                return Poll::Ready(());
            }
            let polled = match self.kept_bytes {
                0 => self.shared.stream.poll_read(context),
                kept => self.shared.stream.poll_read_beyond(context, kept),
            };
            match polled {
                Poll::Pending => return self.poll_room(context),
                Poll::Ready(Ok(Some(input))) => {
                    if self.receive(input).is_err() {
                        // GOAWAY says why.
                        let _gone = self.flush();
                        return Poll::Ready(());
                    }
                }
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(()),
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells those who wait to send that they may.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { machine, askers, shared, .. } = self;
        if !askers.iter().any(|asker| asker.is_blocked_here(machine)) {
            return Poll::Pending;
        }
        match shared.stream.poll_queued(context, QUEUED_BYTES_MAX) {
            Poll::Pending => return Poll::Pending,
            // What the backend has said before is read first.
            Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => return Poll::Ready(()),
            Poll::Ready(_) => {}
        }
        askers.iter_mut().filter(|asker| asker.is_blocked_here(machine)).for_each(Asker::wake);
        Poll::Pending
    }

    /// Sends what the machine has written.
    fn flush(&mut self) -> io::Result<()> {
        let Self { shared, buffers, .. } = self;
        for piece in buffers.out.chunks(SLICE_BYTES_MAX) {
            let piece = shared.stream.slice_of(piece)?;
            shared.stream.send(piece);
        }
        buffers.out.clear();
        Ok(())
    }

    /// Takes in what came.
    fn receive(&mut self, mut input: Slice) -> Result<(), ()> {
        self.heard_ms = self.shared.stream.now_ms();
        self.kept_bytes = 0;
        loop {
            let Self { machine, buffers, heard_ms, .. } = self;
            let step = match machine.receive(&input, *heard_ms, buffers) {
                Ok(step) => step,
                Err(fault) => {
                    self.fault = Some(fault);
                    return Err(());
                }
            };
            let Some(event) = step.event else {
                input.advance(step.consumed);
                break;
            };
            self.tell(event, &input)?;
            input.advance(step.consumed);
        }
        // Windows may have grown.
        let Self { machine, askers, .. } = self;
        askers.iter_mut().filter(|asker| asker.is_blocked_here(machine)).for_each(Asker::wake);
        if !input.is_empty() {
            self.kept_bytes = input.len();
            self.shared.stream.unread(input);
        }
        Ok(())
    }

    fn tell(&mut self, event: Event, input: &Slice) -> Result<(), ()> {
        let Self { askers, shared, buffers, answers, .. } = self;
        match event {
            // They are for whoever asked: "100 Continue" was this server's to say, and others are hints.
            Event::Interim { .. } => {}
            Event::Answer { stream, ends } => {
                *answers += 1;
                let Some(asker) = find(askers, stream) else { return Ok(()) };
                asker.head = Some(shared.stream.slice_of(buffers.head()).map_err(|_no_memory| ())?);
                asker.is_whole = ends;
                asker.wake();
            }
            Event::Data { stream, at, ends } => {
                let Some(asker) = find(askers, stream) else { return Ok(()) };
                keep(asker, shared, input, at)?;
                asker.is_whole |= ends;
                asker.wake();
            }
            Event::Failed { stream, failure } => {
                let Some(asker) = find(askers, stream) else { return Ok(()) };
                asker.failure = Some(failure);
                asker.wake();
            }
        }
        Ok(())
    }

    /// Nobody has asked anything for a while, or nobody may any more.
    fn say_farewell(&mut self) {
        self.machine.leave(Code::NO_ERROR, &mut self.buffers);
        let _gone = self.flush();
    }

    /// The connection is at its end: what was asked gets no answer any more.
    fn end(&mut self) {
        self.is_retired = true;
        while let Some((stream, failure)) = self.machine.lost() {
            if let Some(asker) = find(&mut self.askers, stream).filter(|asker| !asker.is_whole) {
                asker.failure = Some(failure);
            }
        }
        self.askers.iter_mut().for_each(Asker::wake);
    }
}

fn find(askers: &mut [Asker], stream: u32) -> Option<&mut Asker> {
    askers.iter_mut().find(|asker| asker.stream == stream)
}

/// Keeps a piece of a body until its reader takes it.
fn keep(asker: &mut Asker, shared: &Shared, input: &Slice, at: Range<usize>) -> Result<(), ()> {
    let bytes = &input[at.clone()];
    if bytes.is_empty() || asker.pieces.back_mut().is_some_and(|last| last.try_extend(bytes)) {
        return Ok(());
    }
    let piece = if bytes.len() < COPIED_BYTES_MAX {
        let mut memory = shared.stream.pool().get(COPIED_BYTES_MAX).ok_or(())?;
        memory[..bytes.len()].copy_from_slice(bytes);
        memory.freeze(bytes.len())
    } else {
        let mut piece = input.clone();
        piece.advance(at.start);
        piece.truncate(bytes.len());
        piece
    };
    asker.pieces.push_back(piece);
    Ok(())
}

/// A request on a connection. Dropped, it is given up.
pub(super) struct Asked {
    line: Rc<Line>,
    stream: u32,
    /// The connection had served others before.
    is_reused: bool,
    /// The worker's time when it was sent.
    asked_ms: u64,
}

impl Asked {
    /// Whether the connection had served others before.
    pub(super) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The head of the answer, and when it came.
    pub(super) fn poll_head(
        &self,
        context: &Context<'_>,
    ) -> Poll<Result<(Slice, std::time::Instant), Failure>> {
        let state = &mut *self.line.state.borrow_mut();
        let arrived = state.shared.stream.arrived();
        let Some(asker) = find(&mut state.askers, self.stream) else {
            return Poll::Ready(Err(Failure::Lost));
        };
        if let Some(head) = asker.head.take() {
            return Poll::Ready(Ok((head, arrived)));
        }
        match asker.failure {
            Some(failure) => Poll::Ready(Err(failure)),
            None => asker.wait(context),
        }
    }

    /// The next piece of the answer's body; `None`: it has ended.
    pub(super) fn poll_piece(&self, context: &Context<'_>) -> Poll<Result<Option<Slice>, Failure>> {
        let state = &mut *self.line.state.borrow_mut();
        let Some(asker) = find(&mut state.askers, self.stream) else {
            return Poll::Ready(Err(Failure::Lost));
        };
        let Some(piece) = asker.pieces.pop_front() else {
            return match (asker.is_whole, asker.failure) {
                (true, _) => Poll::Ready(Ok(None)),
                (false, Some(failure)) => Poll::Ready(Err(failure)),
                (false, None) => asker.wait(context),
            };
        };
        let bytes = u32::try_from(piece.len()).unwrap_or(u32::MAX);
        state.machine.consume(self.stream, bytes, &mut state.buffers);
        state.rouse();
        Poll::Ready(Ok(Some(piece)))
    }

    /// Where slices come from.
    pub(super) fn pool(&self) -> Pool {
        self.line.state.borrow().shared.stream.pool()
    }

    /// What was wrong with what the backend said, if that has ended the connection.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.line.state.borrow().fault
    }

    /// How many bytes of the request's body may be sent now; `None`: the backend wants no more of it.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<Option<usize>> {
        let state = &mut *self.line.state.borrow_mut();
        if !state.machine.has(self.stream) {
            return Poll::Ready(None);
        }
        if let Some(asker) = find(&mut state.askers, self.stream) {
            asker.wants_room = false;
        }
        let room = state.machine.room(self.stream);
        let queued = state.shared.stream.queued_bytes() + state.buffers.out.len();
        if room > 0 && queued <= QUEUED_BYTES_MAX {
            return Poll::Ready(Some(room.min(QUEUED_BYTES_MAX)));
        }
        // The task must wait for the queue.
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
        let Some(asker) = find(&mut state.askers, self.stream) else { return Poll::Ready(None) };
        asker.wants_room = true;
        asker.wait(context)
    }

    /// Sends a piece of the request's body, at most as long as there is room for; `ends`: the last.
    pub(super) fn send(&self, mut piece: Slice, ends: bool) -> io::Result<()> {
        let state = &mut *self.line.state.borrow_mut();
        loop {
            let len = piece.len().min(PAYLOAD_BYTES);
            let part = piece.split_to(len);
            let is_last = piece.is_empty();
            if !state.machine.data(self.stream, len, ends && is_last, &mut state.buffers) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if len < COPIED_BYTES_MAX {
                state.buffers.out.extend_from_slice(&part);
            } else {
                state.flush()?;
                state.shared.stream.send(part);
            }
            if is_last {
                break;
            }
        }
        state.rouse();
        Ok(())
    }

    /// Ends the request's body.
    pub(super) fn finish(&self) {
        let state = &mut *self.line.state.borrow_mut();
        let _gone_by_now = state.machine.data(self.stream, 0, true, &mut state.buffers);
        state.rouse();
    }

    /// The answer did not come in time: a connection on which nothing at all came is not asked again.
    pub(super) fn suspect(&self) {
        let state = &mut *self.line.state.borrow_mut();
        if state.heard_ms <= self.asked_ms {
            state.is_retired = true;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let state = &mut *self.line.state.borrow_mut();
        let asker = state.askers.iter().position(|asker| asker.stream == self.stream);
        let asker = asker.map(|place| state.askers.swap_remove(place));
        if state.machine.has(self.stream) {
            let is_whole = asker.as_ref().is_some_and(|asker| asker.is_whole);
            let code = if is_whole { Code::NO_ERROR } else { Code::CANCEL };
            state.machine.reset(self.stream, code, &mut state.buffers);
        }
        state.rouse();
        // The last one lets the task look at the clock.
        if state.askers.is_empty()
            && let Some(driver) = state.driver.take()
        {
            driver.wake();
        }
        self.line.post.vacated();
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").field("version", &self.version).finish_non_exhaustive()
    }
}

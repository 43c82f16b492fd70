//! HTTP/2 on a connection: a task that holds it, takes in all that is there, answers, and sends bodies within the windows.

mod answer;
mod body;
#[cfg(feature = "bodies")]
mod given;
mod making;
mod outbox;
mod send;
mod wait;
mod watch;

use crate::connection::{Phase, State};
use crate::execution::Shared;
use crate::output::NoMemory;
use answer::{Answering, Held, Upload, Work};
use outbox::Outbox;
use ringway_engine::ring::Slice;
use ringway_engine::{Conn, Stream, Turn};
use ringway_h2::code::Code;
use ringway_h2::connection::{Buffers, Connection, Event};
use ringway_h2::limits::Limits;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use watch::{Doing, Late, Watch};

/// What a client that knows the server to speak HTTP/2 begins with, as far as it looks like a head of HTTP/1.1.
const PREFACE_LINES: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// Bytes of frames that may be collected before they must be with the kernel.
const BATCH_BYTES: usize = 64 * 1024;

/// Rounds of one poll: a connection whose peer is as fast as the server lets others have a turn.
const ROUNDS_MAX: usize = 8;

/// Memory that a worker's HTTP/2 connections take turns with.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    buffers: Buffers,
    /// Where heads of answers are written.
    text: Vec<u8>,
    /// Where bodies that are made while they are sent write their pieces.
    piece: Vec<u8>,
}

/// Whether the handshake of the connection's filter agreed on HTTP/2.
pub(crate) fn is_agreed(conn: &mut Conn<'_>) -> bool {
    conn.session().is_some_and(|session| *session.alpn == *b"h2")
}

/// Whether a connection begins as HTTP/2 does, without asking.
pub(crate) fn begins(input: &[u8]) -> bool {
    input.starts_with(PREFACE_LINES)
}

/// Speaks HTTP/2 until the connection's end.
pub(crate) async fn serve(shared: Rc<Shared>, stream: Stream, state: State) -> Turn {
    let mut session = {
        let memory = &mut *shared.h2.borrow_mut();
        memory.buffers.out.clear();
        // What is read is what HTTP/1.1 would read.
        let head_bytes_max = shared.limits.head.head_bytes_max;
        let limits = Limits {
            header_list_bytes_max: head_bytes_max,
            block_bytes_max: shared.limits.h2.block_bytes_max.max(head_bytes_max.saturating_mul(2)),
            ..shared.limits.h2
        };
        let machine = Connection::new(limits, &mut memory.buffers);
        let mut outbox = Outbox::new(stream.pool());
        let mut stream = stream;
        if outbox.take(&mut stream, &mut memory.buffers.out, 0).is_err() {
            return Turn::Abort;
        }
        // What the client sends with its preface is answered in the same send.
        let watch = Watch::new(state.opened_s, &shared.limits);
        let (answers, uploads) = (Vec::new(), Vec::new());
        let shared = Rc::clone(&shared);
        Session {
            shared,
            stream,
            machine,
            outbox,
            answers,
            uploads,
            held: VecDeque::new(),
            watch,
            state,
            kept: 0,
            next: 0,
            is_over: false,
            #[cfg(feature = "bodies")]
            bodies: None,
        }
    };
    poll_fn(|context| session.poll(context)).await
}

/// A connection.
struct Session {
    shared: Rc<Shared>,
    stream: Stream,
    machine: Connection,
    outbox: Outbox,
    /// Answers that wait for something or whose bodies are on their way.
    answers: Vec<Answering>,
    /// Requests whose bodies are still to come.
    uploads: Vec<Upload>,
    /// Requests that the governor keeps back, in the order they came.
    held: VecDeque<Held>,
    watch: Watch,
    state: State,
    /// Bytes of input that are there and need more behind them.
    kept: usize,
    /// Whose body has the next turn.
    next: usize,
    /// The machine has given the connection up.
    is_over: bool,
    /// How bodies of requests that handlers read wake the connection; made for the first.
    #[cfg(feature = "bodies")]
    bodies: Option<Rc<crate::request_body::arriving::Session>>,
}

/// How a round ended.
enum Round {
    /// There may be more to do.
    Again,
    /// Something must be waited for.
    Wait,
    /// The connection is done.
    Over(Turn),
}

/// Where the transport stands.
enum Transport {
    /// All that was sent is with the kernel.
    Flushed,
    /// It is not.
    Full,
    /// The connection is gone, or its reader is too slow.
    Gone,
}

impl Session {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        #[cfg(feature = "bodies")]
        self.note_work(true, context);
        let polled = self.work(context);
        #[cfg(feature = "bodies")]
        self.note_work(false, context);
        polled
    }

    fn work(&mut self, context: &mut Context<'_>) -> Poll<Turn> {
        let shared = Rc::clone(&self.shared);
        let memory = &mut *shared.h2.borrow_mut();
        // A panic may have left something of another connection.
        memory.buffers.out.clear();
        shared.clock.borrow_mut().advance(self.stream.now_ms());
        let before = self.state;
        let mut round = Round::Again;
        for _ in 0..ROUNDS_MAX {
            round = self.round(context, memory).unwrap_or_else(|NoMemory| Round::Over(Turn::Abort));
            if !matches!(round, Round::Again) {
                break;
            }
        }
        self.state.phase = if self.answers.is_empty() { Phase::Idle } else { Phase::Sending };
        if self.state != before {
            self.stream.set_context(self.state.pack());
        }
        match round {
            Round::Over(turn) => {
                self.drop_answers();
                Poll::Ready(turn)
            }
            Round::Wait => Poll::Pending,
            Round::Again => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn round(&mut self, context: &mut Context<'_>, memory: &mut Memory) -> Result<Round, NoMemory> {
        let mut is_flushed = match self.transport(context, memory) {
            // A slow reader is reset; of what broke there is nothing to reset.
            Transport::Gone => return Ok(Round::Over(Turn::Abort)),
            Transport::Flushed => true,
            Transport::Full => false,
        };
        if !self.is_over && self.stream.is_draining() {
            self.leave(memory);
        }
        let mut has_moved = false;
        if is_flushed && !self.is_over {
            has_moved |= self.begin_held(memory);
            has_moved |= self.take_input(context, memory)?;
            has_moved |= self.go_on(context, memory);
            has_moved |= self.send_bodies(context, memory)?;
            #[cfg(feature = "bodies")]
            self.settle_uploads(memory);
        }
        self.outbox.take(&mut self.stream, &mut memory.buffers.out, 0)?;
        self.outbox.send(&mut self.stream);
        if has_moved {
            return Ok(Round::Again);
        }
        if is_flushed {
            is_flushed = matches!(self.transport(context, memory), Transport::Flushed);
            // Something was late: what is said of it leaves first.
            if !memory.buffers.out.is_empty() {
                return Ok(Round::Again);
            }
        }
        if let Some(turn) = self.end(is_flushed) {
            return Ok(Round::Over(turn));
        }
        let doing = self.doing(is_flushed);
        self.watch.arm(&mut self.stream, doing, &self.shared.limits);
        Ok(Round::Wait)
    }

    /// Whether what was sent is with the kernel; sees to what time has run out for.
    fn transport(&mut self, context: &mut Context<'_>, memory: &mut Memory) -> Transport {
        for _ in 0..2 {
            let flushed = pin!(self.stream.flush()).poll(context);
            match flushed {
                Poll::Ready(Ok(())) => return Transport::Flushed,
                Poll::Pending => return Transport::Full,
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    let late =
                        self.watch.expire(&self.stream, self.machine.sent_bytes(), &self.shared.limits);
                    self.stream.clear_deadline();
                    if late.reader {
                        return Transport::Gone;
                    }
                    self.see_to(late, memory);
                }
                Poll::Ready(Err(_gone)) => return Transport::Gone,
            }
        }
        Transport::Gone
    }

    fn see_to(&mut self, late: Late, memory: &mut Memory) {
        if late.window {
            self.drop_stalled(&mut memory.buffers);
        }
        if late.upload {
            self.drop_late_uploads(&mut memory.buffers);
        }
        if late.lifetime {
            self.leave(memory);
        }
        if late.leaving {
            self.machine.leave_now(&mut memory.buffers);
        }
        if late.head {
            self.machine.end(Code::ENHANCE_YOUR_CALM, &mut memory.buffers);
            self.is_over = true;
        }
        if late.idle {
            self.machine.end(Code::NO_ERROR, &mut memory.buffers);
            self.is_over = true;
        }
    }

    fn leave(&mut self, memory: &mut Memory) {
        if !self.machine.is_leaving() {
            self.machine.leave(&mut memory.buffers);
            self.watch.note_leaving(self.stream.now_ms());
        }
    }

    /// Takes in all that is there, as long as its answers are few enough to be sent at once.
    fn take_input(&mut self, context: &mut Context<'_>, memory: &mut Memory) -> Result<bool, NoMemory> {
        let mut has_moved = false;
        while memory.buffers.out.len() < BATCH_BYTES && !self.is_over {
            let read = pin!(self.stream.read_beyond(self.kept)).poll(context);
            match read {
                Poll::Ready(Ok(Some(input))) => has_moved |= self.receive(input, memory),
                // The end, a failure, or a deadline: seen to when the rest is done.
                Poll::Ready(Ok(None) | Err(_)) | Poll::Pending => break,
            }
        }
        Ok(has_moved)
    }

    /// Feeds the machine; says whether that was of any use.
    fn receive(&mut self, mut input: Slice, memory: &mut Memory) -> bool {
        let now_ms = self.stream.now_ms();
        let before = input.len();
        self.kept = 0;
        loop {
            let step = match self.machine.receive(&input, now_ms, &mut memory.buffers) {
                Ok(step) => step,
                Err(_fault) => {
                    self.is_over = true;
                    self.drop_answers();
                    return true;
                }
            };
            let has_event = step.event.is_some();
            match step.event {
                Some(Event::Request { stream, ends }) => self.begin(stream, ends, memory),
                Some(Event::Oversized { stream, ends }) => self.refuse_oversized(stream, ends, memory),
                #[cfg(feature = "bodies")]
                Some(Event::Data { stream, at, ends }) => self.take_data(stream, &input, at, ends, memory),
                #[cfg(not(feature = "bodies"))]
                Some(Event::Data { stream, at, ends }) => self.discard(stream, at.len(), ends, memory),
                Some(Event::Reset { stream }) => self.forget(stream),
                None => {}
            }
            input.advance(step.consumed);
            if !has_event {
                self.kept = input.len();
            }
            // Answers are bounded here: the rest is read when these are with the kernel.
            if !has_event || memory.buffers.out.len() >= BATCH_BYTES {
                break;
            }
        }
        let has_moved = input.len() < before;
        self.stream.unread(input);
        has_moved
    }

    /// The connection's end, when it has come.
    fn end(&mut self, is_flushed: bool) -> Option<Turn> {
        if self.is_over {
            let until_ms = crate::limits::deadline(self.stream.now_ms(), self.shared.limits.send_window_ms);
            self.stream.set_deadline(until_ms);
            return Some(Turn::Linger);
        }
        let is_done = self.machine.streams() == 0 && self.answers.is_empty();
        if is_flushed && is_done && self.machine.is_leaving() {
            self.stream.clear_deadline();
            return Some(Turn::Linger);
        }
        // Nobody will open a window any more: what could be sent was sent.
        let is_made = |answer: &Answering| !matches!(answer.work, Work::Sending(_));
        let waits = !self.held.is_empty() || self.answers.iter().any(is_made);
        if is_flushed && self.stream.is_ended() && !waits {
            self.stream.clear_deadline();
            return Some(Turn::Close);
        }
        None
    }

    fn doing(&self, is_flushed: bool) -> Doing {
        let is_sending = self.answers.iter().any(|answer| matches!(answer.work, Work::Sending(_)));
        Doing {
            is_within_head: is_flushed && (self.kept > 0 || self.machine.is_within_head()),
            is_sending: !is_flushed || is_sending,
            is_idle: self.machine.streams() == 0,
            uploads_until_ms: self.uploads.iter().map(|upload| upload.until_ms).min().unwrap_or(u64::MAX),
            sent: self.machine.sent_bytes(),
        }
    }
}

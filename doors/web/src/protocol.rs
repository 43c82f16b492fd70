//! HTTP/1.1 on a connection: requests in, answers out, in order, many at a time.

use crate::answer::{self, Common};
use crate::clock::{Clock, Persistence};
use crate::connection::{Ending, Phase, State};
use crate::limits::{WebLimits, deadline};
use crate::output::{NoMemory, Output, Sink};
use crate::pipeline::{Exchange, Handled, Later, Pipeline, Reply, Served, Source};
use crate::slow::{self, Pending};
use ringway_engine::heap::Arena;
use ringway_engine::ring::Slice;
use ringway_engine::{Conn, Description, Events, Protocol, SendProgress, ThreadPool, Turn};
use ringway_http::head::{HeadScan, Request, Version};
use ringway_http::refusal::Refusal;
use ringway_http::response::EncodeError;
use ringway_http::status::Status;
use std::cell::RefCell;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

/// HTTP/1.1 for one worker.
pub struct Http {
    shared: Rc<Shared>,
}

/// What the connections of a worker share.
pub(crate) struct Shared {
    pub(crate) pipeline: Pipeline,
    pub(crate) limits: WebLimits,
    pub(crate) pool: ThreadPool,
    pub(crate) clock: RefCell<Clock>,
    /// What a request needs until its answer's head is written.
    scratch: RefCell<Arena>,
    wants_details: bool,
}

/// How serving a piece of input ended.
enum Outcome {
    /// The rest of a head is missing.
    NeedMore,
    /// A request was answered; there may be more.
    Next,
    /// The answer is the connection's last. `true`: the peer may still be sending.
    Last(bool),
    /// The connection must be reset.
    Abort,
    /// Something must be waited for.
    Wait(Box<Pending>),
}

impl Http {
    /// HTTP with these stages and limits; `pool` does what could wait for a disk.
    #[must_use]
    pub fn new(pipeline: Pipeline, limits: WebLimits, pool: ThreadPool) -> Self {
        let wants_details = pipeline.wants_details();
        let shared = Shared {
            pipeline,
            limits,
            pool,
            clock: RefCell::new(Clock::new()),
            scratch: RefCell::default(),
            wants_details,
        };
        Self { shared: Rc::new(shared) }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("pipeline", &self.shared.pipeline).finish_non_exhaustive()
    }
}

impl Protocol for Http {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        if conn.is_broken() {
            return Turn::Close;
        }
        self.shared.clock.borrow_mut().advance(conn.now_ms());
        if events.has(Events::OPENED) && !self.is_welcome(conn) {
            return Turn::Abort;
        }
        let mut state = State::unpack(conn.context());
        if events.has(Events::OPENED) {
            state.opened_s = u32::try_from(conn.now_ms().div_ceil(1000)).unwrap_or(0);
        }
        let turn = if events.has(Events::TIMEOUT) {
            self.timed_out(conn, &mut state)
        } else {
            self.serve(conn, &mut state)
        };
        conn.set_context(state.pack());
        turn
    }

    fn closed(&self, context: [u64; 2]) {
        let requests = State::unpack(context).requests;
        self.shared.pipeline.closed.iter().for_each(|stage| stage.closed(requests));
    }

    fn describe(&self, context: [u64; 2]) -> Description {
        State::unpack(context).describe()
    }
}

impl Http {
    fn is_welcome(&self, conn: &mut Conn<'_>) -> bool {
        let stages = &self.shared.pipeline.accepted;
        if stages.is_empty() {
            return true;
        }
        let peer = conn.peer();
        stages.iter().all(|stage| stage.accepted(peer))
    }

    /// Serves what is there, as long as the answers go out.
    fn serve(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        while conn.is_flushed() {
            if state.ending != Ending::No {
                return self.end(conn, state);
            }
            if state.phase == Phase::Sending {
                // What is sent next has a window of its own.
                state.phase = Phase::Idle;
            }
            let Some(mut input) = conn.take_joined() else { break };
            let before = input.len();
            let outcome = self.serve_input(conn, &mut input, state);
            let consumed = before - input.len();
            match outcome {
                Outcome::NeedMore => {
                    conn.unread(input);
                    if consumed > 0 {
                        state.phase = Phase::Idle;
                    }
                    return self.wait_for_head(conn, state);
                }
                Outcome::Next => conn.unread(input),
                Outcome::Last(sends_more) => {
                    let may_close = !sends_more && input.is_empty();
                    state.ending = if may_close { Ending::Close } else { Ending::Linger };
                    return self.end(conn, state);
                }
                Outcome::Abort => return Turn::Abort,
                Outcome::Wait(pending) => {
                    conn.unread(input);
                    state.phase = Phase::Idle;
                    state.ending = pending.ending;
                    let stream = conn.detach();
                    return Turn::task(slow::serve(Rc::clone(&self.shared), stream, *pending));
                }
            }
        }
        if !conn.is_flushed() {
            return self.wait_for_room(conn, state);
        }
        self.wait_for_request(conn, state)
    }

    /// The last answer was given. While it is on its way its reader is watched as any other.
    fn end(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        if !conn.is_flushed() {
            return self.wait_for_room(conn, state);
        }
        match state.ending {
            // A close with unread data would reset the connection and could destroy the answer.
            Ending::Close if !conn.has_input() => Turn::Close,
            _ => Turn::Linger,
        }
    }

    /// Part of a head is there: its deadline was set with its first byte and is not moved by the next ones.
    fn wait_for_head(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        if conn.is_ended() {
            return Turn::Close;
        }
        if !conn.is_flushed() {
            return self.wait_for_room(conn, state);
        }
        if state.phase != Phase::Head {
            state.phase = Phase::Head;
            conn.set_deadline(deadline(conn.now_ms(), self.shared.limits.head_ms_max));
        }
        Turn::Idle
    }

    fn wait_for_room(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        if state.phase != Phase::Sending {
            state.phase = Phase::Sending;
            // Where sending stands is asked at the first look: asking costs a system call, and most answers never see one.
            // What was acknowledged before counts for that look, so a slow reader is cut after one window or two.
            state.progress = SendProgress::default();
            conn.set_deadline(deadline(conn.now_ms(), self.shared.limits.send_window_ms));
        }
        Turn::Idle
    }

    fn wait_for_request(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        if conn.is_ended() {
            return Turn::Close;
        }
        if conn.is_draining() {
            return Turn::Linger;
        }
        state.phase = Phase::Idle;
        conn.set_deadline(deadline(conn.now_ms(), self.shared.limits.idle_ms_max));
        Turn::Idle
    }

    fn timed_out(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        match state.phase {
            Phase::Idle => Turn::Close,
            Phase::Head => {
                let mut output = Output::new(Sink::pool(conn), 0);
                if self.shared.refuse(conn, &mut output, Status::REQUEST_TIMEOUT, None).is_err() {
                    return Turn::Abort;
                }
                state.ending = Ending::Linger;
                self.end(conn, state)
            }
            Phase::Sending => {
                let progress = conn.send_progress();
                if !progress.has_moved(state.progress, self.shared.limits.send_window_bytes_min) {
                    return Turn::Abort;
                }
                state.progress = progress;
                conn.set_deadline(deadline(conn.now_ms(), self.shared.limits.send_window_ms));
                Turn::Idle
            }
        }
    }

    /// Answers requests from the front of `input` until one is incomplete or must be waited for.
    fn serve_input(&self, conn: &mut Conn<'_>, input: &mut Slice, state: &mut State) -> Outcome {
        let mut output = Output::new(Sink::pool(conn), input.len());
        loop {
            let outcome = self.serve_one(conn, input, &mut output, state);
            // A file under way ends the batch: what follows waits until it is sent.
            if matches!(outcome, Outcome::Next) && !input.is_empty() && conn.is_flushed() {
                continue;
            }
            match outcome {
                Outcome::Abort => {}
                Outcome::Last(_) => output.flush_last(conn),
                _ => output.flush(conn),
            }
            return outcome;
        }
    }

    fn serve_one(
        &self,
        conn: &mut Conn<'_>,
        input: &mut Slice,
        output: &mut Output,
        state: &mut State,
    ) -> Outcome {
        let shared = &self.shared;
        let end = match HeadScan::new().find(input, &shared.limits.head) {
            Ok(Some(end)) => end,
            Ok(None) => return Outcome::NeedMore,
            Err(refusal) => return shared.refuse_head(conn, output, refusal),
        };
        let (later, kept, ending) = match Request::parse(&input[..end], &shared.limits.head) {
            Err(refusal) => return shared.refuse_head(conn, output, refusal),
            Ok(request) => {
                state.requests = state.requests.saturating_add(1);
                let is_last = conn.is_draining() || shared.is_old(*state, conn.now_ms());
                let kept = shared.persistence(&request, state.requests, is_last);
                // A client that did not ask for the close may have sent more already.
                let keeps = request.keep_alive();
                if request.body().is_empty() {
                    let started = shared.wants_details.then(Instant::now);
                    let peer = if shared.wants_details { conn.peer() } else { None };
                    let context = Context { request: &request, kept, started, peer };
                    match shared.answer(conn, output, &context) {
                        Answered::Done => {
                            input.advance(end);
                            return match kept {
                                Persistence::Close => Outcome::Last(keeps),
                                _ => Outcome::Next,
                            };
                        }
                        Answered::Close => return Outcome::Last(false),
                        Answered::Abort => return Outcome::Abort,
                        Answered::Later(later) => (Some(later), kept, Ending::after(kept, keeps)),
                    }
                } else {
                    (None, kept, Ending::after(kept, keeps))
                }
            }
        };
        let head = input.split_to(end);
        Outcome::Wait(Box::new(Pending { head, later, kept, ending, requests: state.requests }))
    }
}

/// One request as it is being answered.
pub(crate) struct Context<'a> {
    pub(crate) request: &'a Request<'a>,
    pub(crate) kept: Persistence,
    pub(crate) started: Option<Instant>,
    pub(crate) peer: Option<SocketAddr>,
}

/// How answering ended.
pub(crate) enum Answered {
    /// The answer is in the output.
    Done,
    /// No answer: close.
    Close,
    /// Half an answer may be out: reset.
    Abort,
    /// Await this first.
    Later(Later),
}

impl Shared {
    /// Whether a connection has lived for as long as it may.
    fn is_old(&self, state: State, now_ms: u64) -> bool {
        let age_ms = now_ms.saturating_sub(u64::from(state.opened_s) * 1000);
        self.limits.lifetime_ms_max > 0 && age_ms > self.limits.lifetime_ms_max
    }

    /// What becomes of the connection after this request.
    pub(crate) fn persistence(&self, request: &Request<'_>, requests: u32, is_last: bool) -> Persistence {
        let has_had_its_share = self.limits.requests_max > 0 && requests >= self.limits.requests_max;
        // Who waits for "100 Continue" may send its body, or give it up, whatever it is told: nothing can follow.
        if !request.keep_alive() || is_last || has_had_its_share || request.expects_continue() {
            Persistence::Close
        } else if request.version() == Version::Http10 {
            Persistence::KeepSaid
        } else {
            Persistence::Keep
        }
    }

    /// Runs a request through the stages and puts its answer into the output.
    pub(crate) fn answer(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        context: &Context<'_>,
    ) -> Answered {
        self.finish(sink, output, context, |exchange| self.pipeline.run(exchange))
    }

    /// Goes on with an answer that was waited for.
    pub(crate) fn finish(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        context: &Context<'_>,
        decide: impl FnOnce(&mut Exchange<'_>) -> Result<Handled, EncodeError>,
    ) -> Answered {
        let clock = self.clock.borrow();
        let common = Common { fields: clock.lines(context.kept), now_s: clock.unix_s() };
        let moment = clock.moment();
        let (request, pool) = (context.request, &self.pool);
        // What the last request left is freed here, so that it is however that one ended.
        self.scratch.borrow_mut().reset();
        let scratch = &*self.scratch.borrow();
        let Ok(memory) = output.room(sink) else { return Answered::Abort };
        let handled =
            match or_not_found(&mut Exchange { request, common, moment, memory, pool, scratch }, decide) {
                Ok(handled) => handled,
                Err(_full) => {
                    // What made the head long is what the client sent: begin again with the most memory there is.
                    let Ok(memory) = output.large_room(sink) else { return Answered::Abort };
                    let mut exchange = Exchange { request, common, moment, memory, pool, scratch };
                    let again = or_not_found(&mut exchange, |exchange| self.pipeline.run(exchange));
                    match again.or_else(|_full| status_reply(&mut exchange, Status::INTERNAL_SERVER_ERROR)) {
                        Ok(handled) => handled,
                        Err(_full) => return Answered::Abort,
                    }
                }
            };
        match handled {
            Handled::Answer(reply) => {
                let (status, body_bytes) = (reply.plan.status.code(), reply.plan.body_len);
                if output.add(sink, reply).is_err() {
                    return Answered::Abort;
                }
                self.tell_served(Some(context), context.peer, status, body_bytes, clock.unix_ms());
                Answered::Done
            }
            Handled::Later(later) => Answered::Later(later),
            Handled::Close | Handled::NotMine => Answered::Close,
        }
    }

    /// Answers what could not be read; the connection's last answer.
    pub(crate) fn refuse(
        &self,
        sink: &mut impl Sink,
        output: &mut Output,
        status: Status,
        context: Option<&Context<'_>>,
    ) -> Result<(), NoMemory> {
        let clock = self.clock.borrow();
        let common = Common { fields: clock.lines(Persistence::Close), now_s: clock.unix_s() };
        let memory = output.room(sink)?;
        let request = context.map(|context| context.request);
        let plan = answer::error(request, status, common, memory).map_err(|_full| NoMemory)?;
        let body_bytes = plan.body_len;
        output.add(sink, Reply { plan, source: Source::None })?;
        output.flush(sink);
        let peer = if self.wants_details { sink.peer() } else { None };
        self.tell_served(context, peer, status.code(), body_bytes, clock.unix_ms());
        Ok(())
    }

    fn refuse_head(&self, sink: &mut impl Sink, output: &mut Output, refusal: Refusal) -> Outcome {
        match self.refuse(sink, output, refusal.status(), None) {
            Ok(()) => Outcome::Last(true),
            Err(NoMemory) => Outcome::Abort,
        }
    }

    fn tell_served(
        &self,
        context: Option<&Context<'_>>,
        peer: Option<SocketAddr>,
        status: u16,
        body_bytes: u64,
        unix_ms: u64,
    ) {
        if self.pipeline.served.is_empty() {
            return;
        }
        let started = context.and_then(|context| context.started);
        let served = Served {
            request: context.map(|context| context.request),
            peer,
            status,
            body_bytes,
            duration_us: started
                .map_or(0, |started| u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX)),
            unix_ms,
        };
        self.pipeline.served.iter().for_each(|stage| stage.served(&served));
    }

    pub(crate) fn wants_details(&self) -> bool {
        self.wants_details
    }
}

/// Decides; what no handler calls its own is not found.
fn or_not_found(
    exchange: &mut Exchange<'_>,
    decide: impl FnOnce(&mut Exchange<'_>) -> Result<Handled, EncodeError>,
) -> Result<Handled, EncodeError> {
    match decide(exchange)? {
        Handled::NotMine => status_reply(exchange, Status::NOT_FOUND),
        handled => Ok(handled),
    }
}

fn status_reply(exchange: &mut Exchange<'_>, status: Status) -> Result<Handled, EncodeError> {
    let plan = answer::error(Some(exchange.request), status, exchange.common, exchange.memory)?;
    Ok(Handled::Answer(Reply { plan, source: Source::None }))
}

//! HTTP/1.1 on a connection: requests in, answers out, in order, many at a time.

use crate::answer::{self, Common};
use crate::clock::{Clock, Persistence};
use crate::connection::{Phase, State};
use crate::limits::{WebLimits, deadline};
use crate::output::{NoMemory, Output, Sink};
use crate::pipeline::{Exchange, Handled, Later, Pipeline, Reply, Served, Source};
use crate::slow::{self, Pending};
use ringway_engine::ring::Slice;
use ringway_engine::{Conn, Events, Protocol, ThreadPool, Turn};
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
        let shared = Shared { pipeline, limits, pool, clock: RefCell::new(Clock::new()), wants_details };
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
            state.opened_s = u32::try_from(conn.now_ms() / 1000).unwrap_or(0);
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
                Outcome::Last(false) if input.is_empty() => return Turn::Close,
                Outcome::Last(_) => return Turn::Linger,
                Outcome::Abort => return Turn::Abort,
                Outcome::Wait(pending) => {
                    conn.unread(input);
                    state.phase = Phase::Idle;
                    let stream = conn.detach();
                    return Turn::Task(Box::pin(slow::serve(Rc::clone(&self.shared), stream, *pending)));
                }
            }
        }
        if !conn.is_flushed() {
            return self.wait_for_room(conn, state);
        }
        self.wait_for_request(conn, state)
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
            state.progress = conn.send_progress();
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
                match self.shared.refuse(conn, &mut output, Status::REQUEST_TIMEOUT, None) {
                    Ok(()) => Turn::Linger,
                    Err(NoMemory) => Turn::Abort,
                }
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
            if !matches!(outcome, Outcome::Abort) {
                output.flush(conn);
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
        let (later, kept) = match Request::parse(&input[..end], &shared.limits.head) {
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
                        Answered::Later(later) => (Some(later), kept),
                    }
                } else {
                    (None, kept)
                }
            }
        };
        let head = input.split_to(end);
        Outcome::Wait(Box::new(Pending { head, later, kept, requests: state.requests }))
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
        if !request.keep_alive() || is_last || has_had_its_share {
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
        let Ok(memory) = output.room(sink) else { return Answered::Abort };
        let pool = &self.pool;
        let mut exchange = Exchange { request: context.request, common, moment, memory, pool };
        let decided = decide(&mut exchange).or_else(|_full| {
            // A head that does not fit: the only long thing in one is what the client sent, and it is too long.
            let status = Status::INTERNAL_SERVER_ERROR;
            answer::error(Some(context.request), status, common, exchange.memory).map(reply_of)
        });
        let handled = match decided {
            Ok(Handled::NotMine) => {
                let page = answer::error(Some(context.request), Status::NOT_FOUND, common, exchange.memory);
                match page {
                    Ok(plan) => reply_of(plan),
                    Err(_full) => return Answered::Abort,
                }
            }
            Ok(handled) => handled,
            Err(_full) => return Answered::Abort,
        };
        match handled {
            Handled::Answer(reply) => {
                let (status, body_bytes) = (reply.plan.status.code(), reply.plan.body_len);
                if output.add(sink, reply).is_err() {
                    return Answered::Abort;
                }
                self.tell_served(Some(context), status, body_bytes, clock.unix_ms());
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
        self.tell_served(context, status.code(), body_bytes, clock.unix_ms());
        Ok(())
    }

    fn refuse_head(&self, sink: &mut impl Sink, output: &mut Output, refusal: Refusal) -> Outcome {
        match self.refuse(sink, output, refusal.status(), None) {
            Ok(()) => Outcome::Last(true),
            Err(NoMemory) => Outcome::Abort,
        }
    }

    fn tell_served(&self, context: Option<&Context<'_>>, status: u16, body_bytes: u64, unix_ms: u64) {
        if self.pipeline.served.is_empty() {
            return;
        }
        let started = context.and_then(|context| context.started);
        let served = Served {
            request: context.map(|context| context.request),
            peer: context.and_then(|context| context.peer),
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

fn reply_of(plan: answer::Plan) -> Handled {
    Handled::Answer(Reply { plan, source: Source::None })
}

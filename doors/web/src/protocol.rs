//! HTTP/1.1 on a connection: requests in, answers out, in order, many at a time.

use crate::clock::Persistence;
use crate::connection::{Ending, Phase, State};
use crate::exchange::Course;
use crate::execution::{Answered, Asked, Shared};
use crate::governed::BUSY_RETRY_S;
#[cfg(feature = "guests")]
use crate::guest;
#[cfg(feature = "h2")]
use crate::h2;
use crate::limits::{WebLimits, deadline};
use crate::output::{NoMemory, Output, Sink};
use crate::sites::Sites;
use crate::slow::{self, Pending, Waiting};
use ringway_engine::ring::Slice;
use ringway_engine::{Conn, Description, Events, GovernedRead, Protocol, SendProgress, ThreadPool, Turn};
use ringway_http::head::{HeadScan, Request, Version};
use ringway_http::refusal::Refusal;
use ringway_http::status::Status;
use std::fmt;
use std::rc::Rc;

/// How long a connection of a server that drains may still ask, in milliseconds: what is on its way then is answered, with
/// `Connection: close`, and not cut off.
const DRAIN_ASK_MS: u64 = 300;

/// HTTP/1.1 for one worker.
pub struct Http {
    shared: Rc<Shared>,
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
    /// The governor lets the request begin later: there is a turn then.
    NotYet,
    /// Something must be waited for.
    Wait(Box<Pending>),
    /// The connection is a guest's; the state says whose.
    #[cfg(feature = "guests")]
    Guest,
}

impl Http {
    /// HTTP that serves these sites within these limits; `pool` does what could wait for a disk.
    #[must_use]
    pub fn new(sites: Rc<Sites>, limits: WebLimits, pool: ThreadPool) -> Self {
        Self { shared: Rc::new(Shared::new(sites, limits, pool)) }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("sites", &self.shared.sites).finish_non_exhaustive()
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
        if events.has(Events::BUSY) {
            return self.turn_away(conn);
        }
        let mut state = State::unpack(conn.context());
        #[cfg(feature = "guests")]
        if state.phase == Phase::Guest {
            return guest::turn(conn, state, events);
        }
        if events.has(Events::OPENED) {
            state.opened_s = u32::try_from(conn.now_ms().div_ceil(1000)).unwrap_or(0);
        }
        let turn = if self.is_h2(conn, events) {
            self.speak_h2(conn, state)
        } else if events.has(Events::TIMEOUT) {
            self.timed_out(conn, &mut state)
        } else {
            self.serve(conn, &mut state)
        };
        conn.set_context(state.pack());
        turn
    }

    fn closed(&self, context: [u64; 2]) {
        let state = State::unpack(context);
        let requests = state.requests;
        #[cfg(feature = "guests")]
        if state.phase == Phase::Guest {
            guest::closed(state);
        }
        self.shared.sites.closed.iter().for_each(|stage| stage.closed(requests));
    }

    fn describe(&self, context: [u64; 2]) -> Description {
        let state = State::unpack(context);
        #[cfg(feature = "guests")]
        if state.phase == Phase::Guest {
            return guest::describe(state);
        }
        state.describe()
    }
}

impl Http {
    fn is_welcome(&self, conn: &mut Conn<'_>) -> bool {
        let stages = &self.shared.sites.accepted;
        if stages.is_empty() {
            return true;
        }
        let peer = conn.peer();
        stages.iter().all(|stage| stage.accepted(peer))
    }

    /// There is no room for the connection: says so, whatever it wants.
    fn turn_away(&self, conn: &mut Conn<'_>) -> Turn {
        let mut output = Output::new(Sink::pool(conn), 0);
        if self.shared.refuse_for_now(conn, &mut output, None, Persistence::Close, BUSY_RETRY_S).is_err() {
            return Turn::Abort;
        }
        output.flush(conn);
        Turn::Linger
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
            if state.requests == 0 && self.is_h2_preface(conn, &input) {
                conn.unread(input);
                return self.speak_h2(conn, *state);
            }
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
                Outcome::NotYet => {
                    conn.unread(input);
                    return self.wait_for_turn(conn, state);
                }
                Outcome::Abort => return Turn::Abort,
                #[cfg(feature = "guests")]
                Outcome::Guest => {
                    conn.unread(input);
                    return self.give_away(conn, state);
                }
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

    /// The connection is a guest's from now on: whatever followed the request is there for its first turn.
    #[cfg(feature = "guests")]
    #[expect(clippy::unused_self, reason = "what HTTP does next is a method")]
    fn give_away(&self, conn: &mut Conn<'_>, state: &State) -> Turn {
        conn.clear_deadline();
        conn.set_context(state.pack());
        guest::turn(conn, *state, Events::default())
    }

    /// Whether the handshake of the connection's filter agreed on HTTP/2; asked once.
    #[cfg(feature = "h2")]
    #[expect(clippy::unused_self, reason = "where there is no HTTP/2 it is a constant")]
    fn is_h2(&self, conn: &mut Conn<'_>, events: Events) -> bool {
        events.has(Events::OPENED) && h2::is_agreed(conn)
    }

    #[cfg(not(feature = "h2"))]
    fn is_h2(&self, _conn: &mut Conn<'_>, _events: Events) -> bool {
        false
    }

    /// Whether the client speaks HTTP/2 without having asked.
    #[cfg(feature = "h2")]
    fn is_h2_preface(&self, conn: &mut Conn<'_>, input: &[u8]) -> bool {
        h2::begins(input) && self.shared.limits.h2_prior_knowledge && conn.session().is_none()
    }

    #[cfg(not(feature = "h2"))]
    fn is_h2_preface(&self, _conn: &mut Conn<'_>, _input: &[u8]) -> bool {
        false
    }

    #[cfg(feature = "h2")]
    fn speak_h2(&self, conn: &mut Conn<'_>, state: State) -> Turn {
        Turn::task(h2::serve(Rc::clone(&self.shared), conn.detach(), state))
    }

    #[cfg(not(feature = "h2"))]
    fn speak_h2(&self, _conn: &mut Conn<'_>, _state: State) -> Turn {
        Turn::Close
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

    /// The governor keeps a request back, for a limited time.
    fn wait_for_turn(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        if !conn.is_flushed() {
            return self.wait_for_room(conn, state);
        }
        state.phase = Phase::Idle;
        conn.clear_deadline();
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
        let patience_ms = if conn.is_draining() { DRAIN_ASK_MS } else { self.shared.limits.idle_ms_max };
        state.phase = Phase::Idle;
        conn.set_deadline(deadline(conn.now_ms(), patience_ms));
        Turn::Idle
    }

    fn timed_out(&self, conn: &mut Conn<'_>, state: &mut State) -> Turn {
        match state.phase {
            // It has turns of its own.
            #[cfg(feature = "guests")]
            Phase::Guest => Turn::Abort,
            // What the kernel has taken may still wait for a reader that hardly reads: it is watched as any other.
            Phase::Idle if !conn.is_delivered() => {
                state.phase = Phase::Sending;
                state.progress = conn.send_progress();
                conn.set_deadline(deadline(conn.now_ms(), self.shared.limits.send_window_ms));
                Turn::Idle
            }
            // What the client may have sent at this very moment must not turn the end into a reset.
            Phase::Idle if conn.is_draining() => Turn::Linger,
            Phase::Idle => Turn::Close,
            Phase::Sending if conn.is_delivered() => Turn::Close,
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
            Err(refusal) => return refuse_head(shared, conn, output, refusal),
        };
        let started = shared.stopwatch(|| conn.arrived());
        let (waiting, kept, ending) = match Request::parse(&input[..end], &shared.limits.head) {
            Err(refusal) => return refuse_head(shared, conn, output, refusal),
            Ok(request) => {
                let may_begin = shared.may_begin(conn, &request);
                if may_begin == GovernedRead::Block {
                    return Outcome::NotYet;
                }
                state.requests = state.requests.saturating_add(1);
                let is_last = conn.is_draining() || shared.is_old(*state, conn.now_ms());
                let kept = shared.persistence(&request, state.requests, is_last);
                // A client that did not ask for the close may have sent more already.
                let keeps = request.keep_alive();
                if let GovernedRead::Reject { retry_after_s } = may_begin {
                    let outcome = come_back(shared, conn, output, &request, kept, retry_after_s);
                    input.advance(end);
                    return outcome;
                }
                if request.body().is_empty() {
                    let asked =
                        Asked { request: &request, kept, started, protocol: name_of(request.version()) };
                    let mut course = Course::default();
                    match shared.answer(conn, output, &asked, &mut course, None) {
                        Answered::Done => {
                            input.advance(end);
                            return match kept {
                                Persistence::Close => Outcome::Last(keeps),
                                _ => Outcome::Next,
                            };
                        }
                        Answered::Close => return Outcome::Last(false),
                        Answered::Abort => return Outcome::Abort,
                        Answered::Later(later) => {
                            (Waiting::Answer(later, course), kept, Ending::after(kept, keeps))
                        }
                        Answered::Stream(streamed) => {
                            let kept = slow::persistence_behind_stream(&request, streamed.extent, kept);
                            (Waiting::Body(streamed, course), kept, Ending::after(kept, keeps))
                        }
                        // There is no body.
                        #[cfg(feature = "bodies")]
                        Answered::Held(_) => return Outcome::Abort,
                        #[cfg(feature = "guests")]
                        Answered::Guest(guest) => {
                            *state = guest::seat(shared, &asked, &mut course, conn, guest, *state);
                            input.advance(end);
                            return Outcome::Guest;
                        }
                    }
                } else {
                    (Waiting::Request, kept, Ending::after(kept, keeps))
                }
            }
        };
        let head = input.split_to(end);
        Outcome::Wait(Box::new(Pending { head, waiting, kept, ending, requests: state.requests, started }))
    }
}

/// Answers a request that the governor rejects; the connection stays where nothing of the request is still to come.
fn come_back(
    shared: &Shared,
    conn: &mut Conn<'_>,
    output: &mut Output,
    request: &Request<'_>,
    kept: Persistence,
    retry_after_s: u32,
) -> Outcome {
    let kept = if request.body().is_empty() { kept } else { Persistence::Close };
    let asked = Asked { request, kept, started: None, protocol: name_of(request.version()) };
    match shared.refuse_for_now(conn, output, Some(&asked), kept, retry_after_s) {
        Err(NoMemory) => Outcome::Abort,
        Ok(()) if matches!(kept, Persistence::Close) => Outcome::Last(true),
        Ok(()) => Outcome::Next,
    }
}

/// Answers a head that could not be read.
fn refuse_head(shared: &Shared, conn: &mut Conn<'_>, output: &mut Output, refusal: Refusal) -> Outcome {
    if shared.refuse_head(conn, output, refusal) { Outcome::Last(true) } else { Outcome::Abort }
}

/// The protocol's name, for logs.
pub(crate) fn name_of(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
    }
}

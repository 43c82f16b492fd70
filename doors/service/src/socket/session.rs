//! A socket at work: what comes is taken apart and handled, what is due is done, turn by turn.

use super::core::{Core, Socket, Tick, WAITING_BYTES_READING};
use super::handler::{Closed, Nobody, SocketHandler};
use super::hub;
use super::link::{ConnLink, Link};
use super::options::Terms;
use super::out::Out;
use ringway_engine::ring::Slice;
use ringway_engine::{Conn, Description, Events, Turn};
use ringway_web::guest::Guest;
use ringway_ws::Role;
use ringway_ws::close::CloseState;
use ringway_ws::code::CloseCode;
use ringway_ws::decoder::{Decoder, Event, Step};
use ringway_ws::deflate::{Agreement, Deflater, Inflater};
use ringway_ws::fault::Fault;
use ringway_ws::frame::Opcode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next one.
    Stay,
    /// The end, once everything is sent; the peer may still be sending.
    End,
    /// The end, at once.
    Abort,
}

/// What has happened since the last turn.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct News {
    pub(super) is_timed_out: bool,
    pub(super) is_nudged: bool,
}

/// A socket with its handler.
pub(super) struct Session {
    handler: Box<dyn SocketHandler>,
    decoder: Decoder,
    pub(super) core: Core,
}

impl Session {
    pub(super) fn new(
        terms: Rc<Terms>,
        role: Role,
        agreement: Option<&Agreement>,
        handler: Box<dyn SocketHandler>,
    ) -> Self {
        let limits = terms.options.limits();
        let mut core = Core::new(Rc::clone(&terms), role);
        let decoder = match agreement {
            None => Decoder::new(role, limits),
            Some(agreement) => {
                let spare = || Rc::clone(&terms.spare);
                let options = terms.options.deflate.unwrap_or_default();
                core.rare().deflater = Some(Deflater::new(role, agreement, &options, spare()));
                Decoder::with_deflate(role, limits, Inflater::new(role, agreement, spare()))
            }
        };
        Self { handler, decoder, core }
    }

    /// One turn.
    pub(super) fn turn(&mut self, link: &mut dyn Link, news: News) -> After {
        let mut out = Out::new(link.queued_bytes());
        let worked = catch_unwind(AssertUnwindSafe(|| self.work(link, &mut out, news)));
        if worked.is_err() {
            self.panicked(link, &mut out);
        }
        out.flush(link);
        let is_full = out.waiting() > WAITING_BYTES_READING;
        let after = self.after(link, out.is_broken, news.is_timed_out || is_full);
        if after == After::Stay {
            self.arm(link);
        }
        after
    }

    fn work(&mut self, link: &mut dyn Link, out: &mut Out, news: News) {
        let now_ms = link.now_ms();
        if !self.core.is_opened {
            self.core.is_opened = true;
            self.core.heard = Tick::at(now_ms);
            self.core.note_message();
            self.handler.opened(&mut Socket { core: &mut self.core, out, link });
        }
        if news.is_nudged {
            self.handler.nudged(&mut Socket { core: &mut self.core, out, link });
        }
        if (hub::has_backlogs() || link.has_inlet()) && !hub::resume(link) {
            self.core.give_up("too slow for its groups");
            return;
        }
        if link.is_draining() && !self.core.is_drained {
            self.core.is_drained = true;
            self.core.close(link, out, Some(CloseCode::GOING_AWAY), "the server goes down");
        }
        self.read(link, out);
        if self.core.wants_room && out.waiting() <= WAITING_BYTES_READING {
            self.core.wants_room = false;
            self.handler.nudged(&mut Socket { core: &mut self.core, out, link });
        }
        if news.is_timed_out {
            self.look_at_the_clock(link, out);
        }
        self.fail_late(link, out);
    }

    /// Handles what has come, as long as there is room for what is sent in answer.
    fn read(&mut self, link: &mut dyn Link, out: &mut Out) {
        let mut kept = 0;
        while self.may_read(link, out) {
            let next = if kept > 0 { link.take_joined(kept) } else { link.take() };
            let Some(mut input) = next else { break };
            if input.len() <= kept {
                link.unread(input);
                break;
            }
            if input.unique_mut().is_none() {
                // Somebody else sees these bytes, so they are unmasked elsewhere.
                match link.pool().copy_of(&input) {
                    Some(copy) => input = copy,
                    None => {
                        self.core.give_up("no memory");
                        break;
                    }
                }
            }
            self.core.heard = Tick::at(link.now_ms());
            self.core.is_pinged = false;
            out.expect(input.len());
            out.lend(&input, input.capacity());
            let consumed = self.feed(link, out, &mut input);
            if let Some(frame) = out.take_in_place() {
                if let Some(bytes) = input.unique_mut() {
                    let at = frame.write(bytes);
                    input.advance(at);
                    link.send(input);
                }
                out.sent_in_place(link);
                kept = 0;
                continue;
            }
            input.advance(consumed);
            kept = input.len();
            if kept > 0 {
                link.unread(input);
            }
        }
        if self.core.close.is_over() {
            // Nobody will read it.
            while link.take().is_some() {}
        }
    }

    fn may_read(&self, link: &mut dyn Link, out: &mut Out) -> bool {
        if self.core.close.is_over() || self.core.is_paused {
            return false;
        }
        if out.waiting() > WAITING_BYTES_READING {
            out.recount(link);
        }
        out.waiting() <= WAITING_BYTES_READING
    }

    /// Handles what is whole in the input; returns how much of it is done with.
    fn feed(&mut self, link: &mut dyn Link, out: &mut Out, input: &mut Slice) -> usize {
        let Some(bytes) = input.unique_mut() else { return 0 };
        let mut at = 0;
        loop {
            let rest = bytes.get_mut(at..).unwrap_or_default();
            let event = match self.decoder.next(rest) {
                Ok(Step::Event { consumed, event }) => {
                    at += consumed;
                    event
                }
                Ok(Step::NeedMore { consumed, .. }) => return at + consumed,
                Err(fault) => {
                    self.failed(link, out, fault);
                    return bytes.len();
                }
            };
            match event {
                Event::Message { message, .. } => {
                    self.core.note_message();
                    self.handler.message(&mut Socket { core: &mut self.core, out, link }, message);
                }
                Event::Ping(payload) => self.core.control(link, out, Opcode::Pong, payload),
                Event::Pong(payload) => {
                    self.handler.pong(&mut Socket { core: &mut self.core, out, link }, payload);
                }
                Event::Close(close) => self.core.received_close(link, out, close),
            }
            if self.core.close.is_over() {
                return bytes.len();
            }
            if !self.may_read(link, out) {
                return at;
            }
        }
    }

    /// The peer broke the protocol. What it had said before is answered first, where the handler is still at it.
    fn failed(&mut self, link: &mut dyn Link, out: &mut Out, fault: Fault) {
        if self.handler.is_behind() {
            let until_ms = link.now_ms().saturating_add(self.core.terms.options.close_ms_max.max(1));
            self.core.rare().fault = Some((fault, until_ms));
        } else {
            self.core.fail(link, out, fault);
        }
    }

    /// Ends the socket for a fault that has waited.
    fn fail_late(&mut self, link: &mut dyn Link, out: &mut Out) {
        let Some((fault, until_ms)) = self.core.rare.as_ref().and_then(|rare| rare.fault) else { return };
        if is_due(until_ms, link.now_ms()) || !self.handler.is_behind() {
            self.core.rare().fault = None;
            self.core.fail(link, out, fault);
        }
    }

    /// The handler has panicked: it is not called again.
    fn panicked(&mut self, link: &mut dyn Link, out: &mut Out) {
        if let Some(told) = &self.core.terms.panicked {
            told();
        }
        let handler = std::mem::replace(&mut self.handler, Box::new(Nobody));
        // What it sent before may lie in an input that is gone.
        let _gone = out.take_in_place();
        out.sent_in_place(link);
        // What it holds may panic once more.
        let _dropped = catch_unwind(AssertUnwindSafe(|| drop(handler)));
        self.core.is_paused = false;
        self.core.close(link, out, Some(CloseCode::INTERNAL), "");
    }

    /// Does what is due.
    fn look_at_the_clock(&mut self, link: &mut dyn Link, out: &mut Out) {
        self.core.armed = Tick::default();
        let now_ms = link.now_ms();
        let core = &mut self.core;
        let rare = core.rare.as_mut();
        if rare.as_ref().is_some_and(|rare| is_due(rare.close_until_ms, now_ms)) {
            core.close = CloseState::Over;
            return;
        }
        if let Some(rare) = rare.filter(|rare| is_due(rare.timeout_ms, now_ms)) {
            rare.timeout_ms = 0;
            self.handler.timeout(&mut Socket { core: &mut self.core, out, link });
        }
        if self.core.is_paused || out.waiting() > WAITING_BYTES_READING {
            // Its signs of life may lie unread.
            self.core.heard = Tick::at(now_ms);
        }
        if is_due(self.pong_due_ms(), now_ms) && self.core.is_pinged {
            self.core.give_up("no answer to a ping");
        } else if is_due(self.ping_due_ms(), now_ms) && !self.core.is_pinged {
            self.core.is_pinged = true;
            self.core.control(link, out, Opcode::Ping, b"");
        }
        if is_due(self.idle_due_ms(), now_ms) {
            self.core.close(link, out, Some(CloseCode::GOING_AWAY), "idle for too long");
        }
    }

    fn ping_due_ms(&self) -> u64 {
        after(self.core.heard, self.core.terms.options.ping_ms)
    }

    fn pong_due_ms(&self) -> u64 {
        let options = &self.core.terms.options;
        if options.ping_ms == 0 { 0 } else { after(self.core.heard, options.ping_ms + options.pong_ms) }
    }

    fn idle_due_ms(&self) -> u64 {
        let spoke = self.core.rare.as_ref().map_or(self.core.heard, |rare| rare.spoke);
        after(spoke, self.core.terms.options.idle_ms_max)
    }

    /// What follows.
    fn after(&mut self, link: &mut dyn Link, is_broken: bool, looks: bool) -> After {
        if is_broken {
            self.core.give_up("no memory");
            return After::Abort;
        }
        if self.core.close.is_over() {
            let is_said = self.core.rare.as_ref().is_some_and(|rare| {
                rare.closed.as_ref().is_none_or(|(code, _)| *code != Closed::ABNORMAL.code)
            });
            return if is_said { After::End } else { After::Abort };
        }
        if link.is_ended() && !self.core.is_paused {
            self.core.give_up("");
            return After::End;
        }
        if self.has_stalled(link, looks) { After::Abort } else { After::Stay }
    }

    /// Whether the peer has taken nothing for too long. Most of what is sent is taken at once, so a look is taken only when
    /// something is due, or much waits; `looks` says so.
    fn has_stalled(&mut self, link: &mut dyn Link, looks: bool) -> bool {
        let window_ms = self.core.terms.options.stall_ms_max;
        if !looks && self.core.rare.as_ref().is_none_or(|rare| rare.stall.is_none()) {
            return false;
        }
        if window_ms == 0 || link.queued_bytes() == 0 {
            if let Some(rare) = &mut self.core.rare {
                rare.stall = None;
            }
            return false;
        }
        let now_ms = link.now_ms();
        let until_ms = now_ms.saturating_add(window_ms);
        match self.core.rare().stall {
            Some((_, look_ms)) if now_ms < look_ms => false,
            Some((before, _)) => {
                let progress = link.progress();
                if !progress.has_moved(before, 1) {
                    self.core.give_up("it reads nothing");
                    return true;
                }
                self.core.rare().stall = Some((progress, until_ms));
                false
            }
            None => {
                let progress = link.progress();
                self.core.rare().stall = Some((progress, until_ms));
                false
            }
        }
    }

    /// Asks for a turn when the next thing is due. One that is set too early is left: it finds nothing and is set anew.
    fn arm(&mut self, link: &mut dyn Link) {
        let pings = if self.core.is_pinged { self.pong_due_ms() } else { self.ping_due_ms() };
        let rare = self.core.rare.as_ref();
        let of_rare = |get: fn(&super::core::Rare) -> u64| rare.map_or(0, |rare| get(rare));
        let due = [
            pings,
            self.idle_due_ms(),
            of_rare(|rare| rare.timeout_ms),
            of_rare(|rare| rare.close_until_ms),
            of_rare(|rare| rare.fault.map_or(0, |(_, until_ms)| until_ms)),
            of_rare(|rare| rare.stall.map_or(0, |(_, look_ms)| look_ms)),
        ];
        let mut next_ms = due.into_iter().filter(|at_ms| *at_ms > 0).min();
        if next_ms.is_none() && link.queued_bytes() > 0 {
            next_ms = Some(link.now_ms().saturating_add(self.core.terms.options.stall_ms_max.max(1)));
        }
        let Some(next_ms) = next_ms else { return };
        // A tick's beginning lies before what is in it.
        let tick = Tick::at(next_ms);
        if self.core.armed == Tick::default() || tick < self.core.armed {
            self.core.armed = tick;
            link.set_deadline(next_ms.max(link.now_ms() + 1));
        }
    }

    /// The connection is gone: the last word to the handler.
    pub(super) fn end(&mut self) {
        let rare = self.core.rare.take().unwrap_or_default();
        if let Some(outlet) = &rare.outlet {
            hub::forget(outlet);
        }
        if !self.core.is_opened {
            return;
        }
        let closed = match &rare.closed {
            Some((code, reason)) => Closed { code: *code, reason },
            None => Closed::ABNORMAL,
        };
        let told = catch_unwind(AssertUnwindSafe(|| self.handler.closed(&closed)));
        if let (Err(_panic), Some(panicked)) = (told, &self.core.terms.panicked) {
            panicked();
        }
    }
}

/// So many milliseconds behind a tick; 0: never.
fn after(tick: Tick, ms: u64) -> u64 {
    if ms == 0 { 0 } else { tick.ms().saturating_add(ms) }
}

fn is_due(at_ms: u64, now_ms: u64) -> bool {
    at_ms > 0 && at_ms <= now_ms
}

/// A session on a connection of its own.
pub(super) struct ConnSession {
    session: Session,
}

impl ConnSession {
    pub(super) fn new(session: Session) -> Self {
        Self { session }
    }
}

impl Guest for ConnSession {
    fn turn(&mut self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let news = News { is_timed_out: events.has(Events::TIMEOUT), is_nudged: events.has(Events::NUDGED) };
        if !self.session.core.is_opened {
            conn.allow_large_receives();
        }
        let after = self.session.turn(&mut ConnLink(conn), news);
        match after {
            After::Stay => Turn::Idle,
            After::Abort => Turn::Abort,
            After::End => {
                let stall_ms = self.session.core.terms.options.stall_ms_max.max(1);
                if conn.is_flushed() {
                    conn.clear_deadline();
                } else {
                    conn.set_deadline(conn.now_ms().saturating_add(stall_ms));
                }
                let is_silent = self.session.core.has_peer_closed || conn.is_ended();
                if is_silent && !conn.has_input() { Turn::Close } else { Turn::Linger }
            }
        }
    }

    fn closed(mut self: Box<Self>) {
        self.session.end();
    }

    fn body_bytes(&self) -> u64 {
        self.session.core.bytes_sent
    }

    fn describe(&self) -> Description {
        let state = match self.session.core.close {
            CloseState::Open => "socket",
            _ => "ending",
        };
        Description { state, ..Description::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_waits_stays_small() {
        // With the connection's record and what finds both it is below 400 bytes a socket.
        assert!(size_of::<Session>() <= 120, "{}", size_of::<Session>());
    }
}

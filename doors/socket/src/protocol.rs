//! A handler at work on connections: what comes is taken apart and handled, what is due is done, turn by turn.

use crate::connection::{Connection, Intent, Work};
use crate::groups;
use crate::handler::{Closed, Handler, HandlerFactory, Reason};
use crate::log::Level;
use crate::outbound::{Connector, Link};
use crate::owner::{Owner, Terms};
use crate::reading;
use crate::remote::Wish;
use crate::stalls;
use crate::state::{self, Facts, Phase, Rare, Tick, Word};
use crate::urgent::{self, News, Urgent};
use ringway_engine::{Conn, Description, DoorKey, Events, Protocol, ProtocolFactory, Turn, WorkerHandle};
use std::any::Any;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// How often a connection is looked at that would be idle, but for what it is sent, in milliseconds.
const IDLE_LOOK_MS: u64 = 1_000;

/// Receives of a connection's own in one turn.
const RECEIVES_PER_TURN: usize = 16;

/// Speaks a handler's protocol on an endpoint of the engine's. One value per worker.
///
/// When an endpoint gets another one, connections that are open stay with the handler that they have; it is dropped with the
/// last of them.
pub struct SocketProtocol {
    owner: Rc<Owner>,
    worker: WorkerHandle,
}

impl SocketProtocol {
    /// A handler with its terms, on the calling worker.
    ///
    /// # Errors
    /// `InvalidInput` for a framing that makes no sense; when the worker has more than a thousand endpoints and replaced
    /// handlers.
    pub fn new(handler: Rc<dyn Handler>, terms: Arc<Terms>, worker: &WorkerHandle) -> io::Result<Self> {
        let tick_ms = handler.tick_ms();
        if terms.urgent != Urgent::Inline {
            urgent::ready(worker)?;
        }
        let owner = Owner::enter(handler, terms)?;
        if tick_ms > 0 {
            worker.spawn(tick(Rc::downgrade(&owner), worker.clone(), tick_ms));
        }
        Ok(Self { owner, worker: worker.clone() })
    }

    /// What makes one on each worker: for [`ringway_engine::Endpoint`].
    #[must_use]
    pub fn factory(handlers: HandlerFactory, terms: Arc<Terms>) -> ProtocolFactory {
        Arc::new(move |worker| {
            let protocol = Self::new(handlers(worker)?, Arc::clone(&terms), worker)?;
            Ok(Rc::new(protocol) as Rc<dyn Protocol>)
        })
    }
}

impl Drop for SocketProtocol {
    fn drop(&mut self) {
        self.owner.retire();
    }
}

impl fmt::Debug for SocketProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketProtocol").field("owner", &self.owner).finish()
    }
}

impl Protocol for SocketProtocol {
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn {
        let [bits, user] = conn.context();
        let word = Word::from_bits(bits);
        let owner = match word.owner {
            0 => Rc::clone(&self.owner),
            place if place == self.owner.place => Rc::clone(&self.owner),
            // It belongs to a handler that was replaced.
            place => match state::owner(place) {
                Some(owner) => owner,
                None => return Turn::Abort,
            },
        };
        let mut work = Work::new(owner, word, user);
        work.owner.note.enter(0);
        let worked = catch_unwind(AssertUnwindSafe(|| work.step(conn, events)));
        stalls::leave(&work.owner, || conn.now_ms());
        if let Err(panic) = worked {
            work.panicked(conn, &*panic);
        }
        work.finish(conn)
    }

    fn closed(&self, context: [u64; 2]) {
        let [bits, user] = context;
        let word = Word::from_bits(bits);
        if word.facts.has(Facts::COUNTED)
            && let Some(owner) = state::owner(word.owner)
        {
            ended(&owner, word, user);
        } else if word.facts.has(Facts::OUTBOUND) && word.rare > 0 {
            // It never came up, as whoever has asked for it hears.
            state::release(word.rare, state::take(word.rare));
        }
    }

    fn placed(&self, door: DoorKey) {
        let owner = &self.owner;
        // The same value may be put at several doors, and there again.
        if let Some(connector) = owner.connector.get() {
            return connector.moved(door);
        }
        let connector = owner.connector.get_or_init(|| Connector::new(&self.worker, door, owner));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| owner.handler.started(connector))) {
            owner.counters.panics.add(1);
            let said = words_of(&*panic);
            owner.log(Level::Error, 0, &|| format!("the handler panicked in started: {said}"));
        }
    }

    fn describe(&self, context: [u64; 2]) -> Description {
        let word = Word::from_bits(context[0]);
        let state = match word.phase {
            _ if word.facts.has(Facts::ENDED) => "ending",
            Phase::Raw => "open",
            Phase::Deciding => "deciding",
            Phase::Upgrading => "upgrading",
            Phase::WebSocket => "socket",
        };
        Description { state, ..Description::default() }
    }
}

/// Calls a handler now and then as long as it gets connections.
async fn tick(owner: Weak<Owner>, worker: WorkerHandle, every_ms: u64) {
    loop {
        worker.sleep_until(worker.now_ms().saturating_add(every_ms)).await;
        let Some(owner) = owner.upgrade().filter(|owner| !owner.is_retired()) else { return };
        owner.note.enter(0);
        let ticked = catch_unwind(AssertUnwindSafe(|| owner.handler.tick(&worker)));
        stalls::leave(&owner, || worker.now_ms());
        if let Err(panic) = ticked {
            owner.counters.panics.add(1);
            let said = words_of(&*panic);
            owner.log(Level::Error, worker.now_ms(), &|| format!("the handler panicked in tick: {said}"));
        }
    }
}

/// A connection of an owner's has ended.
fn ended(owner: &Rc<Owner>, word: Word, user: u64) {
    let rare = state::take(word.rare);
    let reason = rare.as_ref().and_then(|rare| rare.reason);
    let reason = reason.unwrap_or(if word.facts.has(Facts::ENDED) { Reason::Peer } else { Reason::Broken });
    if let Some(rare) = &rare {
        owner.give_back(rare.assembly.len());
        if let Some(remote) = &rare.remote {
            remote.close();
        }
        rare.key.into_iter().for_each(groups::forget);
    }
    if word.rare > 0 {
        state::release(word.rare, rare);
    }
    if reason.is_error() {
        owner.counters.errors.add(1);
    }
    owner.note.enter(0);
    let told = !word.facts.has(Facts::TOLD)
        || catch_unwind(AssertUnwindSafe(|| owner.handler.closed(&Closed { user, reason }))).is_ok();
    let _told_of_and_gone = owner.note.leave();
    if !told {
        owner.counters.panics.add(1);
    }
    owner.lost();
}

impl Work {
    fn new(owner: Rc<Owner>, word: Word, user: u64) -> Self {
        let out = owner.take_out();
        let rare = if word.rare > 0 { state::take(word.rare) } else { None };
        Self {
            owner,
            word,
            user,
            rare,
            out,
            intent: Intent::Stay,
            is_due_new: false,
            is_pause_new: false,
            is_shutting: false,
            task: None,
        }
    }

    /// Lends the connection to the handler.
    pub(crate) fn call(&mut self, conn: &mut Conn<'_>, call: impl FnOnce(&dyn Handler, &mut Connection<'_>)) {
        let owner = Rc::clone(&self.owner);
        call(&*owner.handler, &mut Connection { conn: conn.reborrow(), work: self });
    }

    fn step(&mut self, conn: &mut Conn<'_>, events: Events) {
        let queued = if conn.is_flushed() { 0 } else { conn.queued_bytes() };
        self.out.begin(queued);
        if events.has(Events::OPENED) {
            self.open(conn, events);
        }
        if self.task.is_some() {
            return;
        }
        if conn.is_broken() {
            self.intent = Intent::Close;
            return;
        }
        if events.has(Events::DATA) {
            self.word.heard = Tick::at(conn.now_ms());
        }
        if events.has(Events::NUDGED) {
            self.nudged(conn);
        }
        if groups::has_backlogs() && self.intent == Intent::Stay && !groups::resume(conn) {
            self.end(Intent::Abort, Reason::Full);
        }
        if self.owner.terms.urgent != Urgent::Inline && self.intent == Intent::Stay {
            self.receive_apart(conn, events);
        }
        reading::read(self, conn);
        if events.has(Events::TIMEOUT) {
            self.look_at_the_clock(conn);
        }
        self.look_at_the_end(conn);
        self.look_at_sending(conn);
        self.look_at_draining(conn);
    }

    /// The first turn.
    fn open(&mut self, conn: &mut Conn<'_>, events: Events) {
        let now_ms = conn.now_ms();
        self.word.owner = self.owner.place;
        self.word.heard = Tick::at(now_ms);
        self.word.facts.set(Facts::COUNTED);
        self.owner.gained();
        self.is_due_new = true;
        if events.has(Events::BUSY) {
            self.owner.counters.refused.add(1);
            self.owner.log(Level::Info, now_ms, &|| format!("a connection was refused: {}", Reason::Busy));
            return self.end(Intent::Close, Reason::Busy);
        }
        let is_watched = self.owner.terms.urgent != Urgent::Inline && !conn.is_filtered();
        if is_watched && urgent::watch(conn).is_err() {
            // ENOMEM, or the limit of watches: better no connection than one whose urgent data are lost.
            return self.fail(conn, Intent::Abort, Reason::NoMemory);
        }
        conn.allow_large_receives();
        self.word.phase = reading::first_phase(self, now_ms);
        if self.word.phase == Phase::Raw {
            self.tell_opened(conn);
        }
    }

    /// The handler hears of the connection.
    pub(crate) fn tell_opened(&mut self, conn: &mut Conn<'_>) {
        if !self.word.facts.has(Facts::TOLD) {
            self.word.facts.set(Facts::TOLD);
            if let Some(link) = self.rare.as_ref().and_then(|rare| rare.link.as_ref()) {
                link.came_up(conn.key());
            }
            self.call(conn, |handler, conn| handler.opened(conn));
        }
    }

    /// Receives, where that is this side's part: urgent data are taken out on the way.
    fn receive_apart(&mut self, conn: &mut Conn<'_>, events: Events) {
        // Of what it has received itself the engine tells in another turn, which need not look again.
        let is_own_echo =
            !events.has(Events::NUDGED) && !events.has(Events::OPENED) && !events.has(Events::SENT);
        if is_own_echo || !conn.is_apart() {
            return;
        }
        for _ in 0..RECEIVES_PER_TURN {
            if !reading::may_read(self, conn) || conn.is_ended() {
                return;
            }
            match urgent::receive(conn) {
                News::Urgent(byte) => self.urgent(conn, byte),
                News::Bytes => {
                    self.word.heard = Tick::at(conn.now_ms());
                    reading::read(self, conn);
                }
                News::Nothing => return,
                News::NoMemory => return self.fail(conn, Intent::Abort, Reason::NoMemory),
            }
        }
        // Others have their turn before.
        conn.worker().nudge(conn.key());
    }

    fn urgent(&mut self, conn: &mut Conn<'_>, byte: u8) {
        self.owner.counters.urgent.add(1);
        if self.owner.terms.urgent == Urgent::Abort {
            return self.fail(conn, Intent::Abort, Reason::Urgent);
        }
        self.tell_opened(conn);
        self.call(conn, |handler, conn| handler.urgent(conn, byte));
    }

    /// Somebody elsewhere wants something.
    fn nudged(&mut self, conn: &mut Conn<'_>) {
        let remote = self.rare.as_ref().and_then(|rare| rare.remote.clone());
        let Some(remote) = remote.filter(|_| self.intent == Intent::Stay) else { return };
        for wish in remote.take() {
            self.call(conn, |handler, conn| {
                let sent = match wish {
                    Wish::Send(bytes, false) => conn.send(&bytes),
                    Wish::Send(bytes, true) => conn.send_text(&String::from_utf8_lossy(&bytes)),
                    Wish::Raw(bytes) => conn.send_raw(&bytes),
                    Wish::Shut => return conn.shut_down_write(),
                    Wish::Close => return conn.close(),
                    Wish::Abort => return conn.abort(),
                    Wish::Nudge => return handler.nudged(conn),
                };
                if sent == Err(crate::SendError::Full) {
                    // Who sent it is not there to hear of it.
                    conn.work.end(Intent::Abort, Reason::Full);
                }
            });
        }
    }

    /// All that the peer has sent was handled, and it has ended.
    fn look_at_the_end(&mut self, conn: &mut Conn<'_>) {
        let is_over = conn.is_ended()
            && self.intent == Intent::Stay
            && !self.word.facts.has(Facts::ENDED)
            && !self.word.facts.has(Facts::PAUSED);
        if !is_over {
            return;
        }
        let is_cut = self.rare.as_ref().is_some_and(|rare| rare.began_ms > 0);
        // What is whole and waits for room is handled first.
        if conn.has_input() && !is_cut {
            return;
        }
        self.word.facts.set(Facts::ENDED);
        self.tell_opened(conn);
        if self.word.phase == Phase::WebSocket {
            // It has no halves, and has not said that it closes.
            self.end(Intent::Close, Reason::WebSocket(1006));
        } else if is_cut {
            self.fail(conn, Intent::Close, Reason::CutOff);
        } else if self.intent == Intent::Stay {
            self.call(conn, |handler, conn| handler.ended(conn));
        }
    }

    fn look_at_sending(&mut self, conn: &mut Conn<'_>) {
        if self.intent == Intent::Stay && self.rare.as_ref().is_some_and(|rare| rare.wants_sent) {
            self.out.flush(conn);
            if conn.is_flushed() {
                self.rare().wants_sent = false;
                self.call(conn, |handler, conn| handler.written(conn));
            }
        }
    }

    fn look_at_draining(&mut self, conn: &mut Conn<'_>) {
        // One that is made anew and again would keep a handler for ever that was replaced.
        let link = self.rare.as_ref().and_then(|rare| rare.link.as_ref());
        let is_given_up = self.owner.is_retired() && link.is_some_and(Link::is_maintained);
        let is_over = is_given_up || conn.is_draining();
        if self.intent != Intent::Stay || self.word.facts.has(Facts::DRAINED) || !is_over {
            return;
        }
        let is_between = self.rare.as_ref().is_none_or(|rare| rare.began_ms == 0);
        if is_between && self.word.facts.has(Facts::TOLD) {
            self.word.facts.set(Facts::DRAINED);
            self.call(conn, |handler, conn| handler.draining(conn));
        } else if !self.word.facts.has(Facts::TOLD) {
            self.end(Intent::Close, Reason::Handler);
        }
    }

    /// Does what is due.
    fn look_at_the_clock(&mut self, conn: &mut Conn<'_>) {
        let now_ms = conn.now_ms();
        let limits = self.owner.terms.limits;
        self.is_due_new = true;
        let rare = self.rare.as_deref();
        let is_due = |at_ms: u64| at_ms > 0 && at_ms <= now_ms;
        if rare.is_some_and(|rare| is_due(rare.phase_until_ms)) {
            reading::phase_is_over(self, conn);
        }
        if self.rare.as_ref().is_some_and(|rare| is_due(rare.timeout_ms)) && self.intent == Intent::Stay {
            self.rare().timeout_ms = 0;
            self.owner.counters.timeouts.add(1);
            self.call(conn, |handler, conn| handler.timeout(conn));
        }
        if self.intent != Intent::Stay {
            return;
        }
        let began_ms = self.rare.as_ref().map_or(0, |rare| rare.began_ms);
        let is_reading = !self.word.facts.has(Facts::PAUSED) && self.has_room();
        if limits.read_ms_max > 0 && began_ms > 0 && is_due(began_ms + limits.read_ms_max) && is_reading {
            self.owner.counters.timeouts.add(1);
            return self.fail(conn, Intent::Abort, Reason::Slow);
        }
        if limits.idle_ms_max > 0
            && self.word.heard.age_ms(now_ms) >= limits.idle_ms_max
            && self.is_quiet(conn)
        {
            self.owner.counters.timeouts.add(1);
            return self.idle(conn);
        }
        if self.word.facts.has(Facts::WATCHED) {
            self.look_at_progress(conn);
        }
    }

    /// Whether nothing is on its way to the peer either: one that takes what is sent is not idle, nor is one that its handler does
    /// not listen to.
    fn is_quiet(&self, conn: &mut Conn<'_>) -> bool {
        let is_heard = !self.word.facts.has(Facts::PAUSED);
        is_heard && (self.out.waiting() == 0 || conn.is_flushed())
    }

    /// Nothing has come for too long.
    fn idle(&mut self, conn: &mut Conn<'_>) {
        #[cfg(feature = "websockets")]
        if self.word.phase == Phase::WebSocket && self.may_send() {
            self.rare().reason = Some(Reason::Idle);
            let code = ringway_ws::code::CloseCode::GOING_AWAY;
            return crate::websocket::begin_close(self, conn, code, "idle for too long");
        }
        self.fail(conn, Intent::Close, Reason::Idle);
    }

    /// Whether the peer takes what is sent.
    fn look_at_progress(&mut self, conn: &mut Conn<'_>) {
        if conn.is_flushed() {
            self.word.facts.clear(Facts::WATCHED);
            if let Some(rare) = &mut self.rare {
                rare.progress = None;
            }
            return;
        }
        let (now_ms, now) = (conn.now_ms(), conn.send_progress());
        let stall_ms = self.owner.terms.limits.stall_ms_max;
        match self.rare().progress {
            Some((before, at_ms)) if !now.has_moved(before, 1) => {
                if now_ms >= at_ms.saturating_add(stall_ms) {
                    self.owner.counters.timeouts.add(1);
                    self.fail(conn, Intent::Abort, Reason::Stalled);
                }
            }
            _ => self.rare().progress = Some((now, now_ms)),
        }
    }

    /// The connection ends for what went wrong, which is told in the log.
    pub(crate) fn fail(&mut self, conn: &mut Conn<'_>, intent: Intent, reason: Reason) {
        self.end(intent, reason);
        if matches!(reason, Reason::Framing(_) | Reason::Upgrade) {
            self.owner.counters.faults.add(1);
        }
        let level = match reason {
            Reason::Panicked | Reason::NoMemory | Reason::Framing(crate::FramingFault::Measure) => {
                Level::Error
            }
            Reason::Idle => return,
            _ => Level::Info,
        };
        let peer = conn.peer();
        let told = || match peer {
            Some(peer) => format!("the connection of {peer} is closed: {reason}"),
            None => format!("a connection is closed: {reason}"),
        };
        self.owner.log(level, conn.now_ms(), &told);
    }

    /// The handler panicked: it is not called again for this connection, but for its end.
    fn panicked(&mut self, conn: &mut Conn<'_>, panic: &(dyn Any + Send)) {
        self.owner.counters.panics.add(1);
        self.out.clear();
        self.end(Intent::Abort, Reason::Panicked);
        let (peer, said) = (conn.peer(), words_of(panic));
        let told = || match peer {
            Some(peer) => format!("the handler panicked; the connection of {peer} is reset: {said}"),
            None => format!("the handler panicked; its connection is reset: {said}"),
        };
        self.owner.log(Level::Error, conn.now_ms(), &told);
    }

    /// Sends what the turn has made and keeps what is to be kept.
    fn finish(mut self, conn: &mut Conn<'_>) -> Turn {
        if self.intent == Intent::Abort {
            self.out.clear();
        } else {
            self.out.flush(conn);
        }
        if self.out.is_broken {
            self.end(Intent::Abort, Reason::NoMemory);
        }
        if self.out.sent > 0 {
            self.owner.counters.bytes_out.add(self.out.sent);
        }
        if self.is_shutting && self.intent == Intent::Stay {
            conn.shut_write();
        }
        if self.intent == Intent::Stay {
            self.look_ahead(conn);
        }
        let turn = self.turn(conn);
        let Self { owner, mut word, user, rare, out, .. } = self;
        owner.put_out(out);
        let is_kept = keep(&mut word, rare);
        conn.set_context([word.bits(), user]);
        if is_kept { turn } else { Turn::Abort }
    }

    /// Asks for another turn where nothing else would bring it: sending that ends at once tells nobody, and input that was left
    /// for the handler's sake is there already.
    fn look_ahead(&self, conn: &mut Conn<'_>) {
        let wants_sent = self.rare.as_ref().is_some_and(|rare| rare.wants_sent);
        let mut is_due = wants_sent && self.out.sent > 0 && conn.is_flushed();
        if self.is_pause_new {
            let is_paused = self.word.facts.has(Facts::PAUSED);
            let is_apart = self.owner.terms.urgent != Urgent::Inline && conn.is_apart();
            if !is_apart {
                conn.pause(is_paused);
            }
            is_due |= !is_paused && (is_apart || conn.has_input() || conn.is_ended());
        }
        if is_due {
            conn.worker().nudge(conn.key());
        }
    }

    fn turn(&mut self, conn: &mut Conn<'_>) -> Turn {
        let stall_ms = self.owner.terms.limits.stall_ms_max;
        if let Some(task) = self.task.take().filter(|_| self.intent == Intent::Stay) {
            conn.clear_deadline();
            return task;
        }
        match self.intent {
            Intent::Abort => Turn::Abort,
            Intent::Stay => {
                self.arm(conn);
                Turn::Idle
            }
            Intent::Close => {
                if conn.is_flushed() || stall_ms == 0 {
                    conn.clear_deadline();
                } else {
                    conn.set_deadline(conn.now_ms().saturating_add(stall_ms));
                }
                if conn.is_ended() { Turn::Close } else { Turn::Linger }
            }
        }
    }

    /// Asks for a turn when the next thing is due. One that is set too early is left: it finds nothing and is set anew.
    fn arm(&mut self, conn: &mut Conn<'_>) {
        let limits = self.owner.terms.limits;
        if limits.stall_ms_max > 0 && !self.word.facts.has(Facts::WATCHED) && !conn.is_flushed() {
            self.word.facts.set(Facts::WATCHED);
            self.is_due_new = true;
        }
        if !self.is_due_new {
            return;
        }
        let now_ms = conn.now_ms();
        // Where it is over already, something else keeps the connection: that is looked at now and then.
        let idle_ms = match limits.idle_ms_max.saturating_sub(self.word.heard.age_ms(now_ms)) {
            0 => limits.idle_ms_max.min(IDLE_LOOK_MS),
            left_ms => left_ms,
        };
        let watched = limits.stall_ms_max > 0 && self.word.facts.has(Facts::WATCHED);
        let rare = self.rare.as_deref();
        let after = |limit_ms: u64, from_ms: u64| {
            if limit_ms == 0 || from_ms == 0 { 0 } else { from_ms.saturating_add(limit_ms) }
        };
        let due = [
            after(if limits.idle_ms_max == 0 { 0 } else { idle_ms }, now_ms.max(1)),
            after(if watched { limits.stall_ms_max } else { 0 }, now_ms.max(1)),
            rare.map_or(0, |rare| after(limits.read_ms_max, rare.began_ms)),
            rare.map_or(0, |rare| rare.timeout_ms),
            rare.map_or(0, |rare| rare.phase_until_ms),
        ];
        let Some(next_ms) = due.into_iter().filter(|at_ms| *at_ms > 0).min() else { return };
        let next_ms = next_ms.max(now_ms + 1);
        if conn.deadline_ms().is_none_or(|armed_ms| next_ms < armed_ms) {
            conn.set_deadline(next_ms);
        }
    }
}

/// Puts what a connection keeps back into the room; false when that is full.
fn keep(word: &mut Word, rare: Option<Box<Rare>>) -> bool {
    match rare {
        Some(rare) if !rare.is_idle() => match state::keep(word.rare, rare) {
            Some(place) => {
                word.rare = place;
                true
            }
            None => false,
        },
        rare => {
            if word.rare > 0 || rare.is_some() {
                state::release(std::mem::take(&mut word.rare), rare);
            }
            true
        }
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|said| (*said).to_owned());
    said.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

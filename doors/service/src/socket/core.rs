//! A socket as its handler sees it: what it sends, whom it belongs to, how it closes.

use super::group::Group;
use super::hub::{Backlog, Membership};
use super::link::Link;
use super::options::Terms;
use super::out::{NoMemory, Out};
use ringway_engine::{ConnKey, SendProgress, WorkerHandle};
use ringway_ws::close::{self, Close, CloseState};
use ringway_ws::code::CloseCode;
use ringway_ws::decoder::Message;
use ringway_ws::deflate::Deflater;
use ringway_ws::fault::Fault;
use ringway_ws::frame::{CONTROL_BYTES_MAX, Head, Opcode};
use ringway_ws::{Role, encoder};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::thread::{self, ThreadId};

/// Bytes that may wait while the peer's messages are still taken.
pub(super) const WAITING_BYTES_READING: usize = 16 * 1024;

/// Memory for compressed messages that a route's sockets keep between them, in bytes.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// Groups that one socket belongs to at most.
pub const GROUPS_MAX: usize = 1024;

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The socket is closing or closed.
    Closed,
    /// Too much waits to be sent ([`super::SocketOptions::queue_bytes_max`]): the peer reads too slowly.
    Full,
    /// The worker's memory for slices is at its limit.
    NoMemory,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "the socket is closed",
            Self::Full => "too much waits to be sent",
            Self::NoMemory => "no memory for slices",
        })
    }
}

impl std::error::Error for SendError {}

impl From<NoMemory> for SendError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// By what a session is reached from outside of its turns.
#[derive(Clone, Debug)]
pub(super) enum Outlet {
    /// A connection of its own.
    Conn(ConnKey),
    /// A session that a task drives.
    Task(Rc<Inlet>),
}

/// What waits for a session that a task drives.
#[derive(Debug, Default)]
pub(super) struct Inlet {
    /// What its groups have sent it.
    pub(super) backlog: RefCell<Backlog>,
    pub(super) is_nudged: Cell<bool>,
    pub(super) waker: RefCell<Option<Waker>>,
}

impl Inlet {
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether anything waits in it.
    pub(super) fn has_news(&self) -> bool {
        self.is_nudged.get() || !self.backlog.borrow().is_empty()
    }

    pub(super) fn listen(&self, waker: &Waker) {
        let mut kept = self.waker.borrow_mut();
        if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
            *kept = Some(waker.clone());
        }
    }
}

/// Names a socket of this process. It never means another one, even when the socket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketId {
    thread: ThreadId,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Conn(ConnKey),
    /// Where its inlet lies, which lives as long as it.
    Task(usize),
}

impl SocketId {
    pub(super) fn of(outlet: &Outlet) -> Self {
        let place = match outlet {
            Outlet::Conn(key) => Place::Conn(*key),
            Outlet::Task(inlet) => Place::Task(Rc::as_ptr(inlet) as usize),
        };
        Self { thread: thread::current().id(), place }
    }

    /// Whether it is a socket of this worker's.
    pub(super) fn is_here(self) -> bool {
        self.thread == thread::current().id()
    }

    /// Whether it is the one that is reached there, on the same worker.
    pub(super) fn is_at(self, outlet: &Outlet) -> bool {
        match (self.place, outlet) {
            (Place::Conn(own), Outlet::Conn(key)) => own == *key,
            (Place::Task(own), Outlet::Task(inlet)) => own == Rc::as_ptr(inlet) as usize,
            _ => false,
        }
    }
}

/// Asks for a call of a socket's handler, from anywhere on its worker.
#[derive(Clone, Debug)]
pub struct Nudge {
    worker: WorkerHandle,
    outlet: Outlet,
}

impl Nudge {
    /// [`super::SocketHandler::nudged`] is called soon. Several before that are one. Nothing happens when the socket has ended.
    pub fn nudge(&self) {
        match &self.outlet {
            Outlet::Conn(key) => self.worker.nudge(*key),
            Outlet::Task(inlet) => {
                inlet.is_nudged.set(true);
                inlet.wake();
            }
        }
    }
}

/// Time in units of 16 ms: two years of a worker's life in half a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u32);

impl Tick {
    const SHIFT: u32 = 4;

    pub(super) fn at(now_ms: u64) -> Self {
        Self(u32::try_from(now_ms >> Self::SHIFT).unwrap_or(u32::MAX))
    }

    pub(super) fn ms(self) -> u64 {
        u64::from(self.0) << Self::SHIFT
    }
}

/// What is rarely there: kept apart so that sockets that wait stay small.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) deflater: Option<Deflater>,
    pub(super) memberships: Vec<Membership>,
    /// By what its groups reach it; since it first joined one.
    pub(super) outlet: Option<Outlet>,
    /// When a message was last heard, where that matters.
    pub(super) spoke: Tick,
    /// When the handler wants to be called; 0: never.
    pub(super) timeout_ms: u64,
    /// When the peer's close frame must have come; 0: it is not waited for.
    pub(super) close_until_ms: u64,
    /// A fault of the peer that waits until the handler has done what came before it, and how long it does.
    pub(super) fault: Option<(Fault, u64)>,
    /// How far sending had come, and when that is looked at again.
    pub(super) stall: Option<(SendProgress, u64)>,
    /// How the socket has ended.
    pub(super) closed: Option<(u16, Box<str>)>,
    /// What messages are masked with.
    pub(super) keys: Option<Keys>,
}

/// Keys for the frames of clients: fresh, and from the kernel, a few hundred at a time.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
}

impl Keys {
    const BYTES: usize = 512;

    /// The next one; `None` when the kernel has none to give.
    fn next(&mut self) -> Option<[u8; 4]> {
        if self.bytes.len() < 4 {
            let mut fresh = vec![0; Self::BYTES];
            let count = rustix::rand::getrandom(&mut fresh, rustix::rand::GetRandomFlags::empty()).ok()?;
            fresh.truncate(count);
            self.bytes = fresh;
        }
        let at = self.bytes.len().checked_sub(4)?;
        let key = self.bytes.get(at..)?.try_into().ok()?;
        self.bytes.truncate(at);
        Some(key)
    }
}

/// A socket's state, but for what takes its input apart and its handler.
pub(super) struct Core {
    pub(super) terms: Rc<Terms>,
    pub(super) rare: Option<Box<Rare>>,
    pub(super) bytes_sent: u64,
    /// When anything was last heard of the peer.
    pub(super) heard: Tick,
    pub(super) armed: Tick,
    pub(super) close: CloseState,
    pub(super) role: Role,
    pub(super) is_opened: bool,
    pub(super) is_pinged: bool,
    pub(super) is_drained: bool,
    /// The peer has said that it closes: nothing follows.
    pub(super) has_peer_closed: bool,
    /// The handler takes no messages for now.
    pub(super) is_paused: bool,
    /// The handler wants to be called when there is room again.
    pub(super) wants_room: bool,
}

impl Core {
    pub(super) fn new(terms: Rc<Terms>, role: Role) -> Self {
        Self {
            terms,
            rare: None,
            bytes_sent: 0,
            heard: Tick::default(),
            armed: Tick::default(),
            close: CloseState::Open,
            role,
            is_opened: false,
            is_pinged: false,
            is_drained: false,
            has_peer_closed: false,
            is_paused: false,
            wants_room: false,
        }
    }

    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(Box::default)
    }

    /// How long the other end's close is waited for, in milliseconds.
    pub(super) fn close_ms(&self) -> u64 {
        self.terms.options.close_ms_max.max(1)
    }

    /// A message was heard.
    pub(super) fn note_message(&mut self) {
        if self.terms.options.idle_ms_max > 0 {
            self.rare().spoke = self.heard;
        }
    }

    /// What the next frame is masked with; `Err` where it must be and cannot.
    fn key(&mut self) -> Result<Option<[u8; 4]>, NoMemory> {
        match self.role {
            Role::Server => Ok(None),
            Role::Client => {
                let keys = self.rare().keys.get_or_insert_with(Keys::default);
                keys.next().map(Some).ok_or(NoMemory)
            }
        }
    }

    /// Sends a message.
    pub(super) fn send(
        &mut self,
        link: &mut dyn Link,
        out: &mut Out,
        message: Message<'_>,
    ) -> Result<(), SendError> {
        if !self.close.may_send() {
            return Err(SendError::Closed);
        }
        let payload = message.as_bytes();
        let queue_max = self.terms.options.queue_bytes_max;
        if out.waiting() + payload.len() > queue_max {
            out.recount(link);
            // One message may be as long as it likes when nothing waits.
            if out.waiting() > 0 && out.waiting() + payload.len() > queue_max {
                return Err(SendError::Full);
            }
        }
        let key = self.key()?;
        let deflater = self.rare.as_mut().and_then(|rare| rare.deflater.as_mut());
        if let Some(deflater) = deflater {
            let mut frame = self.terms.scratch.take();
            frame.clear();
            encoder::message(message.kind(), payload, key, deflater, &mut frame);
            self.bytes_sent += frame.len() as u64;
            let sent = out.bytes(link, &frame);
            if frame.capacity() <= SCRATCH_BYTES_KEPT {
                self.terms.scratch.replace(frame);
            }
            return Ok(sent?);
        }
        let head = Head { key, ..Head::of_server(message.kind().into(), payload.len()) };
        self.bytes_sent += payload.len() as u64;
        Ok(out.frame(link, &head, payload)?)
    }

    /// Sends a ping or a pong.
    pub(super) fn control(&mut self, link: &mut dyn Link, out: &mut Out, opcode: Opcode, payload: &[u8]) {
        if !self.close.may_send() {
            return;
        }
        let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
        let Ok(key) = self.key() else { return };
        let head = Head { key, ..Head::of_server(opcode, payload.len()) };
        self.bytes_sent += payload.len() as u64;
        // At the pool's limit it is left away: the peer asks again.
        let _no_memory = out.frame(link, &head, payload);
    }

    /// Begins to close, once.
    pub(super) fn close(
        &mut self,
        link: &mut dyn Link,
        out: &mut Out,
        code: Option<CloseCode>,
        reason: &str,
    ) {
        let is_asked = self.close == CloseState::Received;
        if !self.close.close() {
            return;
        }
        if !is_asked {
            let until_ms = link.now_ms().saturating_add(self.close_ms());
            self.rare().close_until_ms = until_ms;
            self.note_closed(code.map_or(1005, CloseCode::get), reason);
        }
        self.say_close(link, out, &Close { code, reason });
    }

    /// The peer has said that it closes; its frame is answered.
    pub(super) fn received_close(&mut self, link: &mut dyn Link, out: &mut Out, close: Close<'_>) {
        self.has_peer_closed = true;
        self.note_closed(close.code.map_or(1005, CloseCode::get), close.reason);
        if let Some(answer) = self.close.received(&close) {
            self.close(link, out, answer.code, answer.reason);
        }
    }

    /// The peer broke the protocol.
    pub(super) fn fail(&mut self, link: &mut dyn Link, out: &mut Out, fault: Fault) {
        self.note_closed(fault.code().get(), fault.reason());
        if let Some(close) = self.close.fail(fault) {
            self.say_close(link, out, &close);
        }
    }

    /// The connection is over without a word.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.note_closed(1006, reason);
        self.close = CloseState::Over;
    }

    fn note_closed(&mut self, code: u16, reason: &str) {
        let rare = self.rare();
        if rare.closed.is_none() {
            rare.closed = Some((code, close::cut(reason).into()));
        }
    }

    fn say_close(&mut self, link: &mut dyn Link, out: &mut Out, said: &Close<'_>) {
        let Ok(key) = self.key() else { return };
        let mut frame = [0; close::CONTROL_FRAME_BYTES_MAX];
        let len = close::write(&mut frame, said, key);
        self.bytes_sent += len as u64;
        // Without memory the end of the connection has to say it.
        let _no_memory = out.bytes(link, &frame[..len]);
    }
}

/// A socket, lent to its handler for one call. Nothing here blocks or waits.
pub struct Socket<'s> {
    pub(super) core: &'s mut Core,
    pub(super) out: &'s mut Out,
    pub(super) link: &'s mut (dyn Link + 's),
}

impl Socket<'_> {
    /// Sends a message behind what was sent before. It leaves when the handler has handled all that had come.
    ///
    /// # Errors
    /// [`SendError`]: nothing of it was sent then.
    pub fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.core.send(&mut *self.link, self.out, message)
    }

    /// Sends a text: see [`Socket::send`].
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send(Message::Text(text))
    }

    /// Sends bytes: see [`Socket::send`].
    ///
    /// # Errors
    /// As [`Socket::send`].
    pub fn send_binary(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        self.send(Message::Binary(bytes))
    }

    /// Asks the peer for a sign of life; [`super::SocketHandler::pong`] hears of it. Only 125 bytes are sent.
    pub fn ping(&mut self, payload: &[u8]) {
        self.core.control(&mut *self.link, self.out, Opcode::Ping, payload);
    }

    /// Closes: nothing can be sent any more, what the peer has sent is still received until it closes too, for a limited
    /// time. A reason is cut at 123 bytes.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        self.core.close(&mut *self.link, self.out, Some(code), reason);
    }

    /// Whether it takes messages to send.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.core.close.may_send()
    }

    /// Its name in this process.
    #[must_use]
    pub fn id(&self) -> SocketId {
        SocketId::of(&self.link.outlet())
    }

    /// Bytes that wait to be sent, at most.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.out.waiting()
    }

    /// Becomes a member of a group; nothing happens when it is one. `false`: it belongs to [`GROUPS_MAX`] already, or this side
    /// has opened it.
    pub fn join(&mut self, group: &Group) -> bool {
        if self.core.role == Role::Client {
            return false;
        }
        let outlet = self.link.outlet();
        let rare = self.core.rare();
        rare.outlet.get_or_insert_with(|| outlet.clone());
        let memberships = &mut rare.memberships;
        if memberships.iter().any(|membership| membership.is_of(group)) {
            return true;
        }
        if memberships.len() >= GROUPS_MAX {
            return false;
        }
        memberships.push(Membership::new(group, outlet, &self.link.worker()));
        true
    }

    /// Leaves a group; `false` when it was no member.
    pub fn leave(&mut self, group: &Group) -> bool {
        let Some(rare) = &mut self.core.rare else { return false };
        let place = rare.memberships.iter().position(|membership| membership.is_of(group));
        place.map(|place| rare.memberships.swap_remove(place)).is_some()
    }

    /// Asks for [`super::SocketHandler::timeout`] in so many milliseconds, once; replaces what was asked for before. 0: never.
    pub fn set_timeout(&mut self, in_ms: u64) {
        let at_ms = if in_ms == 0 { 0 } else { self.link.now_ms().saturating_add(in_ms) };
        if at_ms > 0 || self.core.rare.is_some() {
            self.core.rare().timeout_ms = at_ms;
        }
    }

    /// Takes no messages until [`Socket::resume`]; what comes meanwhile waits, and the peer with it. Pings are not answered
    /// then.
    pub fn pause(&mut self) {
        self.core.is_paused = true;
    }

    /// Takes messages again.
    pub fn resume(&mut self) {
        self.core.is_paused = false;
    }

    /// Asks for [`super::SocketHandler::nudged`] when most of what waits to be sent has gone.
    pub fn call_when_sent(&mut self) {
        self.core.wants_room = true;
    }

    /// What asks for a call of its handler later.
    #[must_use]
    pub fn nudge(&self) -> Nudge {
        Nudge { worker: self.link.worker(), outlet: self.link.outlet() }
    }

    /// The worker it lives on.
    #[must_use]
    pub fn worker(&self) -> WorkerHandle {
        self.link.worker()
    }

    /// The worker's clock in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.link.now_ms()
    }
}

impl fmt::Debug for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_half_a_word_is_never_late_by_more_than_a_tick() {
        for ms in [0, 1, 15, 16, 17, 1_000_000, 63_072_000_000] {
            let back = Tick::at(ms).ms();
            assert!(back <= ms && ms - back < 16, "{ms}");
        }
    }

    #[test]
    fn keys_differ_and_do_not_end() {
        let mut keys = Keys::default();
        let many: std::collections::HashSet<_> =
            (0..1_000).map(|_| keys.next().expect("the kernel has some")).collect();
        assert!(many.len() > 990);
    }
}

//! A connection as its handler sees it, lent for one call.

use crate::counters::WorkerCounters;
use crate::dress::Dress;
use crate::groups::{Group, MemberDress, Membership};
use crate::handler::{Reason, SendError};
use crate::message::Message;
use crate::out::Out;
use crate::outbound::Connector;
use crate::owner::Owner;
use crate::remote::{Remote, Sender};
use crate::state::{self, Facts, Phase, Rare, Word};
use ringway_engine::ring::{Handle, Pool, Slice};
use ringway_engine::{Conn, ConnKey, DoorKey, Session, Stream, Turn, WorkerHandle};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, ThreadId};

/// Groups that one connection belongs to at most.
pub const GROUPS_MAX: usize = 1024;

/// What follows a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Intent {
    /// The next one.
    #[default]
    Stay,
    /// The end, once everything is sent.
    Close,
    /// The end, at once.
    Abort,
}

/// A connection's state during a turn.
pub(crate) struct Work {
    pub(crate) owner: Rc<Owner>,
    pub(crate) word: Word,
    pub(crate) user: u64,
    pub(crate) rare: Option<Box<Rare>>,
    pub(crate) out: Box<Out>,
    pub(crate) intent: Intent,
    /// Something has become due earlier than it was: the deadline is looked at.
    pub(crate) is_due_new: bool,
    /// The handler's wish to take messages or not has changed.
    pub(crate) is_pause_new: bool,
    /// The end of what is sent is to follow.
    pub(crate) is_shutting: bool,
    /// A task has the connection from here on.
    pub(crate) task: Option<Turn>,
}

impl Work {
    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_with(state::fresh)
    }

    /// The connection ends for a reason; the first one counts.
    pub(crate) fn end(&mut self, intent: Intent, reason: Reason) {
        self.rare().reason.get_or_insert(reason);
        if self.intent != Intent::Abort {
            self.intent = intent;
        }
    }

    /// Whether so little waits to be sent that the peer's messages are taken.
    pub(crate) fn has_room(&self) -> bool {
        let most = self.owner.terms.limits.queue_bytes_max;
        self.out.waiting() <= crate::reading::WAITING_BYTES_MAX.min(most)
    }

    pub(crate) fn may_send(&self) -> bool {
        self.intent == Intent::Stay && !self.word.facts.has(Facts::SHUT)
    }
}

/// How a connection frames what it sends.
fn dress_of(owner: &Owner, word: Word, is_text: bool) -> Dress<'_> {
    let _for_websockets = is_text;
    match word.phase {
        #[cfg(feature = "websockets")]
        Phase::WebSocket => Dress::Socket { is_text },
        _ => Dress::Raw(owner.terms.framing.raw()),
    }
}

/// Names a connection of this process. It never means another one, even when the connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    thread: ThreadId,
    key: ConnKey,
}

impl ConnectionId {
    /// Its name on its worker, if that is the calling thread's.
    pub(crate) fn here(self) -> Option<ConnKey> {
        (self.thread == thread::current().id()).then_some(self.key)
    }
}

/// A connection, lent to its handler for one call. Nothing here blocks or waits; what is sent leaves when the handler has handled
/// all that had come.
pub struct Connection<'c> {
    pub(crate) conn: Conn<'c>,
    pub(crate) work: &'c mut Work,
}

impl Connection<'_> {
    /// Sends a message behind what was sent before, framed as the endpoint's are: with its length, its delimiter, as a message
    /// of bytes on a WebSocket.
    ///
    /// # Errors
    /// [`SendError`]: nothing of it was sent then.
    pub fn send(&mut self, payload: &[u8]) -> Result<(), SendError> {
        self.send_kind(payload, false)
    }

    /// Sends a message that is a text on a WebSocket, and as any other elsewhere.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.send_kind(text.as_bytes(), true)
    }

    /// Sends bytes as they are, without a frame. On a WebSocket they are a message.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), SendError> {
        if self.work.word.phase == Phase::WebSocket {
            return self.send(bytes);
        }
        self.admit(bytes.len())?;
        self.work.owner.trace(&mut self.conn, false, bytes);
        let pool = self.conn.pool();
        let sent = self.work.out.bytes(bytes, &pool);
        self.noted(sent)
    }

    /// Sends a message whose payload is a slice; long ones are not copied.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_slice(&mut self, payload: Slice) -> Result<(), SendError> {
        self.admit(payload.len())?;
        self.work.owner.trace(&mut self.conn, false, &payload);
        let pool = self.conn.pool();
        let sent = self.around(payload.len() as u64, &pool, |out| out.slice(payload, &pool));
        self.noted(sent)
    }

    /// Sends a message whose payload is `bytes` of a file from `offset`. A file that turns out shorter resets the connection.
    ///
    /// # Errors
    /// As [`Connection::send`]; the length of what waits is not looked at.
    pub fn send_file(&mut self, file: Handle, offset: u64, bytes: u64) -> Result<(), SendError> {
        self.admit(0)?;
        let pool = self.conn.pool();
        let sent = self.around(bytes, &pool, |out| {
            out.file(file, offset, bytes, &pool);
            Ok(())
        });
        self.noted(sent)
    }

    /// Answers a message in its own memory, with its frame: what was received is sent from where it lies, and answers to messages
    /// that came together leave as one.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn reply(&mut self, message: Message<'_>) -> Result<(), SendError> {
        self.admit(message.len())?;
        let pool = self.conn.pool();
        let Work { owner, word, out, .. } = &mut *self.work;
        owner.trace(&mut self.conn, false, message.payload());
        let reply = message.into_reply();
        let dress = dress_of(owner, *word, reply.is_text);
        let sent = out.reply(reply, dress, &pool);
        self.noted(sent)
    }

    /// Ends what is sent when all before it is: the peer sees the end of the stream, and may go on sending. On a WebSocket this
    /// closes.
    pub fn shut_down_write(&mut self) {
        if self.work.word.phase == Phase::WebSocket {
            self.close();
        } else if self.work.may_send() {
            self.work.word.facts.set(Facts::SHUT);
            self.work.is_shutting = true;
        }
    }

    /// Closes when everything is sent. What the peer has sent and still sends is discarded.
    pub fn close(&mut self) {
        if self.work.intent != Intent::Stay {
            return;
        }
        #[cfg(feature = "websockets")]
        if self.work.word.phase == Phase::WebSocket {
            let is_leaving = self.conn.is_draining();
            let code = ringway_ws::code::CloseCode::NORMAL;
            let code = if is_leaving { ringway_ws::code::CloseCode::GOING_AWAY } else { code };
            crate::websocket::close(self, code, "");
            return;
        }
        let is_peers = self.work.word.facts.has(Facts::ENDED);
        if is_peers {
            self.work.intent = Intent::Close;
        } else {
            self.work.end(Intent::Close, Reason::Handler);
        }
    }

    /// Closes a WebSocket with a code (RFC 6455 section 7.4; one that may not be sent means 1000) and a reason, of which 123
    /// bytes are sent; elsewhere just closes.
    pub fn close_with(&mut self, code: u16, reason: &str) {
        #[cfg(feature = "websockets")]
        if self.work.word.phase == Phase::WebSocket && self.work.intent == Intent::Stay {
            let code = ringway_ws::code::CloseCode::new(code).unwrap_or(ringway_ws::code::CloseCode::NORMAL);
            crate::websocket::close(self, code, reason);
            return;
        }
        let _for_websockets = (code, reason);
        self.close();
    }

    /// Resets the connection; what was not sent is not.
    pub fn abort(&mut self) {
        self.work.end(Intent::Abort, Reason::Handler);
    }

    /// Asks for [`crate::Handler::timeout`] in so many milliseconds, once; replaces what was asked for before. 0: never.
    pub fn set_timeout(&mut self, in_ms: u64) {
        if in_ms > 0 {
            self.work.rare().timeout_ms = self.conn.now_ms().saturating_add(in_ms);
            self.work.is_due_new = true;
        } else if let Some(rare) = &mut self.work.rare {
            rare.timeout_ms = 0;
        }
    }

    /// The handler's own word for this connection; 0 at first.
    #[must_use]
    pub fn user(&self) -> u64 {
        self.work.user
    }

    /// Keeps a word with the connection. [`crate::Closed`] brings it back.
    pub fn set_user(&mut self, word: u64) {
        self.work.user = word;
    }

    /// The connection's name in this process.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        ConnectionId { thread: thread::current().id(), key: self.conn.key() }
    }

    /// What reaches the connection from any thread, and after this call. The first one costs an allocation.
    #[must_use]
    pub fn sender(&mut self) -> Sender {
        let queue_max = self.work.owner.terms.limits.queue_bytes_max;
        let Self { conn, work } = self;
        let make = || Arc::new(Remote::new(conn.worker().post(), conn.key(), queue_max));
        Sender::new(Arc::clone(work.rare().remote.get_or_insert_with(make)))
    }

    /// Who is at the other end; `None` for Unix sockets.
    #[must_use]
    pub fn peer(&mut self) -> Option<SocketAddr> {
        self.conn.peer()
    }

    /// What the handshake of TLS agreed on; `None` without TLS.
    #[must_use]
    pub fn session(&mut self) -> Option<Rc<Session>> {
        self.conn.session()
    }

    /// Becomes a member of a group; nothing happens when it is one. `false`: it belongs to [`GROUPS_MAX`] already.
    pub fn join(&mut self, group: &Group) -> bool {
        let (key, worker) = (self.conn.key(), self.conn.worker());
        let is_socket = self.work.word.phase == Phase::WebSocket;
        let dress = MemberDress { terms: Arc::clone(&self.work.owner.terms), is_socket };
        let rare = self.work.rare();
        if rare.memberships.iter().any(|membership| membership.is_of(group)) {
            return true;
        }
        if rare.memberships.len() >= GROUPS_MAX {
            return false;
        }
        rare.key = Some(key);
        rare.memberships.push(Membership::new(group, key, dress, &worker));
        true
    }

    /// Leaves a group; `false` when it was no member.
    pub fn leave(&mut self, group: &Group) -> bool {
        let Some(rare) = &mut self.work.rare else { return false };
        let place = rare.memberships.iter().position(|membership| membership.is_of(group));
        place.map(|place| rare.memberships.swap_remove(place)).is_some()
    }

    /// Takes no messages until [`Connection::resume`]: what comes meanwhile waits, and the peer with it.
    pub fn pause(&mut self) {
        self.work.word.facts.set(Facts::PAUSED);
        self.work.is_pause_new = true;
    }

    /// Takes messages again.
    pub fn resume(&mut self) {
        self.work.word.facts.clear(Facts::PAUSED);
        self.work.is_pause_new = true;
    }

    /// Asks for [`crate::Handler::written`] when everything sent so far is with the kernel, once.
    pub fn call_when_sent(&mut self) {
        self.work.rare().wants_sent = true;
    }

    /// Bytes that wait to be sent, at most.
    #[must_use]
    pub fn queued_bytes(&mut self) -> usize {
        self.recount();
        self.work.out.waiting()
    }

    /// Whether it takes messages to send.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.work.may_send()
    }

    /// Whether the peer has finished sending.
    #[must_use]
    pub fn is_ended(&mut self) -> bool {
        self.conn.is_ended()
    }

    /// Whether the connection speaks WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.work.word.phase == Phase::WebSocket
    }

    /// Whether this side has opened it.
    #[must_use]
    pub fn is_outbound(&self) -> bool {
        self.work.word.facts.has(Facts::OUTBOUND)
    }

    /// What makes connections outward for this handler, on this worker.
    #[must_use]
    pub fn connector(&self) -> Option<Connector> {
        self.work.owner.connector.get().cloned()
    }

    /// Gives the connection to a task until its end; the reason is what the task comes to. An error resets it. No more turns
    /// come, and no more messages.
    pub(crate) fn hand_to_task<F: Future<Output = Reason> + 'static>(
        &mut self,
        work: impl FnOnce(Stream) -> F,
    ) {
        let stream = self.conn.detach();
        let mut after = stream.twin();
        let work = work(stream);
        self.work.task = Some(Turn::task(async move {
            let reason = work.await;
            state::note_reason(&mut after, reason);
            match reason {
                _ if reason.is_error() => Turn::Abort,
                _ if after.is_ended() => Turn::Close,
                // The peer has not ended: a close would reset what it may not have read.
                _ => Turn::Linger,
            }
        }));
    }

    /// What the connection came through.
    pub(crate) fn door(&mut self) -> DoorKey {
        self.conn.door()
    }

    /// What is counted on this worker.
    pub(crate) fn counters(&self) -> Arc<WorkerCounters> {
        Arc::clone(&self.work.owner.counters)
    }

    /// Whether the server drains, or the endpoint was removed.
    #[must_use]
    pub fn is_draining(&mut self) -> bool {
        self.conn.is_draining()
    }

    /// The name of its endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.work.owner.terms.name
    }

    /// Where this worker's slices come from.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.conn.pool()
    }

    /// The worker it lives on.
    #[must_use]
    pub fn worker(&self) -> WorkerHandle {
        self.conn.worker()
    }

    /// The worker's clock in milliseconds.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.conn.now_ms()
    }

    fn send_kind(&mut self, payload: &[u8], is_text: bool) -> Result<(), SendError> {
        self.admit(payload.len())?;
        let pool = self.conn.pool();
        let Work { owner, word, out, .. } = &mut *self.work;
        owner.trace(&mut self.conn, false, payload);
        let dress = dress_of(owner, *word, is_text);
        let sent = out.message(payload, dress, &pool);
        self.noted(sent)
    }

    /// Sends what stands around a payload, and between it what `between` sends.
    fn around(
        &mut self,
        payload: u64,
        pool: &Pool,
        between: impl FnOnce(&mut Out) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Work { owner, word, out, .. } = &mut *self.work;
        let dress = dress_of(owner, *word, false);
        let mut head = [0; crate::framing::FRAME_BYTES_MAX];
        let written = dress.head(payload, &mut head).ok_or(SendError::TooLong)?;
        out.bytes(&head[head.len() - written..], pool)?;
        between(out)?;
        let tail = out.bytes(dress.tail(), pool);
        out.is_broken |= tail.is_err();
        tail
    }

    /// Whether so much more may be sent.
    fn admit(&mut self, bytes: usize) -> Result<(), SendError> {
        if !self.work.may_send() {
            return Err(SendError::Closed);
        }
        let most = self.work.owner.terms.limits.queue_bytes_max;
        if self.work.out.waiting() + bytes > most {
            self.recount();
            // Where messages are taken, one may be answered, however long it is.
            if !self.work.has_room() && self.work.out.waiting() + bytes > most {
                return Err(SendError::Full);
            }
        }
        Ok(())
    }

    /// Counts what was sent.
    fn noted(&mut self, sent: Result<(), SendError>) -> Result<(), SendError> {
        match sent {
            Ok(()) => {
                self.work.word.facts.set(Facts::SPOKEN);
                self.work.owner.counters.messages_out.add(1);
            }
            Err(_) if self.work.out.is_broken => self.work.end(Intent::Abort, Reason::NoMemory),
            Err(_) => {}
        }
        sent
    }

    /// Looks again how much waits in the connection.
    fn recount(&mut self) {
        let queued = if self.conn.is_flushed() { 0 } else { self.conn.queued_bytes() };
        self.work.out.recount(queued);
    }
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("id", &self.id())
            .field("endpoint", &self.endpoint())
            .field("user", &self.user())
            .finish_non_exhaustive()
    }
}

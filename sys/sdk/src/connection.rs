//! Protocols of one's own on connections: what an author writes, and a connection while an event of it is handled.

use crate::endpoint::{Endpoint, Key, Kind};
use crate::handler::Setup;
use crate::later::Fault;
use crate::server::{self, MISSING};
use ringway_plugin::abi::{self, Bytes, closed, conn, session};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Speaks a protocol on connections. One value is one endpoint that names the library, for all workers; it is dropped when
/// nobody uses it any more, on a thread that may wait. Events of a connection come on its worker, one after the other, and must not
/// wait: all other connections of the worker do, meanwhile. A panic costs the connection.
pub trait ConnectionHandler: Send + Sync + Sized + 'static {
    /// What each worker keeps for itself: made, used and dropped on the worker's thread.
    type Worker: 'static;

    /// What is kept with each connection. One that was made outward has what it was made with.
    type State: Default + 'static;

    /// The longest message in bytes; 0: what the configuration says, which is never exceeded.
    const MESSAGE_BYTES_MAX: u64 = 0;

    /// Whether [`Endpoint::broadcast`] reaches its connections, which costs some memory for each.
    const BROADCASTS: bool = false;

    /// How often [`ConnectionHandler::tick`] is called, in milliseconds; 0: never.
    const TICK_MS: u32 = 0;

    /// Makes one.
    ///
    /// # Errors
    /// Why that cannot be: the operator reads it where the configuration is read.
    fn create(setup: &Setup<'_>, endpoint: Endpoint<Self::State>) -> Result<Self, String>;

    /// Makes what a worker keeps.
    fn worker(&self) -> Self::Worker;

    /// A connection is there, its TLS handshake done.
    fn opened(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State) {
        let _says_nothing = (worker, conn, state);
    }

    /// A message has come, whole; without framing what was received.
    fn message(
        &self,
        worker: &Self::Worker,
        conn: &mut Connection<'_>,
        state: &mut Self::State,
        message: Message<'_>,
    );

    /// The peer has finished sending.
    fn ended(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State) {
        let _needs_nothing = (worker, state);
        conn.close();
    }

    /// All that was sent is with the kernel, as [`Connection::call_when_sent`] wants to know.
    fn written(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State) {
        let _waits_for_nothing = (worker, conn, state);
    }

    /// The time is up that [`Connection::set_timeout`] gave.
    fn timeout(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State) {
        let _needs_nothing = (worker, state);
        conn.close();
    }

    /// [`Endpoint::nudge`] was called, once at least.
    fn nudged(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State) {
        let _waits_for_nothing = (worker, conn, state);
    }

    /// The server drains, or the endpoint is removed; the peer may finish what it has begun.
    fn draining(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State) {
        let _needs_nothing = (worker, state);
        conn.close();
    }

    /// An urgent byte has come (`urgent = "separate"`).
    fn urgent(&self, worker: &Self::Worker, conn: &mut Connection<'_>, state: &mut Self::State, byte: u8) {
        let _needs_none = (worker, conn, state, byte);
    }

    /// A connection has ended: the last that is heard of it.
    fn closed(&self, worker: &Self::Worker, state: Self::State, why: Closed) {
        let _knows_nothing_of_it = (worker, state, why);
    }

    /// Every [`ConnectionHandler::TICK_MS`], on each worker.
    fn tick(&self, worker: &Self::Worker) {
        let _does_nothing = worker;
    }

    /// Where `framing = "handler"`: how long the message is that `input` begins with, which may be more than is there.
    fn measure(&self, worker: &Self::Worker, state: &Self::State, input: &[u8]) -> Measure {
        let _knows_no_framing = (worker, state, input);
        Measure::Wrong
    }

    /// Whether it is well. Any thread.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    fn health(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What is said of the size of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// It cannot be known yet.
    NeedMore,
    /// It has so many bytes, all of them counted; 0 is wrong.
    Bytes(u64),
    /// No message begins like this.
    Wrong,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Closed {
    /// The peer has finished, and everything was sent.
    Peer,
    /// The handler wanted it.
    Handler,
    /// It broke, or was reset.
    Broken,
    /// The peer was silent, or did not read, for too long.
    Time,
    /// The peer has sent a message that is too long or wrong.
    Limit,
    /// The server ends, or wanted it.
    Server,
    /// For a fault of the handler.
    Fault,
    /// A connection outward that never was.
    Unreachable,
    /// A WebSocket, with this code.
    Code(u16),
    /// What a later server says.
    Other(i32),
}

impl Closed {
    pub(crate) fn of(reason: i32) -> Self {
        match reason {
            closed::PEER => Self::Peer,
            closed::HANDLER => Self::Handler,
            closed::BROKEN => Self::Broken,
            closed::TIME => Self::Time,
            closed::LIMIT => Self::Limit,
            closed::SERVER => Self::Server,
            closed::FAULT => Self::Fault,
            closed::UNREACHABLE => Self::Unreachable,
            other => match u16::try_from(other) {
                Ok(code @ 1000..5000) => Self::Code(code),
                _ => Self::Other(other),
            },
        }
    }
}

/// A whole message, in the memory that it was received in. It may be changed there.
#[derive(Debug)]
pub struct Message<'a>(pub(crate) &'a mut [u8]);

impl Message<'_> {
    /// Leaves the first bytes alone.
    pub fn truncate(&mut self, bytes: usize) {
        let all = std::mem::take(&mut self.0);
        let bytes = bytes.min(all.len());
        self.0 = &mut all[..bytes];
    }
}

impl Deref for Message<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl DerefMut for Message<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        self.0
    }
}

/// A connection, while an event of it is handled.
pub struct Connection<'a> {
    raw: *mut abi::Conn,
    is_closing: bool,
    callback: PhantomData<&'a mut ()>,
}

impl Connection<'_> {
    pub(crate) fn new(raw: *mut abi::Conn) -> Self {
        Self { raw, is_closing: false, callback: PhantomData }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Sends a message, with a frame around it where the endpoint's framing has frames.
    ///
    /// # Errors
    /// Too much waits to be sent ([`Fault::Full`]), and nothing of it is taken: [`Connection::call_when_sent`]. Or it has
    /// ended, or is too long.
    pub fn send(&mut self, message: &[u8]) -> Result<(), Fault> {
        self.with_bytes(message, |server| server.conn_send)
    }

    /// The same; of a WebSocket a text.
    ///
    /// # Errors
    /// As above.
    pub fn send_text(&mut self, text: &str) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.conn_send_as) else {
            return Fault::of(MISSING);
        };
        // SAFETY: a function of the server's, given its connection and bytes for the call (I1, I2).
        Fault::of(unsafe { send(self.raw, Kind::Text as u32, Bytes::of(text.as_bytes())) })
    }

    /// Sends the message that has come back from where it lies: nothing is copied.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn reply(&mut self, message: Message<'_>) -> Result<(), Fault> {
        self.with_bytes(message.0, |server| server.conn_send_in_place)
    }

    /// Sends bytes as they are, without a frame.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.with_bytes(bytes, |server| server.conn_send_raw)
    }

    /// Asks for `written` when all that was sent until now is with the kernel, once.
    pub fn call_when_sent(&mut self) {
        self.with(|server| server.conn_when_sent);
    }

    /// Sends a message that is `bytes` of a file.
    ///
    /// # Errors
    /// As [`Connection::send`]; or the file cannot be sent.
    pub fn send_file(&mut self, file: &impl AsFd, offset: u64, bytes: u64) -> Result<(), Fault> {
        let Some(send) = server::table().and_then(|server| server.conn_send_file) else {
            return Fault::of(MISSING);
        };
        let fd = file.as_fd().as_raw_fd();
        // SAFETY: a function of the server's, given its connection and an open file for the call (I1, I2).
        Fault::of(unsafe { send(self.raw, fd, offset, bytes) })
    }

    /// Sends nothing more, once everything is sent; the peer may go on.
    pub fn shut_down_write(&mut self) {
        self.with(|server| server.conn_shut);
    }

    /// Closes it when everything is sent.
    pub fn close(&mut self) {
        self.is_closing = true;
    }

    /// Resets it.
    pub fn abort(&mut self) {
        self.with(|server| server.conn_abort);
    }

    /// Has no more messages come.
    pub fn pause(&mut self) {
        self.with(|server| server.conn_pause);
    }

    /// Has messages come again.
    pub fn resume(&mut self) {
        self.with(|server| server.conn_resume);
    }

    /// Has `timeout` called once, so long from now; `None`: not.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        let ms = |timeout: Duration| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        if let Some(set) = server::table().and_then(|server| server.conn_set_timeout) {
            // SAFETY: a function of the server's, given its connection (I1, I2).
            let _ended = unsafe { set(self.raw, timeout.map_or(0, ms)) };
        }
    }

    /// Bytes that were sent and are not with the kernel.
    #[must_use]
    pub fn queued_bytes(&self) -> u64 {
        // SAFETY: a function of the server's, given its connection (I1, I2).
        server::table().and_then(|server| server.conn_queued).map_or(0, |queued| unsafe { queued(self.raw) })
    }

    /// Whether it is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.number(|server| server.conn_flags) & conn::TLS != 0
    }

    /// Whether [`Endpoint::connect`] has made it.
    #[must_use]
    pub fn is_outbound(&self) -> bool {
        self.number(|server| server.conn_flags) & conn::OUTBOUND != 0
    }

    /// Whether the peer has finished sending.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.number(|server| server.conn_flags) & conn::ENDED != 0
    }

    /// Whether this message is a WebSocket's text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.number(|server| server.conn_kind) == Kind::Text as u32
    }

    /// The peer's address, such as `192.0.2.1:4711`; none for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        let peer = server::table()?.conn_peer?;
        // SAFETY: a function of the server's, given its connection; what it gives is valid until the callback returns (I1, I2).
        str::from_utf8(unsafe { server::bytes(peer(self.raw)) }?).ok()
    }

    /// The name that the client asked for in its TLS handshake.
    #[must_use]
    pub fn server_name(&self) -> Option<&str> {
        self.session(session::SERVER_NAME)
    }

    /// The application protocol that was agreed on (ALPN).
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        self.session(session::PROTOCOL)
    }

    /// The subject of the client's certificate, which was verified.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&str> {
        self.session(session::CLIENT)
    }

    /// Its name, for whoever wants to reach it later, on any thread.
    #[must_use]
    pub fn key(&self) -> Key {
        let none = abi::Key { words: [0; 2] };
        // SAFETY: a function of the server's, given its connection (I1, I2).
        Key(server::table().and_then(|server| server.conn_key).map_or(none, |key| unsafe { key(self.raw) }))
    }

    /// Becomes a member of a group: [`Endpoint::group_send`].
    ///
    /// # Errors
    /// Of too many.
    pub fn join(&mut self, group: &str) -> Result<(), Fault> {
        self.with_bytes(group.as_bytes(), |server| server.conn_join)
    }

    /// Is a member no more.
    ///
    /// # Errors
    /// It was none.
    pub fn leave(&mut self, group: &str) -> Result<(), Fault> {
        self.with_bytes(group.as_bytes(), |server| server.conn_leave)
    }

    fn with(&mut self, function: impl Fn(&abi::Server) -> Option<abi::WithConn>) {
        if let Some(function) = server::table().and_then(function) {
            // SAFETY: a function of the server's, given its connection (I1, I2).
            let _ended = unsafe { function(self.raw) };
        }
    }

    fn with_bytes(
        &mut self,
        bytes: &[u8],
        function: impl Fn(&abi::Server) -> Option<abi::ConnBytes>,
    ) -> Result<(), Fault> {
        let Some(function) = server::table().and_then(function) else { return Fault::of(MISSING) };
        // SAFETY: a function of the server's, given its connection and bytes for the call (I1, I2).
        Fault::of(unsafe { function(self.raw, Bytes::of(bytes)) })
    }

    fn number(&self, function: impl Fn(&abi::Server) -> Option<AskConn>) -> u32 {
        // SAFETY: a function of the server's, given its connection (I1, I2).
        server::table().and_then(function).map_or(0, |ask| unsafe { ask(self.raw) })
    }

    fn session(&self, what: u32) -> Option<&str> {
        let session = server::table()?.conn_session?;
        // SAFETY: a function of the server's, given its connection; what it gives is valid until the callback returns (I1, I2).
        str::from_utf8(unsafe { server::bytes(session(self.raw, what)) }?).ok()
    }
}

type AskConn = unsafe extern "C" fn(*const abi::Conn) -> u32;

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer()).finish_non_exhaustive()
    }
}

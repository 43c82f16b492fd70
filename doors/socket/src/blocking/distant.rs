//! A connection as a handler on another thread sees it.

use super::link::{Act, Link};
use crate::groups::Group;
use crate::handler::SendError;
use crate::remote::Sender;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A connection, lent to its handler for one call on another thread than its worker's. What the handler does with it is done
/// soon, in order; when the connection has ended meanwhile, it is not.
#[derive(Debug)]
pub struct Distant {
    pub(super) link: Arc<Link>,
}

#[cfg(feature = "libraries")]
/// Parts of what TLS has agreed on, those that there are.
pub(crate) type SessionParts = [Option<Box<[u8]>>; 4];

/// A message, in memory of its own.
#[derive(Debug)]
pub struct Received {
    pub(super) bytes: Box<[u8]>,
    pub(super) is_text: bool,
}

impl Received {
    /// What it says, without its frame.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, to be written to.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// Whether it is a text of a WebSocket's.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Its memory, to be sent or kept. It is empty then.
    #[must_use]
    pub fn take(&mut self) -> Box<[u8]> {
        std::mem::take(&mut self.bytes)
    }
}

impl Distant {
    /// Sends a message: see [`crate::Connection::send`].
    ///
    /// # Errors
    /// [`SendError::Closed`], or [`SendError::Full`] when too much waits.
    pub fn send(&mut self, payload: impl Into<Box<[u8]>>) -> Result<(), SendError> {
        self.sent(Act::Send(payload.into(), false))
    }

    /// Sends a text: see [`crate::Connection::send_text`].
    ///
    /// # Errors
    /// As [`Distant::send`].
    pub fn send_text(&mut self, text: &str) -> Result<(), SendError> {
        self.sent(Act::Send(text.as_bytes().into(), true))
    }

    /// Sends bytes as they are: see [`crate::Connection::send_raw`].
    ///
    /// # Errors
    /// As [`Distant::send`].
    pub fn send_raw(&mut self, bytes: impl Into<Box<[u8]>>) -> Result<(), SendError> {
        self.sent(Act::Raw(bytes.into()))
    }

    /// Sends a part of a file as a message: see [`crate::Connection::send_file`].
    ///
    /// # Errors
    /// As [`Distant::send`].
    pub fn send_file(&mut self, file: OwnedFd, offset: u64, bytes: u64) -> Result<(), SendError> {
        self.sent(Act::File(file, offset, bytes))
    }

    /// As [`crate::Connection::shut_down_write`].
    pub fn shut_down_write(&mut self) {
        self.link.act(Act::Shut);
    }

    /// As [`crate::Connection::close`].
    pub fn close(&mut self) {
        self.link.act(Act::Close);
    }

    /// As [`crate::Connection::close_with`].
    pub fn close_with(&mut self, code: u16, reason: &str) {
        self.link.act(Act::CloseWith(code, reason.into()));
    }

    /// As [`crate::Connection::abort`].
    pub fn abort(&mut self) {
        self.link.act(Act::Abort);
    }

    /// As [`crate::Connection::set_timeout`].
    pub fn set_timeout(&mut self, in_ms: u64) {
        self.link.act(Act::Timeout(in_ms));
    }

    /// As [`crate::Connection::pause`]: what has come already may still be handled.
    pub fn pause(&mut self) {
        self.link.act(Act::Pause(true));
    }

    /// As [`crate::Connection::resume`].
    pub fn resume(&mut self) {
        self.link.act(Act::Pause(false));
    }

    /// As [`crate::Connection::call_when_sent`].
    pub fn call_when_sent(&mut self) {
        self.link.act(Act::WhenSent);
    }

    /// As [`crate::Connection::join`]; a membership too many is refused later, without a word.
    pub fn join(&mut self, group: &Group) {
        self.link.act(Act::Join(group.clone()));
    }

    /// As [`crate::Connection::leave`].
    pub fn leave(&mut self, group: &Group) {
        self.link.act(Act::Leave(group.clone()));
    }

    /// The handler's own word for this connection; 0 at first.
    #[must_use]
    pub fn user(&self) -> u64 {
        self.link.user.load(Ordering::Relaxed)
    }

    /// Keeps a word with the connection. [`crate::Closed`] brings it back.
    pub fn set_user(&mut self, word: u64) {
        self.link.user.store(word, Ordering::Relaxed);
    }

    /// What reaches the connection from any thread, and after this call.
    #[must_use]
    pub fn sender(&self) -> Sender {
        self.link.sender.clone()
    }

    /// Who is at the other end; `None` for Unix sockets.
    #[must_use]
    pub fn peer(&self) -> Option<SocketAddr> {
        self.link.known.peer
    }

    /// Whether the connection speaks WebSocket.
    #[must_use]
    pub fn is_websocket(&self) -> bool {
        self.link.known.is_websocket
    }

    /// Whether this side has opened it.
    #[must_use]
    pub fn is_outbound(&self) -> bool {
        self.link.known.is_outbound
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.link.known.session.is_some()
    }

    /// What TLS has agreed on: its version, the name that the client asked for, the protocol, whom the client's certificate is of.
    #[cfg(feature = "libraries")]
    pub(crate) fn session_parts(&self) -> Option<SessionParts> {
        let session = self.link.known.session.as_ref()?;
        let bytes = |text: &str| Box::from(text.as_bytes());
        let protocol = (!session.protocol.is_empty()).then(|| session.protocol.clone());
        Some([
            Some(bytes(&session.version)),
            session.server_name.as_deref().map(bytes),
            protocol,
            session.client.as_deref().map(bytes),
        ])
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Bytes that wait to be sent, about.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.link.waiting()
    }

    fn sent(&self, act: Act) -> Result<(), SendError> {
        if !self.link.has_room(act.bytes()) {
            return Err(SendError::Full);
        }
        if self.link.act(act) { Ok(()) } else { Err(SendError::Closed) }
    }
}

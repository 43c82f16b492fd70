//! What handles a socket: callbacks on the connection's turns.

use super::core::Socket;
use ringway_ws::decoder::Message;
use std::fmt;

/// How a socket has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<'a> {
    /// The close code: the peer's, or this side's where it closed first. 1005: the peer's close frame had none. 1006: the
    /// connection ended without a close frame.
    pub code: u16,
    /// Why, for people.
    pub reason: &'a str,
}

impl Closed<'_> {
    /// Without a close frame.
    pub(super) const ABNORMAL: Self = Self { code: 1006, reason: "" };

    /// Whether the peer said that it closes.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.code != Self::ABNORMAL.code
    }
}

impl fmt::Display for Closed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.reason)
    }
}

/// What handles one socket. All of it is called on the socket's worker and must not block; what it sends leaves when it has
/// handled all that had come. One that panics is not called again, and its socket is closed with 1011.
///
/// A function of a socket and a message is a handler, too.
pub trait SocketHandler {
    /// The handshake is done.
    fn opened(&mut self, socket: &mut Socket<'_>) {
        let _ = socket;
    }

    /// A message has come, whole.
    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>);

    /// A pong has come, asked for or not.
    fn pong(&mut self, socket: &mut Socket<'_>, payload: &[u8]) {
        let _ = (socket, payload);
    }

    /// The time is up that was set with [`Socket::set_timeout`].
    fn timeout(&mut self, socket: &mut Socket<'_>) {
        let _ = socket;
    }

    /// Somebody asked for it ([`super::core::Nudge::nudge`]).
    fn nudged(&mut self, socket: &mut Socket<'_>) {
        let _ = socket;
    }

    /// Whether messages that it has taken are still being worked on. While they are, a fault of the peer that came behind them
    /// waits to end the socket, for [`super::SocketOptions::close_ms_max`] at most. Asked again whenever it is nudged.
    fn is_behind(&mut self) -> bool {
        false
    }

    /// The socket has ended, for whatever reason. The last call, and there is one for every socket that was opened, unless
    /// the handler has panicked.
    fn closed(&mut self, closed: &Closed<'_>) {
        let _ = closed;
    }
}

impl<F: FnMut(&mut Socket<'_>, Message<'_>)> SocketHandler for F {
    fn message(&mut self, socket: &mut Socket<'_>, message: Message<'_>) {
        self(socket, message);
    }
}

/// Stands where a handler was that panicked.
pub(super) struct Nobody;

impl SocketHandler for Nobody {
    fn message(&mut self, _socket: &mut Socket<'_>, _message: Message<'_>) {}
}

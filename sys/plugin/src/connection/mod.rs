//! Connections and peers as libraries see them: views that are lent for a call, and who reaches them from elsewhere.

pub(crate) mod calls;
pub(crate) mod desk;
mod worker;

pub use desk::MISUSES_TOLD_MAX;
pub(crate) use desk::{with_conn, with_peer};
pub use worker::ConnectionWorker;

use crate::abi::{self, said};
use crate::error::Fault;
use crate::request::{Message, User};
use std::os::fd::BorrowedFd;

/// A connection's name, as whoever has it made it. Zeros are none.
pub type Key = [u64; 2];

/// A connection, as whoever has it shows it to a library: on one thread, during one call.
pub trait ConnView {
    /// Where the message of this call is, and how long; none in other calls.
    fn message(&self) -> Option<(*mut u8, usize)>;

    /// Sends a message with the endpoint's frame.
    ///
    /// # Errors
    /// It is closed ([`Fault::Gone`]), or too much waits ([`Fault::Full`]), or it is too long ([`Fault::Limit`]).
    fn send(&self, message: Message<'_>) -> Result<(), Fault>;

    /// Sends a part of the message of this call, from one of its bytes to another, where it lies.
    ///
    /// # Errors
    /// There is none, or it was sent ([`Fault::State`]); else as above.
    fn send_in_place(&self, from: usize, to: usize) -> Result<(), Fault>;

    /// Sends bytes without a frame.
    ///
    /// # Errors
    /// As above.
    fn send_raw(&self, bytes: &[u8]) -> Result<(), Fault>;

    /// Asks for [`Event::Written`] when all is sent.
    ///
    /// # Errors
    /// It is closed.
    fn call_when_sent(&self) -> Result<(), Fault>;

    /// Sends a message that is `bytes` of a file.
    ///
    /// # Errors
    /// As above; or that is no file ([`Fault::Invalid`]).
    fn send_file(&self, file: BorrowedFd<'_>, offset: u64, bytes: u64) -> Result<(), Fault>;

    /// Sends nothing more.
    ///
    /// # Errors
    /// It is closed.
    fn shut(&self) -> Result<(), Fault>;

    /// Closes it when everything is sent.
    ///
    /// # Errors
    /// It is closed.
    fn close(&self) -> Result<(), Fault>;

    /// Resets it.
    ///
    /// # Errors
    /// It is closed.
    fn abort(&self) -> Result<(), Fault>;

    /// Has no more messages come, or come again.
    ///
    /// # Errors
    /// It is closed.
    fn pause(&self, is_paused: bool) -> Result<(), Fault>;

    /// Sets its timeout from now, in milliseconds; 0: none.
    ///
    /// # Errors
    /// It is closed.
    fn set_timeout(&self, timeout_ms: u32) -> Result<(), Fault>;

    /// Bytes that were sent and are not with the kernel.
    fn queued_bytes(&self) -> u64;

    /// Bits of [`abi::conn`].
    fn flags(&self) -> u32;

    /// The message's kind: [`abi::message`].
    fn kind(&self) -> u32;

    /// The peer's address, as text.
    fn peer(&self) -> Option<&[u8]>;

    /// Something of its TLS session: [`abi::session`].
    fn session(&self, what: u32) -> Option<&[u8]>;

    /// Its name.
    fn key(&self) -> Key;

    /// Becomes a member of a group.
    ///
    /// # Errors
    /// Of too many.
    fn join(&self, group: &str) -> Result<(), Fault>;

    /// Is a member no more.
    ///
    /// # Errors
    /// It was none.
    fn leave(&self, group: &str) -> Result<(), Fault>;
}

/// Who has sent a datagram, as whoever has it shows it to a library: on one thread, during one call.
pub trait PeerView {
    /// Its address, as text.
    fn address(&self) -> &[u8];

    /// Sends it a datagram.
    ///
    /// # Errors
    /// There is no room: it is lost ([`Fault::Full`]).
    fn send(&self, payload: &[u8]) -> Result<(), Fault>;

    /// Sends a datagram elsewhere.
    ///
    /// # Errors
    /// That is no address ([`Fault::Invalid`]); else as above.
    fn send_to(&self, address: &str, payload: &[u8]) -> Result<(), Fault>;
}

/// The connections of an endpoint, reached from any thread.
pub trait Connections: Send + Sync {
    /// Sends a message to one.
    ///
    /// # Errors
    /// There is no such connection ([`Fault::Gone`]), or too much is on its way to the worker ([`Fault::Full`]).
    fn send(&self, key: Key, message: Message<'_>) -> Result<(), Fault>;

    /// Has one send nothing more.
    ///
    /// # Errors
    /// As above.
    fn shut(&self, key: Key) -> Result<(), Fault>;

    /// Closes one.
    ///
    /// # Errors
    /// As above.
    fn close(&self, key: Key) -> Result<(), Fault>;

    /// Has one told that it was nudged.
    ///
    /// # Errors
    /// As above.
    fn nudge(&self, key: Key) -> Result<(), Fault>;

    /// Sends a message to all members of a group.
    ///
    /// # Errors
    /// It cannot be sent.
    fn group_send(&self, group: &str, message: Message<'_>) -> Result<(), Fault>;

    /// Sends a message to all.
    ///
    /// # Errors
    /// It cannot be sent.
    fn broadcast(&self, message: Message<'_>) -> Result<(), Fault>;

    /// Has one made outward, on the worker that this is called on.
    ///
    /// # Errors
    /// This is no worker ([`Fault::Thread`]), there are too many ([`Fault::Limit`]), or no such place can be
    /// ([`Fault::Invalid`]).
    fn connect(&self, to: &str, flags: u32, user: User) -> Result<(), Fault>;
}

/// What a library says of an event of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The connection goes on.
    GoOn,
    /// It is closed when everything is sent.
    Close,
    /// The handler panicked.
    Panicked,
    /// What the interface does not know.
    Unknown(i32),
}

impl Verdict {
    pub(crate) fn of(code: i32) -> Self {
        match code {
            said::GO_ON => Self::GoOn,
            said::CLOSE => Self::Close,
            said::PANICKED => Self::Panicked,
            code => Self::Unknown(code),
        }
    }
}

/// What a library says of the size of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    /// It cannot be known yet.
    NeedMore,
    /// It has so many bytes.
    Bytes(u64),
    /// No message begins like this.
    Wrong,
    /// The handler panicked.
    Panicked,
    /// What the interface does not know.
    Unknown(i64),
}

impl Measured {
    pub(crate) fn of(said: i64) -> Self {
        match (said, u64::try_from(said)) {
            (said::NEED_MORE, _) => Self::NeedMore,
            (_, Ok(bytes)) => Self::Bytes(bytes),
            (said::WRONG, _) => Self::Wrong,
            (said, _) if said == i64::from(said::PANICKED) => Self::Panicked,
            (said, _) => Self::Unknown(said),
        }
    }
}

/// An event of a connection, by the name of the callback that hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is there.
    Opened,
    /// Its peer has finished sending.
    Ended,
    /// Everything is sent.
    Written,
    /// Its time is up.
    Timeout,
    /// It was nudged.
    Nudged,
    /// The server drains.
    Draining,
}

impl Event {
    /// The callback's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Ended => "ended",
            Self::Written => "written",
            Self::Timeout => "timeout",
            Self::Nudged => "nudged",
            Self::Draining => "draining",
        }
    }

    pub(crate) fn of(self, table: &abi::ConnectionHandler) -> Option<abi::Event> {
        match self {
            Self::Opened => table.opened,
            Self::Ended => table.ended,
            Self::Written => table.written,
            Self::Timeout => table.timeout,
            Self::Nudged => table.nudged,
            Self::Draining => table.draining,
        }
    }
}

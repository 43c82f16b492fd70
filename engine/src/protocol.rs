//! What speaks on a connection: a protocol gets turns; between them an idle connection is a record, not a live future.

use crate::connection::Conn;
use crate::observe::Description;
use ringway_heap::{LocalFuture, local_future};
use std::fmt;
use std::future::Future;

/// A task that holds a connection until it has an answer. It lives on its worker's heap.
pub type ConnTask = LocalFuture<Turn>;

/// A protocol on an endpoint. One value per worker serves all of that worker's connections.
pub trait Protocol: 'static {
    /// Does what can be done now. Called with everything that happened since the last turn; never while a task of an
    /// earlier turn still runs. A panic closes this connection only.
    fn turn(&self, conn: &mut Conn<'_>, events: Events) -> Turn;

    /// Where it was put: told on its worker before any connection, for who opens connections of its own
    /// ([`crate::WorkerHandle::open_at`]).
    #[cfg(feature = "held")]
    fn placed(&self, _door: crate::DoorKey) {}

    /// A connection has ended, for whatever reason; its context words are as the last turn left them.
    fn closed(&self, context: [u64; 2]) {
        let _nothing_to_do = context;
    }

    /// What can be said of a connection from its context words, for those who look at the server.
    fn describe(&self, context: [u64; 2]) -> Description {
        let _says_nothing = context;
        Description::default()
    }
}

/// What shall happen after a turn.
pub enum Turn {
    /// Wait for the next event. A broken connection (see [`Conn::is_broken`]) is closed instead, once that was told.
    Idle,
    /// Close once everything is sent. For when the peer has nothing more to say. A deadline that is set still holds and
    /// resets what is not sent by then; without one, [`crate::EndpointLimits::close_stall_ms_max`] does when nothing moves.
    Close,
    /// Send a FIN once everything is sent, then discard what the peer still sends, for a limited time: a close with
    /// unread data would reset the connection and could destroy the answer.
    Linger,
    /// Reset the connection at once.
    Abort,
    /// Run this; its output is the connection's next turn. Events wake the task meanwhile.
    Task(ConnTask),
}

impl Turn {
    /// A task that holds the connection: `future` moves to the worker's heap.
    pub fn task(future: impl Future<Output = Self> + 'static) -> Self {
        Self::Task(local_future(future))
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Close => "Close",
            Self::Linger => "Linger",
            Self::Abort => "Abort",
            Self::Task(_) => "Task",
        })
    }
}

/// What happened since the last turn; several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u8);

impl Events {
    /// The connection is new.
    pub const OPENED: Self = Self(1);
    /// Bytes arrived.
    pub const DATA: Self = Self(2);
    /// Everything queued is sent.
    pub const SENT: Self = Self(4);
    /// The peer has finished sending, or the connection broke (see [`Conn::is_broken`]).
    pub const END: Self = Self(8);
    /// The deadline passed.
    pub const TIMEOUT: Self = Self(16);
    /// The server drains: finish and close.
    pub const DRAIN: Self = Self(32);
    /// The connection is one too many ([`crate::OverCapacity::Busy`]): say so and close.
    pub const BUSY: Self = Self(64);
    /// Somebody asked for a turn: [`crate::WorkerHandle::nudge`].
    #[cfg(feature = "members")]
    pub const NUDGED: Self = Self(128);

    /// Whether any of `other` happened.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

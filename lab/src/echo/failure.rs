//! What can be wrong about an answer, said so exactly that a developer knows where to look.

use crate::echo::script::Mismatch;
use std::fmt;
use std::time::Duration;

/// Something that went wrong on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which connection, from 0.
    pub connection: u32,
    /// How often it had reconnected before.
    pub life: u32,
    /// What went wrong.
    pub what: What,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A byte of an answer was not the one that was sent.
    Different(Box<Mismatch>),
    /// The server sent more than it was asked.
    Unasked {
        /// Where in the stream the surplus begins.
        offset: u64,
        /// How long it was, as far as it was seen.
        bytes: u64,
    },
    /// The server closed the connection.
    Ended {
        /// Bytes that were answered.
        offset: u64,
        /// Bytes that were sent and not answered.
        missing: u64,
    },
    /// An answer of one datagram was shorter than what was sent.
    Short {
        /// Bytes that were answered.
        offset: u64,
        /// Bytes that its end lacks.
        missing: u64,
    },
    /// The connection broke.
    Broken {
        /// Bytes that were answered.
        offset: u64,
        /// What the system said.
        error: String,
    },
    /// Nothing came for too long.
    Stalled {
        /// Bytes that were answered.
        offset: u64,
        /// Bytes that were sent and not answered.
        missing: u64,
        /// How long was waited.
        patience: Duration,
    },
    /// No connection could be made.
    Unreachable(String),
}

impl What {
    /// What happened, in a word or two for a table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            What::Different(_) => "wrong byte",
            What::Unasked { .. } => "unasked bytes",
            What::Ended { .. } => "closed by the server",
            What::Short { .. } => "short answer",
            What::Broken { .. } => "broken",
            What::Stalled { .. } => "no answer",
            What::Unreachable(_) => "cannot connect",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.connection)?;
        if self.life > 0 {
            write!(f, " (reconnected {} times)", self.life)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Different(mismatch) => mismatch.fmt(f),
            What::Unasked { offset, bytes } => {
                write!(f, "{bytes} bytes came behind byte {offset} of its stream that nobody had asked for")
            }
            What::Ended { offset, missing } => {
                write!(f, "the server closed after {offset} bytes of its stream and owes {missing} bytes")
            }
            What::Short { offset, missing } => {
                write!(f, "the answer ended after {offset} bytes of its stream and lacks {missing} bytes")
            }
            What::Broken { offset, error } => write!(f, "broke after {offset} bytes of its stream: {error}"),
            What::Stalled { offset, missing, patience } => write!(
                f,
                "nothing came for {:.1} s after {offset} bytes of its stream; {missing} bytes are owed",
                patience.as_secs_f64()
            ),
            What::Unreachable(error) => write!(f, "no connection could be made: {error}"),
        }
    }
}

//! What can be wrong about an answer, said so exactly that a developer knows where to look.

use std::fmt;
use std::time::Duration;

use super::cause::Cause;
use super::cursor::{Mismatch, Part};

/// Something that went wrong on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which connection, from 0.
    pub connection: u32,
    /// How often it had come again before.
    pub life: u32,
    /// When, from the beginning of the run.
    pub at: Duration,
    /// What went wrong.
    pub what: What,
}

/// What went wrong. Messages count from 0 in each life of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A byte of an answer was not the one that was sent.
    Different(Box<Mismatch>, Cause),
    /// An answer was longer or shorter than the message.
    Length {
        /// Which message.
        message: u64,
        /// How long it is.
        size: u32,
        /// How many bytes of the answer were right.
        at: u32,
        /// Whether more came.
        is_longer: bool,
    },
    /// What came is not what the protocol allows.
    Frame {
        /// The message that was due.
        message: u64,
        /// What it was.
        sentence: String,
    },
    /// The server sent more than it was asked.
    Unasked {
        /// Messages that had been asked.
        messages: u64,
        /// How much more, as far as it was seen.
        bytes: u64,
    },
    /// The server closed the connection.
    Ended {
        /// The message that was due.
        message: u64,
        /// Bytes of it that came.
        at: u32,
        /// Messages that were sent and not answered in full.
        owed: u64,
        /// How a WebSocket was closed.
        code: Option<u16>,
    },
    /// The connection broke.
    Broken {
        /// The message that was due.
        message: u64,
        /// What the system said.
        error: String,
    },
    /// Nothing came for too long.
    Stalled {
        /// The message that was due.
        message: u64,
        /// Bytes of it that came.
        at: u32,
        /// Messages that were sent and not answered in full.
        owed: u64,
        /// How long was waited.
        patience: Duration,
    },
    /// No connection could be made.
    Unreachable(String),
    /// TLS or WebSocket could not be agreed on.
    Handshake(String),
}

impl What {
    /// What happened, in a word or two for a table.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            What::Different(_, Cause::Lost { .. }) => "lost",
            What::Different(_, Cause::Again { .. }) => "repeated",
            What::Different(_, Cause::Reordered { .. }) => "out of order",
            What::Different(_, Cause::Stranger { .. }) => "another's answer",
            What::Different(..) => "wrong byte",
            What::Length { .. } => "wrong length",
            What::Frame { .. } => "protocol error",
            What::Unasked { .. } => "unasked bytes",
            What::Ended { .. } => "closed by the server",
            What::Broken { .. } => "broken",
            What::Stalled { .. } => "no answer",
            What::Unreachable(_) => "cannot connect",
            What::Handshake(_) => "no handshake",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.connection)?;
        if self.life > 0 {
            write!(f, " (life {})", self.life)?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Different(mismatch, cause) => write!(f, "{mismatch}{cause}"),
            What::Length { message, size, at, is_longer: true } => {
                write!(f, "message {message} of {size} bytes: {at} bytes are right, and the answer goes on")
            }
            What::Length { message, size, at, is_longer: false } => {
                write!(f, "message {message} of {size} bytes: the answer ends after {at} bytes")
            }
            What::Frame { message, sentence } => write!(f, "message {message}: {sentence}"),
            What::Unasked { messages, bytes } => {
                write!(f, "{bytes} bytes came behind the answers to all {messages} messages that were sent")
            }
            What::Ended { message, at, owed, code } => {
                write!(f, "message {message}, byte {at}: the server closed")?;
                if let Some(code) = code {
                    write!(f, " with code {code}")?;
                }
                write!(f, " and owes {owed} messages")
            }
            What::Broken { message, error } => write!(f, "message {message}: broke: {error}"),
            What::Stalled { message, at, owed, patience } => write!(
                f,
                "message {message}, byte {at}: nothing came for {:.1} s; {owed} messages are owed",
                patience.as_secs_f64()
            ),
            What::Unreachable(error) => write!(f, "no connection could be made: {error}"),
            What::Handshake(error) => write!(f, "no handshake: {error}"),
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, got) = (self.expected[self.index], self.got[self.index]);
        let place = match self.part {
            Part::Payload => format!("byte {} of {}", self.at, self.size),
            Part::Head => format!("byte {} of its length", self.at),
            Part::Tail => "its end".to_owned(),
        };
        write!(
            f,
            "message {}, {place}: expected {expected:02x}, got {got:02x} (expected {}, got {})",
            self.message,
            hex(&self.expected, self.index),
            hex(&self.got, self.index)
        )
    }
}

/// Bytes in hexadecimal, the one at `marked` in brackets.
fn hex(bytes: &[u8], marked: usize) -> String {
    let shown = bytes
        .iter()
        .enumerate()
        .map(|(index, byte)| if index == marked { format!("[{byte:02x}]") } else { format!("{byte:02x}") });
    shown.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_difference_is_described_with_the_bytes_around_it() {
    let mismatch = Mismatch {
        message: 13,
        size: 64,
        part: Part::Payload,
        at: 5,
        at_whole: 9,
        expected: vec![1, 2, 0x3f, 4],
        got: vec![1, 2, 0x40, 4],
        index: 2,
    };
    let what = What::Different(Box::new(mismatch), Cause::Changed(1));
    let failure = Failure { connection: 7, life: 2, at: Duration::ZERO, what };
    assert_eq!(
        failure.to_string(),
        "connection 7 (life 2): message 13, byte 5 of 64: expected 3f, got 40 (expected 01 02 [3f] 04, got 01 02 [40] 04); \
         this byte was changed"
    );
}

//! Answers that come later, from any thread.

use crate::answer::Answer;
use crate::server::{self, MISSING};
use ringway_plugin::abi::{self, Bytes, code};
use std::fmt;
use std::mem::ManuallyDrop;
use std::time::Duration;

/// Why an answer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody waits for it any more: the client has left, or it took too long.
    Gone,
    /// It cannot be sent as it is.
    Invalid,
    /// There is more of it than the server takes at once.
    Limit,
    /// There is no room now.
    Full,
    /// This thread must not wait: it is a worker.
    Thread,
    /// The time is up.
    Time,
    /// The server says this.
    Other(i32),
}

impl Fault {
    pub(crate) fn of(code: i32) -> Result<(), Self> {
        Err(match code {
            code::OK => return Ok(()),
            code::GONE => Self::Gone,
            code::INVALID => Self::Invalid,
            code::LIMIT => Self::Limit,
            code::FULL => Self::Full,
            code::THREAD => Self::Thread,
            code::TIME => Self::Time,
            code => Self::Other(code),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("nobody waits for the answer any more"),
            Self::Invalid => f.write_str("the answer cannot be sent"),
            Self::Limit => f.write_str("the server does not take so much at once"),
            Self::Full => f.write_str("there is no room now"),
            Self::Thread => f.write_str("a worker must not wait"),
            Self::Time => f.write_str("the time is up"),
            Self::Other(code) => write!(f, "the server says {code}"),
        }
    }
}

impl std::error::Error for Fault {}

/// An answer that was promised. Dropped without one, the client is told 500 at once.
#[derive(Debug)]
pub struct Later(u64);

impl Later {
    pub(crate) fn number(&self) -> u64 {
        self.0
    }

    pub(crate) fn new(number: u64) -> Self {
        Self(number)
    }

    /// Gives the answer.
    ///
    /// # Errors
    /// It came too late, or cannot be sent; the client is then told 500.
    pub fn answer(self, answer: &Answer) -> Result<(), Fault> {
        give(self.0, answer, |server| server.answer_later)?;
        let _kept = ManuallyDrop::new(self);
        Ok(())
    }

    /// Begins an answer whose body comes in pieces, with the answer's body for the first.
    ///
    /// # Errors
    /// As [`Later::answer`].
    pub fn begin(self, head: &Answer) -> Result<Writer, Fault> {
        give(self.0, head, |server| server.begin)?;
        Ok(Writer(ManuallyDrop::new(self).0))
    }
}

impl Drop for Later {
    fn drop(&mut self) {
        let _too_late = call(self.0, |server| server.abort);
    }
}

/// The body of an answer that was begun. Dropped before [`Writer::end`], the client sees that it is not whole.
#[derive(Debug)]
pub struct Writer(u64);

impl Writer {
    /// Adds a piece if there is room for it.
    ///
    /// # Errors
    /// [`Fault::Full`], and nothing of it is taken; or nobody wants it any more.
    pub fn try_write(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let Some(write) = server::table().and_then(|server| server.write) else { return Fault::of(MISSING) };
        // SAFETY: a function of the server's, given bytes that are valid for the call (I1).
        Fault::of(unsafe { write(self.0, Bytes::of(piece)) })
    }

    /// Adds a piece, and waits for room for that long at most. Not on a worker.
    ///
    /// # Errors
    /// [`Fault::Time`] and [`Fault::Thread`], and nothing of it is taken; or nobody wants it any more.
    pub fn write(&mut self, piece: &[u8], within: Duration) -> Result<(), Fault> {
        loop {
            match self.try_write(piece) {
                Err(Fault::Full) => self.wait(within)?,
                result => return result,
            }
        }
    }

    /// The body is whole.
    ///
    /// # Errors
    /// Nobody wants it any more, or it has another length than was said.
    pub fn end(self) -> Result<(), Fault> {
        call(self.0, |server| server.end)?;
        let _kept = ManuallyDrop::new(self);
        Ok(())
    }

    fn wait(&self, within: Duration) -> Result<(), Fault> {
        let Some(wait) = server::table().and_then(|server| server.wait) else { return Fault::of(MISSING) };
        let timeout_ms = u32::try_from(within.as_millis()).unwrap_or(u32::MAX);
        // SAFETY: a function of the server's, given numbers (I1).
        Fault::of(unsafe { wait(self.0, timeout_ms) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _too_late = call(self.0, |server| server.abort);
    }
}

fn give(
    number: u64,
    answer: &Answer,
    function: impl Fn(&abi::Server) -> Option<abi::AnswerLater>,
) -> Result<(), Fault> {
    let Some(function) = server::table().and_then(function) else { return Fault::of(MISSING) };
    // SAFETY: a function of the server's, given an answer that is valid for the call (I1).
    Fault::of(answer.with(|answer| unsafe { function(number, answer) }))
}

fn call(number: u64, function: impl Fn(&abi::Server) -> Option<abi::WithLater>) -> Result<(), Fault> {
    let Some(function) = server::table().and_then(function) else { return Fault::of(MISSING) };
    // SAFETY: a function of the server's, given a number (I1).
    Fault::of(unsafe { function(number) })
}

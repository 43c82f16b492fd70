//! Why a request gets no answer, and why one is not sent.

use std::fmt;

use crate::code::Code;

/// What became of a request that gets no answer, or not all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server has done nothing with it: it refused the stream, or said farewell before it came (RFC 9113 section 8.7).
    /// It may be tried again, whatever it asks for.
    Unprocessed,
    /// The server reset the stream, for this reason.
    Reset(Code),
    /// The answer broke the protocol, so this side has reset the stream with this code.
    Broken(Code),
    /// The head of the answer is over the limit; this side has reset the stream.
    Oversized,
    /// The connection ended before the answer did. What the server did with the request is not known.
    Lost,
}

impl Failure {
    /// Whether the request may be tried again even if it is not idempotent.
    #[must_use]
    pub const fn is_unprocessed(self) -> bool {
        // The code says: talk HTTP/1.1 to me; nothing was done.
        matches!(self, Self::Unprocessed | Self::Reset(Code::HTTP_1_1_REQUIRED))
    }

    /// One phrase for the log; it never contains bytes of the server.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unprocessed => "the request was refused unprocessed",
            Self::Reset(_) => "the stream was reset",
            Self::Broken(Code::FLOW_CONTROL_ERROR) => "more data than the window allows",
            Self::Broken(_) => "malformed answer",
            Self::Oversized => "head of the answer over the limit",
            Self::Lost => "the connection ended before the answer",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "{} with {code:?}", self.reason()),
            other => f.write_str(other.reason()),
        }
    }
}

impl std::error::Error for Failure {}

/// Why a request was not sent. Nothing of it is in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// As many streams live as may: wait for the end of one, or take another connection.
    Full,
    /// The connection takes no more requests: take another one.
    Leaving,
    /// The text is no head of a request that HTTP/2 can carry: `CONNECT`, a target that is no path, no head at all.
    Head,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no stream is free",
            Self::Leaving => "the connection takes no more requests",
            Self::Head => "the request cannot be sent over HTTP/2",
        })
    }
}

impl std::error::Error for Unsent {}

//! Why an answer cannot be read.

use std::fmt;

use crate::refusal::Refusal;

/// A reason why what a server sent is no answer. Nothing more of the connection can be read after one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It does not begin with `HTTP/`.
    NotHttp,
    /// The version is not `HTTP/1.0` or `HTTP/1.1`.
    Version,
    /// The status line is not `version SP status [SP reason]`, or its reason has control bytes.
    StatusLine,
    /// The head is over its limit.
    HeadLength,
    /// More fields than the limit.
    FieldCount,
    /// A line of the head, or what the fields say of the body together.
    Head(Refusal),
    /// The chunks of the body.
    Body(Refusal),
    /// The connection ended before the body did.
    Cut,
}

impl Fault {
    /// One phrase; it never contains bytes of the server.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotHttp => "the answer is not HTTP/1",
            Self::Version => "HTTP version of the answer is not supported",
            Self::StatusLine => "malformed status line",
            Self::HeadLength => "head of the answer over the limit",
            Self::FieldCount => "too many header fields",
            Self::Cut => "the connection ended before the answer did",
            Self::Head(refusal) | Self::Body(refusal) => refusal.reason(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Fault {}

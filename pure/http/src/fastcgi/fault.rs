//! Why records cannot be read.

use std::fmt;

/// A reason why what a peer sent is no FastCGI, or not what was asked for. Nothing more of its connection can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A record of a version that is not 1; most often no record at all.
    Version(u8),
    /// A record of a kind that has no place here.
    Kind(u8),
    /// A record of a request that nobody asked.
    Request(u16),
    /// More of a stream (its kind is told) whose end was said before.
    AfterEnd(u8),
    /// An end, a beginning or an abortion whose content has not its one length.
    ContentLength {
        /// Kind of the record.
        kind: u8,
        /// Bytes it has.
        bytes: u16,
    },
    /// The status of an end is none of the four there are.
    EndStatus(u8),
    /// A name or a value that is longer than what holds it.
    Pair,
    /// More values than were asked for.
    ValuesLength,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "a record of version {version} instead of 1"),
            Self::Kind(kind) => write!(f, "a record of kind {kind} where none can be"),
            Self::Request(request) => write!(f, "a record of request {request}, which was never asked"),
            Self::AfterEnd(kind) => write!(f, "more of stream {kind} after its end"),
            Self::ContentLength { kind, bytes } => {
                write!(f, "a record of kind {kind} with {bytes} bytes of content")
            }
            Self::EndStatus(status) => write!(f, "an end of unknown status {status}"),
            Self::Pair => f.write_str("a name or value longer than its record"),
            Self::ValuesLength => f.write_str("more values than were asked for"),
        }
    }
}

impl std::error::Error for Fault {}

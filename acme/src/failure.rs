//! Why no certificate was had.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why no certificate was had, as a sentence for the operator.
#[derive(Debug)]
pub enum Failure {
    /// The authority could not be asked.
    Unreachable {
        /// Where it was asked.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The authority refused (RFC 8555 section 6.7).
    Refused {
        /// What was asked for.
        what: String,
        /// Status of the answer.
        status: u16,
        /// The kind of problem, the end of its URN: `rateLimited`.
        kind: String,
        /// What the authority says of it.
        detail: String,
    },
    /// It answered something that is not in the protocol.
    Nonsense {
        /// What was asked for.
        what: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The names were not proved to be ours.
    Unproved {
        /// The name.
        name: String,
        /// What the authority says.
        detail: String,
    },
    /// Something cannot be done here.
    Here(String),
    /// A file could not be read or written.
    File(PathBuf, io::Error),
    /// It took too long.
    TooLong(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { url, reason } => write!(f, "{url} cannot be asked: {reason}"),
            Self::Refused { what, status, kind, detail } => {
                write!(f, "the authority refuses {what} ({status} {kind}): {detail}")
            }
            Self::Nonsense { what, reason } => {
                write!(f, "the authority's answer to {what} cannot be read: {reason}")
            }
            Self::Unproved { name, detail } => {
                write!(f, "the authority was not shown that {name} is ours: {detail}")
            }
            Self::Here(reason) => f.write_str(reason),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::TooLong(what) => write!(f, "{what} took too long"),
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Self::File(_, error) = self { Some(error) } else { None }
    }
}

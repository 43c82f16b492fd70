//! Why a program gave no answer, or not all of it, for the error log and the client.

use crate::request_body::BodyError;
use crate::upstream;
use ringway_http::cgi;
use ringway_http::fastcgi::{End, Fault};
use ringway_http::status::Status;
use std::fmt;
use std::io;

/// What went wrong with a request at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The connection ended before the answer did.
    Closed,
    /// The connection was reset.
    Reset,
    /// Nothing was received for so many milliseconds.
    Silent(u64),
    /// Nothing of the request was taken for so many milliseconds.
    Stuck(u64),
    /// It sent what are no records.
    Records(Fault),
    /// The head of the answer cannot be read.
    Head(cgi::Fault),
    /// It ended the request without an answer.
    Empty(End),
    /// The answer has another length than it said.
    Length {
        /// Bytes it said.
        said: u64,
        /// Bytes there were, as far as they were counted.
        sent: u64,
    },
    /// It wants a file sent that nobody may have.
    File,
    /// There is no memory for what is sent or received.
    NoMemory,
    /// The request's body cannot be read from where it was spooled.
    Spool,
    /// The client's fault: its body.
    Body(BodyError),
}

impl Trouble {
    /// What the client is told.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Silent(_) | Self::Stuck(_) => Status::GATEWAY_TIMEOUT,
            Self::NoMemory | Self::Empty(End::Overloaded) => Status::SERVICE_UNAVAILABLE,
            Self::Spool => Status::INTERNAL_SERVER_ERROR,
            Self::Body(error) => error.status(),
            _ => Status::BAD_GATEWAY,
        }
    }

    /// What an error of the connection means.
    pub(super) fn of(error: &io::Error, waited_ms: u64) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Silent(waited_ms),
            io::ErrorKind::OutOfMemory => Self::NoMemory,
            _ => Self::Reset,
        }
    }

    /// Whether the backend is to blame, and not the program that ran there.
    pub(super) fn is_backends(self) -> bool {
        match self {
            Self::Closed | Self::Reset | Self::Silent(_) | Self::Stuck(_) | Self::Records(_) => true,
            Self::Empty(end) => !matches!(end, End::Complete(_)),
            Self::Head(_)
            | Self::Length { .. }
            | Self::File
            | Self::NoMemory
            | Self::Spool
            | Self::Body(_) => false,
        }
    }

    /// Whether the connection ended, for whatever reason.
    pub(super) fn is_end(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }

    /// Whether the backend has refused the request without beginning it.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Self::Empty(End::Busy | End::Overloaded))
    }

    /// What the upstream is told.
    pub(super) fn fault(self, is_stale: bool) -> upstream::Fault {
        match self {
            _ if is_stale => upstream::Fault::Stale,
            Self::Closed | Self::Reset => upstream::Fault::Closed("before its answer was whole"),
            Self::Silent(_) => upstream::Fault::TimedOut("its answer"),
            Self::Stuck(_) => upstream::Fault::TimedOut("the request"),
            other => upstream::Fault::Invalid(format!("it {other}")),
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Records(fault)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed the connection before its answer was whole",
            Self::Reset => "reset the connection",
            Self::Silent(ms) => return write!(f, "sent nothing for {ms} ms"),
            Self::Stuck(ms) => return write!(f, "took nothing of the request for {ms} ms"),
            Self::Records(fault) => return write!(f, "sent what is no FastCGI: {fault}"),
            Self::Head(fault) => return write!(f, "sent what is no answer: {fault}"),
            Self::Empty(End::Complete(exit)) => {
                return write!(f, "ended the request without an answer (exit status {exit})");
            }
            Self::Empty(End::Busy) => {
                "refused the request: it takes one a connection, and says there is another"
            }
            Self::Empty(End::Overloaded) => "refused the request: it is overloaded",
            Self::Empty(End::UnknownRole) => "refused the request: it is no responder",
            Self::Length { said, sent } if sent < said => {
                return write!(f, "announced {said} bytes and sent {sent}");
            }
            Self::Length { said, .. } => return write!(f, "announced {said} bytes and sent more"),
            Self::File => "wants a file sent that is in none of the directories it may",
            Self::NoMemory => "could not be served: no memory here",
            Self::Spool => "could not be served: the request's body is lost here",
            Self::Body(error) => return error.fmt(f),
        })
    }
}

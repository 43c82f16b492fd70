//! What goes wrong with a script: the status that says so to the client, and the words that say so to the operator.

use super::ear::Ending;
use crate::request_body::BodyError;
use crate::spool::SpoolError;
use ringway_http::cgi::Fault;
use ringway_http::cgi::order::Refused;
use ringway_http::status::Status;
use std::fmt;
use std::io;

/// Why there is no answer of a script, or no end of one.
#[derive(Debug)]
pub(super) enum Failure {
    /// The starter cannot be asked.
    Asking(io::Error),
    /// The starter has not started it.
    Refused(Refused, Box<str>),
    /// The starter is gone, or says what cannot be understood.
    Lost,
    /// The head of its answer cannot be read.
    Head(Fault),
    /// It has ended without a head.
    NoHead(Option<Ending>),
    /// It has run for as long as it may.
    Overdue,
    /// It has said nothing for as long as it may.
    Silent,
    /// The client's body cannot be read.
    Body(BodyError),
    /// The client's body cannot wait until it is whole.
    Spool(SpoolError),
    /// It wrote less than it said it would.
    Short,
    /// It was ended by a signal while it answered.
    Killed(u8),
}

/// Signals by which limits end a program.
const SIGKILL: u8 = 9;
const SIGXCPU: u8 = 24;

impl Failure {
    /// The status to answer with, as long as no answer was begun.
    pub(super) fn status(&self) -> Status {
        match self {
            Self::Asking(error) if error.kind() == io::ErrorKind::TimedOut => Status::SERVICE_UNAVAILABLE,
            Self::Refused(Refused::Missing | Refused::NoScript | Refused::Directory, _) => Status::NOT_FOUND,
            Self::Refused(Refused::Forbidden, _) => Status::FORBIDDEN,
            Self::Refused(Refused::Busy, _) => Status::SERVICE_UNAVAILABLE,
            Self::Overdue | Self::Silent => Status::GATEWAY_TIMEOUT,
            Self::Body(error) => error.status(),
            Self::Spool(error) => error.status(),
            _ => Status::BAD_GATEWAY,
        }
    }

    /// Whether an operator should know. What clients do wrong is in the access log.
    pub(super) fn is_worth_a_line(&self) -> bool {
        let is_the_clients = matches!(self, Self::Spool(SpoolError::Body(_) | SpoolError::TooLarge));
        !is_the_clients
            && !matches!(self, Self::Body(_) | Self::Refused(Refused::Missing | Refused::Directory, _))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asking(error) if error.kind() == io::ErrorKind::TimedOut => {
                f.write_str("who starts scripts has too much to do")
            }
            Self::Asking(error) => write!(f, "who starts scripts cannot be asked: {error}"),
            Self::Refused(_, text) => f.write_str(text),
            Self::Lost => f.write_str("who starts scripts is gone"),
            Self::Head(fault) => fault.fmt(f),
            Self::NoHead(None) => f.write_str("it closed its output without an answer"),
            Self::NoHead(Some(Ending::Code(code))) => {
                write!(f, "it ended with code {code} without an answer")
            }
            Self::NoHead(Some(Ending::Signal(signal))) => {
                f.write_str("without an answer ")?;
                Self::Killed(*signal).fmt(f)
            }
            Self::Overdue => f.write_str("it ran for longer than it may"),
            Self::Silent => f.write_str("it said nothing for longer than it may"),
            Self::Body(_) => f.write_str("the client's body cannot be read"),
            Self::Spool(error) => error.fmt(f),
            Self::Short => f.write_str("it wrote less than its Content-Length said"),
            Self::Killed(SIGXCPU) => f.write_str("it was ended at its limit of CPU time"),
            Self::Killed(SIGKILL) => {
                f.write_str("it was killed, by its limit of CPU time or for want of memory if by nobody here")
            }
            Self::Killed(signal) => write!(f, "it was ended by signal {signal}"),
        }
    }
}

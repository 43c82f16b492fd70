//! Why an upstream gave no answer, for the error log and the client.

use crate::upstream::{Fault, Lease};
use ringway_http::reply;
use ringway_http::status::Status;

/// What went wrong at a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The connection ended before a byte of an answer.
    Closed,
    /// The connection was reset.
    Reset,
    /// No memory for what is sent or received: not the backend's fault.
    NoMemory,
    /// Nothing was received for too long.
    Silent,
    /// It took nothing of the request for too long.
    Stuck,
    /// What it sent is no answer.
    Invalid(reply::Fault),
    /// Too many interim answers.
    Interims,
    /// It went over to another protocol that nobody asked for.
    Switched,
    /// Its answer's `Connection` names too many fields.
    Options,
}

/// How far the exchange had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing of an answer had come.
    Before,
    /// Its head had come.
    Body,
}

impl Stage {
    /// In words.
    pub(super) fn when(self) -> &'static str {
        match self {
            Self::Before => "before its answer",
            Self::Body => "within its answer",
        }
    }
}

impl Why {
    /// What the client is told.
    pub(super) fn status(self) -> Status {
        match self {
            Self::Silent | Self::Stuck => Status::GATEWAY_TIMEOUT,
            Self::NoMemory => Status::SERVICE_UNAVAILABLE,
            _ => Status::BAD_GATEWAY,
        }
    }

    /// Whether the connection ended without a word.
    pub(super) fn is_end(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }

    /// Closes the connection, and has what went wrong counted, logged and held against the backend.
    pub(super) fn tell(self, lease: Lease, stage: Stage) {
        if self != Self::NoMemory {
            let is_reused = lease.is_reused();
            lease.failed(&self.fault(stage, is_reused));
        }
    }

    /// What it is to the upstream, over a connection that had served others before or not.
    pub(super) fn fault(self, stage: Stage, is_reused: bool) -> Fault {
        let invalid = |why: &str| Fault::Invalid(why.to_owned());
        match self {
            Self::Closed | Self::Reset if stage == Stage::Before && is_reused => Fault::Stale,
            Self::Closed | Self::Reset | Self::Invalid(reply::Fault::Cut) => Fault::Closed(stage.when()),
            Self::NoMemory => invalid("there is no memory for it"),
            Self::Silent => Fault::TimedOut("its answer"),
            Self::Stuck => Fault::TimedOut("the request's body"),
            Self::Invalid(fault) => invalid(fault.reason()),
            Self::Interims => invalid("too many interim answers"),
            Self::Switched => invalid("it switches to a protocol that nobody asked for"),
            Self::Options => invalid("too many connection options"),
        }
    }
}

impl From<reply::Fault> for Why {
    fn from(fault: reply::Fault) -> Self {
        Self::Invalid(fault)
    }
}

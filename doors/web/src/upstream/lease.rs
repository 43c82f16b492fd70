//! A lease: a connection to a backend for one request, and what is told of the backend when it is over.

use crate::upstream::backend::{Backend, Tally};
use crate::upstream::queue::Queue;
use crate::upstream::side::Side;
use ringway_engine::Stream;
use ringway_http::status::Status;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

/// What went wrong with a request at a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A kept connection turned out to be closed before anything of an answer came: nobody's fault, and the request was most
    /// likely not seen.
    Stale,
    /// It closed or reset the connection; what it was doing, such as `before its answer`.
    Closed(&'static str),
    /// It took too long; for what, such as `its answer`.
    TimedOut(&'static str),
    /// What it said is not what it should be; why.
    Invalid(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale => f.write_str("it had closed a kept connection"),
            Self::Closed(when) => write!(f, "it closed the connection {when}"),
            Self::TimedOut(what) => write!(f, "it took too long for {what}"),
            Self::Invalid(why) => write!(f, "its answer is not valid: {why}"),
        }
    }
}

/// Why there is no connection to a backend. What it says is for the error log, not for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaseError {
    /// None is alive, or all were taken out.
    NoneAlive(String),
    /// Those that are alive were all tried for this request.
    AllTried(String),
    /// All have as much to do as they may have, and enough wait for room already, or waited for too long.
    Busy(String),
    /// This machine has no room: descriptors, memory, ports.
    Exhausted(String),
    /// The last one that was tried could not be reached.
    Unreachable {
        /// The backend, and why.
        reason: String,
        /// It took too long.
        is_timeout: bool,
    },
}

impl LeaseError {
    /// What the client is answered.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::NoneAlive(_) | Self::Busy(_) | Self::Exhausted(_) => Status::SERVICE_UNAVAILABLE,
            Self::Unreachable { is_timeout: true, .. } => Status::GATEWAY_TIMEOUT,
            Self::AllTried(_) | Self::Unreachable { .. } => Status::BAD_GATEWAY,
        }
    }
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoneAlive(name) => write!(f, "no backend of {name} is alive"),
            Self::AllTried(name) => write!(f, "every backend of {name} that is alive was tried"),
            Self::Busy(name) => write!(f, "the backends of {name} have too much to do"),
            Self::Exhausted(reason) | Self::Unreachable { reason, .. } => f.write_str(reason),
        }
    }
}

impl std::error::Error for LeaseError {}

/// A request under way at a backend, without a connection of its own: counted there until it is dropped. What happened is
/// told by [`Flight::answered`] and [`Flight::failed`]; neither: it was given up for reasons that are not the backend's.
pub struct Flight {
    side: Rc<Side>,
    place: usize,
    /// It is to show whether the backend is well again.
    is_trial: bool,
    started: Instant,
}

impl Flight {
    pub(super) fn new(side: Rc<Side>, place: usize, is_trial: bool, started: Instant) -> Self {
        Self { side, place, is_trial, started }
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        &self.side.group.backends()[self.place]
    }

    /// Its place among the backends of its group.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place
    }

    /// The head of an answer came `now`.
    pub fn answered(&mut self, status: u16, now: Instant) {
        let is_trial = std::mem::take(&mut self.is_trial);
        let latency = now.saturating_duration_since(self.started).as_micros();
        let latency_us = u64::try_from(latency).unwrap_or(u64::MAX);
        self.side.answered(self.place, is_trial, status, latency_us);
    }

    /// It went wrong: counted, logged, and held against the backend unless it is [`Fault::Stale`].
    pub fn failed(mut self, fault: &Fault) {
        if *fault == Fault::Stale {
            Tally::count(&self.backend().tally.stale);
            return;
        }
        self.is_trial = false;
        if matches!(fault, Fault::TimedOut(_)) {
            Tally::count(&self.backend().tally.timeouts);
        }
        self.side.failed(self.place, &fault.to_string());
    }

    pub(super) const fn side(&self) -> &Rc<Side> {
        &self.side
    }

    /// It could not be begun, and that was told.
    pub(super) fn end_trial(&mut self) {
        self.is_trial = false;
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.backend().leave();
        if self.is_trial {
            self.backend().abandon_trial();
        }
        self.side.flight_ended();
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flight({})", self.backend().name())
    }
}

/// A place among the connections of a backend; free again when it is dropped.
pub(super) struct Slot {
    backend: Arc<Backend>,
    queue: Arc<Queue>,
}

impl Slot {
    /// One that was counted already.
    pub(super) const fn counted(backend: Arc<Backend>, queue: Arc<Queue>) -> Self {
        Self { backend, queue }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.backend.closed();
        self.queue.call_next();
    }
}

/// A connection to a backend that requests share, as HTTP/2's do. Closed when it is dropped.
pub struct Shared {
    /// The connection.
    pub stream: Stream,
    pub(super) slot: Slot,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({}, {:?})", self.slot.backend.name(), self.stream)
    }
}

/// A connection to a backend for one request.
///
/// Dropping it closes the connection, without a word about the backend.
pub struct Lease {
    /// The connection. Its deadline is the holder's; it is cleared when the connection is kept.
    pub stream: Stream,
    pub(super) slot: Slot,
    pub(super) flight: Flight,
    /// Of the backend's addresses when it was made.
    pub(super) version: u32,
    pub(super) is_reused: bool,
}

impl Lease {
    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &Arc<Backend> {
        self.flight.backend()
    }

    /// Whether it served a request before: its end may have nothing to do with this one.
    #[must_use]
    pub const fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The head of an answer came: the backend is well, and this is how long it took.
    pub fn answered(&mut self, status: u16) {
        let now = self.stream.arrived();
        self.flight.answered(status, now);
    }

    /// The exchange is complete and both sides can go on: the connection is used again by another request, unless it is not
    /// as quiet as it should be.
    pub fn keep(self) {
        let Self { stream, slot, flight, version, .. } = self;
        let (side, place) = (Rc::clone(flight.side()), flight.place());
        drop(flight);
        side.keep(place, stream, slot, version);
    }

    /// The exchange went wrong. The connection is closed.
    pub fn failed(self, fault: &Fault) {
        let Self { stream, slot, flight, .. } = self;
        flight.failed(fault);
        drop(stream);
        drop(slot);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, is_reused, .. } = self;
        write!(f, "Lease({}, {stream:?}, reused: {is_reused})", self.backend().name())
    }
}

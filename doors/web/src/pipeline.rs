//! The five stages of an exchange: accepted, request, handler, served, closed.

#[cfg(feature = "streams")]
use crate::body_source::Extent;
use crate::body_source::{BodySource, Streamed};
use crate::entry::Entry;
use crate::exchange::Exchange;
use crate::site::Site;
use ringway_engine::heap::LocalFuture;
use ringway_engine::ring::Handle;
use ringway_http::head::Request;
use ringway_http::response::EncodeError;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

pub use crate::answer::{Plan, PlanBody};

/// An answer whose head is written: what follows it, and what that is taken from.
#[derive(Debug)]
pub struct Reply {
    /// Status, length of the head, and where the body is.
    pub plan: Plan,
    /// What the body is in.
    pub source: Source,
}

impl From<Plan> for Reply {
    /// The answer whose plan says all of its body.
    fn from(plan: Plan) -> Self {
        Self { plan, source: Source::None }
    }
}

impl Reply {
    /// The body that is made while it is sent, if this answer has one.
    #[cfg(feature = "streams")]
    #[inline]
    pub(crate) fn take_stream(&mut self) -> Option<Streamed> {
        if !matches!(self.source, Source::Stream(_)) {
            return None;
        }
        let Source::Stream(source) = std::mem::replace(&mut self.source, Source::None) else { return None };
        let extent = match self.plan.body {
            PlanBody::Stream => Extent::Unknown,
            PlanBody::Sized => Extent::Length(self.plan.body_len),
            PlanBody::Raw => Extent::Raw,
            // HEAD is answered with the head alone.
            _ => return None,
        };
        Some(Streamed { source, extent, status: self.plan.status.code() })
    }

    /// The guest that takes the connection over, if this answer brings one.
    #[cfg(feature = "guests")]
    #[inline]
    pub(crate) fn take_guest(&mut self) -> Option<Box<dyn crate::guest::Guest>> {
        if !matches!(self.source, Source::Guest(_)) {
            return None;
        }
        let Source::Guest(guest) = std::mem::replace(&mut self.source, Source::None) else { return None };
        Some(guest)
    }

    /// Files alone are never made while they are sent; without anything else there is no code for it.
    #[cfg(not(feature = "streams"))]
    #[expect(
        clippy::unused_self,
        clippy::needless_pass_by_ref_mut,
        reason = "where nothing is streamed it is a constant"
    )]
    pub(crate) fn take_stream(&mut self) -> Option<Streamed> {
        None
    }
}

/// What the body of an answer is taken from.
pub enum Source {
    /// The plan itself says it.
    None,
    /// An entry of the open-file cache.
    Entry(Rc<Entry<Handle>>),
    /// Made for this answer.
    Bytes(Vec<u8>),
    /// Made while it is sent.
    Stream(Box<dyn BodySource>),
    /// The connection is somebody else's behind the head.
    #[cfg(feature = "guests")]
    Guest(Box<dyn crate::guest::Guest>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Entry(entry) => f.debug_tuple("Entry").field(entry).finish(),
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Self::Stream(source) => f.debug_tuple("Stream").field(source).finish(),
            #[cfg(feature = "guests")]
            Self::Guest(_) => f.write_str("Guest"),
        }
    }
}

/// What a stage decides.
pub enum Verdict {
    /// The next stage decides.
    Pass,
    /// This is the answer.
    Answer(Reply),
    /// Close the connection without an answer.
    Close,
    /// Await this, then go on with what it gives; [`Handled::NotMine`] passes.
    Later(Later),
}

/// What a handler decides.
pub enum Handled {
    /// Not mine: the next handler decides.
    NotMine,
    /// This is the answer.
    Answer(Reply),
    /// The path was rewritten ([`Exchange::rewrite`]): look for its route.
    Rewritten,
    /// Close the connection without an answer.
    Close,
    /// Await this, then go on with what it gives.
    Later(Later),
}

/// Work that an answer waits for, on its worker's heap.
pub type Later = LocalFuture<Finish>;

/// How a handler or stage goes on after its work was done. The exchange is another one by then: who asked, the path, the
/// user and added field lines are as they were, memory and clocks are new.
pub type Finish = Box<dyn FnOnce(&mut Exchange<'_>) -> Result<Handled, EncodeError>>;

impl From<Verdict> for Handled {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::NotMine,
            Verdict::Answer(reply) => Self::Answer(reply),
            Verdict::Close => Self::Close,
            Verdict::Later(later) => Self::Later(later),
        }
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("Pass"),
            Self::Answer(reply) => f.debug_tuple("Answer").field(reply).finish(),
            Self::Close => f.write_str("Close"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMine => f.write_str("NotMine"),
            Self::Answer(reply) => f.debug_tuple("Answer").field(reply).finish(),
            Self::Rewritten => f.write_str("Rewritten"),
            Self::Close => f.write_str("Close"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Stage 10: a connection was accepted.
pub trait AcceptedStage {
    /// Whether to keep it. `None` for Unix sockets.
    fn accepted(&self, peer: Option<SocketAddr>) -> bool;
}

/// Stage 20: a request's head is read; rules live here.
pub trait RequestStage {
    /// Decides, or passes. It may rewrite the path before it passes.
    ///
    /// # Errors
    /// When the exchange's memory is too small for the answer's head.
    fn request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, EncodeError>;
}

/// Stage 30: who makes the answer.
pub trait Handler {
    /// Decides, or says that the request is not its own.
    ///
    /// # Errors
    /// When the exchange's memory is too small for the answer's head; it is asked again with more.
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError>;
}

/// Between stages 30 and 40: who changes answers, as compression does.
pub trait AnswerStage {
    /// Gives the answer on as [`Handled::Answer`], or another one in its place; its head stands at the beginning of the
    /// exchange's memory.
    ///
    /// # Errors
    /// When the exchange's memory is too small for the answer's head; the request is handled again with more.
    fn answer(&self, exchange: &mut Exchange<'_>, reply: Reply) -> Result<Handled, EncodeError>;
}

/// Stage 40: an answer was handed to the connection.
pub trait ServedStage {
    /// Takes note.
    fn served(&self, served: &Served<'_>);

    /// Whether it wants the peer's address and exact times; they cost system calls.
    fn wants_details(&self) -> bool;
}

/// Stage 50: a connection has ended.
pub trait ClosedStage {
    /// Takes note of a connection that served `requests`.
    fn closed(&self, requests: u32);
}

/// What was served.
#[derive(Debug)]
pub struct Served<'a> {
    /// The request; `None` when none could be read.
    pub request: Option<&'a Request<'a>>,
    /// The site that answered; the default one when no request could be read.
    pub site: &'a Site,
    /// The peer, where it has an address and somebody wanted it.
    pub peer: Option<SocketAddr>,
    /// Who the client has proved to be.
    pub user: Option<&'a str>,
    /// The rule that has refused the request, by its name or number.
    pub rule: Option<&'a str>,
    /// The protocol it was served over, such as `HTTP/1.1`.
    pub protocol: &'static str,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// From the request's arrival to the answer's hand-over, in microseconds; 0 when nobody wanted it.
    pub duration_us: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

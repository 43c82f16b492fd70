//! The five stages of an exchange: accepted, request, handler, served, closed.

use crate::answer::{Common, Plan};
use crate::entry::Entry;
use crate::file_cache::Moment;
use ringway_engine::ThreadPool;
use ringway_engine::heap::{Arena, LocalFuture};
use ringway_engine::ring::Handle;
use ringway_http::head::Request;
use ringway_http::response::EncodeError;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

/// One request on its way to an answer. Stages write the answer's head into `memory`.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What was asked.
    pub request: &'a Request<'a>,
    /// Field lines that every answer carries, and the time.
    pub common: Common<'a>,
    /// The clocks.
    pub moment: Moment,
    /// Where the head goes.
    pub memory: &'a mut [u8],
    /// For blocking work.
    pub pool: &'a ThreadPool,
    /// For what is wanted until the answer's head is written; all of it is freed then.
    pub scratch: &'a Arena,
}

/// An answer whose head is written: what follows it, and what that is taken from.
#[derive(Debug)]
pub struct Reply {
    /// Status, length of the head, and where the body is.
    pub plan: Plan,
    /// What the body is in.
    pub source: Source,
}

/// What the body of an answer is taken from.
#[derive(Debug)]
pub enum Source {
    /// The plan itself says it.
    None,
    /// An entry of the open-file cache.
    Entry(Rc<Entry<Handle>>),
    /// Made for this answer.
    Bytes(Vec<u8>),
}

/// What a stage decides.
#[derive(Debug)]
pub enum Verdict {
    /// The next stage decides.
    Pass,
    /// This is the answer.
    Answer(Reply),
    /// Close the connection without an answer.
    Close,
}

/// What a handler decides.
pub enum Handled {
    /// Not mine: the next handler decides.
    NotMine,
    /// This is the answer.
    Answer(Reply),
    /// Close the connection without an answer.
    Close,
    /// Await this, then go on with what it gives.
    Later(Later),
}

/// Work that an answer waits for, on its worker's heap.
pub type Later = LocalFuture<Finish>;

/// How a handler goes on after its work was done.
pub type Finish = Box<dyn FnOnce(&mut Exchange<'_>) -> Result<Handled, EncodeError>>;

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMine => f.write_str("NotMine"),
            Self::Answer(reply) => f.debug_tuple("Answer").field(reply).finish(),
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
    /// Decides, or passes.
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
    /// When the exchange's memory is too small for the answer's head.
    fn handle(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError>;
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
    /// The peer, where it has an address and somebody wanted it.
    pub peer: Option<SocketAddr>,
    /// Status of the answer.
    pub status: u16,
    /// Bytes of its body.
    pub body_bytes: u64,
    /// From the request's arrival to the answer's hand-over, in microseconds; 0 when nobody wanted it.
    pub duration_us: u64,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
}

/// The stages of a site, each in its configured order.
#[derive(Default)]
pub struct Pipeline {
    /// Asked in order; the first that refuses closes the connection.
    pub accepted: Vec<Box<dyn AcceptedStage>>,
    /// Asked in order; the first that does not pass decides.
    pub request: Vec<Box<dyn RequestStage>>,
    /// Asked in order; the first whose request it is answers. 404 when nobody's.
    pub handlers: Vec<Box<dyn Handler>>,
    /// All are told.
    pub served: Vec<Box<dyn ServedStage>>,
    /// All are told.
    pub closed: Vec<Box<dyn ClosedStage>>,
}

impl Pipeline {
    /// Runs the request through stages 20 and 30.
    ///
    /// # Errors
    /// When the exchange's memory is too small for the answer's head.
    pub fn run(&self, exchange: &mut Exchange<'_>) -> Result<Handled, EncodeError> {
        for stage in &self.request {
            match stage.request(exchange)? {
                Verdict::Pass => {}
                Verdict::Answer(reply) => return Ok(Handled::Answer(reply)),
                Verdict::Close => return Ok(Handled::Close),
            }
        }
        for handler in &self.handlers {
            match handler.handle(exchange)? {
                Handled::NotMine => {}
                decided => return Ok(decided),
            }
        }
        Ok(Handled::NotMine)
    }

    /// Whether anybody wants details of what was served.
    #[must_use]
    pub fn wants_details(&self) -> bool {
        self.served.iter().any(|stage| stage.wants_details())
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("accepted", &self.accepted.len())
            .field("request", &self.request.len())
            .field("handlers", &self.handlers.len())
            .field("served", &self.served.len())
            .field("closed", &self.closed.len())
            .finish()
    }
}

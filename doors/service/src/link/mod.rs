//! One connection of a worker to a server that answers in order: pipelined, with a deadline for every request, reconnecting.
//!
//! Requests are handed over from anywhere on the worker, in a connection's turn too. What the handlers of one batch hand over leaves
//! as one send. A request that was sent when its connection broke fails: nobody knows whether it was done. One that was not
//! sent yet goes with the next connection, unless that cannot be had: then everything fails at once, so that the service goes
//! on without its store, until a try succeeds.

mod address;
mod drive;

pub use address::{MakeFilter, StoreAddress};
pub(crate) use address::{connect, pause_ms};
#[cfg(feature = "redis")]
pub(crate) use drive::begin;

use crate::log::{Level, Log};
use ringway_engine::WorkerHandle;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How a connection to a store is kept.
#[derive(Clone)]
pub struct LinkOptions {
    /// Milliseconds until a request has failed that is not answered.
    pub timeout_ms: u64,
    /// Milliseconds for connecting, with all that is said before the first request.
    pub connect_ms: u64,
    /// Milliseconds until the first try after one that failed; then twice as many each time.
    pub retry_ms_min: u64,
    /// At most so many.
    pub retry_ms_max: u64,
    /// Milliseconds without a request after which the server is asked whether it is there.
    pub ping_ms: u64,
    /// Most requests that are not answered.
    pub requests_max: usize,
    /// Most bytes of requests that are not answered.
    pub bytes_max: usize,
    /// Most bytes of one answer.
    pub answer_bytes_max: usize,
    /// Place of the kind of connections in [`ringway_engine::ServerOptions::outbound`].
    pub outbound: usize,
    /// What encrypts connections, by the server's name.
    pub encryption: Option<MakeFilter>,
    /// Where it is said that the store is gone and that it is back.
    pub log: Option<Log>,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            timeout_ms: 5_000,
            connect_ms: 2_000,
            retry_ms_min: 50,
            retry_ms_max: 5_000,
            ping_ms: 15_000,
            requests_max: 16_384,
            bytes_max: 16 * 1_024 * 1_024,
            answer_bytes_max: 64 * 1_024 * 1_024,
            outbound: 0,
            encryption: None,
            log: None,
        }
    }
}

impl fmt::Debug for LinkOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkOptions")
            .field("timeout_ms", &self.timeout_ms)
            .field("outbound", &self.outbound)
            .field("is_encrypted", &self.encryption.is_some())
            .finish_non_exhaustive()
    }
}

/// How a worker's connection to a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being made; requests wait for it.
    Connecting,
    /// It is there.
    Up,
    /// It cannot be had, for this reason. Requests fail at once, and it is tried again and again.
    Degraded(Arc<str>),
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkError {
    /// The store cannot be reached, for this reason. Nothing was done.
    Degraded(Arc<str>),
    /// It did not answer in time. Nobody knows whether it was done.
    TimedOut,
    /// The connection broke before the answer. Nobody knows whether it was done.
    Lost,
    /// Too much waits already. Nothing was done.
    Full,
    /// The client, or the worker, is gone.
    Closed,
}

/// What is spoken on a connection.
pub(crate) trait Wire: 'static {
    /// What the server says to one command.
    type Reply: 'static;
    /// A new connection: what was read of the last one is forgotten.
    fn begin(&mut self);
    /// What is said first, and how many replies that has.
    fn greeting(&self) -> (Vec<u8>, usize);
    /// Whether a reply to the greeting lets one in.
    fn welcome(&self, reply: Self::Reply) -> Result<(), String>;
    /// A question that is always answered.
    fn ping(&self) -> Vec<u8>;
    /// The next whole reply; takes bytes from the front of `input`.
    fn next(&mut self, input: &mut &[u8]) -> Result<Option<Self::Reply>, String>;
}

/// A worker's connection to a server. Clones are the same; with the last of them it ends.
pub(crate) struct Link<R> {
    owner: Rc<Owner<R>>,
}

impl<R> Clone for Link<R> {
    fn clone(&self) -> Self {
        Self { owner: Rc::clone(&self.owner) }
    }
}

struct Owner<R> {
    shared: Rc<Shared<R>>,
}

/// What the handles and the connection's task share.
struct Shared<R> {
    options: LinkOptions,
    address: StoreAddress,
    queue: RefCell<Queue<R>>,
    standing: RefCell<Standing>,
    /// Of the task.
    waker: RefCell<Option<Waker>>,
    is_closed: Cell<bool>,
}

struct Queue<R> {
    /// Not sent yet.
    waiting: VecDeque<Request<R>>,
    /// Sent and not answered.
    sent: VecDeque<Request<R>>,
    /// Of both.
    bytes: usize,
}

struct Request<R> {
    bytes: Vec<u8>,
    /// Counted for it, also when its bytes are sent and gone.
    cost: usize,
    slot: Rc<RefCell<Slot<R>>>,
    /// When it was first seen by the task; 0: not yet.
    since_ms: u64,
    /// It is sent though nobody waits for its replies.
    is_told: bool,
}

struct Slot<R> {
    wanted: usize,
    replies: Vec<R>,
    outcome: Option<Result<(), LinkError>>,
    waker: Option<Waker>,
}

/// An answer that is under way; dropped, it is not heard. A request that nobody waits for is not sent if that has not happened
/// yet.
pub(crate) struct Asked<R> {
    slot: Result<Rc<RefCell<Slot<R>>>, LinkError>,
}

impl<R: 'static> Link<R> {
    /// Begins to connect.
    pub(crate) fn new<W: Wire<Reply = R>>(
        worker: &WorkerHandle,
        address: StoreAddress,
        options: LinkOptions,
        wire: W,
    ) -> Self {
        let shared = Rc::new(Shared {
            options,
            address,
            queue: RefCell::new(Queue { waiting: VecDeque::new(), sent: VecDeque::new(), bytes: 0 }),
            standing: RefCell::new(Standing::Connecting),
            waker: RefCell::default(),
            is_closed: Cell::new(false),
        });
        worker.spawn(drive::run(worker.clone(), Rc::clone(&shared), wire));
        Self { owner: Rc::new(Owner { shared }) }
    }

    /// Hands a request over that has so many replies.
    pub(crate) fn ask(&self, bytes: Vec<u8>, replies: usize) -> Asked<R> {
        Asked { slot: self.owner.shared.push(bytes, replies, false) }
    }

    /// The same where nobody waits for the replies; what cannot be sent now is lost.
    #[cfg(all(feature = "redis", feature = "sessions", feature = "websockets"))]
    pub(crate) fn tell(&self, bytes: Vec<u8>, replies: usize) {
        // At most once is what whoever tells is promised.
        let _not_sent = self.owner.shared.push(bytes, replies, true);
    }

    pub(crate) fn standing(&self) -> Standing {
        self.owner.shared.standing.borrow().clone()
    }
}

impl<R> Shared<R> {
    fn push(&self, bytes: Vec<u8>, replies: usize, is_told: bool) -> Result<Rc<RefCell<Slot<R>>>, LinkError> {
        if self.is_closed.get() {
            return Err(LinkError::Closed);
        }
        if let Standing::Degraded(reason) = &*self.standing.borrow() {
            return Err(LinkError::Degraded(Arc::clone(reason)));
        }
        let queue = &mut *self.queue.borrow_mut();
        let cost = bytes.len() + size_of::<Request<R>>();
        let count = queue.waiting.len() + queue.sent.len();
        if count >= self.options.requests_max || queue.bytes + cost > self.options.bytes_max {
            return Err(LinkError::Full);
        }
        queue.bytes += cost;
        let slot = Slot {
            wanted: replies,
            replies: Vec::with_capacity(replies.min(64)),
            outcome: None,
            waker: None,
        };
        let slot = Rc::new(RefCell::new(slot));
        queue.waiting.push_back(Request { bytes, cost, slot: Rc::clone(&slot), since_ms: 0, is_told });
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
        Ok(slot)
    }

    /// Fails what was sent, and what waits where `all` says so.
    fn fail(&self, sent: &LinkError, waiting: Option<&LinkError>) {
        let (lost, refused) = {
            let queue = &mut *self.queue.borrow_mut();
            let refused =
                if waiting.is_some() { std::mem::take(&mut queue.waiting) } else { VecDeque::new() };
            let lost = std::mem::take(&mut queue.sent);
            let cost: usize = lost.iter().chain(&refused).map(|request| request.cost).sum();
            queue.bytes -= cost;
            (lost, refused)
        };
        lost.into_iter().for_each(|request| request.finish(Err(sent.clone())));
        if let Some(error) = waiting {
            refused.into_iter().for_each(|request| request.finish(Err(error.clone())));
        }
    }

    /// The server cannot be had: nobody waits for it.
    fn degrade(&self, reason: &str) {
        let reason: Arc<str> = reason.into();
        let degraded = LinkError::Degraded(Arc::clone(&reason));
        self.set_standing(Standing::Degraded(reason));
        self.fail(&degraded, Some(&degraded));
    }

    fn say_lost(&self, reason: &str) {
        if let (Some(log), false) = (&self.options.log, self.is_closed.get()) {
            log.write(Level::Warn, format_args!("{}: {reason}", self.address));
        }
    }

    fn set_standing(&self, standing: Standing) {
        let before = self.standing.replace(standing.clone());
        let Some(log) = &self.options.log else { return };
        match (before, standing) {
            (Standing::Degraded(before), Standing::Degraded(now)) if before == now => {}
            (_, Standing::Degraded(reason)) => {
                log.write(Level::Error, format_args!("{} cannot be reached: {reason}", self.address));
            }
            (Standing::Degraded(_), Standing::Up) => {
                log.write(Level::Info, format_args!("{} is there again", self.address));
            }
            _ => {}
        }
    }
}

impl<R> Request<R> {
    fn is_wanted(&self) -> bool {
        self.is_told || Rc::strong_count(&self.slot) > 1
    }

    /// Whether its asker was told already.
    fn is_over(&self) -> bool {
        self.slot.borrow().outcome.is_some()
    }

    fn finish(&self, outcome: Result<(), LinkError>) {
        let waker = {
            let slot = &mut *self.slot.borrow_mut();
            if slot.outcome.is_some() {
                return;
            }
            slot.outcome = Some(outcome);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> Drop for Owner<R> {
    fn drop(&mut self) {
        self.shared.is_closed.set(true);
        let waker = self.shared.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<R> Future for Asked<R> {
    type Output = Result<Vec<R>, LinkError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let slot = match &self.slot {
            Ok(slot) => slot,
            Err(error) => return Poll::Ready(Err(error.clone())),
        };
        let slot = &mut *slot.borrow_mut();
        match slot.outcome.clone() {
            Some(outcome) => Poll::Ready(outcome.map(|()| std::mem::take(&mut slot.replies))),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<R> fmt::Debug for Link<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {:?})", self.owner.shared.address, self.owner.shared.standing.borrow())
    }
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Degraded(reason) => write!(f, "the store cannot be reached: {reason}"),
            Self::TimedOut => f.write_str("the store did not answer in time"),
            Self::Lost => f.write_str("the connection to the store broke before its answer"),
            Self::Full => f.write_str("too much waits for the store"),
            Self::Closed => f.write_str("the store's client is gone"),
        }
    }
}

impl std::error::Error for LinkError {}

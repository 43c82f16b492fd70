//! Bodies of requests over HTTP/2: what has arrived and was not read yet, within the stream's window.

use super::BodyError;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice};
use ringway_http::head::{Body, Request};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Pieces up to this part of their buffer, as a divisor, are copied behind the last one rather than kept in it: a client that
/// sends a byte a frame must not pin a buffer for each.
const COPIED_SHARE: usize = 4;

/// A body on its way, shared by the connection, which brings it, and whoever reads it.
pub(crate) struct Arriving {
    queue: RefCell<VecDeque<Slice>>,
    /// Bytes that were read since the connection looked: the client may send as many more.
    taken: Cell<u32>,
    /// Bytes it has had, and may have.
    bytes: Cell<u64>,
    bytes_max: Cell<u64>,
    length: Option<u64>,
    is_whole: Cell<bool>,
    error: Cell<Option<BodyError>>,
    /// Nobody reads it any more.
    is_let_go: Cell<bool>,
    is_asked_for: Cell<bool>,
    expects_continue: Cell<bool>,
    /// It is another protocol's: as long as it likes, and silent as long as it likes.
    is_unframed: Cell<bool>,
    /// Bytes since the window began, whether somebody waits, and whether somebody did when it began.
    window_bytes: Cell<u64>,
    has_waited: Cell<bool>,
    is_waiting: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Wakes the connection, unless it is at work and sees to everything anyway.
    session: Rc<Session>,
}

/// What bodies know of their connection.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) is_at_work: Cell<bool>,
    pub(crate) waker: RefCell<Option<Waker>>,
}

impl Session {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self { is_at_work: Cell::new(false), waker: RefCell::new(None) })
    }

    fn wake(&self) {
        if !self.is_at_work.get()
            && let Some(waker) = &*self.waker.borrow()
        {
            waker.wake_by_ref();
        }
    }
}

impl Arriving {
    /// The body of `request`, which goes on after its head.
    pub(crate) fn new(request: &Request<'_>, bytes_max: u64, session: Rc<Session>) -> Rc<Self> {
        let length = match request.body() {
            Body::Length(length) => Some(length),
            Body::None | Body::Chunked => None,
        };
        Rc::new(Self {
            queue: RefCell::default(),
            taken: Cell::new(0),
            bytes: Cell::new(0),
            bytes_max: Cell::new(bytes_max),
            length,
            is_whole: Cell::new(false),
            error: Cell::new(None),
            is_let_go: Cell::new(false),
            is_asked_for: Cell::new(false),
            expects_continue: Cell::new(request.expects_continue()),
            is_unframed: Cell::new(false),
            window_bytes: Cell::new(0),
            has_waited: Cell::new(true),
            is_waiting: Cell::new(false),
            waker: RefCell::new(None),
            session,
        })
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    pub(crate) fn error(&self) -> Option<BodyError> {
        self.error.get()
    }

    /// A handler takes it, with a limit of its own or that of the connection.
    pub(crate) fn open(&self, bytes_max: Option<u64>) {
        self.is_let_go.set(false);
        if let Some(bytes_max) = bytes_max {
            self.bytes_max.set(bytes_max);
        }
        if self.length.unwrap_or(0).max(self.bytes.get()) > self.bytes_max.get() {
            self.fail(BodyError::TooLarge);
        }
    }

    /// The stream is another protocol's from here on.
    pub(crate) fn set_unframed(&self) {
        self.is_unframed.set(true);
        self.bytes_max.set(u64::MAX);
    }

    /// Whether nothing of it was asked for yet.
    pub(crate) fn is_untouched(&self) -> bool {
        !self.is_asked_for.get()
    }

    /// Whoever read it has enough.
    pub(crate) fn let_go(&self) {
        self.is_let_go.set(true);
        self.session.wake();
    }

    /// The next piece: see [`super::RequestBody::poll_next`].
    pub(crate) fn poll_next(&self, context: &Context<'_>) -> Poll<Result<Option<Slice>, BodyError>> {
        if !self.is_asked_for.replace(true) && self.expects_continue.get() {
            self.session.wake();
        }
        if let Some(error) = self.error.get() {
            return Poll::Ready(Err(error));
        }
        if let Some(piece) = self.queue.borrow_mut().pop_front() {
            self.is_waiting.set(false);
            self.taken.set(self.taken.get().saturating_add(u32::try_from(piece.len()).unwrap_or(u32::MAX)));
            self.session.wake();
            return Poll::Ready(Ok(Some(piece)));
        }
        if self.is_whole.get() {
            return Poll::Ready(Ok(None));
        }
        self.is_waiting.set(true);
        let waker = &mut *self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// A piece has come: `at` of it. `false`: there is more than may be.
    pub(crate) fn push(&self, mut input: Slice, at: std::ops::Range<usize>, ends: bool, pool: &Pool) -> bool {
        input.truncate(at.end);
        input.advance(at.start);
        self.bytes.set(self.bytes.get().saturating_add(input.len() as u64));
        self.window_bytes.set(self.window_bytes.get().saturating_add(input.len() as u64));
        if self.bytes.get() > self.bytes_max.get() {
            self.fail(BodyError::TooLarge);
            return false;
        }
        self.is_whole.set(ends);
        let is_empty = input.is_empty();
        if !is_empty {
            self.keep(input, pool);
        }
        if ends || !is_empty {
            self.wake();
        }
        true
    }

    fn keep(&self, input: Slice, pool: &Pool) {
        let queue = &mut *self.queue.borrow_mut();
        let is_small = input.len() <= input.capacity() / COPIED_SHARE;
        if !is_small {
            queue.push_back(input);
            return;
        }
        if queue.back_mut().is_some_and(|last| last.try_extend(&input)) {
            return;
        }
        // Behind the first small piece there is room for more.
        let wanted = input.len().saturating_mul(COPIED_SHARE).min(SLICE_BYTES_MAX);
        let copied = pool.get(wanted).map(|mut copy| {
            copy[..input.len()].copy_from_slice(&input);
            copy.freeze(input.len())
        });
        queue.push_back(copied.unwrap_or(input));
    }

    /// It will not come to its end.
    pub(crate) fn fail(&self, error: BodyError) {
        if self.error.get().is_none() {
            self.error.set(Some(error));
            self.wake();
        }
    }

    /// Whether the client is to be told to go on; says so once.
    pub(crate) fn take_expectation(&self) -> bool {
        self.is_asked_for.get() && self.expects_continue.replace(false)
    }

    /// The answer has begun: no interim one can come before it any more.
    pub(crate) fn note_answer(&self) {
        self.expects_continue.set(false);
    }

    /// Bytes that have come so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Bytes that were read since the last call.
    pub(crate) fn take_taken(&self) -> u32 {
        self.taken.take()
    }

    /// Whether nobody reads it any more.
    pub(crate) fn is_let_go(&self) -> bool {
        self.is_let_go.get()
    }

    /// Whether all of it has come and was read.
    pub(crate) fn is_drained(&self) -> bool {
        self.is_whole.get() && self.queue.borrow().is_empty()
    }

    /// Drops what is left of it; how many bytes that was.
    pub(crate) fn empty(&self) -> u32 {
        let left: usize = self.queue.borrow_mut().drain(..).map(|piece| piece.len()).sum();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Whether the window that is over brought too little although somebody waited, now and when it began; begins the next
    /// one.
    pub(crate) fn is_late(&self, bytes_min: u64) -> bool {
        let bytes = self.window_bytes.take();
        let has_waited = self.has_waited.replace(self.is_waiting.get());
        has_waited && self.is_waiting.get() && bytes < bytes_min && !self.is_unframed.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arriving").field("bytes", &self.bytes.get()).finish_non_exhaustive()
    }
}

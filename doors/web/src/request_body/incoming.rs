//! Bodies of requests over HTTP/1: read from the connection by whoever asks for the next piece.

use super::{BodyError, CONTINUE};
use crate::limits::{WebLimits, deadline};
use crate::timing::Timing;
use ringway_engine::Stream;
use ringway_engine::ring::Slice;
use ringway_http::body::{self, BodyDecoder, Step};
use ringway_http::head::{Body, Request};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A body on its way, shared by the connection and whoever reads it.
pub(crate) struct Incoming {
    reading: RefCell<Reading>,
    /// When either direction of the connection has taken too long.
    pub(crate) timing: Timing,
    framing: Body,
    /// The client waits for "100 Continue".
    expects_continue: Cell<bool>,
    had_expectation: bool,
}

struct Reading {
    /// A handle of its own, as long as the request lasts.
    stream: Option<Stream>,
    limits: body::Limits,
    /// How long a window is, in milliseconds, and how much must come in one.
    window_ms: u64,
    window_bytes_min: u64,
    /// Made when the first piece is asked for.
    decoder: Option<BodyDecoder>,
    /// Bytes that are there and need more behind them: part of a trailer line.
    kept_bytes: usize,
    /// Bytes since the window began.
    window_bytes: u64,
    /// Time of the window that was spent waiting, and since when that goes on.
    waited_ms: u64,
    waits_since_ms: Option<u64>,
    is_unframed: bool,
    is_done: bool,
    is_discarded: bool,
    error: Option<BodyError>,
}

impl Incoming {
    /// The body of `request`, which is about to come on `stream`.
    pub(crate) fn new(stream: &Stream, request: &Request<'_>, limits: &WebLimits) -> Rc<Self> {
        let incoming = Self::with(request.body(), limits.body, request.expects_continue());
        {
            let reading = &mut *incoming.reading.borrow_mut();
            reading.window_ms = limits.body_ms_max;
            reading.window_bytes_min = limits.send_window_bytes_min;
            reading.stream = Some(stream.twin());
        }
        Rc::new(incoming)
    }

    /// What follows a request without a body that asks for another protocol.
    pub(crate) fn of_upgrade() -> Rc<Self> {
        Rc::new(Self::with(Body::None, body::Limits::default(), false))
    }

    fn with(framing: Body, limits: body::Limits, expects_continue: bool) -> Self {
        let reading = Reading {
            stream: None,
            limits,
            window_ms: 0,
            window_bytes_min: 0,
            decoder: None,
            kept_bytes: 0,
            window_bytes: 0,
            waited_ms: 0,
            waits_since_ms: None,
            is_unframed: false,
            is_done: framing.is_empty(),
            is_discarded: false,
            error: None,
        };
        Self {
            reading: RefCell::new(reading),
            timing: Timing::default(),
            framing,
            expects_continue: Cell::new(expects_continue),
            had_expectation: expects_continue,
        }
    }

    /// Gives it a handle of its connection, if it has none yet.
    pub(crate) fn bind(&self, stream: &Stream) {
        let reading = &mut *self.reading.borrow_mut();
        if reading.stream.is_none() && reading.error.is_none() {
            reading.stream = Some(stream.twin());
        }
    }

    /// A handler takes it, with a limit of its own or that of the connection.
    pub(crate) fn open(&self, bytes_max: Option<u64>) {
        let reading = &mut *self.reading.borrow_mut();
        if let Some(bytes_max) = bytes_max {
            reading.limits.body_bytes_max = bytes_max;
        }
        if matches!(self.framing, Body::Length(length) if length > reading.limits.body_bytes_max) {
            reading.error = Some(BodyError::TooLarge);
        }
    }

    pub(crate) fn length(&self) -> Option<u64> {
        match self.framing {
            Body::None => Some(0),
            Body::Length(length) => Some(length),
            Body::Chunked => None,
        }
    }

    /// Whether the client asked to be told to go on; it may never send its body.
    pub(crate) fn expects_continue(&self) -> bool {
        self.had_expectation
    }

    pub(crate) fn error(&self) -> Option<BodyError> {
        self.reading.borrow().error
    }

    /// Whether nothing of it was asked for yet.
    pub(crate) fn is_untouched(&self) -> bool {
        self.reading.borrow().decoder.is_none()
    }

    /// Whether all of it was read, and what follows is the next request.
    pub(crate) fn is_done(&self) -> bool {
        let reading = self.reading.borrow();
        reading.is_done && !reading.is_unframed
    }

    pub(crate) fn set_unframed(&self) {
        self.reading.borrow_mut().is_unframed = true;
    }

    /// The answer has begun: no interim one can come before it any more.
    pub(crate) fn note_answer(&self) {
        self.expects_continue.set(false);
    }

    /// The request is over: who still holds the body reads no more of the connection.
    pub(crate) fn close(&self) {
        let reading = &mut *self.reading.borrow_mut();
        reading.stream = None;
        reading.error.get_or_insert(BodyError::Gone);
    }

    /// The next piece: see [`super::RequestBody::poll_next`].
    pub(crate) fn poll_next(&self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, BodyError>> {
        let reading = &mut *self.reading.borrow_mut();
        if self.expects_continue.replace(false)
            && let Some(stream) = &mut reading.stream
            && let Ok(interim) = stream.slice_of(CONTINUE)
        {
            stream.send(interim);
        }
        let polled = reading.poll_next(self.framing, &self.timing, context);
        if let Poll::Ready(Err(error)) = polled {
            reading.error = Some(error);
        }
        polled
    }

    /// Reads to the end and drops what comes: all of it in one window, and within the connection's limits.
    pub(crate) async fn discard(&self, limits: &WebLimits) -> Result<(), BodyError> {
        {
            let reading = &mut *self.reading.borrow_mut();
            reading.is_discarded = true;
            let _earlier = self.timing.is_reading_late();
            if reading.decoder.is_none() {
                reading.limits = limits.body;
                reading.error = None;
            }
            let until_ms = reading.stream.as_ref().map_or(0, |stream| stream.now_ms());
            let until_ms = deadline(until_ms, limits.body_ms_max);
            if let Some(stream) = &mut reading.stream {
                self.timing.set_reading(stream, until_ms);
            }
        }
        while poll_fn(|context| self.poll_next(context)).await?.is_some() {}
        Ok(())
    }
}

impl Reading {
    fn poll_next(
        &mut self,
        framing: Body,
        timing: &Timing,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Slice>, BodyError>> {
        if let Some(error) = self.error {
            return Poll::Ready(Err(error));
        }
        if self.decoder.is_none() {
            self.decoder = Some(BodyDecoder::new(framing, self.limits)?);
        }
        loop {
            if self.is_done && !self.is_unframed {
                return Poll::Ready(Ok(None));
            }
            let Some(stream) = &mut self.stream else { return Poll::Ready(Err(BodyError::Gone)) };
            let polled = match self.kept_bytes {
                0 => pin!(stream.read()).poll(context),
                kept => pin!(stream.read_beyond(kept)).poll(context),
            };
            match polled {
                Poll::Ready(Ok(Some(input))) => {
                    if self.is_done {
                        return Poll::Ready(Ok(Some(input)));
                    }
                    if let Some(piece) = self.decode(input)? {
                        return Poll::Ready(Ok(Some(piece)));
                    }
                }
                Poll::Ready(Ok(None)) if self.is_done => return Poll::Ready(Ok(None)),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    timing.expire(stream);
                }
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err(BodyError::Gone)),
                Poll::Pending => {
                    self.wait(timing)?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes what is there; a piece of the body, if there is one in it.
    fn decode(&mut self, mut input: Slice) -> Result<Option<Slice>, BodyError> {
        let (Some(decoder), Some(stream)) = (&mut self.decoder, &mut self.stream) else { return Ok(None) };
        self.kept_bytes = 0;
        loop {
            let step = decoder.decode(&input)?;
            let consumed = step.consumed();
            match step {
                Step::Data { data } => {
                    input.advance(data.start);
                    let len = data.end - data.start;
                    let piece = if len == input.len() {
                        input
                    } else {
                        let piece = input.split_to(len);
                        stream.unread(input);
                        piece
                    };
                    self.is_done = decoder.is_done();
                    self.count(len);
                    return Ok(Some(piece));
                }
                Step::Trailer { .. } => input.advance(consumed),
                Step::NeedMore { .. } => {
                    input.advance(consumed);
                    self.kept_bytes = input.len();
                    stream.unread(input);
                    return Ok(None);
                }
                Step::Done { .. } => {
                    input.advance(consumed);
                    self.is_done = true;
                    stream.unread(input);
                    return Ok(None);
                }
            }
        }
    }

    /// Nothing is there. A window is so much time spent waiting, in which enough must come; what whoever reads does
    /// meanwhile does not count.
    fn wait(&mut self, timing: &Timing) -> Result<(), BodyError> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        if self.is_done {
            return Ok(());
        }
        if self.is_discarded {
            return if timing.is_reading_late() { Err(BodyError::Late) } else { Ok(()) };
        }
        let now_ms = stream.now_ms();
        let since_ms = *self.waits_since_ms.get_or_insert(now_ms);
        if timing.is_reading_timed() {
            return Ok(());
        }
        let waited_ms = self.waited_ms + (now_ms - since_ms);
        let goes_on = timing.is_reading_late() && self.window_bytes < self.window_bytes_min;
        if goes_on && waited_ms >= self.window_ms {
            return Err(BodyError::Late);
        }
        let mut left_ms = self.window_ms;
        if goes_on {
            left_ms -= waited_ms;
        } else {
            (self.window_bytes, self.waited_ms, self.waits_since_ms) = (0, 0, Some(now_ms));
        }
        let until_ms = deadline(now_ms, left_ms);
        timing.set_reading(stream, until_ms);
        Ok(())
    }

    /// Something has come.
    fn count(&mut self, bytes: usize) {
        self.window_bytes += bytes as u64;
        if let (Some(since_ms), Some(stream)) = (self.waits_since_ms.take(), &self.stream) {
            self.waited_ms += stream.now_ms() - since_ms;
        }
    }
}

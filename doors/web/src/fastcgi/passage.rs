//! A request under way at a backend: its body going there, the answer coming back, both at once.

use super::reading::{Head, HeadFinder, Read, Reading};
use super::request::REQUEST;
use super::trouble::Trouble;
use super::upload::Upload;
use super::watch::Watch;
use crate::body_source::BodySource;
use crate::log::errors::ErrorLog;
use crate::upstream::{Backend, Lease, TryRules};
use ringway_engine::WorkerHandle;
use ringway_engine::ring::Slice;
use ringway_http::fastcgi::End;
use ringway_http::status::Status;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Most bytes of an answer that are awaited no longer but taken with its head, because they are there already.
const GATHERED_BYTES_MAX: usize = 32 * 1024;

/// Bytes that are read and dropped of a body that nobody wants, so that its connection can be kept.
const DROPPED_BYTES_MAX: u64 = 64 * 1024;

/// Milliseconds that the end of a request may take whose answer is with the client.
const AFTERLIFE_MS_MAX: u64 = 30_000;

/// What a passage needs of the handler.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) log: ErrorLog,
    pub(super) tries: TryRules,
    pub(super) worker: WorkerHandle,
    pub(super) upstream: Box<str>,
    /// Whether connections are kept for other requests.
    pub(super) keeps: bool,
}

/// A request at a backend.
pub(super) struct Passage {
    terms: Rc<Terms>,
    lease: Option<Lease>,
    backend: Arc<Backend>,
    reading: Reading,
    upload: Upload,
    watch: Watch,
    /// Data that was received and not given on.
    gathered: VecDeque<Slice>,
    gathered_bytes: usize,
    /// How it ended.
    end: Option<End>,
    /// Length of the answer's body, where it is known.
    said: Option<u64>,
    /// Bytes of the body that were given on.
    given: u64,
    state: State,
}

/// How far a passage has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the answer's head was judged.
    Asked,
    /// Behind it.
    Answering,
    /// The client gets no body, or all that there is of it.
    Unwanted,
    /// Something went wrong.
    Failed,
}

impl Passage {
    /// Sends `request` to where `lease` leads.
    pub(super) fn begin(terms: &Rc<Terms>, mut lease: Lease, request: Slice, upload: Upload) -> Self {
        lease.stream.send(request);
        Self {
            watch: Watch::new(&terms.tries),
            terms: Rc::clone(terms),
            backend: Arc::clone(lease.backend()),
            lease: Some(lease),
            reading: Reading::new(REQUEST),
            upload,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            end: None,
            said: None,
            given: 0,
            state: State::Asked,
        }
    }

    /// Waits for the head of the answer, and takes what has come with it.
    pub(super) async fn head(&mut self, mut finder: HeadFinder) -> Result<Head, Trouble> {
        let head = poll_fn(|context| self.poll_head(context, &mut finder)).await?;
        self.watch.begin_answer();
        poll_fn(|context| Poll::Ready(self.gather(context))).await?;
        Ok(head)
    }

    /// Whether nothing was received, so that another backend may be asked as if this one had not been.
    pub(super) fn is_unheard(&self) -> bool {
        !self.reading.has_received()
    }

    /// The body as far as it was not given away.
    pub(super) fn into_upload(mut self) -> Upload {
        std::mem::replace(&mut self.upload, Upload::new(None))
    }

    /// Tells of what went wrong; the connection is closed where the backend is to blame for it.
    pub(super) fn give_up(&mut self, trouble: Trouble, is_stale: bool) {
        self.state = State::Failed;
        match self.lease.take() {
            Some(lease) if trouble.is_backends() => lease.failed(&trouble.fault(is_stale)),
            lease => {
                self.lease = lease;
                self.release();
            }
        }
    }

    /// Bytes of the answer's body, when all of it is there.
    pub(super) fn whole_bytes(&self) -> Option<u64> {
        self.end.map(|_| self.gathered_bytes as u64)
    }

    /// The answer's body has this length, as its head says or all of it shows.
    pub(super) fn expect(&mut self, bytes: u64) {
        self.said = Some(bytes);
    }

    /// The client gets nothing of the body.
    pub(super) fn set_unwanted(&mut self) {
        (self.gathered_bytes, self.state) = (0, State::Unwanted);
        self.gathered.clear();
    }

    /// The backend's name in messages.
    pub(super) fn backend(&self) -> &str {
        self.backend.name()
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        finder: &mut HeadFinder,
    ) -> Poll<Result<Head, Trouble>> {
        loop {
            let polled = self.poll_data(context);
            let Some(piece) = std::task::ready!(polled)? else {
                return Poll::Ready(Err(Trouble::Empty(self.end.unwrap_or(End::Complete(0)))));
            };
            match finder.add(piece) {
                Ok(Some((head, rest))) => {
                    self.gather_piece(rest);
                    return Poll::Ready(Ok(head));
                }
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(Trouble::Head(fault))),
            }
        }
    }

    /// Takes what is there without waiting.
    fn gather(&mut self, context: &mut Context<'_>) -> Result<(), Trouble> {
        while self.end.is_none() && self.gathered_bytes < GATHERED_BYTES_MAX {
            match self.poll_data(context) {
                Poll::Ready(Ok(Some(piece))) => self.gather_piece(piece),
                // Nothing is with the client yet, so it can still be told.
                Poll::Ready(Err(trouble)) => return Err(trouble),
                Poll::Ready(Ok(None)) | Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn gather_piece(&mut self, piece: Slice) {
        if !piece.is_empty() {
            self.gathered_bytes += piece.len();
            self.gathered.push_back(piece);
        }
    }

    /// The next data of the answer; `None` at its end. The body of the request goes on meanwhile.
    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Trouble>> {
        loop {
            let read = self.reading.next();
            self.tell_complaints(!matches!(read, Ok(Read::Data(_) | Read::NeedMore)));
            match read? {
                Read::Data(piece) => return Poll::Ready(Ok(Some(piece))),
                Read::Ended(end) => {
                    self.finish(end);
                    return Poll::Ready(Ok(None));
                }
                Read::NeedMore => {}
            }
            let Some(lease) = &mut self.lease else { return Poll::Ready(Err(Trouble::Closed)) };
            self.upload.poll(context, &mut lease.stream, self.terms.tries.send_timeout_ms)?;
            match lease.stream.poll_read(context) {
                Poll::Ready(Ok(Some(input))) => {
                    self.watch.received(&mut lease.stream);
                    self.reading.take_in(input);
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(Err(Trouble::Closed)),
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(Trouble::of(&error, self.watch.waited_ms())));
                }
                Poll::Pending => {
                    self.watch.wait(&mut lease.stream, self.upload.waits());
                    return Poll::Pending;
                }
            }
        }
    }

    /// The head was judged, and says this status: the backend has done its work.
    pub(super) fn settle(&mut self, status: Status) {
        self.state = State::Answering;
        if let Some(lease) = &mut self.lease {
            lease.answered(status.code());
        }
        if self.end.is_some() {
            self.release();
        }
    }

    /// Lets go of the connection: it serves others, if the request is over and nothing is left on it.
    pub(super) fn release(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let is_over = matches!(self.end, Some(End::Complete(_))) && self.upload.is_done();
        // The client may still be sending what nobody wants any more.
        self.upload.stop();
        if is_over && self.terms.keeps && self.reading.is_clean() {
            lease.keep();
        }
    }

    fn finish(&mut self, end: End) {
        self.end = Some(end);
        if self.state != State::Asked {
            self.release();
        }
    }

    fn tell_complaints(&mut self, is_last: bool) {
        let Self { reading, terms, backend, .. } = self;
        let backend = backend.name();
        reading.complaints(is_last, |line| {
            let text = String::from_utf8_lossy(line);
            terms.log.warn("fastcgi", format_args!("backend {backend} of {} says: {text}", terms.upstream));
        });
    }

    /// Says what is wrong with an answer whose head is out already.
    fn fail(&mut self, trouble: Trouble) -> io::Error {
        self.tell_complaints(true);
        let name = &self.terms.upstream;
        self.terms.log.error(
            "fastcgi",
            format_args!("backend {} of {name} {trouble}: the answer is cut", self.backend()),
        );
        self.state = State::Failed;
        if let Some(lease) = self.lease.take().filter(|_| trouble.is_backends()) {
            lease.failed(&trouble.fault(false));
        }
        io::ErrorKind::ConnectionAborted.into()
    }

    /// Reads to the end of the request, so that its connection can be used again.
    async fn outlive(mut self) {
        let until_ms = self.terms.worker.now_ms().saturating_add(AFTERLIFE_MS_MAX);
        self.watch.end_at(until_ms);
        let mut left = DROPPED_BYTES_MAX;
        while let Ok(Some(piece)) = poll_fn(|context| self.poll_data(context)).await {
            left = left.saturating_sub(piece.len() as u64);
            if left == 0 {
                break;
            }
        }
    }
}

impl BodySource for Passage {
    fn poll_piece(&mut self, _context: &mut Context<'_>, _memory: &mut [u8]) -> Poll<io::Result<usize>> {
        // It gives slices.
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn needs_reader(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        let piece = match self.gathered.pop_front() {
            Some(piece) => Some(piece),
            None if self.end.is_some() => None,
            None => match std::task::ready!(self.poll_data(context)) {
                Ok(piece) => piece,
                Err(trouble) => return Poll::Ready(Err(self.fail(trouble))),
            },
        };
        self.given += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let Some(said) = self.said else { return Poll::Ready(Ok(piece)) };
        let sent = self.given;
        if sent > said || piece.is_none() && sent < said {
            return Poll::Ready(Err(self.fail(Trouble::Length { said, sent })));
        }
        if said == sent {
            // Nobody asks for more: the end is seen to elsewhere.
            self.state = State::Unwanted;
        }
        Poll::Ready(Ok(piece))
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        if let Some(lease) = &mut self.lease
            && !self.upload.is_done()
        {
            // What is wrong with it shows when the answer is read on.
            let _told_later = self.upload.poll(context, &mut lease.stream, self.terms.tries.send_timeout_ms);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.state != State::Unwanted || self.lease.is_none() || !self.upload.is_done() {
            // A connection that is let go in the middle of a request is closed, which aborts that.
            return;
        }
        let rest = Self {
            terms: Rc::clone(&self.terms),
            lease: self.lease.take(),
            backend: Arc::clone(&self.backend),
            reading: std::mem::replace(&mut self.reading, Reading::new(REQUEST)),
            upload: Upload::new(None),
            watch: Watch::new(&self.terms.tries),
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            end: None,
            said: None,
            given: 0,
            state: State::Failed,
        };
        self.terms.worker.spawn(rest.outlive());
    }
}

impl fmt::Debug for Passage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passage").field("state", &self.state).field("end", &self.end).finish_non_exhaustive()
    }
}

//! Forms with files as handlers read them: parts and their data, one after the other, while they arrive.

use crate::request_body::{BodyError, RequestBody};
use ringway_engine::ring::{Pool, Slice};
use ringway_http::multipart::{Boundary, Decoder, Fault, Limits, PartHead, Step};
use ringway_http::status::Status;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

/// Bytes that are put behind part of a head or of a delimiter: most heads are shorter.
const JOINED_BYTES: usize = 1024;

/// Why a form cannot be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormError {
    /// The body cannot.
    Body(BodyError),
    /// The body is no form, or a larger one than may be.
    Form(Fault),
    /// There is no memory for slices.
    NoMemory,
}

impl FormError {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Body(error) => error.status(),
            Self::Form(fault) => fault.status(),
            Self::NoMemory => Status::SERVICE_UNAVAILABLE,
        }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Form(fault) => fault.fmt(f),
            Self::NoMemory => f.write_str("there is no memory for the request's body"),
        }
    }
}

impl std::error::Error for FormError {}

/// What a form goes on with.
#[derive(Debug)]
pub enum FormEvent {
    /// A part begins.
    Part(Part),
    /// Data of the part, where it was received; never empty.
    Data(Slice),
    /// The part has ended.
    PartEnd,
}

/// What a part is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The field of the form.
    pub name: Box<[u8]>,
    /// What the client calls the file, if it is one; nothing of it may become part of a path.
    pub filename: Option<Box<[u8]>>,
    /// The media type, where the client says one.
    pub content_type: Option<Box<[u8]>>,
}

/// A form on its way.
pub struct Form {
    body: RequestBody,
    decoder: Decoder,
    limits: Limits,
    pool: Pool,
    /// What is read next, and what follows it.
    input: Option<Slice>,
    behind: Option<Slice>,
    /// What could not be read without what is still to come.
    kept: Option<Slice>,
    error: Option<FormError>,
}

impl Form {
    /// The form that a body with this `Content-Type` is. Slices come from `pool`, the worker's. Heads of parts are limited to
    /// what a slice holds, whatever `limits` says.
    ///
    /// # Errors
    /// [`Fault::ContentType`], [`Fault::Boundary`].
    pub fn new(body: RequestBody, content_type: &[u8], limits: Limits, pool: Pool) -> Result<Self, Fault> {
        let decoder = Decoder::new(Boundary::of_form(content_type)?, limits);
        Ok(Self { body, decoder, limits, pool, input: None, behind: None, kept: None, error: None })
    }

    /// What comes next; `None` when the form and its body have ended.
    ///
    /// # Errors
    /// [`FormError`]; every later call says the same.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<FormEvent>, FormError>> {
        if let Some(error) = self.error {
            return Poll::Ready(Err(error));
        }
        let polled = self.poll(context);
        if let Poll::Ready(Err(error)) = polled {
            self.error = Some(error);
        }
        polled
    }

    /// Waits for what comes next: see [`Form::poll_next`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancellation
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<FormEvent>, FormError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<FormEvent>, FormError>> {
        loop {
            let Some(mut input) = self.input.take() else {
                match ready!(self.body.poll_next(context)).map_err(FormError::Body)? {
                    Some(piece) => match self.kept.take() {
                        Some(kept) => self.join(&kept, piece)?,
                        None => self.input = Some(piece),
                    },
                    None => {
                        self.decoder.finish().map_err(FormError::Form)?;
                        return Poll::Ready(Ok(None));
                    }
                }
                continue;
            };
            let step = self.decoder.decode(&input).map_err(FormError::Form)?;
            let consumed = step.consumed();
            let event = match step {
                Step::Part { head, .. } => {
                    let part = PartHead::parse(&input[head], &self.limits).map_err(FormError::Form)?;
                    Some(FormEvent::Part(Part::of(&part)))
                }
                Step::Data { data } => {
                    let mut piece = input.clone();
                    piece.truncate(data.end);
                    piece.advance(data.start);
                    Some(FormEvent::Data(piece))
                }
                Step::PartEnd { .. } => Some(FormEvent::PartEnd),
                Step::NeedMore { .. } | Step::Done { .. } => None,
            };
            input.advance(consumed);
            match (input.is_empty(), event.is_some()) {
                (true, _) => self.input = self.behind.take(),
                (false, true) => self.input = Some(input),
                (false, false) => match self.behind.take() {
                    Some(next) => self.join(&input, next)?,
                    None => self.kept = Some(input),
                },
            }
            if let Some(event) = event {
                return Poll::Ready(Ok(Some(event)));
            }
        }
    }

    /// Puts the beginning of `next` behind `kept`, which makes no sense alone.
    fn join(&mut self, kept: &Slice, mut next: Slice) -> Result<(), FormError> {
        let count = next.len().min(JOINED_BYTES);
        let mut memory = self.pool.get(kept.len() + count).ok_or(FormError::NoMemory)?;
        memory[..kept.len()].copy_from_slice(kept);
        memory[kept.len()..kept.len() + count].copy_from_slice(&next[..count]);
        self.input = Some(memory.freeze(kept.len() + count));
        next.advance(count);
        self.behind = Some(next).filter(|next| !next.is_empty());
        Ok(())
    }
}

impl Part {
    fn of(head: &PartHead<'_>) -> Self {
        Self {
            name: head.name.bytes().collect(),
            filename: head.filename.map(|name| name.bytes().collect()),
            content_type: head.content_type.map(Into::into),
        }
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Form").field("body", &self.body).finish_non_exhaustive()
    }
}

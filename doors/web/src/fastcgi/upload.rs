//! A request's body on its way to a program, as records, no faster than it is taken.

use super::request::REQUEST;
use super::trouble::Trouble;
use crate::request_body::RequestBody;
use crate::spool::SpoolReader;
use ringway_engine::Stream;
use ringway_engine::ring::Slice;
use ringway_http::fastcgi::{CONTENT_BYTES_MAX, HEAD_BYTES, stdin_head};
use std::io;
use std::task::{Context, Poll};

/// Most bytes of a body that wait to be sent on.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Shortest piece that goes out as it lies, behind the head of its record; shorter ones are copied there.
const LYING_BYTES_MIN: usize = 4 * 1024;

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum Body {
    /// As the client sends it.
    Arriving(RequestBody),
    /// Received before, because nobody knew its length.
    Spooled(SpoolReader),
}

/// What a body waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// Nothing: it is through.
    No,
    /// The client.
    Client,
    /// The backend.
    Backend,
}

/// A body that is passed on.
#[derive(Debug)]
pub(super) struct Upload {
    body: Option<Body>,
    /// Taken from the body and not yet sent.
    next: Option<Slice>,
    /// Something was given to a backend that cannot be given to another one.
    pub(super) has_given: bool,
    waits: Waits,
}

impl Upload {
    pub(super) fn new(body: Option<Body>) -> Self {
        Self { body, next: None, has_given: false, waits: Waits::Client }
    }

    /// What it waits for, as of the last [`Upload::poll`].
    pub(super) fn waits(&self) -> Waits {
        if self.is_done() { Waits::No } else { self.waits }
    }

    /// Whether all of the body was given on, or is not wanted any more.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.next.is_none()
    }

    /// Nobody wants the rest.
    pub(super) fn stop(&mut self) {
        (self.body, self.next) = (None, None);
    }

    /// Puts what is at hand of the body behind `request`, which has room for some of it; with it all is sent at once, and may
    /// be sent again.
    pub(super) fn pack(&mut self, context: &mut Context<'_>, request: &mut Slice) -> Result<(), Trouble> {
        loop {
            let piece = match self.take(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(piece) => piece?,
            };
            let Some(piece) = piece else {
                if request.try_extend(&stdin_head(REQUEST, 0)) {
                    self.stop();
                }
                return Ok(());
            };
            // The end may have to follow it.
            let room = request.capacity().saturating_sub(request.len());
            let bytes = u16::try_from(piece.len()).ok();
            let fits = bytes.filter(|_| HEAD_BYTES + piece.len() + HEAD_BYTES <= room);
            let is_in = fits.is_some_and(|len| {
                request.try_extend(&stdin_head(REQUEST, len)) && request.try_extend(&piece)
            });
            if !is_in {
                self.next = Some(piece);
                return Ok(());
            }
        }
    }

    /// Gives on what there is.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        timeout_ms: u64,
    ) -> Result<(), Trouble> {
        while !self.is_done() {
            match stream.poll_queued(context, QUEUED_BYTES_MAX) {
                Poll::Pending => {
                    self.waits = Waits::Backend;
                    return Ok(());
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    return Err(Trouble::Stuck(timeout_ms));
                }
                Poll::Ready(Err(_takes_no_more)) => {
                    // What it has to say it may still have said.
                    self.stop();
                    return Ok(());
                }
                Poll::Ready(Ok(())) => {}
            }
            match self.take(context) {
                Poll::Pending => {
                    self.waits = Waits::Client;
                    return Ok(());
                }
                Poll::Ready(piece) => match piece? {
                    Some(piece) => self.give(stream, piece)?,
                    None => {
                        self.stop();
                        self.has_given = true;
                        stream.send(slice_of(stream, &stdin_head(REQUEST, 0))?);
                    }
                },
            }
        }
        Ok(())
    }

    /// The next piece; `None` at the end.
    fn take(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Trouble>> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Ok(Some(next)));
        }
        match &mut self.body {
            None => Poll::Ready(Ok(None)),
            Some(Body::Spooled(reader)) => reader.poll_next(context).map_err(|error| match error.kind() {
                io::ErrorKind::OutOfMemory => Trouble::NoMemory,
                _ => Trouble::Spool,
            }),
            Some(Body::Arriving(body)) => body.poll_next(context).map_err(Trouble::Body),
        }
    }

    fn give(&mut self, stream: &mut Stream, mut piece: Slice) -> Result<(), Trouble> {
        self.has_given = true;
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(CONTENT_BYTES_MAX));
            let head = stdin_head(REQUEST, u16::try_from(part.len()).unwrap_or(u16::MAX));
            if part.len() < LYING_BYTES_MIN {
                let mut memory = stream.pool().get(HEAD_BYTES + part.len()).ok_or(Trouble::NoMemory)?;
                memory[..HEAD_BYTES].copy_from_slice(&head);
                memory[HEAD_BYTES..HEAD_BYTES + part.len()].copy_from_slice(&part);
                stream.send(memory.freeze(HEAD_BYTES + part.len()));
            } else {
                stream.send(slice_of(stream, &head)?);
                stream.send(part);
            }
        }
        Ok(())
    }
}

fn slice_of(stream: &Stream, bytes: &[u8]) -> Result<Slice, Trouble> {
    stream.slice_of(bytes).map_err(|_at_limit| Trouble::NoMemory)
}

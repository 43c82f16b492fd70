//! What the client sends, on its way to the script's standard input.

use super::failure::Failure;
use crate::request_body::RequestBody;
use crate::spool::{SpoolError, SpoolReader};
use ringway_engine::Stream;
use ringway_engine::ring::Slice;
use std::task::{Context, Poll};

/// Bytes that may wait for the script to read.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum Input {
    /// As the client sends it.
    Arriving(RequestBody),
    /// From where it has waited.
    Spooled(SpoolReader),
}

impl Input {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Failure>> {
        match self {
            Self::Arriving(body) => body.poll_next(context).map_err(Failure::Body),
            Self::Spooled(reader) => {
                reader.poll_next(context).map_err(|error| Failure::Spool(SpoolError::Io(error)))
            }
        }
    }
}

/// A request's body on its way to a script.
#[derive(Debug)]
pub(super) struct Upward(Option<Course>);

#[derive(Debug)]
struct Course {
    /// What the client still sends; `None` when that has ended.
    body: Option<Input>,
    input: Stream,
}

impl Upward {
    /// Carries `body` to `input`; nothing, where there is none.
    pub(super) fn new(body: Option<Input>, input: Option<Stream>) -> Self {
        Self(input.map(|input| Course { body, input }))
    }

    /// Carries on as far as it goes; whether it went on. The waker is used when it goes on.
    ///
    /// # Errors
    /// The client's body cannot be read to its end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Result<bool, Failure> {
        let mut has_moved = false;
        while let Some(course) = &mut self.0 {
            match course.poll(context)? {
                Step::Wait => return Ok(has_moved),
                Step::Again => has_moved = true,
                // The script has read all of it, or does not want the rest.
                Step::Done => self.0 = None,
            }
        }
        Ok(has_moved)
    }
}

enum Step {
    Wait,
    Again,
    Done,
}

impl Course {
    fn poll(&mut self, context: &mut Context<'_>) -> Result<Step, Failure> {
        let is_full = self.input.queued_bytes() >= QUEUED_BYTES_MAX;
        if is_full || self.body.is_none() {
            match self.input.poll_flush(context) {
                Poll::Pending => return Ok(Step::Wait),
                // It has closed its standard input.
                Poll::Ready(Err(_gone)) => return Ok(Step::Done),
                Poll::Ready(Ok(())) => {}
            }
        }
        let Some(body) = &mut self.body else { return Ok(Step::Done) };
        match body.poll_next(context) {
            Poll::Pending => Ok(Step::Wait),
            Poll::Ready(Ok(Some(slice))) => {
                self.input.send(slice);
                Ok(Step::Again)
            }
            Poll::Ready(Ok(None)) => {
                self.body = None;
                self.input.shutdown_write();
                Ok(Step::Again)
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }
}

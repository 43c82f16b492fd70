//! The worker's side of a request's body: what has come is taken at once, the rest goes through a queue as it is asked for.

use super::body::{Body, Queue, Wanted};
use bytes::{Bytes, BytesMut};
use ringway_web::exchange::Exchange;
use ringway_web::request_body::{BodyError, RequestBody};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Most bytes of a body that are taken before the service is called.
const AHEAD_BYTES_MAX: usize = 64 * 1024;

/// Most pieces that are moved at once: others want a turn too.
const PIECES_MAX: usize = 32;

/// What moves a body from its connection to its queue.
pub(super) struct Inlet {
    body: RequestBody,
    queue: Arc<Queue>,
}

/// What has come of a body.
pub(super) enum Arrived {
    /// All of it.
    Whole(Body),
    /// Part of it; the inlet brings the rest.
    Part(Body, Inlet),
    /// It is none, or too long.
    Bad(BodyError),
}

/// Takes the request's body, as far as it has come. One whose client waits to be told to go on is left alone until it is asked
/// for.
pub(super) fn take(exchange: &mut Exchange<'_>) -> Arrived {
    let waits = exchange.request.expects_continue();
    let Some(mut body) = exchange.take_body() else { return Arrived::Whole(Body::empty()) };
    if body.is_empty() {
        return Arrived::Whole(Body::empty());
    }
    if let Some(error) = body.error() {
        return Arrived::Bad(error);
    }
    let mut ahead = Bytes::new();
    if !waits {
        match take_ahead(&mut body) {
            Ok((bytes, true)) => return Arrived::Whole(Body::whole(bytes)),
            Ok((bytes, false)) => ahead = bytes,
            Err(error) => return Arrived::Bad(error),
        }
    }
    let queue = Arc::new(Queue::default());
    let coming = Body::coming(Arc::clone(&queue), body.length());
    if !ahead.is_empty() {
        queue.push(ahead);
    }
    Arrived::Part(coming, Inlet { body, queue })
}

/// What is there of a body, and whether that is all.
fn take_ahead(body: &mut RequestBody) -> Result<(Bytes, bool), BodyError> {
    // Whoever asks for the next piece leaves a waker of its own then.
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        if first.len().max(all.len()) >= AHEAD_BYTES_MAX {
            break;
        }
        match body.poll_next(&mut context) {
            Poll::Pending => break,
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Ready(Ok(None)) => return Ok((join(first, all), true)),
            Poll::Ready(Ok(Some(piece))) if first.is_empty() => first = Bytes::copy_from_slice(&piece),
            Poll::Ready(Ok(Some(piece))) => {
                if all.is_empty() {
                    all.extend_from_slice(&first);
                }
                all.extend_from_slice(&piece);
            }
        }
    }
    Ok((join(first, all), false))
}

fn join(first: Bytes, all: BytesMut) -> Bytes {
    if all.is_empty() { first } else { all.freeze() }
}

impl Inlet {
    /// Moves what is there and wanted; says whether there was any, or its end.
    pub(super) fn pump(&mut self, context: &mut Context<'_>) -> bool {
        for count in 0..PIECES_MAX {
            if self.queue.wanted(context) != Wanted::Piece {
                return count > 0;
            }
            match self.body.poll_next(context) {
                Poll::Pending => return count > 0,
                Poll::Ready(Ok(Some(piece))) => self.queue.push(Bytes::copy_from_slice(&piece)),
                Poll::Ready(Ok(None)) => {
                    self.queue.end(Ok(()));
                    return true;
                }
                Poll::Ready(Err(error)) => {
                    self.queue.end(Err(error));
                    return true;
                }
            }
        }
        context.waker().wake_by_ref();
        true
    }

    /// Why the body cannot be read to its end, if it cannot.
    pub(super) fn error(&self) -> Option<BodyError> {
        self.queue.error()
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        // Without effect behind its end.
        self.queue.end(Err(BodyError::Gone));
    }
}

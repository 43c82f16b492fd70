//! Bodies that are made while they are sent, over HTTP/2: a frame at a time, within the windows.

use super::answer::{Answering, Work};
use super::send::Sent;
use super::{BATCH_BYTES, Memory, Session};
use crate::body_source::{BodySource, Extent, Streamed};
use crate::output::NoMemory;
use ringway_engine::ring::Slice;
use ringway_h2::frame::PAYLOAD_BYTES;
use std::task::{Context, Poll};

/// A body in the making.
pub(super) struct Making {
    source: Box<dyn BodySource>,
    /// Bytes still to come, where that was said.
    left: Option<u64>,
    /// What of the last slice was not sent yet.
    rest: Option<Slice>,
    /// Bytes sent so far.
    pub(super) sent: u64,
    /// The answer's status, for the log.
    pub(super) status: u16,
}

/// What there is to be sent.
enum Next {
    /// So many bytes in the worker's memory for pieces.
    Made(usize),
    /// So many bytes of the slice that is left.
    Slice(usize),
}

impl Making {
    pub(super) fn new(streamed: Streamed) -> Self {
        let Streamed { source, extent, status, .. } = streamed;
        let left = match extent {
            Extent::Length(length) => Some(length),
            Extent::Unknown | Extent::Raw => None,
        };
        Self { source, left, rest: None, sent: 0, status }
    }

    /// Asks for up to `room` bytes; none: the end. `Err`: the body cannot be made to its end.
    fn poll(&mut self, context: &mut Context<'_>, piece: &mut [u8]) -> Poll<Result<Next, ()>> {
        let room = piece.len();
        if self.source.gives_slices() {
            loop {
                if let Some(rest) = &self.rest {
                    return Poll::Ready(Ok(Next::Slice(rest.len().min(room))));
                }
                match self.source.poll_slice(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(_cannot_go_on)) => return Poll::Ready(Err(())),
                    Poll::Ready(Ok(None)) => return Poll::Ready(Ok(Next::Made(0))),
                    Poll::Ready(Ok(Some(slice))) => self.rest = Some(slice).filter(|slice| !slice.is_empty()),
                }
            }
        }
        self.source.poll_piece(context, piece).map(|polled| match polled {
            Ok(count) => Ok(Next::Made(count.min(room))),
            Err(_cannot_go_on) => Err(()),
        })
    }

    /// So many bytes go out; whether they are the last. `Err`: they are not what was said.
    fn count(&mut self, bytes: usize) -> Result<bool, ()> {
        self.sent += bytes as u64;
        match &mut self.left {
            None => Ok(bytes == 0),
            Some(left) => {
                *left = left.checked_sub(bytes as u64).ok_or(())?;
                if bytes == 0 && *left > 0 { Err(()) } else { Ok(*left == 0) }
            }
        }
    }
}

impl Session {
    /// Asks a body that is made while it is sent for its next piece.
    pub(super) fn make_some(
        &mut self,
        at: usize,
        context: &mut Context<'_>,
        memory: &mut Memory,
    ) -> Result<Sent, NoMemory> {
        let (is_draining, is_ended) = (self.stream.is_draining(), self.stream.is_ended());
        let Some(Answering { stream, work: Work::Making(making), moved, .. }) = self.answers.get_mut(at)
        else {
            return Ok(Sent::Nothing);
        };
        let room = self.machine.room(*stream).min(PAYLOAD_BYTES);
        if room == 0 {
            making.source.go_on(context);
            return Ok(Sent::Nothing);
        }
        memory.piece.resize(PAYLOAD_BYTES, 0);
        let next = if making.source.is_endless() && (is_draining || is_ended) {
            Next::Made(0)
        } else {
            match making.poll(context, &mut memory.piece[..room]) {
                Poll::Pending => return Ok(Sent::Nothing),
                Poll::Ready(Err(())) => return Ok(Sent::Broken),
                Poll::Ready(Ok(next)) => next,
            }
        };
        let (Next::Made(count) | Next::Slice(count)) = next;
        let Ok(ends) = making.count(count) else { return Ok(Sent::Broken) };
        if !self.machine.data(*stream, count, ends, &mut memory.buffers) {
            return Ok(Sent::Broken);
        }
        *moved += count as u64;
        let out = &mut memory.buffers.out;
        match next {
            Next::Made(count) => out.extend_from_slice(&memory.piece[..count]),
            Next::Slice(count) => {
                if let Some(rest) = &mut making.rest {
                    out.extend_from_slice(&rest[..count]);
                    rest.advance(count);
                }
                making.rest.take_if(|rest| rest.is_empty());
            }
        }
        if out.len() >= BATCH_BYTES / 2 {
            self.outbox.take(&mut self.stream, out, 0)?;
        }
        Ok(if ends { Sent::All } else { Sent::Some(count) })
    }
}

//! A request's body on its way to the upstream.

use super::patience::{Patience, Wait};
use super::why::Why;
use crate::request_body::{BodyError, RequestBody};
use ringway_engine::Stream;
use ringway_engine::ring::Slice;
use ringway_http::response::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
use std::io;
use std::task::{Context, Poll};

/// Most bytes of a body that wait to be sent on.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// Longest piece that is copied behind the head: for less a send of its own costs more.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Gives a body on, piece by piece, no faster than the upstream takes it.
pub(super) struct Pump {
    body: RequestBody,
    is_chunked: bool,
    /// A piece that was taken and not given on.
    next: Option<Slice>,
    /// Something of it was taken: it cannot be given to another backend.
    pub(super) has_given: bool,
    is_done: bool,
    /// The upstream is waited for, not the client.
    is_stuck: bool,
    given_bytes: u64,
    /// The upstream takes no more.
    is_refused: bool,
}

/// Why it cannot go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stop {
    /// The client's fault.
    Client(BodyError),
    /// The upstream's.
    Upstream(Why),
}

impl Pump {
    pub(super) fn new(body: RequestBody) -> Self {
        Self {
            is_chunked: body.length().is_none(),
            body,
            next: None,
            has_given: false,
            is_done: false,
            is_stuck: false,
            given_bytes: 0,
            is_refused: false,
        }
    }

    /// Whether all of it is with the upstream's connection.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether the upstream wanted no more of it.
    pub(super) fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether nothing more of it is to be given, be it done or not.
    pub(super) fn is_over(&self) -> bool {
        self.is_done || self.is_refused
    }

    /// What is waited for while nothing more can be given on.
    pub(super) fn wait(&self) -> Wait {
        match (self.is_over(), self.is_stuck) {
            (true, _) => Wait::Answering,
            (false, true) => Wait::Taking(self.given_bytes),
            // The client is waited for, and has a time of its own.
            (false, false) => Wait::Nothing,
        }
    }

    /// Puts what is there behind the head, if it is short and the head has room.
    pub(super) fn begin(&mut self, context: &mut Context<'_>, head: &mut Slice) -> Result<(), Stop> {
        let Poll::Ready(piece) = self.poll_piece(context)? else { return Ok(()) };
        let Some(piece) = piece else {
            // The end alone is given on when there is a connection to give it to.
            return Ok(());
        };
        if self.is_chunked || piece.len() > COPIED_BYTES_MAX || !head.try_extend(&piece) {
            self.next = Some(piece);
        } else {
            self.is_done = self.has_all();
        }
        Ok(())
    }

    /// Gives on what there is; ready when that was all of it, or the upstream takes no more.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut Stream,
        patience: &Patience,
    ) -> Poll<Result<(), Stop>> {
        while !self.is_over() {
            let room = stream.poll_queued(context, QUEUED_BYTES_MAX);
            self.is_stuck = room.is_pending();
            match room {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => {}
                // An answer may have come before it ended: whoever reads it will see.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    self.is_refused = true;
                    break;
                }
                Poll::Ready(Err(error)) => match patience.judge(stream, &error) {
                    Some(why) => return Poll::Ready(Err(Stop::Upstream(why))),
                    None => continue,
                },
            }
            let Poll::Ready(piece) = self.poll_piece(context)? else { return Poll::Pending };
            self.give(stream, piece).map_err(|_at_limit| Stop::Upstream(Why::NoMemory))?;
        }
        Poll::Ready(Ok(()))
    }

    /// The next piece, for who frames it in another way. Who does that says what became of it by [`Pump::put_back`],
    /// [`Pump::finish`] and [`Pump::refuse`].
    pub(super) fn poll_piece(&mut self, context: &mut Context<'_>) -> Result<Poll<Option<Slice>>, Stop> {
        if let Some(piece) = self.next.take() {
            return Ok(Poll::Ready(Some(piece)));
        }
        let Poll::Ready(piece) = self.body.poll_next(context) else { return Ok(Poll::Pending) };
        let piece = piece.map_err(Stop::Client)?;
        self.has_given = true;
        self.given_bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(Poll::Ready(piece))
    }

    /// Puts back what was taken and not given on.
    #[cfg(feature = "h2")]
    pub(super) fn put_back(&mut self, rest: Slice) {
        self.next = Some(rest);
    }

    /// All of it was given on.
    #[cfg(feature = "h2")]
    pub(super) fn finish(&mut self) {
        self.is_done = true;
    }

    /// The upstream takes no more.
    #[cfg(feature = "h2")]
    pub(super) fn refuse(&mut self) {
        self.is_refused = true;
    }

    /// Whether as much was taken as was announced, and nothing of it waits.
    pub(super) fn has_all(&self) -> bool {
        self.next.is_none() && self.body.length().is_some_and(|length| self.given_bytes >= length)
    }

    /// Gives a piece on, framed; `None`: the end.
    fn give(&mut self, stream: &mut Stream, piece: Option<Slice>) -> io::Result<()> {
        self.is_done = piece.is_none() || self.has_all();
        match piece {
            None if self.is_chunked => stream.send(stream.slice_of(LAST_CHUNK)?),
            None => {}
            Some(piece) if self.is_chunked => {
                let mut digits = [0; CHUNK_HEAD_BYTES_MAX];
                let head = stream.slice_of(chunk_head(piece.len() as u64, &mut digits))?;
                let end = stream.slice_of(CHUNK_END)?;
                [head, piece, end].into_iter().for_each(|part| stream.send(part));
            }
            Some(piece) => stream.send(piece),
        }
        Ok(())
    }
}

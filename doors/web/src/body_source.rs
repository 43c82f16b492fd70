//! Bodies that are made while they are sent, and how they go out over HTTP/1.

use crate::execution::Shared;
use crate::limits::deadline;
use crate::timing::Timing;
use ringway_engine::ring::{Slice, SliceMut};
use ringway_engine::{SendProgress, Stream};
use ringway_http::response::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

/// Memory of one piece on its way over HTTP/1, in bytes, what frames it included.
const PIECE_BYTES: usize = 16 * 1024;

/// Bytes of a body in slices that may be on their way to the kernel before more is asked for.
pub const IN_FLIGHT_BYTES: usize = 64 * 1024;

/// Longest slice that is copied behind what goes out with it: for less a send of its own costs more.
const COPIED_BYTES_MAX: usize = 4 * 1024;

/// Pieces of one poll: a source that is always ready lets others have a turn.
const PIECES_MAX: usize = 32;

/// A body that is made while it is sent. Whoever sends it asks for the next piece when there is room for it, so it never runs
/// far ahead of its reader.
pub trait BodySource {
    /// Writes the next piece to the front of `memory`, which has room for at least one byte, and tells its length; 0 is the
    /// end, after which nobody asks again. While there is nothing to send, the waker is kept and used when there is. It is
    /// asked when the piece before is with the kernel.
    ///
    /// # Errors
    /// When the body cannot be made to its end: the connection (over HTTP/2, the stream) is reset, so that nobody takes what
    /// was sent for all of it.
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Whether pieces come from [`BodySource::poll_slice`] instead.
    fn gives_slices(&self) -> bool {
        false
    }

    /// The next piece, which goes out as it lies (over HTTP/1); empty ones are passed over. `None` is the end, after which
    /// nobody asks again; nor does anybody behind the last byte of a body whose length was said. It is asked as long as less
    /// than [`IN_FLIGHT_BYTES`] are on their way to the kernel.
    ///
    /// # Errors
    /// As for [`BodySource::poll_piece`].
    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        let _ = context;
        Poll::Ready(Ok(None))
    }

    /// Called in place of the others while the reader has no room for another piece: whatever else has to go on meanwhile,
    /// such as what is sent the other way.
    fn go_on(&mut self, context: &mut Context<'_>) {
        let _ = context;
    }

    /// Whether it is given up, like one that cannot be made to its end, when its reader has ended its own sending, as one
    /// that leaves does: making it costs too much to be done for nobody.
    fn needs_reader(&self) -> bool {
        false
    }

    /// Whether it goes on until its reader has enough. A server that drains ends it then, and it ends with its reader's
    /// sending.
    fn is_endless(&self) -> bool {
        false
    }
}

impl fmt::Debug for dyn BodySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodySource")
    }
}

/// A body that follows a head.
#[derive(Debug)]
pub(crate) struct Streamed {
    pub(crate) source: Box<dyn BodySource>,
    pub(crate) extent: Extent,
    /// The answer's status, for the log.
    pub(crate) status: u16,
    /// Where nothing is streamed there is none, and no code for it.
    #[cfg(not(feature = "streams"))]
    #[expect(dead_code, reason = "nobody can make it, so nobody reads it")]
    pub(crate) never: std::convert::Infallible,
}

/// How the end of a body shows.
#[cfg_attr(not(feature = "streams"), expect(dead_code, reason = "there are no bodies to end"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Nobody knows its length: chunks, or the end of the connection where the client knows none.
    Unknown,
    /// The head has said it, in bytes.
    Length(u64),
    /// It is another protocol's, up to the end of the connection.
    Raw,
}

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// A body on its way over HTTP/1.
pub(crate) struct Pouring<'a> {
    shared: &'a Shared,
    stream: &'a mut Stream,
    timing: &'a Timing,
    /// What is sent next: a head, or small pieces, that others may be put behind.
    batch: Option<Slice>,
    is_chunked: bool,
    /// Bytes still to come of a body whose length was said.
    left: Option<u64>,
    /// The end of the last chunk is still to be sent.
    owes_chunk_end: bool,
    /// Bytes given to the connection since it was flushed last.
    in_flight: usize,
    /// How far sending had come when its time was set.
    progress: SendProgress,
    /// Bytes of the body so far.
    pub(crate) body_bytes: u64,
}

/// What a source was asked for, and gave.
enum Piece {
    Slice(Slice),
    /// So many bytes behind the place for a chunk's head.
    Made(SliceMut, usize),
    End,
}

impl<'a> Pouring<'a> {
    /// A body behind `head`, which goes out with its first piece if that is at hand.
    pub(crate) fn new(
        shared: &'a Shared,
        stream: &'a mut Stream,
        timing: &'a Timing,
        head: Option<Slice>,
        extent: Extent,
        knows_chunks: bool,
    ) -> Self {
        let (is_chunked, left) = match extent {
            Extent::Unknown => (knows_chunks, None),
            Extent::Length(length) => (false, Some(length)),
            Extent::Raw => (false, None),
        };
        Self {
            shared,
            stream,
            timing,
            batch: head,
            is_chunked,
            left,
            owes_chunk_end: false,
            in_flight: 0,
            progress: SendProgress::default(),
            body_bytes: 0,
        }
    }

    /// Sends the body to its end.
    pub(crate) async fn pour(&mut self, body: &mut dyn BodySource) -> Result<(), Broken> {
        let poured = poll_fn(|context| self.poll(context, body)).await;
        self.timing.clear(self.stream);
        poured
    }

    fn poll(&mut self, context: &mut Context<'_>, body: &mut dyn BodySource) -> Poll<Result<(), Broken>> {
        for _ in 0..PIECES_MAX {
            let is_flushed = self.is_flushed(context)?;
            let in_flight_max = if body.gives_slices() { IN_FLIGHT_BYTES } else { 1 };
            if !is_flushed && self.in_flight >= in_flight_max {
                body.go_on(context);
                return Poll::Pending;
            }
            if self.left == Some(0) {
                return Poll::Ready(self.finish());
            }
            match self.ask(context, body) {
                Poll::Ready(Ok(Piece::Slice(slice))) => self.add(slice)?,
                Poll::Ready(Ok(Piece::Made(memory, count))) => self.add_made(memory, count)?,
                Poll::Ready(Ok(Piece::End)) => return Poll::Ready(self.finish()),
                Poll::Ready(Err(Broken)) => return Poll::Ready(Err(Broken)),
                Poll::Pending => {
                    self.send_batch();
                    // The waker for what was sent just now.
                    let _seen_to_later = self.is_flushed(context)?;
                    return Poll::Pending;
                }
            }
        }
        self.send_batch();
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether all that was sent is with the kernel. A reader must take enough of it within a window, as of any answer.
    fn is_flushed(&mut self, context: &mut Context<'_>) -> Result<bool, Broken> {
        loop {
            let flushed = pin!(self.stream.flush()).poll(context);
            match flushed {
                Poll::Ready(Ok(())) => {
                    self.in_flight = 0;
                    self.timing.forget_sending();
                    return Ok(true);
                }
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                    self.timing.expire(self.stream);
                }
                Poll::Ready(Err(_gone)) => return Err(Broken),
                Poll::Pending => {
                    let limits = &self.shared.limits;
                    if self.timing.is_sending_late() {
                        let progress = self.stream.send_progress();
                        if !progress.has_moved(self.progress, limits.send_window_bytes_min) {
                            return Err(Broken);
                        }
                        self.progress = progress;
                    } else if self.timing.is_sending_timed() {
                        return Ok(false);
                    } else {
                        // Where sending stands is asked at the first look: asking costs a system call.
                        self.progress = SendProgress::default();
                    }
                    let until_ms = deadline(self.stream.now_ms(), limits.send_window_ms);
                    self.timing.set_sending(self.stream, until_ms);
                    return Ok(false);
                }
            }
        }
    }

    fn ask(&self, context: &mut Context<'_>, body: &mut dyn BodySource) -> Poll<Result<Piece, Broken>> {
        if body.is_endless() && (self.stream.is_draining() || self.stream.is_ended()) {
            return Poll::Ready(Ok(Piece::End));
        }
        if body.needs_reader() && self.stream.is_ended() {
            return Poll::Ready(Err(Broken));
        }
        if body.gives_slices() {
            return body.poll_slice(context).map(|polled| match polled {
                Ok(Some(slice)) => Ok(Piece::Slice(slice)),
                Ok(None) => Ok(Piece::End),
                Err(_cannot_go_on) => Err(Broken),
            });
        }
        let (before, after) = if self.is_chunked { (CHUNK_HEAD_BYTES_MAX, CHUNK_END.len()) } else { (0, 0) };
        // What waits for hours keeps no memory meanwhile.
        let Some(mut memory) = self.stream.pool().get(PIECE_BYTES) else { return Poll::Ready(Err(Broken)) };
        let end = memory.len() - after;
        body.poll_piece(context, &mut memory[before..end]).map(|polled| match polled {
            Ok(0) => Ok(Piece::End),
            Ok(count) => Ok(Piece::Made(memory, count)),
            Err(_cannot_go_on) => Err(Broken),
        })
    }

    /// Sends a slice, framed: a short one behind what waits, a longer one as it lies.
    fn add(&mut self, slice: Slice) -> Result<(), Broken> {
        if slice.is_empty() {
            return Ok(());
        }
        self.count(slice.len())?;
        if self.is_chunked {
            let mut digits = [0; CHUNK_HEAD_BYTES_MAX];
            let head = chunk_head(slice.len() as u64, &mut digits);
            if std::mem::replace(&mut self.owes_chunk_end, true) {
                self.put(CHUNK_END)?;
            }
            self.put(head)?;
        }
        if slice.len() <= COPIED_BYTES_MAX {
            return self.put(&slice);
        }
        match self.batch.take() {
            Some(batch) => self.send_both(batch, slice),
            None => self.send(slice),
        }
        Ok(())
    }

    /// Sends what a source has written, framed where it lies.
    fn add_made(&mut self, mut memory: SliceMut, count: usize) -> Result<(), Broken> {
        self.count(count)?;
        self.send_batch();
        if !self.is_chunked {
            self.send(memory.freeze(count));
            return Ok(());
        }
        let mut digits = [0; CHUNK_HEAD_BYTES_MAX];
        let head = chunk_head(count as u64, &mut digits);
        let (start, end) = (CHUNK_HEAD_BYTES_MAX - head.len(), CHUNK_HEAD_BYTES_MAX + count);
        memory[start..CHUNK_HEAD_BYTES_MAX].copy_from_slice(head);
        memory[end..end + CHUNK_END.len()].copy_from_slice(CHUNK_END);
        let mut framed = memory.freeze(end + CHUNK_END.len());
        framed.advance(start);
        self.send(framed);
        Ok(())
    }

    /// More than was said would be taken for the next answer.
    fn count(&mut self, bytes: usize) -> Result<(), Broken> {
        let bytes = bytes as u64;
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or(Broken)?;
        }
        self.body_bytes += bytes;
        Ok(())
    }

    /// The source has nothing more.
    fn finish(&mut self) -> Result<(), Broken> {
        if self.left.is_some_and(|left| left > 0) {
            return Err(Broken);
        }
        if self.owes_chunk_end {
            self.put(CHUNK_END)?;
        }
        if self.is_chunked {
            self.put(LAST_CHUNK)?;
        }
        self.send_batch();
        Ok(())
    }

    /// Puts bytes behind what waits to be sent.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if let Some(batch) = &mut self.batch {
            if batch.try_extend(bytes) {
                return Ok(());
            }
            self.send_batch();
        }
        // With room for what comes behind it.
        let mut memory = self.stream.pool().get(bytes.len() * 2).ok_or(Broken)?;
        memory[..bytes.len()].copy_from_slice(bytes);
        self.batch = Some(memory.freeze(bytes.len()));
        Ok(())
    }

    fn send_batch(&mut self) {
        if let Some(batch) = self.batch.take() {
            self.send(batch);
        }
    }

    #[cfg(feature = "bodies")]
    fn send_both(&mut self, first: Slice, second: Slice) {
        self.in_flight += first.len() + second.len();
        self.stream.send_both(first, second);
    }

    #[cfg(not(feature = "bodies"))]
    fn send_both(&mut self, first: Slice, second: Slice) {
        self.send(first);
        self.send(second);
    }

    fn send(&mut self, bytes: Slice) {
        self.in_flight += bytes.len();
        self.stream.send(bytes);
    }
}

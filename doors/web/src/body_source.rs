//! Bodies that are made while they are sent, and how they go out over HTTP/1.

use crate::execution::Shared;
use crate::limits::deadline;
use ringway_engine::Stream;
use ringway_http::response::{CHUNK_END, CHUNK_HEAD_BYTES_MAX, LAST_CHUNK, chunk_head};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};

/// Memory of one piece on its way over HTTP/1, in bytes, what frames it included.
const PIECE_BYTES: usize = 16 * 1024;

/// A body whose length nobody knows before its end. Whoever sends it asks for a piece when the one before is with the kernel,
/// so it never runs ahead of its reader.
pub trait BodySource {
    /// Writes the next piece to the front of `memory`, which has room for at least one byte, and tells its length; 0 is the
    /// end, after which nobody asks again. While there is nothing to send, the waker is kept and used when there is.
    ///
    /// # Errors
    /// When the body cannot be made to its end: the connection (over HTTP/2, the stream) is reset, so that nobody takes what
    /// was sent for all of it.
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>>;

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

/// Why a body did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

/// Sends a body to its end, in chunks unless its end is the connection's; tells how many bytes it had.
pub(crate) async fn pour(
    shared: &Shared,
    stream: &mut Stream,
    body: &mut dyn BodySource,
    is_chunked: bool,
) -> Result<u64, Broken> {
    let mut body_bytes = 0;
    loop {
        // The reader must have taken most of the last piece within a window, as of any answer.
        stream.set_deadline(deadline(stream.now_ms(), shared.limits.send_window_ms));
        stream.flush().await.map_err(|_gone| Broken)?;
        stream.clear_deadline();
        let count = piece(stream, body, is_chunked).await?;
        if count == 0 {
            if is_chunked {
                stream.send(stream.slice_of(LAST_CHUNK).map_err(|_no_memory| Broken)?);
            }
            return Ok(body_bytes);
        }
        body_bytes += count as u64;
    }
}

/// Sends the next piece; its length, 0 at the end.
async fn piece(stream: &mut Stream, body: &mut dyn BodySource, is_chunked: bool) -> Result<usize, Broken> {
    let before = if is_chunked { CHUNK_HEAD_BYTES_MAX } else { 0 };
    let after = if is_chunked { CHUNK_END.len() } else { 0 };
    let mut room = None;
    let made = std::future::poll_fn(|context| {
        if let Poll::Ready(Err(_gone)) = pin!(stream.flush()).poll(context) {
            return Poll::Ready(Err(Broken));
        }
        if body.is_endless() && (stream.is_draining() || stream.is_ended()) {
            return Poll::Ready(Ok(0));
        }
        // What waits for hours keeps no memory meanwhile.
        let Some(mut memory) = stream.pool().get(PIECE_BYTES) else { return Poll::Ready(Err(Broken)) };
        let end = memory.len() - after;
        match body.poll_piece(context, &mut memory[before..end]) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(count)) => {
                room = Some(memory);
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(_cannot_go_on)) => Poll::Ready(Err(Broken)),
        }
    });
    let count = made.await?;
    let Some(mut memory) = room.filter(|_| count > 0) else { return Ok(0) };
    let end = before + count;
    if !is_chunked {
        stream.send(memory.freeze(end));
        return Ok(count);
    }
    let mut digits = [0; CHUNK_HEAD_BYTES_MAX];
    let head = chunk_head(count as u64, &mut digits);
    let start = before - head.len();
    memory[start..before].copy_from_slice(head);
    memory[end..end + after].copy_from_slice(CHUNK_END);
    let mut framed = memory.freeze(end + after);
    framed.advance(start);
    stream.send(framed);
    Ok(count)
}

//! Bodies of answers that are made elsewhere: pieces through a bounded queue, from any thread, as fast as the client reads.

use crate::later::NobodyWaits;
use crate::response::Response;
use ringway_lock::{Condvar, Mutex, MutexGuard};
use ringway_web::body_source::BodySource;
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Bytes that wait for the client when nobody says otherwise.
pub const QUEUE_BYTES: usize = 64 * 1024;

/// Sends the body of an answer, from any thread. [`BodySender::finish`] ends it; a sender that is dropped without that breaks the
/// connection (over HTTP/2 the stream), so that nobody takes what was sent for all of it.
pub struct BodySender {
    shared: Arc<Shared>,
    is_finished: bool,
}

/// Why a piece was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The client is gone, or the answer was given up.
    Gone,
    /// As much waits for the client as may.
    Full,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "nobody reads the answer any more",
            Self::Full => "the client reads more slowly than the answer is made",
        })
    }
}

impl std::error::Error for SendError {}

pub(crate) struct Shared {
    state: Mutex<State>,
    /// For threads that wait for room.
    room: Condvar,
    queue_bytes: usize,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Vec<u8>>,
    /// Bytes of the first piece that are sent.
    sent: usize,
    /// Bytes of all pieces that are not.
    bytes: usize,
    end: End,
    /// Nobody reads any more.
    is_gone: bool,
    reader: Option<Waker>,
    writers: Vec<Waker>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    Whole,
    Broken,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a piece if there is room, which there always is for one piece.
    pub(crate) fn push(&self, piece: &mut Vec<u8>) -> Result<(), SendError> {
        let reader = {
            let mut state = self.lock();
            if state.is_gone || state.end != End::Open {
                return Err(SendError::Gone);
            }
            if state.bytes > 0 && state.bytes + piece.len() > self.queue_bytes {
                return Err(SendError::Full);
            }
            if piece.is_empty() {
                return Ok(());
            }
            state.bytes += piece.len();
            state.pieces.push_back(std::mem::take(piece));
            state.reader.take()
        };
        wake(reader);
        Ok(())
    }

    pub(crate) fn end(&self, is_whole: bool) {
        let reader = {
            let mut state = self.lock();
            if state.end == End::Open {
                state.end = if is_whole { End::Whole } else { End::Broken };
            }
            state.reader.take()
        };
        wake(reader);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.lock().is_gone
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The worker's end of the queue.
pub(crate) struct Queue {
    shared: Arc<Shared>,
}

impl Queue {
    pub(crate) fn new(queue_bytes: usize) -> (Arc<Shared>, Self) {
        let shared = Arc::new(Shared { state: Mutex::default(), room: Condvar::new(), queue_bytes });
        (Arc::clone(&shared), Self { shared })
    }

    /// Copies what waits into `memory`: how much; 0 at the end.
    pub(crate) fn poll(&self, context: &Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        let (count, writers) = {
            let mut state = self.shared.lock();
            let count = state.take(memory);
            if count == 0 {
                match state.end {
                    End::Whole => return Poll::Ready(Ok(0)),
                    End::Broken => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
                    End::Open => {
                        state.reader = Some(context.waker().clone());
                        return Poll::Pending;
                    }
                }
            }
            (count, std::mem::take(&mut state.writers))
        };
        self.shared.room.notify_all();
        writers.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }
}

impl State {
    fn take(&mut self, memory: &mut [u8]) -> usize {
        let mut count = 0;
        while let Some(piece) = self.pieces.front() {
            let rest = &piece[self.sent..];
            let part = rest.len().min(memory.len() - count);
            memory[count..count + part].copy_from_slice(&rest[..part]);
            count += part;
            self.bytes -= part;
            if part < rest.len() {
                self.sent += part;
                break;
            }
            self.sent = 0;
            self.pieces.pop_front();
        }
        count
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let (writers, pieces) = {
            let mut state = self.shared.lock();
            state.is_gone = true;
            state.bytes = 0;
            (std::mem::take(&mut state.writers), std::mem::take(&mut state.pieces))
        };
        drop(pieces);
        self.shared.room.notify_all();
        writers.into_iter().for_each(Waker::wake);
    }
}

impl BodySource for Queue {
    fn poll_piece(&mut self, context: &mut Context<'_>, memory: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll(context, memory)
    }

    fn needs_reader(&self) -> bool {
        // Whoever makes it learns that its reader is gone.
        true
    }
}

impl Response {
    /// A body that is made elsewhere, of `length` bytes where that is known, and what it is sent by. At most `queue_bytes` of it
    /// wait for the client ([`QUEUE_BYTES`] is a good number), and one piece.
    #[must_use]
    pub fn channel(length: Option<u64>, queue_bytes: usize) -> (BodySender, Self) {
        let (shared, queue) = Queue::new(queue_bytes);
        (BodySender { shared, is_finished: false }, Self::stream(length, queue))
    }
}

impl BodySender {
    /// Queues a piece, or says that there is no room.
    ///
    /// # Errors
    /// [`SendError`], and the piece.
    pub fn try_send(&self, piece: impl Into<Vec<u8>>) -> Result<(), (SendError, Vec<u8>)> {
        let mut piece = piece.into();
        self.shared.push(&mut piece).map_err(|error| (error, piece))
    }

    /// Queues a piece once there is room.
    ///
    /// # Errors
    /// [`NobodyWaits`]: there is no use in making more.
    ///
    /// # Cancellation
    /// Dropping the future drops the piece.
    pub async fn send(&self, piece: impl Into<Vec<u8>>) -> Result<(), NobodyWaits> {
        let mut piece = piece.into();
        poll_fn(|context| {
            loop {
                match self.shared.push(&mut piece) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(SendError::Gone) => return Poll::Ready(Err(NobodyWaits)),
                    Err(SendError::Full) => {
                        let mut state = self.shared.lock();
                        // It may have been read meanwhile.
                        if state.bytes == 0 || state.is_gone {
                            continue;
                        }
                        if !state.writers.iter().any(|waker| waker.will_wake(context.waker())) {
                            state.writers.push(context.waker().clone());
                        }
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// The same for a thread that may wait, for `patience` at most. Not for a worker's thread.
    ///
    /// # Errors
    /// [`SendError::Full`] when there was no room in time, and the piece.
    pub fn send_within(
        &self,
        piece: impl Into<Vec<u8>>,
        patience: Duration,
    ) -> Result<(), (SendError, Vec<u8>)> {
        let mut piece = piece.into();
        let until = Instant::now() + patience;
        loop {
            match self.shared.push(&mut piece) {
                Ok(()) => return Ok(()),
                Err(SendError::Gone) => return Err((SendError::Gone, piece)),
                Err(SendError::Full) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err((SendError::Full, piece));
            }
            let state = self.shared.lock();
            if state.bytes > 0 && !state.is_gone {
                let _waited =
                    self.shared.room.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    /// Ends the body.
    pub fn finish(mut self) {
        self.is_finished = true;
        self.shared.end(true);
    }

    /// Whether nobody reads any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.shared.is_gone()
    }
}

impl Drop for BodySender {
    fn drop(&mut self) {
        if !self.is_finished {
            self.shared.end(false);
        }
    }
}

impl fmt::Debug for BodySender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodySender").field("is_gone", &self.is_gone()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(queue: &Queue, size: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut memory = vec![0; size];
        let polled = queue.poll(&Context::from_waker(Waker::noop()), &mut memory);
        polled.map(|polled| polled.map(|count| memory[..count].to_vec()))
    }

    fn sender(queue_bytes: usize) -> (BodySender, Queue) {
        let (shared, queue) = Queue::new(queue_bytes);
        (BodySender { shared, is_finished: false }, queue)
    }

    #[test]
    fn pieces_come_in_order_and_wait_for_room() {
        let (sender, queue) = sender(8);
        assert!(read(&queue, 4).is_pending());
        sender.try_send(*b"0123456789").expect("one piece has room whatever its length");
        let (error, piece) = sender.try_send(*b"x").expect_err("no room");
        assert_eq!((error, piece), (SendError::Full, b"x".to_vec()));
        assert!(matches!(read(&queue, 4), Poll::Ready(Ok(piece)) if piece == b"0123"));
        sender.try_send(*b"ab").expect("six and two are eight");
        assert!(matches!(read(&queue, 64), Poll::Ready(Ok(piece)) if piece == b"456789ab"));
        sender.finish();
        assert!(matches!(read(&queue, 4), Poll::Ready(Ok(piece)) if piece.is_empty()));
    }

    #[test]
    fn who_is_dropped_in_the_middle_leaves_no_whole_body() {
        let (sender, queue) = sender(8);
        sender.try_send(*b"half").expect("room");
        drop(sender);
        assert!(matches!(read(&queue, 64), Poll::Ready(Ok(piece)) if piece == b"half"));
        assert!(matches!(read(&queue, 64), Poll::Ready(Err(_))));
    }

    #[test]
    fn threads_wait_for_room_and_learn_that_nobody_reads() {
        let (sender, queue) = sender(4);
        sender.try_send(*b"full").expect("room");
        let (error, _) = sender.send_within(*b"x", Duration::from_millis(1)).expect_err("nobody reads");
        assert_eq!(error, SendError::Full);
        let sending = std::thread::spawn(move || {
            sender.send_within(*b"more", Duration::from_secs(20)).expect("somebody reads");
            sender.send_within(*b"most", Duration::from_secs(20)).map_err(|(error, _)| error)
        });
        while !matches!(read(&queue, 4), Poll::Ready(Ok(piece)) if piece == b"more") {}
        drop(queue);
        // Queued before the end, or not any more.
        assert!(matches!(sending.join().expect("no panic"), Ok(()) | Err(SendError::Gone)));
    }
}

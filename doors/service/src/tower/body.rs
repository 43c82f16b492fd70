//! Bodies of requests as the tower world reads them: none, whole, or coming through a bounded queue that any thread may empty.

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use ringway_lock::{Mutex, MutexGuard};
use ringway_web::request_body::BodyError;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

/// Bytes of a body that may wait to be read, besides the piece that came last; the client is told to wait beyond them.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024;

/// The body of a request. It may be read on any thread; what is not read slows its client down.
///
/// Its errors are [`BodyError`]: it is longer than the site allows, malformed, late, or its client is gone. One that is still read
/// when the answer is out ends with [`BodyError::Gone`]. Trailer fields are left away.
pub struct Body {
    inner: Inner,
}

enum Inner {
    /// None, or no more.
    Empty,
    Whole(Bytes),
    Coming(Coming),
}

/// The reader's side of a queue.
struct Coming {
    queue: Arc<Queue>,
    /// Bytes still to come, where the client said how many.
    left: Option<u64>,
}

impl Body {
    /// None.
    #[must_use]
    pub const fn empty() -> Self {
        Self { inner: Inner::Empty }
    }

    /// One that is all there.
    pub(super) fn whole(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self { inner: Inner::Whole(bytes) } }
    }

    /// One of `length` bytes, if that is known, that comes through `queue`.
    pub(super) fn coming(queue: Arc<Queue>, length: Option<u64>) -> Self {
        Self { inner: Inner::Coming(Coming { queue, left: length }) }
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let inner = &mut self.get_mut().inner;
        match inner {
            Inner::Empty => Poll::Ready(None),
            Inner::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                *inner = Inner::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Inner::Coming(coming) => {
                let polled = std::task::ready!(coming.queue.poll_take(context));
                match (&polled, &mut coming.left) {
                    (Some(Ok(bytes)), Some(left)) => *left = left.saturating_sub(bytes.len() as u64),
                    (Some(Ok(_)), None) => {}
                    // Behind an error there is nothing: whoever goes on reading must come to an end.
                    (Some(Err(_)) | None, _) => *inner = Inner::Empty,
                }
                Poll::Ready(polled.map(|polled| polled.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::Empty => true,
            Inner::Whole(_) => false,
            Inner::Coming(coming) => coming.queue.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::Empty => SizeHint::with_exact(0),
            Inner::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Inner::Coming(coming) => coming.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.inner {
            Inner::Empty => "Body(empty)",
            Inner::Whole(_) => "Body(whole)",
            Inner::Coming(_) => "Body(coming)",
        })
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.queue.let_go();
    }
}

/// Pieces between the worker that receives them and whoever reads them.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    end: Option<Result<(), BodyError>>,
    /// Somebody has asked for a piece that was not there.
    is_asked_for: bool,
    /// Nobody reads it any more.
    is_let_go: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// What a queue wants of its writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Another piece.
    Piece,
    /// Nothing now: its waker is used when that changes.
    Later,
    /// Nothing any more.
    Nothing,
}

impl Queue {
    /// What is wanted; a waker is kept where it is something later.
    pub(super) fn wanted(&self, context: &Context<'_>) -> Wanted {
        let state = &mut *self.lock();
        if state.is_let_go || state.end.is_some() {
            return Wanted::Nothing;
        }
        if state.is_asked_for && state.bytes < QUEUE_BYTES_MAX {
            return Wanted::Piece;
        }
        if !state.writer.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            state.writer = Some(context.waker().clone());
        }
        Wanted::Later
    }

    /// Puts a piece behind the others.
    pub(super) fn push(&self, piece: Bytes) {
        let waker = {
            let state = &mut *self.lock();
            state.bytes += piece.len();
            state.pieces.push_back(piece);
            state.reader.take()
        };
        wake(waker);
    }

    /// No more pieces come, or none can.
    pub(super) fn end(&self, end: Result<(), BodyError>) {
        let waker = {
            let state = &mut *self.lock();
            state.end.get_or_insert(end);
            state.reader.take()
        };
        wake(waker);
    }

    /// Why no more pieces come, where that is an error.
    pub(super) fn error(&self) -> Option<BodyError> {
        self.lock().end.and_then(Result::err)
    }

    fn poll_take(&self, context: &Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let (polled, waker) = {
            let state = &mut *self.lock();
            let waker = if state.bytes <= QUEUE_BYTES_MAX / 2 { state.writer.take() } else { None };
            match (state.pieces.pop_front(), state.end) {
                (Some(piece), _) => {
                    state.bytes -= piece.len();
                    let has_room = state.bytes <= QUEUE_BYTES_MAX / 2;
                    let waker = waker.or_else(|| if has_room { state.writer.take() } else { None });
                    (Poll::Ready(Some(Ok(piece))), waker)
                }
                (None, Some(Ok(()))) => (Poll::Ready(None), None),
                (None, Some(Err(error))) => (Poll::Ready(Some(Err(error))), None),
                (None, None) => {
                    state.is_asked_for = true;
                    if !state.reader.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                        state.reader = Some(context.waker().clone());
                    }
                    (Poll::Pending, waker)
                }
            }
        };
        wake(waker);
        polled
    }

    fn is_over(&self) -> bool {
        let state = self.lock();
        state.pieces.is_empty() && state.end == Some(Ok(()))
    }

    fn let_go(&self) {
        let (waker, _pieces) = {
            let state = &mut *self.lock();
            state.is_let_go = true;
            state.bytes = 0;
            (state.writer.take(), std::mem::take(&mut state.pieces))
        };
        wake(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With the queue released: whoever is woken may look at it at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body::Body as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    struct Party {
        count: Arc<Count>,
        waker: Waker,
    }

    impl Party {
        fn new() -> Self {
            let count = Arc::new(Count::default());
            Self { waker: Waker::from(Arc::clone(&count)), count }
        }

        fn context(&self) -> Context<'_> {
            Context::from_waker(&self.waker)
        }

        fn woken(&self) -> usize {
            self.count.0.swap(0, Ordering::Relaxed)
        }
    }

    fn take(body: &mut Body, reader: &Party) -> Poll<Option<Result<Bytes, BodyError>>> {
        let polled = Pin::new(body).poll_frame(&mut reader.context());
        polled.map(|frame| frame.map(|frame| frame.map(|frame| frame.into_data().expect("data"))))
    }

    #[test]
    fn bodies_that_are_there_need_nobody() {
        let reader = Party::new();
        let mut none = Body::empty();
        assert!(none.is_end_stream() && none.size_hint().exact() == Some(0));
        assert_eq!(take(&mut none, &reader), Poll::Ready(None));
        let mut whole = Body::whole(Bytes::from_static(b"abc"));
        assert!(!whole.is_end_stream() && whole.size_hint().exact() == Some(3));
        assert_eq!(take(&mut whole, &reader), Poll::Ready(Some(Ok(Bytes::from_static(b"abc")))));
        assert!(whole.is_end_stream() && whole.size_hint().exact() == Some(0));
        assert_eq!(take(&mut whole, &reader), Poll::Ready(None));
        assert!(Body::whole(Bytes::new()).is_end_stream());
    }

    #[test]
    fn nothing_is_wanted_before_somebody_asks_and_when_the_queue_is_full() {
        let (reader, writer) = (Party::new(), Party::new());
        let queue = Arc::new(Queue::default());
        let mut body = Body::coming(Arc::clone(&queue), Some(200_000));
        assert_eq!(queue.wanted(&writer.context()), Wanted::Later);
        assert_eq!(take(&mut body, &reader), Poll::Pending);
        assert_eq!((writer.woken(), reader.woken()), (1, 0));

        let piece = Bytes::from(vec![7; 40_000]);
        for count in 0..2 {
            assert_eq!(queue.wanted(&writer.context()), Wanted::Piece, "{count}");
            queue.push(piece.clone());
        }
        assert_eq!((writer.woken(), reader.woken()), (0, 1));
        assert_eq!(queue.wanted(&writer.context()), Wanted::Later);
        assert_eq!(take(&mut body, &reader), Poll::Ready(Some(Ok(piece.clone()))));
        // Not at the first byte of room: waking another thread is dear.
        assert_eq!(writer.woken(), 0);
        assert_eq!(body.size_hint().exact(), Some(160_000));
        assert_eq!(take(&mut body, &reader), Poll::Ready(Some(Ok(piece))));
        assert_eq!(writer.woken(), 1);
        assert_eq!(take(&mut body, &reader), Poll::Pending);
        queue.end(Ok(()));
        assert_eq!(reader.woken(), 1);
        assert!(body.is_end_stream());
        assert_eq!(take(&mut body, &reader), Poll::Ready(None));
        assert_eq!(queue.wanted(&writer.context()), Wanted::Nothing);
    }

    #[test]
    fn errors_come_behind_what_came_before_them_and_the_first_one_stays() {
        let reader = Party::new();
        let queue = Arc::new(Queue::default());
        let mut body = Body::coming(Arc::clone(&queue), None);
        assert_eq!(body.size_hint().exact(), None);
        queue.push(Bytes::from_static(b"a"));
        queue.end(Err(BodyError::Late));
        queue.end(Ok(()));
        assert!(!body.is_end_stream());
        assert_eq!(take(&mut body, &reader), Poll::Ready(Some(Ok(Bytes::from_static(b"a")))));
        assert_eq!(take(&mut body, &reader), Poll::Ready(Some(Err(BodyError::Late))));
        assert_eq!(take(&mut body, &reader), Poll::Ready(None));
        assert_eq!(queue.error(), Some(BodyError::Late));
    }

    #[test]
    fn a_reader_that_has_enough_is_news_to_the_writer() {
        let (reader, writer) = (Party::new(), Party::new());
        let queue = Arc::new(Queue::default());
        let mut body = Body::coming(Arc::clone(&queue), None);
        queue.push(Bytes::from(vec![0; QUEUE_BYTES_MAX]));
        assert_eq!(queue.wanted(&writer.context()), Wanted::Later);
        assert!(matches!(take(&mut body, &reader), Poll::Ready(Some(Ok(_)))));
        assert_eq!(writer.woken(), 1);
        assert_eq!(
            queue.wanted(&writer.context()),
            Wanted::Later,
            "nobody has asked for more than was there"
        );
        drop(body);
        assert_eq!(writer.woken(), 1);
        assert_eq!(queue.wanted(&writer.context()), Wanted::Nothing);
    }
}

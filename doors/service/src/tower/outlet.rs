//! Bodies of answers that are made while they are sent, by a service: asked for as there is room, dropped when nobody reads.

use super::BoxError;
use super::inlet::Inlet;
use super::notes::Notes;
use super::trouble::{Trouble, said_by};
use crate::background::Background;
use crate::stats::Active;
use bytes::{Buf, Bytes};
use http_body::Body as HttpBody;
use ringway_engine::WorkerHandle;
use ringway_engine::ring::{SLICE_BYTES_MAX, Slice};
use ringway_web::body_source::BodySource;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How many frames may come in a row that have nothing to send.
const EMPTY_FRAMES_MAX: usize = 32;

/// A body under way.
pub(super) struct Outlet<B> {
    /// What was made and not sent yet.
    pub(super) ahead: Bytes,
    /// `None` when all of it was made.
    pub(super) body: Option<Pin<Box<B>>>,
    /// What is left of the request's body.
    pub(super) inlet: Option<Inlet>,
    /// It goes on until its reader has enough.
    pub(super) is_endless: bool,
    pub(super) background: Background,
    pub(super) worker: WorkerHandle,
    pub(super) notes: Rc<Notes>,
    /// The request is under way until it is dropped.
    pub(super) active: Option<Active>,
}

impl<B> Outlet<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn take_ahead(&mut self) -> io::Result<Slice> {
        let count = self.ahead.len().min(SLICE_BYTES_MAX);
        let mut memory = self.worker.slices().get(count).ok_or(io::ErrorKind::OutOfMemory)?;
        self.ahead.copy_to_slice(&mut memory[..count]);
        Ok(memory.freeze(count))
    }

    /// Asks for the next frame; `false` when there is none.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<Result<bool, Trouble>> {
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(false)) };
        let entered = self.background.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| body.as_mut().poll_frame(context)));
        drop(entered);
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(None)) => Poll::Ready(Ok(false)),
            Ok(Poll::Ready(Some(Ok(frame)))) => {
                if let Ok(mut data) = frame.into_data() {
                    self.ahead = data.copy_to_bytes(data.remaining());
                }
                Poll::Ready(Ok(true))
            }
            Ok(Poll::Ready(Some(Err(error)))) => Poll::Ready(Err(Trouble::Body(error.into().to_string()))),
            Err(panic) => Poll::Ready(Err(Trouble::Panic(said_by(&*panic)))),
        }
    }
}

impl<B> Outlet<B> {
    /// Drops what makes the body, which may want a runtime for the last time.
    fn end(&mut self) {
        let _entered = self.background.enter();
        let body = self.body.take();
        let _panicked = catch_unwind(AssertUnwindSafe(|| drop(body)));
        self.active = None;
    }
}

impl<B> BodySource for Outlet<B>
where
    B: HttpBody,
    B::Error: Into<BoxError>,
{
    fn poll_piece(&mut self, _context: &mut Context<'_>, _memory: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        for _ in 0..EMPTY_FRAMES_MAX {
            if !self.ahead.is_empty() {
                return Poll::Ready(self.take_ahead().map(Some));
            }
            match self.poll_ahead(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false)) => {
                    self.end();
                    return Poll::Ready(Ok(None));
                }
                Poll::Ready(Err(trouble)) => {
                    self.notes.trouble(&trouble);
                    self.end();
                    return Poll::Ready(Err(io::ErrorKind::Other.into()));
                }
                Poll::Pending => {
                    let has_moved = self.inlet.as_mut().is_some_and(|inlet| inlet.pump(context));
                    if !has_moved {
                        return Poll::Pending;
                    }
                }
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        if let Some(inlet) = &mut self.inlet {
            inlet.pump(context);
        }
    }

    fn needs_reader(&self) -> bool {
        true
    }

    fn is_endless(&self) -> bool {
        self.is_endless
    }
}

impl<B> Drop for Outlet<B> {
    fn drop(&mut self) {
        self.end();
    }
}

//! The body of a script's answer.

use super::ear::{Ear, Ending};
use super::failure::Failure;
use super::run::Run;
use crate::body_source::BodySource;
use ringway_engine::Sleep;
use ringway_engine::ring::Slice;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a script writes behind the head of its answer. It is read as the client takes it.
pub(super) struct Answer {
    /// `None` once all was read.
    run: Option<Run>,
    /// Bytes the script has still to write, where it has said how many.
    left: Option<u64>,
    /// The output has ended; this wakes when its end is not waited for any more.
    ending: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    pub(super) fn new(run: Run, length: Option<u64>) -> Self {
        Self { run: Some(run), left: length, ending: None }
    }

    /// The next bytes, as many as the script may write; `None` at the end.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Failure>> {
        while self.ending.is_none() {
            let Some(run) = &mut self.run else { return Poll::Ready(Ok(None)) };
            match std::task::ready!(run.poll_output(context))? {
                Some(slice) if slice.is_empty() => {}
                Some(slice) => return Poll::Ready(Ok(Some(self.within_length(slice)))),
                None => {
                    let worker = &run.ear.shared.worker;
                    let until_ms = worker.now_ms() + Ear::ending_ms_max();
                    self.ending = Some(Box::pin(worker.sleep_until(until_ms)));
                }
            }
        }
        self.poll_end(context)
    }

    /// What of a piece belongs to the answer: what is written beyond the length that was said is nobody's. With the last
    /// byte the answer is complete, and nobody asks again.
    fn within_length(&mut self, mut slice: Slice) -> Slice {
        let Some(left) = &mut self.left else { return slice };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(slice.len());
        let own = slice.split_to(most);
        *left -= own.len() as u64;
        if *left == 0 {
            self.release();
        }
        own
    }

    fn release(&mut self) {
        if let Some(run) = self.run.take() {
            run.ear.release();
        }
    }

    /// The output has ended: whether as it should have is known when the script has.
    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Failure>> {
        let Some(run) = &mut self.run else { return Poll::Ready(Ok(None)) };
        if let Some(ending) = &mut self.ending {
            if self.left.is_some() {
                return Poll::Ready(Err(Failure::Short));
            }
            if run.ear.poll_end(context)?.is_pending() && ending.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            match (run.ear.is_overdue, run.ear.ending) {
                (true, _) => return Poll::Ready(Err(Failure::Overdue)),
                (false, Some(Ending::Signal(signal))) => return Poll::Ready(Err(Failure::Killed(signal))),
                (false, _) => {}
            }
        }
        self.release();
        Poll::Ready(Ok(None))
    }
}

impl BodySource for Answer {
    fn poll_piece(&mut self, _context: &mut Context<'_>, _memory: &mut [u8]) -> Poll<io::Result<usize>> {
        // It gives slices.
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn needs_reader(&self) -> bool {
        true
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        if let Some(run) = &mut self.run {
            run.go_on(context);
        }
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        let polled = std::task::ready!(self.poll(context));
        Poll::Ready(polled.map_err(|failure| {
            // The head is out: the connection breaks, and only the log can say why.
            if let Some(run) = self.run.take() {
                run.ear.shared.complain(&run.ear.name, &failure);
            }
            io::Error::other("a script's answer is not complete")
        }))
    }
}

//! An answer's body on its way from a stream to the client, and what is left of the request's body the other way.

use super::line::Asked;
use super::timer::Timer;
use super::{fault_of, poll_give};
use crate::body_source::BodySource;
use crate::proxy::pump::{Pump, Stop};
use crate::proxy::why::Stage;
use crate::upstream::{Fault, Flight, TryRules};
use ringway_engine::WorkerHandle;
use ringway_engine::ring::Slice;
use std::io;
use std::task::{Context, Poll};

/// A body that a backend sends on a stream.
pub(in crate::proxy) struct Relayed {
    /// Until the body has ended.
    under_way: Option<(Asked, Flight)>,
    /// What is left of the request's body.
    pump: Option<Pump>,
    rules: TryRules,
    worker: WorkerHandle,
    /// For the next piece.
    reading: Timer,
    /// For the backend to take a piece.
    giving: Timer,
}

impl Relayed {
    /// The body behind a head.
    pub(super) fn new(
        asked: Asked,
        flight: Flight,
        pump: Option<Pump>,
        rules: TryRules,
        worker: WorkerHandle,
    ) -> Self {
        let under_way = Some((asked, flight));
        Self { under_way, pump, rules, worker, reading: Timer::default(), giving: Timer::default() }
    }

    /// Gives on what there is of the request's body. A backend that has begun to answer may want no more of it.
    fn give_on(&mut self, context: &mut Context<'_>) {
        let (Some(pump), Some((asked, _))) = (&mut self.pump, &self.under_way) else { return };
        let given = poll_give(asked, pump, &self.rules, &mut self.giving, &self.worker, context);
        let is_over = match given {
            Poll::Pending => self.giving.poll(context, &self.worker),
            Poll::Ready(Ok(()) | Err(Stop::Client(_) | Stop::Upstream(_))) => true,
        };
        if is_over {
            self.pump = None;
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Fault>> {
        let Some((asked, _)) = &self.under_way else { return Poll::Ready(Ok(None)) };
        match asked.poll_piece(context) {
            Poll::Ready(Ok(Some(piece))) => {
                self.reading.forget();
                Poll::Ready(Ok(Some(piece)))
            }
            Poll::Ready(Ok(None)) => {
                self.under_way = None;
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(failure)) => {
                Poll::Ready(Err(fault_of(failure, asked.fault(), Stage::Body, asked.is_reused())))
            }
            Poll::Pending => {
                // While the request is on its way, the backend may wait for it.
                if self.pump.is_none() {
                    self.reading.begin(self.worker.now_ms(), self.rules.read_timeout_ms);
                }
                if self.reading.poll(context, &self.worker) {
                    asked.suspect();
                    return Poll::Ready(Err(Fault::TimedOut("its answer")));
                }
                Poll::Pending
            }
        }
    }
}

impl BodySource for Relayed {
    fn poll_piece(&mut self, _context: &mut Context<'_>, _memory: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn needs_reader(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        self.give_on(context);
        match self.poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(piece)) => Poll::Ready(Ok(piece)),
            Poll::Ready(Err(fault)) => {
                if let Some((asked, flight)) = self.under_way.take() {
                    drop(asked);
                    flight.failed(&fault);
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        self.give_on(context);
    }
}

//! An answer's body on its way from the upstream to the client, and what is left of the request's body the other way.

use super::attempt::Head;
use super::patience::{Patience, Wait};
use super::pump::{Pump, Stop};
use super::why::{Stage, Why};
use crate::body_source::BodySource;
use crate::upstream::{Lease, TryRules};
use ringway_engine::ring::Slice;
use ringway_http::body::Step;
use ringway_http::reply::ReplyBody;
use std::io;
use std::task::{Context, Poll};

/// A body that a backend sends.
pub(super) struct Relayed {
    /// Until the body has ended, or all of it is at hand.
    lease: Option<Lease>,
    body: ReplyBody,
    /// What was received and not given on.
    input: Option<Slice>,
    /// Bytes that were put back, because what is behind them is wanted too: part of a trailer line.
    kept_bytes: usize,
    /// What is left of the request's body.
    pump: Option<Pump>,
    /// Whether the backend takes another request on this connection.
    keeps: bool,
    rules: TryRules,
    patience: Patience,
}

impl Relayed {
    /// The body behind `head`.
    pub(super) fn new(lease: Lease, head: &Head, pump: Option<Pump>, rules: TryRules) -> Self {
        let rest = head.rest.clone();
        let mut relayed = Self {
            lease: Some(lease),
            body: ReplyBody::new(head.delivery),
            input: (!rest.is_empty()).then_some(rest),
            kept_bytes: 0,
            pump: pump.filter(|pump| !pump.is_over()),
            keeps: head.keeps && !head.is_refused,
            rules,
            patience: Patience::default(),
        };
        relayed.settle();
        relayed
    }

    /// Lets go of the connection where nothing more can come of this answer: for another request, if all is as it should be.
    fn settle(&mut self) {
        let at_hand = self.input.as_ref().map_or(0, |input| input.len());
        let Some(left) = self.body.remaining().and_then(|left| usize::try_from(left).ok()) else { return };
        if left > at_hand {
            return;
        }
        let Some(lease) = self.lease.take() else { return };
        // What came beyond the answer was never asked for: nothing on this connection can be believed. And what is left of
        // the request's body would be taken for the next request.
        let is_clean = left == at_hand && self.kept_bytes == 0;
        if self.keeps && is_clean && self.pump.take().is_none_or(|pump| pump.is_done()) {
            lease.keep();
        }
    }

    fn poll_data(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Why>> {
        loop {
            let mut input = match self.input.take() {
                Some(input) => input,
                None if self.body.is_done() => return Poll::Ready(Ok(None)),
                None => match self.poll_input(context) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(Some(input))) => input,
                    Poll::Ready(Ok(None)) => return Poll::Ready(self.end()),
                    Poll::Ready(Err(why)) => return Poll::Ready(Err(why)),
                },
            };
            match self.body.decode(&input)? {
                Step::Data { data } => {
                    input.advance(data.start);
                    let piece = input.split_to(data.end - data.start);
                    self.input = (!input.is_empty()).then_some(input);
                    self.settle();
                    return Poll::Ready(Ok(Some(piece)));
                }
                Step::Done { consumed } => {
                    input.advance(consumed);
                    self.input = (!input.is_empty()).then_some(input);
                    self.settle();
                    return Poll::Ready(Ok(None));
                }
                Step::NeedMore { consumed } | Step::Trailer { consumed, .. } => {
                    input.advance(consumed);
                    if let (Some(lease), false) = (&mut self.lease, input.is_empty()) {
                        self.kept_bytes = input.len();
                        lease.stream.unread(input);
                    }
                }
            }
        }
    }

    /// What comes next from the backend; `None`: it has ended the connection.
    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Slice>, Why>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(Ok(None)) };
        loop {
            let polled = match self.kept_bytes {
                0 => lease.stream.poll_read(context),
                kept => lease.stream.poll_read_beyond(context, kept),
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(input)) => {
                    self.patience.forget();
                    let kept_bytes = std::mem::take(&mut self.kept_bytes);
                    // At the pool's limit there is no memory to put what came behind what was there.
                    if kept_bytes > 0 && input.as_ref().is_some_and(|input| input.len() <= kept_bytes) {
                        return Poll::Ready(Err(Why::NoMemory));
                    }
                    return Poll::Ready(Ok(input));
                }
                Poll::Ready(Err(error)) => {
                    if let Some(why) = self.patience.judge(&mut lease.stream, &error) {
                        return Poll::Ready(Err(why));
                    }
                }
            }
        }
    }

    /// Sets the time for what is waited for now.
    fn arm(&mut self) {
        let Some(lease) = &mut self.lease else { return };
        let wait = self.pump.as_ref().map_or(Wait::Answering, Pump::wait);
        let ms_max = match wait {
            Wait::Answering => self.rules.read_timeout_ms,
            Wait::Taking(_) | Wait::Nothing => self.rules.send_timeout_ms,
        };
        self.patience.wait(&mut lease.stream, wait, ms_max);
    }

    /// The backend has ended the connection.
    fn end(&mut self) -> Result<Option<Slice>, Why> {
        self.body.end()?;
        self.lease = None;
        Ok(None)
    }

    /// Gives on what there is of the request's body. A backend that has begun to answer may want no more of it.
    fn give_on(&mut self, context: &mut Context<'_>) {
        let (Some(pump), Some(lease)) = (&mut self.pump, &mut self.lease) else { return };
        match pump.poll(context, &mut lease.stream, &self.patience) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) if pump.is_done() => self.pump = None,
            Poll::Ready(Ok(()) | Err(Stop::Client(_) | Stop::Upstream(_))) => {
                self.pump = None;
                self.keeps = false;
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
        match self.poll_data(context) {
            Poll::Pending => {
                self.arm();
                Poll::Pending
            }
            Poll::Ready(Ok(piece)) => Poll::Ready(Ok(piece)),
            Poll::Ready(Err(why)) => {
                if let Some(lease) = self.lease.take() {
                    why.tell(lease, Stage::Body);
                }
                Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
            }
        }
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        self.give_on(context);
        if self.pump.is_some() {
            self.arm();
        }
    }
}

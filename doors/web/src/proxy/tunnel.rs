//! A connection that has gone over to another protocol: bytes both ways, until one side has enough.

use crate::body_source::BodySource;
use crate::limits::deadline;
use crate::request_body::RequestBody;
use crate::upstream::Lease;
use ringway_engine::ring::Slice;
use std::io;
use std::task::{Context, Poll};

/// Most bytes that wait to be sent to the backend.
const QUEUED_BYTES_MAX: usize = 64 * 1024;

/// The client is gone.
struct Gone;

/// Both directions of an upgraded connection.
pub(super) struct Tunnel {
    lease: Lease,
    /// What the client sends.
    client: RequestBody,
    /// The client sends nothing more.
    is_client_done: bool,
    /// What came behind the head.
    rest: Option<Slice>,
    idle_ms_max: u64,
    /// When something was sent last, either way.
    active_ms: u64,
    /// The backend's connection wakes us then.
    until_ms: u64,
}

impl Tunnel {
    pub(super) fn new(lease: Lease, mut client: RequestBody, rest: Slice, idle_ms_max: u64) -> Self {
        client.unframed();
        let rest = (!rest.is_empty()).then_some(rest);
        let active_ms = lease.stream.now_ms();
        Self { lease, client, is_client_done: false, rest, idle_ms_max, active_ms, until_ms: 0 }
    }

    /// Whether nobody has said anything for too long; sees to it that this is asked again.
    fn is_silent(&mut self) -> bool {
        let stream = &mut self.lease.stream;
        let now_ms = stream.now_ms();
        if now_ms >= self.until_ms {
            self.until_ms = deadline(self.active_ms, self.idle_ms_max);
            if now_ms >= self.until_ms {
                return true;
            }
            stream.set_deadline(self.until_ms);
        }
        false
    }

    /// Gives on what the client has sent.
    fn give_on(&mut self, context: &mut Context<'_>) -> Result<(), Gone> {
        let stream = &mut self.lease.stream;
        while !self.is_client_done {
            match stream.poll_queued(context, QUEUED_BYTES_MAX) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                // It may have said something before it ended.
                Poll::Ready(Err(_gone)) => {
                    self.is_client_done = true;
                    break;
                }
            }
            let Poll::Ready(piece) = self.client.poll_next(context) else { return Ok(()) };
            match piece {
                Ok(Some(piece)) => {
                    self.active_ms = stream.now_ms();
                    stream.send(piece);
                }
                // What it sent before goes out, and then the end.
                Ok(None) => {
                    self.is_client_done = true;
                    stream.shutdown_write();
                }
                Err(_gone) => return Err(Gone),
            }
        }
        Ok(())
    }

    fn poll_back(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Ok(Some(rest)));
        }
        let polled = self.lease.stream.poll_read(context);
        if polled.is_ready() {
            self.active_ms = self.lease.stream.now_ms();
        }
        polled
    }
}

impl BodySource for Tunnel {
    fn poll_piece(&mut self, _context: &mut Context<'_>, _memory: &mut [u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn gives_slices(&self) -> bool {
        true
    }

    fn poll_slice(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Slice>>> {
        if self.is_silent() || self.give_on(context).is_err() {
            return Poll::Ready(Ok(None));
        }
        self.poll_back(context)
    }

    fn go_on(&mut self, context: &mut Context<'_>) {
        // A client that is gone, or takes nothing, shows where its connection is written to.
        if !self.is_silent() {
            let _gone = self.give_on(context);
        }
    }
}

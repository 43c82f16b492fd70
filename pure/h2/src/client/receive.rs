//! What comes in from a server, frame by frame (RFC 9113 section 4), and its farewell (section 6.8).

use super::{Buffers, Connection, Event, Failure, Step};
use crate::code::Fault;
use crate::frame::{HEAD_BYTES, Head, Kind, write_goaway};
use crate::link::{Next, Progress};
use crate::streams::Past;

/// How a server answers that does not speak HTTP/2; as long as the head of a frame, which it would be taken for.
const HTTP1: &[u8; HEAD_BYTES] = b"HTTP/1.1 ";

impl Connection {
    /// Takes in what arrived, up to the next event. Call it until there is none, and again with more; what is not
    /// consumed (at most a frame of 16 KiB and its head) comes again at the front. The outcome does not depend on where
    /// the bytes were split. `now_ms` is any clock that does not run backwards.
    ///
    /// # Errors
    /// The connection must end: GOAWAY is in the output. Every later call says the same again; [`Connection::lost`] tells
    /// of the streams that lived.
    pub fn receive(&mut self, input: &[u8], now_ms: u64, buffers: &mut Buffers) -> Result<Step, Fault> {
        if let Some(fault) = self.link.fault {
            return Err(fault);
        }
        let mut consumed = 0;
        loop {
            if let Some(event) = self.unprocessed(buffers) {
                return Ok(Step { consumed, event: Some(event) });
            }
            match self.advance(&input[consumed..], now_ms, buffers) {
                Ok(Progress::Took(bytes)) => consumed += bytes,
                Ok(Progress::NeedMore) => return Ok(Step { consumed, event: None }),
                Ok(Progress::Found(bytes, mut event)) => {
                    if let Event::Data { at, .. } = &mut event {
                        *at = at.start + consumed..at.end + consumed;
                    }
                    return Ok(Step { consumed: consumed + bytes, event: Some(event) });
                }
                Err(fault) => {
                    self.is_leaving = true;
                    write_goaway(&mut buffers.out, 0, fault.code());
                    self.link.fault = Some(fault);
                    return Err(fault);
                }
            }
        }
    }

    fn advance(
        &mut self,
        input: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Progress<Event>, Fault> {
        if !self.link.is_open() && input.starts_with(HTTP1) {
            return Err(Fault::Preface);
        }
        let (head, payload) = match self.link.next(input, now_ms, buffers)? {
            Next::Frame(head, payload) => (head, payload),
            Next::Done(progress) => return Ok(progress.into()),
        };
        let event = match head.kind {
            Kind::HEADERS => self.headers(head, payload, now_ms, buffers)?,
            Kind::CONTINUATION => self.continuation(head, payload, now_ms, buffers)?,
            Kind::PING => self.pong(head, payload, now_ms, buffers).map(|()| None)?,
            Kind::GOAWAY => self.farewell(head, payload, now_ms).map(|()| None)?,
            _ => self.link.control(head, payload, now_ms, buffers)?.map(Event::from),
        };
        Ok(Progress::with(HEAD_BYTES + payload.len(), event))
    }

    /// Section 6.7.
    fn pong(&mut self, head: Head, payload: &[u8], now_ms: u64, buffers: &mut Buffers) -> Result<(), Fault> {
        let acknowledged = self.link.ping(head, payload, now_ms, buffers)?;
        self.is_pinged &= acknowledged != Some(self.pings.to_be_bytes());
        Ok(())
    }

    /// Section 6.8. A server may say it twice, and then serve fewer; never more.
    fn farewell(&mut self, head: Head, payload: &[u8], now_ms: u64) -> Result<(), Fault> {
        let last = self.link.goaway_by_peer(head, payload, now_ms)?;
        self.last_served = self.last_served.min(last);
        Ok(())
    }

    /// A stream that the server's farewell has left unserved.
    #[inline]
    fn unprocessed(&mut self, buffers: &mut Buffers) -> Option<Event> {
        if !self.link.is_peer_leaving {
            return None;
        }
        let stream = self.link.streams.above(self.last_served)?;
        // What the server sends on it nevertheless is passed over.
        self.link.end_stream(stream, Past::ResetByUs, buffers);
        Some(Event::Failed { stream, failure: Failure::Unprocessed })
    }
}

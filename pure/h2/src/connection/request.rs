//! Field sections of requests: heads and trailers (RFC 9113 sections 4.3 and 8.1).

use super::{Buffers, Connection, Event};
use crate::code::{Code, Fault};
use crate::frame::{Head, flag};
use crate::head::{Outcome, RequestHead, TrailerSection};
use crate::link::section;
use crate::streams::{Past, Stream};

impl Connection {
    /// Section 6.2.
    pub(super) fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        match self.link.begin_section(head, payload)? {
            Some(block) => self.section(head.stream, head.has(flag::END_STREAM), block, now_ms, buffers),
            None => Ok(None),
        }
    }

    /// Section 6.10.
    pub(super) fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        match self.link.continue_section(head, payload)? {
            Some(whole) => self.section(whole.stream, whole.ends, &whole.block, now_ms, buffers),
            None => Ok(None),
        }
    }

    /// A whole field section: a request, trailers, or a mistake.
    fn section(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        if stream.is_multiple_of(2) {
            return Err(Fault::StreamNumber);
        }
        if stream > self.link.highest {
            self.link.highest = stream;
            return self.open(stream, ends, block, now_ms, buffers);
        }
        match self.link.streams.look(stream).map(|state| state.is_remote_done) {
            Some(false) => self.trailers(stream, ends, block, now_ms, buffers),
            // Section 5.1: half-closed, closed, or never opened because a later one was.
            Some(true) => {
                self.skip(block, buffers)?;
                self.reset_for(stream, Code::STREAM_CLOSED, now_ms, buffers)
            }
            None => match self.link.streams.past(stream) {
                _ if self.link.is_ignored(stream) => self.skip(block, buffers),
                Past::ResetByUs => self.skip(block, buffers),
                Past::Ended => Err(Fault::ClosedStream),
                Past::Unknown => Err(Fault::StreamNumber),
            },
        }
    }

    /// A request begins.
    fn open(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        if self.link.is_ignored(stream) {
            return self.skip(block, buffers);
        }
        if self.link.streams.len() >= self.link.limits.streams_max as usize {
            self.skip(block, buffers)?;
            // Section 5.1.2. It may be retried (section 8.7); a first flight may not know the limit yet.
            return self.reset_for(stream, Code::REFUSED_STREAM, now_ms, buffers);
        }
        let rules = self.rules();
        let Buffers { head, scratch, .. } = buffers;
        let mut request = RequestHead::new(head, rules);
        self.decoder.decode(block, scratch, &mut request).map_err(|_reason| Fault::Compression)?;
        let outcome = request.finish(ends);
        let length = match outcome {
            Outcome::Malformed => {
                return self.reset_for(stream, Code::PROTOCOL_ERROR, now_ms, buffers);
            }
            Outcome::Over => None,
            Outcome::Head(length) => length,
        };
        self.link.streams.add(Stream {
            id: stream,
            receive_window: i64::from(self.link.limits.stream_window_bytes),
            send_window: self.link.peer_window,
            unread: 0,
            returned: 0,
            length_left: length,
            is_head_due: false,
            is_remote_done: ends,
            is_local_done: false,
        });
        let is_over = outcome == Outcome::Over;
        Ok(Some(if is_over { Event::Oversized { stream, ends } } else { Event::Request { stream, ends } }))
    }

    /// Section 8.1: the end of a body. They must end the stream, and be no pseudo-header fields.
    fn trailers(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        let mut section = TrailerSection::<RequestHead<'_>>::new();
        self.decoder
            .decode(block, &mut buffers.scratch, &mut section)
            .map_err(|_reason| Fault::Compression)?;
        let is_short = self
            .link
            .streams
            .look(stream)
            .is_some_and(|state| state.length_left.is_some_and(|left| left > 0));
        if section.is_malformed() || is_short || !ends {
            return self.reset_for(stream, Code::PROTOCOL_ERROR, now_ms, buffers);
        }
        self.link.end_remote(stream, buffers);
        Ok(Some(Event::Data { stream, at: 0..0, ends: true }))
    }

    /// Decodes a section that nobody asks for.
    fn skip(&mut self, block: &[u8], buffers: &mut Buffers) -> Result<Option<Event>, Fault> {
        section::skip::<RequestHead<'_>>(&mut self.decoder, block, &mut buffers.scratch).map(|()| None)
    }

    fn reset_for(
        &mut self,
        stream: u32,
        code: Code,
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        Ok(self.link.fail_stream(stream, code, now_ms, buffers)?.map(Event::from))
    }
}

//! Field sections of requests: HEADERS and CONTINUATION, heads and trailers (RFC 9113 sections 4.3, 6.2, 6.10 and 8.1).

use super::{Buffers, Connection, Event, Fragment};
use crate::code::{Code, Fault};
use crate::frame::{Head, flag};
use crate::head::{Class, Outcome, RequestHead, TrailerSection};
use crate::hpack::FieldSink;
use crate::streams::{Past, Stream};

/// Bytes of priority in HEADERS (section 6.2).
const PRIORITY_BYTES: usize = 5;

/// Takes the fields of a section that nobody asks for: the table must see them.
struct Nobody;

impl FieldSink for Nobody {
    type Class = Class;

    fn classify(name: &[u8], value: &[u8]) -> Class {
        RequestHead::classify(name, value)
    }

    fn field(&mut self, _class: Class, _name: &[u8], _value: &[u8]) {}
}

impl Connection {
    /// Section 6.2.
    pub(super) fn headers(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        if head.stream == 0 {
            return Err(Fault::NeedsStream);
        }
        let block = block_of(head, payload)?;
        let ends = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.section(head.stream, ends, block, now_ms, buffers);
        }
        let block = block.to_vec();
        self.fragment = Some(Box::new(Fragment { stream: head.stream, ends, continuations: 0, block }));
        Ok(None)
    }

    /// Section 6.10; that it is in its place was checked.
    pub(super) fn continuation(
        &mut self,
        head: Head,
        payload: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        let Some(mut fragment) = self.fragment.take() else { return Err(Fault::BlockOrder) };
        fragment.continuations += 1;
        fragment.block.extend_from_slice(payload);
        let is_over = fragment.block.len() > self.limits.block_bytes_max as usize
            || fragment.continuations > self.limits.continuations_max;
        if is_over {
            return Err(Fault::BlockLength);
        }
        if head.has(flag::END_HEADERS) {
            return self.section(fragment.stream, fragment.ends, &fragment.block, now_ms, buffers);
        }
        self.fragment = Some(fragment);
        Ok(None)
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
        if stream > self.highest {
            self.highest = stream;
            return self.open(stream, ends, block, now_ms, buffers);
        }
        match self.streams.look(stream).map(|state| state.is_remote_done) {
            Some(false) => self.trailers(stream, ends, block, now_ms, buffers),
            // Section 5.1: half-closed, closed, or never opened because a later one was.
            Some(true) => {
                self.skip(block, buffers)?;
                self.fail_stream(stream, Code::STREAM_CLOSED, now_ms, buffers)
            }
            None => match self.streams.past(stream) {
                _ if self.is_ignored(stream) => self.skip(block, buffers),
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
        if self.is_ignored(stream) {
            return self.skip(block, buffers);
        }
        if self.streams.len() >= self.limits.streams_max as usize {
            self.skip(block, buffers)?;
            // Section 5.1.2. It may be retried (section 8.7); a first flight may not know the limit yet.
            return self.fail_stream(stream, Code::REFUSED_STREAM, now_ms, buffers);
        }
        let rules = self.rules();
        let Buffers { head, scratch, .. } = buffers;
        let mut request = RequestHead::new(head, rules);
        self.decoder.decode(block, scratch, &mut request).map_err(|_reason| Fault::Compression)?;
        let outcome = request.finish(ends);
        let length = match outcome {
            Outcome::Malformed => {
                return self.fail_stream(stream, Code::PROTOCOL_ERROR, now_ms, buffers);
            }
            Outcome::Over => None,
            Outcome::Head(length) => length,
        };
        self.streams.add(Stream {
            id: stream,
            receive_window: i64::from(self.limits.stream_window_bytes),
            send_window: self.peer_window,
            unread: 0,
            returned: 0,
            length_left: length,
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
        let mut section = TrailerSection::new();
        self.decoder
            .decode(block, &mut buffers.scratch, &mut section)
            .map_err(|_reason| Fault::Compression)?;
        let is_short =
            self.streams.look(stream).is_some_and(|state| state.length_left.is_some_and(|left| left > 0));
        if section.is_malformed() || is_short || !ends {
            return self.fail_stream(stream, Code::PROTOCOL_ERROR, now_ms, buffers);
        }
        self.end_remote(stream, buffers);
        Ok(Some(Event::Data { stream, at: 0..0, ends: true }))
    }

    /// Decodes a section that nobody asks for.
    fn skip(&mut self, block: &[u8], buffers: &mut Buffers) -> Result<Option<Event>, Fault> {
        let decoded = self.decoder.decode(block, &mut buffers.scratch, &mut Nobody);
        decoded.map(|()| None).map_err(|_reason| Fault::Compression)
    }
}

/// The field block of HEADERS, without padding and priority.
fn block_of(head: Head, payload: &[u8]) -> Result<&[u8], Fault> {
    let mut block = payload;
    if head.has(flag::PADDED) {
        let (padding, rest) = payload.split_first().ok_or(Fault::FrameForm)?;
        let len = rest.len().checked_sub(usize::from(*padding)).ok_or(Fault::Padding)?;
        block = &rest[..len];
    }
    if head.has(flag::PRIORITY) {
        // What is left behind the padding cannot hold it: the padding was too long.
        let otherwise = if head.has(flag::PADDED) { Fault::Padding } else { Fault::FrameForm };
        block = block.get(PRIORITY_BYTES..).ok_or(otherwise)?;
    }
    Ok(block)
}

//! Field sections of answers: interim heads, heads, trailers (RFC 9113 sections 8.1 and 8.3.2).

use super::head::{AnswerHead, Outcome};
use super::{Buffers, Connection, Event, Failure};
use crate::code::{Code, Fault};
use crate::frame::{Head, flag};
use crate::head::TrailerSection;
use crate::link::section;
use crate::streams::Past;

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

    /// A whole field section.
    fn section(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        if self.link.is_idle(stream) {
            return Err(Fault::IdleStream);
        }
        match self.link.streams.look(stream) {
            Some(state) if state.is_remote_done => {
                self.skip(block, buffers)?;
                self.break_off(stream, Code::STREAM_CLOSED, now_ms, buffers)
            }
            Some(state) if state.is_head_due => self.head(stream, ends, block, now_ms, buffers),
            Some(_) => self.trailers(stream, ends, block, now_ms, buffers),
            None if self.link.streams.past(stream) == Past::Ended => Err(Fault::ClosedStream),
            // It was on its way when this side reset the stream, or passed over a farewell.
            None => self.skip(block, buffers),
        }
    }

    /// Section 8.1: interim heads, then one head.
    fn head(
        &mut self,
        stream: u32,
        ends: bool,
        block: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        let list_bytes_max = self.link.limits.header_list_bytes_max as usize;
        let has_no_body = self.link.streams.look(stream).is_some_and(|state| state.length_left == Some(0));
        let Buffers { head, scratch, .. } = buffers;
        let mut answer = AnswerHead::new(&mut head.text, list_bytes_max);
        self.decoder.decode(block, scratch, &mut answer).map_err(|_reason| Fault::Compression)?;
        match answer.finish(ends, has_no_body) {
            Outcome::Malformed => self.break_off(stream, Code::PROTOCOL_ERROR, now_ms, buffers),
            Outcome::Over => {
                self.link.reset(stream, Code::CANCEL, buffers);
                Ok(Some(Event::Failed { stream, failure: Failure::Oversized }))
            }
            Outcome::Interim => {
                // A server could send them without end.
                self.link.count_idle_frame(now_ms)?;
                Ok(Some(Event::Interim { stream }))
            }
            Outcome::Head(length_left) => {
                if let Some(state) = self.link.streams.get(stream) {
                    state.is_head_due = false;
                    state.length_left = length_left;
                }
                if ends {
                    self.link.end_remote(stream, buffers);
                }
                Ok(Some(Event::Answer { stream, ends }))
            }
        }
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
        let mut section = TrailerSection::<AnswerHead<'_>>::new();
        self.decoder
            .decode(block, &mut buffers.scratch, &mut section)
            .map_err(|_reason| Fault::Compression)?;
        let is_short = self
            .link
            .streams
            .look(stream)
            .is_some_and(|state| state.length_left.is_some_and(|left| left > 0));
        if section.is_malformed() || is_short || !ends {
            return self.break_off(stream, Code::PROTOCOL_ERROR, now_ms, buffers);
        }
        self.link.end_remote(stream, buffers);
        Ok(Some(Event::Data { stream, at: 0..0, ends: true }))
    }

    /// Decodes a section that nobody asks for.
    fn skip(&mut self, block: &[u8], buffers: &mut Buffers) -> Result<Option<Event>, Fault> {
        section::skip::<AnswerHead<'_>>(&mut self.decoder, block, &mut buffers.scratch).map(|()| None)
    }

    fn break_off(
        &mut self,
        stream: u32,
        code: Code,
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Option<Event>, Fault> {
        Ok(self.link.fail_stream(stream, code, now_ms, buffers)?.map(Event::from))
    }
}

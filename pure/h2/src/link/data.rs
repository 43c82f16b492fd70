//! Bodies: DATA frames as they come, and both windows of what comes (RFC 9113 sections 5.2, 6.1 and 6.9).

use super::{Link, Payload, Progress, Side, StreamEvent};
use crate::buffers::Buffers;
use crate::code::{Code, Fault};
use crate::frame::{HEAD_BYTES, Head, flag, write_window_update};
use crate::streams::{Past, Stream};

impl Link {
    /// So many bytes of a body are done with: the peer may send as many more. Bytes of a stream that is gone were given back
    /// when it went.
    pub(crate) fn consume(&mut self, stream: u32, bytes: u32, buffers: &mut Buffers) {
        let window = self.limits.stream_window_bytes;
        let Some(state) = self.streams.get(stream) else { return };
        let bytes = bytes.min(state.unread);
        state.unread -= bytes;
        give_back_stream(state, bytes, window, buffers);
        self.give_back(bytes, buffers);
    }

    /// The head of a DATA frame is there, and its length of padding.
    pub(super) fn data_frame(
        &mut self,
        head: Head,
        rest: &[u8],
        now_ms: u64,
        buffers: &mut Buffers,
    ) -> Result<Progress<StreamEvent>, Fault> {
        if head.stream == 0 {
            return Err(Fault::NeedsStream);
        }
        let (overhead, padding) = match (head.has(flag::PADDED), rest.first()) {
            (false, _) => (0, 0),
            (true, _) if head.len == 0 => return Err(Fault::FrameForm),
            (true, None) => return Ok(Progress::NeedMore),
            (true, Some(padding)) => (1, u32::from(*padding)),
        };
        // Section 6.1: padding as long as the payload or longer.
        let len = head.len.checked_sub(overhead + padding).ok_or(Fault::Padding)?;
        let ends = head.has(flag::END_STREAM);
        if len == 0 && !ends {
            self.count_idle_frame(now_ms)?;
        }
        // Section 6.9: everything counts, whatever becomes of the stream.
        self.receive_window -= i64::from(head.len);
        if self.receive_window < 0 {
            return Err(Fault::WindowExceeded);
        }
        let refusal = self.admit_data(head, len, ends)?;
        let is_discarded = refusal.is_some() || self.streams.look(head.stream).is_none();
        let mut event = match refusal {
            Some(code) => self.fail_stream(head.stream, code, now_ms, buffers)?,
            None => None,
        };
        // Padding is consumed as it comes, and so is what nobody wants.
        self.give_back(overhead + padding, buffers);
        if is_discarded {
            self.give_back(len, buffers);
        } else if let Some(state) = self.streams.get(head.stream) {
            state.unread += len;
            give_back_stream(state, overhead + padding, self.limits.stream_window_bytes, buffers);
        }
        if len > 0 || padding > 0 {
            let stream = head.stream;
            self.payload = Some(Payload { stream, left: len, padding, ends, is_discarded });
        }
        if len == 0 && ends && !is_discarded {
            self.end_remote(head.stream, buffers);
            event = Some(StreamEvent::Data { stream: head.stream, at: 0..0, ends: true });
        }
        Ok(Progress::with(HEAD_BYTES + overhead as usize, event))
    }

    /// Counts a DATA frame to its stream. `Some`: the stream must be reset for it.
    fn admit_data(&mut self, head: Head, len: u32, ends: bool) -> Result<Option<Code>, Fault> {
        let Some(state) = self.streams.get(head.stream) else {
            return match self.streams.past(head.stream) {
                _ if self.is_idle(head.stream) => Err(Fault::IdleStream),
                // It was on its way (section 5.1).
                Past::ResetByUs => Ok(None),
                // A client has reset more than it remembers, and a server gains nothing by sending what nobody wants.
                Past::Unknown if self.side == Side::Client => Ok(None),
                _ if self.is_ignored(head.stream) => Ok(None),
                Past::Ended | Past::Unknown => Err(Fault::ClosedStream),
            };
        };
        if state.is_remote_done {
            return Ok(Some(Code::STREAM_CLOSED));
        }
        if state.is_head_due {
            // Section 8.1: a message begins with its head.
            return Ok(Some(Code::PROTOCOL_ERROR));
        }
        state.receive_window -= i64::from(head.len);
        if state.receive_window < 0 {
            return Ok(Some(Code::FLOW_CONTROL_ERROR));
        }
        if let Some(left) = state.length_left {
            // Section 8.1.1: DATA that does not add up to the content-length.
            let left = left.checked_sub(u64::from(len));
            let is_sound = left.is_some_and(|left| !ends || left == 0);
            if !is_sound {
                return Ok(Some(Code::PROTOCOL_ERROR));
            }
            state.length_left = left;
        }
        Ok(None)
    }

    /// Goes on with the payload of a DATA frame.
    pub(super) fn payload(&mut self, input: &[u8], buffers: &mut Buffers) -> Progress<StreamEvent> {
        let Some(mut payload) = self.payload.take() else { return Progress::Took(0) };
        if input.is_empty() {
            self.payload = Some(payload);
            return Progress::NeedMore;
        }
        let available = u32::try_from(input.len()).unwrap_or(u32::MAX);
        let is_wanted = !payload.is_discarded && self.streams.look(payload.stream).is_some();
        if payload.left == 0 || !is_wanted {
            // The window had it back when the frame began, or when the stream went.
            let bytes = (payload.left + payload.padding).min(available);
            let of_data = bytes.min(payload.left);
            payload.left -= of_data;
            payload.padding -= bytes - of_data;
            self.keep_payload(payload);
            return Progress::Took(bytes as usize);
        }
        let bytes = payload.left.min(available);
        payload.left -= bytes;
        let ends = payload.ends && payload.left == 0;
        let stream = payload.stream;
        self.keep_payload(payload);
        if ends {
            self.end_remote(stream, buffers);
        }
        Progress::Found(bytes as usize, StreamEvent::Data { stream, at: 0..bytes as usize, ends })
    }

    fn keep_payload(&mut self, payload: Payload) {
        self.payload = (payload.left > 0 || payload.padding > 0).then_some(payload);
    }

    /// The peer has ended its side of a stream.
    pub(crate) fn end_remote(&mut self, stream: u32, buffers: &mut Buffers) {
        let Some(state) = self.streams.get(stream) else { return };
        state.is_remote_done = true;
        if state.is_local_done {
            self.end_stream(stream, Past::Ended, buffers);
        }
    }

    /// Bytes of the connection's window are free again; that is said when half of it is.
    pub(super) fn give_back(&mut self, bytes: u32, buffers: &mut Buffers) {
        self.returned += bytes;
        if self.returned >= self.limits.connection_window_bytes / 2 {
            self.receive_window += i64::from(self.returned);
            write_window_update(&mut buffers.out, 0, self.returned);
            self.returned = 0;
        }
    }
}

/// The same for a stream, as long as anything may come on it.
fn give_back_stream(state: &mut Stream, bytes: u32, window: u32, buffers: &mut Buffers) {
    state.returned += bytes;
    if state.returned >= window / 2 && !state.is_remote_done {
        state.receive_window += i64::from(state.returned);
        write_window_update(&mut buffers.out, state.id, state.returned);
        state.returned = 0;
    }
}

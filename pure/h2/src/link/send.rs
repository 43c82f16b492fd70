//! What goes out on streams: bodies within both windows, resets (RFC 9113 sections 5.2, 6.4 and 6.9).

use super::Link;
use crate::buffers::Buffers;
use crate::code::Code;
use crate::frame::{Head, Kind, PAYLOAD_BYTES, flag, write_reset};
use crate::limits::Limits;
use crate::streams::Past;

impl Link {
    /// How many bytes of body the windows let be sent on a stream now; 0 when it is gone.
    pub(crate) fn room(&self, stream: u32) -> usize {
        let Some(state) = self.streams.look(stream) else { return 0 };
        let room = if state.is_local_done { 0 } else { state.send_window.min(self.send_window) };
        usize::try_from(room).unwrap_or(0)
    }

    /// Whether it is the stream's own window, not the connection's, that lets nothing be sent.
    pub(crate) fn is_stalled(&self, stream: u32) -> bool {
        self.streams.look(stream).is_some_and(|state| state.send_window <= 0) && self.send_window > 0
    }

    /// Whether a stream lives.
    pub(crate) fn has(&self, stream: u32) -> bool {
        self.streams.look(stream).is_some()
    }

    /// Appends the head of a DATA frame; the caller appends or sends `len` bytes behind it. At most
    /// [`Link::room`] and [`PAYLOAD_BYTES`]; an empty frame may always end a stream. `false`, and nothing is
    /// appended, when it does not fit or the stream is gone.
    pub(crate) fn data(&mut self, stream: u32, len: usize, ends: bool, buffers: &mut Buffers) -> bool {
        let Some(head) = self.frame_data(stream, len, ends, buffers) else { return false };
        buffers.out.extend_from_slice(&head);
        true
    }

    /// The same for a caller whose frame is laid out elsewhere: the head, to be put right before `len` bytes.
    pub(crate) fn frame_data(
        &mut self,
        stream: u32,
        len: usize,
        ends: bool,
        buffers: &mut Buffers,
    ) -> Option<[u8; 9]> {
        let fits = len <= PAYLOAD_BYTES && (len <= self.room(stream) || len == 0);
        let state = self.streams.get(stream).filter(|state| fits && !state.is_local_done)?;
        let bytes = i64::try_from(len).unwrap_or(0);
        state.send_window -= bytes;
        self.send_window -= bytes;
        self.sent += len as u64;
        self.idle_frames.give(Limits::IDLE_FRAMES_PER_DATA);
        let len = u32::try_from(len).unwrap_or(0);
        let flags = if ends { flag::END_STREAM } else { 0 };
        if ends {
            self.end_local(stream, buffers);
        }
        Some(Head { len, kind: Kind::DATA, flags, stream }.bytes())
    }

    /// Gives a stream up, for a reason of this side's own: [`Code::NO_ERROR`] when the answer is out and the rest of the
    /// request is not wanted (section 8.1), [`Code::INTERNAL_ERROR`] when the answer cannot be finished.
    pub(crate) fn reset(&mut self, stream: u32, code: Code, buffers: &mut Buffers) {
        if self.end_stream(stream, Past::ResetByUs, buffers) {
            write_reset(&mut buffers.out, stream, code);
        }
    }

    pub(crate) fn end_local(&mut self, stream: u32, buffers: &mut Buffers) {
        let Some(state) = self.streams.get(stream) else { return };
        state.is_local_done = true;
        if state.is_remote_done {
            self.end_stream(stream, Past::Ended, buffers);
        }
    }
}

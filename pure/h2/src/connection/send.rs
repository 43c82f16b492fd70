//! What goes out: answers, bodies within both windows, resets and farewells (RFC 9113 sections 5.2, 6.8 and 8.1).

use memchr::memchr;

use super::control::LEAVING_PING;
use super::{Buffers, Connection, Leaving};
use crate::code::Code;
use crate::frame::{
    Head, Kind, PAYLOAD_BYTES, WINDOW_MAX, flag, write_goaway, write_headers, write_ping, write_reset,
};
use crate::limits::Limits;
use crate::streams::Past;

impl Connection {
    /// Answers with a head, given as the text of an HTTP/1.1 one: status line, field lines, empty line. Fields that are
    /// about an HTTP/1.1 connection are left out (section 8.2.2). `ends`: no body follows. An interim answer (1xx) ends
    /// nothing and another follows. `false` when the stream is gone, or the text is no head.
    pub fn respond(&mut self, stream: u32, text: &[u8], ends: bool, buffers: &mut Buffers) -> bool {
        if self.streams.look(stream).is_none_or(|state| state.is_local_done) {
            return false;
        }
        let Buffers { out, block, .. } = buffers;
        block.clear();
        self.encoder.begin(block);
        let Some(status) = text.get(9..12) else { return false };
        self.encoder.status(status, block);
        let mut rest = text.get(12..).unwrap_or_default();
        // Behind the reason phrase.
        rest = memchr(b'\n', rest).and_then(|at| rest.get(at + 1..)).unwrap_or_default();
        while let Some(end) = line_end(rest).filter(|end| *end > 0) {
            let line = &rest[..end];
            rest = rest.get(end + 2..).unwrap_or_default();
            // What recurs is known as a whole, what changes by where its colon must be.
            if self.encoder.changing_line(line, block) || self.encoder.known_line(line, block) {
                continue;
            }
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if !is_of_http1(name) {
                self.encoder.field(line, name, value, block);
            }
        }
        write_headers(out, stream, ends, block, PAYLOAD_BYTES);
        if ends {
            self.end_local(stream, buffers);
        }
        true
    }

    /// How many bytes of body the windows let be sent on a stream now; 0 when it is gone.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        let Some(state) = self.streams.look(stream) else { return 0 };
        let room = if state.is_local_done { 0 } else { state.send_window.min(self.send_window) };
        usize::try_from(room).unwrap_or(0)
    }

    /// Whether it is the stream's own window, not the connection's, that lets nothing be sent.
    #[must_use]
    pub fn is_stalled(&self, stream: u32) -> bool {
        self.streams.look(stream).is_some_and(|state| state.send_window <= 0) && self.send_window > 0
    }

    /// Whether a stream lives.
    #[must_use]
    pub fn has(&self, stream: u32) -> bool {
        self.streams.look(stream).is_some()
    }

    /// Appends the head of a DATA frame; the caller appends or sends `len` bytes behind it. At most
    /// [`Connection::room`] and [`PAYLOAD_BYTES`]; an empty frame may always end a stream. `false`, and nothing is
    /// appended, when it does not fit or the stream is gone.
    #[must_use]
    pub fn data(&mut self, stream: u32, len: usize, ends: bool, buffers: &mut Buffers) -> bool {
        let Some(head) = self.frame_data(stream, len, ends, buffers) else { return false };
        buffers.out.extend_from_slice(&head);
        true
    }

    /// The same for a caller whose frame is laid out elsewhere: the head, to be put right before `len` bytes.
    pub fn frame_data(
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
    pub fn reset(&mut self, stream: u32, code: Code, buffers: &mut Buffers) {
        if self.end_stream(stream, Past::ResetByUs, buffers) {
            write_reset(&mut buffers.out, stream, code);
        }
    }

    /// Tells the peer that the connection will end, without losing what it has asked by then (section 6.8). Which
    /// request is the last is settled when it has heard, or by [`Connection::leave_now`].
    pub fn leave(&mut self, buffers: &mut Buffers) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Announced;
            write_goaway(&mut buffers.out, WINDOW_MAX, Code::NO_ERROR);
            write_ping(&mut buffers.out, false, LEAVING_PING);
        }
    }

    /// Takes no further request from here on.
    pub fn leave_now(&mut self, buffers: &mut Buffers) {
        if !matches!(self.leaving, Leaving::Settled(_)) {
            self.settle(buffers);
        }
    }

    /// Says why the connection ends, for a reason of the caller's.
    pub fn end(&mut self, code: Code, buffers: &mut Buffers) {
        self.fail(code, buffers);
    }

    fn end_local(&mut self, stream: u32, buffers: &mut Buffers) {
        let Some(state) = self.streams.get(stream) else { return };
        state.is_local_done = true;
        if state.is_remote_done {
            self.end_stream(stream, Past::Ended, buffers);
        }
    }
}

/// Where the carriage return is; eight bytes a step, in place: lines are short.
#[inline]
fn line_end(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (chunks, rest) = bytes.as_chunks::<8>();
    for (place, chunk) in chunks.iter().enumerate() {
        let word = u64::from_le_bytes(*chunk) ^ (ONES * u64::from(b'\r'));
        let found = word.wrapping_sub(ONES) & !word & HIGHS;
        if found != 0 {
            // A borrow can only mark bytes above the first true one, so the lowest mark is exact.
            return Some(place * 8 + (found.trailing_zeros() / 8) as usize);
        }
    }
    rest.iter().position(|byte| *byte == b'\r').map(|at| chunks.len() * 8 + at)
}

/// Fields of an answer that HTTP/2 has no place for (section 8.2.2).
fn is_of_http1(name: &[u8]) -> bool {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    match name.len() {
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_found_wherever_they_are() {
        for before in 0..40 {
            for after in 0..20 {
                let mut bytes = vec![b'\x0e'; before];
                assert_eq!(line_end(&bytes), None);
                bytes.push(b'\r');
                bytes.extend(vec![b'\r'; after]);
                assert_eq!(line_end(&bytes), Some(before));
            }
        }
    }
}

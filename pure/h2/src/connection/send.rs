//! What goes out: answers, their bodies, resets (RFC 9113 sections 5.2, 6.4 and 8.1).

use memchr::memchr;

use super::{Buffers, Connection};
use crate::code::Code;
use crate::frame::{PAYLOAD_BYTES, write_headers};
use crate::lines::{is_of_http1, line_end};

impl Connection {
    /// Answers with a head, given as the text of an HTTP/1.1 one: status line, field lines, empty line. Fields that are
    /// about an HTTP/1.1 connection are left out (section 8.2.2). `ends`: no body follows. An interim answer (1xx) ends
    /// nothing and another follows. `false` when the stream is gone, or the text is no head.
    pub fn respond(&mut self, stream: u32, text: &[u8], ends: bool, buffers: &mut Buffers) -> bool {
        if self.link.streams.look(stream).is_none_or(|state| state.is_local_done) {
            return false;
        }
        let Buffers { out, block, .. } = buffers;
        let encoder = &mut self.link.encoder;
        block.clear();
        encoder.begin(block);
        let Some(status) = text.get(9..12) else { return false };
        encoder.status(status, block);
        let mut rest = text.get(12..).unwrap_or_default();
        // Behind the reason phrase.
        rest = memchr(b'\n', rest).and_then(|at| rest.get(at + 1..)).unwrap_or_default();
        while let Some(end) = line_end(rest).filter(|end| *end > 0) {
            let line = &rest[..end];
            rest = rest.get(end + 2..).unwrap_or_default();
            // What recurs is known as a whole, what changes by where its colon must be.
            if encoder.changing_line(line, block) || encoder.known_line(line, block) {
                continue;
            }
            let Some(colon) = memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if !is_of_http1(name) {
                encoder.field(line, name, value, block);
            }
        }
        write_headers(out, stream, ends, block, PAYLOAD_BYTES);
        if ends {
            self.link.end_local(stream, buffers);
        }
        true
    }

    /// How many bytes of body the windows let be sent on a stream now; 0 when it is gone.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        self.link.room(stream)
    }

    /// Whether it is the stream's own window, not the connection's, that lets nothing be sent.
    #[must_use]
    pub fn is_stalled(&self, stream: u32) -> bool {
        self.link.is_stalled(stream)
    }

    /// Whether a stream lives.
    #[must_use]
    pub fn has(&self, stream: u32) -> bool {
        self.link.has(stream)
    }

    /// Appends the head of a DATA frame; the caller appends or sends `len` bytes behind it. At most
    /// [`Connection::room`] and [`PAYLOAD_BYTES`]; an empty frame may always end a stream. `false`, and nothing is
    /// appended, when it does not fit or the stream is gone.
    #[must_use]
    pub fn data(&mut self, stream: u32, len: usize, ends: bool, buffers: &mut Buffers) -> bool {
        self.link.data(stream, len, ends, buffers)
    }

    /// The same for a caller whose frame is laid out elsewhere: the head, to be put right before `len` bytes.
    pub fn frame_data(
        &mut self,
        stream: u32,
        len: usize,
        ends: bool,
        buffers: &mut Buffers,
    ) -> Option<[u8; 9]> {
        self.link.frame_data(stream, len, ends, buffers)
    }

    /// A handler is done with so many bytes of a body: the peer may send as many more. Bytes of a stream that is gone were
    /// given back when it went.
    pub fn consume(&mut self, stream: u32, bytes: u32, buffers: &mut Buffers) {
        self.link.consume(stream, bytes, buffers);
    }

    /// Gives a stream up, for a reason of this side's own: [`Code::NO_ERROR`] when the answer is out and the rest of the
    /// request is not wanted (section 8.1), [`Code::INTERNAL_ERROR`] when the answer cannot be finished.
    pub fn reset(&mut self, stream: u32, code: Code, buffers: &mut Buffers) {
        self.link.reset(stream, code, buffers);
    }
}

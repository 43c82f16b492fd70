//! Finds the end of an answer's head while a script writes it, looking at each byte once.

use memchr::memchr;

use super::Fault;
use crate::reply::Limits;

/// How far a head has been looked at. Keep it beside the buffer, start a new one for each head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerScan {
    /// Bytes already searched.
    scanned: u32,
    /// Where the line that is being searched begins.
    line: u32,
}

impl AnswerScan {
    /// A scan that has seen nothing.
    pub const fn new() -> Self {
        Self { scanned: 0, line: 0 }
    }

    /// The length of the head at the front of `buf`, the empty line that ends it included; `None` while it is incomplete.
    /// Lines end with LF or CR LF, as scripts write both (RFC 3875 section 6.3.4).
    ///
    /// `buf` begins with the same bytes on every call and grows at its end. The outcome does not depend on where the
    /// bytes were split.
    ///
    /// # Errors
    /// [`Fault::Empty`] at once, [`Fault::HeadLength`]. What needs the whole head to judge is left to
    /// [`super::AnswerHead::parse`].
    pub fn find(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        let head_max = limits.head_max();
        let window = &buf[..buf.len().min(head_max)];
        loop {
            let from = self.scanned as usize;
            let Some(at) = memchr(b'\n', window.get(from..).unwrap_or_default()).map(|at| from + at) else {
                self.scanned = narrow(window.len()).max(self.scanned);
                return if buf.len() >= head_max { Err(Fault::HeadLength) } else { Ok(None) };
            };
            let line = &window[self.line as usize..at];
            let is_first = self.line == 0;
            (self.scanned, self.line) = (narrow(at + 1), narrow(at + 1));
            if matches!(line, b"" | b"\r") {
                return if is_first { Err(Fault::Empty) } else { Ok(Some(at + 1)) };
            }
        }
    }
}

/// Positions stay below [`crate::head::HEAD_BYTES_CEILING`], so this never saturates.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

//! Finds the end of an answer's head while its bytes arrive, looking at each byte once.

use memchr::memchr;

use super::{Fault, Limits};
use crate::refusal::Refusal;

/// How every answer begins.
const BEGINNING: &[u8] = b"HTTP/";

/// How far a head has been looked at. Keep it beside the buffer, start a new one for each head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplyScan {
    /// Bytes already searched.
    scanned: u32,
    /// Where the line that is being searched begins.
    line: u32,
}

impl ReplyScan {
    /// A scan that has seen nothing.
    pub const fn new() -> Self {
        Self { scanned: 0, line: 0 }
    }

    /// The length of the head at the front of `buf`, the empty line that ends it included; `None` while it is
    /// incomplete.
    ///
    /// `buf` begins with the same bytes on every call and grows at its end. The outcome does not depend on where
    /// the bytes were split.
    ///
    /// # Errors
    /// As soon as no continuation could be accepted: [`Fault::NotHttp`] at the first byte that is not `HTTP/`, a line
    /// end that is not CRLF, [`Fault::HeadLength`]. What needs the whole head to judge is left to
    /// [`super::Reply::parse`].
    pub fn find(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Fault> {
        if !buf.iter().zip(BEGINNING).all(|(sent, due)| sent == due) {
            return Err(Fault::NotHttp);
        }
        let window = &buf[..buf.len().min(limits.head_max())];
        loop {
            let from = self.scanned as usize;
            let Some(at) = memchr(b'\n', window.get(from..).unwrap_or_default()).map(|at| from + at) else {
                self.scanned = narrow(window.len()).max(self.scanned);
                return if buf.len() >= limits.head_max() { Err(Fault::HeadLength) } else { Ok(None) };
            };
            let line = self.line as usize;
            if at == line || window[at - 1] != b'\r' {
                return Err(Fault::Head(Refusal::BareLf));
            }
            (self.scanned, self.line) = (narrow(at + 1), narrow(at + 1));
            if at == line + 1 {
                return Ok(Some(at + 1));
            }
        }
    }
}

/// Positions stay below [`crate::head::HEAD_BYTES_CEILING`], so this never saturates.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

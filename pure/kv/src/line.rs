//! Lines and counted bytes, however they are cut into pieces.

/// Longest line without its end, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 64 * 1024;

/// Memory that is taken at once for bytes that are only announced.
const RESERVED_MAX: usize = 64 * 1024;

/// Why a line cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineFault {
    TooLong,
    /// CR and LF are not where they must be.
    Ending,
}

/// A line that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Line {
    begun: Vec<u8>,
}

impl Line {
    /// Takes bytes up to the line's end; the whole line without CR and LF when it is there.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, LineFault> {
        let end = input.iter().position(|byte| *byte == b'\n');
        let piece = &input[..end.unwrap_or(input.len())];
        if self.begun.len() + piece.len() > LINE_BYTES_MAX + 1 {
            return Err(LineFault::TooLong);
        }
        self.begun.extend_from_slice(piece);
        let Some(end) = end else {
            *input = &[];
            return Ok(None);
        };
        *input = &input[end + 1..];
        let mut line = std::mem::take(&mut self.begun);
        if line.pop() != Some(b'\r') || line.contains(&b'\r') {
            return Err(LineFault::Ending);
        }
        Ok(Some(line))
    }
}

/// Bytes whose number was announced, with CR and LF behind them, that come in pieces.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: Vec<u8>,
    /// Of them, and of the end, so many are to come.
    left: usize,
}

impl Counted {
    pub(crate) fn new(count: usize) -> Self {
        Self { bytes: Vec::with_capacity((count + 2).min(RESERVED_MAX)), left: count + 2 }
    }

    /// Takes what belongs to them; the bytes when all are there.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, LineFault> {
        let (piece, rest) = input.split_at(self.left.min(input.len()));
        self.bytes.extend_from_slice(piece);
        self.left -= piece.len();
        *input = rest;
        if self.left > 0 {
            return Ok(None);
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        if !bytes.ends_with(b"\r\n") {
            return Err(LineFault::Ending);
        }
        bytes.truncate(bytes.len() - 2);
        Ok(Some(bytes))
    }
}

/// A decimal number without anything before or behind it.
pub(crate) fn number(text: &[u8]) -> Option<i64> {
    // What `parse` takes and a protocol does not have.
    if text.first() == Some(&b'+') {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

//! The trailer section behind the last chunk (RFC 9112 section 7.1.2), a line at a time.

use std::ops::Range;

use memchr::memchr;

use crate::head::{Known, field_line};
use crate::octets::is_token;
use crate::refusal::Refusal;

/// Reads trailer lines; a line has to be there as a whole, the scan for its end does not begin again.
#[derive(Clone, Debug)]
pub(super) struct Trailers {
    /// Bytes of the current line already searched.
    scanned: usize,
    bytes_left: usize,
}

/// What the bytes at the front are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TrailerStep {
    /// Part of a line.
    NeedMore,
    /// A field and where its line ends.
    Field { name: Range<usize>, value: Range<usize>, end: usize },
    /// The empty line, so many bytes.
    End(usize),
}

impl Trailers {
    pub(super) const fn new(bytes_max: u32) -> Self {
        Self { scanned: 0, bytes_left: bytes_max as usize }
    }

    /// The line at the front of `input`, which goes on where the last line ended.
    pub(super) fn next(&mut self, input: &[u8]) -> Result<TrailerStep, Refusal> {
        // The empty line is always affordable, so that a limit of none still lets a body end.
        let window = self.bytes_left.max(2).min(input.len());
        check_first_bytes(input)?;
        let Some(at) = memchr(b'\n', input.get(self.scanned..window).unwrap_or_default()) else {
            self.scanned = window;
            let is_over = input.len() >= self.bytes_left.max(2);
            return if is_over { Err(Refusal::TrailerLength) } else { Ok(TrailerStep::NeedMore) };
        };
        let end = self.scanned + at + 1;
        if !input[..end].ends_with(b"\r\n") {
            return Err(Refusal::BareLf);
        }
        if end == 2 {
            return Ok(TrailerStep::End(end));
        }
        let line = field_line(&input[..end], 0)?;
        let name = line.name_start..line.name_end;
        check_allowed(&input[name.clone()])?;
        self.scanned = 0;
        self.bytes_left = self.bytes_left.saturating_sub(end);
        Ok(TrailerStep::Field { name, value: line.value_start..line.value_end, end })
    }
}

/// What can be no trailer line is refused without waiting for its end.
fn check_first_bytes(input: &[u8]) -> Result<(), Refusal> {
    match input {
        [] | [b'\r'] | [b'\r', b'\n', ..] => Ok(()),
        [b'\r', ..] => Err(Refusal::BareCr),
        [b'\n', ..] => Err(Refusal::BareLf),
        [b' ' | b'\t', ..] => Err(Refusal::FoldedField),
        [byte, ..] if byte.is_ascii_control() => Err(Refusal::ControlByte),
        [byte, ..] if !is_token(*byte) => Err(Refusal::FieldName),
        _ => Ok(()),
    }
}

/// RFC 9110 section 6.5.1: what frames, routes or authenticates must not come late.
fn check_allowed(name: &[u8]) -> Result<(), Refusal> {
    match Known::from_name(name) {
        Some(Known::ContentLength | Known::TransferEncoding | Known::Host | Known::Authorization) => {
            Err(Refusal::TrailerField)
        }
        _ => Ok(()),
    }
}

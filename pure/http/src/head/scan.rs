//! Finds the end of a head while its bytes arrive, looking at each byte once.

use memchr::memchr;

use super::{EMPTY_LINES_MAX, Limits};
use crate::octets::is_token;
use crate::refusal::Refusal;

/// How far a head has been looked at. Copy it, keep it beside the buffer, start a new one for each head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadScan {
    /// Bytes already searched.
    scanned: u32,
    /// Where the line that is being searched begins.
    line: u32,
    /// Where the request line begins, behind the empty lines that are skipped.
    start: u32,
    /// Empty lines skipped so far.
    empty_lines: u8,
    /// The request line has ended.
    in_fields: bool,
}

impl HeadScan {
    /// A scan that has seen nothing.
    pub const fn new() -> Self {
        Self { scanned: 0, line: 0, start: 0, empty_lines: 0, in_fields: false }
    }

    /// Whether nothing but skipped empty lines has come, so that a connection closed here owes no answer.
    pub const fn is_idle(&self) -> bool {
        !self.in_fields && self.scanned == self.start
    }

    /// The length of the head at the front of `buf`, empty lines before it and the one that ends it included;
    /// `None` while it is incomplete.
    ///
    /// `buf` begins with the same bytes on every call and grows at its end. The outcome does not depend on where
    /// the bytes were split.
    ///
    /// # Errors
    /// As soon as no continuation could be accepted: a line end that is not CRLF, a first byte that begins no
    /// method, too many empty lines, a request line or head over its limit. What needs the whole head to judge is
    /// left to [`super::Request::parse`].
    pub fn find(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        loop {
            if !self.in_fields {
                self.check_first_bytes(buf)?;
            }
            let (deadline, over) = self.deadline(limits);
            let window = deadline.min(buf.len());
            let unseen = buf.get(self.scanned as usize..window).unwrap_or_default();
            let Some(at) = memchr(b'\n', unseen).map(|at| self.scanned as usize + at) else {
                self.scanned = narrow(window).max(self.scanned);
                return if buf.len() >= deadline { Err(over) } else { Ok(None) };
            };
            if at == self.line as usize || buf[at - 1] != b'\r' {
                return Err(Refusal::BareLf);
            }
            if self.end_line(at)? {
                return Ok(Some(at + 1));
            }
        }
    }

    /// Takes the line feed at `at` into account; true when the line was the empty one that ends the head.
    fn end_line(&mut self, at: usize) -> Result<bool, Refusal> {
        let is_empty = at == self.line as usize + 1;
        self.scanned = narrow(at + 1);
        self.line = self.scanned;
        if self.in_fields {
            return Ok(is_empty);
        }
        if !is_empty {
            self.in_fields = true;
            return Ok(false);
        }
        self.start = self.line;
        self.empty_lines += 1;
        if usize::from(self.empty_lines) > EMPTY_LINES_MAX { Err(Refusal::EmptyLines) } else { Ok(false) }
    }

    /// A peer that does not speak HTTP (a TLS hello on a plain port) is refused at its first byte.
    fn check_first_bytes(&self, buf: &[u8]) -> Result<(), Refusal> {
        match buf.get(self.line as usize..).unwrap_or_default() {
            [] | [b'\r'] | [b'\r', b'\n', ..] => Ok(()),
            [b'\r', ..] => Err(Refusal::BareCr),
            [b'\n', ..] => Err(Refusal::BareLf),
            [first, ..] if !is_token(*first) => Err(Refusal::MethodToken),
            _ => Ok(()),
        }
    }

    /// The position before which the next line feed has to come, and the refusal if it does not.
    fn deadline(&self, limits: &Limits) -> (usize, Refusal) {
        let head = self.start as usize + limits.head_max();
        let line = self.line as usize + limits.line_max().saturating_add(2);
        if self.in_fields || head < line { (head, Refusal::HeadLength) } else { (line, Refusal::LineLength) }
    }
}

/// Positions stay below [`super::HEAD_BYTES_CEILING`] and a few bytes, so this never saturates.
fn narrow(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        HeadScan::new().find(bytes, limits)
    }

    #[test]
    fn the_first_head_of_a_pipeline_is_found_and_then_the_next() {
        let limits = Limits::default();
        let both = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: b\r\n\r\n";
        let end = find(both, &limits).unwrap().unwrap();
        assert_eq!(end, 27);
        assert_eq!(find(&both[end..], &limits), Ok(Some(both.len() - end)));
    }

    #[test]
    fn one_empty_line_is_skipped_and_a_second_is_refused() {
        let limits = Limits::default();
        assert_eq!(find(b"\r\nGET / HTTP/1.0\r\n\r\n", &limits), Ok(Some(20)));
        assert_eq!(find(b"\r\n\r\n", &limits), Err(Refusal::EmptyLines));
    }

    #[test]
    fn a_scan_is_idle_until_a_request_begins() {
        let limits = Limits::default();
        let mut scan = HeadScan::new();
        assert!(scan.is_idle());
        assert_eq!(scan.find(b"\r\n", &limits), Ok(None));
        assert!(scan.is_idle());
        assert_eq!(scan.find(b"\r\nG", &limits), Ok(None));
        assert!(!scan.is_idle());
    }

    #[test]
    fn limits_count_exactly() {
        let limits = Limits { line_bytes_max: 14, head_bytes_max: 27, ..Limits::default() };
        assert_eq!(find(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", &limits), Ok(Some(27)));
        assert_eq!(find(b"GET /b HTTP/1.1\r\n", &limits), Err(Refusal::LineLength));
        assert_eq!(
            find(b"GET /aaaaaaaaaaa", &limits),
            Err(Refusal::LineLength),
            "refused without a line end"
        );
        assert_eq!(find(b"GET /aaaaaaaaaa", &limits), Ok(None), "a CR and LF could still come");
        assert_eq!(find(b"GET / HTTP/1.1\r\nHost: ab\r\n\r\n", &limits), Err(Refusal::HeadLength));
        assert_eq!(find(b"GET / HTTP/1.1\r\nHost: ab\r\n\r", &limits), Err(Refusal::HeadLength));
    }

    #[test]
    fn a_head_limit_below_the_line_limit_wins() {
        let limits = Limits { line_bytes_max: 100, head_bytes_max: 20, ..Limits::default() };
        assert_eq!(find(b"GET /aaaaaaaaaaaaaaa", &limits), Err(Refusal::HeadLength));
    }

    #[test]
    fn limits_without_bound_stop_at_the_ceiling() {
        let limits = Limits { line_bytes_max: u32::MAX, head_bytes_max: u32::MAX, fields_max: u16::MAX };
        assert_eq!(find(&[b'G'; 65_534], &limits), Ok(None));
        assert_eq!(find(&[b'G'; 65_535], &limits), Err(Refusal::HeadLength));
    }

    #[test]
    fn a_peer_that_speaks_something_else_is_refused_at_once() {
        let limits = Limits::default();
        assert_eq!(find(b"\x16", &limits), Err(Refusal::MethodToken));
        assert_eq!(find(b"\rG", &limits), Err(Refusal::BareCr));
        assert_eq!(find(b"\n", &limits), Err(Refusal::BareLf));
        assert_eq!(find(b" GET", &limits), Err(Refusal::MethodToken));
    }
}

//! `Content-Range` of a PUT that replaces part of a resource (RFC 9110 section 14.5).

use super::Invalid;

/// Which bytes a body is to become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// How long the whole is to be, where it is said.
    pub complete: Option<u64>,
}

impl ContentRange {
    /// Reads the field's value: `bytes 0-99/200`, or `/*`.
    ///
    /// # Errors
    /// [`Invalid`] for other units, ranges that are none, and a whole that ends before its part.
    pub fn read(value: &[u8]) -> Result<Self, Invalid> {
        let text = str::from_utf8(value).map_err(|_no_text| Invalid)?;
        let (unit, rest) = text.split_once(' ').ok_or(Invalid)?;
        let (range, complete) = rest.split_once('/').ok_or(Invalid)?;
        let (first, last) = range.split_once('-').ok_or(Invalid)?;
        let (first, last) = (number(first)?, number(last)?);
        let complete = if complete == "*" { None } else { Some(number(complete)?) };
        let fits = first <= last && last < u64::MAX && complete.is_none_or(|complete| last < complete);
        if !unit.eq_ignore_ascii_case("bytes") || !fits {
            return Err(Invalid);
        }
        Ok(Self { first, last, complete })
    }

    /// How many bytes it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.last - self.first + 1
    }
}

fn number(text: &str) -> Result<u64, Invalid> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Invalid);
    }
    text.parse().map_err(|_too_large| Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_exactly() {
        let whole = ContentRange::read(b"bytes 0-99/200").unwrap();
        assert_eq!((whole, whole.bytes()), (ContentRange { first: 0, last: 99, complete: Some(200) }, 100));
        assert_eq!(ContentRange::read(b"Bytes 5-5/*").map(|range| range.complete), Ok(None));
        for bad in [
            "",
            "bytes",
            "bytes */200",
            "bytes 5-4/*",
            "bytes 0-99/99",
            "bytes -1/*",
            "bytes 1-/*",
            "items 0-1/2",
            "bytes 0-1",
            "bytes 0-18446744073709551615/*",
            "bytes +0-1/2",
            "bytes 0-1/2 ",
        ] {
            assert_eq!(ContentRange::read(bad.as_bytes()), Err(Invalid), "{bad}");
        }
    }
}

//! Response heads and chunks, written into memory of the caller (RFC 9112 sections 4, 5 and 7).
//!
//! ```
//! use ringway_http::response::HeadWriter;
//! use ringway_http::status::Status;
//!
//! let mut memory = [0; 256];
//! let mut head = HeadWriter::new(&mut memory);
//! head.status(Status::OK)?;
//! head.field(b"Content-Type", b"text/plain")?;
//! head.content_length(5)?;
//! let length = head.finish()?;
//! assert_eq!(&memory[..length], b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
//! # Ok::<(), ringway_http::response::EncodeError>(())
//! ```

use std::fmt;

use crate::octets::{is_token, is_value};
use crate::status::Status;

/// Why a head could not be written. What was written before stays; the caller starts over or gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EncodeError {
    /// The memory is full.
    Full,
    /// A field name is no token.
    FieldName,
    /// A field value has CR, LF, NUL or another control byte.
    FieldValue,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "response head does not fit its buffer",
            Self::FieldName => "response field name is no token",
            Self::FieldValue => "response field value has a control byte",
        })
    }
}

impl std::error::Error for EncodeError {}

/// Decimal digits of the largest `u64`.
pub const DECIMAL_BYTES_MAX: usize = 20;

/// Bytes of the longest chunk head: 16 hexadecimal digits and CRLF.
pub const CHUNK_HEAD_BYTES_MAX: usize = 18;

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk with an empty trailer section: the end of a chunked body.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The last chunk alone; trailer fields ([`HeadWriter::field`]) and [`HeadWriter::finish`] follow.
pub const LAST_CHUNK_BEFORE_TRAILERS: &[u8] = b"0\r\n";

/// Writes a head from front to back. Every method fails rather than write past the end or write a line that a
/// peer could read as two.
#[derive(Debug)]
pub struct HeadWriter<'m> {
    memory: &'m mut [u8],
    len: usize,
}

impl<'m> HeadWriter<'m> {
    /// A writer that fills `memory` from its front.
    pub const fn new(memory: &'m mut [u8]) -> Self {
        Self { memory, len: 0 }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The status line, `HTTP/1.1 200 OK`. Answers to HTTP/1.0 carry it too (RFC 9110 section 6.2).
    ///
    /// # Errors
    /// [`EncodeError::Full`].
    pub fn status(&mut self, status: Status) -> Result<(), EncodeError> {
        if let Some(line) = status.line() {
            return self.raw(line);
        }
        self.raw(b"HTTP/1.1 ")?;
        self.raw(&status.digits())?;
        // The space stays even where no reason follows it.
        self.raw(b" \r\n")
    }

    /// One field line.
    ///
    /// # Errors
    /// [`EncodeError::FieldName`] and [`EncodeError::FieldValue`] before anything is written,
    /// [`EncodeError::Full`].
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
            return Err(EncodeError::FieldName);
        }
        if !value.iter().all(|byte| is_value(*byte)) {
            return Err(EncodeError::FieldValue);
        }
        let needed = name.len() + value.len() + 4;
        let line = self.memory.get_mut(self.len..self.len + needed).ok_or(EncodeError::Full)?;
        let (name_part, rest) = line.split_at_mut(name.len());
        let (colon, rest) = rest.split_at_mut(2);
        let (value_part, end) = rest.split_at_mut(value.len());
        name_part.copy_from_slice(name);
        colon.copy_from_slice(b": ");
        value_part.copy_from_slice(value);
        end.copy_from_slice(b"\r\n");
        self.len += needed;
        Ok(())
    }

    /// A field whose value is a number.
    ///
    /// # Errors
    /// As [`HeadWriter::field`].
    pub fn number_field(&mut self, name: &[u8], value: u64) -> Result<(), EncodeError> {
        self.field(name, decimal(value, &mut [0; DECIMAL_BYTES_MAX]))
    }

    /// `Content-Length`, in bytes.
    ///
    /// # Errors
    /// [`EncodeError::Full`].
    pub fn content_length(&mut self, length: u64) -> Result<(), EncodeError> {
        self.raw(b"Content-Length: ")?;
        self.raw(decimal(length, &mut [0; DECIMAL_BYTES_MAX]))?;
        self.raw(b"\r\n")
    }

    /// `Date`, as [`crate::date::DateCache::at`] gives it.
    ///
    /// # Errors
    /// [`EncodeError::Full`].
    pub fn date(&mut self, imf_fixdate: &[u8; 29]) -> Result<(), EncodeError> {
        let line = self.memory.get_mut(self.len..self.len + 37).ok_or(EncodeError::Full)?;
        line[..6].copy_from_slice(b"Date: ");
        line[6..35].copy_from_slice(imf_fixdate);
        line[35..].copy_from_slice(b"\r\n");
        self.len += 37;
        Ok(())
    }

    /// Bytes as they are: whole lines prepared before, with their CRLF. They are trusted, so they must never hold
    /// what a peer sent; that goes through [`HeadWriter::field`].
    ///
    /// # Errors
    /// [`EncodeError::Full`], and then nothing of them is written.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let place = self.memory.get_mut(self.len..self.len + bytes.len()).ok_or(EncodeError::Full)?;
        place.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    /// The empty line; returns the length of the whole head.
    ///
    /// # Errors
    /// [`EncodeError::Full`].
    pub fn finish(mut self) -> Result<usize, EncodeError> {
        self.raw(b"\r\n")?;
        Ok(self.len)
    }
}

/// The digits of a number, at the end of `memory`.
pub fn decimal(mut value: u64, memory: &mut [u8; DECIMAL_BYTES_MAX]) -> &[u8] {
    let mut at = DECIMAL_BYTES_MAX;
    loop {
        at -= 1;
        memory[at] = digit(value % 10);
        value /= 10;
        if value == 0 {
            return &memory[at..];
        }
    }
}

/// The line before the data of a chunk of `size` bytes, at the end of `memory`; [`CHUNK_END`] follows the data.
///
/// A size of 0 would end the body: write no chunk for empty data, and [`LAST_CHUNK`] at the end.
pub fn chunk_head(mut size: u64, memory: &mut [u8; CHUNK_HEAD_BYTES_MAX]) -> &[u8] {
    let mut at = CHUNK_HEAD_BYTES_MAX - 2;
    memory[at..].copy_from_slice(b"\r\n");
    loop {
        at -= 1;
        let nibble = digit(size & 15);
        memory[at] = if nibble > b'9' { nibble + (b'a' - b'9' - 1) } else { nibble };
        size >>= 4;
        if size == 0 {
            return &memory[at..];
        }
    }
}

/// `'0'` plus a value below 16.
#[expect(clippy::cast_possible_truncation, reason = "callers pass the remainder of a division by 10 or 16")]
const fn digit(value: u64) -> u8 {
    b'0' + value as u8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::date;

    #[test]
    fn a_head_is_written_line_by_line() {
        let mut memory = [0; 200];
        let mut head = HeadWriter::new(&mut memory);
        assert!(head.is_empty());
        head.status(Status::PARTIAL_CONTENT).unwrap();
        head.date(&date::format(0)).unwrap();
        head.raw(b"Server: s\r\n").unwrap();
        head.field(b"A", b"").unwrap();
        head.number_field(b"Age", 0).unwrap();
        head.content_length(u64::MAX).unwrap();
        let before = head.len();
        let len = head.finish().unwrap();
        assert_eq!(len, before + 2);
        let text = "HTTP/1.1 206 Partial Content\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: s\r\nA: \r\n\
            Age: 0\r\nContent-Length: 18446744073709551615\r\n\r\n";
        assert_eq!(memory[..len].escape_ascii().to_string(), text.as_bytes().escape_ascii().to_string());
    }

    #[test]
    fn a_status_without_a_name_is_written_without_a_reason() {
        let mut memory = [0; 20];
        let mut head = HeadWriter::new(&mut memory);
        head.status(Status::new(599).unwrap()).unwrap();
        let len = head.len();
        assert_eq!(&memory[..len], b"HTTP/1.1 599 \r\n");
    }

    #[test]
    fn fields_that_would_split_the_head_are_errors_and_leave_nothing() {
        let mut memory = [0; 64];
        let mut head = HeadWriter::new(&mut memory);
        for value in [&b"a\r\nb"[..], b"\n", b"\r", b"a\0", b"\x7f", b"\x1b"] {
            assert_eq!(head.field(b"A", value), Err(EncodeError::FieldValue));
        }
        for name in [&b""[..], b"a b", b"a:", b"a\r", b"\xe9"] {
            assert_eq!(head.field(name, b"v"), Err(EncodeError::FieldName));
        }
        assert!(head.is_empty());
        assert_eq!(head.field(b"A", b"\tx \xe9"), Ok(()));
    }

    #[test]
    fn full_memory_is_an_error_at_every_length() {
        let write = |memory: &mut [u8]| -> Result<usize, EncodeError> {
            let mut head = HeadWriter::new(memory);
            head.status(Status::OK)?;
            head.date(&date::format(784_111_777))?;
            head.field(b"Name", b"value")?;
            head.content_length(12)?;
            head.finish()
        };
        let needed = write(&mut [0; 200]).unwrap();
        for len in 0..needed {
            assert_eq!(write(&mut vec![0; len]), Err(EncodeError::Full), "{len}");
        }
        assert_eq!(write(&mut vec![0; needed]), Ok(needed));
    }

    #[test]
    fn chunk_heads_are_plain_hexadecimal() {
        let mut memory = [0; CHUNK_HEAD_BYTES_MAX];
        assert_eq!(chunk_head(1, &mut memory), b"1\r\n");
        assert_eq!(chunk_head(0xabcdef, &mut memory), b"abcdef\r\n");
        assert_eq!(chunk_head(u64::MAX, &mut memory), b"ffffffffffffffff\r\n");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_the_standard_library_writes_them(value in any::<u64>()) {
            let text = value.to_string();
            prop_assert_eq!(decimal(value, &mut [0; DECIMAL_BYTES_MAX]).to_vec(), text.as_bytes());
            let text = format!("{value:x}\r\n");
            prop_assert_eq!(chunk_head(value, &mut [0; CHUNK_HEAD_BYTES_MAX]).to_vec(), text.as_bytes());
        }

        #[test]
        fn whatever_is_written_reads_back_as_it_was(
            code in 100..1000_u16,
            fields in proptest::collection::vec(("[A-Za-z!#-]{1,12}", proptest::collection::vec(any::<u8>(), 0..20)), 0..8),
        ) {
            let mut memory = [0; 1024];
            let mut head = HeadWriter::new(&mut memory);
            head.status(Status::new(code).unwrap()).unwrap();
            let written: Vec<_> =
                fields.iter().filter(|(name, value)| head.field(name.as_bytes(), value).is_ok()).collect();
            let len = head.finish().unwrap();
            let mut read = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut read);
            prop_assert_eq!(response.parse(&memory[..len]), Ok(httparse::Status::Complete(len)));
            prop_assert_eq!(response.code, Some(code));
            prop_assert_eq!(response.headers.len(), written.len());
            for (read, (name, value)) in response.headers.iter().zip(written) {
                prop_assert_eq!(read.name, name);
                prop_assert_eq!(read.value, crate::octets::trim(value));
            }
        }
    }
}

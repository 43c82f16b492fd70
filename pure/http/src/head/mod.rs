//! Request heads (RFC 9112 sections 2 to 6): where one ends, what it says, and every reason to refuse it.
//!
//! ```
//! use ringway_http::head::{Body, HeadScan, Limits, Request};
//!
//! let limits = Limits::default();
//! let mut scan = HeadScan::new();
//! let received = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\n\r\nGET /next";
//! assert_eq!(scan.find(&received[..9], &limits), Ok(None));
//! let end = scan.find(received, &limits)?.unwrap();
//! let request = Request::parse(&received[..end], &limits)?;
//! assert_eq!((request.path(), request.query()), (&b"/a"[..], Some(&b"b"[..])));
//! assert_eq!((request.body(), request.keep_alive()), (Body::None, true));
//! # Ok::<(), ringway_http::refusal::Refusal>(())
//! ```

mod authority;
mod field_lines;
mod fields;
mod framing;
mod request;
mod request_line;
mod scan;
#[cfg(test)]
mod splits;

pub use authority::Authority;
pub(crate) use field_lines::field_line;
pub use fields::{Field, Fields, Known, Values};
pub(crate) use framing::Framing;
pub use request::{Body, Request, Version};
pub use scan::HeadScan;

/// The longest head that can be read whatever the limits say, in bytes: positions are kept in 16 bits.
pub const HEAD_BYTES_CEILING: usize = u16::MAX as usize;

/// Empty lines (CRLF) that are skipped before a request line. RFC 9112 section 2.2 asks for at least one, for
/// the sake of old clients that end a body with an extra line; nobody has a reason to send a second.
pub const EMPTY_LINES_MAX: usize = 1;

/// What a peer may make grow in a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line without its CRLF, in bytes; beyond: 414.
    pub line_bytes_max: u32,
    /// Longest head from the method to the empty line, both included, in bytes; beyond: 431. Values above
    /// [`HEAD_BYTES_CEILING`] mean the ceiling.
    pub head_bytes_max: u32,
    /// Most header fields; beyond: 431.
    pub fields_max: u16,
}

impl Default for Limits {
    /// 8 KiB of request line, 16 KiB of head, 100 fields.
    fn default() -> Self {
        Self { line_bytes_max: 8 * 1024, head_bytes_max: 16 * 1024, fields_max: 100 }
    }
}

impl Limits {
    fn line_max(&self) -> usize {
        self.line_bytes_max as usize
    }

    fn head_max(&self) -> usize {
        (self.head_bytes_max as usize).min(HEAD_BYTES_CEILING)
    }
}

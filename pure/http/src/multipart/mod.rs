//! Forms with files, `multipart/form-data` (RFC 7578, RFC 2046 section 5.1), as they arrive: parts taken apart in place.
//!
//! ```
//! use ringway_http::multipart::{Boundary, Decoder, Limits, PartHead, Step};
//!
//! let boundary = Boundary::of_form(b"multipart/form-data; boundary=x")?;
//! let limits = Limits::default();
//! let mut decoder = Decoder::new(boundary, limits);
//! let received = b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nhello\r\n--x--\r\n";
//! let Step::Part { head, consumed } = decoder.decode(received)? else { panic!("a part") };
//! assert_eq!(PartHead::parse(&received[head], &limits)?.name.bytes().collect::<Vec<u8>>(), b"a");
//! let rest = &received[consumed..];
//! let Step::Data { data } = decoder.decode(rest)? else { panic!("data") };
//! assert_eq!(&rest[data.clone()], b"hello");
//! let Step::PartEnd { consumed } = decoder.decode(&rest[data.end..])? else { panic!("its end") };
//! assert!(matches!(decoder.decode(&rest[data.end + consumed..])?, Step::Done { .. }));
//! # Ok::<(), ringway_http::multipart::Fault>(())
//! ```
//!
//! Values come as they were sent. Browsers write a quotation mark in a name as `%22`, which nothing tells from the same
//! three letters typed; `filename*` is ignored, as RFC 7578 section 4.2 demands. A file's name is a client's word: nothing of
//! it may become part of a path.

mod boundary;
mod decoder;
mod part;
#[cfg(test)]
mod splits;

pub use boundary::{BOUNDARY_BYTES_MAX, Boundary};
pub use decoder::{Decoder, Step};
pub use part::{PartHead, Text};

use crate::refusal::Refusal;
use crate::status::Status;
use std::fmt;

/// What a peer may make grow in a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most parts. Default 256.
    pub parts_max: u32,
    /// Most bytes of a part's head, up to the empty line. Default 4 KiB.
    pub head_bytes_max: u32,
    /// Most bytes of a name, and of a file's name, as they were sent. Default 256.
    pub name_bytes_max: u32,
    /// Most bytes of a part's data. Default: as many as the body has.
    pub part_bytes_max: u64,
    /// Most bytes before the first part, which nobody sends. Default 128.
    pub preamble_bytes_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            parts_max: 256,
            head_bytes_max: 4096,
            name_bytes_max: 256,
            part_bytes_max: u64::MAX,
            preamble_bytes_max: 128,
        }
    }
}

/// Why a form is none, or too large a one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The type is not `multipart/form-data`.
    ContentType,
    /// The type names no boundary, or none that can be one.
    Boundary,
    /// Something else than the end of the line follows a boundary.
    Delimiter,
    /// Nothing that begins with the boundary is near the beginning.
    Preamble,
    /// A line of a part's head is no field.
    Field(Refusal),
    /// A part has no `Content-Disposition`, several, or another than `form-data` with one name.
    Disposition,
    /// There are more parts than may be.
    Parts,
    /// A part's head is longer than may be.
    HeadLength,
    /// A part's name, or a file's, is longer than may be.
    NameLength,
    /// A part has more data than may be.
    PartLength,
    /// The body ends before the form does.
    Truncated,
}

impl Fault {
    /// The status to answer with.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::ContentType => Status::UNSUPPORTED_MEDIA_TYPE,
            Self::Parts | Self::HeadLength | Self::NameLength | Self::PartLength => Status::CONTENT_TOO_LARGE,
            Self::Boundary
            | Self::Delimiter
            | Self::Preamble
            | Self::Field(_)
            | Self::Disposition
            | Self::Truncated => Status::BAD_REQUEST,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ContentType => "the body is no form with parts",
            Self::Boundary => "the form's boundary is missing or malformed",
            Self::Delimiter => "something follows a boundary of the form",
            Self::Preamble => "the form does not begin with its boundary",
            Self::Field(refusal) => return write!(f, "the head of a part of the form: {refusal}"),
            Self::Disposition => "a part of the form has no name, or several",
            Self::Parts => "the form has too many parts",
            Self::HeadLength => "the head of a part of the form is too long",
            Self::NameLength => "a name in the form is too long",
            Self::PartLength => "a part of the form is too long",
            Self::Truncated => "the form has no end",
        })
    }
}

impl std::error::Error for Fault {}

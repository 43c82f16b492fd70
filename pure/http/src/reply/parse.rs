//! A read answer's head: status, life of the connection, how the body ends, and the fields, borrowed from the bytes.

use std::ops::Range;

use super::{Fault, Limits};
use crate::head::{Body, Fields, Framing, Known, Version, field_line};
use crate::octets::value_end;
use crate::refusal::Refusal;
use crate::status::Status;

/// How the body behind an answer's head is delivered (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// No body follows, whatever the fields say: an answer to `HEAD`, 1xx, 204, 304.
    None,
    /// So many bytes, possibly none.
    Length(u64),
    /// Chunks: a [`crate::body::BodyDecoder`] for [`Body::Chunked`] reads them.
    Chunked,
    /// Everything up to the end of the connection.
    UntilClose,
}

/// The head of an answer that has passed every check. It borrows the head; nothing is stored per field.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'b> {
    head: &'b [u8],
    fields_at: usize,
    status: Status,
    version: Version,
    framing: Framing,
    delivery: Delivery,
    /// Where the value of the only `Date` lies.
    date: Option<(usize, usize)>,
}

impl<'b> Reply<'b> {
    /// Reads a head exactly as [`super::ReplyScan::find`] delimits it. `to_head` says that it answers `HEAD`.
    ///
    /// # Errors
    /// Whatever is not one well-formed HTTP/1.x answer with one reading. `Content-Length` beside `Transfer-Encoding`, and
    /// a repeated `Content-Length`, are refused as RFC 9112 section 6.3 allows.
    pub fn parse(head: &'b [u8], to_head: bool, limits: &Limits) -> Result<Self, Fault> {
        if head.len() > limits.head_max() {
            return Err(Fault::HeadLength);
        }
        let (version, status, fields_at) = status_line(head)?;
        let mut reply = Self {
            head,
            fields_at,
            status,
            version,
            framing: Framing::NONE,
            delivery: Delivery::None,
            date: None,
        };
        reply.read_fields(limits)?;
        let body = reply.framing.reply_body(version).map_err(Fault::Head)?;
        reply.delivery = match body {
            _ if to_head || status.is_bodiless() => Delivery::None,
            Some(Body::Length(length)) => Delivery::Length(length),
            Some(Body::Chunked) => Delivery::Chunked,
            Some(Body::None) | None => Delivery::UntilClose,
        };
        Ok(reply)
    }

    /// The status.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// Whether another head follows that is the real answer (1xx except 101; RFC 9110 section 15.2).
    pub const fn is_interim(&self) -> bool {
        self.status.code() < 200 && self.status.code() != 101
    }

    /// The version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// How the body is delivered.
    pub const fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// What `Content-Length` says, also where no body follows.
    pub const fn announced_length(&self) -> Option<u64> {
        self.framing.length()
    }

    /// Whether the server takes another request on this connection after this answer (RFC 9112 section 9.3).
    pub const fn keep_alive(&self) -> bool {
        self.framing.keeps_alive(self.version) && !matches!(self.delivery, Delivery::UntilClose)
    }

    /// All fields in the order they were sent.
    pub fn fields(&self) -> Fields<'b> {
        Fields::new(&self.head[self.fields_at..])
    }

    /// The first value of a field, its name compared ignoring case.
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }

    /// The field lines as sent, each with its CRLF, and the empty line.
    pub(crate) fn field_lines(&self) -> &'b [u8] {
        &self.head[self.fields_at..]
    }

    /// The head as sent, the empty line included.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.head
    }

    /// Where in the head the value of the only, not empty `Date` lies.
    pub(super) fn date(&self) -> Option<Range<usize>> {
        self.date.map(|(start, end)| start..end)
    }

    fn read_fields(&mut self, limits: &Limits) -> Result<(), Fault> {
        let mut at = self.fields_at;
        let (mut count, mut dates) = (0, 0);
        while !self.head[at..].starts_with(b"\r\n") {
            let line = field_line(self.head, at).map_err(Fault::Head)?;
            count += 1;
            if count > limits.fields_max {
                return Err(Fault::FieldCount);
            }
            let name = &self.head[at..line.name_end];
            let value = &self.head[line.value_start..line.value_end];
            match Known::from_name(name) {
                Some(Known::ContentLength) => self.framing.content_length(value).map_err(Fault::Head)?,
                Some(Known::TransferEncoding) => {
                    self.framing.transfer_encoding(value).map_err(Fault::Head)?;
                }
                Some(Known::Connection) => self.framing.connection(value),
                _ if name.eq_ignore_ascii_case(b"date") => {
                    dates += 1;
                    let is_sole = dates == 1 && !value.is_empty();
                    self.date = is_sole.then_some((line.value_start, line.value_end));
                }
                _ => {}
            }
            at = line.end;
        }
        if at + 2 == self.head.len() { Ok(()) } else { Err(Fault::Head(Refusal::HeadEnd)) }
    }
}

/// Version, status, and where the fields begin. The space before an empty reason may be missing: some servers forget it.
fn status_line(head: &[u8]) -> Result<(Version, Status, usize), Fault> {
    let rest = head.strip_prefix(b"HTTP/").ok_or(Fault::NotHttp)?;
    let version = match rest {
        [b'1', b'.', b'1', b' ', ..] => Version::Http11,
        [b'1', b'.', b'0', b' ', ..] => Version::Http10,
        [b'0'..=b'9', b'.', b'0'..=b'9', b' ', ..] => return Err(Fault::Version),
        _ => return Err(Fault::StatusLine),
    };
    const STATUS_AT: usize = b"HTTP/1.1 ".len();
    let status = match head.get(STATUS_AT..STATUS_AT + 4) {
        Some([a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ' | b'\r']) => {
            let digit = |byte: &u8| u16::from(*byte - b'0');
            Status::new(digit(a) * 100 + digit(b) * 10 + digit(c)).ok_or(Fault::StatusLine)?
        }
        _ => return Err(Fault::StatusLine),
    };
    let end = value_end(head, STATUS_AT + 3);
    if head[end..].starts_with(b"\r\n") { Ok((version, status, end + 2)) } else { Err(Fault::StatusLine) }
}

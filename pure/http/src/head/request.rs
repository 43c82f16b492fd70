//! A read request head: what was asked, how the body is framed, and its fields, all borrowed from the bytes.

use super::authority::Authority;
use super::fields::{Fields, KNOWN_COUNT, Known, Span, Values};
use super::framing::Framing;
use super::{EMPTY_LINES_MAX, Limits, field_lines, request_line};
use crate::method::Method;
use crate::refusal::Refusal;

/// The versions that are served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `HTTP/1.0`
    Http10,
    /// `HTTP/1.1`
    Http11,
}

/// How the body behind a head is delimited (RFC 9112 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Neither length nor coding: no body.
    None,
    /// So many bytes, possibly none.
    Length(u64),
    /// Chunks.
    Chunked,
}

impl Body {
    /// Whether it is certain from the head that no body bytes follow.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None | Self::Length(0))
    }
}

/// A request head that has passed every check.
///
/// It borrows the head and is cheap to copy and to move; nothing is stored per field.
#[derive(Clone, Copy, Debug)]
pub struct Request<'b> {
    /// Begins with the method and ends with the empty line.
    pub(super) head: &'b [u8],
    /// Where the field lines begin.
    pub(super) fields_at: usize,
    pub(super) method: Method<'b>,
    pub(super) target: &'b [u8],
    pub(super) path: &'b [u8],
    pub(super) query: Option<&'b [u8]>,
    pub(super) host: Option<Authority<'b>>,
    pub(super) places: [Span; KNOWN_COUNT],
    /// Bit per [`Known`]: it was sent.
    pub(super) seen: u32,
    /// Bit per [`Known`]: it was sent more than once.
    pub(super) repeated: u32,
    pub(super) framing: Framing,
    body: Body,
    pub(super) version: Version,
    pub(super) absolute: bool,
}

impl<'b> Request<'b> {
    /// Reads a head exactly as [`super::HeadScan::find`] delimits it.
    ///
    /// # Errors
    /// Whatever is not one well-formed HTTP/1.x request with one reading; see [`Refusal`] for each reason.
    /// [`Refusal::HeadEnd`] when `head` does not end with its empty line, which is the caller's mistake.
    pub fn parse(head: &'b [u8], limits: &Limits) -> Result<Self, Refusal> {
        let head = skip_empty_lines(head);
        if head.len() > limits.head_max() {
            return Err(Refusal::HeadLength);
        }
        // Filled in place, because copying results of this size from room to room costs more than reading.
        let mut request = Self::blank(head);
        request_line::read(&mut request, limits)?;
        field_lines::read(&mut request, limits)?;
        if request.version == Version::Http11 && !request.has(Known::Host) {
            return Err(Refusal::HostMissing);
        }
        request.body = request.framing.body(request.version)?;
        Ok(request)
    }

    /// The method; never [`Method::Connect`].
    pub const fn method(&self) -> Method<'b> {
        self.method
    }

    /// The target as sent.
    pub const fn target(&self) -> &'b [u8] {
        self.target
    }

    /// The raw path: `/…`, or `*` (only with `OPTIONS`). Still escaped, see [`crate::target::normalise`].
    pub const fn path(&self) -> &'b [u8] {
        self.path
    }

    /// What follows the first `?` of the target, undecoded.
    pub const fn query(&self) -> Option<&'b [u8]> {
        self.query
    }

    /// The version.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Whom the request is for: the authority of an absolute target, otherwise `Host` (RFC 9112
    /// section 3.2.2). `None` in HTTP/1.0 only.
    pub const fn host(&self) -> Option<Authority<'b>> {
        self.host
    }

    /// Whether the target was absolute (`http://…`), as sent to proxies.
    pub const fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// How the body that follows is framed.
    pub const fn body(&self) -> Body {
        self.body
    }

    /// Whether the peer will send another request after this one (RFC 9112 section 9.3).
    pub const fn keep_alive(&self) -> bool {
        self.framing.keeps_alive(self.version)
    }

    /// Whether the peer waits for `100 Continue` before its body.
    pub const fn expects_continue(&self) -> bool {
        self.framing.expect_continue && !self.body.is_empty()
    }

    /// `Upgrade`, if `Connection` says so too and the version has upgrades (RFC 9110 section 7.8).
    pub fn upgrade(&self) -> Option<&'b [u8]> {
        if self.framing.upgrade && self.version == Version::Http11 { self.sole(Known::Upgrade) } else { None }
    }

    /// The request line as sent, without CRLF, for logs.
    pub fn line(&self) -> &'b [u8] {
        &self.head[..self.fields_at - 2]
    }

    /// The head as sent, from the method to the empty line, both included.
    pub const fn as_bytes(&self) -> &'b [u8] {
        self.head
    }

    /// All fields in the order they were sent.
    pub fn fields(&self) -> Fields<'b> {
        Fields::new(&self.head[self.fields_at..])
    }

    /// The first value of any field; a known one is quicker through [`Request::sole`] or [`Request::values`].
    pub fn field(&self, name: &str) -> Option<&'b [u8]> {
        self.fields().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
    }

    /// Whether a known field was sent.
    pub const fn has(&self, known: Known) -> bool {
        self.seen & known.bit() != 0
    }

    /// The value of a field that is no list; `None` when it is missing and when it was repeated, which makes it
    /// invalid.
    pub fn sole(&self, known: Known) -> Option<&'b [u8]> {
        if self.seen & !self.repeated & known.bit() == 0 { None } else { Some(self.place(known)) }
    }

    /// The values of a field that is a list, one for each line it was sent on.
    pub fn values(&self, known: Known) -> Values<'b> {
        let first = self.has(known).then(|| self.place(known));
        Values::new(known, first, (self.repeated & known.bit() != 0).then(|| self.fields()))
    }

    /// `Range`, unless repeated.
    pub fn range(&self) -> Option<&'b [u8]> {
        self.sole(Known::Range)
    }

    /// `If-Range`, unless repeated.
    pub fn if_range(&self) -> Option<&'b [u8]> {
        self.sole(Known::IfRange)
    }

    /// `If-Match`, a list.
    pub fn if_match(&self) -> Values<'b> {
        self.values(Known::IfMatch)
    }

    /// `If-None-Match`, a list.
    pub fn if_none_match(&self) -> Values<'b> {
        self.values(Known::IfNoneMatch)
    }

    /// `If-Modified-Since`, unless repeated.
    pub fn if_modified_since(&self) -> Option<&'b [u8]> {
        self.sole(Known::IfModifiedSince)
    }

    /// `If-Unmodified-Since`, unless repeated.
    pub fn if_unmodified_since(&self) -> Option<&'b [u8]> {
        self.sole(Known::IfUnmodifiedSince)
    }

    /// `Accept`, a list.
    pub fn accept(&self) -> Values<'b> {
        self.values(Known::Accept)
    }

    /// `Accept-Encoding`, a list.
    pub fn accept_encoding(&self) -> Values<'b> {
        self.values(Known::AcceptEncoding)
    }

    /// `User-Agent`, unless repeated.
    pub fn user_agent(&self) -> Option<&'b [u8]> {
        self.sole(Known::UserAgent)
    }

    /// `Referer`, unless repeated.
    pub fn referer(&self) -> Option<&'b [u8]> {
        self.sole(Known::Referer)
    }

    const fn blank(head: &'b [u8]) -> Self {
        Self {
            head,
            fields_at: 0,
            method: Method::Get,
            target: b"",
            path: b"",
            query: None,
            host: None,
            places: [Span::NOWHERE; KNOWN_COUNT],
            seen: 0,
            repeated: 0,
            framing: Framing::NONE,
            body: Body::None,
            version: Version::Http11,
            absolute: false,
        }
    }

    fn place(&self, known: Known) -> &'b [u8] {
        self.places[known as usize].of(self.head)
    }
}

fn skip_empty_lines(mut head: &[u8]) -> &[u8] {
    for _ in 0..EMPTY_LINES_MAX {
        head = head.strip_prefix(b"\r\n").unwrap_or(head);
    }
    head
}

//! Answers as handlers describe them: a status, field lines and a body; nothing is sent or copied here.

mod into;
mod write;

pub use into::{Html, IntoResponse, Json};
pub(crate) use write::write;

use crate::cookie::SetCookie;
use crate::files::FilePlace;
use crate::later::{Later, Waiting};
use ringway_http::response::HeadWriter;
use ringway_http::status::Status;
use ringway_web::body_source::BodySource;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Most bytes of field lines that a handler may add to an answer.
pub const LINES_BYTES_MAX: usize = 32 * 1024;

/// An answer. It stays on its worker; what other threads answer goes through [`Response::later`].
pub struct Response {
    pub(crate) status: Status,
    pub(crate) kind: Kind,
    /// More field lines, each with its CR LF.
    pub(crate) lines: Vec<u8>,
    pub(crate) body: Body,
    /// For the service's log.
    pub(crate) note: Option<Box<str>>,
    /// A field line cannot be sent.
    pub(crate) is_bad: bool,
}

/// The media type of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing is said.
    None,
    /// This line.
    Line(&'static str),
}

const TEXT: Kind = Kind::Line("Content-Type: text/plain; charset=utf-8\r\n");
const HTML: Kind = Kind::Line("Content-Type: text/html; charset=utf-8\r\n");
const JSON: Kind = Kind::Line("Content-Type: application/json\r\n");
const OCTETS: Kind = Kind::Line("Content-Type: application/octet-stream\r\n");

/// What a body is taken from.
pub(crate) enum Body {
    Empty,
    Static(&'static [u8]),
    Bytes(Vec<u8>),
    Shared(Arc<[u8]>),
    Stream(Box<dyn BodySource>, Option<u64>),
    /// The site's page for the status.
    Page,
    File(FilePlace),
    Later(Waiting),
    /// The request goes on to whoever comes behind the service.
    Pass,
}

impl Response {
    fn of(status: Status, kind: Kind, body: Body) -> Self {
        Self { status, kind, lines: Vec::new(), body, note: None, is_bad: false }
    }

    fn of_text(kind: Kind, text: Cow<'static, str>) -> Self {
        let body = match text {
            Cow::Borrowed(text) => Body::Static(text.as_bytes()),
            Cow::Owned(text) => Body::Bytes(text.into_bytes()),
        };
        Self::of(Status::OK, kind, body)
    }

    /// Plain text. What is `'static` is not copied before it is sent, and nothing is allocated for it.
    #[must_use]
    pub fn text(text: impl Into<Cow<'static, str>>) -> Self {
        Self::of_text(TEXT, text.into())
    }

    /// A page.
    #[must_use]
    pub fn html(text: impl Into<Cow<'static, str>>) -> Self {
        Self::of_text(HTML, text.into())
    }

    /// A value as JSON; one that cannot be written as JSON answers 500.
    #[must_use]
    pub fn json(value: &impl serde::Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(bytes) => Self::of(Status::OK, JSON, Body::Bytes(bytes)),
            Err(error) => Self::page(Status::INTERNAL_SERVER_ERROR)
                .with_note(Some(format!("the answer cannot be written as JSON: {error}"))),
        }
    }

    /// Bytes of no type in particular; say one with [`Response::with_type`].
    #[must_use]
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let body = match bytes.into() {
            Cow::Borrowed(bytes) => Body::Static(bytes),
            Cow::Owned(bytes) => Body::Bytes(bytes),
        };
        Self::of(Status::OK, OCTETS, body)
    }

    /// Bytes that several answers share.
    #[must_use]
    pub fn shared(bytes: Arc<[u8]>) -> Self {
        Self::of(Status::OK, OCTETS, Body::Shared(bytes))
    }

    /// A status and no body.
    #[must_use]
    pub fn status(status: Status) -> Self {
        Self::of(status, Kind::None, Body::Empty)
    }

    /// The site's page for an error.
    #[must_use]
    pub fn page(status: Status) -> Self {
        Self::of(status, Kind::None, Body::Page)
    }

    /// Sends the client elsewhere, to be asked for with GET (303). Another status may be set behind it.
    #[must_use]
    pub fn redirect(location: &str) -> Self {
        Self::status(Status::SEE_OTHER).with_field("Location", location)
    }

    /// A body that is made while it is sent, of `length` bytes where that is known.
    #[must_use]
    pub fn stream(length: Option<u64>, source: impl BodySource + 'static) -> Self {
        Self::of(Status::OK, OCTETS, Body::Stream(Box::new(source), length))
    }

    /// An answer that is made elsewhere, and the handle to give it by, from any thread. A handle that is dropped answers 500,
    /// one that is not used within the service's time 503.
    #[must_use]
    pub fn later() -> (Later, Self) {
        let (later, waiting) = Later::new();
        (later, Self::of(Status::OK, Kind::None, Body::Later(waiting)))
    }

    pub(crate) fn of_file(place: FilePlace) -> Self {
        Self::of(Status::OK, Kind::None, Body::File(place))
    }

    /// The request is not for this service after all: whoever comes behind it in the site decides.
    #[must_use]
    pub fn pass() -> Self {
        Self::of(Status::NOT_FOUND, Kind::None, Body::Pass)
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// The same with another media type.
    #[must_use]
    pub fn with_type(mut self, media_type: &str) -> Self {
        self.kind = Kind::None;
        self.with_field("Content-Type", media_type)
    }

    /// The same with one more field line. A name or value that cannot be sent (it would be two lines), or more than
    /// [`LINES_BYTES_MAX`], makes the answer 500: it is a mistake of the handler's.
    #[must_use]
    pub fn with_field(mut self, name: &str, value: &str) -> Self {
        self.add_field(name.as_bytes(), value.as_bytes());
        self
    }

    /// The same with a cookie to be kept. One that cannot be makes the answer 500, as a field does.
    #[must_use]
    pub fn with_cookie(mut self, cookie: &SetCookie) -> Self {
        match cookie.encode() {
            Ok(value) => self.with_field("Set-Cookie", &value),
            Err(error) => {
                self.is_bad = true;
                self.with_note(Some(format!("a cookie cannot be set: {error}")))
            }
        }
    }

    /// Adds a field line: see [`Response::with_field`].
    pub fn add_field(&mut self, name: &[u8], value: &[u8]) {
        if add_line(&mut self.lines, name, value).is_err() {
            self.is_bad = true;
        }
    }

    /// The same with words for the service's log.
    #[must_use]
    pub fn with_note(mut self, note: Option<String>) -> Self {
        self.note = note.map(Into::into);
        self
    }

    /// The status.
    #[must_use]
    pub fn code(&self) -> Status {
        self.status
    }

    /// Field lines added so far, each with its CR LF.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The body, where it is at hand.
    #[must_use]
    pub fn body(&self) -> Option<&[u8]> {
        match &self.body {
            Body::Empty => Some(b""),
            Body::Static(bytes) => Some(bytes),
            Body::Bytes(bytes) => Some(bytes),
            Body::Shared(bytes) => Some(bytes),
            Body::Stream(..) | Body::Page | Body::File(_) | Body::Later(_) | Body::Pass => None,
        }
    }
}

/// Writes a field line behind others.
pub(crate) fn add_line(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Result<(), BadField> {
    let before = lines.len();
    let after = before + name.len() + value.len() + b": \r\n".len();
    if after > LINES_BYTES_MAX {
        return Err(BadField);
    }
    lines.resize(after, 0);
    if HeadWriter::new(&mut lines[before..]).field(name, value).is_err() {
        lines.truncate(before);
        return Err(BadField);
    }
    Ok(())
}

/// A field that cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadField;

impl fmt::Display for BadField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a field line cannot be sent: its name or value holds what no line may, or there are too many",
        )
    }
}

impl std::error::Error for BadField {}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status.code())
            .field("lines", &self.lines.escape_ascii().to_string())
            .field("body_bytes", &self.body().map(<[u8]>::len))
            .finish_non_exhaustive()
    }
}

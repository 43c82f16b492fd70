//! A request on its way to an answer, as stages and handlers see it.

use crate::answer::{self, Common, Plan, PlanBody};
use crate::body_source::BodySource;
use crate::file_cache::Moment;
use crate::pipeline::{Reply, Source};
#[cfg(feature = "bodies")]
use crate::request_body::{RequestBody, Upload};
use crate::site::Site;
use ringway_engine::heap::{Arena, Local, LocalVec};
use ringway_engine::{Session, ThreadPool};
use ringway_http::head::{Request, Version};
use ringway_http::method::Method;
use ringway_http::response::{EncodeError, HeadWriter};
use ringway_http::status::Status;
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

/// How often one request's path may be rewritten before it counts as a circle.
pub const REWRITES_MAX: u8 = 10;

/// Longest path that a rewrite may make, in bytes.
pub const REWRITTEN_BYTES_MAX: usize = 8192;

/// Most bytes of field lines that stages add to one answer.
pub const ADDED_FIELDS_BYTES_MAX: usize = 8192;

/// Who is at the other end of a connection.
pub trait Link {
    /// The peer's address; `None` for Unix sockets. Asked of the kernel once a connection, when first wanted.
    fn peer(&mut self) -> Option<SocketAddr>;

    /// What the handshake of the connection's filter, such as TLS, agreed on; `None` without a filter.
    fn session(&mut self) -> Option<Rc<Session>>;
}

/// One request on its way to an answer. Stages write the answer's head into `memory`.
pub struct Exchange<'a> {
    /// What was asked, as it was sent.
    pub request: &'a Request<'a>,
    /// The path that rules, routes and files are matched against: normalised ([`ringway_http::target::normalise`]), and
    /// rewritten where a stage or handler did that. `*` for `OPTIONS *`.
    pub path: &'a [u8],
    /// What followed the `?`, undecoded, or what a rewrite made of it.
    pub query: Option<&'a [u8]>,
    /// Whose request it is.
    pub site: &'a Site,
    /// What every answer carries, and the time.
    pub common: Common<'a>,
    /// The clocks.
    pub moment: Moment,
    /// Where the head goes.
    pub memory: &'a mut [u8],
    /// For blocking work.
    pub pool: &'a ThreadPool,
    /// For what is wanted until the answer's head is written; all of it is freed then.
    pub scratch: &'a Arena,
    pub(crate) course: &'a mut Course,
    pub(crate) link: &'a mut dyn Link,
}

impl<'a> Exchange<'a> {
    /// The client's address: the peer's, or what a proxy that is trusted says of it (without a port then); `None` for Unix
    /// sockets. The first call on a connection is a system call.
    pub fn peer(&mut self) -> Option<SocketAddr> {
        #[cfg(feature = "proxy")]
        if let Some(whence) = &self.course.whence {
            return Some(whence.client);
        }
        self.link.peer()
    }

    /// The address of whoever is at the other end of the connection, be it a proxy or not.
    #[cfg(feature = "proxy")]
    pub(crate) fn neighbour(&mut self) -> Option<SocketAddr> {
        self.link.peer()
    }

    /// The field in which whoever is at the other end is believed.
    #[cfg(feature = "proxy")]
    pub(crate) fn believed(&self) -> Option<ringway_http::forwarded::ChainField> {
        self.course.whence.map(|whence| whence.field)
    }

    /// What the handshake of the connection's filter, such as TLS, agreed on; `None` without a filter.
    pub fn session(&mut self) -> Option<Rc<Session>> {
        self.link.session()
    }

    /// Who the client has proved to be.
    #[must_use]
    pub fn user(&self) -> Option<&Rc<str>> {
        self.course.user.as_ref()
    }

    /// Takes note of who the client has proved to be.
    pub fn set_user(&mut self, user: Rc<str>) {
        self.course.user = Some(user);
    }

    /// Takes note of the rule that has refused the request, for the log.
    pub fn set_rule(&mut self, name: &str) {
        self.course.refused = Some(Box::new(Refused { rule: name.into() }));
    }

    /// Adds a field line to whatever the answer will be.
    ///
    /// # Errors
    /// What no field line can hold; [`EncodeError::Full`] beyond [`ADDED_FIELDS_BYTES_MAX`].
    pub fn add_field(&mut self, name: &[u8], value: &[u8]) -> Result<(), EncodeError> {
        let fields = self.course.fields.get_or_insert_with(|| LocalVec::new_in(Local::new()));
        let before = fields.len();
        let after = before + name.len() + value.len() + b": \r\n".len();
        if after > ADDED_FIELDS_BYTES_MAX {
            return Err(EncodeError::Full);
        }
        fields.resize(after, 0);
        let written = HeadWriter::new(&mut fields[before..]).field(name, value);
        if written.is_err() {
            fields.truncate(before);
        }
        written
    }

    /// The number of the current route among the site's; `None` before it is looked for and when there is none.
    #[must_use]
    pub fn route(&self) -> Option<usize> {
        self.course.route
    }

    /// Goes on with another path and query. A stage passes then; a handler answers with
    /// [`crate::pipeline::Handled::Rewritten`].
    ///
    /// `path` is plain bytes: an escape in it is no escape.
    ///
    /// # Errors
    /// The status to refuse with: nothing is found under what is no normal path, as a wildcard may have made it (404); one
    /// may be too long (414), or there is no memory for it (503).
    pub fn rewrite(&mut self, path: &[u8], query: Option<&[u8]>) -> Result<(), Status> {
        if path.len() > REWRITTEN_BYTES_MAX {
            return Err(Status::URI_TOO_LONG);
        }
        if !is_normal(path) {
            return Err(Status::NOT_FOUND);
        }
        let scratch = self.scratch;
        let keep = |bytes: &[u8]| match scratch.alloc_slice_copy(bytes) {
            Ok(kept) => Ok::<&'a [u8], Status>(kept),
            Err(_at_limit) => Err(Status::SERVICE_UNAVAILABLE),
        };
        let query = query.map(keep).transpose()?;
        self.path = keep(path)?;
        self.query = query;
        self.course.is_rewritten = true;
        Ok(())
    }

    /// Answers with a body at hand. `lines` are more field lines, each with its CR LF; they are trusted.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    pub fn text(&mut self, status: Status, lines: &[u8], body: Vec<u8>) -> Result<Reply, EncodeError> {
        let len = body.len();
        let mut head = HeadWriter::new(self.memory);
        head.status(status)?;
        head.raw(self.common.fields)?;
        head.raw(lines)?;
        head.content_length(len as u64)?;
        let head_len = head.finish()?;
        let plan = match self.request.method() {
            Method::Head => Plan { status, head_len, body: PlanBody::Empty, body_len: 0 },
            _ => Plan { status, head_len, body: PlanBody::Memory(0..len), body_len: len as u64 },
        };
        Ok(Reply { plan, source: Source::Bytes(body) })
    }

    /// Answers with a body that is made while it is sent. `lines` as above.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    pub fn stream(
        &mut self,
        status: Status,
        lines: &[u8],
        body: impl BodySource + 'static,
    ) -> Result<Reply, EncodeError> {
        self.stream_with(status, lines, None, body)
    }

    /// The same with a body of `length` bytes, where that is known. One that turns out longer or shorter breaks the
    /// connection (over HTTP/2, the stream). A status without a body (204, 304) and the answer to `HEAD` leave the body
    /// away; that of 304 and `HEAD` still say the length. A body that is left away, or has no bytes, is dropped unasked.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    pub fn stream_with(
        &mut self,
        status: Status,
        lines: &[u8],
        length: Option<u64>,
        body: impl BodySource + 'static,
    ) -> Result<Reply, EncodeError> {
        let is_bodiless = status.is_bodiless();
        let has_body = !is_bodiless && self.request.method() != Method::Head;
        let mut head = HeadWriter::new(self.memory);
        head.status(status)?;
        match length {
            // It knows no chunks: the end of the connection ends the body.
            None if self.request.version() == Version::Http10 && has_body => head.raw(self.common.closing)?,
            _ => head.raw(self.common.fields)?,
        }
        match length {
            Some(length) if !is_bodiless || status == Status::NOT_MODIFIED => head.content_length(length)?,
            None if !is_bodiless && self.request.version() != Version::Http10 => {
                head.raw(b"Transfer-Encoding: chunked\r\n")?;
            }
            _ => {}
        }
        head.raw(lines)?;
        let head_len = head.finish()?;
        let (body_plan, body_len, source) = match (has_body, length) {
            (false, _) | (true, Some(0)) => (PlanBody::Empty, 0, Source::None),
            (true, Some(length)) => (PlanBody::Sized, length, Source::Stream(Box::new(body))),
            (true, None) => (PlanBody::Stream, 0, Source::Stream(Box::new(body))),
        };
        Ok(Reply { plan: Plan { status, head_len, body: body_plan, body_len }, source })
    }

    /// The request's body, whole or still to come; empty when there is none. `None`: somebody has taken it before.
    ///
    /// A request that asks for another protocol ([`Request::upgrade`]) has an empty body that may be read on
    /// ([`RequestBody::unframed`]) behind [`Exchange::switch_protocols`].
    #[cfg(feature = "bodies")]
    pub fn take_body(&mut self) -> Option<RequestBody> {
        self.course.upload.take(self.request.upgrade().is_some())
    }

    /// Whether a body comes with the request that nobody has taken.
    #[cfg(feature = "bodies")]
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.course.upload.carrier.is_some() && !self.course.upload.is_taken
    }

    /// The longest body that a handler is about to take, in bytes; without it the connection's limit holds
    /// ([`crate::limits::WebLimits::body`]). What nobody takes is discarded within that one.
    #[cfg(feature = "bodies")]
    pub fn set_body_limit(&mut self, bytes_max: u64) {
        self.course.upload.set_limit(bytes_max);
    }

    /// Says that what the handler has begun must not be done twice: an answer whose head is too long for the memory is
    /// then replaced by an error, and the handler not asked again. Taking and reading a body says so too.
    #[cfg(feature = "bodies")]
    pub fn ask_once(&mut self) {
        self.course.upload.is_once = true;
    }

    /// Whether the memory is too small for a head with `bytes` of lines besides the server's own. Then there is more the next
    /// time: whoever was waited for has to be waited for once more.
    #[cfg(feature = "bodies")]
    #[must_use]
    pub fn lacks_memory(&mut self, bytes: usize) -> bool {
        // What stages and edits add to it later has its own limits.
        const SPARE_BYTES: usize = 4 * 1024;
        let is_first = !self.course.upload.has_long_answer;
        self.course.upload.has_long_answer |= bytes + SPARE_BYTES > self.memory.len();
        is_first && self.course.upload.has_long_answer
    }

    /// Says that what the handler waits for is given up when the client ends its sending, as one that leaves does (over
    /// HTTP/2, when it resets the stream): it costs too much to be made for nobody. For the body that follows,
    /// [`BodySource::needs_reader`] says so.
    #[cfg(feature = "bodies")]
    pub fn needs_client(&mut self) {
        self.course.upload.needs_client = true;
    }

    /// Whether the connection can go on with another protocol when the request asks for one: not over HTTP/2.
    #[cfg(feature = "bodies")]
    #[must_use]
    pub fn can_switch_protocols(&self) -> bool {
        self.request.upgrade().is_some() && !self.course.upload.is_of_stream()
    }

    /// Whether the request is an extended CONNECT of HTTP/2 (RFC 8441): it reads as a `GET` with `Upgrade`, is answered with
    /// 200, and both bodies are the other protocol's: the request's, read unframed ([`RequestBody::unframed`]), and that of
    /// [`Exchange::stream`]. Clients ask so only where [`ringway_h2::limits::Limits::has_connect_protocol`] says that they may.
    #[cfg(all(feature = "guests", feature = "h2"))]
    #[must_use]
    pub fn is_extended_connect(&self) -> bool {
        self.request.upgrade().is_some() && self.course.upload.is_of_stream()
    }

    /// The same where there is no HTTP/2.
    #[cfg(all(feature = "guests", not(feature = "h2")))]
    #[must_use]
    #[expect(clippy::unused_self, reason = "where there are no streams it is a constant")]
    pub fn is_extended_connect(&self) -> bool {
        false
    }

    /// Answers 101 and goes on with another protocol: what `body` makes is sent as it is, up to its end, which is the
    /// connection's. What the client sends is in the body that was taken before, read unframed. `lines` are all field lines
    /// but the date, `Connection` and `Upgrade` among them, each with its CR LF; they are trusted.
    ///
    /// Where [`Exchange::can_switch_protocols`] says no the answer is an error page, 502.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    #[cfg(feature = "bodies")]
    pub fn switch_protocols(
        &mut self,
        lines: &[u8],
        body: impl BodySource + 'static,
    ) -> Result<Reply, EncodeError> {
        if !self.can_switch_protocols() {
            return self.error(Status::BAD_GATEWAY);
        }
        let status = Status::SWITCHING_PROTOCOLS;
        let mut head = HeadWriter::new(self.memory);
        head.status(status)?;
        head.raw(lines)?;
        let plan = Plan { status, head_len: head.finish()?, body: PlanBody::Raw, body_len: 0 };
        Ok(Reply { plan, source: Source::Stream(Box::new(body)) })
    }

    /// Answers 101 and gives the connection to `guest` for the rest of its life. `lines` are all field lines but the date,
    /// `Connection` and `Upgrade` among them, each with its CR LF; they are trusted. The request's body must not have been
    /// taken.
    ///
    /// Where [`Exchange::can_switch_protocols`] says no the answer is an error page, 426.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    #[cfg(feature = "guests")]
    pub fn take_over(
        &mut self,
        lines: &[u8],
        guest: Box<dyn crate::guest::Guest>,
    ) -> Result<Reply, EncodeError> {
        if !self.can_switch_protocols() {
            return self.error(Status::UPGRADE_REQUIRED);
        }
        let status = Status::SWITCHING_PROTOCOLS;
        let mut head = HeadWriter::new(self.memory);
        head.status(status)?;
        head.raw(lines)?;
        let plan = Plan { status, head_len: head.finish()?, body: PlanBody::Empty, body_len: 0 };
        Ok(Reply { plan, source: Source::Guest(guest) })
    }

    /// Answers with the error page of `status`.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    pub fn error(&mut self, status: Status) -> Result<Reply, EncodeError> {
        self.error_with(status, b"")
    }

    /// The same with more field lines, each with its CR LF; they are trusted.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the memory is too small.
    pub fn error_with(&mut self, status: Status, lines: &[u8]) -> Result<Reply, EncodeError> {
        let plan = answer::error_with(Some(self.request), status, lines, self.common, self.memory)?;
        Ok(plan.into())
    }
}

impl fmt::Debug for Exchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("request", &self.request.line().escape_ascii())
            .field("path", &self.path.escape_ascii())
            .field("site", &self.site)
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}

/// Whether plain bytes are a path as normalising gives them.
pub(crate) fn is_normal(path: &[u8]) -> bool {
    let Some(segments) = path.strip_prefix(b"/") else { return false };
    let last = segments.split(|byte| *byte == b'/').count() - 1;
    let is_good = |(place, segment): (usize, &[u8])| match segment {
        b"" => place == last,
        b"." | b".." => false,
        segment => segment.iter().all(|byte| !byte.is_ascii_control() && *byte != b'\\'),
    };
    segments.split(|byte| *byte == b'/').enumerate().all(is_good)
}

/// What a request asks next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Stages of the site.
    #[default]
    Stages,
    /// Stages of its route.
    RouteStages,
    /// Handlers of its route.
    RouteHandlers,
    /// Handlers of the site.
    Handlers,
}

/// Where a request stands on its way through its site; what is kept of it while it waits.
#[derive(Debug, Default)]
pub(crate) struct Course {
    /// Number of the site, once it is found.
    pub(crate) site: Option<usize>,
    pub(crate) route: Option<usize>,
    pub(crate) leg: Leg,
    /// Which of the leg is asked.
    pub(crate) at: u32,
    /// Which of the answer stages is next.
    pub(crate) answer_at: u32,
    pub(crate) rewrites: u8,
    pub(crate) is_rewritten: bool,
    /// How often it has waited for what another request loads.
    pub(crate) joins: u8,
    /// Path and query as rewritten, while the request waits.
    pub(crate) rewritten: Option<Box<Rewritten>>,
    pub(crate) user: Option<Rc<str>>,
    pub(crate) refused: Option<Box<Refused>>,
    /// Whom it came from, where a proxy is trusted to say so.
    #[cfg(feature = "proxy")]
    pub(crate) whence: Option<crate::trust::Whence>,
    /// Field lines for the answer.
    pub(crate) fields: Option<LocalVec<u8>>,
    /// How long they were before who is asked now was asked.
    pub(crate) fields_mark: u16,
    /// Its body, where handlers may have it.
    #[cfg(feature = "bodies")]
    pub(crate) upload: Upload,
}

/// What has refused a request.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Name of the rule.
    pub(crate) rule: Box<str>,
}

/// What a rewrite made.
#[derive(Debug)]
pub(crate) struct Rewritten {
    pub(crate) path: Box<[u8]>,
    pub(crate) query: Option<Box<[u8]>>,
}

impl Course {
    /// Somebody is asked who may have to be asked again.
    pub(crate) fn mark(&mut self) {
        let len = self.fields.as_ref().map_or(0, |fields| fields.len());
        // At most ADDED_FIELDS_BYTES_MAX, which fits.
        self.fields_mark = u16::try_from(len).unwrap_or(u16::MAX);
    }

    /// Takes back what was done since the mark: who is asked now will be asked again.
    pub(crate) fn back_to_mark(&mut self) {
        self.answer_at = 0;
        #[cfg(feature = "bodies")]
        self.upload.take_back();
        if let Some(fields) = &mut self.fields {
            fields.truncate(self.fields_mark.into());
        }
    }

    /// Goes on to `leg`.
    pub(crate) fn enter(&mut self, leg: Leg) {
        self.leg = leg;
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_paths_are_told_from_others() {
        for path in ["/", "/a", "/a/", "/a b/%41", "/.well-known/x"] {
            assert!(is_normal(path.as_bytes()), "{path}");
        }
        for path in ["", "a", "*", "//", "/a//b", "/..", "/a/./b", "/a/..", "/a\0", "/a\\b", "/a\n"] {
            assert!(!is_normal(path.as_bytes()), "{path}");
        }
    }
}

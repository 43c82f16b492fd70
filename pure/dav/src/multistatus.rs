//! Answers of several parts: `multistatus` (RFC 4918 section 13), and `error` with its conditions (section 16).

use crate::name::{DAV, Name};
use crate::text::{escape, is_name};
use ringway_http::status::Status;
use ringway_http::target;

/// The type of all XML bodies.
pub const CONTENT_TYPE: &str = "application/xml; charset=utf-8";

const BEGIN: &[u8] = b"<?xml version=\"1.0\" encoding=\"utf-8\"?>\n";

/// A condition that was not met (RFC 4918 section 16, RFC 4331 section 6), as the body of a refusal says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nobody follows a PROPFIND into everything.
    PropfindFiniteDepth,
    /// The property is the server's.
    CannotModifyProtectedProperty,
    /// A lock's token must be sent along.
    LockTokenSubmitted,
    /// Another lock is in the way.
    NoConflictingLock,
    /// The lock is none of this resource's.
    LockTokenMatchesRequestUri,
    /// The quota is used up.
    QuotaNotExceeded,
    /// The disk is full.
    SufficientDiskSpace,
}

impl Precondition {
    /// The element's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PropfindFiniteDepth => "propfind-finite-depth",
            Self::CannotModifyProtectedProperty => "cannot-modify-protected-property",
            Self::LockTokenSubmitted => "lock-token-submitted",
            Self::NoConflictingLock => "no-conflicting-lock",
            Self::LockTokenMatchesRequestUri => "lock-token-matches-request-uri",
            Self::QuotaNotExceeded => "quota-not-exceeded",
            Self::SufficientDiskSpace => "sufficient-disk-space",
        }
    }

    fn write(self, out: &mut Vec<u8>, href: Option<&[u8]>) {
        let name = self.as_str().as_bytes();
        match href {
            Some(href) => {
                out.extend_from_slice(b"<D:");
                out.extend_from_slice(name);
                out.push(b'>');
                write_href(out, href);
                out.extend_from_slice(b"</D:");
                out.extend_from_slice(name);
                out.push(b'>');
            }
            None => {
                out.extend_from_slice(b"<D:");
                out.extend_from_slice(name);
                out.extend_from_slice(b"/>");
            }
        }
    }
}

/// The body of a refusal: which condition was not met, and by what resource (its path, plain).
#[must_use]
pub fn error_body(condition: Precondition, path: Option<&[u8]>) -> Vec<u8> {
    let mut out = BEGIN.to_vec();
    out.extend_from_slice(b"<D:error xmlns:D=\"DAV:\">");
    condition.write(&mut out, path);
    out.extend_from_slice(b"</D:error>\n");
    out
}

/// The body of an answer that tells of one property: what LOCK answers.
#[must_use]
pub fn prop_body(element: &[u8]) -> Vec<u8> {
    let mut out = BEGIN.to_vec();
    out.extend_from_slice(b"<D:prop xmlns:D=\"DAV:\">");
    out.extend_from_slice(element);
    out.extend_from_slice(b"</D:prop>\n");
    out
}

/// A `multistatus` in the making.
#[derive(Debug)]
pub struct Multistatus {
    out: Vec<u8>,
}

impl Default for Multistatus {
    fn default() -> Self {
        Self::new()
    }
}

impl Multistatus {
    /// Begins it.
    #[must_use]
    pub fn new() -> Self {
        let mut out = BEGIN.to_vec();
        out.extend_from_slice(b"<D:multistatus xmlns:D=\"DAV:\">\n");
        Self { out }
    }

    /// Tells of a resource as a whole. `path` is plain, with slashes.
    pub fn status(&mut self, path: &[u8], status: Status, condition: Option<Precondition>) {
        self.out.extend_from_slice(b"<D:response>");
        write_href(&mut self.out, path);
        write_status(&mut self.out, status);
        if let Some(condition) = condition {
            self.write_error(condition);
        }
        self.out.extend_from_slice(b"</D:response>\n");
    }

    /// Begins to tell of a resource's properties. `path` is plain, with slashes.
    pub fn begin(&mut self, path: &[u8]) {
        self.out.extend_from_slice(b"<D:response>");
        write_href(&mut self.out, path);
    }

    /// Tells of properties that have one status: `write` appends their elements. Nothing is told when it appends none.
    pub fn propstat(
        &mut self,
        status: Status,
        condition: Option<Precondition>,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let before = self.out.len();
        self.out.extend_from_slice(b"<D:propstat><D:prop>");
        let start = self.out.len();
        write(&mut self.out);
        if self.out.len() == start {
            self.out.truncate(before);
            return;
        }
        self.out.extend_from_slice(b"</D:prop>");
        write_status(&mut self.out, status);
        if let Some(condition) = condition {
            self.write_error(condition);
        }
        self.out.extend_from_slice(b"</D:propstat>");
    }

    /// Has told all of a resource's properties.
    pub fn end(&mut self) {
        if self.out.ends_with(b"</D:href>") {
            // A response says something: that nothing was asked for is no failure.
            self.out.extend_from_slice(b"<D:propstat><D:prop/>");
            write_status(&mut self.out, Status::OK);
            self.out.extend_from_slice(b"</D:propstat>");
        }
        self.out.extend_from_slice(b"</D:response>\n");
    }

    /// How long it is so far, in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Never: it has begun.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    /// All of it.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"</D:multistatus>\n");
        self.out
    }

    fn write_error(&mut self, condition: Precondition) {
        self.out.extend_from_slice(b"<D:error>");
        condition.write(&mut self.out, None);
        self.out.extend_from_slice(b"</D:error>");
    }
}

/// Appends an empty element of that name. A name that cannot be written is left out; none is read that could not be.
pub fn write_empty(out: &mut Vec<u8>, name: &Name) {
    if !is_name(&name.local) {
        return;
    }
    if &*name.namespace == DAV {
        out.extend_from_slice(b"<D:");
        out.extend_from_slice(name.local.as_bytes());
    } else {
        out.push(b'<');
        out.extend_from_slice(name.local.as_bytes());
        out.extend_from_slice(b" xmlns=\"");
        escape(out, &name.namespace);
        out.push(b'"');
    }
    out.extend_from_slice(b"/>");
}

/// Appends one of WebDAV's properties with a text.
pub fn write_text(out: &mut Vec<u8>, local: &str, text: &str) {
    out.extend_from_slice(b"<D:");
    out.extend_from_slice(local.as_bytes());
    out.push(b'>');
    escape(out, text);
    out.extend_from_slice(b"</D:");
    out.extend_from_slice(local.as_bytes());
    out.push(b'>');
}

/// Appends `href` of a plain path.
pub fn write_href(out: &mut Vec<u8>, path: &[u8]) {
    out.extend_from_slice(b"<D:href>");
    let mut memory = vec![0; path.len() * 3];
    // Three times the path is always enough.
    let encoded = target::encode(path, &mut memory).unwrap_or_default();
    // What is left of markup in an encoded path: the ampersand.
    escape(out, str::from_utf8(encoded).unwrap_or_default());
    out.extend_from_slice(b"</D:href>");
}

fn write_status(out: &mut Vec<u8>, status: Status) {
    out.extend_from_slice(b"<D:status>HTTP/1.1 ");
    out.extend_from_slice(&status.digits());
    out.push(b' ');
    out.extend_from_slice(status.reason().as_bytes());
    out.extend_from_slice(b"</D:status>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_multistatus_tells_of_each_resource() {
        let mut all = Multistatus::new();
        all.begin(b"/a b/&<\xff");
        all.propstat(Status::OK, None, |out| write_text(out, "getetag", "\"x\""));
        all.propstat(Status::NOT_FOUND, None, |out| {
            write_empty(out, &Name::new("urn:\"x", "y"));
            write_empty(out, &Name::dav("z"));
            write_empty(out, &Name::new("", "no name"));
        });
        all.propstat(Status::FORBIDDEN, Some(Precondition::CannotModifyProtectedProperty), |_out| {});
        all.end();
        all.begin(b"/");
        all.end();
        all.status(b"/c", Status::LOCKED, Some(Precondition::LockTokenSubmitted));
        let wanted = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n\
            <D:response><D:href>/a%20b/&amp;%3C%FF</D:href>\
            <D:propstat><D:prop><D:getetag>&quot;x&quot;</D:getetag></D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>\
            <D:propstat><D:prop><y xmlns=\"urn:&quot;x\"/><D:z/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>\
            </D:response>\n\
            <D:response><D:href>/</D:href><D:propstat><D:prop/><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>\n\
            <D:response><D:href>/c</D:href><D:status>HTTP/1.1 423 Locked</D:status>\
            <D:error><D:lock-token-submitted/></D:error></D:response>\n</D:multistatus>\n";
        assert_eq!(text(all.finish()), wanted);
    }

    #[test]
    fn an_error_names_its_condition() {
        let body = text(error_body(Precondition::NoConflictingLock, Some(b"/x y")));
        assert!(body.ends_with(
            "<D:error xmlns:D=\"DAV:\"><D:no-conflicting-lock><D:href>/x%20y</D:href></D:no-conflicting-lock></D:error>\n"
        ));
        assert!(text(error_body(Precondition::QuotaNotExceeded, None)).contains("<D:quota-not-exceeded/>"));
        assert!(text(prop_body(b"<D:x/>")).ends_with("<D:prop xmlns:D=\"DAV:\"><D:x/></D:prop>\n"));
    }
}

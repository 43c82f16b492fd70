//! Error pages: what a person reads when a request is not answered as hoped.
//!
//! Every page is a constant of the program: it needs no allocation when things go wrong, names nothing of the inside, and
//! loads nothing else.

use crate::mime::{self, MediaTypes};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

/// An answer's body and its type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ErrorPage {
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: &'static [u8],
}

/// Value of `Content-Security-Policy` under which the pages (and listings) look as meant: nothing but their own style.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// Largest page a site may have of its own, in bytes.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;

/// A site's own error pages; where it has none the program's is sent.
#[derive(Clone, Debug, Default)]
pub struct ErrorPages {
    pages: BTreeMap<u16, SitePage>,
}

/// A page of a site's own.
#[derive(Clone, Debug)]
pub struct SitePage {
    /// Value of `Content-Type`.
    pub content_type: Box<str>,
    /// The whole body.
    pub body: Arc<[u8]>,
}

/// Why a page cannot be a site's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PageError {
    /// It is for a status that is no error.
    Status(u16),
    /// It has more than [`PAGE_BYTES_MAX`] bytes.
    Length,
    /// Its type cannot be sent.
    Type(String),
    /// Its file cannot be read: name, and why.
    File(String, io::ErrorKind),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "{status} is no status of an error; there are 400 to 599"),
            Self::Length => write!(f, "an error page has at most {PAGE_BYTES_MAX} bytes"),
            Self::Type(text) => write!(f, "{text:?} is no media type; write it as in \"text/html\""),
            Self::File(name, kind) => write!(f, "the error page {name} cannot be read: {kind}"),
        }
    }
}

impl std::error::Error for PageError {}

impl ErrorPages {
    /// Has `body` sent for `status` to whoever asks, in place of a page set before. Bodies may be shared between pages.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn set(&mut self, status: u16, content_type: &str, body: Arc<[u8]>) -> Result<(), PageError> {
        if !(400..600).contains(&status) {
            return Err(PageError::Status(status));
        }
        if body.len() > PAGE_BYTES_MAX {
            return Err(PageError::Length);
        }
        if !mime::is_sendable(content_type) {
            return Err(PageError::Type(content_type.to_owned()));
        }
        self.pages.insert(status, SitePage { content_type: content_type.into(), body });
        Ok(())
    }

    /// Reads pages from files: `{status}` in the name `file` stands for each of `statuses`, and those without a file have no
    /// page. A name without it is that of one file, which must be there, for all of them. Waits for the disk.
    ///
    /// # Errors
    /// [`PageError`]; pages before the wrong one are set.
    pub fn load(
        &mut self,
        file: &str,
        statuses: impl IntoIterator<Item = u16>,
        types: &MediaTypes,
    ) -> Result<(), PageError> {
        let mut shared = None;
        for status in statuses {
            let name = file.replace("{status}", &status.to_string());
            let body = match (name == file, &shared) {
                (true, Some(body)) => Arc::clone(body),
                _ => match read(&name) {
                    Err(PageError::File(_, io::ErrorKind::NotFound)) if name != file => continue,
                    read => read?,
                },
            };
            shared = Some(Arc::clone(&body));
            self.set(status, &types.of_name(name.as_bytes()).to_string(), body)?;
        }
        Ok(())
    }

    /// The page for `status`, if the site has one.
    #[must_use]
    pub fn get(&self, status: u16) -> Option<&SitePage> {
        self.pages.get(&status)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }
}

/// Reads a page of at most [`PAGE_BYTES_MAX`] bytes.
fn read(name: &str) -> Result<Arc<[u8]>, PageError> {
    let unreadable = |error: io::Error| PageError::File(name.to_owned(), error.kind());
    let mut body = Vec::new();
    let file = File::open(name).map_err(unreadable)?;
    file.take(PAGE_BYTES_MAX as u64 + 1).read_to_end(&mut body).map_err(unreadable)?;
    if body.len() > PAGE_BYTES_MAX { Err(PageError::Length) } else { Ok(body.into()) }
}

/// The statuses that the program has words for: those that a page named `{status}` is looked for.
pub fn statuses() -> impl Iterator<Item = u16> {
    PAGES.iter().map(|page| page.status)
}

const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// The page for `status`, as HTML for who asked for HTML, else as one line of text. A status without a page of its own
/// has the one of its class (400 or 500).
#[must_use]
pub fn error_page(status: u16, as_html: bool) -> ErrorPage {
    let page = find(status).or_else(|| find(if status < 500 { 400 } else { 500 })).unwrap_or(&PAGES[0]);
    match as_html {
        true => ErrorPage { content_type: HTML, body: page.html.as_bytes() },
        false => ErrorPage { content_type: TEXT, body: page.text.as_bytes() },
    }
}

struct Page {
    status: u16,
    html: &'static str,
    text: &'static str,
}

fn find(status: u16) -> Option<&'static Page> {
    PAGES.binary_search_by_key(&status, |page| page.status).ok().map(|at| &PAGES[at])
}

/// Lays the pages out when the program is compiled: status, title, a sentence for people.
macro_rules! pages {
    ($($status:literal $title:literal $sentence:literal)*) => {
        [$(Page {
            status: $status,
            html: concat!(
                "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
                "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n",
                "<meta name=\"robots\" content=\"noindex\">\n<title>", $title, "</title>\n<style>",
                ":root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6875;--page:#f7f8fa;--line:#0b7285}",
                "@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#98a5b3;--page:#12171d;--line:#3bc9db}}",
                "body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--page);",
                "color:var(--ink);font:1.05rem/1.6 system-ui,sans-serif}",
                "main{max-width:32rem;padding:2rem;border-left:.3rem solid var(--line)}",
                "p{margin:0;color:var(--soft)}h1{margin:.2rem 0 .6rem;font-size:1.7rem;line-height:1.25}",
                "</style>\n</head>\n<body>\n<main>\n<p>", $status, "</p>\n<h1>", $title, "</h1>\n<p>", $sentence,
                "</p>\n</main>\n</body>\n</html>\n"
            ),
            text: concat!($status, " ", $title, ": ", $sentence, "\n"),
        }),*]
    };
}

static PAGES: [Page; 27] = pages! {
    400 "Bad request" "The server could not understand what was asked for."
    401 "Sign-in needed" "This page is only for people who have signed in."
    403 "Not allowed" "You may not see this page."
    404 "Not found" "There is nothing at this address. It may have moved, or the address may be mistyped."
    405 "Method not allowed" "This address does not take requests of this kind."
    406 "Not acceptable" "There is no version of this page that your program accepts."
    408 "Request timed out" "The request took too long to arrive. Please try again."
    409 "Conflict" "The request does not fit what is here now."
    410 "Gone" "What was here has been removed for good."
    411 "Length required" "The request has to say how long it is."
    412 "Precondition failed" "What is here has changed since you last saw it."
    413 "Too large" "What was sent is larger than this server takes."
    414 "Address too long" "The address is longer than this server takes."
    415 "Unsupported type" "This address does not take data of this type."
    416 "Range not satisfiable" "The file does not have the part that was asked for."
    417 "Expectation failed" "The server cannot do what the request expects of it."
    421 "Misdirected request" "This server does not answer for the site that was asked for."
    422 "Unprocessable content" "The server understood the request and cannot act on it."
    426 "Upgrade required" "This address speaks another protocol."
    429 "Too many requests" "You have asked too often in a short time. Please wait a moment."
    431 "Request head too large" "The request carries more header data than this server takes."
    500 "Something went wrong" "The server met a problem of its own. Please try again later."
    501 "Not implemented" "The server cannot do what the request asks for."
    502 "Bad gateway" "The service behind this server gave no valid answer."
    503 "Busy" "The server cannot answer right now. Please try again in a moment."
    504 "Gateway timed out" "The service behind this server took too long to answer."
    505 "Version not supported" "This server does not speak this version of the protocol."
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;

    #[test]
    fn every_page_is_found_and_says_its_status() {
        assert!(PAGES.is_sorted_by(|a, b| a.status < b.status));
        for page in &PAGES {
            let number = page.status.to_string();
            let html = str::from_utf8(error_page(page.status, true).body).unwrap();
            assert!(html.contains(&format!("<p>{number}</p>")) && html.ends_with("</html>\n"));
            let text = str::from_utf8(error_page(page.status, false).body).unwrap();
            assert!(text.starts_with(&number) && text.lines().count() == 1);
        }
    }

    #[test]
    fn pages_load_nothing_and_run_nothing() {
        for page in &PAGES {
            for never in ["http:", "https:", "<script", "src=", "url(", "@import"] {
                assert!(!page.html.contains(never), "{} has {never}", page.status);
            }
        }
    }

    #[test]
    fn a_site_has_pages_of_its_own_for_errors_only() {
        let mut pages = ErrorPages::default();
        assert!(pages.is_empty());
        pages.set(404, "text/html; charset=utf-8", b"gone"[..].into()).unwrap();
        pages.set(404, "text/plain", b"away"[..].into()).unwrap();
        let page = pages.get(404).unwrap();
        assert_eq!((&*page.content_type, &*page.body), ("text/plain", &b"away"[..]));
        assert!(pages.get(403).is_none());
        for status in [0, 200, 304, 399, 600] {
            assert_eq!(pages.set(status, "text/plain", b""[..].into()), Err(PageError::Status(status)));
        }
        let long: Arc<[u8]> = vec![0; PAGE_BYTES_MAX + 1].into();
        assert_eq!(pages.set(500, "text/plain", long), Err(PageError::Length));
        let split = "text/plain\r\nX: y";
        assert_eq!(pages.set(500, split, b""[..].into()), Err(PageError::Type(split.to_owned())));
    }

    #[test]
    fn pages_are_read_from_files() {
        let dir = TestDir::new();
        let types = MediaTypes::default();
        dir.write("404.html", "nothing here");
        dir.write("500.html", "broken");
        dir.write("all.txt", "wrong");
        dir.write("long.txt", vec![b'x'; PAGE_BYTES_MAX + 1]);
        let name = |name: &str| dir.path().join(name).display().to_string();
        let mut pages = ErrorPages::default();
        pages.load(&name("all.txt"), [403, 404], &types).unwrap();
        assert!(Arc::ptr_eq(&pages.get(403).unwrap().body, &pages.get(404).unwrap().body));
        assert_eq!(&*pages.get(403).unwrap().content_type, "text/plain; charset=utf-8");
        pages.load(&name("{status}.html"), statuses(), &types).unwrap();
        assert_eq!(&*pages.get(404).unwrap().body, b"nothing here");
        assert_eq!(&*pages.get(500).unwrap().content_type, "text/html; charset=utf-8");
        assert_eq!(&*pages.get(403).unwrap().body, b"wrong");
        assert!(pages.get(502).is_none());
        let missing = pages.load(&name("none.html"), [404], &types).unwrap_err();
        assert_eq!(missing, PageError::File(name("none.html"), io::ErrorKind::NotFound));
        assert_eq!(pages.load(&name("long.txt"), [404], &types), Err(PageError::Length));
        assert_eq!(pages.load(&name("all.txt"), [200], &types), Err(PageError::Status(200)));
    }

    #[test]
    fn an_unknown_status_has_the_page_of_its_class() {
        assert_eq!(error_page(418, true), error_page(400, true));
        assert_eq!(error_page(599, false), error_page(500, false));
        assert_eq!(error_page(0, false), error_page(400, false));
        assert_eq!(error_page(404, true).content_type, "text/html; charset=utf-8");
        assert_eq!(error_page(404, false).content_type, "text/plain; charset=utf-8");
    }
}

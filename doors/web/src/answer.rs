//! Answers: from a request and what its address stands for to a status, a head and a plan for the body.
//!
//! Every function writes one whole head into the caller's memory and says what body follows it; nothing is sent here. For a
//! file in full, a single range, and "not modified" nothing is allocated.
//!
//! A site asks in this order: [`refuse_method`], then the open-file cache, then [`file()`] (after [`choose_coding`] and
//! the sibling it names), [`redirect`], [`listing`] or [`error`].

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;

use ringway_engine::heap::{Local, LocalBox, LocalVec};
use ringway_http::conditional::{Outcome, Validators, evaluate, range_applies};
use ringway_http::date;
use ringway_http::head::{Known, Request};
use ringway_http::method::Method;
use ringway_http::negotiate::{Accepted, Coding};
use ringway_http::range::{
    Boundary, ByteRange, CONTENT_RANGE_BYTES_MAX, Multipart, RangeSet, Selection, content_range, select,
};
use ringway_http::response::{EncodeError, HeadWriter};
use ringway_http::status::Status;

use crate::accept;
use crate::codings::{CodingSet, SIBLINGS};
use crate::entry::FileEntry;
use crate::error_page::{CONTENT_SECURITY_POLICY, ErrorPages, error_page};
use crate::listing::Listing;
use crate::path::write_directory_location;

/// The methods files answer to.
const ALLOW: &[u8] = b"Allow: GET, HEAD, OPTIONS\r\n";

/// Bytes of the longest head of a part: boundary, a type of the longest length, a content range.
const PART_HEAD_BYTES_MAX: usize = 512;

/// What all answers of a moment share.
#[derive(Clone, Copy, Debug)]
pub struct Common<'a> {
    /// Field lines that go into every head after the status line, each with its CR LF: `Date`, `Server`, `Connection`. They
    /// are trusted.
    pub fields: &'a [u8],
    /// The same where the connection is to be closed behind the answer.
    pub closing: &'a [u8],
    /// The wall clock's second since 1970.
    pub now_s: u64,
    /// The site's own error pages, if it has any.
    pub pages: Option<&'a ErrorPages>,
}

/// What follows the head.
#[derive(Debug)]
pub enum PlanBody {
    /// Nothing.
    Empty,
    /// This range of what is in memory: of the file entry's [`FileEntry::memory`], or of the listing's body.
    Memory(Range<usize>),
    /// Bytes of the file entry's descriptor.
    File {
        /// First byte.
        offset: u64,
        /// How many, at least 1.
        len: u64,
    },
    /// Text of the program.
    Static(&'static [u8]),
    /// All of what several answers share.
    Shared(Arc<[u8]>),
    /// What a [`crate::body_source::BodySource`] makes; its length is not known.
    Stream,
    /// What a [`crate::body_source::BodySource`] makes, as many bytes as the plan says.
    Sized,
    /// What a [`crate::body_source::BodySource`] makes, up to the end of the connection: another protocol's.
    Raw,
    /// Several ranges of the file entry's content, each after a head of its own.
    Parts(LocalBox<Parts>),
}

/// The parts of a `multipart/byteranges` body: each head, then its range; [`Parts::end`] after the last.
pub struct Parts {
    heads: LocalVec<u8>,
    ends: LocalVec<usize>,
    ranges: RangeSet,
    end: [u8; 40],
}

impl Parts {
    /// The parts in order: the bytes before a range, and the range of the content.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], ByteRange)> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let heads = starts.zip(&self.ends).map(|(start, &end)| &self.heads[start..end]);
        heads.zip(self.ranges.as_slice().iter().copied())
    }

    /// What comes after the last part.
    #[must_use]
    pub fn end(&self) -> &[u8] {
        &self.end
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges.as_slice()).finish()
    }
}

/// An answer: its head is written, its body is planned.
#[derive(Debug)]
pub struct Plan {
    /// The status, for the log.
    pub status: Status,
    /// How many bytes of the memory the head takes.
    pub head_len: usize,
    /// What follows.
    pub body: PlanBody,
    /// How long the body is in bytes; 0 when none is sent.
    pub body_len: u64,
}

/// Answers `OPTIONS` (204) and every method that files have no answer to (405). `None` for GET and HEAD: go on.
///
/// # Errors
/// [`EncodeError::Full`] when `memory` is too small.
pub fn refuse_method(
    request: &Request<'_>,
    common: Common<'_>,
    memory: &mut [u8],
) -> Option<Result<Plan, EncodeError>> {
    match request.method() {
        Method::Get | Method::Head => None,
        Method::Options => Some(options(common, memory)),
        _ => Some(error_with(Some(request), Status::METHOD_NOT_ALLOWED, ALLOW, common, memory)),
    }
}

/// Answers `OPTIONS` with the methods that files answer to (204).
///
/// # Errors
/// [`EncodeError::Full`] when `memory` is too small.
pub fn options(common: Common<'_>, memory: &mut [u8]) -> Result<Plan, EncodeError> {
    head_only(Status::NO_CONTENT, &[ALLOW], common, memory)
}

/// Which sibling of `file` the client likes best; [`Coding::Identity`] for the file itself.
#[must_use]
pub fn choose_coding<F>(request: &Request<'_>, file: &FileEntry<F>) -> Coding {
    choose(request, file.siblings(), &SIBLINGS)
}

/// In which coding `file` is compressed for the client, which likes none of its siblings; [`Coding::Identity`] for the file
/// itself. Who asks for a range gets that, so that all ranges are of one representation. Of codings that the client likes
/// alike it is the first of `order`.
#[cfg(feature = "compress")]
#[must_use]
pub fn choose_made<F>(request: &Request<'_>, file: &FileEntry<F>, order: &[Coding]) -> Coding {
    // A file that was written just now may change once more; its tag says so, and compressing it can wait.
    if file.makeable().is_empty() || file.is_weak() || request.has(Known::Range) {
        return Coding::Identity;
    }
    choose(request, file.makeable(), order)
}

fn choose(request: &Request<'_>, offered: CodingSet, order: &[Coding]) -> Coding {
    if offered.is_empty() || !request.has(Known::AcceptEncoding) {
        return Coding::Identity;
    }
    let mut at_hand = [Coding::Identity; SIBLINGS.len()];
    let mut count = 0;
    for (place, &coding) in at_hand.iter_mut().zip(order.iter().filter(|&&coding| offered.has(coding))) {
        *place = coding;
        count += 1;
    }
    Accepted::parse(request.accept_encoding()).choose(&at_hand[..count])
}

/// Answers GET or HEAD with `file`: in full (200), in part (206), or not at all (304, 412, 416), as conditions and ranges
/// have it.
///
/// # Errors
/// [`EncodeError::Full`] when `memory` is too small; 1 KiB and what `common` takes is enough.
pub fn file<F>(
    request: &Request<'_>,
    file: &FileEntry<F>,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let current =
        Validators { tag: Some(file.tag()), modified_s: u64::try_from(file.modified().seconds).ok() };
    match evaluate(request, Some(&current)) {
        Outcome::Proceed => {}
        Outcome::NotModified => {
            return file_head(Status::NOT_MODIFIED, file.fields_from_validators(), file, common, memory);
        }
        Outcome::PreconditionFailed => {
            return error_with(Some(request), Status::PRECONDITION_FAILED, b"", common, memory);
        }
    }
    if request.method() == Method::Head {
        return file_head(Status::OK, file.fields(), file, common, memory);
    }
    let Some(wanted) = request.range().filter(|_| range_applies(request, &current, common.now_s)) else {
        return whole(file, common, memory);
    };
    match select(wanted, file.content_len()) {
        Selection::Whole => whole(file, common, memory),
        Selection::Single(range) => single(file, range, common, memory),
        // Parts of a coded representation are more than clients expect; a server may send the whole instead.
        Selection::Several(_) if file.coding() != Coding::Identity => whole(file, common, memory),
        Selection::Several(ranges) => several(file, ranges, common, memory),
        Selection::Unsatisfiable => unsatisfiable(request, file, common, memory),
    }
}

/// Sends the client from a directory's name without slash to the one with (301), keeping the query. `path` is the
/// normal path of the request.
///
/// # Errors
/// [`EncodeError::Full`] when `memory` is too small: the location has up to three times the bytes of path and query.
pub fn redirect(
    request: &Request<'_>,
    path: &[u8],
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let mut location = b"Location: ".to_vec();
    write_directory_location(&mut location, path, request.query());
    location.extend_from_slice(b"\r\nContent-Length: 0\r\n");
    head_only(Status::MOVED_PERMANENTLY, &[&location], common, memory)
}

/// Answers with a listing (200); the body is [`Listing::body`].
///
/// # Errors
/// [`EncodeError::Full`] when `memory` is too small.
pub fn listing(
    request: &Request<'_>,
    listing: &Listing,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let len = listing.body.len();
    let mut head = start(Status::OK, common, memory)?;
    head.content_length(len as u64)?;
    head.field(b"Content-Type", listing.content_type.as_bytes())?;
    head.field(b"Content-Security-Policy", CONTENT_SECURITY_POLICY.as_bytes())?;
    head.raw(b"Cache-Control: no-cache\r\nVary: Accept\r\n")?;
    let head_len = head.finish()?;
    Ok(with_body(Status::OK, head_len, request.method(), PlanBody::Memory(0..len), len as u64))
}

/// Answers with the error page of `status`. `request` is `None` when none could be read.
///
/// # Errors
/// [`EncodeError::Full`] when `memory` is too small.
pub fn error(
    request: Option<&Request<'_>>,
    status: Status,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    error_with(request, status, b"", common, memory)
}

/// An error page, with more field lines in its head.
pub(crate) fn error_with(
    request: Option<&Request<'_>>,
    status: Status,
    fields: &[u8],
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let own = common.pages.and_then(|pages| pages.get(status.code()));
    let as_html =
        own.is_none() && request.is_some_and(|request| accept::names(request.accept(), "text/html"));
    let page = error_page(status.code(), as_html);
    let (content_type, body, len) = match own {
        Some(page) => (&*page.content_type, PlanBody::Shared(Arc::clone(&page.body)), page.body.len()),
        None => (page.content_type, PlanBody::Static(page.body), page.body.len()),
    };
    let mut head = start(status, common, memory)?;
    head.raw(fields)?;
    head.content_length(len as u64)?;
    head.field(b"Content-Type", content_type.as_bytes())?;
    if as_html {
        head.field(b"Content-Security-Policy", CONTENT_SECURITY_POLICY.as_bytes())?;
    }
    head.raw(b"Cache-Control: no-store\r\n")?;
    let head_len = head.finish()?;
    let method = request.map_or(Method::Get, Request::method);
    Ok(with_body(status, head_len, method, body, len as u64))
}

fn whole<F>(file: &FileEntry<F>, common: Common<'_>, memory: &mut [u8]) -> Result<Plan, EncodeError> {
    let mut plan = file_head(Status::OK, file.fields(), file, common, memory)?;
    plan.body_len = file.content_len();
    plan.body = content(file, 0, file.content_len());
    Ok(plan)
}

fn single<F>(
    file: &FileEntry<F>,
    range: ByteRange,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let mut head = start(Status::PARTIAL_CONTENT, common, memory)?;
    head.content_length(range.len())?;
    write_content_range(&mut head, Some(range), file.content_len())?;
    head.raw(file.fields_from_type())?;
    write_expires(&mut head, file, common)?;
    let head_len = head.finish()?;
    let body = content(file, range.start, range.len());
    Ok(Plan { status: Status::PARTIAL_CONTENT, head_len, body, body_len: range.len() })
}

fn several<F>(
    file: &FileEntry<F>,
    ranges: RangeSet,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let boundary = Boundary::new(random());
    let multipart = Multipart { boundary, content_type: file.content_type(), len: file.content_len() };
    let body_len = multipart.body_len(ranges.as_slice());
    let mut head = start(Status::PARTIAL_CONTENT, common, memory)?;
    head.content_length(body_len)?;
    head.field(b"Content-Type", &boundary.content_type())?;
    head.raw(file.fields_from_validators())?;
    write_expires(&mut head, file, common)?;
    let head_len = head.finish()?;
    let mut parts = Parts {
        heads: LocalVec::new_in(Local::new()),
        ends: LocalVec::new_in(Local::new()),
        ranges,
        end: multipart.end(),
    };
    for &range in ranges.as_slice() {
        let mut part_head = [0; PART_HEAD_BYTES_MAX];
        let len = multipart.part_head(range, &mut part_head)?;
        parts.heads.extend_from_slice(&part_head[..len]);
        parts.ends.push(parts.heads.len());
    }
    let body = PlanBody::Parts(LocalBox::new_in(parts, Local::new()));
    Ok(Plan { status: Status::PARTIAL_CONTENT, head_len, body, body_len })
}

fn unsatisfiable<F>(
    request: &Request<'_>,
    file: &FileEntry<F>,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let mut line = [0; CONTENT_RANGE_BYTES_MAX + 32];
    let mut writer = HeadWriter::new(&mut line);
    write_content_range(&mut writer, None, file.content_len())?;
    let len = writer.len();
    error_with(Some(request), Status::RANGE_NOT_SATISFIABLE, &line[..len], common, memory)
}

fn write_content_range(
    head: &mut HeadWriter<'_>,
    range: Option<ByteRange>,
    len: u64,
) -> Result<(), EncodeError> {
    head.field(b"Content-Range", content_range(range, len, &mut [0; CONTENT_RANGE_BYTES_MAX]))
}

/// A head of a file's prepared lines, and no body.
#[inline]
fn file_head<F>(
    status: Status,
    lines: &[u8],
    file: &FileEntry<F>,
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let mut head = start(status, common, memory)?;
    head.raw(lines)?;
    write_expires(&mut head, file, common)?;
    Ok(Plan { status, head_len: head.finish()?, body: PlanBody::Empty, body_len: 0 })
}

#[inline]
fn write_expires<F>(
    head: &mut HeadWriter<'_>,
    file: &FileEntry<F>,
    common: Common<'_>,
) -> Result<(), EncodeError> {
    match file.expires_s() {
        0 => Ok(()),
        seconds => head.field(b"Expires", &date::format(common.now_s + u64::from(seconds))),
    }
}

/// A head of prepared lines, and no body.
#[inline]
pub(crate) fn head_only(
    status: Status,
    lines: &[&[u8]],
    common: Common<'_>,
    memory: &mut [u8],
) -> Result<Plan, EncodeError> {
    let mut head = start(status, common, memory)?;
    for line in lines {
        head.raw(line)?;
    }
    Ok(Plan { status, head_len: head.finish()?, body: PlanBody::Empty, body_len: 0 })
}

/// A head of its status line and what every answer carries.
#[inline]
pub(crate) fn start<'m>(
    status: Status,
    common: Common<'_>,
    memory: &'m mut [u8],
) -> Result<HeadWriter<'m>, EncodeError> {
    let mut head = HeadWriter::new(memory);
    head.status(status)?;
    head.raw(common.fields)?;
    Ok(head)
}

/// The plan with its body, unless the method was HEAD.
pub(crate) fn with_body(
    status: Status,
    head_len: usize,
    method: Method<'_>,
    body: PlanBody,
    body_len: u64,
) -> Plan {
    match method {
        Method::Head => Plan { status, head_len, body: PlanBody::Empty, body_len: 0 },
        _ => Plan { status, head_len, body, body_len },
    }
}

/// Bytes of a file's content, where they are.
fn content<F>(file: &FileEntry<F>, start: u64, len: u64) -> PlanBody {
    if len == 0 {
        return PlanBody::Empty;
    }
    match file.memory() {
        // What is in memory has a length that fits.
        Some(bytes) => {
            let place = |at: u64| usize::try_from(at).map_or(bytes.len(), |at| at.min(bytes.len()));
            PlanBody::Memory(place(start)..place(start + len))
        }
        None => PlanBody::File { offset: start, len },
    }
}

/// Bits nobody can foresee: hashes of nothing under keys the standard library draws from the operating system.
fn random() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use ringway_http::head::Limits;

    use super::*;
    use crate::entry::Entry;
    use crate::load::{LoadOptions, SiblingOf, load, load_sibling};
    use crate::root::{Root, RootOptions, Timestamp, Way};
    use crate::test_dir::TestDir;

    const TEXT: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    const NOW_S: u64 = 2_000_000_000;
    const MTIME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn entry_of(content: &[u8], in_memory: bool) -> FileEntry<OwnedFd> {
        let dir = TestDir::new();
        dir.write("a.txt", content);
        dir.set_mtime("a.txt", 784_111_777);
        entry(&dir, "/a.txt", if in_memory { 1 << 20 } else { 0 })
    }

    fn entry(dir: &TestDir, path: &str, body_len_max: u32) -> FileEntry<OwnedFd> {
        let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
        let options = LoadOptions { body_len_max, ..LoadOptions::default() };
        let now = Timestamp { seconds: NOW_S.cast_signed(), nanoseconds: 0 };
        match load(root.dir(), path.as_bytes(), &options, now, Way::Blocking).unwrap().entry {
            Entry::File(file) => file,
            other => panic!("{other:?}"),
        }
    }

    fn common() -> Common<'static> {
        Common { fields: b"Date: now\r\n", closing: b"Connection: close\r\n", now_s: NOW_S, pages: None }
    }

    /// Runs `answer` on a request with these lines; gives its plan and head.
    fn ask<T>(lines: &str, answer: impl FnOnce(&Request<'_>, &mut [u8]) -> T) -> (T, String)
    where
        T: HeadLen,
    {
        let text = format!("{lines}\r\nHost: x\r\n\r\n");
        let request = Request::parse(text.as_bytes(), &Limits::default()).unwrap();
        let mut memory = [0; 4096];
        let answered = answer(&request, &mut memory);
        let head = String::from_utf8(memory[..answered.head_len()].to_vec()).unwrap();
        (answered, head)
    }

    trait HeadLen {
        fn head_len(&self) -> usize;
    }

    impl HeadLen for Plan {
        fn head_len(&self) -> usize {
            assert!(self.body_len > 0 || matches!(self.body, PlanBody::Empty));
            self.head_len
        }
    }

    fn get(fields: &str, file_entry: &FileEntry<OwnedFd>) -> (Plan, String) {
        let (plan, head) = ask(&format!("GET /a.txt HTTP/1.1{fields}"), |request, memory| {
            file(request, file_entry, common(), memory).unwrap()
        });
        assert!(head.ends_with("\r\n\r\n") && head.matches("\r\n\r\n").count() == 1, "{head}");
        assert!(head.contains("\r\nDate: now\r\n"), "{head}");
        (plan, head)
    }

    #[test]
    fn a_get_has_everything() {
        for in_memory in [true, false] {
            let entry = entry_of(TEXT, in_memory);
            let (plan, head) = get("", &entry);
            assert_eq!(plan.status, Status::OK);
            assert_eq!(
                head,
                format!(
                    "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 36\r\n\
                     Content-Type: text/plain; charset=utf-8\r\nLast-Modified: {MTIME}\r\nETag: {}\r\n\
                     Accept-Ranges: bytes\r\n\r\n",
                    str::from_utf8(entry.etag()).unwrap()
                )
            );
            assert_eq!(plan.body_len, 36);
            match plan.body {
                PlanBody::Memory(range) => assert!(in_memory && range == (0..36)),
                PlanBody::File { offset, len } => assert!(!in_memory && (offset, len) == (0, 36)),
                other => panic!("{other:?}"),
            }
        }
        let (plan, head) = get("", &entry_of(b"", true));
        assert!(head.contains("Content-Length: 0\r\n") && matches!(plan.body, PlanBody::Empty));
    }

    #[test]
    fn a_head_is_a_get_without_the_body() {
        let entry = entry_of(TEXT, true);
        let (_, of_get) = get("", &entry);
        let (plan, of_head) = ask("HEAD / HTTP/1.1\r\nRange: bytes=0-1", |request, memory| {
            file(request, &entry, common(), memory).unwrap()
        });
        assert_eq!(of_get, of_head);
        assert!(matches!(plan.body, PlanBody::Empty) && plan.body_len == 0);
    }

    #[test]
    fn conditions_are_kept() {
        let entry = entry_of(TEXT, true);
        let tag = str::from_utf8(entry.etag()).unwrap();
        for (fields, wanted) in [
            (format!("\r\nIf-None-Match: {tag}"), 304),
            (format!("\r\nIf-None-Match: \"x\", W/{tag}"), 304),
            (format!("\r\nIf-Modified-Since: {MTIME}"), 304),
            ("\r\nIf-None-Match: \"x\"".to_owned(), 200),
            ("\r\nIf-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT".to_owned(), 200),
            (format!("\r\nIf-Match: {tag}"), 200),
            ("\r\nIf-Match: \"x\"".to_owned(), 412),
            ("\r\nIf-Unmodified-Since: Sun, 06 Nov 1994 08:49:36 GMT".to_owned(), 412),
        ] {
            let (plan, head) = get(&fields, &entry);
            assert_eq!(plan.status.code(), wanted, "{fields}");
            if wanted == 304 {
                assert!(matches!(plan.body, PlanBody::Empty));
                assert!(head.contains(&format!("ETag: {tag}\r\n")), "{head}");
                assert!(!head.contains("Content-"), "{head}");
            }
            if wanted == 412 {
                assert!(matches!(plan.body, PlanBody::Static(_)) && !head.contains("ETag"), "{head}");
            }
        }
    }

    #[test]
    fn one_range_is_sent_from_where_the_content_is() {
        for in_memory in [true, false] {
            let entry = entry_of(TEXT, in_memory);
            for (range, start, end) in [("0-0", 0, 1), ("10-", 10, 36), ("-6", 30, 36), ("5-900", 5, 36)] {
                let (plan, head) = get(&format!("\r\nRange: bytes={range}"), &entry);
                assert_eq!((plan.status, plan.body_len), (Status::PARTIAL_CONTENT, end - start), "{range}");
                let content_range = format!("\r\nContent-Range: bytes {start}-{}/36\r\n", end - 1);
                assert!(head.contains(&content_range), "{head}");
                assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", end - start)), "{head}");
                assert_eq!(head.matches("Content-Length").count(), 1, "{head}");
                assert!(head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\nLast-Modified"));
                match plan.body {
                    PlanBody::Memory(range) => {
                        assert_eq!((range.start as u64, range.end as u64), (start, end))
                    }
                    PlanBody::File { offset, len } => assert_eq!((offset, len), (start, end - start)),
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn if_range_decides_and_what_makes_no_range_is_ignored() {
        let entry = entry_of(TEXT, true);
        let tag = str::from_utf8(entry.etag()).unwrap();
        for (fields, wanted) in [
            (format!("\r\nRange: bytes=0-1\r\nIf-Range: {tag}"), 206),
            ("\r\nRange: bytes=0-1\r\nIf-Range: \"x\"".to_owned(), 200),
            (format!("\r\nRange: bytes=0-1\r\nIf-Range: {MTIME}"), 206),
            (format!("\r\nRange: bytes=0-1\r\nIf-None-Match: {tag}"), 304),
            ("\r\nRange: lines=0-1".to_owned(), 200),
            ("\r\nRange: bytes=x".to_owned(), 200),
        ] {
            assert_eq!(get(&fields, &entry).0.status.code(), wanted, "{fields}");
        }
        let (plan, head) = get("\r\nRange: bytes=36-", &entry);
        assert_eq!(plan.status, Status::RANGE_NOT_SATISFIABLE);
        assert!(head.contains("\r\nContent-Range: bytes */36\r\n"), "{head}");
        assert!(matches!(plan.body, PlanBody::Static(_)));
    }

    #[test]
    fn several_ranges_are_parts_whose_lengths_add_up() {
        let content: Vec<u8> = (0..1000).map(|at| TEXT[at % 36]).collect();
        let entry = entry_of(&content, true);
        let (plan, head) = get("\r\nRange: bytes=0-9,500-509,-5", &entry);
        assert_eq!(plan.status, Status::PARTIAL_CONTENT);
        let PlanBody::Parts(parts) = plan.body else { panic!("parts") };
        let mut body = Vec::new();
        for (part_head, range) in parts.iter() {
            body.extend_from_slice(part_head);
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            body.extend_from_slice(&content[range]);
        }
        body.extend_from_slice(parts.end());
        assert_eq!(body.len() as u64, plan.body_len);
        assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())), "{head}");
        let text = String::from_utf8(body).unwrap();
        let boundary = head.split("boundary=").nth(1).unwrap().split("\r\n").next().unwrap();
        assert_eq!(text.split(&format!("\r\n--{boundary}\r\n")).count(), 4);
        assert!(text.ends_with(&format!("\r\n--{boundary}--\r\n")));
        for content_range in ["bytes 0-9/1000", "bytes 500-509/1000", "bytes 995-999/1000"] {
            assert!(text.contains(&format!("Content-Range: {content_range}\r\n")), "{text}");
        }
        assert_eq!(head.matches("Content-Type").count(), 1, "{head}");
        assert_ne!(random(), random());
    }

    #[test]
    fn the_longest_type_fits_a_part_head() {
        let multipart = Multipart { boundary: Boundary::new(1), content_type: &[b'x'; 300], len: u64::MAX };
        let range = ByteRange { start: u64::MAX - 1, end: u64::MAX };
        assert!(multipart.part_head(range, &mut [0; PART_HEAD_BYTES_MAX]).is_ok());
    }

    #[test]
    fn siblings_are_chosen_by_what_the_client_likes() {
        let dir = TestDir::new();
        for name in ["a.js", "a.js.br", "a.js.gz", "b.js"] {
            dir.write(name, name.repeat(50));
        }
        let base = entry(&dir, "/a.js", 1000);
        let choose = |fields: &str, file: &FileEntry<OwnedFd>| {
            let text = format!("GET / HTTP/1.1{fields}\r\nHost: x\r\n\r\n");
            choose_coding(&Request::parse(text.as_bytes(), &Limits::default()).unwrap(), file)
        };
        for (fields, wanted) in [
            ("", Coding::Identity),
            ("\r\nAccept-Encoding: gzip, deflate, br, zstd", Coding::Brotli),
            ("\r\nAccept-Encoding: gzip", Coding::Gzip),
            ("\r\nAccept-Encoding: zstd", Coding::Identity),
            ("\r\nAccept-Encoding: br;q=0.1, gzip", Coding::Gzip),
            ("\r\nAccept-Encoding: br;q=0", Coding::Identity),
        ] {
            assert_eq!(choose(fields, &base), wanted, "{fields}");
        }
        assert_eq!(choose("\r\nAccept-Encoding: br", &entry(&dir, "/b.js", 1000)), Coding::Identity);
        let (_, head) = get("", &base);
        assert!(head.contains("Vary: Accept-Encoding\r\n"), "{head}");

        let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
        let options = Arc::new(LoadOptions::default());
        let now = Timestamp { seconds: NOW_S.cast_signed(), nanoseconds: 0 };
        let of = SiblingOf::new(&base, Coding::Gzip);
        let sibling = load_sibling(root.dir(), &of, &options, now, Way::Blocking).unwrap().entry;
        let sibling = sibling.file().unwrap();
        let (_, head) = get("", sibling);
        assert!(
            head.contains("Content-Encoding: gzip\r\n") && head.contains("Vary: Accept-Encoding"),
            "{head}"
        );
        let (plan, head) = get("\r\nRange: bytes=0-9", sibling);
        assert_eq!(plan.status, Status::PARTIAL_CONTENT);
        assert!(head.contains("Content-Encoding: gzip\r\n"), "{head}");
        assert_eq!(get("\r\nRange: bytes=0-9,200-210", sibling).0.status, Status::OK);
    }

    #[test]
    fn methods_files_do_not_answer_to_are_refused() {
        let refused = |method: &str| {
            let text = format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n");
            let request = Request::parse(text.as_bytes(), &Limits::default()).unwrap();
            let mut memory = [0; 1024];
            let plan = refuse_method(&request, common(), &mut memory)?.unwrap();
            Some((
                plan.status.code(),
                String::from_utf8(memory[..plan.head_len].to_vec()).unwrap(),
                plan.body_len,
            ))
        };
        assert_eq!(refused("GET"), None);
        assert_eq!(refused("HEAD"), None);
        let (status, head, body_len) = refused("OPTIONS").unwrap();
        assert_eq!((status, body_len), (204, 0));
        assert!(head.contains("Allow: GET, HEAD, OPTIONS\r\n") && !head.contains("Content-Length"), "{head}");
        for method in ["POST", "DELETE", "BREW"] {
            let (status, head, body_len) = refused(method).unwrap();
            assert_eq!(status, 405);
            assert!(head.contains("Allow: GET, HEAD, OPTIONS\r\n") && body_len > 0, "{head}");
        }
    }

    #[test]
    fn redirects_listings_and_errors() {
        let (plan, head) = ask("GET /d%20x?a=b HTTP/1.1", |request, memory| {
            redirect(request, b"/d x", common(), memory).unwrap()
        });
        assert_eq!(plan.status, Status::MOVED_PERMANENTLY);
        assert!(head.contains("\r\nLocation: /d%20x/?a=b\r\nContent-Length: 0\r\n"), "{head}");

        let page = Listing { content_type: "application/json", body: b"[]".to_vec(), is_cut: false };
        let (plan, head) =
            ask("GET / HTTP/1.1", |request, memory| listing(request, &page, common(), memory).unwrap());
        assert!(matches!(plan.body, PlanBody::Memory(range) if range == (0..2)));
        assert!(head.contains("Content-Length: 2\r\nContent-Type: application/json\r\n"), "{head}");
        let (plan, _) =
            ask("HEAD / HTTP/1.1", |request, memory| listing(request, &page, common(), memory).unwrap());
        assert!(matches!(plan.body, PlanBody::Empty));

        let not_found = |lines: &str| {
            ask(lines, |request, memory| error(Some(request), Status::NOT_FOUND, common(), memory).unwrap())
        };
        let (plan, head) = not_found("GET / HTTP/1.1\r\nAccept: text/html");
        assert!(head.contains("text/html") && head.contains("Content-Security-Policy"), "{head}");
        assert!(matches!(plan.body, PlanBody::Static(page) if page.starts_with(b"<!doctype")));
        let (plan, head) = not_found("GET / HTTP/1.1\r\nAccept: */*");
        assert!(head.contains("text/plain") && head.contains("no-store"), "{head}");
        assert!(matches!(plan.body, PlanBody::Static(page) if page.starts_with(b"404 ")));
        assert!(matches!(not_found("HEAD / HTTP/1.1").0.body, PlanBody::Empty));
        let mut memory = [0; 1024];
        let unread = error(None, Status::BAD_REQUEST, common(), &mut memory).unwrap();
        assert!(memory.starts_with(b"HTTP/1.1 400 ") && unread.body_len > 0);
    }

    #[test]
    fn memory_that_is_too_small_is_an_error() {
        let entry = entry_of(TEXT, true);
        let text = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
        let request = Request::parse(text, &Limits::default()).unwrap();
        let needed = file(&request, &entry, common(), &mut [0; 1024]).unwrap().head_len;
        for len in 0..needed {
            let short = file(&request, &entry, common(), &mut vec![0; len]);
            assert_eq!(short.unwrap_err(), EncodeError::Full, "{len}");
        }
        assert!(file(&request, &entry, common(), &mut vec![0; needed]).is_ok());
    }
}

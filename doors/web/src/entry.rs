//! What the open-file cache holds of one address: the content or where it is, and the head it is sent with.

use std::cell::Cell;

use ringway_http::date;
use ringway_http::etag::{EntityTag, SETTLE_NS};

use crate::cache_rules::CacheRule;
use crate::codings::{Coding, CodingSet};
use crate::escape;
use crate::mime::MediaType;
use crate::root::{FileState, Timestamp};

/// How old a file's last change must be, in milliseconds, before its entity tag is strong: until then another change could
/// leave the same time behind (RFC 9110 section 8.8.1).
pub const SETTLE_MS: i128 = SETTLE_NS / 1_000_000;

/// How long content that was seen in memory counts as being there, in milliseconds: evicting it takes longer as a rule, and
/// at worst one answer waits for a disk.
const WARM_MS: u64 = 1_000;

/// What an address stands for. `F` is the worker's kind of descriptor.
#[derive(Debug)]
pub enum Entry<F> {
    /// A file, by its own name or as a directory's index.
    File(FileEntry<F>),
    /// A directory that was asked for without its slash.
    Redirect,
    /// A directory without index file that may be listed.
    Listing,
    /// In place of a compressed file: there is no use in one.
    Plain(PlainOf),
}

/// The file that there is no use in compressing.
#[derive(Debug)]
pub struct PlainOf {
    pub(crate) name: Box<[u8]>,
    pub(crate) state: FileState,
}

impl<F> Entry<F> {
    /// The file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&FileEntry<F>> {
        match self {
            Self::File(file) => Some(file),
            Self::Redirect | Self::Listing | Self::Plain(_) => None,
        }
    }

    /// Whether this is what was made of `file` as it is, by compressing it.
    #[must_use]
    pub fn is_made_of<G>(&self, file: &FileEntry<G>) -> bool {
        let (name, state) = match self {
            Self::File(made) if made.is_made => (&made.name, made.state),
            Self::Plain(plain) => (&plain.name, plain.state),
            _ => return false,
        };
        *name == file.name && state == file.state
    }

    /// Bytes of memory the entry's content and head take.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Self::File(file) => file.head.len() + file.name.len() + file.memory().map_or(0, <[u8]>::len),
            Self::Plain(plain) => plain.name.len(),
            Self::Redirect | Self::Listing => 0,
        }
    }

    /// The same with the descriptor, if there is one, given to another kind of owner.
    #[must_use]
    pub fn adopt<G: From<F>>(self) -> Entry<G> {
        match self {
            Self::File(file) => Entry::File(file.adopt()),
            Self::Redirect => Entry::Redirect,
            Self::Listing => Entry::Listing,
            Self::Plain(plain) => Entry::Plain(plain),
        }
    }
}

/// Where a file's content is.
#[derive(Debug)]
pub enum Content<F> {
    /// All of it, read in one go.
    Memory(Box<[u8]>),
    /// In the open file.
    File(F),
}

/// One representation of a file, ready to be sent.
#[derive(Debug)]
pub struct FileEntry<F> {
    pub(crate) content: Content<F>,
    pub(crate) len: u64,
    pub(crate) state: FileState,
    pub(crate) name: Box<[u8]>,
    pub(crate) coding: Coding,
    pub(crate) siblings: CodingSet,
    pub(crate) makeable: CodingSet,
    pub(crate) is_made: bool,
    pub(crate) through_link: bool,
    head: Box<[u8]>,
    type_at: u16,
    type_len: u16,
    validators_at: u16,
    etag_at: u16,
    etag_len: u16,
    settles_ms: u16,
    /// Seconds from an answer to its `Expires`; 0: it has none.
    expires_s: u32,
    /// The worker's time until which the content counts as being in memory, once that was seen.
    warm_until_ms: Cell<u64>,
}

impl<F> FileEntry<F> {
    /// Where the content is.
    #[must_use]
    pub fn content(&self) -> &Content<F> {
        &self.content
    }

    /// The content if it is in memory.
    #[must_use]
    pub fn memory(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Memory(bytes) => Some(bytes),
            Content::File(_) => None,
        }
    }

    /// Length of the content in bytes.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.len
    }

    /// Last change of the file.
    #[must_use]
    pub fn modified(&self) -> Timestamp {
        self.state.modified
    }

    /// The coding of this representation.
    #[must_use]
    pub fn coding(&self) -> Coding {
        self.coding
    }

    /// The codings the file has siblings in.
    #[must_use]
    pub fn siblings(&self) -> CodingSet {
        self.siblings
    }

    /// The codings it is compressed in when it is asked for.
    #[must_use]
    pub fn makeable(&self) -> CodingSet {
        self.makeable
    }

    /// Whether it was made by compressing a file.
    #[must_use]
    pub fn is_made(&self) -> bool {
        self.is_made
    }

    /// The file's name below the root, without the ending of a coding.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The entity tag with its quotes, and `W/` while it is weak.
    #[must_use]
    pub fn etag(&self) -> &[u8] {
        let start = usize::from(self.etag_at);
        &self.head[start..start + usize::from(self.etag_len)]
    }

    /// The entity tag, for comparisons.
    #[must_use]
    pub fn tag(&self) -> EntityTag<'_> {
        let start = if self.is_weak() { WEAK.len() + 1 } else { 1 };
        let etag = self.etag();
        EntityTag { weak: self.is_weak(), opaque: &etag[start..etag.len() - 1] }
    }

    /// Whether the entity tag is weak still.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.settles_ms > 0
    }

    /// After how many milliseconds from loading the file has settled; 0 when it had.
    #[must_use]
    pub fn settles_ms(&self) -> u64 {
        self.settles_ms.into()
    }

    /// Value of `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> &[u8] {
        let start = usize::from(self.type_at) + CONTENT_TYPE.len();
        &self.head[start..start + usize::from(self.type_len)]
    }

    /// All field lines of a whole answer: `Content-Length` and what follows. Each ends with CR LF.
    #[must_use]
    pub fn fields(&self) -> &[u8] {
        &self.head
    }

    /// The field lines from `Content-Type` on, for an answer with a length of its own (206 with one range).
    #[must_use]
    pub fn fields_from_type(&self) -> &[u8] {
        &self.head[usize::from(self.type_at)..]
    }

    /// The field lines from the validators on, for an answer with a type of its own or no content (multipart, 304).
    #[must_use]
    pub fn fields_from_validators(&self) -> &[u8] {
        &self.head[usize::from(self.validators_at)..]
    }

    /// Seconds from an answer to its `Expires`; 0 when it has none.
    #[must_use]
    pub fn expires_s(&self) -> u32 {
        self.expires_s
    }

    /// Whether the content was seen in memory a moment ago.
    #[must_use]
    pub fn is_warm(&self, now_ms: u64) -> bool {
        now_ms < self.warm_until_ms.get()
    }

    /// The content was seen in memory.
    pub fn note_warm(&self, now_ms: u64) {
        self.warm_until_ms.set(now_ms + WARM_MS);
    }

    fn adopt<G: From<F>>(self) -> FileEntry<G> {
        FileEntry {
            content: match self.content {
                Content::Memory(bytes) => Content::Memory(bytes),
                Content::File(file) => Content::File(file.into()),
            },
            len: self.len,
            state: self.state,
            name: self.name,
            coding: self.coding,
            siblings: self.siblings,
            makeable: self.makeable,
            is_made: self.is_made,
            through_link: self.through_link,
            head: self.head,
            type_at: self.type_at,
            type_len: self.type_len,
            validators_at: self.validators_at,
            etag_at: self.etag_at,
            etag_len: self.etag_len,
            settles_ms: self.settles_ms,
            expires_s: self.expires_s,
            warm_until_ms: self.warm_until_ms,
        }
    }
}

const WEAK: &[u8] = b"W/";
const CONTENT_TYPE: &[u8] = b"Content-Type: ";

/// What a file entry is made of.
#[derive(Debug)]
pub(crate) struct Parts<F> {
    pub(crate) content: Content<F>,
    pub(crate) state: FileState,
    pub(crate) name: Box<[u8]>,
    pub(crate) media_type: MediaType,
    pub(crate) coding: Coding,
    pub(crate) siblings: CodingSet,
    /// Codings it is compressed in when it is asked for.
    pub(crate) makeable: CodingSet,
    /// The level, when this was made by compressing a file.
    pub(crate) made_level: Option<u8>,
    pub(crate) through_link: bool,
    /// What caches are told.
    pub(crate) caching: Option<CacheRule>,
}

impl<F> Parts<F> {
    /// Prepares the head; `now` is the wall clock's time and decides about the entity tag's strength.
    pub(crate) fn finish(self, now: Timestamp) -> FileEntry<F> {
        let len = match &self.content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(_) => self.state.len,
        };
        let settles_ms = settles_ms(self.state.modified, now);
        let mut head = Vec::with_capacity(320);
        head.extend_from_slice(b"Content-Length: ");
        escape::decimal(&mut head, len);
        head.extend_from_slice(b"\r\n");
        let type_at = offset(&head);
        head.extend_from_slice(CONTENT_TYPE);
        self.media_type.write(&mut head);
        let type_len = offset(&head) - type_at - offset(CONTENT_TYPE);
        if self.coding != Coding::Identity {
            head.extend_from_slice(b"\r\nContent-Encoding: ");
            head.extend_from_slice(self.coding.as_str().as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        let validators_at = offset(&head);
        head.extend_from_slice(b"Last-Modified: ");
        // Not later than the answer's own date (RFC 9110 section 8.8.2.1).
        head.extend_from_slice(&http_date(self.state.modified.seconds.min(now.seconds)));
        head.extend_from_slice(b"\r\nETag: ");
        let etag_at = offset(&head);
        let made_by = self.made_level.map(|level| (self.coding, level));
        write_etag(&mut head, &self.state, len, made_by, settles_ms > 0);
        let etag_len = offset(&head) - etag_at;
        head.extend_from_slice(b"\r\n");
        if self.made_level.is_none() {
            head.extend_from_slice(b"Accept-Ranges: bytes\r\n");
        }
        if !self.siblings.is_empty() || !self.makeable.is_empty() || self.made_level.is_some() {
            head.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        if let Some(rule) = self.caching.as_ref().filter(|rule| !rule.control.is_empty()) {
            head.extend_from_slice(b"Cache-Control: ");
            head.extend_from_slice(rule.control.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        FileEntry {
            content: self.content,
            len,
            state: self.state,
            name: self.name,
            coding: self.coding,
            siblings: self.siblings,
            makeable: self.makeable,
            is_made: self.made_level.is_some(),
            through_link: self.through_link,
            head: head.into_boxed_slice(),
            type_at,
            type_len,
            validators_at,
            etag_at,
            etag_len,
            settles_ms,
            expires_s: self.caching.as_ref().map_or(0, |rule| rule.expires_s),
            warm_until_ms: Cell::new(0),
        }
    }
}

/// The HTTP date of a Unix second; what is before 1970 counts as 1970.
fn http_date(unix_s: i64) -> [u8; 29] {
    date::format(u64::try_from(unix_s).unwrap_or(0))
}

/// An offset within a head, which holds a media type of bounded length and little else.
fn offset(head: &[u8]) -> u16 {
    u16::try_from(head.len()).unwrap_or(u16::MAX)
}

/// Milliseconds until the change is [`SETTLE_MS`] old; a change in the future counts as just made.
fn settles_ms(modified: Timestamp, now: Timestamp) -> u16 {
    let nanoseconds =
        |time: Timestamp| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let age_ms = ((nanoseconds(now) - nanoseconds(modified)) / 1_000_000).max(0);
    u16::try_from(SETTLE_MS - age_ms).unwrap_or(0)
}

/// Appends `"len-mtime-inode"` in hexadecimal, the mtime in nanoseconds; behind it how it was made, if it was.
pub(crate) fn write_etag(
    out: &mut Vec<u8>,
    state: &FileState,
    len: u64,
    made_by: Option<(Coding, u8)>,
    weak: bool,
) {
    if weak {
        out.extend_from_slice(WEAK);
    }
    let modified = state.modified;
    let nanoseconds = modified.seconds.wrapping_mul(1_000_000_000).wrapping_add(modified.nanoseconds.into());
    out.push(b'"');
    escape::hex(out, len);
    out.push(b'-');
    escape::hex(out, nanoseconds.cast_unsigned());
    out.push(b'-');
    escape::hex(out, state.inode);
    if let Some((coding, level)) = made_by {
        out.push(b'-');
        out.extend_from_slice(coding.as_str().as_bytes());
        escape::decimal(out, level.into());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mime::MediaTypes;

    fn entry(age_ms: u64, coding: Coding, siblings: CodingSet) -> FileEntry<()> {
        let modified = Timestamp { seconds: 1_763_730_855, nanoseconds: 1 };
        let state = FileState { device: 1, inode: 0x2a, len: 5, modified, changed: modified };
        let parts = Parts {
            content: Content::Memory(b"hello"[..].into()),
            state,
            name: b"a.html"[..].into(),
            media_type: MediaTypes::default().of_name(b"a.html"),
            coding,
            siblings,
            makeable: CodingSet::NONE,
            made_level: None,
            through_link: false,
            caching: None,
        };
        let now_ns = 855_000_000_001 + age_ms * 1_000_000;
        parts.finish(Timestamp {
            seconds: 1_763_730_000 + (now_ns / 1_000_000_000).cast_signed(),
            nanoseconds: u32::try_from(now_ns % 1_000_000_000).unwrap(),
        })
    }

    #[test]
    fn the_head_is_whole_and_its_parts_are_where_they_are_said_to_be() {
        let plain = entry(5000, Coding::Identity, CodingSet::NONE);
        let text = str::from_utf8(plain.fields()).unwrap();
        assert_eq!(
            text,
            "Content-Length: 5\r\nContent-Type: text/html; charset=utf-8\r\n\
             Last-Modified: Fri, 21 Nov 2025 13:14:15 GMT\r\nETag: \"5-187a07de33abc601-2a\"\r\n\
             Accept-Ranges: bytes\r\n"
        );
        assert!(plain.fields_from_type().starts_with(b"Content-Type: text/html"));
        assert!(plain.fields_from_validators().starts_with(b"Last-Modified: "));
        assert_eq!(plain.content_type(), b"text/html; charset=utf-8");
        assert_eq!(plain.etag(), b"\"5-187a07de33abc601-2a\"");

        let coded = entry(5000, Coding::Gzip, CodingSet::ALL);
        let text = str::from_utf8(coded.fields()).unwrap();
        assert!(text.contains("charset=utf-8\r\nContent-Encoding: gzip\r\nLast-Modified"), "{text}");
        assert!(text.ends_with("Vary: Accept-Encoding\r\n"), "{text}");
        assert_eq!(coded.content_type(), b"text/html; charset=utf-8");
    }

    #[test]
    fn the_tag_is_weak_until_the_file_has_settled() {
        for (age_ms, settles) in [(0, 2000), (1, 1999), (1999, 1), (2000, 0), (90_000, 0)] {
            let entry = entry(age_ms, Coding::Identity, CodingSet::NONE);
            assert_eq!(entry.settles_ms(), settles, "{age_ms}");
            assert_eq!(entry.is_weak(), settles > 0);
            assert_eq!(entry.etag().starts_with(b"W/\""), settles > 0);
            assert_eq!(EntityTag::parse(entry.etag()), Some(entry.tag()));
        }
        let earlier = Timestamp { seconds: 5, nanoseconds: 0 };
        let later = Timestamp { seconds: 99, nanoseconds: 0 };
        assert_eq!(settles_ms(later, earlier), 2000);
    }
}

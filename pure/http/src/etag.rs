//! Entity tags (RFC 9110 section 8.8.3): made for files, read from requests, compared strongly and weakly.

use crate::negotiate::Coding;

/// Tags of one field that are looked at; what comes behind them matches nothing, which only ever costs the peer a
/// full answer or a 412.
pub const LIST_TAGS_MAX: usize = 64;

/// Bytes of the longest tag that is made for a file.
pub const FILE_TAG_BYTES_MAX: usize = 56;

/// How old a file's last change has to be before a second change must show in its mtime, in nanoseconds; until
/// then its tag is weak.
pub const SETTLE_NS: i128 = 2_000_000_000;

/// A tag as it stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    /// `W/`: equal for the reader, not byte for byte.
    pub weak: bool,
    /// What stands between the quotes.
    pub opaque: &'a [u8],
}

impl<'a> EntityTag<'a> {
    /// Reads one tag and nothing else.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        match Self::split_first(value) {
            Some((tag, [])) => Some(tag),
            _ => None,
        }
    }

    /// The same to the byte: both strong and equal.
    pub fn strong_eq(&self, other: &EntityTag<'_>) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// The same for the reader: equal, whether weak or strong.
    pub fn weak_eq(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// The tag at the front and what follows it.
    fn split_first(value: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (weak, quoted) = match value.strip_prefix(b"W/") {
            Some(quoted) => (true, quoted),
            None => (false, value),
        };
        let text = quoted.strip_prefix(b"\"")?;
        let end = text.iter().position(|byte| !is_opaque(*byte))?;
        let rest = text[end..].strip_prefix(b"\"")?;
        Some((Self { weak, opaque: &text[..end] }, rest))
    }
}

/// Whether a list of tags (`If-Match`, `If-None-Match`; its fields as they were sent) holds one that `matches`.
/// `*` counts as a match by itself. A malformed list ends where it stops making sense.
pub fn list_matches<'v>(
    values: impl Iterator<Item = &'v [u8]>,
    matches: impl Fn(&EntityTag<'v>) -> bool,
) -> bool {
    let mut tags_left = LIST_TAGS_MAX;
    for mut rest in values {
        if rest == b"*" {
            return true;
        }
        while tags_left > 0 {
            rest = skip_separators(rest);
            let Some((tag, behind)) = EntityTag::split_first(rest) else { break };
            if !matches!(behind, [] | [b',' | b' ' | b'\t', ..]) {
                break;
            }
            if matches(&tag) {
                return true;
            }
            tags_left -= 1;
            rest = behind;
        }
    }
    false
}

/// The tag of a file as text, made from what changes with its content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileTag {
    /// `W/"` and the rest; the strong form begins at the quote.
    text: [u8; FILE_TAG_BYTES_MAX],
    len: u8,
    weak: bool,
}

impl FileTag {
    /// The tag of a file last changed at `mtime_ns` (nanoseconds since 1970), `size` bytes long, sent in `coding`,
    /// as seen at `now_ns`. It is weak until the change is [`SETTLE_NS`] old, because a file written twice within
    /// the clock's step keeps its mtime; an mtime in the future never settles.
    pub fn new(mtime_ns: i128, size: u64, coding: Coding, now_ns: i128) -> Self {
        let mut tag = Self { text: [0; FILE_TAG_BYTES_MAX], len: 0, weak: !is_settled(mtime_ns, now_ns) };
        tag.push(b"W/\"");
        // An mtime whose nanoseconds exceed 64 bits lies centuries off; wrapping it keeps it distinct enough.
        tag.push_hex(u64::from_le_bytes(low_half(mtime_ns)));
        tag.push(b"-");
        tag.push_hex(size);
        if coding != Coding::Identity {
            tag.push(b"-");
            tag.push(coding.as_str().as_bytes());
        }
        tag.push(b"\"");
        tag
    }

    /// The value of the `ETag` field.
    pub fn as_bytes(&self) -> &[u8] {
        let start = if self.weak { 0 } else { 2 };
        &self.text[start..usize::from(self.len)]
    }

    /// For comparisons.
    pub fn as_tag(&self) -> EntityTag<'_> {
        EntityTag { weak: self.weak, opaque: &self.text[3..usize::from(self.len) - 1] }
    }

    /// Whether it is still weak; make it anew later.
    pub const fn is_weak(&self) -> bool {
        self.weak
    }

    fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.text[usize::from(self.len)] = *byte;
            self.len += 1;
        }
    }

    fn push_hex(&mut self, value: u64) {
        let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
        let mut shift = digits * 4;
        while shift > 0 {
            shift -= 4;
            let nibble = value >> shift & 15;
            let digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or(0)];
            self.push(&[digit]);
        }
    }
}

impl std::fmt::Debug for FileTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileTag({})", self.as_bytes().escape_ascii())
    }
}

/// Whether a change at `mtime_ns` is [`SETTLE_NS`] old at `now_ns`.
pub const fn is_settled(mtime_ns: i128, now_ns: i128) -> bool {
    now_ns.saturating_sub(mtime_ns) >= SETTLE_NS
}

fn low_half(value: i128) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = value.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

const fn is_opaque(byte: u8) -> bool {
    byte > b' ' && byte != b'"' && byte != 0x7f
}

fn skip_separators(mut value: &[u8]) -> &[u8] {
    while let [b',' | b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(text: &str) -> Option<EntityTag<'_>> {
        EntityTag::parse(text.as_bytes())
    }

    #[test]
    fn tags_are_read_exactly() {
        assert_eq!(tag("\"a\""), Some(EntityTag { weak: false, opaque: b"a" }));
        assert_eq!(tag("W/\"\""), Some(EntityTag { weak: true, opaque: b"" }));
        assert_eq!(tag("\"a,b\u{e9}\"").map(|tag| tag.opaque), Some("a,b\u{e9}".as_bytes()));
        for bad in ["", "a", "\"a", "a\"", "w/\"a\"", "W/a", "\"a\"x", "\"a b\"", "\"a\x7f\"", " \"a\"", "*"]
        {
            assert_eq!(tag(bad), None, "{bad}");
        }
    }

    #[test]
    fn comparisons_follow_the_table_of_rfc_9110() {
        let cases = [
            ("W/\"1\"", "W/\"1\"", false, true),
            ("W/\"1\"", "W/\"2\"", false, false),
            ("W/\"1\"", "\"1\"", false, true),
            ("\"1\"", "\"1\"", true, true),
        ];
        for (a, b, strong, weak) in cases {
            let (a, b) = (tag(a).unwrap(), tag(b).unwrap());
            assert_eq!((a.strong_eq(&b), b.strong_eq(&a)), (strong, strong));
            assert_eq!((a.weak_eq(&b), b.weak_eq(&a)), (weak, weak));
        }
    }

    fn lists(values: &[&str], wanted: &str) -> bool {
        list_matches(values.iter().map(|value| value.as_bytes()), |tag| tag.opaque == wanted.as_bytes())
    }

    #[test]
    fn lists_are_searched_over_all_their_fields() {
        assert!(lists(&["\"a\", W/\"b\" ,\t\"c\""], "c"));
        assert!(lists(&["\"a\"", ", \"b\""], "b"));
        assert!(lists(&["\"x,y\", \"b\""], "b"));
        assert!(lists(&["*"], "anything"));
        assert!(!lists(&["\"a\""], "b"));
        assert!(!lists(&["a, \"b\""], "b"), "what is malformed ends the list");
        assert!(!lists(&["\"a\"\"b\""], "b"));
        assert!(!lists(&["\"*\""], "x"));
        assert!(!lists(&["*, \"a\""], "a"), "the star stands alone");
        assert!(!lists(&[], "a"));
    }

    #[test]
    fn lists_are_searched_up_to_their_bound() {
        let many = "\"a\",".repeat(LIST_TAGS_MAX - 1);
        assert!(lists(&[&format!("{many}\"b\"")], "b"));
        assert!(!lists(&[&format!("{many}\"a\",\"b\"")], "b"));
        assert!(!lists(&[&format!("{many}\"a\""), "\"b\""], "b"));
    }

    const SECOND: i128 = 1_000_000_000;

    #[test]
    fn file_tags_tell_states_apart() {
        let new = |mtime, size, coding| FileTag::new(mtime, size, coding, mtime + 10 * SECOND);
        let base = new(0x1234, 0xabc, Coding::Identity);
        assert_eq!(base.as_bytes(), b"\"1234-abc\"");
        assert_eq!(new(0, 0, Coding::Identity).as_bytes(), b"\"0-0\"");
        assert_eq!(new(0x1234, 0xabc, Coding::Zstd).as_bytes(), b"\"1234-abc-zstd\"");
        assert_eq!(new(-1, u64::MAX, Coding::Gzip).as_bytes(), b"\"ffffffffffffffff-ffffffffffffffff-gzip\"");
        assert_ne!(base, new(0x1235, 0xabc, Coding::Identity));
        assert_ne!(base, new(0x1234, 0xabd, Coding::Identity));
    }

    #[test]
    fn file_tags_are_weak_until_the_change_has_settled() {
        let at = |age| FileTag::new(50 * SECOND, 1, Coding::Identity, 50 * SECOND + age);
        assert!(at(0).is_weak() && at(2 * SECOND - 1).is_weak() && at(-3 * SECOND).is_weak());
        assert!(!at(2 * SECOND).is_weak());
        assert_eq!(at(0).as_bytes(), b"W/\"ba43b7400-1\"");
        assert!(at(0).as_tag().weak_eq(&at(9 * SECOND).as_tag()));
        assert!(!at(0).as_tag().strong_eq(&at(9 * SECOND).as_tag()));
    }

    proptest! {
        #[test]
        fn file_tags_fit_and_read_back(mtime in any::<i64>(), size in any::<u64>(), age in 0..4_i64, coding in 0..4_usize) {
            let coding = [Coding::Identity, Coding::Brotli, Coding::Zstd, Coding::Gzip][coding];
            let tag = FileTag::new(i128::from(mtime), size, coding, i128::from(mtime) + i128::from(age) * SECOND);
            prop_assert_eq!(EntityTag::parse(tag.as_bytes()), Some(tag.as_tag()));
            let mut expected = format!("{mtime:x}-{size:x}");
            if coding != Coding::Identity {
                expected = format!("{expected}-{}", coding.as_str());
            }
            prop_assert_eq!(tag.as_tag().opaque, expected.as_bytes());
        }

        #[test]
        fn any_list_is_survived(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = list_matches([value.as_slice()].into_iter(), |_| false);
        }
    }
}

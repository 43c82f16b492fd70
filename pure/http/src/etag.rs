//! Entity tags (RFC 9110 section 8.8.3): read from requests, compared strongly and weakly.

/// Tags of one field that are looked at; what comes behind them matches nothing, which only ever costs the peer a
/// full answer or a 412.
pub const LIST_TAGS_MAX: usize = 64;

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

    proptest! {
        #[test]
        fn any_list_is_survived(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = list_matches([value.as_slice()].into_iter(), |_| false);
        }
    }
}

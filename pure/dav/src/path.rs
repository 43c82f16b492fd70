//! Paths of resources below a root: which lies where.

/// Whether `path` is `ancestor` or lies below it.
#[must_use]
pub fn is_within(path: &[u8], ancestor: &[u8]) -> bool {
    path == ancestor || is_below(path, ancestor)
}

/// Whether `path` lies below `ancestor`.
#[must_use]
pub fn is_below(path: &[u8], ancestor: &[u8]) -> bool {
    if ancestor.is_empty() {
        return !path.is_empty();
    }
    path.strip_prefix(ancestor).is_some_and(|rest| rest.first() == Some(&b'/'))
}

/// The collection that a resource is a member of, and its name there. `None` for the root.
#[must_use]
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    let at = path.iter().rposition(|byte| *byte == b'/');
    Some(at.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_count_not_bytes() {
        assert!(
            is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"a", b"") && is_within(b"", b"")
        );
        assert!(!is_within(b"ab", b"a") && !is_within(b"a", b"a/b"));
        assert!(
            is_below(b"a/b", b"a") && is_below(b"a", b"") && !is_below(b"a", b"a") && !is_below(b"", b"")
        );
    }

    #[test]
    fn a_path_is_its_collection_and_its_name() {
        assert_eq!(split(b""), None);
        assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
    }
}

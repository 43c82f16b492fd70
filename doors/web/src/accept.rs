//! What a client says it would rather read: pages for people, or data for programs.

/// Whether the values of an `Accept` field name `media_type` itself, with a weight above zero. Wildcards do not count:
/// `*/*` is what programs send that do not care, and they are better served with plain text than with a page.
pub fn names<'a>(accept: impl IntoIterator<Item = &'a [u8]>, media_type: &str) -> bool {
    accept.into_iter().flat_map(|value| value.split(|&byte| byte == b',')).any(|element| {
        let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type.as_bytes()));
        named && !parts.any(is_zero_weight)
    })
}

/// `q=0`, `q=0.`, `q=0.000` (RFC 9110 section 12.4.2).
fn is_zero_weight(parameter: &[u8]) -> bool {
    let Some(weight) = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q=")) else {
        return false;
    };
    weight.first() == Some(&b'0') && weight[1..].iter().all(|&byte| matches!(byte, b'.' | b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_counts() {
        let browser = b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8".as_slice();
        assert!(names([browser], "text/html"));
        assert!(!names([browser], "application/json"));
        assert!(!names([b"*/*".as_slice()], "text/html"));
        assert!(!names([b"text/*".as_slice()], "text/html"));
        assert!(!names([], "text/html"));
        assert!(names([b"a/b".as_slice(), b" TEXT/HTML ; q=0.1"], "text/html"));
        for refused in ["text/html;q=0", "text/html; q=0.000", "text/html;level=1;Q=0."] {
            assert!(!names([refused.as_bytes()], "text/html"), "{refused}");
        }
    }
}

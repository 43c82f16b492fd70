//! Cookies (RFC 6265): what a browser sends, what it is told to keep, and values that it can neither change nor read.

#[cfg(feature = "sessions")]
mod keys;
mod set;

#[cfg(feature = "sessions")]
pub(crate) use keys::random_bytes;
#[cfg(feature = "sessions")]
pub use keys::{CookieKeys, KEY_BYTES, KeyError};
pub use set::{CookieError, SET_COOKIE_BYTES_MAX, SameSite, SetCookie};

/// Most cookies of one field that are looked at.
pub const COOKIES_MAX: usize = 180;

/// The names and values of a `Cookie` field (RFC 6265, 4.2.1), in its order. What has no name or bytes that no cookie may have
/// is passed over; quotes around a value are not part of it.
pub fn cookies(field: &[u8]) -> impl Iterator<Item = (&str, &str)> {
    field.split(|byte| *byte == b';').take(COOKIES_MAX).filter_map(cookie)
}

/// The first value of a name in a `Cookie` field.
#[must_use]
pub fn cookie_value<'a>(field: &'a [u8], name: &str) -> Option<&'a str> {
    cookies(field).find_map(|(found, value)| (found == name).then_some(value))
}

fn cookie(pair: &[u8]) -> Option<(&str, &str)> {
    let pair = pair.trim_ascii();
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    let (name, value) = (pair[..equals].trim_ascii_end(), pair[equals + 1..].trim_ascii_start());
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    let is_cookie = set::is_name(name) && value.iter().copied().all(is_lenient);
    let text = |bytes| std::str::from_utf8(bytes).ok();
    is_cookie.then_some(())?;
    Some((text(name)?, text(value)?))
}

/// Browsers send what scripts have set: everything but controls.
fn is_lenient(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(field: &str) -> Vec<(&str, &str)> {
        cookies(field.as_bytes()).collect()
    }

    #[test]
    fn names_and_values_come_in_order_and_without_their_dress() {
        assert_eq!(
            all("a=1; b=two;c=\"3\" ;  d=x=y; e="),
            [("a", "1"), ("b", "two"), ("c", "3"), ("d", "x=y"), ("e", "")]
        );
        assert_eq!(all("name = spaced "), [("name", "spaced")]);
        assert_eq!(cookie_value(b"a=1; a=2", "a"), Some("1"));
        assert_eq!(cookie_value(b"a=1", "A"), None, "names are told apart by case");
    }

    #[test]
    fn what_is_no_cookie_is_passed_over_and_the_next_one_counts() {
        assert_eq!(all("; =x; alone; a b=1; \u{7f}=1; ok=1"), [("ok", "1")]);
        assert_eq!(cookies(b"bad=\xff; worse=\x01; ok=1").collect::<Vec<_>>(), [("ok", "1")]);
        assert_eq!(all("q=\"; r=\"\""), [("q", "\""), ("r", "")]);
        assert_eq!(all("u=\u{fc}"), [("u", "\u{fc}")], "scripts set such values");
    }

    #[test]
    fn there_is_an_end_to_looking() {
        let field = "x=1;".repeat(COOKIES_MAX) + "late=1";
        assert_eq!(cookie_value(field.as_bytes(), "late"), None);
        assert_eq!(cookies(field.as_bytes()).count(), COOKIES_MAX);
    }
}

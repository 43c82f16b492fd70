//! Fields that only WebDAV has (RFC 4918 section 10), and `Content-Range` on PUT.

mod condition;
mod content_range;
mod reference;

pub use condition::{CONDITIONS_MAX, Condition, Conditions, List, State};
pub use content_range::ContentRange;
pub use reference::Reference;

/// A field that says nothing: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid;

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field has none of the forms it can have")
    }
}

impl std::error::Error for Invalid {}

/// `Depth` (RFC 4918 section 10.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// The resource alone.
    Zero,
    /// The resource and its members.
    One,
    /// Everything below it.
    Infinity,
}

impl Depth {
    /// Reads the field's value.
    ///
    /// # Errors
    /// [`Invalid`].
    pub fn read(value: &[u8]) -> Result<Self, Invalid> {
        match value {
            b"0" => Ok(Self::Zero),
            b"1" => Ok(Self::One),
            other if other.eq_ignore_ascii_case(b"infinity") => Ok(Self::Infinity),
            _ => Err(Invalid),
        }
    }
}

/// Reads `Overwrite` (RFC 4918 section 10.6): whether what is at the destination may be replaced.
///
/// # Errors
/// [`Invalid`].
pub fn overwrite(value: &[u8]) -> Result<bool, Invalid> {
    match value {
        b"T" | b"t" => Ok(true),
        b"F" | b"f" => Ok(false),
        _ => Err(Invalid),
    }
}

/// Reads `Timeout` (RFC 4918 section 10.7): the first wish that is understood, in seconds; `u32::MAX` for `Infinite`. A
/// wish is no command: what is not understood is as good as none.
#[must_use]
pub fn timeout(value: &[u8]) -> Option<u32> {
    value.split(|byte| *byte == b',').find_map(|wish| {
        let wish = wish.trim_ascii();
        if wish.eq_ignore_ascii_case(b"infinite") {
            return Some(u32::MAX);
        }
        let (name, digits) = wish.split_at_checked(b"Second-".len())?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !name.eq_ignore_ascii_case(b"Second-") || !is_number {
            return None;
        }
        // More than a number holds is as long as there is.
        Some(str::from_utf8(digits).ok()?.parse().unwrap_or(u32::MAX))
    })
}

/// Reads `Lock-Token` (RFC 4918 section 10.5): the token without its brackets.
///
/// # Errors
/// [`Invalid`].
pub fn lock_token(value: &[u8]) -> Result<&str, Invalid> {
    let token = value.strip_prefix(b"<").and_then(|rest| rest.strip_suffix(b">")).ok_or(Invalid)?;
    if is_uri(token) { str::from_utf8(token).map_err(|_no_text| Invalid) } else { Err(Invalid) }
}

/// Whether bytes can be an absolute URI: a scheme, a colon, and something without brackets and spaces.
fn is_uri(token: &[u8]) -> bool {
    let Some(colon) = token.iter().position(|byte| *byte == b':') else { return false };
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    colon > 0
        && colon + 1 < token.len()
        && token[..colon].iter().all(is_scheme)
        && token.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_and_overwrite_are_read_exactly() {
        assert_eq!(Depth::read(b"0"), Ok(Depth::Zero));
        assert_eq!(Depth::read(b"1"), Ok(Depth::One));
        assert_eq!(Depth::read(b"Infinity"), Ok(Depth::Infinity));
        for bad in ["", "2", "01", "infinite", "0, 1"] {
            assert_eq!(Depth::read(bad.as_bytes()), Err(Invalid), "{bad}");
        }
        assert_eq!(
            (overwrite(b"T"), overwrite(b"F"), overwrite(b"TRUE")),
            (Ok(true), Ok(false), Err(Invalid))
        );
    }

    #[test]
    fn a_timeout_is_the_first_that_is_understood() {
        for (value, seconds) in [
            ("Second-600", Some(600)),
            ("Infinite, Second-4100000000", Some(u32::MAX)),
            ("Extend-5, second-7", Some(7)),
            ("Second-99999999999999", Some(u32::MAX)),
            ("Second-", None),
            ("Second--1", None),
            ("600", None),
            ("", None),
        ] {
            assert_eq!(timeout(value.as_bytes()), seconds, "{value}");
        }
    }

    #[test]
    fn tokens_are_uris_in_brackets() {
        assert_eq!(lock_token(b"<urn:uuid:1>"), Ok("urn:uuid:1"));
        for bad in
            ["", "<>", "urn:uuid:1", "<urn>", "<:x>", "<urn:>", "<urn:a b>", "<urn:a><urn:b>", "<urn:\u{e9}>"]
        {
            assert_eq!(lock_token(bad.as_bytes()), Err(Invalid), "{bad}");
        }
    }
}

//! Patterns of routes: segments that are spelt out, `{name}` for one segment, `{*name}` for all that are left.

use std::fmt;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Most segments of a pattern.
pub const SEGMENTS_MAX: usize = 64;

/// Which paths a route is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

/// One segment of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// This one, in plain bytes.
    Literal(Box<[u8]>),
    /// Any one that is not empty, under a name.
    Param(Box<str>),
    /// All that are left, at least one, which may be empty.
    Rest(Box<str>),
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It does not begin with a slash.
    NoSlash(String),
    /// It is longer than [`PATTERN_BYTES_MAX`] or has more than [`SEGMENTS_MAX`] segments.
    TooLong(String),
    /// A segment is neither plain nor `{name}` nor `{*name}`.
    Segment(String, String),
    /// `{*name}` is not its end.
    RestWithin(String),
    /// Two parameters have one name.
    SameName(String, String),
    /// No path looks so once it is normalised: an empty segment within, `.` or `..`.
    Unreachable(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlash(text) => write!(f, "the route {text:?} does not begin with a slash"),
            Self::TooLong(text) => {
                let start: String = text.chars().take(40).collect();
                write!(
                    f,
                    "the route {start:?}... is longer than {PATTERN_BYTES_MAX} bytes or {SEGMENTS_MAX} segments"
                )
            }
            Self::Segment(text, segment) => write!(
                f,
                "{segment:?} in the route {text:?} is no segment: write text, {{name}} or {{*name}}, each between slashes"
            ),
            Self::RestWithin(text) => {
                write!(f, "the route {text:?} goes on behind {{*name}}, which takes all that is left")
            }
            Self::SameName(text, name) => {
                write!(f, "the route {text:?} has two parameters called {name:?}")
            }
            Self::Unreachable(text) => {
                write!(
                    f,
                    "no path is ever like the route {text:?}: empty segments, \".\" and \"..\" are taken out"
                )
            }
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// Reads a pattern such as `/users/{id}/files/{*path}`.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let owned = || text.to_owned();
        let Some(rest) = text.strip_prefix('/') else { return Err(PatternError::NoSlash(owned())) };
        let count = rest.split('/').count();
        if text.len() > PATTERN_BYTES_MAX || count > SEGMENTS_MAX {
            return Err(PatternError::TooLong(owned()));
        }
        let mut segments = Vec::with_capacity(count);
        let mut names: Vec<&str> = Vec::new();
        for (at, raw) in rest.split('/').enumerate() {
            let is_last = at + 1 == count;
            let segment =
                Segment::parse(raw).ok_or_else(|| PatternError::Segment(owned(), raw.to_owned()))?;
            match &segment {
                Segment::Literal(bytes)
                    if matches!(&**bytes, b"." | b"..") || bytes.is_empty() && !is_last =>
                {
                    return Err(PatternError::Unreachable(owned()));
                }
                Segment::Rest(_) if !is_last => return Err(PatternError::RestWithin(owned())),
                _ => {}
            }
            if let Some(name) = name_of(raw) {
                if names.contains(&name) {
                    return Err(PatternError::SameName(owned(), name.to_owned()));
                }
                names.push(name);
            }
            segments.push(segment);
        }
        Ok(Self { text: text.into(), segments })
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Segment {
    fn parse(raw: &str) -> Option<Self> {
        if let Some(name) = name_of(raw) {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(is_name) {
                return None;
            }
            let is_rest = raw.starts_with("{*");
            return Some(if is_rest { Self::Rest(name.into()) } else { Self::Param(name.into()) });
        }
        let is_plain =
            !raw.bytes().any(|byte| matches!(byte, b'{' | b'}' | b'\\') || byte.is_ascii_control());
        is_plain.then(|| Self::Literal(raw.as_bytes().into()))
    }
}

/// The name in a segment's braces.
fn name_of(raw: &str) -> Option<&str> {
    let inner = raw.strip_prefix('{')?.strip_suffix('}')?;
    Some(inner.strip_prefix('*').unwrap_or(inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_match_is_a_pattern() {
        for good in [
            "/",
            "/a",
            "/a/",
            "/{id}",
            "/a/{id}/b",
            "/{*rest}",
            "/a b/\u{e9}",
            "/a/{b}/{*c}",
            "/.well-known/x",
        ] {
            let pattern = Pattern::parse(good).unwrap_or_else(|error| panic!("{good}: {error}"));
            assert_eq!(pattern.as_str(), good);
        }
        for bad in [
            "",
            "a",
            "//",
            "/a//b",
            "/./a",
            "/..",
            "/{}",
            "/{*}",
            "/{a",
            "/a}",
            "/x{a}",
            "/{a}{b}",
            "/{*a}/b",
            "/{a}/{a}",
            "/{a}/{*a}",
            "/a\\b",
            "/a\nb",
            "/{a b}",
        ] {
            let error = Pattern::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(bad) || bad.contains(['\\', '\n']), "{error}");
        }
        assert!(matches!(Pattern::parse(&format!("/{}", "a".repeat(1024))), Err(PatternError::TooLong(_))));
        assert!(matches!(Pattern::parse(&"/a".repeat(65)), Err(PatternError::TooLong(_))));
    }
}

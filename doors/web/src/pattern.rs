//! Path patterns: literal paths, prefixes, and globs over segments, matched without backtracking over more than one star.

use std::fmt;
use std::ops::Range;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// Most wildcards in a pattern: as many as `{1}` to `{9}` can name.
pub const WILDCARDS_MAX: usize = 9;

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It does not begin with a slash.
    Relative,
    /// It has an empty segment, `.` or `..`, which no path that is matched has.
    Segment,
    /// It has a control byte or backslash, which no path that is matched has.
    Byte,
    /// `**` does not stand alone between slashes.
    Deep,
    /// More than [`WILDCARDS_MAX`] wildcards.
    Wildcards,
    /// More than [`PATTERN_BYTES_MAX`] bytes.
    Length,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relative => f.write_str("a path pattern begins with a slash"),
            Self::Segment => f.write_str("a path pattern has no empty segment, no \".\" and no \"..\""),
            Self::Byte => f.write_str("a path pattern has no control bytes and no backslash"),
            Self::Deep => f.write_str("\"**\" stands for whole segments: write it between slashes"),
            Self::Wildcards => write!(f, "a path pattern has at most {WILDCARDS_MAX} wildcards"),
            Self::Length => write!(f, "a path pattern has at most {PATTERN_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for PatternError {}

/// A pattern of normal paths.
///
/// `*` stands for bytes within a segment, possibly none; `**`, alone between slashes, for any number of segments, possibly
/// none. `/**` at the end of an otherwise literal pattern makes a *prefix*: it matches the directory itself, with and
/// without its slash, and what lies below. So `/static/**` matches `/static`, `/static/` and `/static/a/b`, not `/statics`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    kind: PatternKind,
}

/// What a pattern is, from the most to the least particular.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PatternKind {
    /// The whole path.
    Literal,
    /// The path as far as this, without slash at its end, and what is below.
    Prefix(Box<[u8]>),
    /// Wildcards.
    Glob(Box<[Token]>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Text(Box<[u8]>),
    /// `*`
    Star,
    /// `**/`: any number of segments, each with its slash.
    Deep,
    /// `**` at the end: whatever is left.
    Rest,
}

/// Where the wildcards of a pattern lie in a path it matched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Captures {
    spans: [(usize, usize); WILDCARDS_MAX],
    count: usize,
}

impl Captures {
    /// The wildcard of that number, the first is 1.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<Range<usize>> {
        let (start, end) = *self.spans[..self.count].get(number.checked_sub(1)?)?;
        Some(start..end)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn set(&mut self, place: usize, start: usize, end: usize) {
        if let Some(span) = self.spans.get_mut(place) {
            *span = (start, end);
            self.count = self.count.max(place + 1);
        }
    }
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::Length);
        }
        let segments = text.strip_prefix('/').ok_or(PatternError::Relative)?;
        if text.bytes().any(|byte| byte.is_ascii_control() || byte == b'\\') {
            return Err(PatternError::Byte);
        }
        let last = segments.matches('/').count();
        for (place, segment) in segments.split('/').enumerate() {
            match segment {
                "." | ".." => return Err(PatternError::Segment),
                "" if place < last => return Err(PatternError::Segment),
                "**" => {}
                segment if segment.contains("**") => return Err(PatternError::Deep),
                _ => {}
            }
        }
        let kind = match text.strip_suffix("/**") {
            _ if !text.contains('*') => PatternKind::Literal,
            Some(prefix) if !prefix.contains('*') => PatternKind::Prefix(prefix.as_bytes().into()),
            _ => PatternKind::Glob(tokens(text)?),
        };
        Ok(Self { text: text.into(), kind })
    }

    /// A prefix: `path` itself, with or without slash at its end, and what is below.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn prefix(path: &str) -> Result<Self, PatternError> {
        Self::parse(&format!("{}/**", path.strip_suffix('/').unwrap_or(path)))
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How many wildcards there are to capture.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        match &self.kind {
            PatternKind::Literal => 0,
            PatternKind::Prefix(_) => 1,
            PatternKind::Glob(tokens) => {
                tokens.iter().filter(|token| !matches!(token, Token::Text(_))).count()
            }
        }
    }

    #[cfg(feature = "sites")]
    pub(crate) fn kind(&self) -> &PatternKind {
        &self.kind
    }

    /// Whether the pattern matches the normal path, and where its wildcards lie in it.
    #[must_use]
    pub fn matches(&self, path: &[u8]) -> Option<Captures> {
        match &self.kind {
            PatternKind::Literal => (path == self.text.as_bytes()).then(Captures::default),
            PatternKind::Prefix(prefix) => {
                let rest = path.strip_prefix(&**prefix)?;
                let mut captures = Captures::default();
                match rest.first() {
                    None if prefix.is_empty() => return None,
                    None => captures.set(0, path.len(), path.len()),
                    Some(b'/') => captures.set(0, prefix.len() + 1, path.len()),
                    Some(_) => return None,
                }
                Some(captures)
            }
            PatternKind::Glob(tokens) => glob(tokens, path),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn tokens(text: &str) -> Result<Box<[Token]>, PatternError> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('*') {
        if at > 0 {
            tokens.push(Token::Text(rest.as_bytes()[..at].into()));
        }
        rest = &rest[at..];
        let (token, width) = if rest.starts_with("**/") {
            (Token::Deep, 3)
        } else if rest == "**" {
            (Token::Rest, 2)
        } else {
            (Token::Star, 1)
        };
        tokens.push(token);
        rest = &rest[width..];
    }
    if !rest.is_empty() {
        tokens.push(Token::Text(rest.as_bytes().into()));
    }
    let wildcards = tokens.iter().filter(|token| !matches!(token, Token::Text(_))).count();
    if wildcards > WILDCARDS_MAX { Err(PatternError::Wildcards) } else { Ok(tokens.into()) }
}

/// Where matching goes on when it fails: behind which token, and from which byte of the path.
#[derive(Clone, Copy)]
struct Resume {
    token: usize,
    at: usize,
    /// Where the wildcard began.
    start: usize,
    /// Which wildcard it is.
    place: usize,
}

/// Matches with at most one star and one `**` to come back to: whatever an earlier one could take differently, the last one
/// of its kind can take too. So the cost is at most the path's length times the pattern's.
fn glob(tokens: &[Token], path: &[u8]) -> Option<Captures> {
    let mut captures = Captures::default();
    let (mut star, mut deep) = (None::<Resume>, None::<Resume>);
    let (mut token, mut at, mut place) = (0, 0, 0);
    loop {
        let advanced = match tokens.get(token) {
            None if at == path.len() => return Some(captures),
            None => false,
            Some(Token::Text(text)) => match path[at..].starts_with(text) {
                true => {
                    at += text.len();
                    // A star cannot reach beyond its segment, so behind a slash there is no coming back to it.
                    if text.contains(&b'/') {
                        star = None;
                    }
                    token += 1;
                    true
                }
                false => false,
            },
            Some(Token::Rest) => {
                captures.set(place, at, path.len());
                return Some(captures);
            }
            Some(kind @ (Token::Star | Token::Deep)) => {
                token += 1;
                let resume = Resume { token, at, start: at, place };
                match kind {
                    Token::Star => star = Some(resume),
                    _ => (star, deep) = (None, Some(resume)),
                }
                captures.set(place, at, at);
                place += 1;
                true
            }
        };
        if advanced {
            continue;
        }
        let again = take_one_more(&mut star, path, false).or_else(|| {
            star = None;
            take_one_more(&mut deep, path, true)
        })?;
        captures.set(again.place, again.start, again.at);
        (token, at, place) = (again.token, again.at, again.place + 1);
    }
}

/// Has a wildcard take one more byte, or one more segment, if it can.
fn take_one_more(resume: &mut Option<Resume>, path: &[u8], is_deep: bool) -> Option<Resume> {
    let resume = resume.as_mut()?;
    let rest = &path[resume.at..];
    resume.at += match is_deep {
        true => memchr::memchr(b'/', rest)? + 1,
        false => usize::from(*rest.first().filter(|byte| **byte != b'/')? != b'/'),
    };
    Some(*resume)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captured<'a>(pattern: &str, path: &'a str) -> Option<Vec<&'a str>> {
        let captures = Pattern::parse(pattern).unwrap().matches(path.as_bytes())?;
        Some((1..=captures.len()).map(|number| &path[captures.get(number).unwrap()]).collect())
    }

    #[test]
    fn patterns_match_what_they_say() {
        for (pattern, path, wanted) in [
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/", None),
            ("/static/**", "/static", Some(vec![""])),
            ("/static/**", "/static/", Some(vec![""])),
            ("/static/**", "/static/a/b", Some(vec!["a/b"])),
            ("/static/**", "/statics", None),
            ("/**", "/", Some(vec![""])),
            ("/**", "/a/b", Some(vec!["a/b"])),
            ("/users/*/files/**", "/users/ann/files/a/b", Some(vec!["ann", "a/b"])),
            ("/users/*/files/**", "/users/ann/files/", Some(vec!["ann", ""])),
            ("/users/*/files/**", "/users/a/b/files/c", None),
            ("/*.php", "/index.php", Some(vec!["index"])),
            ("/*.php", "/a/index.php", None),
            ("/**/*.php", "/index.php", Some(vec!["", "index"])),
            ("/**/*.php", "/a/b/index.php", Some(vec!["a/b/", "index"])),
            ("/**/x/*", "/a/x/x/b", Some(vec!["a/x/", "b"])),
            ("/**/*-*.png", "/i/a-b-c.png", Some(vec!["i/", "a", "b-c"])),
            ("/a*b*c", "/aXbYbZc", Some(vec!["X", "YbZ"])),
            ("/a*", "/a", Some(vec![""])),
            ("/a*", "/a/", None),
            ("/**/b/**", "/b/b", Some(vec!["", "b"])),
            ("/**/b/**", "/a/b", None),
            ("/**/b/**", "/b/b/", Some(vec!["", "b/"])),
            ("/*/", "/x/", Some(vec!["x"])),
        ] {
            assert_eq!(captured(pattern, path), wanted, "{pattern} {path}");
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let kind = |text: &str| Pattern::parse(text).unwrap().kind;
        assert_eq!(kind("/a"), PatternKind::Literal);
        assert_eq!(kind("/a/**"), PatternKind::Prefix(b"/a"[..].into()));
        assert_eq!(kind("/**"), PatternKind::Prefix(b""[..].into()));
        assert!(matches!(kind("/*/**"), PatternKind::Glob(_)));
        assert_eq!(Pattern::prefix("/a/"), Pattern::parse("/a/**"));
        assert_eq!(Pattern::prefix("/"), Pattern::parse("/**"));
        assert_eq!(Pattern::parse("/*/b*/**").unwrap().wildcards(), 3);
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for (text, error) in [
            ("", PatternError::Relative),
            ("a", PatternError::Relative),
            ("//", PatternError::Segment),
            ("/a//b", PatternError::Segment),
            ("/a/../b", PatternError::Segment),
            ("/a\n", PatternError::Byte),
            ("/a**", PatternError::Deep),
            ("/***", PatternError::Deep),
        ] {
            assert_eq!(Pattern::parse(text), Err(error), "{text}");
        }
        assert_eq!(Pattern::parse(&"/*".repeat(10)), Err(PatternError::Wildcards));
        assert_eq!(Pattern::parse(&format!("/{}", "a".repeat(1024))), Err(PatternError::Length));
    }

    #[test]
    fn what_is_made_to_be_slow_is_not() {
        let path = format!("/{}", "a/aa/".repeat(800));
        let pattern = Pattern::parse("/**/*a*a*a*a*a*a*b").unwrap();
        let started = std::time::Instant::now();
        for _ in 0..100 {
            assert_eq!(pattern.matches(path.as_bytes()), None);
        }
        // A pattern that tried every way would not come back at all.
        assert!(started.elapsed().as_secs() < 5);
    }

    /// The meaning, as plainly as it can be written: every way is tried.
    fn reference(pattern: &[&str], path: &[&str]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((&"**", [])) => !path.is_empty(),
            Some((&"**", rest)) => {
                (0..=path.len()).any(|taken| taken < path.len() && reference(rest, &path[taken..]))
            }
            Some((segment, rest)) => path.split_first().is_some_and(|(first, others)| {
                within(segment.as_bytes(), first.as_bytes()) && reference(rest, others)
            }),
        }
    }

    fn within(pattern: &[u8], segment: &[u8]) -> bool {
        match pattern.split_first() {
            None => segment.is_empty(),
            Some((b'*', rest)) => (0..=segment.len()).any(|taken| within(rest, &segment[taken..])),
            Some((byte, rest)) => {
                segment.split_first().is_some_and(|(first, others)| first == byte && within(rest, others))
            }
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_every_way(
            pattern in proptest::collection::vec("[ab*]{1,3}|[*][*]", 1..5),
            path in proptest::collection::vec("[ab]{1,3}", 1..6),
            ends_in_slash in any::<bool>(),
        ) {
            let text = format!("/{}", pattern.join("/"));
            let Ok(parsed) = Pattern::parse(&text) else { return Ok(()) };
            prop_assume!(matches!(parsed.kind, PatternKind::Glob(_)));
            let path = format!("/{}{}", path.join("/"), if ends_in_slash { "/" } else { "" });
            let pattern: Vec<&str> = text[1..].split('/').collect();
            let segments: Vec<&str> = path[1..].split('/').collect();
            prop_assert_eq!(parsed.matches(path.as_bytes()).is_some(), reference(&pattern, &segments), "{} {}", text, path);
        }
    }
}

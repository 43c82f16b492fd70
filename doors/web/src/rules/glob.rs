//! Patterns with wildcards, matched in one pass over what is asked, whatever the pattern is.
//!
//! `*` stands for any bytes within one segment of a path, `**` for any bytes at all, `?` for one byte of a segment, and `\`
//! takes the meaning from what follows it. In patterns of text, which has no segments, `*` is as good as `**`. All states
//! that a match could be in are bits of one number, so no input makes a pattern go back and try again.

use std::error::Error;
use std::fmt;

/// Most elements (bytes and wildcards) between the first wildcard and the end of a pattern.
pub const ELEMENTS_MAX: usize = 127;

/// Why a text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobError {
    /// More than [`ELEMENTS_MAX`] elements from the first wildcard on.
    TooLong,
    /// A `\` with nothing behind it.
    LoneBackslash,
}

impl fmt::Display for GlobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "has more than {ELEMENTS_MAX} characters from its first wildcard on"),
            Self::LoneBackslash => f.write_str("ends with a backslash that escapes nothing"),
        }
    }
}

impl Error for GlobError {}

/// What a pattern is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Path,
    Text,
}

/// A pattern, ready to be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    kind: Kind,
    /// What comes before the first wildcard.
    start: Box<[u8]>,
    /// What comes from there on; `None` when there is no wildcard.
    rest: Option<Box<Rest>>,
    ignores_case: bool,
    text: Box<str>,
}

/// Elements as bits: bit `i` of a state says that the first `i` elements are matched.
#[derive(Clone, PartialEq, Eq)]
struct Rest {
    /// Which elements a byte matches, by the byte's class.
    classes: Box<[u8; 256]>,
    matches: Box<[u128]>,
    /// Elements that are `*` or `**`.
    stars: u128,
    /// Elements that are `**`.
    double_stars: u128,
    end: u128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Byte(u8),
    One,
    Segment,
    Any,
}

impl Glob {
    /// A pattern of paths, with segments between slashes.
    ///
    /// # Errors
    /// [`GlobError`]
    pub fn path(pattern: &str) -> Result<Self, GlobError> {
        Self::new(pattern, Kind::Path, false)
    }

    /// A pattern of text, without segments, in which letters of ASCII match in either case.
    ///
    /// # Errors
    /// [`GlobError`]
    pub fn text(pattern: &str) -> Result<Self, GlobError> {
        Self::new(pattern, Kind::Text, true)
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether all of `subject` is what the pattern says.
    #[must_use]
    pub fn matches(&self, subject: &[u8]) -> bool {
        let Some((start, behind)) = subject.split_at_checked(self.start.len()) else { return false };
        let is_start = match self.ignores_case {
            true => start.eq_ignore_ascii_case(&self.start),
            false => *start == *self.start,
        };
        is_start && self.rest.as_ref().map_or(behind.is_empty(), |rest| rest.matches(behind))
    }

    fn new(pattern: &str, kind: Kind, ignores_case: bool) -> Result<Self, GlobError> {
        let elements = elements(pattern.as_bytes(), kind)?;
        let is_byte = |element: &Element| matches!(element, Element::Byte(_));
        let first_wildcard = elements.iter().position(|element| !is_byte(element)).unwrap_or(elements.len());
        let (start, rest) = elements.split_at(first_wildcard);
        let start = start
            .iter()
            .filter_map(|element| if let Element::Byte(byte) = element { Some(*byte) } else { None });
        let rest = if rest.is_empty() { None } else { Some(Box::new(Rest::new(rest, kind, ignores_case)?)) };
        Ok(Self { kind, start: start.collect(), rest, ignores_case, text: pattern.into() })
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?}, {:?})", self.kind, self.text)
    }
}

/// The pattern's elements; stars side by side are one, so that no two follow each other.
fn elements(pattern: &[u8], kind: Kind) -> Result<Vec<Element>, GlobError> {
    let mut found: Vec<Element> = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        let element = match byte {
            b'*' => match found.last_mut() {
                Some(star @ (Element::Segment | Element::Any)) => {
                    *star = Element::Any;
                    continue;
                }
                _ if kind == Kind::Text => Element::Any,
                _ => Element::Segment,
            },
            b'?' => Element::One,
            b'\\' => Element::Byte(*bytes.next().ok_or(GlobError::LoneBackslash)?),
            byte => Element::Byte(byte),
        };
        found.push(element);
    }
    Ok(found)
}

impl Rest {
    fn new(elements: &[Element], kind: Kind, ignores_case: bool) -> Result<Self, GlobError> {
        if elements.len() > ELEMENTS_MAX {
            return Err(GlobError::TooLong);
        }
        let bit_of = |wanted: fn(&Element) -> bool| {
            let bits = elements.iter().enumerate().filter(|(_, element)| wanted(element));
            bits.fold(0_u128, |bits, (index, _)| bits | 1 << index)
        };
        let stars = bit_of(|element| matches!(element, Element::Segment | Element::Any));
        let ones = bit_of(|element| *element == Element::One);
        let mut classes = Box::new([0; 256]);
        // Class 0 is of the bytes that the pattern does not name.
        let mut matches = vec![ones];
        for byte in 0..=u8::MAX {
            let is_it = |other: u8| other == byte || ignores_case && other.eq_ignore_ascii_case(&byte);
            let named = elements
                .iter()
                .enumerate()
                .filter(|(_, e)| matches!(e, Element::Byte(other) if is_it(*other)));
            let named = named.fold(0_u128, |bits, (index, _)| bits | 1 << index);
            let within = if kind == Kind::Path && byte == b'/' { named } else { named | ones };
            let class = matches.iter().position(|&known| known == within).unwrap_or_else(|| {
                matches.push(within);
                matches.len() - 1
            });
            // At most one class for each element and two more.
            classes[usize::from(byte)] = u8::try_from(class).unwrap_or(0);
        }
        let double_stars = bit_of(|element| *element == Element::Any);
        Ok(Self { classes, matches: matches.into(), stars, double_stars, end: 1 << elements.len() })
    }

    fn matches(&self, subject: &[u8]) -> bool {
        let mut state = self.past_stars(1);
        for &byte in subject {
            let moved = (state & self.matches[usize::from(self.classes[usize::from(byte)])]) << 1;
            let stayed = state & if byte == b'/' { self.double_stars } else { self.stars };
            state = self.past_stars(moved | stayed);
            if state == 0 {
                return false;
            }
        }
        state & self.end != 0
    }

    /// A star may stand for nothing; no two follow each other.
    fn past_stars(&self, state: u128) -> u128 {
        state | (state & self.stars) << 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn stars_end_at_slashes_and_double_stars_do_not() {
        let yes = [
            ("/a", "/a"),
            ("/a/*", "/a/b"),
            ("/a/*", "/a/"),
            ("/a/**", "/a/b/c"),
            ("**/.git/**", "/x/.git/config"),
            ("/*.php", "/index.php"),
            ("/?", "/x"),
            ("**admin**", "/wp-admin/x"),
            ("/a\\*b", "/a*b"),
            ("**", ""),
            ("*a*b*c*", "xaxxbxcx"),
        ];
        for (pattern, path) in yes {
            assert!(Glob::path(pattern).unwrap().matches(path.as_bytes()), "{pattern} {path}");
        }
        let no = [
            ("/a", "/a/"),
            ("/a", "/A"),
            ("/a/*", "/a/b/c"),
            ("/a/**", "/a"),
            ("/*.php", "/x/index.php"),
            ("/?", "//"),
            ("/?", "/"),
            ("/a\\*b", "/axb"),
            ("", "/"),
        ];
        for (pattern, path) in no {
            assert!(!Glob::path(pattern).unwrap().matches(path.as_bytes()), "{pattern} {path}");
        }
    }

    #[test]
    fn text_has_no_segments_and_no_case() {
        let bot = Glob::text("*badbot/?.*").unwrap();
        assert!(bot.matches(b"Mozilla/5.0 (BadBot/2.1)"));
        assert!(!bot.matches(b"Mozilla/5.0"));
        assert!(
            Glob::text("EVIL").unwrap().matches(b"evil") && !Glob::text("evil").unwrap().matches(b"devil")
        );
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert_eq!(Glob::path("/a\\"), Err(GlobError::LoneBackslash));
        let long = "x".repeat(ELEMENTS_MAX - 1);
        assert!(
            Glob::path(&format!("/{long}{long}*{long}"))
                .unwrap()
                .matches(format!("/{long}{long}..{long}").as_bytes())
        );
        assert_eq!(Glob::path(&format!("*{long}x")), Err(GlobError::TooLong));
        assert!(Glob::path(&format!("*{long}")).unwrap().matches(long.as_bytes()));
    }

    /// The definition, as it would be written down.
    fn by_definition(pattern: &[u8], subject: &[u8]) -> bool {
        match pattern {
            [] => subject.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=subject.len()).any(|at| by_definition(rest, &subject[at..])),
            [b'*', rest @ ..] => {
                let segment = subject.iter().position(|&byte| byte == b'/').unwrap_or(subject.len());
                (0..=segment).any(|at| by_definition(rest, &subject[at..]))
            }
            [b'?', rest @ ..] => {
                subject.split_first().is_some_and(|(&byte, tail)| byte != b'/' && by_definition(rest, tail))
            }
            [byte, rest @ ..] => {
                subject.split_first().is_some_and(|(first, tail)| first == byte && by_definition(rest, tail))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn a_pattern_means_what_its_definition_says(pattern in "[ab/*?]{0,7}", subject in "[ab/]{0,8}") {
            let glob = Glob::path(&pattern).unwrap();
            prop_assert_eq!(glob.matches(subject.as_bytes()), by_definition(pattern.as_bytes(), subject.as_bytes()));
        }
    }
}

//! Patterns of text with wildcards, matched in one pass over what is asked, whatever the pattern is.
//!
//! `*` stands for any bytes, `?` for one byte, and `\` takes the meaning from what follows it; letters of ASCII match in
//! either case. All states that a match could be in are bits of one number, so no input makes a pattern go back and try
//! again.

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

/// A pattern, ready to be asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Glob {
    /// What comes before the first wildcard.
    start: Box<[u8]>,
    /// What comes from there on; `None` when there is no wildcard.
    rest: Option<Box<Rest>>,
    text: Box<str>,
}

/// Elements as bits: bit `i` of a state says that the first `i` elements are matched.
#[derive(Clone, PartialEq, Eq)]
struct Rest {
    /// Which elements a byte matches, by the byte's class.
    classes: Box<[u8; 256]>,
    matches: Box<[u128]>,
    /// Elements that are `*`.
    stars: u128,
    end: u128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Byte(u8),
    One,
    Any,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`GlobError`]
    pub fn parse(pattern: &str) -> Result<Self, GlobError> {
        let elements = elements(pattern.as_bytes())?;
        let is_byte = |element: &Element| matches!(element, Element::Byte(_));
        let first_wildcard = elements.iter().position(|element| !is_byte(element)).unwrap_or(elements.len());
        let (start, rest) = elements.split_at(first_wildcard);
        let byte = |element: &Element| if let Element::Byte(byte) = element { Some(*byte) } else { None };
        let rest = if rest.is_empty() { None } else { Some(Box::new(Rest::new(rest)?)) };
        Ok(Self { start: start.iter().filter_map(byte).collect(), rest, text: pattern.into() })
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
        start.eq_ignore_ascii_case(&self.start)
            && self.rest.as_ref().map_or(behind.is_empty(), |rest| rest.matches(behind))
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.text)
    }
}

/// The pattern's elements; stars side by side are one, so that no two follow each other.
fn elements(pattern: &[u8]) -> Result<Vec<Element>, GlobError> {
    let mut found: Vec<Element> = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'*' if found.last() == Some(&Element::Any) => {}
            b'*' => found.push(Element::Any),
            b'?' => found.push(Element::One),
            b'\\' => found.push(Element::Byte(*bytes.next().ok_or(GlobError::LoneBackslash)?)),
            byte => found.push(Element::Byte(byte)),
        }
    }
    Ok(found)
}

impl Rest {
    fn new(elements: &[Element]) -> Result<Self, GlobError> {
        if elements.len() > ELEMENTS_MAX {
            return Err(GlobError::TooLong);
        }
        let bits_of = |wanted: &dyn Fn(&Element) -> bool| {
            let bits = elements.iter().enumerate().filter(|(_, element)| wanted(element));
            bits.fold(0_u128, |bits, (index, _)| bits | 1 << index)
        };
        let ones = bits_of(&|element| *element == Element::One);
        let mut classes = Box::new([0; 256]);
        // Class 0 is of the bytes that the pattern does not name.
        let mut matches = vec![ones];
        for byte in 0..=u8::MAX {
            let named = |e: &Element| matches!(e, Element::Byte(named) if named.eq_ignore_ascii_case(&byte));
            let matched = bits_of(&named) | ones;
            let class = matches.iter().position(|&known| known == matched).unwrap_or_else(|| {
                matches.push(matched);
                matches.len() - 1
            });
            // At most one class for each element and one more.
            classes[usize::from(byte)] = u8::try_from(class).unwrap_or(0);
        }
        let stars = bits_of(&|element| *element == Element::Any);
        Ok(Self { classes, matches: matches.into(), stars, end: 1 << elements.len() })
    }

    fn matches(&self, subject: &[u8]) -> bool {
        let mut state = self.past_stars(1);
        for &byte in subject {
            let moved = (state & self.matches[usize::from(self.classes[usize::from(byte)])]) << 1;
            state = self.past_stars(moved | state & self.stars);
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
    fn wildcards_are_any_bytes_and_one_byte_in_either_case() {
        let bot = Glob::parse("*badbot/?.*").unwrap();
        assert!(bot.matches(b"Mozilla/5.0 (BadBot/2.1)") && bot.as_str() == "*badbot/?.*");
        for (pattern, subject, matches) in [
            ("EVIL", "evil", true),
            ("evil", "devil", false),
            ("a\\*b", "A*B", true),
            ("a\\*b", "axb", false),
            ("*", "", true),
            ("?", "", false),
            ("", "", true),
            ("", "x", false),
            ("**x", "/x", true),
        ] {
            assert_eq!(
                Glob::parse(pattern).unwrap().matches(subject.as_bytes()),
                matches,
                "{pattern} {subject}"
            );
        }
        assert!(!bot.matches(b"Mozilla/5.0"));
    }

    #[test]
    fn what_is_no_pattern_is_said() {
        assert_eq!(Glob::parse("/a\\"), Err(GlobError::LoneBackslash));
        let long = "x".repeat(ELEMENTS_MAX - 1);
        let subject = format!("/{long}{long}..{long}");
        assert!(Glob::parse(&format!("/{long}{long}*{long}")).unwrap().matches(subject.as_bytes()));
        assert_eq!(Glob::parse(&format!("*{long}x")), Err(GlobError::TooLong));
        assert!(Glob::parse(&format!("*{long}")).unwrap().matches(long.as_bytes()));
    }

    /// The definition, as it would be written down.
    fn by_definition(pattern: &[u8], subject: &[u8]) -> bool {
        match pattern {
            [] => subject.is_empty(),
            [b'*', rest @ ..] => (0..=subject.len()).any(|at| by_definition(rest, &subject[at..])),
            [byte, rest @ ..] => {
                let is_it = |first: &u8| *byte == b'?' || first.eq_ignore_ascii_case(byte);
                subject.split_first().is_some_and(|(first, tail)| is_it(first) && by_definition(rest, tail))
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

        #[test]
        fn a_pattern_means_what_its_definition_says(pattern in "[abB*?]{0,7}", subject in "[abA]{0,8}") {
            let glob = Glob::parse(&pattern).unwrap();
            prop_assert_eq!(glob.matches(subject.as_bytes()), by_definition(pattern.as_bytes(), subject.as_bytes()));
        }
    }
}

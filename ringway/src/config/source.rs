//! Source text: the files a configuration was read from, and places in them.

use std::path::{Path, PathBuf};

/// A stretch of one file: bytes `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Index of the file in [`Sources`].
    pub file: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// One file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, as it is shown.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// All files of a configuration, the main file first.
#[derive(Clone, Debug, Default)]
pub struct Sources(Vec<Source>);

/// A place as people count: lines and columns from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position<'a> {
    /// The line's number.
    pub line: usize,
    /// The column of the first character.
    pub column: usize,
    /// The line's text, without its end.
    pub text: &'a str,
    /// How many characters of that line are meant, at least 1.
    pub width: usize,
}

impl Sources {
    /// Adds a file; gives its index.
    pub fn add(&mut self, path: &Path, text: String) -> u32 {
        self.0.push(Source { path: path.to_owned(), text });
        u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX)
    }

    /// The file with that index.
    #[must_use]
    pub fn get(&self, file: u32) -> Option<&Source> {
        self.0.get(usize::try_from(file).unwrap_or(usize::MAX))
    }

    /// The files, the main file first.
    pub fn iter(&self) -> impl Iterator<Item = &Source> {
        self.0.iter()
    }

    /// Where a place is.
    #[must_use]
    pub fn position(&self, place: Place) -> Option<Position<'_>> {
        let text = self.get(place.file)?.text.as_str();
        let start = floor_boundary(text, place.start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let meant_end =
            floor_boundary(text, place.end).clamp(start, line_start + line.len().max(start - line_start));
        Some(Position {
            line: before.matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            text: line,
            width: text[start..meant_end].chars().count().max(1),
        })
    }
}

/// The last boundary of characters at or before `at`.
fn floor_boundary(text: &str, at: u32) -> usize {
    let mut at = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str, start: u32, end: u32) -> (usize, usize, String, usize) {
        let mut sources = Sources::default();
        let file = sources.add(Path::new("x"), text.to_owned());
        let found = sources.position(Place { file, start, end }).expect("the file is there");
        (found.line, found.column, found.text.to_owned(), found.width)
    }

    #[test]
    fn places_are_counted_as_people_do() {
        assert_eq!(position("a = 1\r\nbc = 2\r\n", 7, 9), (2, 1, "bc = 2".to_owned(), 2));
        assert_eq!(position("ä = 1\nx", 3, 99), (1, 3, "ä = 1".to_owned(), 3));
        assert_eq!(position("ä", 1, 2), (1, 1, "ä".to_owned(), 1));
        assert_eq!(position("a\n", 2, 2), (2, 1, String::new(), 1));
        assert_eq!(position("", 0, 0), (1, 1, String::new(), 1));
    }
}

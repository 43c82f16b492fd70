//! Scripts among files: names that are run, and never sent.

use crate::exchange::Exchange;
use crate::pipeline::Handled;
use ringway_http::response::EncodeError;
use std::fmt;

/// Most endings of scripts.
pub const ENDINGS_MAX: usize = 8;

/// Longest ending, its dot included, in bytes.
pub const ENDING_BYTES_MAX: usize = 16;

/// Why endings are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndingError {
    /// There is none, or there are more than [`ENDINGS_MAX`].
    Count,
    /// What is not a dot with letters and digits behind it.
    Form(String),
}

impl fmt::Display for EndingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count => write!(f, "there are 1 to {ENDINGS_MAX} endings of scripts"),
            Self::Form(text) => {
                write!(f, "{text:?} is no ending of a name; write a dot and letters, such as \".php\"")
            }
        }
    }
}

impl std::error::Error for EndingError {}

/// The endings by which scripts are known, in any case of their letters: what would be a script for some machine is not sent
/// by any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endings(Box<[Box<[u8]>]>);

impl Endings {
    /// Reads endings such as `.php`.
    ///
    /// # Errors
    /// [`EndingError`].
    pub fn parse<T: AsRef<str>>(list: &[T]) -> Result<Self, EndingError> {
        if list.is_empty() || list.len() > ENDINGS_MAX {
            return Err(EndingError::Count);
        }
        Self::of_all(list)
    }

    /// Those of PHP: `.php`.
    #[must_use]
    pub fn php() -> Self {
        Self([b".php"[..].into()].into())
    }

    /// Reads any number of endings, each of which counts once.
    ///
    /// # Errors
    /// [`EndingError::Form`].
    pub fn of_all<T: AsRef<str>>(list: &[T]) -> Result<Self, EndingError> {
        let mut all: Vec<Box<[u8]>> = Vec::new();
        for text in list {
            let ending = read(text.as_ref())?;
            if !all.contains(&ending) {
                all.push(ending);
            }
        }
        Ok(Self(all.into()))
    }

    /// Whether a path or name is a script's: its last segment has one of the endings and something before it.
    #[must_use]
    pub fn is_script(&self, path: &[u8]) -> bool {
        let segment = memchr::memrchr(b'/', path).map_or(path, |at| &path[at + 1..]);
        self.0.iter().any(|ending| {
            let stem_len = segment.len().saturating_sub(ending.len());
            stem_len > 0 && segment[stem_len..].eq_ignore_ascii_case(ending)
        })
    }

    /// The part of a path that may name a script, up to its first segment with one of the endings, and what is behind it:
    /// `/a.php/b` gives `/a.php` and `/b`. Whether there is such a script, only the disk knows.
    #[must_use]
    pub fn split<'p>(&self, path: &'p [u8]) -> (&'p [u8], &'p [u8]) {
        let ends = memchr::memchr_iter(b'/', path).filter(|end| *end > 0);
        let end = ends.into_iter().find(|end| self.is_script(&path[..*end])).unwrap_or(path.len());
        path.split_at(end)
    }
}

fn read(text: &str) -> Result<Box<[u8]>, EndingError> {
    let letters = text.strip_prefix('.').unwrap_or_default();
    let is_sound = !letters.is_empty()
        && text.len() <= ENDING_BYTES_MAX
        && letters.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_sound { Ok(text.as_bytes().into()) } else { Err(EndingError::Form(text.to_owned())) }
}

/// A script that is there, and for which path it was found.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// Where its root lies among the site's paths, without a slash at its end.
    pub prefix: &'a [u8],
    /// Its name below the root, without a slash before it.
    pub name: &'a [u8],
    /// What follows it in the path: nothing, or something that begins with a slash.
    pub path_info: &'a [u8],
}

/// Who runs scripts.
pub trait RunScripts {
    /// Whether a script of that name is run here; others are answered elsewhere, or not at all.
    fn runs(&self, name: &[u8]) -> bool;

    /// Answers with what a script says.
    ///
    /// # Errors
    /// When the exchange's memory is too small for the answer's head.
    fn run(&self, exchange: &mut Exchange<'_>, script: &Script<'_>) -> Result<Handled, EncodeError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn php() -> Endings {
        Endings::parse(&[".php", ".phtml"]).unwrap()
    }

    #[test]
    fn endings_are_a_dot_and_letters() {
        for list in [&[".php"][..], &[".php", ".phtml"], &[".CGI"], &[".py3"]] {
            assert!(Endings::parse(list).is_ok(), "{list:?}");
        }
        assert_eq!(Endings::parse::<&str>(&[]), Err(EndingError::Count));
        assert_eq!(Endings::parse(&[".a"; 9]), Err(EndingError::Count));
        for bad in ["", ".", "php", ".p/p", ".php.", "..php", ".p p", ".sixteenletters00"] {
            assert_eq!(Endings::parse(&[bad]), Err(EndingError::Form(bad.to_owned())), "{bad:?}");
        }
        let all = Endings::of_all(&[".php", ".phtml", ".cgi", ".php"]).unwrap();
        assert_eq!(all, Endings::parse(&[".php", ".phtml", ".cgi"]).unwrap());
    }

    #[test]
    fn scripts_are_known_by_their_last_segment() {
        for path in ["/a.php", "/a/b.PhP", "a.phtml", "/x.php.php", "/a.php/b.php"] {
            assert!(php().is_script(path.as_bytes()), "{path}");
        }
        for path in
            ["", "/", "/.php", "/a/.php", ".php", "/php", "/a.php/", "/a.php.jpg", "/a.php/b", "/a.phpx"]
        {
            assert!(!php().is_script(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_are_split_behind_the_first_script() {
        for (path, script, info) in [
            ("/a.php", "/a.php", ""),
            ("/a.php/", "/a.php", "/"),
            ("/a.php/b/c", "/a.php", "/b/c"),
            ("/a.php/b.php/c", "/a.php", "/b.php/c"),
            ("/d/a.PHP/b", "/d/a.PHP", "/b"),
            ("/upload/evil.jpg/x.php", "/upload/evil.jpg/x.php", ""),
            ("/upload/evil.jpg/x.php/y", "/upload/evil.jpg/x.php", "/y"),
            ("/.php/b", "/.php/b", ""),
            ("/a/b", "/a/b", ""),
            ("/", "/", ""),
        ] {
            let split = php().split(path.as_bytes());
            assert_eq!(split, (script.as_bytes(), info.as_bytes()), "{path}");
        }
    }
}

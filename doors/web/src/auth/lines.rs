//! Files of lines `name:secret`: comments, names, and what can be wrong with a line.

use std::error::Error;
use std::fmt;

/// Longest name, in bytes.
pub const NAME_LEN_MAX: usize = 255;

/// What is wrong with one line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    /// Its number, the first is 1.
    pub line: usize,
    /// What is wrong.
    pub reason: LineReason,
}

/// What can be wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LineReason {
    /// No colon between name and secret.
    NoColon,
    /// No name, one of more than [`NAME_LEN_MAX`] bytes, or one with control characters.
    Name,
    /// The name stands on an earlier line already.
    Twice {
        /// That line's number.
        first: usize,
    },
    /// What stands behind the colon, and why it will not do.
    Secret(&'static str),
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.reason {
            LineReason::NoColon => f.write_str("there is no colon; a line is NAME:SECRET"),
            LineReason::Name => {
                write!(f, "a name has 1 to {NAME_LEN_MAX} bytes and no control characters")
            }
            LineReason::Twice { first } => write!(f, "the name stands on line {first} already"),
            LineReason::Secret(why) => f.write_str(why),
        }
    }
}

impl Error for LineError {}

/// Whether a text may be the name of a user: 1 to [`NAME_LEN_MAX`] bytes, no colon, no control characters.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&name.len()) && !name.contains(':') && !name.chars().any(char::is_control)
}

/// The lines that say something: number, name and secret, or what is wrong. Empty ones and those that begin with `#` are
/// comments; spaces around name and secret do not count.
pub(crate) fn entries(text: &str) -> impl Iterator<Item = Result<(usize, &str, &str), LineError>> {
    let numbered = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let spoken = numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    spoken.map(|(line, text)| {
        let error = |reason| LineError { line, reason };
        let (name, secret) = text.split_once(':').ok_or(error(LineReason::NoColon))?;
        let (name, secret) = (name.trim(), secret.trim());
        if is_name(name) { Ok((line, name, secret)) } else { Err(error(LineReason::Name)) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_passed_over_and_lines_keep_their_numbers() {
        let text = "# users\n\n alice : x:y \nbob\n:x\na\u{7}b:x\n";
        let read: Vec<_> = entries(text).map(|entry| entry.map_err(|error| error.to_string())).collect();
        assert_eq!(read[0], Ok((3, "alice", "x:y")));
        assert!(read[1].as_ref().unwrap_err().starts_with("line 4: there is no colon"));
        assert!(read[2].as_ref().unwrap_err().starts_with("line 5: a name has"));
        assert!(read[3].as_ref().unwrap_err().starts_with("line 6: a name has"));
        assert_eq!(read.len(), 4);
    }
}

//! Edits of an answer's head: field lines that a site or route adds, sets or removes.

use ringway_http::response::EncodeError;
#[cfg(feature = "sites")]
use ringway_http::response::HeadWriter;
use std::fmt;

/// Most bytes of lines that one set of edits adds.
pub const EDIT_BYTES_MAX: usize = 8192;

/// Fields that say how the message is framed or when it was made: there is one of each, and it is the server's.
#[cfg(feature = "sites")]
const PROTECTED: [&[u8]; 7] = [
    b"connection",
    b"content-length",
    b"content-range",
    b"date",
    b"keep-alive",
    b"transfer-encoding",
    b"upgrade",
];

/// Why an edit is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EditError {
    /// The name is no field name.
    Name(String),
    /// The value has a byte that no field value can hold.
    Value(String),
    /// The field is the server's own.
    Protected(String),
    /// More than [`EDIT_BYTES_MAX`].
    TooMuch,
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name:?} is no field name"),
            Self::Value(value) => write!(f, "{value:?} has a byte that no field value can hold"),
            Self::Protected(name) => write!(f, "the field {name} is the server's own"),
            Self::TooMuch => write!(f, "the added fields are longer than {EDIT_BYTES_MAX} bytes"),
        }
    }
}

impl std::error::Error for EditError {}

/// What is done to the heads of answers. Removing works on everything but what frames the message, so on what Ringway itself
/// adds as well as on what a program behind it said.
#[derive(Clone, Debug, Default)]
pub struct FieldEdits {
    /// In lower case.
    removed: Vec<Box<[u8]>>,
    lines: Vec<u8>,
}

impl FieldEdits {
    /// Adds a line to what is there.
    ///
    /// # Errors
    /// [`EditError`].
    #[cfg(feature = "sites")]
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        check(name)?;
        let before = self.lines.len();
        let after = before + name.len() + value.len() + b": \r\n".len();
        if after > EDIT_BYTES_MAX {
            return Err(EditError::TooMuch);
        }
        self.lines.resize(after, 0);
        let written = HeadWriter::new(&mut self.lines[before..]).field(name.as_bytes(), value.as_bytes());
        written.map_err(|error| {
            self.lines.truncate(before);
            match error {
                EncodeError::FieldName => EditError::Name(name.to_owned()),
                EncodeError::FieldValue => EditError::Value(value.to_owned()),
                EncodeError::Full => EditError::TooMuch,
            }
        })
    }

    /// Has the field stand once, with this value.
    ///
    /// # Errors
    /// [`EditError`].
    #[cfg(feature = "sites")]
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), EditError> {
        self.remove(name)?;
        self.add(name, value)
    }

    /// Takes the field away.
    ///
    /// # Errors
    /// [`EditError`].
    #[cfg(feature = "sites")]
    pub fn remove(&mut self, name: &str) -> Result<(), EditError> {
        check(name)?;
        HeadWriter::new(&mut [0; EDIT_BYTES_MAX])
            .field(name.as_bytes(), b"")
            .map_err(|_unfit| EditError::Name(name.to_owned()))?;
        let name = name.to_ascii_lowercase().into_bytes().into_boxed_slice();
        if !self.removed.contains(&name) {
            self.removed.push(name);
        }
        Ok(())
    }

    /// What is taken away, in lower case, and the lines that are added.
    #[cfg(feature = "proxy")]
    pub(crate) fn parts(&self) -> (&[Box<[u8]>], &[u8]) {
        (&self.removed, &self.lines)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !cfg!(feature = "sites") || self.removed.is_empty() && self.lines.is_empty()
    }

    /// Edits the head that fills the first `len` bytes of `memory`; gives its new length.
    ///
    /// # Errors
    /// [`EncodeError::Full`] when the lines to add do not fit. The head is spoilt then.
    pub fn apply(&self, memory: &mut [u8], len: usize) -> Result<usize, EncodeError> {
        let len = if self.removed.is_empty() { len } else { self.take_away(memory, len) };
        append_lines(memory, len, &self.lines)
    }

    fn take_away(&self, memory: &mut [u8], len: usize) -> usize {
        let (mut read, mut write, mut is_first) = (0, 0, true);
        while read < len {
            let end = memchr::memchr(b'\n', &memory[read..len]).map_or(len, |at| read + at + 1);
            // The status line is no field, and the empty line has no name.
            if is_first || !self.names(&memory[read..end]) {
                memory.copy_within(read..end, write);
                write += end - read;
            }
            (read, is_first) = (end, false);
        }
        write
    }

    /// Whether a field line is one to be removed.
    fn names(&self, line: &[u8]) -> bool {
        let name = &line[..memchr::memchr(b':', line).unwrap_or(0)];
        self.removed.iter().any(|removed| name.eq_ignore_ascii_case(removed))
    }
}

/// Puts field lines before the empty line of the head that fills the first `len` bytes of `memory`; gives its new length.
///
/// # Errors
/// [`EncodeError::Full`] when they do not fit; the head is as it was then.
pub(crate) fn append_lines(memory: &mut [u8], len: usize, lines: &[u8]) -> Result<usize, EncodeError> {
    if lines.is_empty() {
        return Ok(len);
    }
    let start = len.checked_sub(2).ok_or(EncodeError::Full)?;
    let room = memory.get_mut(start..len + lines.len()).ok_or(EncodeError::Full)?;
    let (added, end) = room.split_at_mut(lines.len());
    added.copy_from_slice(lines);
    end.copy_from_slice(b"\r\n");
    Ok(len + lines.len())
}

#[cfg(feature = "sites")]
fn check(name: &str) -> Result<(), EditError> {
    let is_protected = PROTECTED.iter().any(|one| name.as_bytes().eq_ignore_ascii_case(one));
    if is_protected { Err(EditError::Protected(name.to_owned())) } else { Ok(()) }
}

#[cfg(feature = "sites")]
#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str =
        "HTTP/1.1 200 OK\r\nDate: now\r\nServer: Ringway\r\nContent-Length: 0\r\nVary: a\r\nvary: b\r\n\r\n";

    fn edited(edits: &FieldEdits, room: usize) -> Result<String, EncodeError> {
        let mut memory = HEAD.as_bytes().to_vec();
        memory.resize(HEAD.len() + room, b'?');
        let len = edits.apply(&mut memory, HEAD.len())?;
        Ok(String::from_utf8(memory[..len].to_vec()).unwrap())
    }

    #[test]
    fn lines_are_added_set_and_removed() {
        let mut edits = FieldEdits::default();
        assert!(edits.is_empty());
        edits.add("X-A", "1").unwrap();
        assert_eq!(edited(&edits, 8).unwrap(), HEAD.replace("\r\n\r\n", "\r\nX-A: 1\r\n\r\n"));
        edits.set("VARY", "c").unwrap();
        edits.remove("server").unwrap();
        assert_eq!(
            edited(&edits, 8).unwrap(),
            "HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 0\r\nX-A: 1\r\nVARY: c\r\n\r\n"
        );
    }

    #[test]
    fn too_little_room_is_an_error() {
        let mut edits = FieldEdits::default();
        edits.add("X-A", "1").unwrap();
        for room in 0..8 {
            assert_eq!(edited(&edits, room), Err(EncodeError::Full), "{room}");
        }
    }

    #[test]
    fn what_frames_the_message_and_what_is_no_field_is_refused() {
        let mut edits = FieldEdits::default();
        for name in ["Date", "content-length", "Transfer-Encoding", "CONNECTION"] {
            assert_eq!(edits.add(name, "x"), Err(EditError::Protected(name.to_owned())));
            assert_eq!(edits.remove(name), Err(EditError::Protected(name.to_owned())));
        }
        assert_eq!(edits.add("a b", "x"), Err(EditError::Name("a b".to_owned())));
        assert_eq!(edits.remove("a\r\nb"), Err(EditError::Name("a\r\nb".to_owned())));
        assert_eq!(
            edits.add("a", "x\r\nSet-Cookie: y"),
            Err(EditError::Value("x\r\nSet-Cookie: y".to_owned()))
        );
        assert_eq!(edits.add("a", &"x".repeat(EDIT_BYTES_MAX)), Err(EditError::TooMuch));
        assert!(edits.is_empty());
    }
}

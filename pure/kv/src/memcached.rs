//! memcached's meta protocol (memcached 1.6 and later): commands as they are sent, replies as they come.

use crate::line::{Counted, Line, LineFault, number};
use std::fmt;

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 250;

/// What a server says to one command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A value, with what was asked for about it (`VA`).
    Value {
        /// Its bytes.
        data: Vec<u8>,
        /// What it was compared by (flag `c`), if that was asked for.
        unique: Option<u64>,
    },
    /// It is done (`HD`).
    Done,
    /// There is no such key (`EN`, `NF`).
    Missing,
    /// It was not stored: it is there and should not be, or the other way round (`NS`).
    NotStored,
    /// Somebody else has changed it meanwhile (`EX`).
    Changed,
    /// The answer to [`Command::nothing`] (`MN`).
    Nothing,
    /// A refusal, as the server words it.
    Error(String),
}

/// Why what comes is no reply, or too much of one. Nothing can be read behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A line begins with none of the words that replies begin with.
    Word,
    /// A number is none.
    Number,
    /// CR and LF are not where they must be.
    Ending,
    /// A line or a value is larger than allowed.
    TooLarge,
}

/// Why something cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFault;

/// How a value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Whatever is there.
    Set,
    /// Only where nothing is.
    Add,
    /// Only where something is.
    Replace,
    /// Only where nobody has changed it since it was read with this number.
    Unchanged(u64),
}

/// A command, as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    bytes: Vec<u8>,
}

impl Command {
    /// Asks for a value and the number that [`Store::Unchanged`] takes.
    ///
    /// # Errors
    /// The key is none: 1 to [`KEY_BYTES_MAX`] bytes without spaces and controls.
    pub fn get(key: &[u8]) -> Result<Self, KeyFault> {
        Self::about(b"mg ", key, " v c\r\n")
    }

    /// Stores a value for `ttl_s` seconds; 0: until it is evicted. More than thirty days would be read as a time of the Unix
    /// clock, so that is the most.
    ///
    /// # Errors
    /// As [`Command::get`].
    pub fn set(key: &[u8], value: &[u8], ttl_s: u32, store: Store) -> Result<Self, KeyFault> {
        let how = match store {
            Store::Set => String::new(),
            Store::Add => " ME".to_owned(),
            Store::Replace => " MR".to_owned(),
            Store::Unchanged(unique) => format!(" C{unique}"),
        };
        let rest = format!(" {} T{}{how}\r\n", value.len(), ttl_s.min(30 * 24 * 3_600));
        let mut this = Self::about(b"ms ", key, &rest)?;
        this.bytes.extend_from_slice(value);
        this.bytes.extend_from_slice(b"\r\n");
        Ok(this)
    }

    /// Removes a value.
    ///
    /// # Errors
    /// As [`Command::get`].
    pub fn delete(key: &[u8]) -> Result<Self, KeyFault> {
        Self::about(b"md ", key, "\r\n")
    }

    /// Adds to a number, which begins with `delta` where there is none and then lives `ttl_s` seconds; asks for the sum.
    ///
    /// # Errors
    /// As [`Command::get`].
    pub fn add(key: &[u8], delta: u64, ttl_s: u32) -> Result<Self, KeyFault> {
        let rest = format!(" D{delta} J{delta} N{} v\r\n", ttl_s.min(30 * 24 * 3_600));
        Self::about(b"ma ", key, &rest)
    }

    /// Asks for nothing but an answer.
    #[must_use]
    pub fn nothing() -> Self {
        Self { bytes: b"mn\r\n".to_vec() }
    }

    /// What is sent.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn about(word: &[u8], key: &[u8], rest: &str) -> Result<Self, KeyFault> {
        let is_plain = |byte: &u8| *byte > b' ' && *byte != 0x7f;
        if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.iter().all(is_plain) {
            return Err(KeyFault);
        }
        Ok(Self { bytes: [word, key, rest.as_bytes()].concat() })
    }
}

/// Reads replies, however their bytes are cut into pieces.
#[derive(Debug)]
pub struct Decoder {
    bytes_max: usize,
    line: Line,
    value: Option<(Counted, Option<u64>)>,
}

impl Decoder {
    /// Reads replies whose values have at most `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, line: Line::default(), value: None }
    }

    /// The next whole reply. Takes bytes from `input`'s front: all of them when it returns `None`.
    ///
    /// # Errors
    /// [`Fault`]; the decoder is of no use then.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Reply>, Fault> {
        loop {
            if let Some((counted, unique)) = &mut self.value {
                let Some(data) = counted.take(input)? else { return Ok(None) };
                let unique = *unique;
                self.value = None;
                return Ok(Some(Reply::Value { data, unique }));
            }
            let Some(line) = self.line.take(input)? else { return Ok(None) };
            let mut words = line.split(|byte| *byte == b' ');
            match words.next().unwrap_or_default() {
                b"VA" => self.value = Some(self.begin_value(words)?),
                b"HD" => return Ok(Some(Reply::Done)),
                b"EN" | b"NF" => return Ok(Some(Reply::Missing)),
                b"NS" => return Ok(Some(Reply::NotStored)),
                b"EX" => return Ok(Some(Reply::Changed)),
                b"MN" => return Ok(Some(Reply::Nothing)),
                b"ERROR" | b"CLIENT_ERROR" | b"SERVER_ERROR" => {
                    return Ok(Some(Reply::Error(String::from_utf8_lossy(&line).into_owned())));
                }
                _ => return Err(Fault::Word),
            }
        }
    }

    fn begin_value<'a>(
        &self,
        mut words: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(Counted, Option<u64>), Fault> {
        let count = words.next().and_then(number).and_then(|count| usize::try_from(count).ok());
        let count = count.ok_or(Fault::Number)?;
        if count > self.bytes_max {
            return Err(Fault::TooLarge);
        }
        let unique = words.find_map(|word| word.strip_prefix(b"c"));
        let unique = unique.map(|word| std::str::from_utf8(word).ok().and_then(|text| text.parse().ok()));
        let unique = unique.map(|number| number.ok_or(Fault::Number)).transpose()?;
        Ok((Counted::new(count), unique))
    }
}

impl From<LineFault> for Fault {
    fn from(fault: LineFault) -> Self {
        match fault {
            LineFault::TooLong => Self::TooLarge,
            LineFault::Ending => Self::Ending,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Word => "a line begins with none of a reply's words",
            Self::Number => "a number is none",
            Self::Ending => "a line does not end as it must",
            Self::TooLarge => "a value is too large",
        })
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for KeyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key has 1 to 250 bytes and no spaces or controls")
    }
}

impl std::error::Error for KeyFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<Vec<Reply>, Fault> {
        let mut decoder = Decoder::new(100);
        let mut replies = Vec::new();
        for piece in bytes.chunks(step) {
            let mut input = piece;
            while let Some(reply) = decoder.next(&mut input)? {
                replies.push(reply);
            }
            assert!(input.is_empty());
        }
        Ok(replies)
    }

    #[test]
    fn replies_are_read_in_any_pieces() {
        let text = b"VA 4 c77\r\na\r\nb\r\nHD\r\nEN\r\nNF\r\nNS\r\nEX\r\nMN\r\nVA 0\r\n\r\nSERVER_ERROR out of memory\r\n";
        let replies = vec![
            Reply::Value { data: b"a\r\nb".to_vec(), unique: Some(77) },
            Reply::Done,
            Reply::Missing,
            Reply::Missing,
            Reply::NotStored,
            Reply::Changed,
            Reply::Nothing,
            Reply::Value { data: vec![], unique: None },
            Reply::Error("SERVER_ERROR out of memory".to_owned()),
        ];
        for step in 1..=text.len() {
            assert_eq!(decode(text, step).as_ref(), Ok(&replies), "in pieces of {step}");
        }
    }

    #[test]
    fn what_is_no_reply_is_a_fault() {
        let cases: &[(&[u8], Fault)] = &[
            (b"HTTP/1.1 400\r\n", Fault::Word),
            (b"\r\n", Fault::Word),
            (b"HD\n", Fault::Ending),
            (b"VA x\r\n", Fault::Number),
            (b"VA\r\n", Fault::Number),
            (b"VA -1\r\n", Fault::Number),
            (b"VA 1 cx\r\na\r\n", Fault::Number),
            (b"VA 101\r\n", Fault::TooLarge),
            (b"VA 1\r\nabc", Fault::Ending),
        ];
        for (bytes, fault) in cases {
            for step in 1..=bytes.len() {
                assert_eq!(decode(bytes, step), Err(*fault), "{:?}", String::from_utf8_lossy(bytes));
            }
        }
    }

    #[test]
    fn commands_are_lines_and_keys_cannot_end_them() {
        let text = |command: Result<Command, KeyFault>| {
            String::from_utf8(command.expect("a key").bytes().to_vec()).expect("text")
        };
        assert_eq!(text(Command::get(b"k")), "mg k v c\r\n");
        assert_eq!(text(Command::set(b"k", b"a b", 9, Store::Set)), "ms k 3 T9\r\na b\r\n");
        assert_eq!(text(Command::set(b"k", b"", u32::MAX, Store::Add)), "ms k 0 T2592000 ME\r\n\r\n");
        assert_eq!(text(Command::set(b"k", b"x", 0, Store::Unchanged(5))), "ms k 1 T0 C5\r\nx\r\n");
        assert_eq!(text(Command::add(b"k", 2, 60)), "ma k D2 J2 N60 v\r\n");
        assert_eq!(text(Command::delete(b"k")), "md k\r\n");
        for key in [&b""[..], b"a b", b"a\r\nmd b", b"\0", b"\x7f", &[b'x'; KEY_BYTES_MAX + 1]] {
            assert_eq!(Command::get(key), Err(KeyFault), "{key:?}");
        }
        assert!(Command::get(&[b'x'; KEY_BYTES_MAX]).is_ok());
    }
}

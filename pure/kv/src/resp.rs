//! RESP, the protocol of Redis and Valkey: commands as they are sent, values as they are answered, versions 2 and 3.

use crate::line::{Counted, Line, LineFault, number};
use std::fmt;

/// Deepest nesting of arrays and maps.
pub const DEPTH_MAX: usize = 16;

/// Bytes that each value counts beside its content, toward [`Decoder::new`]'s limit.
const VALUE_BYTES: usize = size_of::<Value>();

/// Places that are taken at once for items that are only announced.
const RESERVED_ITEMS_MAX: usize = 256;

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing: no such key, an aborted transaction.
    Nil,
    /// A number.
    Int(i64),
    /// A floating-point number (version 3).
    Double(f64),
    /// Yes or no (version 3).
    Bool(bool),
    /// A status, such as `OK`, or a number too large for [`Value::Int`].
    Status(String),
    /// Any bytes.
    Bytes(Vec<u8>),
    /// A refusal, as the server words it; its first word is its kind.
    Error(String),
    /// Several values; sets, too.
    Array(Vec<Value>),
    /// Pairs (version 3).
    Map(Vec<(Value, Value)>),
    /// Something that nobody has asked for now (version 3).
    Push(Vec<Value>),
}

/// Why what comes is not RESP, or too much of it. Nothing can be read behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A value begins with this byte.
    Kind(u8),
    /// A number is none.
    Number,
    /// CR and LF are not where they must be.
    Ending,
    /// Text is not UTF-8.
    Text,
    /// Values lie deeper in each other than [`DEPTH_MAX`].
    TooDeep,
    /// A line, or a value with all that is in it, is larger than allowed.
    TooLarge,
}

/// Reads values, however their bytes are cut into pieces.
#[derive(Debug)]
pub struct Decoder {
    bytes_max: usize,
    /// Bytes that the value under way has counted.
    used: usize,
    line: Line,
    counted: Option<(Counted, Content)>,
    open: Vec<Open>,
}

/// An array or map whose items are still coming.
#[derive(Debug)]
struct Open {
    kind: Kind,
    items: Vec<Value>,
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Array,
    Map,
    Push,
    /// Remarks about the value behind them, which are not for us.
    Attributes,
}

/// What counted bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Plain,
    /// Text that names its format.
    Verbatim,
    Error,
}

/// What a line begins.
enum Begun {
    Value(Value),
    Bytes { count: usize, content: Content },
    Items { kind: Kind, count: usize },
}

impl Decoder {
    /// Reads values of at most `bytes_max` bytes each, with what their parts take in memory.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { bytes_max, used: 0, line: Line::default(), counted: None, open: Vec::new() }
    }

    /// The next whole value. Takes bytes from `input`'s front: all of them when it returns `None`.
    ///
    /// # Errors
    /// [`Fault`]; the decoder is of no use then.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Value>, Fault> {
        loop {
            let Some(value) = self.part(input)? else {
                if input.is_empty() {
                    return Ok(None);
                }
                continue;
            };
            if let Some(whole) = self.close(value) {
                self.used = 0;
                return Ok(Some(whole));
            }
        }
    }

    /// The next value that holds no others, or an empty array; `None`: more bytes, or another look.
    fn part(&mut self, input: &mut &[u8]) -> Result<Option<Value>, Fault> {
        if let Some((counted, content)) = &mut self.counted {
            let Some(mut bytes) = counted.take(input)? else { return Ok(None) };
            let value = match content {
                Content::Plain => Value::Bytes(bytes),
                Content::Verbatim => {
                    // Three letters for the format and a colon.
                    bytes.drain(..bytes.len().min(4));
                    Value::Bytes(bytes)
                }
                Content::Error => Value::Error(String::from_utf8_lossy(&bytes).into_owned()),
            };
            self.counted = None;
            return Ok(Some(value));
        }
        let Some(line) = self.line.take(input)? else { return Ok(None) };
        match begin(&line)? {
            Begun::Value(value) => {
                self.count(line.len())?;
                Ok(Some(value))
            }
            Begun::Bytes { count, content } => {
                self.count(count)?;
                self.counted = Some((Counted::new(count), content));
                Ok(None)
            }
            Begun::Items { kind, count } => {
                // Items that are announced are counted when they begin; these are the places that they must have.
                if count > (self.bytes_max - self.used) / VALUE_BYTES {
                    return Err(Fault::TooLarge);
                }
                self.count(0)?;
                if count == 0 {
                    return Ok(self.finish(kind, Vec::new()));
                }
                if self.open.len() >= DEPTH_MAX {
                    return Err(Fault::TooDeep);
                }
                let items = Vec::with_capacity(count.min(RESERVED_ITEMS_MAX));
                self.open.push(Open { kind, items, left: count });
                Ok(None)
            }
        }
    }

    /// Puts a value where it belongs; the outermost one when that is whole.
    fn close(&mut self, value: Value) -> Option<Value> {
        let mut value = Some(value);
        while let Some(open) = self.open.last_mut() {
            open.items.push(value.take()?);
            open.left -= 1;
            if open.left > 0 {
                return None;
            }
            let Open { kind, items, .. } = self.open.pop()?;
            value = self.finish(kind, items);
        }
        value
    }

    /// A whole array or map; `None` where the value proper is still to come.
    fn finish(&self, kind: Kind, items: Vec<Value>) -> Option<Value> {
        match kind {
            Kind::Array => Some(Value::Array(items)),
            Kind::Push => Some(Value::Push(items)),
            Kind::Map => {
                let mut items = items.into_iter();
                let pairs = std::iter::from_fn(|| items.next().zip(items.next()));
                Some(Value::Map(pairs.collect()))
            }
            Kind::Attributes => None,
        }
    }

    fn count(&mut self, bytes: usize) -> Result<(), Fault> {
        self.used = self.used.saturating_add(bytes).saturating_add(VALUE_BYTES);
        if self.used > self.bytes_max { Err(Fault::TooLarge) } else { Ok(()) }
    }
}

fn begin(line: &[u8]) -> Result<Begun, Fault> {
    let (kind, rest) = line.split_first().ok_or(Fault::Kind(b'\r'))?;
    let text = || std::str::from_utf8(rest).map(str::to_owned).map_err(|_not_utf8| Fault::Text);
    let items = |kind, each: usize| match number(rest).ok_or(Fault::Number)? {
        // Version 2's way to say that there is no array.
        -1 => Ok(Begun::Value(Value::Nil)),
        count => {
            let count = usize::try_from(count).map_err(|_negative| Fault::Number)?;
            Ok(Begun::Items { kind, count: count.checked_mul(each).ok_or(Fault::TooLarge)? })
        }
    };
    let bytes = |content| match number(rest).ok_or(Fault::Number)? {
        -1 => Ok(Begun::Value(Value::Nil)),
        count => {
            let count = usize::try_from(count).map_err(|_negative| Fault::Number)?;
            // Beyond any limit; and two can be added to it.
            if count > usize::MAX / 2 { Err(Fault::TooLarge) } else { Ok(Begun::Bytes { count, content }) }
        }
    };
    match kind {
        b'+' => text().map(|text| Begun::Value(Value::Status(text))),
        // Some servers quote what they were sent in their refusals.
        b'-' => Ok(Begun::Value(Value::Error(String::from_utf8_lossy(rest).into_owned()))),
        b':' => number(rest).map(|number| Begun::Value(Value::Int(number))).ok_or(Fault::Number),
        b'$' => bytes(Content::Plain),
        b'=' => bytes(Content::Verbatim),
        b'!' => bytes(Content::Error),
        b'*' | b'~' => items(Kind::Array, 1),
        b'>' => items(Kind::Push, 1),
        b'%' => items(Kind::Map, 2),
        b'|' => items(Kind::Attributes, 2),
        b'_' if rest.is_empty() => Ok(Begun::Value(Value::Nil)),
        b'#' if rest == b"t" => Ok(Begun::Value(Value::Bool(true))),
        b'#' if rest == b"f" => Ok(Begun::Value(Value::Bool(false))),
        b',' => {
            let number = std::str::from_utf8(rest).ok().and_then(|text| text.parse().ok());
            number.map(|number| Begun::Value(Value::Double(number))).ok_or(Fault::Number)
        }
        b'(' => text().map(|text| Begun::Value(Value::Status(text))),
        other => Err(Fault::Kind(*other)),
    }
}

/// A command: its name and arguments, as they are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    count: usize,
    arguments: Vec<u8>,
    /// Bytes of the name.
    name: usize,
}

impl Command {
    /// A command without arguments yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { count: 0, arguments: Vec::new(), name: name.len() }.arg(name)
    }

    /// The same with one more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        let argument = argument.as_ref();
        self.count += 1;
        self.arguments.push(b'$');
        self.arguments.extend_from_slice(argument.len().to_string().as_bytes());
        self.arguments.extend_from_slice(b"\r\n");
        self.arguments.extend_from_slice(argument);
        self.arguments.extend_from_slice(b"\r\n");
        self
    }

    /// The same with a number as one more argument.
    #[must_use]
    pub fn number(self, number: impl Into<i128>) -> Self {
        let number: i128 = number.into();
        self.arg(number.to_string())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        let start = self.arguments.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.arguments.get(start..start + self.name).unwrap_or_default()
    }

    /// Writes it behind what is in `target`.
    pub fn encode(&self, target: &mut Vec<u8>) {
        target.push(b'*');
        target.extend_from_slice(self.count.to_string().as_bytes());
        target.extend_from_slice(b"\r\n");
        target.extend_from_slice(&self.arguments);
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
        match self {
            Self::Kind(byte) => write!(f, "a value begins with {:?}", char::from(*byte)),
            Self::Number => f.write_str("a number is none"),
            Self::Ending => f.write_str("a line does not end as it must"),
            Self::Text => f.write_str("text is not UTF-8"),
            Self::TooDeep => f.write_str("values lie too deep in each other"),
            Self::TooLarge => f.write_str("a value is too large"),
        }
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests;

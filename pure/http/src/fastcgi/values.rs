//! What a responder says of itself when it is asked.

use super::Fault;
use super::pairs::{Pairs, write_pair};
use super::record::{HEAD_BYTES, Head, Kind, Part, Records};

/// Most bytes of values that are read: three are asked for, and each is a number.
pub const VALUES_BYTES_MAX: usize = 256;

/// How many connections a responder takes.
const CONNS_MAX: &[u8] = b"FCGI_MAX_CONNS";

/// How many requests a responder takes at once.
const REQUESTS_MAX: &[u8] = b"FCGI_MAX_REQS";

/// Whether requests may share a connection.
const MULTIPLEXES: &[u8] = b"FCGI_MPXS_CONNS";

/// Bytes of the record that asks.
const GET_BYTES: usize = HEAD_BYTES + 3 * 2 + CONNS_MAX.len() + REQUESTS_MAX.len() + MULTIPLEXES.len();

/// The record that asks for everything in [`Capabilities`].
#[must_use]
pub fn get_values() -> [u8; GET_BYTES] {
    let mut record = [0; GET_BYTES];
    let mut len = HEAD_BYTES;
    for name in [CONNS_MAX, REQUESTS_MAX, MULTIPLEXES] {
        len += write_pair(&mut record[len..], name, b"").unwrap_or(0);
    }
    let content = u16::try_from(len - HEAD_BYTES).unwrap_or(0);
    record[..HEAD_BYTES].copy_from_slice(&Head::new(Kind::GET_VALUES, 0, content).bytes());
    record
}

/// What a responder says of itself. What it does not say, or what is no number, is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// How many connections it takes.
    pub conns_max: Option<u32>,
    /// How many requests it takes at once.
    pub requests_max: Option<u32>,
    /// Whether requests may share a connection.
    pub multiplexes: Option<bool>,
}

impl Capabilities {
    /// Reads names and values.
    ///
    /// # Errors
    /// [`Fault::Pair`].
    pub fn read(content: &[u8]) -> Result<Self, Fault> {
        let mut capabilities = Self::default();
        for pair in Pairs::new(content) {
            let (name, value) = pair?;
            let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match name {
                CONNS_MAX => capabilities.conns_max = number,
                REQUESTS_MAX => capabilities.requests_max = number,
                MULTIPLEXES => capabilities.multiplexes = number.map(|number| number != 0),
                _ => {}
            }
        }
        Ok(capabilities)
    }
}

/// Reads the one record that answers [`get_values`].
#[derive(Clone, Debug)]
pub struct Values {
    records: Records,
    content: [u8; VALUES_BYTES_MAX],
    have: usize,
    kind: Kind,
}

impl Default for Values {
    fn default() -> Self {
        Self::new()
    }
}

impl Values {
    /// Before the first byte.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: Records::new(),
            content: [0; VALUES_BYTES_MAX],
            have: 0,
            kind: Kind::GET_VALUES_RESULT,
        }
    }

    /// Takes in the next bytes: how many of them belong to the answer, and what it says when it is whole. A responder that
    /// does not know the question says nothing of itself.
    ///
    /// # Errors
    /// What is no such answer.
    pub fn read(&mut self, input: &[u8]) -> Result<(usize, Option<Capabilities>), Fault> {
        let mut at = 0;
        loop {
            match self.records.next(input, &mut at)? {
                Part::NeedMore => return Ok((at, None)),
                Part::Begins(head) => self.begin(head)?,
                Part::Content(data) => {
                    let bytes = &input[data];
                    let end = self.have + bytes.len();
                    self.content[self.have..end].copy_from_slice(bytes);
                    self.have = end;
                }
                Part::Ends if self.kind == Kind::UNKNOWN_TYPE => {
                    return Ok((at, Some(Capabilities::default())));
                }
                Part::Ends => return Ok((at, Some(Capabilities::read(&self.content[..self.have])?))),
            }
        }
    }

    fn begin(&mut self, head: Head) -> Result<(), Fault> {
        if head.kind != Kind::GET_VALUES_RESULT && head.kind != Kind::UNKNOWN_TYPE {
            return Err(Fault::Kind(head.kind.0));
        }
        if head.request != 0 {
            return Err(Fault::Request(head.request));
        }
        if usize::from(head.content_len) > VALUES_BYTES_MAX {
            return Err(Fault::ValuesLength);
        }
        (self.kind, self.have) = (head.kind, 0);
        Ok(())
    }
}

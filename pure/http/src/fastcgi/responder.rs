//! Requests as a responder reads them, one at a time, and the records that only it writes.

use super::client::{END_BYTES, End};
use super::record::{HEAD_BYTES, Head, Kind, Part, Records};
use super::request::{BEGIN_BYTES, KEEP};
use super::{Fault, Role};
use std::ops::Range;

/// What came of one call. Ranges count from the front of the input of that call; everything up to what is told of is
/// consumed, [`Responder::consumed`] says how far that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A request begins.
    Begin {
        /// Its number.
        request: u16,
        /// What the responder is asked to be.
        role: Role,
        /// Whether the connection stays open behind the answer.
        keep: bool,
    },
    /// A request that begins while another one is under way: it is answered with [`End::Busy`].
    Another {
        /// Its number.
        request: u16,
    },
    /// Bytes of parameters: pieces of what [`super::Pairs`] reads when all are there.
    Params {
        /// Where they lie.
        data: Range<usize>,
    },
    /// There are no more parameters.
    ParamsEnd,
    /// Bytes of the body.
    Stdin {
        /// Where they lie.
        data: Range<usize>,
    },
    /// The body has ended.
    StdinEnd,
    /// The request is to be given up.
    Abort,
    /// Bytes of names whose values are asked for, as [`super::Pairs`] reads them.
    Values {
        /// Where they lie.
        data: Range<usize>,
    },
    /// There are no more names: the values are to be told.
    ValuesEnd,
    /// Something about the connection that is not known: it is answered with [`unknown_record`].
    Unknown(Kind),
    /// Everything is consumed.
    NeedMore,
}

/// Walks what a web server sends. Records of requests that are not under way are passed over, as the standard has it.
#[derive(Clone, Debug)]
pub struct Responder {
    records: Records,
    kind: Kind,
    current: Option<u16>,
    of: u16,
    begin: [u8; BEGIN_BYTES as usize],
    begin_have: usize,
    is_empty: bool,
    are_params_ended: bool,
    is_stdin_ended: bool,
    consumed: usize,
    fault: Option<Fault>,
}

impl Default for Responder {
    fn default() -> Self {
        Self::new()
    }
}

impl Responder {
    /// At the beginning of a connection.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            records: Records::new(),
            kind: Kind::GET_VALUES,
            current: None,
            of: 0,
            begin: [0; BEGIN_BYTES as usize],
            begin_have: 0,
            is_empty: false,
            are_params_ended: false,
            is_stdin_ended: false,
            consumed: 0,
            fault: None,
        }
    }

    /// How many bytes of the last call's input are consumed; the next call begins behind them.
    #[must_use]
    pub const fn consumed(&self) -> usize {
        self.consumed
    }

    /// The request was answered to its end: another one may begin.
    pub fn done(&mut self) {
        self.current = None;
    }

    /// Takes the next step through `input`, which begins where the last step's consumed bytes ended.
    ///
    /// # Errors
    /// At the first byte that cannot be part of a request; every later call says the same.
    pub fn step(&mut self, input: &[u8]) -> Result<Asked, Fault> {
        self.consumed = 0;
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let step = self.walk(input);
        self.fault = step.as_ref().err().copied();
        step
    }

    fn walk(&mut self, input: &[u8]) -> Result<Asked, Fault> {
        loop {
            let mut at = self.consumed;
            let part = self.records.next(input, &mut at);
            self.consumed = at;
            let asked = match part? {
                Part::NeedMore => return Ok(Asked::NeedMore),
                Part::Begins(head) => {
                    self.begins(head)?;
                    None
                }
                Part::Content(data) => self.content(input, data),
                Part::Ends => self.ends(),
            };
            if let Some(asked) = asked {
                return Ok(asked);
            }
        }
    }

    fn begins(&mut self, head: Head) -> Result<(), Fault> {
        let Head { kind, request, content_len, .. } = head;
        (self.kind, self.of, self.is_empty) = (kind, request, content_len == 0);
        let wrong_length = Fault::ContentLength { kind: kind.0, bytes: content_len };
        match kind {
            Kind::BEGIN_REQUEST if content_len != BEGIN_BYTES => Err(wrong_length),
            Kind::BEGIN_REQUEST if request == 0 => Err(Fault::Request(0)),
            Kind::ABORT_REQUEST if content_len != 0 => Err(wrong_length),
            Kind::PARAMS if self.is_current() && self.are_params_ended => Err(Fault::AfterEnd(kind.0)),
            Kind::STDIN if self.is_current() && (self.is_stdin_ended || !self.are_params_ended) => {
                Err(Fault::AfterEnd(kind.0))
            }
            Kind::GET_VALUES if request != 0 => Err(Fault::Request(request)),
            Kind::BEGIN_REQUEST => {
                self.begin_have = 0;
                Ok(())
            }
            Kind(1..=9) => Ok(()),
            Kind(_) if request == 0 => Ok(()),
            Kind(other) => Err(Fault::Kind(other)),
        }
    }

    const fn is_current(&self) -> bool {
        matches!(self.current, Some(current) if current == self.of)
    }

    fn content(&mut self, input: &[u8], data: Range<usize>) -> Option<Asked> {
        match self.kind {
            Kind::BEGIN_REQUEST => {
                let bytes = &input[data];
                let end = self.begin_have + bytes.len();
                self.begin[self.begin_have..end].copy_from_slice(bytes);
                self.begin_have = end;
                None
            }
            Kind::PARAMS if self.is_current() => Some(Asked::Params { data }),
            Kind::STDIN if self.is_current() => Some(Asked::Stdin { data }),
            Kind::GET_VALUES => Some(Asked::Values { data }),
            _ => None,
        }
    }

    fn ends(&mut self) -> Option<Asked> {
        match self.kind {
            Kind::BEGIN_REQUEST if self.current.is_some() => Some(Asked::Another { request: self.of }),
            Kind::BEGIN_REQUEST => {
                self.current = Some(self.of);
                (self.are_params_ended, self.is_stdin_ended) = (false, false);
                let [r0, r1, flags, ..] = self.begin;
                let role = Role(u16::from_be_bytes([r0, r1]));
                Some(Asked::Begin { request: self.of, role, keep: flags & KEEP != 0 })
            }
            Kind::ABORT_REQUEST if self.is_current() => Some(Asked::Abort),
            Kind::PARAMS if self.is_current() && self.is_empty => {
                self.are_params_ended = true;
                Some(Asked::ParamsEnd)
            }
            Kind::STDIN if self.is_current() && self.is_empty => {
                self.is_stdin_ended = true;
                Some(Asked::StdinEnd)
            }
            Kind::GET_VALUES => Some(Asked::ValuesEnd),
            kind @ Kind(0 | 10..) => Some(Asked::Unknown(kind)),
            _ => None,
        }
    }
}

/// The record that ends a request.
#[must_use]
pub fn end_record(request: u16, end: End) -> [u8; HEAD_BYTES + END_BYTES as usize] {
    let (exit, status) = match end {
        End::Complete(exit) => (exit, 0),
        End::Busy => (0, 1),
        End::Overloaded => (0, 2),
        End::UnknownRole => (0, 3),
    };
    let mut record = [0; HEAD_BYTES + END_BYTES as usize];
    record[..HEAD_BYTES].copy_from_slice(&Head::new(Kind::END_REQUEST, request, END_BYTES).bytes());
    record[HEAD_BYTES..HEAD_BYTES + 4].copy_from_slice(&exit.to_be_bytes());
    record[HEAD_BYTES + 4] = status;
    record
}

/// The record that says that a kind of record is not known.
#[must_use]
pub fn unknown_record(kind: Kind) -> [u8; HEAD_BYTES + 8] {
    let mut record = [0; HEAD_BYTES + 8];
    record[..HEAD_BYTES].copy_from_slice(&Head::new(Kind::UNKNOWN_TYPE, 0, 8).bytes());
    record[HEAD_BYTES] = kind.0;
    record
}

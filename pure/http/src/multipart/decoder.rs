//! A form's parts one after the other, wherever the input is split.

use super::{Boundary, Fault, Limits};
use memchr::memchr;
use std::ops::Range;

/// Most spaces behind a boundary (RFC 2046 section 5.1.1: transport padding).
const PADDING_BYTES_MAX: u8 = 64;

/// What came of one call. Ranges count from the front of the input of that call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A part begins; its head, with the empty line, is for [`super::PartHead::parse`].
    Part {
        /// Where the head lies.
        head: Range<usize>,
        /// Bytes consumed.
        consumed: usize,
    },
    /// Data of the part, never empty; everything up to its end is consumed.
    Data {
        /// Where the data lies.
        data: Range<usize>,
    },
    /// The part has ended.
    PartEnd {
        /// Bytes consumed.
        consumed: usize,
    },
    /// Nothing more without further bytes. What is not consumed (part of a head or a delimiter) is given again with what
    /// follows.
    NeedMore {
        /// Bytes consumed.
        consumed: usize,
    },
    /// The form has ended; what follows means nothing.
    Done {
        /// Bytes consumed.
        consumed: usize,
    },
}

impl Step {
    /// How many bytes of the input are taken; the next call begins behind them.
    #[must_use]
    pub const fn consumed(&self) -> usize {
        match self {
            Self::Data { data } => data.end,
            Self::Part { consumed, .. }
            | Self::PartEnd { consumed }
            | Self::NeedMore { consumed }
            | Self::Done { consumed } => *consumed,
        }
    }
}

/// Walks one form. The sequence of parts, their data and the outcome do not depend on how the input was split.
#[derive(Clone, Debug)]
pub struct Decoder {
    boundary: Boundary,
    limits: Limits,
    state: State,
    parts: u32,
    /// Bytes that the preamble, or the part's data, may have yet.
    left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first boundary. `true`: nothing was read yet.
    Preamble(bool),
    /// Behind a boundary, and so many spaces.
    Delimiter(u8),
    /// Within a part's head, of which so many bytes were searched.
    Head(u32),
    /// At the first byte of a part's data: the delimiter may follow the head at once.
    DataStart,
    Data,
    Done,
    Refused(Fault),
}

/// What lies at the front of the input.
enum Front {
    /// Bytes that are no delimiter.
    Bytes(usize),
    /// A delimiter, so long.
    Delimiter(usize),
    /// What may become one.
    Unclear,
}

impl Decoder {
    /// A decoder for a form whose parts are told apart by `boundary`.
    #[must_use]
    pub fn new(boundary: Boundary, limits: Limits) -> Self {
        let left = limits.preamble_bytes_max.into();
        Self { boundary, limits, state: State::Preamble(true), parts: 0, left }
    }

    /// Whether the form has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Says that the body has ended.
    ///
    /// # Errors
    /// [`Fault::Truncated`] when the form has not.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.state {
            State::Done => Ok(()),
            State::Refused(fault) => Err(fault),
            _ => Err(Fault::Truncated),
        }
    }

    /// Takes the next step through `input`, which begins where the last step's consumed bytes ended.
    ///
    /// # Errors
    /// At the first byte that cannot be part of an acceptable form; every later call says the same.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let step = self.step(input);
        if let Err(fault) = step {
            self.state = State::Refused(fault);
        }
        step
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut at = 0;
        loop {
            let rest = input.get(at..).unwrap_or_default();
            match self.state {
                State::Refused(fault) => return Err(fault),
                // The epilogue (RFC 2046 section 5.1.1) is nobody's.
                State::Done => return Ok(Step::Done { consumed: input.len() }),
                _ if rest.is_empty() => return Ok(Step::NeedMore { consumed: at }),
                State::Preamble(is_first) => match self.front(rest, is_first) {
                    Front::Unclear => return Ok(Step::NeedMore { consumed: at }),
                    Front::Bytes(count) => {
                        self.spend(count, Fault::Preamble)?;
                        self.state = State::Preamble(false);
                        at += count;
                    }
                    Front::Delimiter(len) => {
                        self.state = State::Delimiter(0);
                        at += len;
                    }
                },
                State::Delimiter(padding) => match self.behind_delimiter(rest, padding)? {
                    0 => return Ok(Step::NeedMore { consumed: at }),
                    count => at += count,
                },
                State::Head(scanned) => {
                    let Some(len) = self.head(rest, scanned)? else {
                        return Ok(Step::NeedMore { consumed: at });
                    };
                    return Ok(Step::Part { head: at..at + len, consumed: at + len });
                }
                State::DataStart | State::Data => {
                    let is_first = self.state == State::DataStart;
                    match self.front(rest, is_first) {
                        Front::Unclear => return Ok(Step::NeedMore { consumed: at }),
                        Front::Bytes(count) => {
                            self.spend(count, Fault::PartLength)?;
                            self.state = State::Data;
                            return Ok(Step::Data { data: at..at + count });
                        }
                        Front::Delimiter(len) => {
                            self.state = State::Delimiter(0);
                            return Ok(Step::PartEnd { consumed: at + len });
                        }
                    }
                }
            }
        }
    }

    /// Tells data from a delimiter. `is_first`: the line end before the delimiter lies behind already.
    fn front(&self, input: &[u8], is_first: bool) -> Front {
        let delimiter = self.boundary.delimiter();
        if is_first {
            let begun = &delimiter[2..];
            if input.starts_with(begun) {
                return Front::Delimiter(begun.len());
            }
            if begun.starts_with(input) {
                return Front::Unclear;
            }
        }
        let mut at = 0;
        while let Some(found) = memchr(b'\r', input.get(at..).unwrap_or_default()) {
            at += found;
            let candidate = &input[at..];
            let is_delimiter = candidate.starts_with(delimiter);
            if is_delimiter || delimiter.starts_with(candidate) {
                return match at {
                    0 if is_delimiter => Front::Delimiter(delimiter.len()),
                    0 => Front::Unclear,
                    count => Front::Bytes(count),
                };
            }
            at += 1;
        }
        Front::Bytes(input.len())
    }

    /// Reads on behind a boundary: spaces and the line's end, or the form's. How many bytes; 0: more are needed.
    fn behind_delimiter(&mut self, input: &[u8], padding: u8) -> Result<usize, Fault> {
        match input {
            [b'-', b'-', ..] if padding == 0 => {
                self.state = State::Done;
                Ok(2)
            }
            [b'-'] if padding == 0 => Ok(0),
            [b' ' | b'\t', ..] if padding < PADDING_BYTES_MAX => {
                self.state = State::Delimiter(padding + 1);
                Ok(1)
            }
            [b'\r', b'\n', ..] => {
                self.parts += 1;
                if self.parts > self.limits.parts_max {
                    return Err(Fault::Parts);
                }
                self.state = State::Head(0);
                Ok(2)
            }
            [b'\r'] => Ok(0),
            _ => Err(Fault::Delimiter),
        }
    }

    /// The length of a part's head with its empty line, once that is there.
    fn head(&mut self, input: &[u8], scanned: u32) -> Result<Option<usize>, Fault> {
        let bytes_max = self.limits.head_bytes_max as usize;
        let window = &input[..input.len().min(bytes_max)];
        let mut at = scanned as usize;
        while let Some(found) = memchr(b'\n', window.get(at..).unwrap_or_default()) {
            at += found + 1;
            let line = &window[..at];
            if line == b"\r\n" || line.ends_with(b"\n\r\n") {
                self.state = State::DataStart;
                self.left = self.limits.part_bytes_max;
                return Ok(Some(at));
            }
        }
        if input.len() >= bytes_max {
            return Err(Fault::HeadLength);
        }
        self.state = State::Head(u32::try_from(at).unwrap_or(u32::MAX));
        Ok(None)
    }

    fn spend(&mut self, bytes: usize, fault: Fault) -> Result<(), Fault> {
        self.left = self.left.checked_sub(bytes as u64).ok_or(fault)?;
        Ok(())
    }
}

//! Request bodies (RFC 9112 sections 6 and 7) as they arrive: framing taken off, data handed out in place.
//!
//! ```
//! use ringway_http::body::{BodyDecoder, Limits, Step};
//! use ringway_http::head::Body;
//!
//! let mut decoder = BodyDecoder::new(Body::Chunked, Limits::default())?;
//! let received = b"5\r\nhello\r\n0\r\n\r\nGET /next";
//! assert_eq!(decoder.decode(received)?, Step::Data { data: 3..8 });
//! assert_eq!(decoder.decode(&received[8..])?, Step::Done { consumed: 7 });
//! # Ok::<(), ringway_http::refusal::Refusal>(())
//! ```

mod chunk;
mod trailer;

use std::ops::Range;

use crate::head::Body;
use crate::refusal::Refusal;
use chunk::{ChunkHead, HeadStep};
use trailer::{TrailerStep, Trailers};

/// What a peer may make grow in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most data bytes, framing not counted; beyond: 413.
    pub body_bytes_max: u64,
    /// Most bytes of chunk extensions in the whole body, so that one-byte chunks with long extensions end too;
    /// beyond: 400.
    pub extension_bytes_max: u32,
    /// Most bytes of trailer section, line ends included; beyond: 431.
    pub trailer_bytes_max: u32,
}

impl Default for Limits {
    /// 1 MiB of data, 4 KiB of extensions, 8 KiB of trailers.
    fn default() -> Self {
        Self { body_bytes_max: 1024 * 1024, extension_bytes_max: 4 * 1024, trailer_bytes_max: 8 * 1024 }
    }
}

/// What came of one call. Ranges count from the front of the input of that call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Body data, never empty; everything up to its end is consumed.
    Data {
        /// Where the data lies.
        data: Range<usize>,
    },
    /// One trailer field, checked; everything up to its line end is consumed.
    Trailer {
        /// Where the name lies.
        name: Range<usize>,
        /// Where the value lies, trimmed.
        value: Range<usize>,
        /// Bytes consumed.
        consumed: usize,
    },
    /// Nothing more without further bytes. What is not consumed (part of a trailer line, at most
    /// [`Limits::trailer_bytes_max`]) is given again with what follows.
    NeedMore {
        /// Bytes consumed.
        consumed: usize,
    },
    /// The body has ended; what follows belongs to the next request.
    Done {
        /// Bytes consumed.
        consumed: usize,
    },
}

impl Step {
    /// How many bytes of the input are taken; the next call begins behind them.
    pub const fn consumed(&self) -> usize {
        match self {
            Self::Data { data } => data.end,
            Self::Trailer { consumed, .. } | Self::NeedMore { consumed } | Self::Done { consumed } => {
                *consumed
            }
        }
    }
}

/// Walks one body. The sequence of data bytes and the outcome do not depend on how the input was split.
#[derive(Clone, Debug)]
pub struct BodyDecoder {
    state: State,
    limits: Limits,
    /// Data bytes announced so far.
    total: u64,
}

#[derive(Clone, Debug)]
enum State {
    Length(u64),
    ChunkHead(ChunkHead),
    ChunkData(u64),
    ChunkCr,
    ChunkLf,
    Trailers(Trailers),
    Done,
    Refused(Refusal),
}

impl BodyDecoder {
    /// A decoder for the body that [`crate::head::Request::body`] announced.
    ///
    /// # Errors
    /// [`Refusal::BodyLength`] when the announced length is over the limit, before a byte is read.
    pub fn new(body: Body, limits: Limits) -> Result<Self, Refusal> {
        let state = match body {
            Body::None | Body::Length(0) => State::Done,
            Body::Length(length) if length > limits.body_bytes_max => return Err(Refusal::BodyLength),
            Body::Length(length) => State::Length(length),
            Body::Chunked => State::ChunkHead(ChunkHead::new(limits.extension_bytes_max)),
        };
        Ok(Self { state, limits, total: 0 })
    }

    /// Whether the body has ended.
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Data bytes still to come of a body of known length; `None` for chunks.
    pub const fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next step through `input`, which begins where the last step's consumed bytes ended.
    ///
    /// # Errors
    /// At the first byte that cannot be part of an acceptable body; every later call says the same.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Refusal> {
        let step = self.step(input);
        if let Err(refusal) = step {
            self.state = State::Refused(refusal);
        }
        step
    }

    fn step(&mut self, input: &[u8]) -> Result<Step, Refusal> {
        let mut at = 0;
        loop {
            let unread = input.get(at..).unwrap_or_default();
            match &mut self.state {
                State::Done => return Ok(Step::Done { consumed: at }),
                State::Refused(refusal) => return Err(*refusal),
                State::Trailers(trailers) => match trailers.next(unread)? {
                    TrailerStep::NeedMore => return Ok(Step::NeedMore { consumed: at }),
                    TrailerStep::End(line) => {
                        at += line;
                        self.state = State::Done;
                    }
                    TrailerStep::Field { name, value, end } => {
                        return Ok(Step::Trailer {
                            name: at + name.start..at + name.end,
                            value: at + value.start..at + value.end,
                            consumed: at + end,
                        });
                    }
                },
                _ if unread.is_empty() => return Ok(Step::NeedMore { consumed: at }),
                State::Length(left) => {
                    let data = take(left, at, unread.len());
                    if *left == 0 {
                        self.state = State::Done;
                    }
                    return Ok(Step::Data { data });
                }
                State::ChunkData(left) => {
                    let data = take(left, at, unread.len());
                    if *left == 0 {
                        self.state = State::ChunkCr;
                    }
                    return Ok(Step::Data { data });
                }
                State::ChunkCr | State::ChunkLf => at += self.chunk_end(unread[0])?,
                State::ChunkHead(head) => match head.read(unread)? {
                    HeadStep::NeedMore => return Ok(Step::NeedMore { consumed: input.len() }),
                    HeadStep::Size { size, consumed, extension_bytes_left } => {
                        at += consumed;
                        self.begin_chunk(size, extension_bytes_left)?;
                    }
                },
            }
        }
    }

    /// The CRLF behind chunk data, a byte at a time.
    fn chunk_end(&mut self, byte: u8) -> Result<usize, Refusal> {
        let (expected, next) = match self.state {
            State::ChunkCr => (b'\r', State::ChunkLf),
            _ => (b'\n', State::ChunkHead(ChunkHead::new(self.limits.extension_bytes_max))),
        };
        if byte != expected {
            return Err(Refusal::ChunkEnd);
        }
        self.state = next;
        Ok(1)
    }

    fn begin_chunk(&mut self, size: u64, extension_bytes_left: u32) -> Result<(), Refusal> {
        self.limits.extension_bytes_max = extension_bytes_left;
        self.total = self.total.checked_add(size).ok_or(Refusal::BodyLength)?;
        if self.total > self.limits.body_bytes_max {
            return Err(Refusal::BodyLength);
        }
        self.state = match size {
            0 => State::Trailers(Trailers::new(self.limits.trailer_bytes_max)),
            size => State::ChunkData(size),
        };
        Ok(())
    }
}

/// The next piece of data: as much as is there and belongs to it.
fn take(left: &mut u64, at: usize, available: usize) -> Range<usize> {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
    *left -= taken as u64;
    at..at + taken
}

#[cfg(test)]
mod tests;

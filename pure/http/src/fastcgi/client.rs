//! The answer to a request, as a web server reads it.

use super::Fault;
use super::record::{Head, Kind, Part, Records};
use std::ops::Range;

/// Bytes of content of an end.
pub(super) const END_BYTES: u16 = 8;

/// How a responder ended a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `FCGI_REQUEST_COMPLETE`, with the program's exit status.
    Complete(u32),
    /// `FCGI_CANT_MPX_CONN`: refused, the connection has a request already.
    Busy,
    /// `FCGI_OVERLOADED`: refused, there is no room for it now.
    Overloaded,
    /// `FCGI_UNKNOWN_ROLE`: refused, it is not that kind of program.
    UnknownRole,
}

/// What came of one call. Ranges count from the front of the input of that call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of the answer, never none; everything up to their end is consumed.
    Stdout {
        /// Where they lie.
        data: Range<usize>,
    },
    /// Bytes of what the program complains of, never none; everything up to their end is consumed.
    Stderr {
        /// Where they lie.
        data: Range<usize>,
    },
    /// Everything is consumed, and more is to come.
    NeedMore,
    /// The request has ended. Whatever follows in the input, nobody asked for it.
    Ended {
        /// Bytes consumed.
        consumed: usize,
        /// How.
        end: End,
    },
}

/// Walks the answer to one request. The bytes of each stream and the outcome do not depend on how the input was split.
/// Records that say nothing of a request are refused: nobody asked for them.
#[derive(Clone, Debug)]
pub struct Client {
    records: Records,
    request: u16,
    kind: Kind,
    /// Content of the end, as far as it is there.
    end: [u8; END_BYTES as usize],
    end_have: usize,
    is_stdout_ended: bool,
    is_stderr_ended: bool,
    outcome: Option<Result<End, Fault>>,
}

impl Client {
    /// Of request number `request`, which is not 0.
    #[must_use]
    pub const fn new(request: u16) -> Self {
        Self {
            records: Records::new(),
            request,
            kind: Kind::STDOUT,
            end: [0; END_BYTES as usize],
            end_have: 0,
            is_stdout_ended: false,
            is_stderr_ended: false,
            outcome: None,
        }
    }

    /// Takes the next step through `input`, which begins where the last step's consumed bytes ended.
    ///
    /// # Errors
    /// At the first byte that cannot be part of an answer; every later call says the same.
    pub fn step(&mut self, input: &[u8]) -> Result<Step, Fault> {
        match self.outcome {
            Some(Ok(end)) => return Ok(Step::Ended { consumed: 0, end }),
            Some(Err(fault)) => return Err(fault),
            None => {}
        }
        let step = self.walk(input);
        match &step {
            Ok(Step::Ended { end, .. }) => self.outcome = Some(Ok(*end)),
            Err(fault) => self.outcome = Some(Err(*fault)),
            Ok(_) => {}
        }
        step
    }

    fn walk(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut at = 0;
        loop {
            match self.records.next(input, &mut at)? {
                Part::NeedMore => return Ok(Step::NeedMore),
                Part::Begins(head) => self.begin(head)?,
                Part::Content(data) if self.kind == Kind::STDOUT => return Ok(Step::Stdout { data }),
                Part::Content(data) if self.kind == Kind::STDERR => return Ok(Step::Stderr { data }),
                Part::Content(data) => {
                    let bytes = &input[data];
                    let end = self.end_have + bytes.len();
                    self.end[self.end_have..end].copy_from_slice(bytes);
                    self.end_have = end;
                }
                Part::Ends if self.kind == Kind::END_REQUEST => {
                    return Ok(Step::Ended { consumed: at, end: read_end(self.end)? });
                }
                Part::Ends => {}
            }
        }
    }

    /// Judges a record by its head.
    fn begin(&mut self, head: Head) -> Result<(), Fault> {
        let stream_end = match head.kind {
            Kind::STDOUT => Some(&mut self.is_stdout_ended),
            Kind::STDERR => Some(&mut self.is_stderr_ended),
            Kind::END_REQUEST => None,
            Kind(other) => return Err(Fault::Kind(other)),
        };
        if head.request != self.request {
            return Err(Fault::Request(head.request));
        }
        match stream_end {
            Some(true) => return Err(Fault::AfterEnd(head.kind.0)),
            Some(is_ended) => *is_ended = head.content_len == 0,
            None if head.content_len != END_BYTES => {
                return Err(Fault::ContentLength { kind: head.kind.0, bytes: head.content_len });
            }
            None => {}
        }
        self.kind = head.kind;
        Ok(())
    }
}

fn read_end(content: [u8; END_BYTES as usize]) -> Result<End, Fault> {
    let [a, b, c, d, status, ..] = content;
    match status {
        0 => Ok(End::Complete(u32::from_be_bytes([a, b, c, d]))),
        1 => Ok(End::Busy),
        2 => Ok(End::Overloaded),
        3 => Ok(End::UnknownRole),
        other => Err(Fault::EndStatus(other)),
    }
}

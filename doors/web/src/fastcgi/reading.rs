//! An answer as it comes in: records taken off, complaints collected, the head put together; what is data stays where it is.

use ringway_engine::ring::Slice;
use ringway_http::cgi::{self, AnswerScan};
use ringway_http::fastcgi::{Client, End, Fault, Step};
use ringway_http::reply::Limits;
use std::ops::Deref;

/// Most bytes that a program may complain in one request; the rest is counted as left out.
pub(super) const COMPLAINT_BYTES_MAX: usize = 16 * 1024;

/// What comes next of an answer.
#[derive(Debug)]
pub(super) enum Read {
    /// Bytes of it, never none.
    Data(Slice),
    /// Nothing before more is received.
    NeedMore,
    /// It has ended.
    Ended(End),
}

/// Reads one answer.
#[derive(Debug)]
pub(super) struct Reading {
    client: Client,
    input: Option<Slice>,
    complaints: Vec<u8>,
    complaint_bytes: usize,
    received_any: bool,
    is_ended: bool,
}

impl Reading {
    /// Of request number `request`.
    pub(super) fn new(request: u16) -> Self {
        Self {
            client: Client::new(request),
            input: None,
            complaints: Vec::new(),
            complaint_bytes: 0,
            received_any: false,
            is_ended: false,
        }
    }

    /// Takes in what was received; everything before it was read.
    pub(super) fn take_in(&mut self, input: Slice) {
        self.received_any = true;
        self.input = Some(input);
    }

    /// Whether anything was received: the request may have been begun then.
    pub(super) fn has_received(&self) -> bool {
        self.received_any
    }

    /// Whether the answer has ended, and nothing follows it that nobody asked for.
    pub(super) fn is_clean(&self) -> bool {
        self.is_ended && self.input.as_ref().is_none_or(|input| input.is_empty())
    }

    /// The next of what was received.
    pub(super) fn next(&mut self) -> Result<Read, Fault> {
        loop {
            let Some(input) = &mut self.input else { return Ok(Read::NeedMore) };
            match self.client.step(input)? {
                Step::NeedMore => {
                    self.input = None;
                    return Ok(Read::NeedMore);
                }
                Step::Stdout { data } => {
                    let mut piece = input.split_to(data.end);
                    piece.advance(data.start);
                    return Ok(Read::Data(piece));
                }
                Step::Stderr { data } => {
                    let room = COMPLAINT_BYTES_MAX.saturating_sub(self.complaint_bytes);
                    self.complaint_bytes = self.complaint_bytes.saturating_add(data.len());
                    let kept = data.start..data.start + data.len().min(room);
                    self.complaints.extend_from_slice(&input[kept]);
                    input.advance(data.end);
                }
                Step::Ended { consumed, end } => {
                    input.advance(consumed);
                    self.is_ended = true;
                    return Ok(Read::Ended(end));
                }
            }
        }
    }

    /// Gives the complaints whose lines are whole, one after the other; when the answer has ended, or will not go on, all.
    pub(super) fn complaints(&mut self, is_last: bool, mut tell: impl FnMut(&[u8])) {
        if self.complaints.is_empty() {
            return;
        }
        let whole = memchr::memrchr(b'\n', &self.complaints).map_or(0, |at| at + 1);
        let end = if is_last { self.complaints.len() } else { whole };
        for line in self.complaints[..end].split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if !line.is_empty() {
                tell(line);
            }
        }
        self.complaints.drain(..end);
        if is_last && self.complaint_bytes > COMPLAINT_BYTES_MAX {
            let left_out = self.complaint_bytes - COMPLAINT_BYTES_MAX;
            tell(format!("({left_out} more bytes)").as_bytes());
        }
    }
}

/// The head of an answer: where it was received, or put together.
#[derive(Debug)]
pub(super) enum Head {
    /// It lies in one piece.
    Received(Slice),
    /// It came in several.
    Joined(Vec<u8>),
}

impl Deref for Head {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Received(slice) => slice,
            Self::Joined(bytes) => bytes,
        }
    }
}

/// Finds the end of a head in pieces of data.
#[derive(Debug)]
pub(super) struct HeadFinder {
    scan: AnswerScan,
    limits: Limits,
    before: Vec<u8>,
}

impl HeadFinder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { scan: AnswerScan::new(), limits, before: Vec::new() }
    }

    /// Adds a piece: the head and what follows it in the piece, once it is whole.
    ///
    /// # Errors
    /// What cannot be a head, or is longer than it may be.
    pub(super) fn add(&mut self, mut piece: Slice) -> Result<Option<(Head, Slice)>, cgi::Fault> {
        if self.before.is_empty() {
            if let Some(end) = self.scan.find(&piece, &self.limits)? {
                let head = piece.split_to(end);
                return Ok(Some((Head::Received(head), piece)));
            }
            self.before.extend_from_slice(&piece);
            return Ok(None);
        }
        self.before.extend_from_slice(&piece);
        let Some(end) = self.scan.find(&self.before, &self.limits)? else { return Ok(None) };
        let behind = self.before.len() - end;
        self.before.truncate(end);
        piece.advance(piece.len() - behind);
        Ok(Some((Head::Joined(std::mem::take(&mut self.before)), piece)))
    }
}

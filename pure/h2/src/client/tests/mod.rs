//! The machine under test: what servers send, at every split, and what becomes of the requests.

mod answers;
mod conversations;
mod endings;
mod requests;
mod streams;

use super::{Buffers, Connection, Event, Failure, Scheme, Unsent};
use crate::code::{Code, Fault};
use crate::connection::tests::{Sent, data, fields, frame, reset, sent, settings, window_update};
use crate::frame::Kind;
use crate::limits::Limits;

/// What the machine told of, pieces of a body joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Stream, head.
    Interim(u32, String),
    /// Stream, head, whether it is whole.
    Answer(u32, String, bool),
    /// Stream, bytes, whether they are the last.
    Data(u32, Vec<u8>, bool),
    Failed(u32, Failure),
}

/// What came of a conversation.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) told: Vec<Told>,
    /// What was sent behind the preface and the requests.
    pub(super) sent: Vec<Sent>,
    pub(super) fault: Option<Fault>,
    /// Requests that were left when there was no more input.
    pub(super) left: usize,
}

/// What a client does at an event.
pub(super) type React = fn(&mut Connection, &Event, &mut Buffers);

/// A client that does nothing.
pub(super) fn idle(_connection: &mut Connection, _event: &Event, _buffers: &mut Buffers) {}

pub(super) const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const HEAD: &str = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
pub(super) const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\n\r\n";

/// An answer's head; the flags are END_HEADERS and perhaps END_STREAM.
pub(super) fn head(stream: u32, ends: bool, list: &[(&str, &str)]) -> Vec<u8> {
    frame(Kind::HEADERS, 4 | u8::from(ends), stream, &fields(list))
}

pub(super) fn goaway(last: u32, code: Code) -> Vec<u8> {
    frame(Kind::GOAWAY, 0, 0, &[last.to_be_bytes(), code.0.to_be_bytes()].concat())
}

/// The same with the text that comes out of a status and no fields.
pub(super) fn text(status: &str, fields: &str) -> String {
    format!("HTTP/1.1 {status} \r\n{fields}\r\n")
}

/// A connection with these requests on it, streams 1, 3, 5 and so on; those that begin with POST are not whole.
pub(super) fn asked(requests: &[&str], limits: Limits) -> (Connection, Buffers) {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(Scheme::Http, limits, &mut buffers);
    for (place, request) in requests.iter().enumerate() {
        let is_whole = !request.starts_with("POST");
        let stream = connection.request(request.as_bytes(), is_whole, &mut buffers).expect("there is room");
        assert_eq!(stream as usize, place * 2 + 1);
    }
    buffers.out.clear();
    (connection, buffers)
}

/// What comes of these bytes in pieces that end at `stops` and at the end.
pub(super) fn feed(
    requests: &[&str],
    bytes: &[u8],
    stops: impl Iterator<Item = usize>,
    limits: Limits,
    react: React,
) -> Outcome {
    let (mut connection, mut buffers) = asked(requests, limits);
    let (mut told, mut fault, mut start) = (Vec::new(), None, 0);
    'all: for stop in stops.chain([bytes.len()]) {
        loop {
            match connection.receive(&bytes[start..stop], 1_000, &mut buffers) {
                Err(error) => {
                    fault = Some(error);
                    let out = buffers.out.len();
                    assert_eq!(connection.receive(b"more", 1_000, &mut buffers), Err(error), "it stays so");
                    assert_eq!(buffers.out.len(), out);
                    assert_eq!((connection.vacancies(), connection.is_leaving()), (0, true));
                    break 'all;
                }
                Ok(step) => {
                    let input = &bytes[start..stop];
                    start += step.consumed;
                    let Some(event) = step.event else { break };
                    react(&mut connection, &event, &mut buffers);
                    tell(&mut told, event, input, &buffers);
                }
            }
        }
    }
    let left = connection.streams();
    Outcome { told, sent: sent(&buffers.out), fault, left }
}

fn tell(told: &mut Vec<Told>, event: Event, input: &[u8], buffers: &Buffers) {
    let head = || String::from_utf8(buffers.head().to_vec()).unwrap();
    match event {
        Event::Interim { stream } => told.push(Told::Interim(stream, head())),
        Event::Answer { stream, ends } => told.push(Told::Answer(stream, head(), ends)),
        Event::Failed { stream, failure } => told.push(Told::Failed(stream, failure)),
        Event::Data { stream, at, ends } => match told.last_mut() {
            Some(Told::Data(last, bytes, is_last @ false)) if *last == stream => {
                bytes.extend_from_slice(&input[at]);
                *is_last = ends;
            }
            _ => told.push(Told::Data(stream, input[at].to_vec(), ends)),
        },
    }
}

/// What comes of these frames behind the server's settings, the same at every split.
pub(super) fn told_with(requests: &[&str], frames: &[Vec<u8>], limits: Limits, react: React) -> Outcome {
    let bytes = [settings(&[]), frames.concat()].concat();
    let whole = feed(requests, &bytes, std::iter::empty(), limits, react);
    // Not `assert_eq`: bodies are long.
    assert!(feed(requests, &bytes, 1..bytes.len(), limits, react) == whole, "byte by byte");
    let step = (bytes.len() / 300).max(1);
    for split in (1..bytes.len()).step_by(step) {
        let outcome = feed(requests, &bytes, [split].into_iter(), limits, react);
        assert!(outcome == whole, "split at {split}");
    }
    whole
}

/// The same with usual limits and a client that does nothing.
pub(super) fn told(requests: &[&str], frames: &[Vec<u8>]) -> Outcome {
    told_with(requests, frames, Limits::client(), idle)
}

impl Outcome {
    /// The frames sent behind the acknowledgement of the server's settings.
    pub(super) fn more(&self) -> &[Sent] {
        assert_eq!((self.sent[0].kind, self.sent[0].flags), (Kind::SETTINGS, 1));
        &self.sent[1..]
    }

    /// Asserts that the connection ended for this reason, which GOAWAY says.
    #[track_caller]
    pub(super) fn is_fault(&self, fault: Fault) {
        assert_eq!(self.fault, Some(fault), "{:?}", self.told);
        let last = self.sent.last().expect("a farewell");
        assert_eq!((last.kind, last.stream, &last.payload[..4]), (Kind::GOAWAY, 0, &[0; 4][..]));
        assert_eq!(last.payload[4..], fault.code().0.to_be_bytes());
    }

    /// Asserts that the connection lives, and that the last that happened is that the stream was reset for its answer.
    #[track_caller]
    pub(super) fn is_broken(&self, stream: u32, code: Code) {
        assert_eq!(self.fault, None);
        let last = self.sent.last().expect("a frame");
        let expected = (Kind::RST_STREAM, stream, &code.0.to_be_bytes()[..]);
        assert_eq!((last.kind, last.stream, &last.payload[..]), expected);
        assert_eq!(self.told.last(), Some(&Told::Failed(stream, Failure::Broken(code))));
    }

    /// Asserts that nothing was wrong and nothing but the settings was answered.
    #[track_caller]
    pub(super) fn is_quiet(&self) {
        assert_eq!((self.fault, self.more()), (None, &[][..]));
    }
}

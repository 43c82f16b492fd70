//! The machine under test: whole conversations, at every split, and what the RFC's every MUST makes of them.

mod answers;
mod floods;
mod frames;
mod messages;
mod properties;
mod streams;

use super::{Buffers, Connection, Event};
use crate::code::{Code, Fault};
use crate::frame::{HEAD_BYTES, Head, Kind, PREFACE};
use crate::limits::Limits;

/// What the machine told of, pieces of a body joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Stream, head, whether it is whole.
    Request(u32, String, bool),
    /// Stream, whether it is whole.
    Oversized(u32, bool),
    /// Stream, bytes, whether they are the last.
    Data(u32, Vec<u8>, bool),
    /// Stream.
    Reset(u32),
}

/// A frame that the machine sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// What came of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) told: Vec<Told>,
    pub(super) sent: Vec<Sent>,
    pub(super) fault: Option<Fault>,
}

/// What the server does at an event.
type React = fn(&mut Connection, &Event, &mut Buffers);

/// A server that does nothing.
pub(super) fn idle(_connection: &mut Connection, _event: &Event, _buffers: &mut Buffers) {}

/// A server that answers each request with a head and nothing else, when it begins.
pub(super) fn prompt(connection: &mut Connection, event: &Event, buffers: &mut Buffers) {
    if let Event::Request { stream, .. } = event {
        assert!(connection.respond(*stream, b"HTTP/1.1 204 No Content\r\n\r\n", true, buffers));
    }
}

/// A frame as a client sends it.
pub(crate) fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap();
    [&Head { len, kind, flags, stream }.bytes()[..], payload].concat()
}

/// A field without indexing, everything literal.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        let len = text.len();
        if len < 127 {
            out.push(u8::try_from(len).unwrap());
        } else {
            out.push(0x7f);
            let mut rest = len - 127;
            while rest >= 128 {
                out.push(u8::try_from(rest % 128).unwrap() | 0x80);
                rest /= 128;
            }
            out.push(u8::try_from(rest).unwrap());
        }
        out.extend_from_slice(text.as_bytes());
    }
    out
}

pub(crate) fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    list.iter().flat_map(|(name, value)| field(name, value)).collect()
}

/// `GET / HTTP/1.1`, `host: a`.
pub(super) const GET: &[(&str, &str)] =
    &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

/// The same with POST.
pub(super) const POST: &[(&str, &str)] =
    &[(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a")];

pub(super) const GET_HEAD: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
pub(super) const POST_HEAD: &str = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";

/// HEADERS that are whole; the flags are END_HEADERS and END_STREAM.
pub(super) fn get(stream: u32) -> Vec<u8> {
    frame(Kind::HEADERS, 0x5, stream, &fields(GET))
}

/// HEADERS with a body to follow.
pub(super) fn post(stream: u32) -> Vec<u8> {
    frame(Kind::HEADERS, 0x4, stream, &fields(POST))
}

pub(crate) fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(Kind::DATA, flags, stream, payload)
}

pub(crate) fn settings(list: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = list
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    frame(Kind::SETTINGS, 0, 0, &payload)
}

pub(crate) fn window_update(stream: u32, step: u32) -> Vec<u8> {
    frame(Kind::WINDOW_UPDATE, 0, stream, &step.to_be_bytes())
}

pub(crate) fn reset(stream: u32, code: Code) -> Vec<u8> {
    frame(Kind::RST_STREAM, 0, stream, &code.0.to_be_bytes())
}

/// Preface and SETTINGS, and what follows.
pub(super) fn opened(frames: &[Vec<u8>]) -> Vec<u8> {
    [&PREFACE[..], &settings(&[]), &frames.concat()].concat()
}

/// What comes of these bytes in pieces that end at `stops` and at the end.
fn feed(bytes: &[u8], stops: impl Iterator<Item = usize>, limits: Limits, react: React) -> Outcome {
    let mut buffers = Buffers::default();
    let mut connection = Connection::new(limits, &mut buffers);
    let mut told: Vec<Told> = Vec::new();
    let mut start = 0;
    let mut fault = None;
    'all: for stop in stops.chain([bytes.len()]) {
        loop {
            match connection.receive(&bytes[start..stop], 1_000, &mut buffers) {
                Err(error) => {
                    fault = Some(error);
                    let out = buffers.out.len();
                    assert_eq!(connection.receive(b"more", 1_000, &mut buffers), Err(error), "it stays so");
                    assert_eq!(buffers.out.len(), out);
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
    let sent = sent(&buffers.out);
    Outcome { told, sent, fault }
}

fn tell(told: &mut Vec<Told>, event: Event, input: &[u8], buffers: &Buffers) {
    match event {
        Event::Request { stream, ends } => {
            let head = String::from_utf8(buffers.head().to_vec()).unwrap();
            told.push(Told::Request(stream, head, ends));
        }
        Event::Oversized { stream, ends } => told.push(Told::Oversized(stream, ends)),
        Event::Reset { stream } => told.push(Told::Reset(stream)),
        Event::Data { stream, at, ends } => match told.last_mut() {
            Some(Told::Data(last, bytes, false)) if *last == stream => {
                bytes.extend_from_slice(&input[at]);
                if ends {
                    *told.last_mut().unwrap() = Told::Data(stream, bytes.clone(), true);
                }
            }
            _ => told.push(Told::Data(stream, input[at].to_vec(), ends)),
        },
    }
}

/// The frames in what was sent.
pub(crate) fn sent(mut out: &[u8]) -> Vec<Sent> {
    let mut frames = Vec::new();
    while !out.is_empty() {
        let head = Head::read(out).expect("whole frames");
        let end = HEAD_BYTES + head.len as usize;
        let payload = out[HEAD_BYTES..end].to_vec();
        frames.push(Sent { kind: head.kind, flags: head.flags, stream: head.stream, payload });
        out = &out[end..];
    }
    frames
}

/// What comes of these bytes, the same at every split.
pub(super) fn told_with(bytes: &[u8], limits: Limits, react: React) -> Outcome {
    let whole = feed(bytes, std::iter::empty(), limits, react);
    // Not `assert_eq`: bodies are long.
    assert!(feed(bytes, 1..bytes.len(), limits, react) == whole, "byte by byte");
    let step = (bytes.len() / 300).max(1);
    for split in (1..bytes.len()).step_by(step) {
        assert!(feed(bytes, [split].into_iter(), limits, react) == whole, "split at {split}");
    }
    whole
}

/// The same with usual limits, an open connection and a server that does nothing.
pub(super) fn told(frames: &[Vec<u8>]) -> Outcome {
    told_with(&opened(frames), Limits::default(), idle)
}

impl Outcome {
    /// The frames sent behind the server's preface and the acknowledgement of the client's.
    pub(super) fn answers(&self) -> &[Sent] {
        let preface = self.sent.iter().position(|sent| sent.kind == Kind::SETTINGS && sent.flags == 1);
        preface.map_or(&[], |at| &self.sent[at + 1..])
    }

    /// Asserts that the connection ended for this reason, which GOAWAY says.
    #[track_caller]
    pub(super) fn is_fault(&self, fault: Fault) {
        assert_eq!(self.fault, Some(fault), "{:?}", self.told);
        let last = self.sent.last().expect("a farewell");
        assert_eq!((last.kind, last.stream), (Kind::GOAWAY, 0));
        assert_eq!(last.payload[4..], fault.code().0.to_be_bytes());
    }

    /// Asserts that the connection lives, and that the last frame sent resets this stream.
    #[track_caller]
    pub(super) fn is_reset(&self, stream: u32, code: Code) {
        assert_eq!(self.fault, None);
        let last = self.sent.last().expect("a frame");
        assert_eq!(
            (last.kind, last.stream, &last.payload[..]),
            (Kind::RST_STREAM, stream, &code.0.to_be_bytes()[..])
        );
    }

    /// Asserts that nothing was wrong and nothing but the preface was answered.
    #[track_caller]
    pub(super) fn is_quiet(&self) {
        assert_eq!((self.fault, self.answers()), (None, &[][..]));
    }
}

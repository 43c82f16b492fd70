//! A server's side of an HTTP/2 connection.
//!
//! ```
//! use ringway_h2::connection::{Buffers, Connection, Event};
//! use ringway_h2::limits::Limits;
//!
//! let mut buffers = Buffers::default();
//! let mut connection = Connection::new(Limits::default(), &mut buffers);
//! let mut received = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
//! received.extend(b"\0\0\x0a\x01\x05\0\0\0\x01\x82\x86\x84\x41\x05a.org");
//! let step = connection.receive(&received, 0, &mut buffers)?;
//! assert_eq!(step.event, Some(Event::Request { stream: 1, ends: true }));
//! assert_eq!(buffers.head(), b"GET / HTTP/1.1\r\nhost: a.org\r\n\r\n");
//! connection.respond(1, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, &mut buffers);
//! assert!(connection.room(1) >= 5);
//! connection.data(1, 5, true, &mut buffers);
//! buffers.out.extend_from_slice(b"hello");
//! # Ok::<(), ringway_h2::code::Fault>(())
//! ```

mod body;
mod control;
mod receive;
mod request;
mod send;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::code::Fault;
use crate::frame::{PAYLOAD_BYTES, WINDOW_BYTES, WINDOW_MAX, setting, write_settings, write_window_update};
use crate::head::{Class, HeadMemory, Rules};
use crate::hpack::{Decoder, Encoder, TABLE_BYTES};
use crate::limits::{Allowance, Limits};
use crate::streams::Streams;

/// Memory that a connection needs while it is called, and no longer: one for all connections of a thread.
#[derive(Debug, Default)]
pub struct Buffers {
    /// What is to be sent, in order. The caller sends and clears it before another connection is called, and before it
    /// takes more input than it wants to answer at once.
    pub out: Vec<u8>,
    head: HeadMemory,
    scratch: Vec<u8>,
    block: Vec<u8>,
}

impl Buffers {
    /// The head of the request that the last [`Event::Request`] told of.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head.text
    }

    /// Takes the head, to keep it; the memory for the next one is new then.
    #[must_use]
    pub fn take_head(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.head.text)
    }

    /// Gives the memory of a head back.
    pub fn put_head(&mut self, head: Vec<u8>) {
        if self.head.text.capacity() == 0 {
            self.head.text = head;
        }
    }
}

/// What one call has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with. The rest comes again, with more behind it.
    pub consumed: usize,
    /// What happened; `None`: everything is done that these bytes allow.
    pub event: Option<Event>,
}

/// What a peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It asks for something: [`Buffers::head`] holds an HTTP/1.1 head with one reading.
    Request {
        /// The stream to answer on.
        stream: u32,
        /// Whether the request is whole: no body follows.
        ends: bool,
    },
    /// It asks with a field section over the limit, which was not kept: answer 431.
    Oversized {
        /// The stream to answer on.
        stream: u32,
        /// Whether the request is whole.
        ends: bool,
    },
    /// Part of a request's body. Its bytes count against the windows until [`Connection::consume`].
    Data {
        /// The stream.
        stream: u32,
        /// Where in the input it lies; may be empty when it ends the body.
        at: Range<usize>,
        /// Whether it was the last; trailer fields are checked and dropped.
        ends: bool,
    },
    /// The stream is gone, by the peer's wish or because of an error of its: nobody waits for an answer.
    Reset {
        /// The stream.
        stream: u32,
    },
}

/// How far the connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The preface is to come.
    Preface,
    /// The first SETTINGS are to come.
    Settings,
    /// It is open.
    Open,
}

/// How far leaving has come (section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Said, with room for what is on its way: when the peer has answered the PING behind it, it has heard.
    Announced,
    /// Said which stream is the last; what comes on later ones is ignored.
    Settled(u32),
}

/// A field section that goes on in CONTINUATION frames.
#[derive(Debug)]
struct Fragment {
    stream: u32,
    ends: bool,
    continuations: u32,
    block: Vec<u8>,
}

/// A DATA frame that has begun.
#[derive(Clone, Copy, Debug)]
struct Payload {
    stream: u32,
    /// Data bytes to come.
    left: u32,
    /// Padding to come behind them.
    padding: u32,
    ends: bool,
    /// Nobody wants it.
    is_discarded: bool,
}

/// A server's side of a connection.
#[derive(Debug)]
pub struct Connection {
    limits: Limits,
    phase: Phase,
    leaving: Leaving,
    fault: Option<Fault>,
    /// The peer said GOAWAY.
    is_peer_leaving: bool,
    /// The highest stream that the peer has opened, served or not.
    highest: u32,
    streams: Streams,
    decoder: Decoder<Class>,
    encoder: Encoder,
    fragment: Option<Box<Fragment>>,
    payload: Option<Payload>,
    /// Bytes that the peer may send on all streams together.
    receive_window: i64,
    /// Bytes consumed and not announced yet.
    returned: u32,
    /// Bytes that may be sent on all streams together.
    send_window: i64,
    /// What the send windows of new streams are.
    peer_window: i64,
    resets: Allowance,
    idle_frames: Allowance,
    /// Bytes of DATA sent so far.
    sent: u64,
}

impl Connection {
    /// A connection on which nothing has happened; the server's preface goes to the output.
    pub fn new(limits: Limits, buffers: &mut Buffers) -> Self {
        let stream_window = limits.stream_window_bytes.clamp(WINDOW_BYTES, WINDOW_MAX);
        let connection_window = limits.connection_window_bytes.clamp(WINDOW_BYTES, WINDOW_MAX);
        let limits = Limits {
            stream_window_bytes: stream_window,
            connection_window_bytes: connection_window,
            ..limits
        };
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.streams_max),
            (setting::MAX_HEADER_LIST_SIZE, limits.header_list_bytes_max),
            (setting::INITIAL_WINDOW_SIZE, stream_window),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let count = settings.len() - usize::from(!limits.has_connect_protocol);
        write_settings(&mut buffers.out, &settings[..count]);
        if connection_window > WINDOW_BYTES {
            write_window_update(&mut buffers.out, 0, connection_window - WINDOW_BYTES);
        }
        Self {
            limits,
            phase: Phase::Preface,
            leaving: Leaving::No,
            fault: None,
            is_peer_leaving: false,
            highest: 0,
            streams: Streams::default(),
            decoder: Decoder::default(),
            encoder: Encoder::default(),
            fragment: None,
            payload: None,
            receive_window: i64::from(connection_window),
            returned: 0,
            send_window: i64::from(WINDOW_BYTES),
            peer_window: i64::from(WINDOW_BYTES),
            resets: Allowance::new(limits.resets_burst, limits.resets_per_s),
            idle_frames: Allowance::new(limits.idle_frames_burst, limits.idle_frames_per_s),
            sent: 0,
        }
    }

    /// Streams that live: their request is not whole yet, or their answer.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// The highest stream that the peer has opened.
    #[must_use]
    pub fn highest_stream(&self) -> u32 {
        self.highest
    }

    /// Whether part of a message is there whose rest must come: the preface, or a field section.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        self.phase != Phase::Open || self.fragment.is_some()
    }

    /// Whether no more requests will be served: this side or the peer has said so.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.is_peer_leaving || matches!(self.leaving, Leaving::Settled(_))
    }

    /// Bytes of DATA sent so far, to be compared with a later look.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent
    }

    fn rules(&self) -> Rules {
        Rules {
            list_bytes_max: self.limits.header_list_bytes_max as usize,
            has_connect_protocol: self.limits.has_connect_protocol,
        }
    }
}

const _: () = assert!(TABLE_BYTES <= PAYLOAD_BYTES, "a size update and a field of the table fit a frame");

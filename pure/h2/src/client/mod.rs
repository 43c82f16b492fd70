//! A client's side of an HTTP/2 connection.
//!
//! ```
//! use ringway_h2::client::{Buffers, Connection, Event, Scheme};
//! use ringway_h2::limits::Limits;
//!
//! let mut buffers = Buffers::default();
//! let mut connection = Connection::new(Scheme::Http, Limits::client(), &mut buffers);
//! let stream = connection.request(b"GET / HTTP/1.1\r\nHost: a.org\r\n\r\n", true, &mut buffers)?;
//! // The output holds preface, settings and the request. The server sends settings, `:status: 204`:
//! let received = b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x89";
//! let step = connection.receive(received, 0, &mut buffers)?;
//! assert_eq!(step.event, Some(Event::Answer { stream, ends: true }));
//! assert_eq!(buffers.head(), b"HTTP/1.1 204 \r\n\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod failure;
mod head;
mod receive;
mod request;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::code::Code;
use crate::frame::{PREFACE, WINDOW_MAX, setting, write_goaway, write_ping, write_settings};
use crate::head::Class;
use crate::hpack::Decoder;
use crate::limits::Limits;
use crate::link::{Link, Side, StreamEvent};
use crate::streams::Past;

pub use crate::buffers::Buffers;
pub use failure::{Failure, Unsent};

/// What is asked for (RFC 9113 section 8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

/// What one call has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with. The rest comes again, with more behind it.
    pub consumed: usize,
    /// What happened; `None`: everything is done that these bytes allow.
    pub event: Option<Event>,
}

/// What a server did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It answers for now (1xx): [`Buffers::head`] holds the head of that, and the real one follows.
    Interim {
        /// The stream of the request.
        stream: u32,
    },
    /// It answers: [`Buffers::head`] holds an HTTP/1.1 head with one reading. `Transfer-Encoding: chunked` in it says that
    /// the body's length is not known; its bytes come without chunks.
    Answer {
        /// The stream of the request.
        stream: u32,
        /// Whether the answer is whole: no body follows.
        ends: bool,
    },
    /// Part of an answer's body. Its bytes count against the windows until [`Connection::consume`].
    Data {
        /// The stream.
        stream: u32,
        /// Where in the input it lies; may be empty when it ends the body.
        at: Range<usize>,
        /// Whether it was the last; trailer fields are checked and dropped.
        ends: bool,
    },
    /// Nothing more comes on the stream, and nothing more can be sent. When the answer was whole by then, the server only
    /// does not want the rest of the request.
    Failed {
        /// The stream.
        stream: u32,
        /// What became of the request.
        failure: Failure,
    },
}

impl From<StreamEvent> for Event {
    #[inline]
    fn from(event: StreamEvent) -> Self {
        match event {
            StreamEvent::Data { stream, at, ends } => Self::Data { stream, at, ends },
            StreamEvent::Reset { stream, code, is_by_peer } => {
                let failure = match code {
                    Code::REFUSED_STREAM if is_by_peer => Failure::Unprocessed,
                    _ if is_by_peer => Failure::Reset(code),
                    _ => Failure::Broken(code),
                };
                Self::Failed { stream, failure }
            }
        }
    }
}

/// A client's side of a connection.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    decoder: Decoder<Class>,
    scheme: Scheme,
    /// The server has said, or this side, that no more requests are taken on this connection.
    is_leaving: bool,
    /// The last stream that the server serves, by its farewell (section 6.8).
    last_served: u32,
    /// PINGs sent so far; each carries its number.
    pings: u64,
    /// The last one is not acknowledged yet.
    is_pinged: bool,
}

impl Connection {
    /// A connection on which nothing has happened; the client's preface goes to the output. Requests may follow at once.
    pub fn new(scheme: Scheme, limits: Limits, buffers: &mut Buffers) -> Self {
        let link = Link::new(Side::Client, limits);
        buffers.out.extend_from_slice(PREFACE);
        write_settings(
            &mut buffers.out,
            &[
                (setting::ENABLE_PUSH, 0),
                (setting::MAX_HEADER_LIST_SIZE, link.limits.header_list_bytes_max),
                (setting::INITIAL_WINDOW_SIZE, link.limits.stream_window_bytes),
            ],
        );
        link.announce_window(buffers);
        Self {
            link,
            decoder: Decoder::default(),
            scheme,
            is_leaving: false,
            last_served: WINDOW_MAX,
            pings: 0,
            is_pinged: false,
        }
    }

    /// Streams that live: their request is not whole yet, or their answer.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.link.streams.len()
    }

    /// How many more requests may be sent now. The server's own limit counts from when it has come; a request that it
    /// then refuses fails as [`Failure::Unprocessed`].
    #[must_use]
    pub fn vacancies(&self) -> usize {
        if self.is_leaving() {
            return 0;
        }
        let most = self.link.limits.streams_max.min(self.link.peer_streams_max);
        (most as usize).saturating_sub(self.link.streams.len())
    }

    /// Whether no more requests can ever be sent: the server has said farewell, this side has, or numbers have run out.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        let has_numbers = self.link.highest < WINDOW_MAX;
        self.is_leaving || self.link.is_peer_leaving || self.link.fault.is_some() || !has_numbers
    }

    /// Whether the server's first SETTINGS have come: it does speak HTTP/2.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.is_open()
    }

    /// Whether part of a head is there whose rest must come.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        self.link.is_within_section()
    }

    /// Bytes of DATA sent so far, to be compared with a later look.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.link.sent_bytes()
    }

    /// How many bytes of body the windows let be sent on a stream now; 0 when it is gone or its request is whole.
    #[must_use]
    pub fn room(&self, stream: u32) -> usize {
        self.link.room(stream)
    }

    /// Whether it is the stream's own window, not the connection's, that lets nothing be sent.
    #[must_use]
    pub fn is_stalled(&self, stream: u32) -> bool {
        self.link.is_stalled(stream)
    }

    /// Whether a stream lives.
    #[must_use]
    pub fn has(&self, stream: u32) -> bool {
        self.link.has(stream)
    }

    /// Appends the head of a DATA frame; the caller appends or sends `len` bytes behind it. At most
    /// [`Connection::room`] and [`crate::frame::PAYLOAD_BYTES`]; an empty frame may always end a request. `false`, and
    /// nothing is appended, when it does not fit or the stream is gone.
    #[must_use]
    pub fn data(&mut self, stream: u32, len: usize, ends: bool, buffers: &mut Buffers) -> bool {
        self.link.data(stream, len, ends, buffers)
    }

    /// The same for a caller whose frame is laid out elsewhere: the head, to be put right before `len` bytes.
    pub fn frame_data(
        &mut self,
        stream: u32,
        len: usize,
        ends: bool,
        buffers: &mut Buffers,
    ) -> Option<[u8; 9]> {
        self.link.frame_data(stream, len, ends, buffers)
    }

    /// So many bytes of an answer's body are done with: the server may send as many more. Bytes of a stream that is gone
    /// were given back when it went.
    pub fn consume(&mut self, stream: u32, bytes: u32, buffers: &mut Buffers) {
        self.link.consume(stream, bytes, buffers);
    }

    /// Gives a request up: [`Code::CANCEL`] when nobody waits for the answer any more, [`Code::INTERNAL_ERROR`] when the
    /// request cannot be finished, [`Code::NO_ERROR`] when its answer is whole and the rest of it will not come.
    /// Nothing more is told of the stream.
    pub fn reset(&mut self, stream: u32, code: Code, buffers: &mut Buffers) {
        self.link.reset(stream, code, buffers);
    }

    /// Asks whether the server is there; the connection is not when nothing comes back in the caller's time. One question
    /// at a time: another is not asked before the answer.
    pub fn ping(&mut self, buffers: &mut Buffers) {
        if !self.is_pinged {
            self.is_pinged = true;
            self.pings += 1;
            write_ping(&mut buffers.out, false, self.pings.to_be_bytes());
        }
    }

    /// Whether the answer to [`Connection::ping`] is due.
    #[must_use]
    pub fn is_pinged(&self) -> bool {
        self.is_pinged
    }

    /// Says that no more requests will come, or why the connection ends. Streams that live may still be answered.
    pub fn leave(&mut self, code: Code, buffers: &mut Buffers) {
        if !self.is_leaving {
            self.is_leaving = true;
            // Section 6.8: the last of the server's streams, and it has none.
            write_goaway(&mut buffers.out, 0, code);
        }
    }

    /// The connection is gone: a stream that lived, and what becomes of its request. Call it until there is none. Also for
    /// the streams that are left after [`Connection::receive`] has failed.
    pub fn lost(&mut self) -> Option<(u32, Failure)> {
        self.is_leaving = true;
        let stream = self.link.streams.above(0)?;
        let failure = if stream > self.last_served { Failure::Unprocessed } else { Failure::Lost };
        self.link.streams.remove(stream, Past::Ended);
        Some((stream, failure))
    }
}

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

mod control;
mod receive;
mod request;
mod send;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

use crate::frame::{setting, write_settings};
use crate::head::{Class, Rules};
use crate::hpack::Decoder;
use crate::limits::Limits;
use crate::link::{Link, Side, StreamEvent};

pub use crate::buffers::Buffers;

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

impl From<StreamEvent> for Event {
    #[inline]
    fn from(event: StreamEvent) -> Self {
        match event {
            StreamEvent::Data { stream, at, ends } => Self::Data { stream, at, ends },
            StreamEvent::Reset { stream, .. } => Self::Reset { stream },
        }
    }
}

/// How far leaving has come (section 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    No,
    /// Said, with room for what is on its way: when the peer has answered the PING behind it, it has heard.
    Announced,
    /// Said which stream is the last; what comes on later ones is ignored.
    Settled,
}

/// A server's side of a connection.
#[derive(Debug)]
pub struct Connection {
    link: Link,
    /// The client's preface has come.
    has_preface: bool,
    leaving: Leaving,
    decoder: Decoder<Class>,
}

impl Connection {
    /// A connection on which nothing has happened; the server's preface goes to the output.
    pub fn new(limits: Limits, buffers: &mut Buffers) -> Self {
        let link = Link::new(Side::Server, limits);
        let limits = &link.limits;
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, limits.streams_max),
            (setting::MAX_HEADER_LIST_SIZE, limits.header_list_bytes_max),
            (setting::INITIAL_WINDOW_SIZE, limits.stream_window_bytes),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let count = settings.len() - usize::from(!limits.has_connect_protocol);
        write_settings(&mut buffers.out, &settings[..count]);
        link.announce_window(buffers);
        Self { link, has_preface: false, leaving: Leaving::No, decoder: Decoder::default() }
    }

    /// Streams that live: their request is not whole yet, or their answer.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.link.streams.len()
    }

    /// The highest stream that the peer has opened.
    #[must_use]
    pub fn highest_stream(&self) -> u32 {
        self.link.highest
    }

    /// Whether part of a message is there whose rest must come: the preface, or a field section.
    #[must_use]
    pub fn is_within_head(&self) -> bool {
        !self.link.is_open() || self.link.is_within_section()
    }

    /// Whether no more requests will be served: this side or the peer has said so.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.link.is_peer_leaving || self.leaving == Leaving::Settled
    }

    /// Bytes of DATA sent so far, to be compared with a later look.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.link.sent_bytes()
    }

    fn rules(&self) -> Rules {
        Rules {
            list_bytes_max: self.link.limits.header_list_bytes_max as usize,
            has_connect_protocol: self.link.limits.has_connect_protocol,
        }
    }
}

//! What both sides of a connection do alike: frames in order, streams and their windows, settings, resets, bodies.

mod control;
mod data;
mod receive;
pub(crate) mod section;
mod send;

use std::ops::Range;

use crate::buffers::Buffers;
use crate::code::{Code, Fault};
use crate::frame::{PAYLOAD_BYTES, WINDOW_BYTES, WINDOW_MAX, write_window_update};
use crate::hpack::{Encoder, TABLE_BYTES};
use crate::limits::{Allowance, Limits};
use crate::streams::Streams;

pub(crate) use receive::{Next, Progress};

/// Which side of a connection this one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Server,
    Client,
}

/// What happened on a stream, whichever side this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEvent {
    /// Part of a body, where it lies in the input, and whether it was the last.
    Data { stream: u32, at: Range<usize>, ends: bool },
    /// The stream is gone.
    Reset { stream: u32, code: Code, is_by_peer: bool },
}

/// A field section that goes on in CONTINUATION frames.
#[derive(Debug)]
pub(crate) struct Fragment {
    pub(crate) stream: u32,
    pub(crate) ends: bool,
    continuations: u32,
    pub(crate) block: Vec<u8>,
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

/// Either side of a connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) limits: Limits,
    side: Side,
    /// The peer's first SETTINGS have come.
    is_open: bool,
    pub(crate) fault: Option<Fault>,
    /// The peer said GOAWAY.
    pub(crate) is_peer_leaving: bool,
    /// The highest stream that the client has opened.
    pub(crate) highest: u32,
    /// Frames on streams above this one are ignored: this side has said that it does not serve them (section 6.8).
    pub(crate) served: u32,
    pub(crate) streams: Streams,
    pub(crate) encoder: Encoder,
    fragment: Option<Box<Fragment>>,
    payload: Option<Payload>,
    /// Bytes that the peer may send on all streams together.
    receive_window: i64,
    /// Bytes consumed and not announced yet.
    returned: u32,
    /// Bytes that may be sent on all streams together.
    send_window: i64,
    /// What the send windows of new streams are.
    pub(crate) peer_window: i64,
    /// How many streams the peer lets be opened at a time.
    pub(crate) peer_streams_max: u32,
    resets: Allowance,
    idle_frames: Allowance,
    /// Bytes of DATA sent so far.
    sent: u64,
}

impl Link {
    /// A connection on which nothing has happened. Settings and [`Link::announce_window`] are to be sent.
    pub(crate) fn new(side: Side, limits: Limits) -> Self {
        let stream_window = limits.stream_window_bytes.clamp(WINDOW_BYTES, WINDOW_MAX);
        let connection_window = limits.connection_window_bytes.clamp(WINDOW_BYTES, WINDOW_MAX);
        let limits = Limits {
            stream_window_bytes: stream_window,
            connection_window_bytes: connection_window,
            ..limits
        };
        Self {
            limits,
            side,
            is_open: false,
            fault: None,
            is_peer_leaving: false,
            highest: 0,
            served: WINDOW_MAX,
            streams: Streams::default(),
            encoder: Encoder::default(),
            fragment: None,
            payload: None,
            receive_window: i64::from(connection_window),
            returned: 0,
            send_window: i64::from(WINDOW_BYTES),
            peer_window: i64::from(WINDOW_BYTES),
            peer_streams_max: u32::MAX,
            resets: Allowance::new(limits.resets_burst, limits.resets_per_s),
            idle_frames: Allowance::new(limits.idle_frames_burst, limits.idle_frames_per_s),
            sent: 0,
        }
    }

    /// Tells the peer of the connection's window, which no setting does (section 6.9.2).
    pub(crate) fn announce_window(&self, buffers: &mut Buffers) {
        let more = self.limits.connection_window_bytes - WINDOW_BYTES;
        if more > 0 {
            write_window_update(&mut buffers.out, 0, more);
        }
    }

    /// Whether the peer's first SETTINGS have come.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a field section has begun and not ended.
    pub(crate) fn is_within_section(&self) -> bool {
        self.fragment.is_some()
    }

    /// Bytes of DATA sent so far.
    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent
    }
}

const _: () = assert!(TABLE_BYTES <= PAYLOAD_BYTES, "a size update and a field of the table fit a frame");

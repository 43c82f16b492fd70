//! The streams of a connection (RFC 9113 section 5.1): those that live, and a memory of those that ended lately.

use crate::frame::WINDOW_MAX;

/// Streams remembered after their end: frames that were on their way when this side reset one are no error.
const REMEMBERED: usize = 128;

/// Set in a remembered number: this side reset the stream. Numbers have 31 bits.
const BY_US: u32 = 1 << 31;

/// A stream that has not ended in both directions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream {
    pub(crate) id: u32,
    /// Bytes that the peer may send.
    pub(crate) receive_window: i64,
    /// Bytes that may be sent to the peer; below 0 when it made its windows smaller (section 6.9.2).
    pub(crate) send_window: i64,
    /// Bytes handed out and not consumed.
    pub(crate) unread: u32,
    /// Bytes consumed and not announced yet.
    pub(crate) returned: u32,
    /// What is left of the announced length of the body; before the head of an answer: 0 where it can have no body.
    pub(crate) length_left: Option<u64>,
    /// The head of what the peer sends has not come yet.
    pub(crate) is_head_due: bool,
    /// The peer has ended its side.
    pub(crate) is_remote_done: bool,
    /// This side has ended its own.
    pub(crate) is_local_done: bool,
}

/// What became of a stream that does not live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// It ended, or the peer reset it.
    Ended,
    /// This side reset it.
    ResetByUs,
    /// It is not remembered.
    Unknown,
}

#[derive(Debug, Default)]
pub(crate) struct Streams {
    /// The numbers, apart so that looking for one reads little memory.
    ids: Vec<u32>,
    streams: Vec<Stream>,
    past: Vec<u32>,
    past_at: usize,
}

impl Streams {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    pub(crate) fn add(&mut self, stream: Stream) {
        self.ids.push(stream.id);
        self.streams.push(stream);
    }

    #[inline]
    pub(crate) fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let at = self.ids.iter().position(|other| *other == id)?;
        self.streams.get_mut(at)
    }

    #[inline]
    pub(crate) fn look(&self, id: u32) -> Option<&Stream> {
        let at = self.ids.iter().position(|other| *other == id)?;
        self.streams.get(at)
    }

    /// Any stream above this number.
    pub(crate) fn above(&self, number: u32) -> Option<u32> {
        self.ids.iter().copied().find(|id| *id > number)
    }

    /// Ends a stream and remembers it.
    pub(crate) fn remove(&mut self, id: u32, past: Past) -> Option<Stream> {
        let at = self.ids.iter().position(|other| *other == id)?;
        self.ids.swap_remove(at);
        self.remember(id, past);
        Some(self.streams.swap_remove(at))
    }

    /// Remembers a stream that never lived.
    pub(crate) fn remember(&mut self, id: u32, past: Past) {
        let entry = if past == Past::ResetByUs { id | BY_US } else { id };
        if self.past.len() < REMEMBERED {
            self.past.push(entry);
        } else {
            self.past[self.past_at] = entry;
            self.past_at = (self.past_at + 1) % REMEMBERED;
        }
    }

    pub(crate) fn past(&self, id: u32) -> Past {
        match self.past.iter().find(|entry| **entry & !BY_US == id) {
            Some(entry) if entry & BY_US != 0 => Past::ResetByUs,
            Some(_) => Past::Ended,
            None => Past::Unknown,
        }
    }

    /// Moves all send windows (section 6.9.2); `false` when one would be too large.
    pub(crate) fn move_send_windows(&mut self, by: i64) -> bool {
        self.streams.iter_mut().all(|stream| {
            stream.send_window += by;
            stream.send_window <= i64::from(WINDOW_MAX)
        })
    }
}

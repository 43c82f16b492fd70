//! A message as its handler sees it: whole, where it lies, to be read or answered in place.

use crate::dress::Dress;
use std::fmt;
use std::ops::Range;

/// A whole message. It lies in the memory that it was received in, or, if it came in many pieces, in memory of its
/// connection's, and may be written to.
pub struct Message<'m> {
    bytes: &'m mut [u8],
    payload: Range<usize>,
    place: Place,
    is_text: bool,
}

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In what was received, from there on: it can be sent from where it lies.
    Input(usize),
    /// Elsewhere: what is sent of it is copied.
    Apart,
}

/// What of a message's memory is to be sent.
pub(crate) struct Reply<'m> {
    pub(crate) bytes: &'m mut [u8],
    pub(crate) payload: Range<usize>,
    pub(crate) place: Place,
    pub(crate) is_text: bool,
}

impl<'m> Message<'m> {
    pub(crate) fn new(bytes: &'m mut [u8], payload: Range<usize>, place: Place) -> Self {
        Self { bytes, payload, place, is_text: false }
    }

    #[cfg(feature = "websockets")]
    pub(crate) fn with_text(mut self, is_text: bool) -> Self {
        self.is_text = is_text;
        self
    }

    /// What it says, without its frame.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(self.payload.clone()).unwrap_or_default()
    }

    /// The same, to be written to: an answer of the same length needs no other memory.
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.payload.clone()).unwrap_or_default()
    }

    /// All its bytes as they came, length or delimiter included. Those of a WebSocket's frame are not.
    #[must_use]
    pub fn whole(&self) -> &[u8] {
        self.bytes
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn len(&self) -> usize {
        self.payload.len()
    }

    /// Whether the payload has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    /// Whether it is a text of a WebSocket's, and so UTF-8. Its answer in place must be UTF-8 as well.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.is_text
    }

    /// Shortens the payload, for an answer in place that is shorter; longer is ignored.
    pub fn truncate(&mut self, bytes: usize) {
        self.payload.end = self.payload.end.min(self.payload.start.saturating_add(bytes));
    }

    /// Leaves bytes out of the payload's beginning, for an answer in place without them.
    pub fn advance(&mut self, bytes: usize) {
        self.payload.start = self.payload.end.min(self.payload.start.saturating_add(bytes));
    }

    pub(crate) fn into_reply(self) -> Reply<'m> {
        let Self { bytes, payload, place, is_text } = self;
        Reply { bytes, payload, place, is_text }
    }
}

impl Reply<'_> {
    /// Makes the frame that the payload has now, in place where it has room; where in the bytes the whole is then.
    pub(crate) fn frame(&mut self, dress: Dress<'_>) -> Option<Range<usize>> {
        let mut head = [0; crate::framing::FRAME_BYTES_MAX];
        let written = dress.head(self.payload.len() as u64, &mut head)?;
        let start = self.payload.start.checked_sub(written)?;
        self.bytes.get_mut(start..self.payload.start)?.copy_from_slice(&head[head.len() - written..]);
        let tail = dress.tail();
        let end = self.payload.end + tail.len();
        self.bytes.get_mut(self.payload.end..end)?.copy_from_slice(tail);
        Some(start..end)
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("len", &self.len())
            .field("is_text", &self.is_text)
            .finish_non_exhaustive()
    }
}

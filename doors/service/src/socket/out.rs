//! What a turn sends: frames of one turn leave together.

use super::link::Link;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice, SliceMut};
use ringway_ws::frame::{HEAD_BYTES_MAX, Head};
use ringway_ws::mask;
use std::ops::Range;

/// Largest buffer that is taken for more than one frame, in bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// Shortest payload that is sent where it was received, in bytes: shorter ones are copied so that they leave together.
const IN_PLACE_BYTES_MIN: usize = 4 * 1024;
/// Part of its buffer, as a divisor, that it is at least: a queue of such answers does not pin much more than it counts.
const IN_PLACE_SHARE: usize = 4;

/// No memory: the pool is at its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoMemory;

/// Frames on their way out.
#[derive(Debug, Default)]
pub(super) struct Out {
    buffer: Option<SliceMut>,
    len: usize,
    /// What is likely to be sent in this turn, in bytes.
    expected: usize,
    /// What was given to this turn's link and may still wait there, and what waited there before.
    given: usize,
    /// Where the last message of the input lies that is being handled, if it may be sent from there.
    input: Range<usize>,
    /// The head of the frame that is to be sent from there.
    in_place: Option<InPlace>,
    /// What was sent behind it before it could be.
    behind: Vec<Slice>,
    /// A frame was cut off: nothing can follow it.
    pub(super) is_broken: bool,
}

/// A frame whose payload lies at the end of the input, and whose head shall be written before it.
#[derive(Debug)]
pub(super) struct InPlace {
    head: [u8; HEAD_BYTES_MAX],
    head_len: usize,
    payload_len: usize,
}

impl InPlace {
    /// Writes the head, and says where in the input the frame begins. A server's head is shorter than the client's that was
    /// there.
    pub(super) fn write(&self, input: &mut [u8]) -> usize {
        let payload_at = input.len() - self.payload_len;
        let at = payload_at - self.head_len;
        input[at..payload_at].copy_from_slice(&self.head[..self.head_len]);
        at
    }
}

impl Out {
    /// Nothing yet; `queued` bytes wait in the link.
    pub(super) fn new(queued: usize) -> Self {
        Self { given: queued, ..Self::default() }
    }

    /// As much as came is likely to be answered.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.expected = bytes.min(BATCH_BYTES_MAX);
    }

    /// What is handled now lies in this input. Its last message, when it is sent back, need not be copied: see
    /// [`Out::take_in_place`].
    pub(super) fn lend(&mut self, input: &[u8], capacity: usize) {
        let from = input.as_ptr().addr();
        let is_worth_it = input.len() >= IN_PLACE_BYTES_MIN && input.len() * IN_PLACE_SHARE >= capacity;
        self.input = if is_worth_it { from..from + input.len() } else { 0..0 };
    }

    /// The frame that is to be sent from the input, once nobody else looks at that; [`Out::sent_in_place`] must follow.
    pub(super) fn take_in_place(&mut self) -> Option<InPlace> {
        self.input = 0..0;
        self.in_place.take()
    }

    /// The frame was sent: what was behind it follows.
    pub(super) fn sent_in_place(&mut self, link: &mut dyn Link) {
        for slice in self.behind.drain(..) {
            link.send(slice);
        }
    }

    /// Whether this payload may be sent from where it lies.
    fn is_in_place(&self, head: &Head, head_len: usize, payload: &[u8]) -> bool {
        let from = payload.as_ptr().addr();
        payload.len() >= IN_PLACE_BYTES_MIN
            && self.input.end == from + payload.len()
            && from >= self.input.start + head_len
            && head.key.is_none()
            && self.in_place.is_none()
    }

    /// Bytes that wait, at most.
    pub(super) fn waiting(&self) -> usize {
        self.given + self.len
    }

    /// Looks again how much waits.
    pub(super) fn recount(&mut self, link: &mut dyn Link) {
        self.flush(link);
        self.given = link.queued_bytes();
    }

    /// Adds a frame, its payload in place of the head's length; all of it or, at the pool's limit, nothing.
    #[inline]
    pub(super) fn frame(&mut self, link: &mut dyn Link, head: &Head, payload: &[u8]) -> Result<(), NoMemory> {
        let mut written = [0; HEAD_BYTES_MAX];
        let head_len = head.write(&mut written);
        if self.is_in_place(head, head_len, payload) {
            self.flush(link);
            self.given += head_len + payload.len();
            self.in_place = Some(InPlace { head: written, head_len, payload_len: payload.len() });
            return Ok(());
        }
        let total = head_len + payload.len();
        let fits = self.buffer.as_ref().is_some_and(|buffer| buffer.len() - self.len >= total);
        if !fits {
            self.make_room(link, total)?;
        }
        let at = self.len;
        let Some(room) = self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(at..)) else {
            return Err(NoMemory);
        };
        let (front, room) = room.split_at_mut(head_len);
        front.copy_from_slice(&written[..head_len]);
        let here = payload.len().min(room.len());
        room[..here].copy_from_slice(&payload[..here]);
        let key = head.key.map(|key| mask::apply(key, &mut room[..here]));
        self.len += head_len + here;
        if here < payload.len() { self.rest(link, &payload[here..], key) } else { Ok(()) }
    }

    /// Adds whole frames as they are.
    pub(super) fn bytes(&mut self, link: &mut dyn Link, bytes: &[u8]) -> Result<(), NoMemory> {
        self.rest(link, bytes, None)
    }

    /// Sends what there is.
    #[inline]
    pub(super) fn flush(&mut self, link: &mut dyn Link) {
        if let Some(buffer) = self.buffer.take() {
            let len = std::mem::take(&mut self.len);
            self.given += len;
            let frames = buffer.freeze(len);
            if self.in_place.is_some() { self.behind.push(frames) } else { link.send(frames) }
        }
    }

    /// A buffer that has room for `bytes`, as far as one reaches.
    fn make_room(&mut self, link: &mut dyn Link, bytes: usize) -> Result<(), NoMemory> {
        let wanted = bytes.max(self.expected).min(SLICE_BYTES_MAX);
        let buffer = link.pool().get(wanted).ok_or(NoMemory)?;
        self.flush(link);
        self.buffer = Some(buffer);
        self.len = 0;
        Ok(())
    }

    /// What of a frame had no room, or frames as they are.
    fn rest(
        &mut self,
        link: &mut dyn Link,
        mut bytes: &[u8],
        mut key: Option<[u8; 4]>,
    ) -> Result<(), NoMemory> {
        while !bytes.is_empty() {
            let is_full = self.buffer.as_ref().is_none_or(|buffer| buffer.len() == self.len);
            if is_full && self.make_room(link, bytes.len()).is_err() {
                // What was begun cannot be ended.
                self.is_broken = true;
                return Err(NoMemory);
            }
            let at = self.len;
            let Some(room) = self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(at..)) else {
                return Err(NoMemory);
            };
            let count = bytes.len().min(room.len());
            room[..count].copy_from_slice(&bytes[..count]);
            key = key.map(|key| mask::apply(key, &mut room[..count]));
            self.len += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }
}

/// Bytes in as many slices as they need.
pub(super) fn slices_of(pool: &Pool, bytes: &[u8]) -> Option<Vec<Slice>> {
    bytes.chunks(SLICE_BYTES_MAX).map(|piece| pool.copy_of(piece)).collect()
}

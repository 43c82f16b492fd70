//! What a turn sends: frames of one turn leave together.

use super::link::Link;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, Slice, SliceMut};
use ringway_ws::frame::{HEAD_BYTES_MAX, Head};
use ringway_ws::mask;

/// Largest buffer that is taken for more than one frame, in bytes.
const BATCH_BYTES_MAX: usize = 16 * 1024;

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
    /// A frame was cut off: nothing can follow it.
    pub(super) is_broken: bool,
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
            link.send(buffer.freeze(len));
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

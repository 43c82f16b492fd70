//! Frames on their way out: those of one batch leave together, in slices of the size they need.

use crate::output::NoMemory;
use ringway_engine::Stream;
use ringway_engine::ring::{Pool, SLICE_BYTES_MAX, SliceMut};

/// Collects what is to be sent.
pub(super) struct Outbox {
    pool: Pool,
    buffer: Option<SliceMut>,
    len: usize,
}

impl Outbox {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, buffer: None, len: 0 }
    }

    /// Takes what the machine has to say. `more` is how much will follow it in the same buffer, if that can be.
    pub(super) fn take(
        &mut self,
        stream: &mut Stream,
        out: &mut Vec<u8>,
        more: usize,
    ) -> Result<(), NoMemory> {
        let mut rest = &out[..];
        while !rest.is_empty() {
            let wanted = (rest.len() + more).min(SLICE_BYTES_MAX);
            let room = self.room(stream, rest.len().min(SLICE_BYTES_MAX), wanted)?;
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            self.len += count;
            rest = &rest[count..];
        }
        out.clear();
        Ok(())
    }

    /// Memory behind what was collected: at least `least` bytes (up to the largest slice). If a new buffer must be had it is one
    /// of `wanted`. [`Outbox::fill`] says how much of it was used.
    pub(super) fn room(
        &mut self,
        stream: &mut Stream,
        least: usize,
        wanted: usize,
    ) -> Result<&mut [u8], NoMemory> {
        let free = self.buffer.as_ref().map_or(0, |buffer| buffer.len() - self.len);
        if free < least {
            self.send(stream);
            self.buffer = Some(self.pool.get(wanted.max(least)).ok_or(NoMemory)?);
        }
        let len = self.len;
        self.buffer.as_deref_mut().and_then(|buffer| buffer.get_mut(len..)).ok_or(NoMemory)
    }

    /// So many bytes of the room are used.
    pub(super) fn fill(&mut self, bytes: usize) {
        self.len += bytes;
    }

    /// Sends what was collected.
    pub(super) fn send(&mut self, stream: &mut Stream) {
        let len = std::mem::take(&mut self.len);
        if let Some(buffer) = self.buffer.take()
            && len > 0
        {
            stream.send(buffer.freeze(len));
        }
    }
}

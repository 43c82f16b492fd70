//! The provided-buffer ring: buffers the kernel picks from when data arrives, so that idle connections pin none.

use crate::memory;
use crate::slice::{Pool, Slice, SliceMut};
use io_uring::types::BufRingEntry;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// One group of equal buffers shared with the kernel.
pub(super) struct Buffers {
    pool: Pool,
    buffer_bytes: usize,
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: u16,
    /// What the kernel holds, by buffer id.
    held: Vec<Option<SliceMut>>,
    /// Ids the kernel has no buffer for.
    missing: Vec<u16>,
}

impl Buffers {
    /// Registers `count` (a power of two) buffers of `buffer_bytes` as this group.
    pub(super) fn register(
        ring: &io_uring::IoUring,
        group: u16,
        pool: Pool,
        count: u16,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let entries = memory::map(usize::from(count) * size_of::<BufRingEntry>())?.cast::<BufRingEntry>();
        let held = (0..count).map(|_| None).collect();
        let missing = (0..count).rev().collect();
        let mut buffers = Self { pool, buffer_bytes, entries, count, tail: 0, held, missing };
        // SAFETY: I7: the mapping is page-aligned, large enough, and outlives the ring (see `Drop for Uring`).
        let registered = unsafe {
            let address = entries.as_ptr() as u64;
            ring.submitter().register_buf_ring_with_flags(address, count, group, 0)
        };
        if let Err(error) = registered {
            // SAFETY: I7: the kernel refused the mapping, so nothing uses it.
            unsafe { buffers.unmap() };
            return Err(error);
        }
        buffers.replenish();
        Ok(buffers)
    }

    /// The buffer the kernel filled with `bytes`; `None` when it names one it does not hold.
    pub(super) fn take(&mut self, id: u16, bytes: usize) -> Option<Slice> {
        let buffer = self.held.get_mut(usize::from(id))?.take()?;
        self.missing.push(id);
        (bytes <= buffer.len()).then(|| buffer.freeze(bytes))
    }

    /// Gives the kernel fresh buffers for those it used up, as far as the pool's limit allows.
    pub(super) fn replenish(&mut self) {
        let before = self.tail;
        while let Some(&id) = self.missing.last() {
            let Some(buffer) = self.pool.get(self.buffer_bytes) else { break };
            self.missing.pop();
            let position = usize::from(self.tail & (self.count - 1));
            // SAFETY: I7: the position is inside the ring, and the kernel does not read it before the tail moves.
            let entry = unsafe { &mut *self.entries.as_ptr().add(position) };
            entry.set_addr(buffer.as_ptr() as u64);
            entry.set_len(u32::try_from(buffer.len()).unwrap_or(0));
            entry.set_bid(id);
            self.held[usize::from(id)] = Some(buffer);
            self.tail = self.tail.wrapping_add(1);
        }
        if self.tail != before {
            // SAFETY: I7: the tail lies in the first entry of the mapping; the kernel reads it with acquire order.
            unsafe {
                let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
                (*tail).store(self.tail, Ordering::Release);
            }
        }
    }

    /// Keeps everything the kernel may still write to mapped for ever.
    pub(super) fn leak(&mut self) {
        for buffer in self.held.drain(..).flatten() {
            let _kept_for_the_kernel = std::mem::ManuallyDrop::new(buffer);
        }
    }

    /// Unmaps the ring.
    ///
    /// # Safety
    /// The kernel's ring is closed and everything in flight on it has completed.
    pub(super) unsafe fn unmap(&mut self) {
        let bytes = usize::from(self.count) * size_of::<BufRingEntry>();
        // SAFETY: I7: the caller's promise.
        unsafe { memory::unmap(self.entries.cast(), bytes) };
    }
}

//! Where a datagram operation's free buffers are: with us, or in a group that the kernel picks from.

use super::region::Region;
use crate::memory;
use io_uring::types::BufRingEntry;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

/// The free buffers of one operation.
pub(crate) enum Supply {
    /// With us, by id.
    Free(Vec<u16>),
    /// With the kernel.
    Provided(Provided),
}

/// A provided-buffer ring of one operation (I7). It is taken apart explicitly, when the kernel has let go of it; one that
/// is merely dropped stays mapped, with the region it names.
pub(crate) struct Provided {
    entries: NonNull<BufRingEntry>,
    mask: u16,
    tail: u16,
    /// Entries that have not been written since the ring was mapped.
    fresh: u16,
    group: u16,
    region: ManuallyDrop<Arc<Region>>,
}

impl Provided {
    /// Maps the ring of a group whose buffers are those of `region`; none is in it yet.
    pub(crate) fn map(region: &Arc<Region>, group: u16) -> std::io::Result<Self> {
        let bytes = usize::from(region.count()) * size_of::<BufRingEntry>();
        let entries = memory::map(bytes)?.cast::<BufRingEntry>();
        let mask = region.count() - 1;
        let region = ManuallyDrop::new(Arc::clone(region));
        Ok(Self { entries, mask, tail: 0, fresh: region.count(), group, region })
    }

    /// The group's id.
    pub(crate) fn group(&self) -> u16 {
        self.group
    }

    /// The ring's address and length in entries, for registration.
    pub(crate) fn registration(&self) -> (u64, u16) {
        (self.entries.as_ptr() as u64, self.region.count())
    }

    /// Gives the kernel buffers; none of them is in the ring, so there is room.
    #[inline]
    pub(crate) fn give(&mut self, buffers: impl Iterator<Item = u16>) {
        let bytes = u32::try_from(self.region.layout().buffer_bytes()).unwrap_or(u32::MAX);
        for buffer in buffers {
            // SAFETY: I7: the position is inside the ring, and the kernel does not read it before the tail moves.
            let entry = unsafe { &mut *self.entries.as_ptr().add(usize::from(self.tail & self.mask)) };
            // Buffers mostly come back in the order in which they were picked, so that the entry is the same as before.
            if self.fresh > 0 || entry.bid() != buffer {
                self.fresh = self.fresh.saturating_sub(1);
                entry.set_addr(self.region.address(buffer) as u64);
                entry.set_len(bytes);
                entry.set_bid(buffer);
            }
            self.tail = self.tail.wrapping_add(1);
        }
        // SAFETY: I7: the tail lies in the first entry of the mapping; the kernel reads it with acquire order.
        unsafe {
            let tail = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }

    /// Unmaps the ring and lets go of the region.
    ///
    /// # Safety
    /// The group is not registered (any more), and nothing that could pick from it is in flight.
    pub(crate) unsafe fn unmap(mut self) {
        let bytes = usize::from(self.region.count()) * size_of::<BufRingEntry>();
        // SAFETY: I7: the caller's promise; `self` is consumed, so the region is dropped once.
        unsafe {
            memory::unmap(self.entries.cast(), bytes);
            ManuallyDrop::drop(&mut self.region);
        }
    }
}

//! What stands in for the heap when private heaps are turned off: the process heap, a call for each block, counted.

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator, Global};

use crate::stats::{ClassStats, HeapOptions, HeapStats, HugePages};

/// A heap's counts; its blocks are the process heap's.
#[derive(Debug)]
pub(crate) struct Core {
    options: HeapOptions,
    stats: HeapStats,
}

impl Core {
    pub(crate) fn new(options: HeapOptions) -> Self {
        Self { options, stats: HeapStats::default() }
    }

    /// Blocks that are still out stay with the process heap.
    pub(crate) fn end(self) {
        let Self { .. } = self;
    }

    /// A block for `layout`, no longer than asked.
    #[inline]
    pub(crate) fn allocate(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.obtain(layout, |layout| Global.allocate(layout))
    }

    /// As [`Core::allocate`], with every byte zero.
    pub(crate) fn allocate_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.obtain(layout, |layout| Global.allocate_zeroed(layout))
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` is out of this heap, `layout` fits it, and nothing refers to it any more.
    #[inline]
    pub(crate) unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        self.count_out(layout.size());
        // SAFETY: I6: the block came from the process heap with this layout: no more is given than asked.
        unsafe { Global.deallocate(block, layout) };
    }

    /// Makes a block fit `new`, moving it when it must. On failure the old block is as it was.
    ///
    /// # Safety
    /// As for [`Core::deallocate`] with `old`.
    pub(crate) unsafe fn resize(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let moved = self.obtain(new, |new| {
            // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
            unsafe {
                if new.size() >= old.size() {
                    Global.grow(block, old, new)
                } else {
                    Global.shrink(block, old, new)
                }
            }
        })?;
        self.count_out(old.size());
        Ok(moved)
    }

    /// Nothing is kept, so nothing is given back.
    pub(crate) fn trim(&mut self) {
        debug_assert_eq!(self.stats.cached_bytes, 0);
    }

    pub(crate) fn live_blocks(&self) -> usize {
        self.stats.live_blocks
    }

    pub(crate) fn stats(&self) -> HeapStats {
        HeapStats { taken_bytes: self.stats.live_bytes, mapped_bytes: self.stats.live_bytes, ..self.stats }
    }

    pub(crate) fn class_stats(&self, _index: usize) -> Option<ClassStats> {
        None
    }

    pub(crate) fn huge_pages(&self) -> HugePages {
        HugePages { asked: self.options.huge_pages, mapped_bytes: 0, advised_bytes: 0, backed_bytes: None }
    }

    pub(crate) fn region(&self, _index: usize) -> Option<(usize, usize)> {
        None
    }

    fn obtain(
        &mut self,
        layout: Layout,
        source: impl FnOnce(Layout) -> Result<NonNull<[u8]>, AllocError>,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let size = layout.size();
        let within = size <= self.options.limit_bytes.saturating_sub(self.stats.live_bytes);
        let block = if within { source(layout) } else { Err(AllocError) };
        if block.is_err() {
            self.stats.refused += 1;
        } else if size > 0 {
            self.stats.live_blocks += 1;
            self.stats.live_bytes += size;
            self.stats.taken_bytes_peak = self.stats.taken_bytes_peak.max(self.stats.live_bytes);
        }
        block.map(|block| NonNull::slice_from_raw_parts(block.cast(), size))
    }

    fn count_out(&mut self, size: usize) {
        if size > 0 {
            self.stats.live_blocks -= 1;
            self.stats.live_bytes -= size;
        }
    }
}

//! Regions: large mappings that runs and large blocks are cut from, given back together.

use std::ptr::NonNull;

use crate::class::PAGE_BYTES;
use crate::memory::{self, HUGE_BYTES};
use crate::sanitizer::forbid;

/// A run: blocks of one class, aligned to its own size, so that a block's address tells its run.
pub(crate) const RUN_BYTES: usize = 128 * 1024;

/// The first region is this long, each further one twice the last, up to the longest. Untouched pages cost nothing.
const REGION_BYTES_MIN: usize = HUGE_BYTES;
const REGION_BYTES_MAX: usize = 16 * HUGE_BYTES;

/// What a region's first page begins with.
#[derive(Debug)]
struct Region {
    next: Option<NonNull<Region>>,
    bytes: usize,
}

/// All regions of a heap. Large blocks are cut from the low end of the newest, runs from its high end.
#[derive(Debug)]
pub(crate) struct Regions {
    newest: Option<NonNull<Region>>,
    low: NonNull<u8>,
    room: usize,
    next_bytes: usize,
    huge: bool,
    mapped_bytes: usize,
    advised_bytes: usize,
}

impl Regions {
    /// None yet; `huge` asks for huge pages.
    pub(crate) fn new(huge: bool) -> Self {
        Self {
            newest: None,
            low: NonNull::dangling(),
            room: 0,
            next_bytes: REGION_BYTES_MIN,
            huge,
            mapped_bytes: 0,
            advised_bytes: 0,
        }
    }

    /// Bytes of address space that the regions take.
    pub(crate) fn mapped_bytes(&self) -> usize {
        self.mapped_bytes
    }

    /// Bytes of it for which the kernel took the advice to use huge pages.
    pub(crate) fn advised_bytes(&self) -> usize {
        self.advised_bytes
    }

    /// Cuts off a run. `None` when the kernel has no memory.
    pub(crate) fn cut_run(&mut self) -> Option<NonNull<u8>> {
        self.provide(RUN_BYTES)?;
        self.room -= RUN_BYTES;
        // SAFETY: I1: the room lies in the newest region, whose end is aligned to a run.
        let at = unsafe { self.low.add(self.room) };
        debug_assert_eq!(at.addr().get() % RUN_BYTES, 0);
        Some(at)
    }

    /// Cuts off `bytes`, a multiple of the page. `None` when the kernel has no memory.
    pub(crate) fn cut_block(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        self.provide(bytes)?;
        let at = self.low;
        // SAFETY: I1: there is room for that in the newest region.
        self.low = unsafe { at.add(bytes) };
        self.room -= bytes;
        Some(at)
    }

    /// Makes the newest region have room for `bytes`. What was left of the last one is given up: it was never touched.
    fn provide(&mut self, bytes: usize) -> Option<()> {
        if self.room >= bytes {
            return Some(());
        }
        let region_bytes = self.next_bytes.max((bytes + PAGE_BYTES).next_multiple_of(RUN_BYTES));
        let align = if self.huge { HUGE_BYTES } else { RUN_BYTES };
        let base = memory::map(region_bytes, align)?;
        if self.huge && memory::advise_huge(base, region_bytes) {
            self.advised_bytes += region_bytes;
        }
        // SAFETY: I1: the region was just mapped and is longer than a page, which is for its head alone.
        unsafe {
            base.cast().write(Region { next: self.newest, bytes: region_bytes });
            self.low = base.add(PAGE_BYTES);
        }
        self.newest = Some(base.cast());
        self.room = region_bytes - PAGE_BYTES;
        self.mapped_bytes += region_bytes;
        self.next_bytes = (region_bytes * 2).clamp(REGION_BYTES_MIN, REGION_BYTES_MAX);
        forbid(self.low, self.room);
        Some(())
    }

    /// The regions' addresses and lengths, the newest first.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut next = self.newest;
        std::iter::from_fn(move || {
            let region = next?;
            // SAFETY: I1: regions stay mapped, with their heads, while `self` lives.
            let head = unsafe { region.as_ref() };
            next = head.next;
            Some((region.addr().get(), head.bytes))
        })
    }
}

impl Drop for Regions {
    fn drop(&mut self) {
        while let Some(region) = self.newest {
            // SAFETY: I1, I5: the heap ends; nothing refers to its memory any more. The head is read before it goes.
            unsafe {
                let Region { next, bytes } = region.read();
                self.newest = next;
                memory::unmap(region.cast(), bytes);
            }
        }
    }
}

/// A mapping of its own for each block, linked both ways so that any can go at any time.
#[derive(Debug, Default)]
pub(crate) struct Singles {
    first: Option<NonNull<Single>>,
    pub(crate) blocks: usize,
    pub(crate) bytes: usize,
}

/// What the page before such a block begins with.
#[derive(Debug)]
struct Single {
    previous: Option<NonNull<Single>>,
    next: Option<NonNull<Single>>,
    /// Of the block, without this page.
    bytes: usize,
}

impl Singles {
    /// Maps a block of `bytes`, a multiple of the page, aligned to `align`. The memory is zeroed.
    pub(crate) fn map(&mut self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        let align = align.max(PAGE_BYTES);
        // The head's page lies before the block: what is before it up to the alignment is given back.
        let base = memory::map(bytes.checked_add(align)?, align)?;
        let single = Single { previous: None, next: self.first, bytes };
        // SAFETY: I1: the mapping is `align + bytes` long, at least a page longer than the block.
        unsafe {
            let block = base.add(align);
            let head = block.sub(PAGE_BYTES);
            if align > PAGE_BYTES {
                memory::unmap(base, align - PAGE_BYTES);
            }
            let mut head = head.cast::<Single>();
            head.write(single);
            if let Some(mut next) = head.as_mut().next {
                next.as_mut().previous = Some(head);
            }
            self.first = Some(head);
            self.blocks += 1;
            self.bytes += bytes;
            Some(block)
        }
    }

    /// What a block of [`Singles::map`] holds, in bytes.
    ///
    /// # Safety
    /// `block` is out of this list.
    pub(crate) unsafe fn bytes_of(block: NonNull<u8>) -> usize {
        // SAFETY: I1: the block's head lies in the page before it.
        unsafe { block.sub(PAGE_BYTES).cast::<Single>().as_ref().bytes }
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// `block` came from this list's [`Singles::map`] and nothing refers to it any more.
    pub(crate) unsafe fn unmap(&mut self, block: NonNull<u8>) {
        // SAFETY: I1: the block's head and those of its neighbours are mapped; it is taken out before it is unmapped.
        unsafe {
            let head = block.sub(PAGE_BYTES);
            let Single { previous, next, bytes } = head.cast::<Single>().read();
            match previous {
                Some(mut previous) => previous.as_mut().next = next,
                None => self.first = next,
            }
            if let Some(mut next) = next {
                next.as_mut().previous = previous;
            }
            self.blocks -= 1;
            self.bytes -= bytes;
            memory::unmap(head, bytes + PAGE_BYTES);
        }
    }
}

impl Drop for Singles {
    fn drop(&mut self) {
        while let Some(head) = self.first {
            // SAFETY: I1, I5: the heap ends; nothing refers to its memory any more. The block begins a page after its head.
            unsafe { self.unmap(head.cast::<u8>().add(PAGE_BYTES)) };
        }
    }
}

//! The heap itself: free lists by class, filled from regions. One thread at a time, no lock, no atomic.

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::AllocError;

use crate::class::{CAPACITY, CLASSES, LINE_BYTES, PAGE_BYTES, Route, is_large, route, run_align};
use crate::list::{FreeList, LINK_BYTES};
use crate::memory;
use crate::region::{RUN_BYTES, Regions, Singles};
use crate::sanitizer::{allow, forbid};
use crate::stats::{ClassStats, HeapOptions, HeapStats, HugePages};

/// What every allocation and every freeing touches.
#[derive(Debug)]
struct Class {
    free: FreeList,
    /// Blocks that are out.
    live: usize,
}

/// The rest of a class.
#[derive(Debug)]
struct Supply {
    /// Where the next block of the current run begins, and how many bytes of the run are left.
    next: NonNull<u8>,
    left: usize,
    /// The runs of a small class, the current one first.
    runs: Option<NonNull<Run>>,
    /// Large blocks whose contents the kernel has back; their first page is kept, for the link.
    emptied: FreeList,
    /// Blocks that are out or in `free`, and the most there ever were. A block is made only when none is free, so
    /// that is also the most that were ever out.
    made: usize,
    made_peak: usize,
}

/// What a run begins with.
#[derive(Debug)]
pub(crate) struct Run {
    next: Option<NonNull<Run>>,
    /// Free blocks in the run, counted by [`Core::trim`].
    free: usize,
}

/// Bytes at the beginning of a run that are not for blocks of the strictest alignment that needs no page.
const RUN_HEAD_BYTES: usize = LINE_BYTES;

/// How many free blocks a request that the limit refuses may make a trim walk over, on average.
const TRIM_BLOCKS_PER_REFUSAL: usize = 256;

/// A large block takes a page more than it holds, for its colour or for alignment to a page.
const COLOUR_BYTES: usize = PAGE_BYTES;

/// A heap's state.
#[derive(Debug)]
pub(crate) struct Core {
    classes: [Class; CLASSES],
    /// Bytes of large blocks that are free and not emptied.
    cached_bytes: usize,
    options: HeapOptions,
    supplies: [Supply; CLASSES],
    spare_runs: FreeList,
    regions: Regions,
    singles: Singles,
    /// Bytes of all blocks made.
    taken_bytes: usize,
    taken_bytes_peak: usize,
    refused: u64,
    /// Free blocks that the last trim walked over in vain, and how many requests exceeded the limit since.
    trim_blocks: usize,
    over_limit: usize,
    /// Whether blocks that are still out at the end are reported (in debug builds).
    reports: bool,
}

// SAFETY: I4: the pointers lead to mappings that only this value uses; nothing ties them to a thread.
unsafe impl Send for Core {}

impl Core {
    pub(crate) fn new(options: HeapOptions) -> Self {
        let supply = || Supply {
            next: NonNull::dangling(),
            left: 0,
            runs: None,
            emptied: FreeList::new(),
            made: 0,
            made_peak: 0,
        };
        Self {
            classes: std::array::from_fn(|_| Class { free: FreeList::new(), live: 0 }),
            cached_bytes: 0,
            supplies: std::array::from_fn(|_| supply()),
            spare_runs: FreeList::new(),
            regions: Regions::new(options.huge_pages),
            singles: Singles::default(),
            taken_bytes: 0,
            taken_bytes_peak: 0,
            refused: 0,
            trim_blocks: 0,
            over_limit: 0,
            reports: true,
            options,
        }
    }

    /// Ends the heap for somebody who knows which blocks are still out.
    pub(crate) fn end(mut self) {
        self.reports = false;
    }

    /// A block for `layout`, as long as its class gives.
    #[inline(always)]
    pub(crate) fn allocate(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match route(layout) {
            Route::Class(class) => {
                let block = self.take(class)?;
                Ok(NonNull::slice_from_raw_parts(block, CAPACITY[class]))
            }
            other => self.allocate_rare(other, layout),
        }
    }

    /// As [`Core::allocate`], with every byte zero.
    pub(crate) fn allocate_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.allocate(layout)?;
        if route(layout) != Route::System {
            // SAFETY: I2: the block was just given to us, as long as it says. (Mappings of their own come zeroed.)
            unsafe { block.cast::<u8>().write_bytes(0, block.len()) };
        }
        Ok(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `block` is out of this heap, `layout` fits it, and nothing refers to it any more (I2, I6).
    #[inline(always)]
    pub(crate) unsafe fn deallocate(&mut self, block: NonNull<u8>, layout: Layout) {
        match route(layout) {
            // SAFETY: I2, I6: the layout leads back to the class that the block came from.
            Route::Class(class) => unsafe { self.give(class, block) },
            // SAFETY: I2, I6: as above.
            other => unsafe { self.deallocate_rare(other, block) },
        }
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
        let way = route(new);
        if way == route(old) && block.addr().get().is_multiple_of(new.align()) {
            let held = match way {
                Route::Nothing => 0,
                Route::Class(class) | Route::Paged(class) => CAPACITY[class],
                // SAFETY: I1, I6: a block of the same route is one of the mappings of their own.
                Route::System => unsafe { Singles::bytes_of(block) },
            };
            // A mapping more than twice too long is worth a shorter one.
            if held >= new.size() && (way != Route::System || held / 2 <= new.size()) {
                return Ok(NonNull::slice_from_raw_parts(block, held));
            }
        }
        let moved = self.allocate(new)?;
        // SAFETY: I2: the new block overlaps nothing, both hold the shorter length, and the old one is ours to free.
        unsafe {
            moved.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size()));
            self.deallocate(block, old);
        }
        Ok(moved)
    }

    /// Takes a block of a class.
    #[inline(always)]
    fn take(&mut self, class: usize) -> Result<NonNull<u8>, AllocError> {
        let entry = &mut self.classes[class];
        let block = match entry.free.pop() {
            Some(block) => {
                if is_large(class) {
                    self.cached_bytes -= CAPACITY[class];
                }
                block
            }
            None => self.make(class)?,
        };
        self.classes[class].live += 1;
        allow(block, CAPACITY[class]);
        Ok(block)
    }

    /// Gives a block to its class.
    ///
    /// # Safety
    /// As for [`Core::deallocate`]; the class is the block's.
    #[inline(always)]
    unsafe fn give(&mut self, class: usize, block: NonNull<u8>) {
        forbid(block, CAPACITY[class]);
        allow(block, LINK_BYTES);
        let entry = &mut self.classes[class];
        // SAFETY: I3: blocks are aligned to 16 and at least 16 bytes long; the caller gives this one up.
        unsafe { entry.free.push(block) };
        entry.live -= 1;
        if is_large(class) {
            self.cached_bytes += CAPACITY[class];
            if self.cached_bytes > self.options.cached_bytes_max {
                self.empty_one(class);
            }
        }
    }

    #[cold]
    fn allocate_rare(&mut self, way: Route, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        match way {
            Route::Nothing => {
                let place = NonNull::without_provenance(nonzero_align(layout));
                Ok(NonNull::slice_from_raw_parts(place, 0))
            }
            Route::Class(class) => Ok(NonNull::slice_from_raw_parts(self.take(class)?, CAPACITY[class])),
            Route::Paged(class) => {
                let block = paged(self.take(class)?);
                allow(block, CAPACITY[class]);
                Ok(NonNull::slice_from_raw_parts(block, CAPACITY[class]))
            }
            Route::System => {
                let bytes = layout.size().checked_next_multiple_of(PAGE_BYTES).ok_or(AllocError)?;
                self.admit(bytes)?;
                let block = self.singles.map(bytes, layout.align()).ok_or_else(|| self.refuse())?;
                self.count_taken(bytes);
                Ok(NonNull::slice_from_raw_parts(block, bytes))
            }
        }
    }

    /// # Safety
    /// As for [`Core::deallocate`]; the route is the block's.
    #[cold]
    unsafe fn deallocate_rare(&mut self, way: Route, block: NonNull<u8>) {
        match way {
            Route::Nothing => {}
            // SAFETY: I2, I6: passed on.
            Route::Class(class) => unsafe { self.give(class, block) },
            Route::Paged(class) => {
                forbid(block, CAPACITY[class]);
                // SAFETY: I2, I6: a block used from its second page on is listed by its coloured place.
                unsafe { self.give(class, coloured(block.sub(PAGE_BYTES))) };
            }
            // SAFETY: I1, I6: a block of this route is a mapping of its own, and the caller gives it up.
            Route::System => unsafe {
                self.taken_bytes -= Singles::bytes_of(block);
                self.singles.unmap(block);
            },
        }
    }

    /// A new block of a class: from the run it has, a spare or new one, or a region.
    #[cold]
    #[inline(never)]
    fn make(&mut self, class: usize) -> Result<NonNull<u8>, AllocError> {
        self.admit(CAPACITY[class])?;
        let block = if is_large(class) { self.make_large(class) } else { self.make_small(class) };
        let block = block.ok_or_else(|| self.refuse())?;
        let supply = &mut self.supplies[class];
        supply.made += 1;
        supply.made_peak = supply.made_peak.max(supply.made);
        self.count_taken(CAPACITY[class]);
        Ok(block)
    }

    fn make_large(&mut self, class: usize) -> Option<NonNull<u8>> {
        if let Some(block) = self.supplies[class].emptied.pop() {
            return Some(block);
        }
        let base = self.regions.cut_block(CAPACITY[class] + COLOUR_BYTES)?;
        Some(coloured(base))
    }

    fn make_small(&mut self, class: usize) -> Option<NonNull<u8>> {
        let bytes = CAPACITY[class];
        if self.supplies[class].left < bytes {
            self.begin_run(class)?;
        }
        let supply = &mut self.supplies[class];
        let block = supply.next;
        supply.left -= bytes;
        // SAFETY: I1: the run had room for the block, so the next one begins in the run or at its end.
        supply.next = unsafe { block.add(bytes) };
        Some(block)
    }

    fn begin_run(&mut self, class: usize) -> Option<()> {
        let run = match self.spare_runs.pop() {
            Some(run) => run,
            None => self.regions.cut_run()?,
        };
        allow(run, RUN_HEAD_BYTES);
        let supply = &mut self.supplies[class];
        let head = RUN_HEAD_BYTES.next_multiple_of(run_align(class));
        // SAFETY: I1, I2: the run is ours alone, longer than its head, and aligned for it.
        unsafe {
            run.cast().write(Run { next: supply.runs, free: 0 });
            supply.next = run.add(head);
        }
        supply.runs = Some(run.cast());
        supply.left = RUN_BYTES - head;
        Some(())
    }

    /// Sees to it that `bytes` more stay within the limit: gives back what is free when they would not. A heap that stays
    /// full does not do so for every request: looking for free runs takes time.
    fn admit(&mut self, bytes: usize) -> Result<(), AllocError> {
        let over = |core: &Self| bytes > core.options.limit_bytes.saturating_sub(core.taken_bytes);
        if !over(self) {
            return Ok(());
        }
        self.over_limit += 1;
        if self.over_limit.saturating_mul(TRIM_BLOCKS_PER_REFUSAL) >= self.trim_blocks {
            self.trim();
        }
        if over(self) {
            return Err(self.refuse());
        }
        self.trim_blocks = 0;
        Ok(())
    }

    #[cold]
    fn refuse(&mut self) -> AllocError {
        self.refused += 1;
        AllocError
    }

    fn count_taken(&mut self, bytes: usize) {
        self.taken_bytes += bytes;
        self.taken_bytes_peak = self.taken_bytes_peak.max(self.taken_bytes);
    }

    /// Gives the contents of the large block freed last back to the kernel; false when none is free.
    #[cold]
    #[inline(never)]
    fn empty_one(&mut self, class: usize) -> bool {
        let Some(block) = self.classes[class].free.pop() else { return false };
        let capacity = CAPACITY[class];
        // SAFETY: I2, I3: the block is free: nobody needs its contents. The page with its link stays as it is.
        unsafe {
            memory::empty(base_of(block).add(PAGE_BYTES), capacity + COLOUR_BYTES - PAGE_BYTES);
            self.supplies[class].emptied.push(block);
        }
        self.supplies[class].made -= 1;
        self.cached_bytes -= capacity;
        self.taken_bytes -= capacity;
        true
    }

    /// Gives back to the kernel what is free: large blocks, and runs without a block that is out. Takes time in proportion to
    /// the free blocks.
    pub(crate) fn trim(&mut self) {
        (self.over_limit, self.trim_blocks) = (0, 0);
        for class in 0..CLASSES {
            if is_large(class) {
                while self.empty_one(class) {}
            } else if self.classes[class].live < self.supplies[class].made {
                self.trim_runs(class);
            }
        }
    }

    fn trim_runs(&mut self, class: usize) {
        self.trim_blocks += self.supplies[class].made - self.classes[class].live;
        let capacity = CAPACITY[class];
        let room = RUN_BYTES - RUN_HEAD_BYTES.next_multiple_of(run_align(class));
        let mut free = self.classes[class].free.take();
        let mut counted = FreeList::new();
        while let Some(block) = free.pop() {
            // SAFETY: I2, I3: the block goes from one list to another; its run's head is mapped and ours.
            unsafe {
                run_of(block).as_mut().free += 1;
                counted.push(block);
            }
        }
        let supply = &mut self.supplies[class];
        // Blocks of a run that were made: all it has room for, but for the current one.
        let made_in =
            |run, current, left| if run == current { (room - left) / capacity } else { room / capacity };
        let (current, left) = (supply.runs, supply.left);
        let is_free = |run: NonNull<Run>| {
            // SAFETY: I1: a run's head stays mapped.
            let counted = unsafe { run.as_ref().free };
            counted > 0 && counted == made_in(Some(run), current, left)
        };
        while let Some(block) = counted.pop() {
            if !is_free(run_of(block)) {
                // SAFETY: I3: the block stays free.
                unsafe { self.classes[class].free.push(block) };
            }
        }
        let mut next = supply.runs.take();
        let mut kept = &mut supply.runs;
        while let Some(mut run) = next {
            let free = is_free(run);
            // SAFETY: I1, I2: the run's head is ours; a run that is free has no block in any list any more.
            unsafe {
                next = run.as_mut().next.take();
                if !free {
                    run.as_mut().free = 0;
                    *kept = Some(run);
                    kept = &mut (*run.as_ptr()).next;
                    continue;
                }
            }
            if Some(run) == current {
                supply.left = 0;
            }
            let blocks = made_in(Some(run), current, left);
            supply.made -= blocks;
            self.taken_bytes -= blocks * capacity;
            // SAFETY: I2, I3: nobody needs the run's contents; the page with its link stays.
            unsafe {
                let base = run.cast::<u8>();
                memory::empty(base.add(PAGE_BYTES), RUN_BYTES - PAGE_BYTES);
                forbid(base, RUN_BYTES);
                allow(base, LINK_BYTES);
                self.spare_runs.push(base);
            }
        }
    }

    /// Blocks that are out.
    pub(crate) fn live_blocks(&self) -> usize {
        self.classes.iter().map(|class| class.live).sum::<usize>() + self.singles.blocks
    }

    pub(crate) fn stats(&self) -> HeapStats {
        let in_classes = self.classes.iter().zip(&CAPACITY).map(|(class, bytes)| class.live * bytes);
        HeapStats {
            live_blocks: self.live_blocks(),
            live_bytes: in_classes.sum::<usize>() + self.singles.bytes,
            cached_bytes: self.cached_bytes,
            taken_bytes: self.taken_bytes,
            taken_bytes_peak: self.taken_bytes_peak,
            mapped_bytes: self.regions.mapped_bytes() + self.singles.bytes,
            refused: self.refused,
        }
    }

    /// What class number `index` does; `None` after the last.
    pub(crate) fn class_stats(&self, index: usize) -> Option<ClassStats> {
        let (class, supply) = (self.classes.get(index)?, &self.supplies[index]);
        Some(ClassStats {
            block_bytes: CAPACITY[index],
            align_bytes: if is_large(index) { LINE_BYTES } else { run_align(index) },
            live_blocks: class.live,
            live_blocks_peak: supply.made_peak,
            free_blocks: supply.made - class.live,
        })
    }

    /// What was asked of huge pages, without what came of it.
    pub(crate) fn huge_pages(&self) -> HugePages {
        HugePages {
            asked: self.options.huge_pages,
            mapped_bytes: self.regions.mapped_bytes(),
            advised_bytes: self.regions.advised_bytes(),
            backed_bytes: None,
        }
    }

    /// Address and length of a region; `None` after the last.
    pub(crate) fn region(&self, index: usize) -> Option<(usize, usize)> {
        self.regions.ranges().nth(index)
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        let live = self.live_blocks();
        if cfg!(debug_assertions) && live > 0 && self.reports && !std::thread::panicking() {
            eprintln!("ringway-heap: a heap ends with blocks that were never freed: {}", self.stats());
        }
    }
}

fn nonzero_align(layout: Layout) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::new(layout.align()).unwrap_or(std::num::NonZeroUsize::MIN)
}

/// The run that a small block lies in.
fn run_of(block: NonNull<u8>) -> NonNull<Run> {
    let run = block.as_ptr().map_addr(|address| address & !(RUN_BYTES - 1)).cast();
    NonNull::new(run).unwrap_or(NonNull::dangling())
}

/// The first byte of a large block's first page, from the block's coloured place.
fn base_of(block: NonNull<u8>) -> NonNull<u8> {
    let base = block.as_ptr().map_addr(|address| address & !(PAGE_BYTES - 1));
    NonNull::new(base).unwrap_or(block)
}

/// Where a large block is used when it need not be aligned to more than a line: so far into its first page that
/// neighbours fall on different sets of the cache. Blocks lie an odd number of pages apart, so 32 of them differ.
fn coloured(base: NonNull<u8>) -> NonNull<u8> {
    let colour = (base.addr().get() / PAGE_BYTES) % 32;
    // SAFETY: I1: below a page, which is what a large block takes more than it holds.
    unsafe { base.add(LINE_BYTES + colour * 2 * LINE_BYTES) }
}

/// Where a large block is used when it must be aligned to a page.
fn paged(block: NonNull<u8>) -> NonNull<u8> {
    // SAFETY: I1: a large block takes a page more than it holds.
    unsafe { base_of(block).add(PAGE_BYTES) }
}

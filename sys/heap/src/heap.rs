//! `ThreadHeap`: a heap of one thread.

use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::fmt;
use std::ptr::NonNull;
use std::rc::Rc;

use allocator_api2::alloc::{AllocError, Allocator};

use crate::core::Core;
use crate::stats::{ClassStats, HeapOptions, HeapStats, HugePages, huge_bytes};

/// A heap that serves one thread: no lock, no atomic. Cloning makes another handle of the same heap (a count, as `Rc`).
///
/// Values hold the heap by reference (`Box<T, &ThreadHeap>`, the cheapest) or by handle (`Box<T, ThreadHeap>`, where a
/// lifetime is in the way); the heap ends with its last handle, and then all its memory goes back to the system at once.
///
/// Blocks up to 4 MiB are kept in lists when they are freed: those up to 16 KiB until [`ThreadHeap::trim`], larger ones up
/// to [`HeapOptions::cached_bytes_max`]. Larger blocks, and those aligned to more than 4 KiB, are mappings of their own.
///
/// ```
/// use ringway_heap::ThreadHeap;
/// use ringway_heap::allocator_api2::{boxed::Box, vec::Vec};
///
/// let heap = ThreadHeap::new();
/// let number = Box::new_in(7, &heap);
/// let mut list = Vec::new_in(heap.clone());
/// list.extend([1, 2, *number]);
/// assert_eq!(heap.stats().live_blocks, 2);
/// ```
///
/// What lives on it cannot leave its thread:
/// ```compile_fail,E0277
/// use ringway_heap::{ThreadHeap, allocator_api2::boxed::Box};
/// let heap = ThreadHeap::new();
/// let number = Box::new_in(7, heap.clone());
/// std::thread::spawn(move || drop(number));
/// ```
/// nor can it be lent to another, by reference or otherwise:
/// ```compile_fail,E0277
/// use ringway_heap::{ThreadHeap, allocator_api2::boxed::Box};
/// let heap = ThreadHeap::new();
/// let number = Box::new_in(7, &heap);
/// std::thread::scope(|scope| { scope.spawn(move || drop(number)); });
/// ```
/// ```compile_fail,E0277
/// let heap = ringway_heap::ThreadHeap::new();
/// std::thread::scope(|scope| { scope.spawn(|| heap.stats()); });
/// ```
/// and what borrows a heap does not outlive it:
/// ```compile_fail,E0505
/// use ringway_heap::{ThreadHeap, allocator_api2::boxed::Box};
/// let heap = ThreadHeap::new();
/// let number = Box::new_in(7, &heap);
/// let _ = heap.destroy();
/// drop(number);
/// ```
#[derive(Clone)]
pub struct ThreadHeap {
    core: Rc<UnsafeCell<Core>>,
}

impl Default for ThreadHeap {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ThreadHeap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThreadHeap").field(&self.stats()).finish()
    }
}

impl ThreadHeap {
    /// A heap with the default options. It takes no memory for blocks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with(HeapOptions::default())
    }

    /// A heap with options of your own.
    #[must_use]
    pub fn with(options: HeapOptions) -> Self {
        Self { core: Rc::new(UnsafeCell::new(Core::new(options))) }
    }

    /// What it holds now.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        self.enter(|core| core.stats())
    }

    /// What each size class holds; empty when private heaps are turned off.
    pub fn classes(&self) -> impl Iterator<Item = ClassStats> + '_ {
        (0..).map_while(|index| self.enter(|core| core.class_stats(index)))
    }

    /// What came of [`HeapOptions::huge_pages`], as the kernel tells it. Reads `/proc/self/smaps`, which takes milliseconds.
    #[must_use]
    pub fn huge_pages(&self) -> HugePages {
        let mut report = self.enter(|core| core.huge_pages());
        let regions = (0..).map_while(|index| self.enter(|core| core.region(index)));
        let ranges: Vec<(usize, usize)> = regions.collect();
        let smaps = std::fs::read_to_string("/proc/self/smaps").ok();
        report.backed_bytes = smaps.map(|text| huge_bytes(&text, &ranges));
        report
    }

    /// Gives the memory of free blocks back to the kernel: large ones, and runs of small ones without a block that is
    /// out. Takes time in proportion to the free blocks; for when a thread has nothing else to do.
    pub fn trim(&self) {
        self.enter(Core::trim);
    }

    /// Ends the heap at once and gives all its memory back, that of values which were forgotten (`mem::forget`) too: they are
    /// the blocks that the returned counts say are still out.
    ///
    /// # Errors
    /// The heap itself, as it was, when there are other handles of it; values that hold one are among them.
    pub fn destroy(self) -> Result<HeapStats, Self> {
        let stats = self.stats();
        match Rc::try_unwrap(self.core) {
            Ok(core) => {
                core.into_inner().end();
                Ok(stats)
            }
            Err(core) => Err(Self { core }),
        }
    }

    /// Runs one call on the heap's state.
    #[inline(always)]
    fn enter<R>(&self, call: impl FnOnce(&mut Core) -> R) -> R {
        // SAFETY: I4: the handle cannot leave the thread, and calls of `Core` run no foreign code, so no other reference to
        // the state exists meanwhile.
        call(unsafe { &mut *self.core.get() })
    }
}

// SAFETY: I5: blocks live as long as any handle; handles are the same heap; I2: blocks do not overlap.
unsafe impl Allocator for ThreadHeap {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.enter(|core| core.allocate(layout))
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.enter(|core| core.allocate_zeroed(layout))
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: I6: the caller promises that the block is ours and the layout fits.
        self.enter(|core| unsafe { core.deallocate(block, layout) });
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        self.enter(|core| unsafe { core.resize(block, old, new) })
    }

    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits. The new block is at least as
        // long as it says, and only its part beyond the old layout is written.
        unsafe {
            let grown = self.grow(block, old, new)?;
            grown.cast::<u8>().add(old.size()).write_bytes(0, grown.len() - old.size());
            Ok(grown)
        }
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        self.enter(|core| unsafe { core.resize(block, old, new) })
    }
}

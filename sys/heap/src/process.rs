//! Any global allocator as an `Allocator`, to compare heaps with what a process has anyway.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};

/// A global allocator, whether or not it is the process's own, for values that say where they live.
///
/// ```
/// use ringway_heap::{Process, allocator_api2::boxed::Box};
/// let malloc = Process::system();
/// assert_eq!(*Box::new_in(7, malloc), 7);
/// ```
pub struct Process<G: 'static>(&'static G);

impl Process<System> {
    /// The C library's `malloc`.
    #[must_use]
    pub const fn system() -> Self {
        Self(&System)
    }
}

impl<G: GlobalAlloc> Process<G> {
    /// The allocator behind `allocator`.
    #[must_use]
    pub const fn new(allocator: &'static G) -> Self {
        Self(allocator)
    }
}

impl<G> Clone for Process<G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Process<G> {}

impl<G> fmt::Debug for Process<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", std::any::type_name::<G>())
    }
}

// SAFETY: I5: the allocator is there for ever, and every copy of the reference is the same one; that its blocks do not overlap
// is what `GlobalAlloc` promises.
unsafe impl<G: GlobalAlloc> Allocator for Process<G> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        obtain(layout, |layout| {
            // SAFETY: I6: `obtain` asks for no block of size zero.
            unsafe { self.0.alloc(layout) }
        })
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        obtain(layout, |layout| {
            // SAFETY: I6: `obtain` asks for no block of size zero.
            unsafe { self.0.alloc_zeroed(layout) }
        })
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: I6: the block came from the same allocator with this very layout: no more is ever given than asked.
            unsafe { self.0.dealloc(block.as_ptr(), layout) };
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        unsafe { self.resize(block, old, new) }
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        unsafe { self.resize(block, old, new) }
    }
}

impl<G: GlobalAlloc> Process<G> {
    /// # Safety
    /// As for `deallocate` with `old`.
    unsafe fn resize(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.align() == new.align() && old.size() > 0 && new.size() > 0 {
            // SAFETY: I6: the caller's promise; a layout's size does not overflow when rounded to its alignment.
            let moved = unsafe { self.0.realloc(block.as_ptr(), old, new.size()) };
            let moved = NonNull::new(moved).ok_or(AllocError)?;
            return Ok(NonNull::slice_from_raw_parts(moved, new.size()));
        }
        let moved = self.allocate(new)?;
        // SAFETY: I2: both hold the shorter length, a new block overlaps nothing, and the old one is the caller's to free.
        unsafe {
            moved.cast::<u8>().copy_from_nonoverlapping(block, old.size().min(new.size()));
            self.deallocate(block, old);
        }
        Ok(moved)
    }
}

/// A block from `source`, which is not asked for nothing.
#[inline]
pub(crate) fn obtain(
    layout: Layout,
    source: impl FnOnce(Layout) -> *mut u8,
) -> Result<NonNull<[u8]>, AllocError> {
    let place = if layout.size() == 0 {
        NonNull::new(std::ptr::without_provenance_mut(layout.align()))
    } else {
        NonNull::new(source(layout))
    };
    Ok(NonNull::slice_from_raw_parts(place.ok_or(AllocError)?, layout.size()))
}

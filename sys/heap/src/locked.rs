//! One heap for all threads behind one lock: what thread-private heaps are measured against.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use allocator_api2::alloc::{AllocError, Allocator};

use crate::core::Core;
use crate::stats::{HeapOptions, HeapStats};

/// The heap of [`ThreadHeap`](crate::ThreadHeap) behind a lock, for any number of threads. Values hold it by reference.
#[derive(Debug)]
pub struct Locked {
    core: Mutex<Core>,
}

impl Default for Locked {
    fn default() -> Self {
        Self::with(HeapOptions::default())
    }
}

impl Locked {
    /// A heap with options of your own.
    #[must_use]
    pub fn with(options: HeapOptions) -> Self {
        Self { core: Mutex::new(Core::new(options)) }
    }

    /// What it holds now.
    #[must_use]
    pub fn stats(&self) -> HeapStats {
        self.lock().stats()
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // No foreign code runs under the lock, so a poisoned one means nothing.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// SAFETY: I4, I5: the lock lets one thread in at a time; values borrow the heap; I2: blocks do not overlap. The state is never
// moved while blocks are out that could be used: moving the heap ends all borrows, and blocks lie in mappings.
unsafe impl Allocator for Locked {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.lock().allocate(layout)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.lock().allocate_zeroed(layout)
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: I6: the caller promises that the block is ours and the layout fits.
        unsafe { self.lock().deallocate(block, layout) };
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        unsafe { self.lock().resize(block, old, new) }
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        unsafe { self.lock().resize(block, old, new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::boxed::Box;

    #[test]
    fn values_may_be_freed_by_another_thread() {
        let heap = Locked::default();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let heap = &heap;
                scope.spawn(move || {
                    let values: Vec<Box<u64, &Locked>> =
                        (0..1000).map(|index| Box::new_in(thread * index, heap)).collect();
                    let sum: u64 = values.iter().map(|value| **value).sum();
                    assert_eq!(sum, thread * 499_500);
                    scope.spawn(move || drop(values));
                });
            }
        });
        assert_eq!(heap.stats().live_blocks, 0);
    }
}

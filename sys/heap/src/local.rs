//! The current thread's own heap, named by a type: values say where they live without being handed a heap.

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;

use crate::core::Core;
use crate::process::obtain;
use crate::stats::{HeapOptions, HeapStats};

thread_local! {
    /// The thread's heap while the thread runs; null before its first use and when the thread ends.
    static CURRENT: Cell<*mut Core> = const { Cell::new(std::ptr::null_mut()) };
    /// The heap of a thread that is ending, while blocks of it are out; freed with the last of them.
    static KEPT: Cell<*mut Core> = const { Cell::new(std::ptr::null_mut()) };
    /// Its end is the thread's.
    static END: End = const { End };
}

/// The current thread's heap, as an allocator without a size.
///
/// The heap is made by the first use and ends with the thread. Values that outlive it (in other thread-locals) keep its memory
/// until the last of them is freed; a leaked one (`Box::leak`) keeps it for ever.
///
/// ```
/// use ringway_heap::{Local, LocalBox, LocalVec};
/// let number: LocalBox<u64> = LocalBox::new_in(7, Local::new());
/// let mut list: LocalVec<u64> = LocalVec::new_in(Local::new());
/// list.push(*number);
/// assert_eq!(size_of_val(&number), size_of::<usize>());
/// ```
///
/// What lives on it cannot leave its thread:
/// ```compile_fail,E0277
/// use ringway_heap::{Local, LocalBox};
/// let number = LocalBox::new_in(7, Local::new());
/// std::thread::spawn(move || drop(number));
/// ```
/// ```compile_fail,E0277
/// use ringway_heap::{Local, LocalVec};
/// let list: LocalVec<u8> = LocalVec::new_in(Local::new());
/// std::thread::scope(|scope| { scope.spawn(|| list.len()); });
/// ```
#[derive(Clone, Copy)]
pub struct Local {
    stays: PhantomData<*mut Core>,
}

/// A box on the current thread's heap.
pub type LocalBox<T> = Box<T, Local>;

/// A vector on the current thread's heap.
pub type LocalVec<T> = Vec<T, Local>;

/// A future on the current thread's heap; see [`local_future`].
pub type LocalFuture<T> = Pin<Box<dyn Future<Output = T>, Local>>;

/// Moves a future to the current thread's heap, where polling does not move it.
///
/// # Panics
/// As `Box::new` does: without memory the process ends.
pub fn local_future<T>(future: impl Future<Output = T> + 'static) -> LocalFuture<T> {
    let (place, heap) = Box::into_raw_with_allocator(Box::new_in(future, Local::new()));
    // SAFETY: I5: the box that was taken apart is put together again, under the type it is known by from here on.
    Box::into_pin(unsafe { Box::<dyn Future<Output = T>, Local>::from_raw_in(place, heap) })
}

/// Types whose values live on their thread's heap say so by implementing this; nothing is to be written but the name.
///
/// ```
/// use ringway_heap::ThreadPrivate;
/// struct Session([u8; 1024]);
/// impl ThreadPrivate for Session {}
/// let session = Session([0; 1024]).on_thread_heap()?;
/// assert_eq!(session.0.len(), 1024);
/// # Ok::<(), ringway_heap::AllocError>(())
/// ```
pub trait ThreadPrivate: Sized {
    /// Moves the value to the current thread's heap.
    ///
    /// # Errors
    /// When the heap's limit is reached or the kernel has no memory; the value is dropped then.
    fn on_thread_heap(self) -> Result<LocalBox<Self>, AllocError> {
        Box::try_new_in(self, Local::new())
    }
}

/// The current thread's heap is in use already, so its options stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse;

impl fmt::Display for InUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the thread's heap is in use already")
    }
}

impl std::error::Error for InUse {}

impl Default for Local {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Local")
    }
}

impl Local {
    /// The current thread's heap.
    #[must_use]
    pub const fn new() -> Self {
        Self { stays: PhantomData }
    }

    /// Sets the options of the current thread's heap, before its first use.
    ///
    /// # Errors
    /// [`InUse`] when there is a heap already, or the thread is ending.
    pub fn configure(options: HeapOptions) -> Result<(), InUse> {
        if !CURRENT.get().is_null() || !KEPT.get().is_null() || END.try_with(|_| ()).is_err() {
            return Err(InUse);
        }
        make(options);
        Ok(())
    }

    /// What the current thread's heap holds; nothing when it has none.
    #[must_use]
    pub fn stats() -> HeapStats {
        // SAFETY: I4, I5: a heap that one of the cells points to is there and belongs to this thread; no call is inside.
        unsafe { existing().as_ref() }.map(Core::stats).unwrap_or_default()
    }

    /// Gives the memory of free blocks back; see [`ThreadHeap::trim`](crate::ThreadHeap::trim).
    pub fn trim() {
        // SAFETY: I4, I5: as for `stats`.
        if let Some(core) = unsafe { existing().as_mut() } {
            core.trim();
        }
    }
}

fn existing() -> *mut Core {
    let current = CURRENT.get();
    if current.is_null() { KEPT.get() } else { current }
}

#[cold]
fn allocate_first_or_last(layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    obtain(layout, |layout| {
        let kept = KEPT.get();
        let core = if kept.is_null() { make(HeapOptions::default()) } else { kept };
        // SAFETY: I4: the thread's heap, and no call is inside.
        let block = unsafe { (*core).allocate(layout) };
        block.map_or(std::ptr::null_mut(), |block| block.cast().as_ptr())
    })
}

/// # Safety
/// As for [`Core::resize`] on the thread's heap.
unsafe fn resize(block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
    // SAFETY: I4, I5: a heap that one of the cells points to is there and belongs to this thread; no call is inside.
    match unsafe { existing().as_mut() } {
        // SAFETY: I6: passed on. A block shrunk to nothing is freed the usual way.
        Some(core) if new.size() > 0 => unsafe { core.resize(block, old, new) },
        _ => {
            let moved = Local::new().allocate(new)?;
            // SAFETY: I6: without a heap the old block is of size zero, and if the new one is, nothing is to be copied.
            unsafe { Local::new().deallocate(block, old) };
            Ok(moved)
        }
    }
}

/// Makes the thread's heap. One made while the thread ends is kept from the start.
fn make(options: HeapOptions) -> *mut Core {
    let running = END.try_with(|_| ()).is_ok();
    let core = std::boxed::Box::new(Core::new(options));
    // A process heap built on ours might have made one meanwhile.
    let there = existing();
    if !there.is_null() {
        return there;
    }
    let core = std::boxed::Box::into_raw(core);
    if running {
        CURRENT.set(core)
    } else {
        KEPT.set(core)
    }
    core
}

/// Ends the thread's heap with the thread, or leaves it to the last of its blocks.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        KEPT.set(CURRENT.replace(std::ptr::null_mut()));
        end_if_empty();
    }
}

/// Ends the kept heap when none of its blocks is out.
#[cold]
fn end_if_empty() {
    let core = KEPT.get();
    // SAFETY: I4, I5: a heap that the cell points to is there and belongs to this thread; no call is inside.
    if unsafe { core.as_ref() }.is_some_and(|core| core.live_blocks() == 0) {
        KEPT.set(std::ptr::null_mut());
        // SAFETY: I5: it came from `make`, no block of it is out, and no cell points to it any more.
        drop(unsafe { std::boxed::Box::from_raw(core) });
    }
}

/// Frees a block while the thread ends.
///
/// # Safety
/// As for [`Core::deallocate`] on the kept heap.
#[cold]
unsafe fn deallocate_last(block: NonNull<u8>, layout: Layout) {
    // SAFETY: I4, I5, I6: while a block is out, its heap is one of the two; the caller promises the rest. Without a heap there is
    // no block but those of size zero, and nothing is to be done for them.
    if let Some(core) = unsafe { KEPT.get().as_mut() } {
        // SAFETY: I6: passed on.
        unsafe { core.deallocate(block, layout) };
        end_if_empty();
    }
}

// SAFETY: I5: blocks are kept until they are freed, on this thread, which the value cannot leave; I2: they do not overlap. All
// values of the type are the same heap on one thread: while a block is out, its heap stays the thread's.
unsafe impl Allocator for Local {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let core = CURRENT.get();
        if core.is_null() {
            return allocate_first_or_last(layout);
        }
        // SAFETY: I4: the thread's heap, and no call is inside.
        unsafe { (*core).allocate(layout) }
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        let core = CURRENT.get();
        // SAFETY: I4, I5, I6: a block's heap is the thread's own, or the kept one when the thread is ending.
        unsafe {
            if core.is_null() {
                deallocate_last(block, layout);
            } else {
                (*core).deallocate(block, layout);
            }
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        unsafe { resize(block, old, new) }
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: I6: the caller promises that the block is ours and the old layout fits.
        unsafe { resize(block, old, new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn each_thread_has_its_own_heap() {
        let here = LocalBox::new_in(1, Local::new());
        let before = Local::stats().live_blocks;
        let there = std::thread::spawn(|| {
            let _value = LocalBox::new_in([0_u8; 100], Local::new());
            Local::stats().live_blocks
        });
        assert_eq!(there.join().expect("no panic"), 1);
        assert_eq!(Local::stats().live_blocks, before);
        drop(here);
        assert_eq!(Local::stats().live_blocks, before - 1);
    }

    /// Frees its box, and makes and frees another, when its thread-local goes.
    struct Late(RefCell<Option<LocalBox<u64>>>);

    impl Drop for Late {
        fn drop(&mut self) {
            if let Some(value) = self.0.take() {
                assert_eq!(*value, 7);
                drop(value);
            }
            let mut list = LocalVec::new_in(Local::new());
            list.extend(0..1000_u32);
            assert_eq!(list.iter().sum::<u32>(), 499_500);
        }
    }

    thread_local! { static LATE: Late = const { Late(RefCell::new(None)) }; }

    #[test]
    fn values_in_thread_locals_outlive_the_heap_they_are_on() {
        // Thread-locals end in the order of their first use or the reverse: both orders must do.
        let late_first = std::thread::spawn(|| {
            LATE.with(|_| ());
            LATE.with(|late| *late.0.borrow_mut() = Some(LocalBox::new_in(7, Local::new())));
        });
        let heap_first = std::thread::spawn(|| {
            drop(LocalBox::new_in(1, Local::new()));
            LATE.with(|late| *late.0.borrow_mut() = Some(LocalBox::new_in(7, Local::new())));
        });
        late_first.join().expect("no panic at the thread's end");
        heap_first.join().expect("no panic at the thread's end");
    }

    #[test]
    fn options_are_set_before_the_first_use() {
        let limited = std::thread::spawn(|| {
            let options = HeapOptions { limit_bytes: 1 << 20, ..HeapOptions::default() };
            Local::configure(options).expect("not used yet");
            assert_eq!(Local::configure(options), Err(InUse));
            assert!(Box::<[u8; 1 << 20], Local>::try_new_uninit_in(Local::new()).is_ok());
            assert!(Box::<[u8; (1 << 20) + 1], Local>::try_new_uninit_in(Local::new()).is_err());
            Local::trim();
            Local::stats()
        });
        let stats = limited.join().expect("no panic");
        assert_eq!((stats.live_blocks, stats.refused), (0, 1));
    }

    #[test]
    #[cfg_attr(address_sanitizer, ignore = "the sanitizer reports the leak")]
    fn a_leaked_value_keeps_its_memory() {
        let leaked = std::thread::spawn(|| {
            let leaked: &'static mut [u64; 64] = Box::leak(LocalBox::new_in([9; 64], Local::new()));
            leaked
        });
        assert_eq!(*leaked.join().expect("no panic"), [9; 64]);
    }
}

//! `Arena`: memory that is handed out by moving a cursor and freed all together.

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt::{self, Write};
use std::ptr::NonNull;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::vec::Vec;

use crate::local::Local;
use crate::sanitizer::{allow, forbid};

/// What every block's beginning is aligned to at least.
const ALIGN_MIN: usize = 8;

/// The cursor of an arena without a chunk; blocks of size zero are "there".
const NOWHERE: NonNull<u8> = NonNull::<u64>::dangling().cast();

/// The longest chunk that an arena asks for by itself.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// How an arena behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaOptions {
    /// Length of the first chunk in bytes; further ones are each twice as long as the last, up to 1 MiB. 4 KiB by default.
    pub chunk_bytes: usize,
    /// Most bytes of chunks that a reset keeps. 64 KiB by default.
    pub retained_bytes_max: usize,
    /// Most bytes of chunks at any moment; what would exceed it is refused with `AllocError`. 16 MiB by default.
    pub limit_bytes: usize,
}

impl Default for ArenaOptions {
    fn default() -> Self {
        Self { chunk_bytes: 4 * 1024, retained_bytes_max: 64 * 1024, limit_bytes: 16 * 1024 * 1024 }
    }
}

/// What an arena holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ArenaStats {
    /// Bytes of its chunks.
    pub held_bytes: usize,
    /// The most that ever was.
    pub held_bytes_peak: usize,
    /// How many chunks that are.
    pub chunks: usize,
    /// Resets so far.
    pub resets: u64,
    /// Requests refused: over the limit, or no chunk to be had.
    pub refused: u64,
}

/// Memory for what lives as long as one request: a cursor moves through chunks, and a reset puts it back.
///
/// Values with destructors live in it as `Box<T, &Arena>` and the like; what [`Arena::alloc`] and its kin hand out is `Copy` and
/// needs none. A reset takes `&mut self`, so nothing of the last request can still be in use:
///
/// ```
/// use ringway_heap::Arena;
/// let mut arena = Arena::new();
/// for request in 0..3 {
///     let name = arena.format(format_args!("request {request}"))?;
///     assert!(name.starts_with("request"));
///     arena.reset();
/// }
/// # Ok::<(), ringway_heap::AllocError>(())
/// ```
/// ```compile_fail,E0502
/// use ringway_heap::Arena;
/// let mut arena = Arena::new();
/// let kept = arena.alloc_str("kept").unwrap();
/// arena.reset();
/// println!("{kept}");
/// ```
/// Chunks come from the current thread's heap ([`Local`]) or any other allocator. Whatever that is, an arena cannot leave its
/// thread:
/// ```compile_fail,E0277
/// let arena = ringway_heap::Arena::new();
/// std::thread::spawn(move || drop(arena));
/// ```
/// ```compile_fail,E0277
/// use ringway_heap::{Arena, Process};
/// let arena = Arena::new_in(Process::system());
/// std::thread::scope(|scope| { scope.spawn(|| arena.alloc(7).is_ok()); });
/// ```
pub struct Arena<A: Allocator = Local> {
    /// Where the next block begins, and the end of the chunk it is cut from.
    cursor: Cell<NonNull<u8>>,
    end: Cell<NonNull<u8>>,
    /// All chunks in the order they are used, and the one in use.
    first: Cell<Option<NonNull<Chunk>>>,
    current: Cell<Option<NonNull<Chunk>>>,
    next_bytes: Cell<usize>,
    stats: Cell<ArenaStats>,
    options: ArenaOptions,
    source: A,
}

/// What a chunk begins with.
#[derive(Debug)]
struct Chunk {
    next: Option<NonNull<Chunk>>,
    /// Of the whole chunk.
    layout: Layout,
}

/// Bytes at the beginning of a chunk that are not for blocks.
const HEAD_BYTES: usize = size_of::<Chunk>().next_multiple_of(ALIGN_MIN);

impl Arena {
    /// An arena on the current thread's heap. It takes no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::new_in(Local::new())
    }
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Allocator> fmt::Debug for Arena<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Arena").field(&self.stats()).finish()
    }
}

impl<A: Allocator> Arena<A> {
    /// An arena whose chunks come from `source`.
    pub fn new_in(source: A) -> Self {
        Self::with(ArenaOptions::default(), source)
    }

    /// An arena with options of your own, whose chunks come from `source`.
    pub fn with(options: ArenaOptions, source: A) -> Self {
        Self {
            cursor: Cell::new(NOWHERE),
            end: Cell::new(NOWHERE),
            first: Cell::new(None),
            current: Cell::new(None),
            next_bytes: Cell::new(options.chunk_bytes),
            stats: Cell::default(),
            options,
            source,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn stats(&self) -> ArenaStats {
        self.stats.get()
    }

    /// Moves a value into the arena.
    ///
    /// # Errors
    /// When the arena's limit is reached or there is no chunk to be had.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "every call hands out memory of its own")]
    pub fn alloc<T: Copy>(&self, value: T) -> Result<&mut T, AllocError> {
        let place = self.block(Layout::new::<T>())?.cast::<T>();
        // SAFETY: I7: the block is ours alone, long enough and aligned; it stays until the arena is borrowed mutably.
        unsafe {
            place.write(value);
            Ok(&mut *place.as_ptr())
        }
    }

    /// Copies a slice into the arena.
    ///
    /// # Errors
    /// As for [`Arena::alloc`].
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "every call hands out memory of its own")]
    pub fn alloc_slice_copy<T: Copy>(&self, values: &[T]) -> Result<&mut [T], AllocError> {
        let place = self.block(Layout::for_value(values))?.cast::<T>();
        // SAFETY: I7: the block is ours alone, as long as the slice and aligned; it stays until the arena is borrowed mutably.
        unsafe {
            place.copy_from_nonoverlapping(NonNull::from(values).cast(), values.len());
            Ok(NonNull::slice_from_raw_parts(place, values.len()).as_mut())
        }
    }

    /// A slice of `length` values, each made by `make` from its index.
    ///
    /// # Errors
    /// As for [`Arena::alloc`], and when the length in bytes is no number.
    #[allow(clippy::mut_from_ref, reason = "every call hands out memory of its own")]
    pub fn alloc_slice_with<T: Copy>(
        &self,
        length: usize,
        mut make: impl FnMut(usize) -> T,
    ) -> Result<&mut [T], AllocError> {
        let layout = Layout::array::<T>(length).map_err(|_too_long| AllocError)?;
        let place = self.block(layout)?.cast::<T>();
        for index in 0..length {
            // SAFETY: I7: the block is ours alone and `length` values long. What `make` allocates lies elsewhere.
            unsafe { place.add(index).write(make(index)) };
        }
        // SAFETY: I7: all values are written; the block stays until the arena is borrowed mutably.
        Ok(unsafe { NonNull::slice_from_raw_parts(place, length).as_mut() })
    }

    /// Copies a text into the arena.
    ///
    /// # Errors
    /// As for [`Arena::alloc`].
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "every call hands out memory of its own")]
    pub fn alloc_str(&self, text: &str) -> Result<&mut str, AllocError> {
        let bytes = self.alloc_slice_copy(text.as_bytes())?;
        // SAFETY: I7: a copy of a text is one.
        Ok(unsafe { str::from_utf8_unchecked_mut(bytes) })
    }

    /// Formats into the arena: `arena.format(format_args!("{x}"))`.
    ///
    /// # Errors
    /// As for [`Arena::alloc`], and when a value's own formatting fails.
    #[allow(clippy::mut_from_ref, reason = "every call hands out memory of its own")]
    pub fn format(&self, text: fmt::Arguments<'_>) -> Result<&mut str, AllocError> {
        if let Some(text) = text.as_str() {
            return self.alloc_str(text);
        }
        let mut out = Text(Vec::new_in(self));
        out.write_fmt(text).map_err(|_limit_or_value| AllocError)?;
        // SAFETY: I7: only whole texts were appended.
        Ok(unsafe { str::from_utf8_unchecked_mut(out.0.leak()) })
    }

    /// Frees everything and puts the cursor back. Chunks are kept, the first ones, up to the bound of the options.
    pub fn reset(&mut self) {
        let mut stats = self.stats.get();
        stats.resets += 1;
        self.stats.set(stats);
        let kept = if cfg!(feature = "process-heap") { 0 } else { self.options.retained_bytes_max };
        self.keep(kept);
        self.current.set(self.first.get());
        match self.first.get() {
            Some(chunk) => self.enter(chunk),
            None => {
                self.cursor.set(NOWHERE);
                self.end.set(NOWHERE);
            }
        }
    }

    /// Gives back all chunks but the first ones up to `bytes_max` in all. Nothing in the arena is in use.
    fn keep(&mut self, bytes_max: usize) {
        let mut stats = self.stats.get();
        (stats.held_bytes, stats.chunks) = (0, 0);
        let mut next = self.first.take();
        let mut last: Option<NonNull<Chunk>> = None;
        while let Some(mut chunk) = next {
            // SAFETY: I7: a chunk's head stays until the chunk is given back; the arena is borrowed mutably.
            let layout = unsafe {
                next = chunk.as_mut().next.take();
                chunk.as_ref().layout
            };
            if layout.size() > bytes_max - stats.held_bytes {
                allow(chunk.cast(), layout.size());
                // SAFETY: I6, I7: the chunk came from the source with this layout, and nothing in it is in use.
                unsafe { self.source.deallocate(chunk.cast(), layout) };
                continue;
            }
            stats.held_bytes += layout.size();
            stats.chunks += 1;
            match last {
                // SAFETY: I7: the last chunk kept is there.
                Some(mut last) => unsafe { last.as_mut().next = Some(chunk) },
                None => self.first.set(Some(chunk)),
            }
            last = Some(chunk);
        }
        // The next chunk is as long as the first one was, unless more is kept.
        self.next_bytes.set(self.options.chunk_bytes.max(stats.held_bytes.min(CHUNK_BYTES_MAX)));
        self.stats.set(stats);
    }

    /// Cuts a block off the current chunk.
    #[inline(always)]
    fn block(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let cursor = self.cursor.get();
        let room = self.end.get().addr().get() - cursor.addr().get();
        let pad = if layout.align() <= ALIGN_MIN {
            0
        } else {
            cursor.addr().get().wrapping_neg() & (layout.align() - 1)
        };
        // Neither exceeds `isize::MAX`, so the sum is a number.
        let bytes = pad + layout.size();
        if bytes > room || cfg!(feature = "process-heap") {
            return self.block_elsewhere(layout);
        }
        // SAFETY: I7: there is room for that, and the room is a multiple of the least alignment.
        let block = unsafe {
            self.cursor.set(cursor.add(bytes.next_multiple_of(ALIGN_MIN)));
            cursor.add(pad)
        };
        allow(block, layout.size());
        Ok(block)
    }

    /// Cuts a block off the next chunk that has room for it, or a new one.
    #[cold]
    #[inline(never)]
    fn block_elsewhere(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        if layout.size() == 0 {
            let place = std::ptr::without_provenance_mut(layout.align());
            return NonNull::new(place).ok_or(AllocError);
        }
        let needed = needed_bytes(layout).ok_or_else(|| self.refuse())?;
        loop {
            let next = match self.current.get() {
                // SAFETY: I7: the current chunk's head is there.
                Some(current) => unsafe { current.as_ref() }.next,
                None => self.first.get(),
            };
            let Some(chunk) = next else { break };
            self.current.set(Some(chunk));
            self.enter(chunk);
            // SAFETY: I7: the chunk's head is there.
            if unsafe { chunk.as_ref() }.layout.size() >= needed {
                return self.cut(layout);
            }
        }
        self.add_chunk(needed)?;
        self.cut(layout)
    }

    /// Cuts a block off a chunk that has room for it.
    fn cut(&self, layout: Layout) -> Result<NonNull<u8>, AllocError> {
        let cursor = self.cursor.get();
        let pad = cursor.addr().get().wrapping_neg() & (layout.align() - 1);
        let bytes = (pad + layout.size()).next_multiple_of(ALIGN_MIN);
        debug_assert!(bytes <= self.end.get().addr().get() - cursor.addr().get());
        // SAFETY: I7: the chunk is long enough for the block at its alignment, after its head.
        let block = unsafe {
            self.cursor.set(cursor.add(bytes));
            cursor.add(pad)
        };
        allow(block, layout.size());
        Ok(block)
    }

    /// Adds a chunk of at least `needed` bytes after the last one and makes it the current one.
    fn add_chunk(&self, needed: usize) -> Result<(), AllocError> {
        let mut stats = self.stats.get();
        let left = self.options.limit_bytes.saturating_sub(stats.held_bytes);
        let wanted = if cfg!(feature = "process-heap") { needed } else { self.next_bytes.get().max(needed) };
        let bytes = wanted.min(left.max(needed));
        if bytes > left {
            return Err(self.refuse());
        }
        let layout = Layout::from_size_align(bytes, align_of::<Chunk>());
        let layout = layout.map_err(|_too_long| self.refuse())?;
        let chunk = self.source.allocate(layout).map_err(|AllocError| self.refuse())?.cast::<Chunk>();
        // SAFETY: I7: the chunk is ours, longer than its head and aligned for it; the current one's head is there.
        unsafe {
            chunk.write(Chunk { next: None, layout });
            match self.current.get() {
                Some(mut current) => current.as_mut().next = Some(chunk),
                None => self.first.set(Some(chunk)),
            }
        }
        self.current.set(Some(chunk));
        self.enter(chunk);
        self.next_bytes.set((bytes * 2).min(CHUNK_BYTES_MAX));
        stats.held_bytes += bytes;
        stats.held_bytes_peak = stats.held_bytes_peak.max(stats.held_bytes);
        stats.chunks += 1;
        self.stats.set(stats);
        Ok(())
    }

    /// Puts the cursor to the beginning of a chunk.
    fn enter(&self, chunk: NonNull<Chunk>) {
        // SAFETY: I7: the chunk's head is there, and its length is the chunk's.
        unsafe {
            let bytes = (chunk.as_ref().layout.size() - HEAD_BYTES) & !(ALIGN_MIN - 1);
            let start = chunk.cast::<u8>().add(HEAD_BYTES);
            self.cursor.set(start);
            self.end.set(start.add(bytes));
            forbid(start, bytes);
        }
    }

    /// Puts the end of `block`, the last one cut, from `old` to `new` bytes; false when it is not the last or lacks room.
    #[inline]
    fn move_end(&self, block: NonNull<u8>, old: usize, new: usize) -> bool {
        let cursor = self.cursor.get().addr().get();
        let begin = block.addr().get();
        let room = self.end.get().addr().get().wrapping_sub(begin);
        if old == 0 || begin + old.next_multiple_of(ALIGN_MIN) != cursor || new > room {
            return false;
        }
        // SAFETY: I7: the block is the last one cut, of the current chunk, and its new end lies within the chunk.
        self.cursor.set(unsafe { block.add(new.next_multiple_of(ALIGN_MIN)) });
        forbid(block, old.next_multiple_of(ALIGN_MIN));
        allow(block, new);
        true
    }

    #[cold]
    fn refuse(&self) -> AllocError {
        let mut stats = self.stats.get();
        stats.refused += 1;
        self.stats.set(stats);
        AllocError
    }
}

/// How long a chunk must be for a block wherever its alignment puts it.
fn needed_bytes(layout: Layout) -> Option<usize> {
    let pad = if layout.align() <= ALIGN_MIN { 0 } else { layout.align() };
    layout.size().checked_next_multiple_of(ALIGN_MIN)?.checked_add(HEAD_BYTES + pad)
}

impl<A: Allocator> Drop for Arena<A> {
    fn drop(&mut self) {
        self.keep(0);
    }
}

// SAFETY: I7: blocks stay until the arena is borrowed mutably or dropped, which no reference to it outlives; copies of the
// reference are the same arena. Blocks do not overlap.
unsafe impl<A: Allocator> Allocator for &Arena<A> {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Ok(NonNull::slice_from_raw_parts(self.block(layout)?, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // Only the last block's memory can be had again before the reset.
        if !self.move_end(block, layout.size(), 0) && layout.size() > 0 {
            forbid(block, layout.size());
        }
    }

    unsafe fn grow(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let aligned = block.addr().get().is_multiple_of(new.align());
        if aligned && !cfg!(feature = "process-heap") && self.move_end(block, old.size(), new.size()) {
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        let moved = self.allocate(new)?;
        // SAFETY: I7: both blocks hold the old length and do not overlap: the old one is still out.
        unsafe {
            moved.cast::<u8>().copy_from_nonoverlapping(block, old.size());
            self.deallocate(block, old);
        }
        Ok(moved)
    }

    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if block.addr().get().is_multiple_of(new.align()) {
            if !self.move_end(block, old.size(), new.size()) && old.size() > 0 {
                forbid(block, old.size());
                allow(block, new.size());
            }
            return Ok(NonNull::slice_from_raw_parts(block, new.size()));
        }
        let moved = self.allocate(new)?;
        // SAFETY: I7: both blocks hold the new length and do not overlap.
        unsafe { moved.cast::<u8>().copy_from_nonoverlapping(block, new.size()) };
        Ok(moved)
    }
}

/// A text that grows in an arena.
struct Text<'a, A: Allocator>(Vec<u8, &'a Arena<A>>);

impl<A: Allocator> Write for Text<'_, A> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_limit| fmt::Error)?;
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

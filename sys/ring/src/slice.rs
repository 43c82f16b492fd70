//! Memory for I/O: slabs cut into slices of fixed size classes, counted against one limit.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Capacities of the size classes in bytes, smallest first.
///
/// 256 B keeps the unread rest of a slow peer, 2 KiB receives, 16 KiB holds a batch of answers, 64 KiB is the largest
/// contiguous message.
pub const CLASS_BYTES: [usize; 4] = [256, 2048, 16 * 1024, 64 * 1024];

/// Largest capacity a single slice can have, in bytes.
pub const SLICE_BYTES_MAX: usize = CLASS_BYTES[CLASS_BYTES.len() - 1];

/// Bytes of one slab block; a block serves one size class.
pub(crate) const BLOCK_BYTES: usize = 128 * 1024;

/// Empty blocks of a class kept for good. Others are kept for the next burst until [`Pool::trim`] gives those back to the system
/// that no burst since the last call has needed.
const RESERVE_BLOCKS: usize = 4;

/// A worker's I/O memory: size classes over lazily mapped blocks under one byte limit.
///
/// Cloning the handle is cheap; all clones are the same pool. It is `!Send`: slices never leave their worker.
#[derive(Clone)]
pub struct Pool {
    inner: Rc<PoolInner>,
}

struct PoolInner {
    limit_bytes: usize,
    mapped_bytes: Cell<usize>,
    /// Memory that others have mapped under this limit.
    reserved_bytes: Arc<AtomicUsize>,
    slices_out: Cell<usize>,
    refused: Cell<u64>,
    /// Whether some class has more empty blocks than it is sure to need.
    has_surplus: Cell<bool>,
    /// Addresses of blocks that a driver has registered with the kernel, and of those of them that were given back since.
    registered: RefCell<Vec<usize>>,
    gone: RefCell<Vec<usize>>,
    classes: [RefCell<Class>; CLASS_BYTES.len()],
}

#[derive(Default)]
struct Class {
    blocks: Vec<Option<Box<Block>>>,
    vacant: Vec<u32>,
    /// Indices of blocks that have a free slice; the last one is served first.
    open: Vec<u32>,
    empty: usize,
    /// Most blocks that were in use at a time since the last trimming.
    peak: usize,
}

struct Block {
    memory: NonNull<u8>,
    descriptors: Box<[Descriptor]>,
    free: Vec<u32>,
    is_open: bool,
}

/// One slice's bookkeeping, beside the slab, at an address that is stable while its block lives (I1).
struct Descriptor {
    memory: NonNull<u8>,
    pool: NonNull<PoolInner>,
    refs: Cell<u32>,
    class: u8,
    block: Cell<u32>,
    index: u32,
}

impl Pool {
    /// Makes a pool that maps at most `limit_bytes` of slabs (and at least one block of 128 KiB).
    #[must_use]
    pub fn new(limit_bytes: usize) -> Self {
        let inner = PoolInner {
            limit_bytes,
            mapped_bytes: Cell::new(0),
            reserved_bytes: Arc::default(),
            slices_out: Cell::new(0),
            refused: Cell::new(0),
            has_surplus: Cell::new(false),
            registered: RefCell::default(),
            gone: RefCell::default(),
            classes: Default::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Takes a buffer of at least `bytes` capacity; `None` at the limit or above [`SLICE_BYTES_MAX`].
    #[must_use]
    pub fn get(&self, bytes: usize) -> Option<SliceMut> {
        let class = CLASS_BYTES.iter().position(|&capacity| capacity >= bytes)?;
        let taken = self.inner.take(class);
        if taken.is_none() {
            self.inner.refused.set(self.inner.refused.get() + 1);
        }
        taken
    }

    /// Copies `bytes` into the smallest class that holds them.
    #[must_use]
    pub fn copy_of(&self, bytes: &[u8]) -> Option<Slice> {
        let mut buffer = self.get(bytes.len())?;
        buffer[..bytes.len()].copy_from_slice(bytes);
        Some(buffer.freeze(bytes.len()))
    }

    /// Bytes of slab memory mapped now, that of datagram operations included.
    #[must_use]
    pub fn mapped_bytes(&self) -> usize {
        self.inner.used_bytes()
    }

    /// Counts memory that is mapped elsewhere against the limit; `None` when there is no room for it.
    pub(crate) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let inner = &self.inner;
        if inner.used_bytes().checked_add(bytes)? > inner.limit_bytes {
            for class in 0..CLASS_BYTES.len() {
                inner.release_empty(class, 0);
            }
        }
        if inner.used_bytes() + bytes > inner.limit_bytes {
            return None;
        }
        inner.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
        Some(Reservation { bytes, reserved_bytes: Arc::clone(&inner.reserved_bytes) })
    }

    /// The limit the pool was made with, in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> usize {
        self.inner.limit_bytes
    }

    /// Slices that are out (each buffer once, however many hold it).
    #[must_use]
    pub fn slices_out(&self) -> usize {
        self.inner.slices_out.get()
    }

    /// How often [`Pool::get`] found the pool at its limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.inner.refused.get()
    }

    /// Remembers that a driver has registered the block at `address` with the kernel.
    pub(crate) fn note_registered(&self, address: usize) {
        self.inner.registered.borrow_mut().push(address);
    }

    /// Addresses of registered blocks given back since the last call.
    pub(crate) fn take_gone_blocks(&self) -> Vec<usize> {
        std::mem::take(&mut *self.inner.gone.borrow_mut())
    }

    /// Whether memory is kept for bursts that may not come again: [`Pool::trim`] should be called within a second or so.
    #[must_use]
    pub fn has_surplus(&self) -> bool {
        self.inner.has_surplus.get()
    }

    /// Gives empty blocks back to the system that were not needed at any time since the last call. To be called now and then
    /// while there is a surplus: once a second gives back what a burst has left a second or two after it.
    pub fn trim(&self) {
        self.inner.has_surplus.set(false);
        for class in 0..CLASS_BYTES.len() {
            let keep = {
                let mut state = self.inner.classes[class].borrow_mut();
                let used = state.used();
                let peak = std::mem::replace(&mut state.peak, used);
                if state.empty > used.max(RESERVE_BLOCKS) && peak > used.max(RESERVE_BLOCKS) {
                    // It was needed lately: looked at again after a time without need.
                    self.inner.has_surplus.set(true);
                }
                peak.max(RESERVE_BLOCKS).saturating_sub(used).max(RESERVE_BLOCKS)
            };
            self.inner.release_empty(class, keep);
        }
    }

    /// Gives every empty block back to the system and says whether slices are still out.
    pub fn flush(&self) -> bool {
        for class in 0..CLASS_BYTES.len() {
            self.inner.release_empty(class, 0);
        }
        self.slices_out() > 0
    }
}

/// Memory mapped elsewhere that counts against a pool's limit until this is dropped, on whatever thread.
pub(crate) struct Reservation {
    bytes: usize,
    reserved_bytes: Arc<AtomicUsize>,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("mapped_bytes", &self.mapped_bytes())
            .field("limit_bytes", &self.limit_bytes())
            .field("slices_out", &self.slices_out())
            .finish()
    }
}

impl Class {
    /// Blocks with a slice that is out.
    fn used(&self) -> usize {
        self.blocks.len() - self.vacant.len() - self.empty
    }
}

impl PoolInner {
    fn used_bytes(&self) -> usize {
        self.mapped_bytes.get() + self.reserved_bytes.load(Ordering::Relaxed)
    }

    fn take(self: &Rc<Self>, class: usize) -> Option<SliceMut> {
        let mut state = self.classes[class].borrow_mut();
        if state.open.is_empty() {
            self.grow(&mut state, class)?;
        }
        let block_index = *state.open.last()?;
        let block = state.blocks[block_index as usize].as_mut()?;
        let was_empty = block.free.len() == block.descriptors.len();
        let index = block.free.pop()?;
        let descriptor = NonNull::from(&block.descriptors[index as usize]);
        if block.free.is_empty() {
            block.is_open = false;
            state.open.pop();
        }
        if was_empty {
            state.empty -= 1;
            state.peak = state.peak.max(state.used());
        }
        self.slices_out.set(self.slices_out.get() + 1);
        // SAFETY: I2: `self` is an Rc; the count taken here is released when the buffer's last holder drops.
        unsafe { Rc::increment_strong_count(Rc::as_ptr(self)) };
        // SAFETY: I1: the block is alive and boxed, so the descriptor's address holds.
        unsafe { descriptor.as_ref() }.refs.set(1);
        Some(SliceMut { descriptor })
    }

    fn grow(self: &Rc<Self>, state: &mut Class, class: usize) -> Option<()> {
        let limit_bytes = self.limit_bytes.max(BLOCK_BYTES);
        if self.used_bytes() + BLOCK_BYTES > limit_bytes {
            // What the other classes keep for their next burst is worth less than this request.
            for other in (0..CLASS_BYTES.len()).filter(|&other| other != class) {
                self.release_empty(other, 0);
            }
        }
        if self.used_bytes() + BLOCK_BYTES > limit_bytes {
            return None;
        }
        let memory = crate::memory::map(BLOCK_BYTES).ok()?;
        let position = state.vacant.pop().unwrap_or_else(|| {
            state.blocks.push(None);
            u32::try_from(state.blocks.len() - 1).unwrap_or(u32::MAX)
        });
        let pool = NonNull::new(Rc::as_ptr(self).cast_mut())?;
        let block = Block::new(memory, class, position, pool);
        state.blocks[position as usize] = Some(Box::new(block));
        state.open.push(position);
        state.empty += 1;
        self.mapped_bytes.set(self.mapped_bytes.get() + BLOCK_BYTES);
        Some(())
    }

    /// Returns one buffer. The caller gave up its reference and nothing else refers to the descriptor.
    fn put_back(&self, class: usize, block_index: u32, index: u32) {
        self.slices_out.set(self.slices_out.get() - 1);
        let over_reserve = {
            let mut state = self.classes[class].borrow_mut();
            let state = &mut *state;
            let Some(block) = state.blocks[block_index as usize].as_mut() else { return };
            block.free.push(index);
            if !block.is_open {
                block.is_open = true;
                state.open.push(block_index);
            }
            if block.free.len() == block.descriptors.len() {
                state.empty += 1;
            }
            // Bursts of large slices, of which a block has only two, would else map and unmap for each.
            let reserve = state.peak.max(RESERVE_BLOCKS);
            if state.empty > state.used().max(RESERVE_BLOCKS) {
                self.has_surplus.set(true);
            }
            (state.empty > reserve).then_some(reserve)
        };
        if let Some(reserve) = over_reserve {
            self.release_empty(class, reserve);
        }
    }

    fn note_gone(&self, address: usize) {
        let registered = &mut *self.registered.borrow_mut();
        if let Some(place) = registered.iter().position(|block| *block == address) {
            registered.swap_remove(place);
            self.gone.borrow_mut().push(address);
        }
    }

    fn release_empty(&self, class: usize, keep: usize) {
        let mut state = self.classes[class].borrow_mut();
        let state = &mut *state;
        while state.empty > keep {
            let is_empty = |block: &Option<Box<Block>>| {
                block.as_ref().is_some_and(|block| block.free.len() == block.descriptors.len())
            };
            let Some(position) = state.blocks.iter().rposition(is_empty) else { return };
            let block = state.blocks[position].take();
            if let Some(block) = &block {
                self.note_gone(block.memory.as_ptr() as usize);
            }
            drop(block);
            let position = u32::try_from(position).unwrap_or(u32::MAX);
            state.vacant.push(position);
            state.open.retain(|&open| open != position);
            state.empty -= 1;
            self.mapped_bytes.set(self.mapped_bytes.get() - BLOCK_BYTES);
        }
    }
}

impl Block {
    fn new(memory: NonNull<u8>, class: usize, position: u32, pool: NonNull<PoolInner>) -> Self {
        let count = u32::try_from(BLOCK_BYTES / CLASS_BYTES[class]).unwrap_or(1);
        let descriptors = (0..count)
            .map(|index| Descriptor {
                // SAFETY: I1: index * capacity stays inside the block that `memory` begins.
                memory: unsafe { memory.add(index as usize * CLASS_BYTES[class]) },
                pool,
                refs: Cell::new(0),
                class: u8::try_from(class).unwrap_or(0),
                block: Cell::new(position),
                index,
            })
            .collect();
        // Popped from the back: the lowest addresses are used first and stay warm.
        Self { memory, descriptors, free: (0..count).rev().collect(), is_open: true }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: I1: a block is dropped only when all its slices are back, so nothing refers to its memory.
        unsafe { crate::memory::unmap(self.memory, BLOCK_BYTES) };
    }
}

/// The only holder of a buffer: it may write all of its capacity. Becomes a [`Slice`] by [`SliceMut::freeze`].
pub struct SliceMut {
    descriptor: NonNull<Descriptor>,
}

impl SliceMut {
    /// Makes the first `len` bytes a readable slice. Panics when `len` exceeds the capacity.
    #[must_use]
    pub fn freeze(self, len: usize) -> Slice {
        assert!(len <= self.len(), "a slice cannot be longer than its buffer");
        let descriptor = self.descriptor;
        // The reference this value holds moves into the slice.
        let _moved = std::mem::ManuallyDrop::new(self);
        Slice { descriptor, start: 0, end: u32::try_from(len).unwrap_or(0) }
    }

    /// The address of the block that the buffer lies in.
    pub(crate) fn block(&self) -> usize {
        self.descriptor().block()
    }

    fn descriptor(&self) -> &Descriptor {
        // SAFETY: I1: a holder keeps its descriptor's block alive.
        unsafe { self.descriptor.as_ref() }
    }
}

impl Descriptor {
    /// Where the block begins that the buffer lies in.
    fn block(&self) -> usize {
        self.memory.as_ptr() as usize - self.index as usize * CLASS_BYTES[self.class as usize]
    }
}

impl Deref for SliceMut {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        let descriptor = self.descriptor();
        let capacity = CLASS_BYTES[descriptor.class as usize];
        // SAFETY: I1, I3: the memory is mapped, initialised, `capacity` long, and this is its only holder.
        unsafe { std::slice::from_raw_parts(descriptor.memory.as_ptr(), capacity) }
    }
}

impl DerefMut for SliceMut {
    fn deref_mut(&mut self) -> &mut [u8] {
        let descriptor = self.descriptor();
        let capacity = CLASS_BYTES[descriptor.class as usize];
        // SAFETY: I1, I3: as above, and `&mut self` on the only holder makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(descriptor.memory.as_ptr(), capacity) }
    }
}

impl Drop for SliceMut {
    fn drop(&mut self) {
        release(self.descriptor);
    }
}

impl fmt::Debug for SliceMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SliceMut({} bytes)", self.len())
    }
}

/// Received or prepared bytes: a view of a buffer, reference counted without atomics, `!Send`.
pub struct Slice {
    descriptor: NonNull<Descriptor>,
    start: u32,
    end: u32,
}

impl Slice {
    /// Drops the first `bytes` from the view. Panics when there are fewer.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.len(), "advance beyond the end of a slice");
        self.start += u32::try_from(bytes).unwrap_or(0);
    }

    /// Shortens the view to `bytes`; longer is ignored.
    pub fn truncate(&mut self, bytes: usize) {
        if bytes < self.len() {
            self.end = self.start + u32::try_from(bytes).unwrap_or(0);
        }
    }

    /// Splits the first `bytes` off as a view of their own. Panics when there are fewer.
    #[must_use]
    pub fn split_to(&mut self, bytes: usize) -> Self {
        let mut front = self.clone();
        front.truncate(bytes);
        self.advance(bytes);
        front
    }

    /// Bytes of memory this view keeps from others: its buffer's whole capacity.
    #[must_use]
    pub fn capacity(&self) -> usize {
        CLASS_BYTES[self.descriptor().class as usize]
    }

    /// The buffer again for writing when this is its only holder, else the slice as it was.
    ///
    /// # Errors
    /// The slice itself, when others hold the buffer too.
    pub fn try_unique(self) -> Result<SliceMut, Self> {
        if self.descriptor().refs.get() != 1 {
            return Err(self);
        }
        let descriptor = self.descriptor;
        let _moved = std::mem::ManuallyDrop::new(self);
        Ok(SliceMut { descriptor })
    }

    /// The view for writing in place when this is its buffer's only holder.
    pub fn unique_mut(&mut self) -> Option<&mut [u8]> {
        let descriptor = self.descriptor();
        if descriptor.refs.get() != 1 {
            return None;
        }
        // SAFETY: I1, I3: the range is inside the buffer, and `&mut self` on the only holder makes the access exclusive.
        Some(unsafe {
            let from = descriptor.memory.as_ptr().add(self.start as usize);
            std::slice::from_raw_parts_mut(from, (self.end - self.start) as usize)
        })
    }

    /// Appends to the view in place when this is the only holder and the buffer has room; says whether it did.
    #[must_use]
    pub fn try_extend(&mut self, bytes: &[u8]) -> bool {
        let descriptor = self.descriptor();
        let end = self.end as usize;
        if descriptor.refs.get() != 1 || end + bytes.len() > self.capacity() {
            return false;
        }
        // SAFETY: I1, I3: this is the only holder, and the range behind `end` is inside the buffer.
        unsafe {
            let to = descriptor.memory.as_ptr().add(end);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        self.end += u32::try_from(bytes.len()).unwrap_or(0);
        true
    }

    /// The address of the block that the buffer lies in.
    pub(crate) fn block(&self) -> usize {
        self.descriptor().block()
    }

    fn descriptor(&self) -> &Descriptor {
        // SAFETY: I1: a holder keeps its descriptor's block alive.
        unsafe { self.descriptor.as_ref() }
    }
}

impl Clone for Slice {
    fn clone(&self) -> Self {
        let refs = &self.descriptor().refs;
        // 2^32 holders would need 64 GiB of slices; an overflow is our own mistake.
        refs.set(refs.get().checked_add(1).expect("slice reference count overflow"));
        Self { descriptor: self.descriptor, start: self.start, end: self.end }
    }
}

impl Deref for Slice {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: I1, I3: the range is inside the buffer, initialised, and nobody writes what a slice shows.
        unsafe {
            let from = self.descriptor().memory.as_ptr().add(self.start as usize);
            std::slice::from_raw_parts(from, (self.end - self.start) as usize)
        }
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        release(self.descriptor);
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slice({} bytes)", self.len())
    }
}

/// Gives up one reference; the last one returns the buffer to its pool.
fn release(descriptor: NonNull<Descriptor>) {
    // SAFETY: I1: the caller still holds a reference.
    let held = unsafe { descriptor.as_ref() };
    let refs = held.refs.get() - 1;
    held.refs.set(refs);
    if refs > 0 {
        return;
    }
    let (pool, class, block, index) = (held.pool, held.class as usize, held.block.get(), held.index);
    // SAFETY: I2: every buffer that is out holds one count of its pool; it is adopted, and given up, here.
    let pool = unsafe { Rc::from_raw(pool.as_ptr().cast_const()) };
    pool.put_back(class, block, index);
}

/// Slices in order, sent by one gather operation.
#[derive(Debug, Default)]
pub struct Chain {
    slices: Vec<Slice>,
    bytes: usize,
}

impl Chain {
    /// Most slices one gather operation sends; longer chains go out in several.
    pub const GATHER_MAX: usize = 64;

    /// An empty chain.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a slice; empty ones are dropped.
    pub fn push(&mut self, slice: Slice) {
        if !slice.is_empty() {
            self.bytes += slice.len();
            self.slices.push(slice);
        }
    }

    /// Bytes in all slices together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether no byte is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The slices, first to last.
    #[must_use]
    pub fn slices(&self) -> &[Slice] {
        &self.slices
    }

    /// Drops the first `bytes`. Panics when there are fewer.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.bytes, "advance beyond the end of a chain");
        self.bytes -= bytes;
        let mut left = bytes;
        let mut done = 0;
        for slice in &mut self.slices {
            if left < slice.len() {
                slice.advance(left);
                break;
            }
            left -= slice.len();
            done += 1;
        }
        self.slices.drain(..done);
    }

    /// Empties the chain but keeps its room for slices, so that it can be filled again without allocating.
    pub fn clear(&mut self) {
        self.slices.clear();
        self.bytes = 0;
    }
}

impl From<Slice> for Chain {
    fn from(slice: Slice) -> Self {
        let mut chain = Self::new();
        chain.push(slice);
        chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_return_when_the_last_holder_drops() {
        let pool = Pool::new(1 << 20);
        let slice = pool.copy_of(b"hello").expect("room");
        let other = slice.clone();
        drop(slice);
        assert_eq!(pool.slices_out(), 1);
        assert_eq!(&*other, b"hello");
        drop(other);
        assert_eq!(pool.slices_out(), 0);
        assert!(!pool.flush());
        assert_eq!(pool.mapped_bytes(), 0);
    }

    #[test]
    fn a_slice_outlives_the_pool_handle() {
        let slice = Pool::new(1 << 20).copy_of(b"still here").expect("room");
        assert_eq!(&*slice, b"still here");
    }

    #[test]
    fn the_limit_holds_and_memory_is_given_back() {
        let pool = Pool::new(4 * BLOCK_BYTES);
        let mut held = Vec::new();
        while let Some(buffer) = pool.get(2048) {
            held.push(buffer);
        }
        assert_eq!(held.len(), 4 * BLOCK_BYTES / 2048);
        assert_eq!(pool.mapped_bytes(), pool.limit_bytes());
        assert_eq!(pool.refused(), 1);
        held.clear();
        pool.trim();
        pool.trim();
        assert_eq!(pool.mapped_bytes(), RESERVE_BLOCKS * BLOCK_BYTES);
        assert!(pool.get(256).is_some(), "room for another class");
    }

    #[test]
    fn a_class_keeps_what_bursts_need_until_they_end() {
        let pool = Pool::new(100 * BLOCK_BYTES);
        let take =
            |count: usize| (0..count).map(|_| pool.get(SLICE_BYTES_MAX).expect("room")).collect::<Vec<_>>();
        let mut held = take(20);
        for _ in 0..3 {
            let burst = take(16);
            assert_eq!(pool.mapped_bytes(), 18 * BLOCK_BYTES);
            drop(burst);
            assert_eq!(pool.mapped_bytes(), 18 * BLOCK_BYTES, "nothing was given back");
        }
        for _ in 0..3 {
            drop(take(60));
            pool.trim();
            assert_eq!(pool.mapped_bytes(), 40 * BLOCK_BYTES, "it may come again");
            assert!(pool.has_surplus());
        }
        pool.trim();
        assert_eq!(pool.mapped_bytes(), (10 + RESERVE_BLOCKS) * BLOCK_BYTES, "it did not");
        assert!(!pool.has_surplus());
        held.clear();
        pool.trim();
        pool.trim();
        assert_eq!(pool.mapped_bytes(), RESERVE_BLOCKS * BLOCK_BYTES);
        assert!(!pool.has_surplus());
    }

    #[test]
    fn at_the_limit_a_class_gets_what_another_keeps_in_reserve() {
        let pool = Pool::new(BLOCK_BYTES);
        for bytes in [2048, 256, 65536, 2048] {
            let first = pool.get(bytes).expect("the whole limit is free");
            assert_eq!(pool.mapped_bytes(), BLOCK_BYTES);
            assert!(pool.get(if bytes == 256 { 2048 } else { 256 }).is_none(), "the limit holds");
            drop(first);
        }
        assert!(!pool.flush());
    }

    #[test]
    fn views_split_advance_and_extend() {
        let pool = Pool::new(1 << 20);
        let mut slice = pool.copy_of(b"head body").expect("room");
        let head = slice.split_to(5);
        assert_eq!((&*head, &*slice), (&b"head "[..], &b"body"[..]));
        assert!(!slice.try_extend(b"!"), "two holders: must not write");
        drop(head);
        assert!(slice.try_extend(b"!"));
        assert_eq!(&*slice, b"body!");
        assert!(!slice.try_extend(&[0; 256]), "no room");
        slice.unique_mut().expect("only holder")[0] = b'H';
        assert_eq!(slice[0], b'H');
        let second = slice.clone();
        assert!(slice.unique_mut().is_none(), "two holders: must not write");
        drop(second);
        assert_eq!(slice.try_unique().expect("only holder").len(), 256);
    }

    #[test]
    fn buffers_of_one_pool_never_overlap() {
        let pool = Pool::new(1 << 20);
        let mut held: Vec<SliceMut> = (0..100).filter_map(|_| pool.get(2048)).collect();
        for (mark, buffer) in held.iter_mut().enumerate() {
            buffer.fill(u8::try_from(mark).unwrap_or(0));
        }
        for (mark, buffer) in held.iter().enumerate() {
            assert!(buffer.iter().all(|&byte| usize::from(byte) == mark));
        }
    }

    #[test]
    fn chains_advance_across_slices() {
        let pool = Pool::new(1 << 20);
        let mut chain = Chain::new();
        for part in [&b"ab"[..], b"", b"cde", b"f"] {
            chain.push(pool.copy_of(part).expect("room"));
        }
        assert_eq!((chain.len(), chain.slices().len()), (6, 3));
        chain.advance(3);
        assert_eq!(&*chain.slices()[0], b"de");
        chain.advance(3);
        assert!(chain.is_empty() && chain.slices().is_empty());
        assert_eq!(pool.slices_out(), 0);
    }
}

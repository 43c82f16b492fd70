//! The model: blocks that are out, their places and what was written to them.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;

use ringway_heap::Allocator;
use ringway_testkit::{Rng, Seed};

/// Bytes at each end of a block that are written and checked.
const CHECKED_BYTES: usize = 4096;

/// A block that is out.
struct Block {
    place: NonNull<u8>,
    layout: Layout,
    tag: u8,
}

/// An allocator under test and what it should hold.
pub(crate) struct Model<A: Allocator> {
    allocator: A,
    blocks: Vec<Block>,
    /// Beginning and end of all that is out.
    ranges: BTreeMap<usize, usize>,
    rng: Rng,
    /// Largest size asked for.
    bytes_max: usize,
    pub(crate) refused: usize,
}

impl<A: Allocator> Model<A> {
    pub(crate) fn new(allocator: A, seed: &Seed, bytes_max: usize) -> Self {
        let (blocks, ranges) = (Vec::new(), BTreeMap::new());
        Self { allocator, blocks, ranges, rng: seed.rng(), bytes_max, refused: 0 }
    }

    /// One random request.
    pub(crate) fn step(&mut self) {
        match self.rng.below(10) {
            0..=3 => self.allocate(),
            4..=6 => self.free(),
            7 | 8 => self.grow(),
            _ => self.shrink(),
        }
    }

    /// Frees everything.
    pub(crate) fn clear(&mut self) {
        while !self.blocks.is_empty() {
            self.free();
        }
    }

    /// Gives everything up without freeing it, as a reset does; the blocks are checked a last time.
    pub(crate) fn forget(&mut self) {
        self.blocks.iter().for_each(|block| check(block, block.layout.size()));
        self.blocks.clear();
        self.ranges.clear();
    }

    /// Blocks of a size above zero that are out.
    pub(crate) fn blocks(&self) -> usize {
        self.blocks.iter().filter(|block| block.layout.size() > 0).count()
    }

    /// Bytes that are out, as asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(|block| block.layout.size()).sum()
    }

    fn size(&mut self) -> usize {
        let magnitude = self.bytes_max.ilog2() as usize;
        let power = 1 << self.rng.below(magnitude);
        match self.rng.below(20) {
            0 => 0,
            1 => power,
            2 => self.rng.between(0, self.bytes_max),
            3..=6 => self.rng.between(0, power),
            _ => self.rng.between(1, 600),
        }
    }

    fn align(&mut self) -> usize {
        if self.rng.chance(700) { 1 << self.rng.below(5) } else { 1 << self.rng.below(15) }
    }

    fn allocate(&mut self) {
        let layout = Layout::from_size_align(self.size(), self.align()).expect("a layout");
        let zeroed = self.rng.chance(300);
        let given =
            if zeroed { self.allocator.allocate_zeroed(layout) } else { self.allocator.allocate(layout) };
        let Ok(given) = given else {
            self.refused += 1;
            return;
        };
        if zeroed {
            assert_zero(given, 0);
        }
        self.enter(given, layout);
    }

    fn free(&mut self) {
        let Some(block) = self.leave() else { return };
        check(&block, block.layout.size());
        // SAFETY: the block is out and is given up; I6: the layout is what fits it.
        unsafe { self.allocator.deallocate(block.place, block.layout) };
    }

    fn grow(&mut self) {
        let Some(block) = self.leave() else { return };
        let size = block.layout.size() + self.size();
        let new = Layout::from_size_align(size, self.align()).expect("a layout");
        let zeroed = self.rng.chance(300);
        // SAFETY: the block is out; I6: the layout is what fits it, and the new one is not smaller.
        let grown = unsafe {
            if zeroed {
                self.allocator.grow_zeroed(block.place, block.layout, new)
            } else {
                self.allocator.grow(block.place, block.layout, new)
            }
        };
        if let Ok(given) = grown
            && zeroed
        {
            assert_zero(given, block.layout.size());
        }
        self.moved(block, grown.ok(), new);
    }

    fn shrink(&mut self) {
        let Some(block) = self.leave() else { return };
        let new = Layout::from_size_align(self.rng.between(0, block.layout.size()), self.align());
        let new = new.expect("a layout");
        // SAFETY: the block is out; I6: the layout is what fits it, and the new one is not larger.
        let shrunk = unsafe { self.allocator.shrink(block.place, block.layout, new) };
        self.moved(block, shrunk.ok(), new);
    }

    /// After a block was asked to fit another layout: what it held is there, or it is as it was.
    fn moved(&mut self, block: Block, given: Option<NonNull<[u8]>>, new: Layout) {
        let Some(given) = given else {
            self.refused += 1;
            check(&block, block.layout.size());
            let place = NonNull::slice_from_raw_parts(block.place, block.layout.size());
            return self.enter(place, block.layout);
        };
        let kept = Block { place: given.cast(), ..block };
        check(&kept, block.layout.size().min(new.size()));
        self.enter(given, new);
    }

    /// Takes a random block out of the model.
    fn leave(&mut self) -> Option<Block> {
        if self.blocks.is_empty() {
            return None;
        }
        let block = self.blocks.swap_remove(self.rng.below(self.blocks.len()));
        if block.layout.size() > 0 {
            self.ranges.remove(&block.place.addr().get()).expect("it was out");
        }
        Some(block)
    }

    /// Puts a block that was given for `layout` into the model and fills it. Any size that fits it may stand for it.
    fn enter(&mut self, given: NonNull<[u8]>, layout: Layout) {
        assert!(given.len() >= layout.size());
        let size = if self.rng.chance(500) { layout.size() } else { given.len() };
        let layout = Layout::from_size_align(size, layout.align()).expect("a layout");
        let begin = given.cast::<u8>().addr().get();
        assert_eq!(begin % layout.align(), 0, "{layout:?}");
        if size > 0 {
            let below = self.ranges.range(..begin + size).next_back();
            assert!(below.is_none_or(|(_, end)| *end <= begin), "{layout:?} overlaps");
            self.ranges.insert(begin, begin + size);
        }
        let tag = u8::try_from(self.rng.below(256)).expect("a byte");
        let block = Block { place: given.cast(), layout, tag };
        checked(size).for_each(|at| {
            // SAFETY: I2: `at` is below the length of the block, which is ours.
            unsafe { block.place.add(at).write(pattern(tag, at)) };
        });
        self.blocks.push(block);
    }
}

/// The places in a block that are written and checked.
fn checked(bytes: usize) -> impl Iterator<Item = usize> {
    let head = bytes.min(CHECKED_BYTES);
    (0..head).chain(bytes.saturating_sub(CHECKED_BYTES).max(head)..bytes)
}

fn pattern(tag: u8, at: usize) -> u8 {
    let [low, high, ..] = at.to_le_bytes();
    tag ^ low.wrapping_mul(31) ^ high
}

/// Whether the first `bytes` of a block are as they were written.
fn check(block: &Block, bytes: usize) {
    for at in checked(block.layout.size()).filter(|at| *at < bytes) {
        // SAFETY: I2: `at` is below the length of the block, which is ours and was written there.
        let found = unsafe { block.place.add(at).read() };
        assert_eq!(found, pattern(block.tag, at), "byte {at} of {:?} changed", block.layout);
    }
}

fn assert_zero(given: NonNull<[u8]>, from: usize) {
    // SAFETY: I2: the block is ours and was just zeroed from there on.
    let zeroed =
        unsafe { std::slice::from_raw_parts(given.cast::<u8>().add(from).as_ptr(), given.len() - from) };
    let zeros = [0; CHECKED_BYTES];
    for part in zeroed.chunks(zeros.len()) {
        assert_eq!(part, &zeros[..part.len()], "{} bytes from {from} are not zero", zeroed.len());
    }
}

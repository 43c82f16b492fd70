//! What a thread does with its heap: the shapes of load, written once for every heap, without unsafe code.

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::mpsc;
use std::thread::Scope;

use ringway_heap::allocator_api2::boxed::Box;
use ringway_heap::{Allocator, Arena};

/// Blocks of one request, and blocks that are alive in a window.
pub(super) const BLOCKS: usize = 64;
/// Batches on their way between two threads.
const BATCHES: usize = 4;

/// A shape of load.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A block is allocated and freed, again and again: the seed's HeapDemo.
    Pair,
    /// 64 blocks are allocated, then all are freed: the shape of a request.
    Request,
    /// 64 blocks are alive; a random one is freed and another allocated.
    Window,
    /// A thread allocates, another one frees.
    Cross,
}

type Block<A> = Box<[MaybeUninit<u8>], A>;

/// A block whose first and last bytes are written.
#[inline(always)]
fn block<A: Allocator>(allocator: A, bytes: usize) -> Block<A> {
    let mut block = Box::<[u8], A>::new_uninit_slice_in(bytes, allocator);
    if let [first, .., last] = &mut *block {
        first.write(1);
        last.write(1);
    }
    black_box(block.as_mut_ptr());
    block
}

/// Runs `shape` (not [`Shape::Cross`]) for about `count` blocks of `bytes` each and says for how many.
pub(super) fn drive<A: Allocator + Copy>(allocator: A, shape: Shape, bytes: usize, count: usize) -> usize {
    match shape {
        Shape::Pair | Shape::Cross => pair(allocator, bytes, count),
        Shape::Request => request(allocator, bytes, count),
        Shape::Window => window(allocator, bytes, count),
    }
}

fn pair<A: Allocator + Copy>(allocator: A, bytes: usize, count: usize) -> usize {
    for _ in 0..count {
        drop(block(allocator, bytes));
    }
    count
}

fn request<A: Allocator + Copy>(allocator: A, bytes: usize, count: usize) -> usize {
    let requests = count.div_ceil(BLOCKS);
    let mut blocks = Vec::with_capacity(BLOCKS);
    for _ in 0..requests {
        blocks.extend((0..BLOCKS).map(|_| block(allocator, bytes)));
        blocks.clear();
    }
    requests * BLOCKS
}

fn window<A: Allocator + Copy>(allocator: A, bytes: usize, count: usize) -> usize {
    let mut blocks: Vec<Block<A>> = (0..BLOCKS).map(|_| block(allocator, bytes)).collect();
    let mut state = 12_345_u32;
    for _ in 0..count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // The upper six bits name one of the 64.
        blocks.swap_remove((state >> 26) as usize);
        blocks.push(block(allocator, bytes));
    }
    count
}

/// The same for an arena: what a request allocated goes with a reset. It has no window: blocks are not freed one by one.
pub(super) fn drive_arena(arena: &mut Arena, shape: Shape, bytes: usize, count: usize) -> usize {
    if shape == Shape::Pair {
        return pair(&*arena, bytes, count);
    }
    let requests = count.div_ceil(BLOCKS);
    for _ in 0..requests {
        for _ in 0..BLOCKS {
            Box::leak(block(&*arena, bytes));
        }
        arena.reset();
    }
    requests * BLOCKS
}

/// A pair of threads: the one allocates batches of blocks, the other frees them. `None` as the size sends empty batches:
/// what the channel costs by itself. Returns what the two threads return: the blocks of each.
pub(super) fn cross<'scope, A: Allocator + Copy + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    allocator: A,
    bytes: Option<usize>,
    count: usize,
    timed: impl Fn(&mut dyn FnMut() -> usize) -> super::trial::Lap + Clone + Send + 'scope,
) -> Vec<std::thread::ScopedJoinHandle<'scope, super::trial::Lap>> {
    let (sender, receiver) = mpsc::sync_channel::<Vec<Block<A>>>(BATCHES);
    let batches = count.div_ceil(BLOCKS);
    let timed_here = timed.clone();
    let allocating = scope.spawn(move || {
        timed_here(&mut || {
            for _ in 0..batches {
                let blocks = bytes.map_or(0, |_| BLOCKS);
                let batch = (0..blocks).map(|_| block(allocator, bytes.unwrap_or(1))).collect();
                if sender.send(batch).is_err() {
                    break;
                }
            }
            batches * BLOCKS
        })
    });
    let freeing = scope.spawn(move || {
        timed(&mut || {
            for _ in 0..batches {
                drop(receiver.recv());
            }
            0
        })
    });
    vec![allocating, freeing]
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_heap::{ArenaOptions, Local, ThreadHeap};

    #[test]
    fn shapes_free_what_they_allocate() {
        let heap = ThreadHeap::new();
        for shape in [Shape::Pair, Shape::Request, Shape::Window] {
            for bytes in [1, 2, 1000, 100_000] {
                let done = drive(&heap, shape, bytes, 1000);
                assert!((1000..1000 + BLOCKS).contains(&done));
                assert_eq!(heap.stats().live_blocks, 0, "{shape:?}");
            }
        }
        let peak = |bytes| {
            heap.classes().find(|class| class.block_bytes >= bytes).map(|class| class.live_blocks_peak)
        };
        assert_eq!(peak(1000), Some(BLOCKS), "the most that are alive at once");
    }

    #[test]
    fn an_arena_holds_one_request() {
        let mut arena = Arena::with(ArenaOptions::default(), Local::new());
        assert_eq!(drive_arena(&mut arena, Shape::Request, 100, 1000), 1024);
        assert_eq!(arena.stats().resets, 16);
        assert!(arena.stats().held_bytes_peak < 20_000);
        assert_eq!(drive_arena(&mut arena, Shape::Pair, 100, 1000), 1000);
        assert!(arena.stats().held_bytes_peak < 20_000, "a pair's block is taken back");
    }
}

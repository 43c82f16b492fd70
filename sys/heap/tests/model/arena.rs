//! Arenas against the model, and what a reset keeps.

use std::alloc::Layout;

use ringway_heap::{AllocError, Allocator, Arena, ArenaOptions, HeapOptions, Process, ThreadHeap};
use ringway_testkit::Seed;

use crate::reference::Model;

#[test]
fn an_arena_keeps_to_the_model_and_resets() {
    let seed = Seed::take();
    let heap = ThreadHeap::new();
    let options = ArenaOptions { limit_bytes: 8 << 20, ..ArenaOptions::default() };
    let mut arena = Arena::with(options, &heap);
    for round in 0..60 {
        // Every round goes another way.
        let seed = Seed::fixed(seed.value().wrapping_add(round));
        let mut model = Model::new(&arena, &seed, 64 * 1024);
        (0..100).for_each(|_| model.step());
        model.forget();
        drop(model);
        assert!(arena.stats().held_bytes <= options.limit_bytes);
        arena.reset();
        assert!(arena.stats().held_bytes <= options.retained_bytes_max, "{arena:?}");
        assert_eq!(heap.stats().live_blocks, arena.stats().chunks);
    }
    assert_eq!(arena.stats().resets, 60);
    drop(arena);
    assert_eq!(heap.stats().live_blocks, 0);
}

#[test]
fn an_arena_refuses_beyond_its_limit() {
    let options = ArenaOptions { limit_bytes: 100_000, ..ArenaOptions::default() };
    let mut arena = Arena::with(options, Process::system());
    for _ in 0..3 {
        let mut bytes = 0;
        while arena.alloc_slice_copy(&[7_u8; 1000]).is_ok() {
            bytes += 1000;
        }
        assert!((80_000..100_000).contains(&bytes), "{bytes}");
        assert!(arena.stats().held_bytes <= 100_000);
        arena.reset();
    }
    assert_eq!(arena.stats().refused, 3);
    assert_eq!(arena.alloc_slice_with(200_000, |_| 0_u8).err(), Some(AllocError));
    assert_eq!(arena.alloc_slice_with(usize::MAX, |_| 0_u64).err(), Some(AllocError));
    assert_eq!(arena.alloc(1).copied(), Ok(1), "a refusal is not the end");
}

#[test]
fn an_arena_on_a_heap_that_is_full_refuses_too() {
    let heap = ThreadHeap::with(HeapOptions { limit_bytes: 16 * 1024, ..HeapOptions::default() });
    let arena = Arena::new_in(&heap);
    assert_eq!(arena.alloc_slice_copy(&[0_u8; 20_000]).err(), Some(AllocError));
    assert_eq!((arena.stats().refused, heap.stats().refused), (1, 1));
    assert!(arena.alloc_slice_copy(&[0_u8; 2_000]).is_ok());
}

#[test]
fn texts_and_slices_are_what_was_put_in() {
    let arena = Arena::new();
    let text = arena.alloc_str("größer").expect("room");
    let line = arena.format(format_args!("{text} {} {:>5}", "x".repeat(5000), 7)).expect("room");
    assert!(line.starts_with("größer xxx") && line.ends_with("x     7"));
    assert_eq!(arena.format(format_args!("plain")).map(|text| &*text), Ok("plain"));
    let squares = arena.alloc_slice_with(1000, |at| at * at).expect("room");
    let copy = arena.alloc_slice_copy(squares).expect("room");
    copy[0] = 1;
    assert_eq!((squares[0], copy[0], copy[999]), (0, 1, 999 * 999));
    assert_eq!(arena.alloc_slice_copy::<u64>(&[]).expect("nothing").len(), 0);
    assert_eq!(text, "größer");
    let nested = arena.alloc_slice_with(3, |at| &*arena.alloc_str(["a", "b", "c"][at]).expect("room"));
    assert_eq!(nested.expect("room"), ["a", "b", "c"]);
}

#[cfg(not(feature = "process-heap"))]
#[test]
fn the_last_block_grows_in_place_and_is_taken_back() {
    use ringway_heap::allocator_api2::vec::Vec;
    let arena = Arena::new();
    let mut list = Vec::with_capacity_in(4, &arena);
    list.extend([1_u64, 2, 3, 4]);
    let place = list.as_ptr();
    list.extend(5..=100);
    assert_eq!(list.as_ptr(), place, "nothing came after it");
    drop(list);
    assert_eq!(arena.alloc(9_u64).map(|value| &raw const *value), Ok(place));
}

#[cfg(not(feature = "process-heap"))]
#[test]
fn a_reset_keeps_its_chunks_up_to_the_bound() {
    let heap = ThreadHeap::new();
    let mut arena = Arena::new_in(&heap);
    let fill = |arena: &Arena<&ThreadHeap>, bytes: usize| {
        for _ in 0..bytes / 1000 {
            assert!(arena.alloc_slice_copy(&[1_u8; 1000]).is_ok());
        }
    };
    fill(&arena, 20_000);
    arena.reset();
    let kept = arena.stats();
    assert!(kept.held_bytes >= 20_000 && kept.chunks > 1, "{kept:?}");
    fill(&arena, 20_000);
    assert_eq!((arena.stats().held_bytes, arena.stats().chunks), (kept.held_bytes, kept.chunks));
    arena.reset();
    fill(&arena, 5_000_000);
    assert!(arena.stats().held_bytes >= 5_000_000);
    arena.reset();
    assert!(arena.stats().held_bytes <= 64 * 1024, "{arena:?}");
    assert!(heap.stats().live_bytes < 70 * 1024);
    assert!(arena.stats().held_bytes_peak >= 5_000_000);
}

#[test]
fn alignment_is_kept_across_chunks() {
    let arena = Arena::new();
    for align in (0..=13).map(|shift| 1_usize << shift) {
        for size in [0, 1, 24, 5000] {
            let layout = Layout::from_size_align(size, align).expect("a layout");
            let block = (&arena).allocate(layout).expect("room");
            assert_eq!(block.cast::<u8>().addr().get() % align, 0, "{layout:?}");
        }
    }
}

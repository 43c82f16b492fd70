//! The thread's heap, by reference, by handle, by type, behind a lock, and the process heap, against the model.

use std::alloc::Layout;

use hashbrown::{DefaultHashBuilder, HashMap};
use ringway_heap::allocator_api2::{boxed::Box, vec::Vec};
use ringway_heap::{AllocError, Allocator, HeapOptions, Local, Locked, Process, ThreadHeap};
use ringway_testkit::Seed;

use crate::reference::Model;

const STEPS: usize = 6_000;
/// Beyond what is kept in lists.
const BYTES_MAX: usize = 6 * 1024 * 1024;

#[test]
fn a_thread_heap_keeps_to_the_model() {
    let seed = Seed::take();
    let options = HeapOptions { cached_bytes_max: 8 << 20, ..HeapOptions::default() };
    let heap = ThreadHeap::with(options);
    let mut model = Model::new(&heap, &seed, BYTES_MAX);
    let mut trimmer = seed.rng();
    for _ in 0..STEPS {
        model.step();
        if trimmer.chance(5) {
            heap.trim();
        }
        let stats = heap.stats();
        assert_eq!(stats.live_blocks, model.blocks());
        assert!(stats.live_bytes >= model.bytes() && stats.live_bytes <= stats.taken_bytes, "{stats}");
        assert!(stats.taken_bytes <= stats.taken_bytes_peak && stats.taken_bytes <= stats.mapped_bytes);
        assert!(stats.cached_bytes <= options.cached_bytes_max);
    }
    model.clear();
    assert_eq!(model.refused, 0);
    drop(model);
    heap.trim();
    let stats = heap.destroy().expect("no other handle");
    assert_eq!((stats.live_blocks, stats.live_bytes, stats.cached_bytes, stats.taken_bytes), (0, 0, 0, 0));
}

#[test]
fn a_limited_heap_refuses_and_stays_sound() {
    let seed = Seed::take();
    let limit_bytes = 3 << 20;
    let heap = ThreadHeap::with(HeapOptions { limit_bytes, huge_pages: true, ..HeapOptions::default() });
    let mut model = Model::new(&heap, &seed, BYTES_MAX);
    for _ in 0..STEPS {
        model.step();
        assert!(heap.stats().taken_bytes <= limit_bytes);
    }
    assert!(model.refused > 0, "the sizes asked for exceed the limit");
    assert_eq!(heap.stats().refused, model.refused as u64);
    model.clear();
    assert_eq!(heap.stats().live_blocks, 0);
}

#[test]
fn handles_types_locks_and_the_process_heap_keep_to_it_too() {
    fn run<A: Allocator>(allocator: A, seed: &Seed) {
        let mut model = Model::new(allocator, seed, BYTES_MAX);
        (0..STEPS / 4).for_each(|_| model.step());
        model.clear();
        assert_eq!(model.refused, 0);
    }
    let seed = Seed::take();
    run(ThreadHeap::new(), &seed);
    run(Local::new(), &seed);
    assert_eq!(Local::stats().live_blocks, 0);
    run(Locked::default(), &seed);
    run(Process::system(), &seed);
}

#[test]
fn containers_live_on_it() {
    let heap = ThreadHeap::new();
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &heap);
    for key in 0..10_000_u64 {
        let mut text = Vec::new_in(&heap);
        text.extend_from_slice(key.to_string().as_bytes());
        map.insert(key, text);
    }
    assert!((0..10_000).all(|key| map[&key] == key.to_string().as_bytes()));
    map.retain(|key, _| key % 7 == 0);
    assert_eq!(heap.stats().live_blocks, map.len() + 1);
    drop(map);
    assert_eq!(heap.stats().live_blocks, 0);
}

#[test]
fn ending_a_heap_waits_for_its_handles_and_takes_what_was_forgotten() {
    let heap = ThreadHeap::new();
    let held = Box::new_in([1_u8; 100], heap.clone());
    let heap = heap.destroy().expect_err("the box holds it");
    assert_eq!(held[99], 1);
    drop(held);
    let mut forgotten: Vec<u8, _> = Vec::with_capacity_in(5 << 20, &heap);
    forgotten.resize(5 << 20, 2);
    assert_eq!(forgotten.leak()[(5 << 20) - 1], 2);
    let mut leaked = Vec::new_in(&heap);
    leaked.extend(0..100);
    assert_eq!(leaked.leak().len(), 100);
    let stats = heap.destroy().expect("no other handle");
    assert_eq!(stats.live_blocks, 2);
}

#[test]
fn what_is_freed_is_used_again() {
    let heap = ThreadHeap::new();
    for size in [1, 16, 100, 1000, 4096, 65_536, 1 << 20] {
        let layout = Layout::from_size_align(size, 8).expect("a layout");
        let first = heap.allocate(layout).expect("memory");
        // SAFETY: I6: out, and given up.
        unsafe { heap.deallocate(first.cast(), layout) };
        let second = heap.allocate(layout).expect("memory");
        if cfg!(not(feature = "process-heap")) {
            assert_eq!(first, second, "{size}");
        }
        // SAFETY: I6: out, and given up.
        unsafe { heap.deallocate(second.cast(), layout) };
    }
}

#[test]
fn impossible_requests_are_refused_and_counted() {
    let heap = ThreadHeap::new();
    for (size, align) in [(isize::MAX as usize - 4095, 4096), (1 << 48, 1), (1 << 20, 1 << 50)] {
        let layout = Layout::from_size_align(size, align).expect("a layout");
        assert_eq!(heap.allocate(layout).err(), Some(AllocError));
    }
    assert_eq!((heap.stats().refused, heap.stats().live_blocks), (3, 0));
}

#[cfg(not(feature = "process-heap"))]
mod private {
    use super::*;

    #[test]
    fn classes_tell_blocks_and_peaks() {
        let heap = ThreadHeap::new();
        let boxes: std::vec::Vec<_> = (0..10).map(|_| Box::new_in([0_u8; 40], &heap)).collect();
        let of_48 = || heap.classes().find(|class| class.block_bytes == 48).expect("a class of 48 bytes");
        assert_eq!((of_48().live_blocks, of_48().live_blocks_peak, of_48().free_blocks), (10, 10, 0));
        drop(boxes);
        assert_eq!((of_48().live_blocks, of_48().live_blocks_peak, of_48().free_blocks), (0, 10, 10));
        heap.trim();
        assert_eq!((of_48().free_blocks, of_48().live_blocks_peak), (0, 10));
        assert_eq!(heap.classes().map(|class| class.live_blocks).sum::<usize>(), 0);
    }

    #[test]
    fn trimming_keeps_runs_in_use_and_gives_the_rest_to_any_class() {
        let heap = ThreadHeap::new();
        let mut boxes: std::vec::Vec<_> = (0..5_000_u64).map(|at| Box::new_in([at; 32], &heap)).collect();
        let mapped = heap.stats().mapped_bytes;
        let taken = heap.stats().taken_bytes;
        boxes.truncate(1);
        heap.trim();
        assert!(heap.stats().taken_bytes < taken / 8, "one run is in use: {}", heap.stats());
        assert_eq!(*boxes[0], [0; 32]);
        let others: std::vec::Vec<_> = (0..5_000_u64).map(|at| Box::new_in([at; 24], &heap)).collect();
        assert_eq!(heap.stats().mapped_bytes, mapped, "the runs given back serve another class");
        assert!(others.iter().zip(0..).all(|(value, at)| **value == [at; 24]));
    }

    #[test]
    fn a_full_heap_gives_free_runs_back_before_it_refuses() {
        let heap = ThreadHeap::with(HeapOptions { limit_bytes: 1 << 20, ..HeapOptions::default() });
        let fill = |size: usize| {
            let mut blocks = std::vec::Vec::new();
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            while let Ok(block) = heap.allocate(layout) {
                blocks.push((block.cast::<u8>(), layout));
            }
            blocks
        };
        let free = |blocks: std::vec::Vec<(std::ptr::NonNull<u8>, Layout)>| {
            for (block, layout) in blocks {
                // SAFETY: I6: out, and given up.
                unsafe { heap.deallocate(block, layout) };
            }
        };
        for size in [16, 5_000, 48, 200_000, 16] {
            let blocks = fill(size);
            assert!(blocks.len() * size > (1 << 20) * 3 / 4, "{size}: {}", heap.stats());
            free(blocks);
        }
        assert_eq!(heap.stats().refused, 5);
    }

    #[test]
    fn large_blocks_are_kept_up_to_the_bound() {
        let options = HeapOptions { cached_bytes_max: 1 << 20, ..HeapOptions::default() };
        let heap = ThreadHeap::with(options);
        let boxes: std::vec::Vec<_> = (0..32).map(|_| Box::<[u8; 65_536], _>::new_uninit_in(&heap)).collect();
        assert_eq!(heap.stats().live_bytes, 2 << 20);
        drop(boxes);
        let stats = heap.stats();
        assert_eq!((stats.cached_bytes, stats.taken_bytes), (1 << 20, 1 << 20));
        heap.trim();
        assert_eq!((heap.stats().cached_bytes, heap.stats().taken_bytes), (0, 0));
    }

    #[test]
    fn huge_pages_are_reported_as_they_are() {
        let heap = ThreadHeap::with(HeapOptions { huge_pages: true, ..HeapOptions::default() });
        let boxes: std::vec::Vec<_> = (0..64).map(|_| Box::new_in([1_u8; 65_536], &heap)).collect();
        let report = heap.huge_pages();
        assert!(report.asked && report.mapped_bytes >= 64 * 65_536, "{report:?}");
        assert!(report.advised_bytes <= report.mapped_bytes);
        assert!(report.backed_bytes.is_none_or(|bytes| bytes <= report.mapped_bytes), "{report:?}");
        drop(boxes);
        let plain = ThreadHeap::new();
        let _block = Box::new_in(1, &plain);
        let report = plain.huge_pages();
        assert!(!report.asked && report.advised_bytes == 0, "{report:?}");
    }
}

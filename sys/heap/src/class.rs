//! Size classes: which list a block of a given size and alignment belongs to.
//!
//! Plain classes come in steps of 16 bytes up to 128, then four to a doubling. Those above 512 bytes that lie in runs
//! are a cache line longer than that, so that neighbouring blocks of a power of two do not fall on one set of the
//! cache. Requests aligned to more than 16 bytes have classes of their own, powers of two.

use std::alloc::Layout;

/// The strictest alignment that plain classes give.
const PLAIN_ALIGN_MAX: usize = 16;
/// The strictest alignment that the places of large blocks give without a page of their own before them.
pub(crate) const LINE_BYTES: usize = 64;
/// A page of the kernel; the strictest alignment served from classes.
pub(crate) const PAGE_BYTES: usize = 4096;

/// Largest power of two that lies in a run; a block of that class is a line longer.
const RUN_BLOCK_BYTES_MAX: usize = 16 * 1024;
/// Largest size of a plain class that lies in a run.
const SMALL_BYTES_MAX: usize = RUN_BLOCK_BYTES_MAX + LINE_BYTES;
/// Largest size that is kept in a list when it is freed; what is larger goes straight to the system and back.
pub const SLAB_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Sizes up to this come in steps of 16 bytes.
const STEPPED_BYTES_MAX: usize = 128;
const STEPPED: usize = STEPPED_BYTES_MAX / 16;
/// Sizes up to this take no extra line.
const UNPADDED_BYTES_MAX: usize = 512;

/// The first class whose blocks are not in runs.
pub(crate) const LARGE_FIRST: usize = plain_class(RUN_BLOCK_BYTES_MAX) + 1;
/// The first class of aligned blocks; its blocks are of 32 bytes.
const ALIGNED_FIRST: usize = plain_class(SLAB_BYTES_MAX) + 1;
const ALIGNED_BYTES_MIN: usize = 2 * PLAIN_ALIGN_MAX;
/// How many classes there are.
pub(crate) const CLASSES: usize =
    ALIGNED_FIRST + (RUN_BLOCK_BYTES_MAX.ilog2() - ALIGNED_BYTES_MIN.ilog2()) as usize + 1;

/// What a block of each class holds, in bytes.
pub(crate) static CAPACITY: [usize; CLASSES] = capacities();

/// Where blocks of a layout come from. Every layout that fits a block (same alignment, a size from the one asked for to the
/// one given) has the same route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// No memory at all.
    Nothing,
    /// A block of a class, as it lies in its list.
    Class(usize),
    /// A large block of a class, used from its second page on.
    Paged(usize),
    /// A mapping of its own.
    System,
}

/// The route of a layout.
#[inline]
pub(crate) const fn route(layout: Layout) -> Route {
    let size = layout.size();
    if layout.align() <= PLAIN_ALIGN_MAX && size.wrapping_sub(1) < SLAB_BYTES_MAX {
        return Route::Class(class_of(size));
    }
    route_aligned(layout)
}

const fn route_aligned(layout: Layout) -> Route {
    let (size, align) = (layout.size(), layout.align());
    if size == 0 {
        return Route::Nothing;
    }
    if align > PAGE_BYTES || size > SLAB_BYTES_MAX {
        return Route::System;
    }
    let larger = if size > align { size } else { align };
    if larger <= RUN_BLOCK_BYTES_MAX {
        return Route::Class(
            ALIGNED_FIRST + (larger.next_power_of_two() / ALIGNED_BYTES_MIN).ilog2() as usize,
        );
    }
    let class = class_of(if size > SMALL_BYTES_MAX { size } else { SMALL_BYTES_MAX + 1 });
    if align <= LINE_BYTES { Route::Class(class) } else { Route::Paged(class) }
}

/// The plain class of a size from 1 to [`SLAB_BYTES_MAX`].
#[inline]
const fn class_of(size: usize) -> usize {
    let padded = size > UNPADDED_BYTES_MAX && size <= SMALL_BYTES_MAX;
    let size = if !padded {
        size
    } else if size - LINE_BYTES <= UNPADDED_BYTES_MAX {
        UNPADDED_BYTES_MAX + 1
    } else {
        size - LINE_BYTES
    };
    plain_class(size)
}

/// The class of a size, extra lines aside.
#[inline]
const fn plain_class(size: usize) -> usize {
    if size <= STEPPED_BYTES_MAX {
        return size.div_ceil(16) - 1;
    }
    let last = size - 1;
    let shift = last.ilog2() as usize - 2;
    STEPPED + (shift - 5) * 4 + (last >> shift) - 4
}

const fn capacities() -> [usize; CLASSES] {
    let mut capacities = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        capacities[class] = if class < STEPPED {
            (class + 1) * 16
        } else if class < ALIGNED_FIRST {
            let step = class - STEPPED;
            let size = (5 + step % 4) << (5 + step / 4);
            if size > UNPADDED_BYTES_MAX && class < LARGE_FIRST { size + LINE_BYTES } else { size }
        } else {
            ALIGNED_BYTES_MIN << (class - ALIGNED_FIRST)
        };
        class += 1;
    }
    capacities
}

/// Whether blocks of a class lie each for itself rather than in runs.
#[inline]
pub(crate) const fn is_large(class: usize) -> bool {
    class >= LARGE_FIRST && class < ALIGNED_FIRST
}

/// How blocks of a class in a run are aligned: the class's own power of two, at most a page.
pub(crate) fn run_align(class: usize) -> usize {
    if class >= ALIGNED_FIRST { CAPACITY[class].min(PAGE_BYTES) } else { PLAIN_ALIGN_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed(size: usize, align: usize) -> Route {
        route(Layout::from_size_align(size, align).expect("a layout"))
    }

    #[test]
    fn every_size_has_the_tightest_class_that_holds_it() {
        let mut last = 0;
        for size in 1..=SLAB_BYTES_MAX {
            let class = class_of(size);
            assert!(CAPACITY[class] >= size, "{size} does not fit class {class}");
            assert!(class == last || class == last + 1, "{size} skips a class");
            assert!(class == 0 || CAPACITY[class - 1] < size, "{size} fits class {class} - 1");
            last = class;
        }
        assert_eq!(last + 1, ALIGNED_FIRST);
        assert_eq!(CAPACITY[ALIGNED_FIRST - 1], SLAB_BYTES_MAX);
        assert_eq!(CAPACITY[LARGE_FIRST - 1], SMALL_BYTES_MAX);
        assert_eq!(CAPACITY[CLASSES - 1], RUN_BLOCK_BYTES_MAX);
    }

    #[test]
    fn whatever_fits_a_block_finds_its_way_back() {
        for align in (0..=14).map(|shift| 1_usize << shift) {
            for size in
                [1, 15, 16, 17, 128, 129, 512, 513, 577, 4_096, 16_384, 16_385, 16_449, 65_536, 1 << 22]
            {
                let way = routed(size, align);
                let (Route::Class(class) | Route::Paged(class)) = way else {
                    assert!(align > PAGE_BYTES, "{size} {align}");
                    continue;
                };
                assert_eq!(routed(CAPACITY[class], align), way, "{size} {align}");
                assert!(CAPACITY[class] >= size);
                assert!(is_large(class) || run_align(class) >= align.min(PAGE_BYTES), "{size} {align}");
            }
        }
    }

    #[test]
    fn the_ends_of_the_classes() {
        assert_eq!(routed(0, 1), Route::Nothing);
        assert_eq!(routed(0, 1 << 20), Route::Nothing);
        assert_eq!(routed(SLAB_BYTES_MAX + 1, 1), Route::System);
        assert_eq!(routed(1, 2 * PAGE_BYTES), Route::System);
        assert_eq!(routed(1, 32), Route::Class(ALIGNED_FIRST));
        assert_eq!(routed(16_385, 64), routed(16_449, 16));
        assert_eq!(routed(16_385, 128), Route::Paged(LARGE_FIRST));
    }
}

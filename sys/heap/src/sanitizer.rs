//! What AddressSanitizer is told: which memory nobody may touch. Nothing in other builds.

use std::ptr::NonNull;

#[cfg(address_sanitizer)]
mod runtime {
    unsafe extern "C" {
        pub(super) fn __asan_poison_memory_region(address: *const std::ffi::c_void, bytes: usize);
        pub(super) fn __asan_unpoison_memory_region(address: *const std::ffi::c_void, bytes: usize);
        #[cfg(test)]
        pub(super) fn __asan_address_is_poisoned(address: *const std::ffi::c_void) -> std::ffi::c_int;
    }
}

/// Tells AddressSanitizer that nobody may touch `bytes` at `address`.
#[inline(always)]
pub(crate) fn forbid(address: NonNull<u8>, bytes: usize) {
    #[cfg(address_sanitizer)]
    // SAFETY: I8: only the sanitizer's notes about the range change.
    unsafe {
        runtime::__asan_poison_memory_region(address.as_ptr().cast(), bytes);
    }
    let _for_the_sanitizer = (address, bytes);
}

/// Takes [`forbid`] back.
#[inline(always)]
pub(crate) fn allow(address: NonNull<u8>, bytes: usize) {
    #[cfg(address_sanitizer)]
    // SAFETY: I8: only the sanitizer's notes about the range change.
    unsafe {
        runtime::__asan_unpoison_memory_region(address.as_ptr().cast(), bytes);
    }
    let _for_the_sanitizer = (address, bytes);
}

#[cfg(all(test, address_sanitizer, not(feature = "process-heap")))]
mod tests {
    use super::*;
    use crate::{Arena, ThreadHeap};
    use allocator_api2::vec::Vec;

    #[track_caller]
    fn assert_forbidden(from: *const u8, bytes: usize, expected: bool) {
        for at in [0, bytes / 2, bytes - 1] {
            // SAFETY: I8: the sanitizer only looks at its notes.
            let forbidden = unsafe { runtime::__asan_address_is_poisoned(from.wrapping_add(at).cast()) != 0 };
            assert_eq!(forbidden, expected, "byte {at} of {bytes}");
        }
    }

    #[test]
    fn freed_memory_is_forbidden_until_it_is_given_again() {
        let heap = ThreadHeap::new();
        for size in [16, 100, 4000, 100_000, 2 << 20] {
            let block: Vec<u8, _> = Vec::with_capacity_in(size, &heap);
            let (place, bytes) = (block.as_ptr(), block.capacity());
            assert_forbidden(place, bytes, false);
            drop(block);
            assert_forbidden(place, bytes, true);
            let again: Vec<u8, _> = Vec::with_capacity_in(size, &heap);
            assert_eq!(again.as_ptr(), place);
            assert_forbidden(place, bytes, false);
        }
        let mut arena = Arena::new_in(&heap);
        let place = arena.alloc([1_u8; 100]).expect("room").as_ptr();
        assert_forbidden(place, 100, false);
        arena.reset();
        assert_forbidden(place, 100, true);
    }
}

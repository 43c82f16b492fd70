//! Memory from the kernel: mapping, giving back, advising.

use std::ptr::NonNull;

use crate::class::PAGE_BYTES;
use crate::sanitizer::allow;

/// The size and alignment that a huge page wants.
pub(crate) const HUGE_BYTES: usize = 2 * 1024 * 1024;

/// Maps `bytes` (a multiple of the page) of zeroed memory, aligned to `align` (a power of two); pages are taken when first
/// touched. `None` when the kernel refuses.
pub(crate) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    let slack = if align <= PAGE_BYTES { 0 } else { align };
    let base = map_anywhere(bytes.checked_add(slack)?)?;
    let before = base.addr().get().wrapping_neg() & (align - 1);
    // SAFETY: I1: `before` is below `align`, so the aligned part lies in the mapping; what is cut off around it was
    // never used.
    unsafe {
        let aligned = base.add(before);
        if before > 0 {
            unmap(base, before);
        }
        if slack > before {
            unmap(aligned.add(bytes), slack - before);
        }
        Some(aligned)
    }
}

fn map_anywhere(bytes: usize) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: I8: a fresh anonymous mapping aliases nothing.
    let address =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if address == libc::MAP_FAILED { None } else { NonNull::new(address.cast()) }
}

/// Gives pages back for good.
///
/// # Safety
/// `address` and `bytes` are whole pages of a mapping of [`map`] that nothing refers to any more.
pub(crate) unsafe fn unmap(address: NonNull<u8>, bytes: usize) {
    allow(address, bytes);
    // SAFETY: I8: the caller passes whole pages that nothing uses. If the kernel has no room to split a mapping, the
    // pages stay: memory is kept, not broken.
    unsafe { libc::munmap(address.as_ptr().cast(), bytes) };
}

/// Gives the contents of pages back; the addresses stay and read as zero.
///
/// # Safety
/// As for [`unmap`].
pub(crate) unsafe fn empty(address: NonNull<u8>, bytes: usize) {
    // SAFETY: I8: the caller passes whole pages whose contents nobody needs. It cannot fail for such a range.
    unsafe { libc::madvise(address.as_ptr().cast(), bytes, libc::MADV_DONTNEED) };
}

/// Asks for huge pages; says whether the kernel takes the advice.
pub(crate) fn advise_huge(address: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: I8: advice changes no contents, whatever range it is for.
    unsafe { libc::madvise(address.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings_are_aligned_zeroed_and_their_own() {
        for align in [1, PAGE_BYTES, 1 << 17, HUGE_BYTES] {
            let bytes = 3 * PAGE_BYTES;
            let address = map(bytes, align).expect("three pages");
            assert_eq!(address.addr().get() % align, 0);
            // SAFETY: I1: just mapped, three pages, given back at the end.
            unsafe {
                assert!((0..bytes).all(|at| address.add(at).read() == 0));
                address.write_bytes(7, bytes);
                empty(address, bytes);
                assert_eq!(address.add(bytes - 1).read(), 0);
                unmap(address, bytes);
            }
        }
        assert!(map(usize::MAX - PAGE_BYTES + 1, PAGE_BYTES).is_none());
        assert!(map(usize::MAX - PAGE_BYTES + 1, HUGE_BYTES).is_none());
    }
}

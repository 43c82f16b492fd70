//! Anonymous memory from the kernel: what slabs and buffer rings are made of.

use std::io;
use std::ptr::NonNull;

/// Maps `bytes` of zeroed, page-aligned memory; pages are taken when first touched.
pub(crate) fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: I1: a fresh anonymous mapping aliases nothing.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// Gives a mapping of [`map`] back.
///
/// # Safety
/// `address` and `bytes` are those of one [`map`] call, and nothing (the kernel included) uses the memory any more.
pub(crate) unsafe fn unmap(address: NonNull<u8>, bytes: usize) {
    // SAFETY: I1: the caller passes a whole mapping that nothing uses. It cannot fail then; if it did, memory is kept.
    unsafe { libc::munmap(address.as_ptr().cast(), bytes) };
}

/// Asks for huge pages behind a mapping; pages that were touched before stay as they are.
///
/// # Errors
/// What `madvise(2)` says: the kernel has none (`InvalidInput`).
///
/// # Safety
/// `address` and `bytes` are those of one [`map`] call.
pub(crate) unsafe fn advise_huge_pages(address: NonNull<u8>, bytes: usize) -> io::Result<()> {
    // SAFETY: I1: the caller passes a whole mapping; the advice does not change what it holds.
    crate::socket::check(unsafe { libc::madvise(address.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) })
        .map(drop)
}

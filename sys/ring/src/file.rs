//! Files as operations see them: how they are opened, what of them is in memory.

use std::io::{self, IoSliceMut};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The kernel's `open_how` (openat2(2)).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

impl OpenHow {
    /// Read-only, never blocking on a fifo, never a terminal, never above the directory.
    pub(crate) fn beneath() -> Self {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let resolve = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_MAGICLINKS;
        Self { flags: u64::from(flags.unsigned_abs()), mode: 0, resolve }
    }
}

#[repr(C)]
struct CachestatRange {
    offset: u64,
    bytes: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

const CACHESTAT: libc::c_long = 451;
const PAGE_BYTES: u64 = 4096;

/// Half of the kernel's usual read-ahead window: what is missing from a page cache is seldom smaller.
const PROBE_STRIDE_BYTES: usize = 64 * 1024;

/// Whether `bytes` of `file` from `offset` are in memory and read, so that sending them waits for no disk.
///
/// Asks `cachestat(2)` (Linux 6.5) for the range and reads the last byte with RWF_NOWAIT, because a page counts as
/// cached while its read is still under way. Where cachestat is missing, refused (it wants the owner of the file, or
/// somebody who may write it) or blind (the pages of an overlay file system are another inode's), one byte of each
/// read-ahead window is probed. What cannot be probed at all (a file system without RWF_NOWAIT) counts as resident:
/// there is nothing better to do with it.
pub(crate) fn is_resident(file: RawFd, offset: u64, bytes: u64) -> bool {
    if bytes == 0 {
        return true;
    }
    let range = CachestatRange { offset, bytes };
    let mut found = Cachestat::default();
    // SAFETY: I6: the kernel reads the range and writes the counts during the call.
    let result = unsafe { libc::syscall(CACHESTAT, file, &raw const range, &raw mut found, 0) };
    let pages = (offset + bytes).div_ceil(PAGE_BYTES) - offset / PAGE_BYTES;
    let is_blind = result != 0 || found.cached == 0;
    // A file that shrank has fewer pages than asked for: sending finds out, without waiting for a disk.
    if !is_blind && found.cached < pages && !is_past_end(file, offset + bytes) {
        return false;
    }
    if is_blind {
        let mut probes = (offset..offset + bytes).step_by(PROBE_STRIDE_BYTES);
        if !probes.all(|at| is_byte_resident(file, at)) {
            return false;
        }
    }
    is_byte_resident(file, offset + bytes - 1)
}

/// Most pieces of memory one read fills.
const READ_PIECES_MAX: usize = 16;

/// Reads what is in memory; `WouldBlock` where the disk, or a file system that cannot tell, would have to be waited for.
pub(crate) fn read_resident(file: RawFd, targets: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
    let count = libc::c_int::try_from(targets.len().min(READ_PIECES_MAX)).unwrap_or(0);
    let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
    // SAFETY: I6: an IoSliceMut is an iovec; the kernel writes at most their lengths during the call.
    let result = unsafe { libc::preadv2(file, targets.as_mut_ptr().cast(), count, offset, libc::RWF_NOWAIT) };
    crate::socket::checked(result).map_err(|error| match error.raw_os_error() {
        // A file system without RWF_NOWAIT.
        Some(libc::EOPNOTSUPP) => io::ErrorKind::WouldBlock.into(),
        _ => error,
    })
}

/// Opens as `how` says. Blocks as long as the disk does.
pub(crate) fn open_at(directory: RawFd, path: &std::ffi::CStr, how: &OpenHow) -> io::Result<OwnedFd> {
    let size = size_of::<OpenHow>();
    // SAFETY: I6: path and how are valid for the duration of the call.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, directory, path.as_ptr(), how, size) };
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    let fd = crate::socket::check(fd)?;
    // SAFETY: I5: a descriptor the kernel just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads as much as is there, up to the buffer's length. Blocks as long as the disk does.
pub(crate) fn read_at(file: RawFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
    // SAFETY: I6: the kernel writes at most `len` bytes into `buffer` during the call.
    crate::socket::checked(unsafe { libc::pread(file, buffer.as_mut_ptr().cast(), buffer.len(), offset) })
}

/// Writes at `offset`, or at the file's own position. Blocks as long as the disk, or the pipe's reader, does.
pub(crate) fn write(file: RawFd, bytes: &[u8], offset: Option<u64>) -> io::Result<usize> {
    let source = bytes.as_ptr().cast();
    let Some(offset) = offset else {
        // SAFETY: I6: the kernel reads `len` bytes from `bytes` during the call.
        return crate::socket::checked(unsafe { libc::write(file, source, bytes.len()) });
    };
    let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
    // SAFETY: I6: the kernel reads `len` bytes from `bytes` during the call.
    crate::socket::checked(unsafe { libc::pwrite(file, source, bytes.len(), offset) })
}

/// The mask of statx fields we ask for.
pub(crate) const STATX_MASK: u32 = libc::STATX_BASIC_STATS;

/// Reads metadata of an open file. Blocks as long as the file system does.
pub(crate) fn stat(file: RawFd, stat: &mut libc::statx) -> io::Result<()> {
    // SAFETY: I6: an empty path names the descriptor itself; the kernel fills `stat` during the call.
    let result = unsafe { libc::statx(file, c"".as_ptr(), libc::AT_EMPTY_PATH, STATX_MASK, stat) };
    crate::socket::check(result).map(drop)
}

fn is_past_end(file: RawFd, end: u64) -> bool {
    // SAFETY: I6: all-zero is a valid stat buffer.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: I6: the kernel fills `found` during the call.
    let result = unsafe { libc::fstat(file, &raw mut found) };
    result == 0 && u64::try_from(found.st_size).unwrap_or(0) < end
}

fn is_byte_resident(file: RawFd, offset: u64) -> bool {
    let mut byte = 0u8;
    let vector = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let offset = libc::off_t::try_from(offset).unwrap_or(libc::off_t::MAX);
    // SAFETY: I6: the kernel writes at most one byte during the call.
    let result = unsafe { libc::preadv2(file, &raw const vector, 1, offset, libc::RWF_NOWAIT) };
    result >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    #[test]
    fn fresh_files_are_resident_and_beyond_the_end_is_not_an_obstacle() {
        let path = std::env::temp_dir().join(format!("ringway-resident-{}", std::process::id()));
        let mut file = std::fs::File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .expect("a temporary file");
        std::fs::remove_file(&path).expect("ours");
        file.write_all(&[7; 100_000]).expect("room");
        assert!(is_resident(file.as_raw_fd(), 0, 100_000));
        assert!(is_resident(file.as_raw_fd(), 99_999, 1));
        assert!(is_resident(file.as_raw_fd(), 0, 200_000), "a shrunken file must not loop as cold for ever");
        assert!(is_resident(file.as_raw_fd(), 500, 0));
    }

    #[test]
    fn resident_bytes_are_read_into_several_places_and_the_end_is_seen() {
        let path = std::env::temp_dir().join(format!("ringway-read-{}", std::process::id()));
        std::fs::write(&path, b"0123456789").expect("room");
        let file = std::fs::File::open(&path).expect("just written");
        std::fs::remove_file(&path).expect("ours");
        let (mut first, mut second) = ([0; 3], [0; 20]);
        let mut targets = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        match read_resident(file.as_raw_fd(), &mut targets, 1) {
            Ok(count) => assert_eq!(count, 9),
            // Not every file system of a temporary directory can tell.
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return;
            }
        }
        assert_eq!((&first, &second[..6]), (b"123", &b"456789"[..]));
        assert_eq!(
            read_resident(file.as_raw_fd(), &mut [IoSliceMut::new(&mut first)], 10).expect("the end"),
            0
        );
    }

    #[test]
    fn a_file_whose_pages_cannot_be_counted_is_not_cold_for_ever() {
        // A file with a length, without pages, on a file system without RWF_NOWAIT: as overlay file systems look.
        let Ok(file) = std::fs::File::open("/sys/kernel/uevent_seqnum") else {
            eprintln!("SKIPPED: no sysfs");
            return;
        };
        let bytes = file.metadata().expect("open").len();
        assert!(bytes > 0 && is_resident(file.as_raw_fd(), 0, bytes));
    }
}

//! File operations of the simulated driver: carried out on real files, at once.

use ringway_ring::{Handle, Op};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Carries a file operation out: its result, and the range of the file that it brought into memory.
pub(super) fn carry_out(op: &mut Op) -> io::Result<(usize, std::ops::Range<u64>)> {
    match op {
        Op::Open(open) => {
            let directory = open.directory().kernel().ok_or_else(not_a_file)?.as_raw_fd();
            let below = std::ffi::OsStr::from_bytes(open.path().to_bytes());
            let path = PathBuf::from(format!("/proc/self/fd/{directory}")).join(below);
            open.opened = Some(OwnedFd::from(File::open(path)?));
            Ok((0, 0..0))
        }
        Op::Stat(stat) => {
            let metadata = file(stat.file())?.metadata()?;
            stat.fill(&metadata);
            Ok((0, 0..0))
        }
        Op::Read(read) => {
            let offset = read.offset();
            let file = file(read.file())?;
            let bytes = file.read_at(read.target(), offset)?;
            Ok((bytes, offset..offset + bytes as u64))
        }
        Op::Write(write) => Ok((file(write.file())?.write(write.left())?, 0..0)),
        _ => Err(not_a_file()),
    }
}

/// Up to `bytes` of a file from `offset`.
pub(super) fn range(handle: &Handle, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    let count = file(handle)?.read_at(&mut buffer, offset)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// The length of a file, in bytes; 0 when it cannot be told.
pub(super) fn length(handle: &Handle) -> u64 {
    file(handle).and_then(|file| file.metadata()).map_or(0, |metadata| metadata.len())
}

fn file(handle: &Handle) -> io::Result<File> {
    Ok(File::from(handle.kernel().ok_or_else(not_a_file)?.try_clone_to_owned()?))
}

fn not_a_file() -> io::Error {
    io::Error::from_raw_os_error(libc::EBADF)
}

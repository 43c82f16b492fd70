//! Files and directories by descriptors: removing, copying and measuring trees without following a link, in bounded memory and
//! stack and with a handful of descriptors.

use crate::root::{RootDir, Way};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, copy_file_range, fstat, fsync, mkdirat, openat, renameat, statat,
    unlinkat,
};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is made: readable by whom the process' mask lets.
pub(super) const FILE_MODE: Mode = Mode::from_bits_retain(0o666);
pub(super) const DIRECTORY_MODE: Mode = Mode::from_bits_retain(0o777);

/// A directory to be read.
pub(super) const READ_DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A file to be read, without waiting for a peer behind it.
const READ_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);

/// Bytes that are copied with one call.
const COPY_STEP_BYTES: usize = 64 << 20;

/// Memory of a copy that the kernel cannot make by itself, in bytes.
const COPY_MEMORY_BYTES: usize = 256 * 1024;

/// How often a directory is looked through for what was put into it while it was emptied.
const REMOVE_TRIES_MAX: u8 = 8;

/// Numbers for names that nothing else has.
pub(super) fn fresh() -> String {
    static NUMBERS: AtomicU64 = AtomicU64::new(0);
    format!("n{}", NUMBERS.fetch_add(1, Ordering::Relaxed))
}

/// The names in a directory but for `.` and `..`, each with what it is.
pub(super) fn for_each(
    directory: impl AsFd,
    mut each: impl FnMut(&CStr, FileType) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut entries = Dir::read_from(&directory)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => match statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno),
            },
            kind => kind,
        };
        each(name, kind)?;
    }
    Ok(())
}

/// Removes `name` of the directory `within` and all that is in it; how many bytes its files had. Directories are moved up to
/// `within` before they are emptied, so however deep they lie there is one to go through after the other.
pub(super) fn remove_tree(within: BorrowedFd<'_>, name: &[u8]) -> Result<u64, Errno> {
    let mut bytes = 0;
    let mut work = vec![(name.to_vec(), 0_u8)];
    while let Some((name, tries)) = work.pop() {
        let directory = match openat(within, &name[..], READ_DIRECTORY, Mode::empty()) {
            Ok(directory) => directory,
            // LOOP: a link, which is removed, not followed.
            Err(Errno::NOTDIR | Errno::LOOP) => {
                bytes += remove_file(within, &name)?;
                continue;
            }
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        };
        for_each(&directory, |entry, kind| {
            if kind == FileType::Directory {
                let moved = fresh();
                renameat(&directory, entry, within, &moved)?;
                work.push((moved.into_bytes(), 0));
            } else {
                bytes += remove_file(directory.as_fd(), entry.to_bytes())?;
            }
            Ok(())
        })?;
        match unlinkat(within, &name[..], AtFlags::REMOVEDIR) {
            // Reading a directory that is being emptied may pass something over.
            Err(Errno::NOTEMPTY) if tries < REMOVE_TRIES_MAX => work.push((name, tries + 1)),
            other => other?,
        }
    }
    Ok(bytes)
}

fn remove_file(within: BorrowedFd<'_>, name: &[u8]) -> Result<u64, Errno> {
    let stat = match statat(within, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(0),
        other => other?,
    };
    unlinkat(within, name, AtFlags::empty())?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 })
}

/// How many bytes the files at and below `path` have. Links are not followed; what goes away meanwhile counts nothing.
pub(super) fn measure(root: &RootDir, path: &[u8], skipped: &[u8]) -> Result<u64, Errno> {
    let mut bytes = 0_u64;
    let mut work = vec![path.to_vec()];
    while let Some(path) = work.pop() {
        let Ok(opened) = root.open(&path, Way::Blocking) else { continue };
        let read = for_each(&opened.fd, |name, kind| {
            let name = name.to_bytes();
            match kind {
                FileType::Directory if !(path.is_empty() && name == skipped) => work.push(join(&path, name)),
                FileType::RegularFile => match statat(&opened.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => bytes = bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0)),
                    Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                },
                _ => {}
            }
            Ok(())
        });
        match read {
            // A file, or a directory that nobody may read.
            Err(Errno::NOTDIR) => bytes = bytes.saturating_add(opened.found.state.len),
            Err(Errno::BADF | Errno::ACCESS | Errno::NOENT) => {}
            other => other?,
        }
    }
    Ok(bytes)
}

/// `path` and a name below it.
pub(super) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// Copies what is below the directory `from` of `source` into the directory `to` of `target`, both there. Names for which
/// `is_wanted` says no, links, and what is neither file nor directory are left out. `take` is told of each file's length before
/// it is copied, and may refuse. With `is_durable` the content is on the disk in the end.
pub(super) fn copy_tree<E: From<Errno>>(
    (source, from): (&RootDir, &[u8]),
    (target, to): (&RootDir, &[u8]),
    is_wanted: fn(&[u8]) -> bool,
    is_durable: bool,
    mut take: impl FnMut(u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut work = vec![Vec::new()];
    while let Some(below) = work.pop() {
        let opened = source.open(&join_path(from, &below), Way::Blocking).map_err(errno_of)?;
        let made = target.find_directory(&join_path(to, &below), Way::Blocking).map_err(errno_of)?;
        let mut refused = None;
        for_each(&opened.fd, |name, kind| {
            let name = name.to_bytes();
            if refused.is_some() || !is_wanted(name) {
                return Ok(());
            }
            match kind {
                FileType::Directory => {
                    mkdirat(&made, name, DIRECTORY_MODE)?;
                    work.push(join(&below, name));
                }
                FileType::RegularFile => {
                    let file = openat(&opened.fd, name, READ_FILE, Mode::empty())?;
                    let len = u64::try_from(fstat(&file)?.st_size).unwrap_or(0);
                    match take(len) {
                        Ok(()) => {
                            let copy = create(made.as_fd(), name)?;
                            copy_file(&file, &copy, len)?;
                            if is_durable {
                                fsync(&copy)?;
                            }
                        }
                        Err(error) => refused = Some(error),
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        if let Some(error) = refused {
            return Err(error);
        }
    }
    Ok(())
}

fn join_path(path: &[u8], below: &[u8]) -> Vec<u8> {
    if below.is_empty() { path.to_vec() } else { join(path, below) }
}

fn errno_of(error: crate::open_error::OpenError) -> Errno {
    use crate::open_error::OpenError;
    match error {
        OpenError::NotFound => Errno::NOENT,
        OpenError::Forbidden => Errno::ACCESS,
        OpenError::TooManyFiles => Errno::MFILE,
        OpenError::WouldBlock => Errno::BUSY,
        OpenError::Other(errno) => Errno::from_raw_os_error(errno),
    }
}

/// A new file.
pub(super) fn create(within: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(within, name, flags, FILE_MODE)
}

/// Copies the first `len` bytes of `from` to the position of `to`; the kernel does it, by sharing blocks where it can.
pub(super) fn copy_file(from: &OwnedFd, to: &OwnedFd, len: u64) -> Result<(), Errno> {
    let mut left = len;
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(COPY_STEP_BYTES);
        match copy_file_range(from, None, to, None, step) {
            // It has become shorter.
            Ok(0) => return Ok(()),
            Ok(count) => left = left.saturating_sub(count as u64),
            Err(Errno::INTR) => {}
            // XDEV, INVAL, OPNOTSUPP: not between these file systems. NOSYS, PERM: an old kernel, a filter of a container.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS | Errno::PERM) => {
                return copy_by_hand(from, to, left);
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn copy_by_hand(from: &OwnedFd, to: &OwnedFd, mut left: u64) -> Result<(), Errno> {
    let own = |fd: &OwnedFd| fd.try_clone().map(File::from);
    let errno = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (mut from, mut to) = (own(from).map_err(errno)?, own(to).map_err(errno)?);
    let mut memory = vec![0; COPY_MEMORY_BYTES];
    while left > 0 {
        let step = usize::try_from(left).unwrap_or(usize::MAX).min(memory.len());
        let count = from.read(&mut memory[..step]).map_err(errno)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&memory[..count]).map_err(errno)?;
        left -= count as u64;
    }
    Ok(())
}

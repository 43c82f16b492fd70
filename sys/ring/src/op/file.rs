//! Operations on files: open, stat, read. They never run on the worker's own time where the disk could be slow.

use crate::handle::Handle;
use crate::slice::SliceMut;
use std::ffi::{CStr, CString};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

/// Opens `path` below `directory`, read-only.
#[derive(Debug)]
pub struct OpenFile {
    pub(crate) directory: Handle,
    pub(crate) path: CString,
    pub(crate) how: crate::file::OpenHow,
    /// The opened file, set when the operation succeeded.
    pub opened: Option<OwnedFd>,
}

impl OpenFile {
    /// The directory the path starts from.
    #[must_use]
    pub fn directory(&self) -> &Handle {
        &self.directory
    }

    /// The path below the directory.
    #[must_use]
    pub fn path(&self) -> &CStr {
        &self.path
    }

    /// Opens below `directory` without leaving it: no `..` above it, no symbolic link out of it.
    ///
    /// # Errors
    /// `InvalidInput` when `path` holds a NUL byte.
    pub fn beneath(directory: Handle, path: &[u8]) -> io::Result<Box<Self>> {
        let path =
            CString::new(path).map_err(|source| io::Error::new(io::ErrorKind::InvalidInput, source))?;
        Ok(Box::new(Self { directory, path, how: crate::file::OpenHow::beneath(), opened: None }))
    }
}

/// Reads the metadata of an open file.
pub struct StatFile {
    pub(crate) file: Handle,
    pub(crate) stat: libc::statx,
}

impl StatFile {
    /// Stats `file`.
    #[must_use]
    pub fn new(file: Handle) -> Box<Self> {
        // SAFETY: I6: all-zero is a valid statx buffer; the kernel fills it.
        let stat = unsafe { std::mem::zeroed() };
        Box::new(Self { file, stat })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Handle {
        &self.file
    }

    /// Fills length, time and mode in, for drivers that do not ask the kernel themselves.
    pub fn fill(&mut self, metadata: &std::fs::Metadata) {
        use std::os::unix::fs::MetadataExt;
        self.stat.stx_size = metadata.size();
        self.stat.stx_mtime.tv_sec = metadata.mtime();
        self.stat.stx_mtime.tv_nsec = u32::try_from(metadata.mtime_nsec()).unwrap_or(0);
        // The upper half of `st_mode` is always zero.
        self.stat.stx_mode = u16::try_from(metadata.mode() & 0xffff).unwrap_or(0);
    }

    /// The file's length in bytes, as of the completion.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.stat.stx_size
    }

    /// Whether the file is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of the last change to the contents: seconds and nanoseconds since 1970.
    #[must_use]
    pub fn modified(&self) -> (i64, u32) {
        (self.stat.stx_mtime.tv_sec, self.stat.stx_mtime.tv_nsec)
    }

    /// The file type and permission bits, as in `st_mode`.
    #[must_use]
    pub fn mode(&self) -> u16 {
        self.stat.stx_mode
    }
}

impl fmt::Debug for StatFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatFile({:?})", self.file)
    }
}

/// Reads from `offset` into `buffer`, at most its capacity; short at the end of the file.
#[derive(Debug)]
pub struct ReadFile {
    pub(crate) file: Handle,
    /// The target; its first `result` bytes are the file's.
    pub buffer: SliceMut,
    /// Bytes wanted, at most the buffer's capacity.
    pub want: u32,
    pub(crate) offset: u64,
}

impl ReadFile {
    /// Reads up to `want` bytes (cut to the buffer's capacity) from `offset`.
    #[must_use]
    pub fn new(file: Handle, buffer: SliceMut, offset: u64, want: u32) -> Box<Self> {
        let capacity = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        Box::new(Self { file, buffer, want: want.min(capacity), offset })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Handle {
        &self.file
    }

    /// Where in the file the read begins, in bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The part of the buffer that a driver may fill: `want` bytes, however both were changed since `new`.
    #[must_use]
    pub fn target(&mut self) -> &mut [u8] {
        let want = (self.want as usize).min(self.buffer.len());
        &mut self.buffer[..want]
    }
}

/// Writes `bytes` to a stream or to a file opened for appending, or at an offset ([`WriteFile::at`]); may be short.
///
/// A file that is neither has a position of its own. It is written there too, but behind a short write nothing is to be trusted:
/// seen on Linux 6.18, the ring does not move the position when a disk becomes full in the middle of a write, and the next one
/// goes over what was written and says that it succeeded.
#[derive(Debug)]
pub struct WriteFile {
    pub(crate) file: Handle,
    /// What to write; handed back with the completion.
    pub bytes: Vec<u8>,
    /// Bytes at the front that are written already and not written again.
    pub done: usize,
    /// Where in the file they go; none where it has an end or a position of its own.
    pub(crate) offset: Option<u64>,
}

impl WriteFile {
    /// Writes what follows the first `done` of `bytes`.
    #[must_use]
    pub fn new(file: Handle, bytes: Vec<u8>, done: usize) -> Box<Self> {
        Box::new(Self { file, bytes, done, offset: None })
    }

    /// The same at `offset` of the file, which is where its first byte not done goes. A file opened for appending is appended
    /// to all the same.
    #[must_use]
    pub fn at(file: Handle, bytes: Vec<u8>, done: usize, offset: u64) -> Box<Self> {
        Box::new(Self { file, bytes, done, offset: Some(offset) })
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &Handle {
        &self.file
    }

    /// What is still to be written.
    #[must_use]
    pub fn left(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }
}

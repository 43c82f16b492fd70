//! Where bodies are spooled, and how much of it they take; one for all workers.

use super::SpoolError;
use ringway_engine::WorkerHandle;
use ringway_engine::ring::Handle;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How often a name is tried that somebody else has.
const NAMES_MAX: usize = 16;

/// How much is spooled where.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The directory of the files. Default: the system's for temporary files.
    pub directory: PathBuf,
    /// Longest body that is kept in memory, in bytes. Default 64 KiB.
    pub memory_bytes_max: usize,
    /// Most memory of all bodies together; beyond, short ones go to files too. Default 64 MiB.
    pub memory_total_bytes_max: u64,
    /// Longest body, in bytes. Default 1 GiB.
    pub body_bytes_max: u64,
    /// Most bytes of all files together. Default 8 GiB.
    pub total_bytes_max: u64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self {
            directory: std::env::temp_dir(),
            memory_bytes_max: 64 * 1024,
            memory_total_bytes_max: 64 * 1024 * 1024,
            body_bytes_max: 1024 * 1024 * 1024,
            total_bytes_max: 8 * 1024 * 1024 * 1024,
        }
    }
}

/// A directory for bodies, with its limits. Clones are the same space.
#[derive(Clone)]
pub struct SpoolSpace(Arc<Space>);

struct Space {
    /// Without one bodies stay in memory.
    directory: Option<OwnedFd>,
    options: SpoolOptions,
    memory: AtomicU64,
    disk: AtomicU64,
    files: AtomicU64,
}

impl SpoolSpace {
    /// Opens the directory. That files can be made in it shows with the first one.
    ///
    /// # Errors
    /// What `open(2)` says of it.
    pub fn open(options: SpoolOptions) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&options.directory, flags, Mode::empty())?;
        Ok(Self::with(Some(directory), options))
    }

    /// A space without a directory: bodies of at most `body_bytes_max`, and all together of at most `total_bytes_max`, are
    /// kept in memory.
    #[must_use]
    pub fn in_memory(body_bytes_max: usize, total_bytes_max: u64) -> Self {
        let options = SpoolOptions {
            directory: PathBuf::new(),
            memory_bytes_max: body_bytes_max,
            memory_total_bytes_max: total_bytes_max,
            body_bytes_max: body_bytes_max as u64,
            total_bytes_max: 0,
        };
        Self::with(None, options)
    }

    fn with(directory: Option<OwnedFd>, options: SpoolOptions) -> Self {
        let (memory, disk, files) = Default::default();
        Self(Arc::new(Space { directory, options, memory, disk, files }))
    }

    /// What it was opened with.
    #[must_use]
    pub fn options(&self) -> &SpoolOptions {
        &self.0.options
    }

    /// Bytes in files now.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.0.disk.load(Ordering::Relaxed)
    }

    /// Bytes in memory now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0.memory.load(Ordering::Relaxed)
    }

    /// Files made so far.
    #[must_use]
    pub fn files_made(&self) -> u64 {
        self.0.files.load(Ordering::Relaxed)
    }

    pub(super) fn charge(&self) -> Charge {
        Charge { space: self.clone(), memory: 0, disk: 0 }
    }

    /// A file without a name, made beside the worker: a directory may be slow.
    pub(super) async fn make_file(&self, worker: &WorkerHandle) -> Result<Handle, SpoolError> {
        if self.0.directory.is_none() {
            return Err(SpoolError::Full);
        }
        let space = self.clone();
        let made = worker.pool().run(move || space.0.make_file()).map_err(io::Error::other)?;
        let file = made.await.map_err(io::Error::other)??;
        self.0.files.fetch_add(1, Ordering::Relaxed);
        Ok(Handle::new(file))
    }
}

impl Space {
    fn make_file(&self) -> io::Result<OwnedFd> {
        let directory = self.directory.as_ref().ok_or(Errno::NOENT)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        // EXCL: nobody gives it a name later.
        match rustix::fs::openat(directory, ".", flags | OFlags::TMPFILE | OFlags::EXCL, mode) {
            // The file system has no files without names.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => make_named(directory, flags, mode),
            made => Ok(made?),
        }
    }
}

/// The same with a name, for a moment.
fn make_named(directory: &OwnedFd, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    for _ in 0..NAMES_MAX {
        let mut random = [0; 16];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let name = format!(".ringway-spool-{:032x}", u128::from_ne_bytes(random));
        match rustix::fs::openat(directory, &*name, flags, mode) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
            Ok(file) => {
                rustix::fs::unlinkat(directory, &*name, AtFlags::empty())?;
                return Ok(file);
            }
        }
    }
    Err(Errno::EXIST.into())
}

impl fmt::Debug for SpoolSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpoolSpace")
            .field("options", &self.0.options)
            .field("memory_bytes", &self.memory_bytes())
            .field("disk_bytes", &self.disk_bytes())
            .finish()
    }
}

/// What one body takes; given back when it is dropped.
pub(super) struct Charge {
    space: SpoolSpace,
    memory: u64,
    disk: u64,
}

impl Charge {
    /// Takes so many bytes of memory, if there are.
    pub(super) fn add_memory(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let has_room = take(&self.space.0.memory, bytes, self.space.0.options.memory_total_bytes_max);
        self.memory += if has_room { bytes } else { 0 };
        has_room
    }

    /// Gives all memory back.
    pub(super) fn drop_memory(&mut self) {
        self.space.0.memory.fetch_sub(std::mem::take(&mut self.memory), Ordering::Relaxed);
    }

    /// Takes so many bytes of disk, if there may be.
    pub(super) fn add_disk(&mut self, bytes: usize) -> bool {
        let bytes = bytes as u64;
        let has_room = take(&self.space.0.disk, bytes, self.space.0.options.total_bytes_max);
        self.disk += if has_room { bytes } else { 0 };
        has_room
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.drop_memory();
        self.space.0.disk.fetch_sub(self.disk, Ordering::Relaxed);
    }
}

fn take(used: &AtomicU64, bytes: u64, most: u64) -> bool {
    let more = |used: u64| used.checked_add(bytes).filter(|used| *used <= most);
    used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;
    use std::io::{Read, Seek, Write};

    #[test]
    fn files_have_no_name_either_way() {
        let dir = TestDir::new();
        let options = SpoolOptions { directory: dir.path().into(), ..SpoolOptions::default() };
        let space = SpoolSpace::open(options).expect("a directory");
        let mode = Mode::RUSR | Mode::WUSR;
        let directory = space.0.directory.as_ref().expect("opened");
        let named = make_named(directory, OFlags::RDWR | OFlags::CLOEXEC, mode).expect("a file");
        let unnamed = space.0.make_file().expect("a file");
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), 0);
        for file in [named, unnamed] {
            let stat = rustix::fs::fstat(&file).expect("open");
            assert_eq!((stat.st_nlink, stat.st_mode & 0o777), (0, 0o600));
            let mut file = std::fs::File::from(file);
            file.write_all(b"spooled").expect("room");
            file.rewind().expect("a file");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("readable");
            assert_eq!(text, "spooled");
        }
        assert!(
            SpoolSpace::open(SpoolOptions { directory: "/none".into(), ..SpoolOptions::default() }).is_err()
        );
    }

    #[test]
    fn what_is_taken_is_given_back() {
        let options =
            SpoolOptions { memory_total_bytes_max: 10, total_bytes_max: 20, ..SpoolOptions::default() };
        let space = SpoolSpace::open(options).expect("a directory");
        let (mut one, mut other) = (space.charge(), space.charge());
        assert!(one.add_memory(6) && !other.add_memory(5) && other.add_memory(4));
        assert!(one.add_disk(20) && !other.add_disk(1));
        one.drop_memory();
        assert_eq!((space.memory_bytes(), space.disk_bytes()), (4, 20));
        drop(one);
        assert!(other.add_disk(1) && !other.add_disk(usize::MAX));
        drop(other);
        assert_eq!((space.memory_bytes(), space.disk_bytes()), (0, 0));
    }
}

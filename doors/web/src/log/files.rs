//! Files that lines are appended to, reopened on demand and rotated by size, for all workers of a process.
//!
//! A file is swapped by counting its generation up. Writers look at that number before they write, so nobody waits for
//! anybody: what is being written when a file is renamed still goes to the old one, and no line is lost or written twice.

use ringway_lock::Mutex;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, Weak};

/// Most old files that are kept.
pub const KEPT_MAX: u32 = 1000;

/// When a file is renamed and begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// When it has so many bytes; 0: never. A file is a little larger in the end, as what is under way is not cut.
    pub bytes_max: u64,
    /// How many old files are kept, 1 to [`KEPT_MAX`]: `access.log.1` is the youngest.
    pub kept: u32,
}

impl Default for Rotation {
    /// Never; ten old files.
    fn default() -> Self {
        Self { bytes_max: 0, kept: 10 }
    }
}

/// One file that is written by many. Clones are the same file.
#[derive(Clone)]
pub struct LogFile(Arc<Inner>);

struct Inner {
    /// `None`: standard output or error, which is never another file.
    path: Option<PathBuf>,
    bytes_max: AtomicU64,
    kept: AtomicU32,
    /// Held for moments only: a worker takes it when the generation has changed.
    current: Mutex<OwnedFd>,
    /// Held while files are opened and renamed; no worker takes it.
    work: Mutex<()>,
    generation: AtomicU64,
    size_bytes: AtomicU64,
    is_rotating: AtomicBool,
    dropped: AtomicU64,
    failures: AtomicU64,
}

impl LogFile {
    /// Standard output.
    ///
    /// # Errors
    /// When it is closed.
    pub fn stdout() -> io::Result<Self> {
        Self::of(None, rustix::io::dup(rustix::stdio::stdout())?, Rotation::default())
    }

    /// Standard error.
    ///
    /// # Errors
    /// When it is closed.
    pub fn stderr() -> io::Result<Self> {
        Self::of(None, rustix::io::dup(rustix::stdio::stderr())?, Rotation::default())
    }

    /// The file at `path`, appended to; made when there is none, for its owner to write and its group to read.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn append(path: &Path, rotation: Rotation) -> io::Result<Self> {
        Self::of(Some(path.to_owned()), open(path)?, rotation)
    }

    fn of(path: Option<PathBuf>, file: OwnedFd, rotation: Rotation) -> io::Result<Self> {
        let size_bytes = size(file.as_fd())?;
        Ok(Self(Arc::new(Inner {
            path,
            bytes_max: AtomicU64::new(rotation.bytes_max),
            kept: AtomicU32::new(rotation.kept.clamp(1, KEPT_MAX)),
            current: Mutex::new(file),
            work: Mutex::default(),
            generation: AtomicU64::new(0),
            size_bytes: AtomicU64::new(size_bytes),
            is_rotating: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })))
    }

    /// Where it is; `None` for standard output and error.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.path.as_deref()
    }

    /// Rotates it in another way from now on.
    pub fn set_rotation(&self, rotation: Rotation) {
        // What is written is not counted while nobody wants to know.
        if let Ok(size_bytes) = size(lock(&self.0.current).as_fd()) {
            self.0.size_bytes.store(size_bytes, Ordering::Relaxed);
        }
        self.0.bytes_max.store(rotation.bytes_max, Ordering::Relaxed);
        self.0.kept.store(rotation.kept.clamp(1, KEPT_MAX), Ordering::Relaxed);
    }

    /// Opens the path anew: somebody has renamed the file. May wait for the disk.
    ///
    /// # Errors
    /// Why it cannot be opened; lines go where they went then.
    pub fn reopen(&self) -> io::Result<()> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let _work = lock(&self.0.work);
        let file = open(path).inspect_err(|_| self.count_failure())?;
        self.swap(file)
    }

    /// Renames the file and begins a new one, if it is as large as it may be. May wait for the disk.
    ///
    /// # Errors
    /// Why it cannot be done; lines go where they went then, and it is tried again when as much has been written once more.
    pub fn rotate(&self) -> io::Result<()> {
        let rotated = self.rotate_now();
        if rotated.is_err() {
            self.count_failure();
            self.0.size_bytes.store(0, Ordering::Relaxed);
        }
        self.0.is_rotating.store(false, Ordering::Release);
        rotated
    }

    /// Lines that are missing, because the file was too slow or failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// How often opening or renaming has failed.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// Which of the files that were opened here one after the other is the current one.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    /// The current file, and its generation.
    pub(crate) fn current(&self) -> io::Result<(OwnedFd, u64)> {
        let current = lock(&self.0.current);
        Ok((current.try_clone()?, self.generation()))
    }

    /// Notes what was written. Whoever is told `true` has the file rotated, elsewhere if it must not wait.
    pub(crate) fn note_written(&self, bytes: usize) -> bool {
        let most = self.0.bytes_max.load(Ordering::Relaxed);
        if most == 0 || self.0.path.is_none() {
            return false;
        }
        let size = self.0.size_bytes.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        // Without the feature there is no code to rotate either.
        cfg!(feature = "rotation") && size >= most && !self.0.is_rotating.swap(true, Ordering::Acquire)
    }

    /// Nobody could be found for the rotation that [`LogFile::note_written`] gave out.
    pub(crate) fn give_rotation_back(&self) {
        self.0.is_rotating.store(false, Ordering::Release);
    }

    pub(crate) fn count_dropped(&self, lines: usize) {
        self.0.dropped.fetch_add(lines as u64, Ordering::Relaxed);
    }

    /// Whether both are the same value, not just the same path.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn count_failure(&self) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn rotate_now(&self) -> io::Result<()> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let _work = lock(&self.0.work);
        let (old, _) = self.current()?;
        // While a server is handed over, two processes write to one file; the lock is on the file, so that one renames it.
        rustix::fs::flock(&old, FlockOperation::LockExclusive)?;
        let renamed = self.rename(path, &old);
        let _gone_with_the_file = rustix::fs::flock(&old, FlockOperation::Unlock);
        renamed
    }

    fn rename(&self, path: &Path, old: &OwnedFd) -> io::Result<()> {
        if !is_at(path, old)? {
            // Somebody else was quicker.
            return self.swap(open(path)?);
        }
        let size_bytes = size(old.as_fd())?;
        if size_bytes < self.0.bytes_max.load(Ordering::Relaxed) {
            self.0.size_bytes.store(size_bytes, Ordering::Relaxed);
            return Ok(());
        }
        for number in (1..self.0.kept.load(Ordering::Relaxed)).rev() {
            match std::fs::rename(numbered(path, number), numbered(path, number + 1)) {
                // There were not so many yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        let youngest = numbered(path, 1);
        std::fs::rename(path, &youngest)?;
        match open(path) {
            Ok(file) => self.swap(file),
            Err(error) => {
                let _still_open = std::fs::rename(&youngest, path);
                Err(error)
            }
        }
    }

    fn swap(&self, file: OwnedFd) -> io::Result<()> {
        let size_bytes = size(file.as_fd())?;
        let old = {
            let mut current = lock(&self.0.current);
            self.0.size_bytes.store(size_bytes, Ordering::Relaxed);
            self.0.generation.fetch_add(1, Ordering::Release);
            std::mem::replace(&mut *current, file)
        };
        // Closing may wait for the disk.
        drop(old);
        Ok(())
    }
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogFile({:?}, generation {})", self.0.path, self.generation())
    }
}

/// All files of a process that lines are written to; clones are the same collection. A path is opened once, however many
/// sites write to it.
#[derive(Clone, Debug, Default)]
pub struct LogFiles {
    files: Arc<Mutex<Vec<Weak<Inner>>>>,
    stdout: Arc<Mutex<Weak<Inner>>>,
}

impl LogFiles {
    /// No files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Standard output, once for all who write there.
    ///
    /// # Errors
    /// When it is closed.
    pub fn stdout(&self) -> io::Result<LogFile> {
        let mut stdout = lock(&self.stdout);
        if let Some(file) = stdout.upgrade() {
            return Ok(LogFile(file));
        }
        let file = LogFile::stdout()?;
        *stdout = Arc::downgrade(&file.0);
        self.add(&file);
        Ok(file)
    }

    /// The file at `path`, which is opened if nobody uses it; else it is rotated as `rotation` has it from now on.
    ///
    /// # Errors
    /// Why it cannot be opened.
    pub fn append(&self, path: &Path, rotation: Rotation) -> io::Result<LogFile> {
        if let Some(file) = self.living().into_iter().find(|file| file.path() == Some(path)) {
            file.set_rotation(rotation);
            return Ok(file);
        }
        let file = LogFile::append(path, rotation)?;
        self.add(&file);
        Ok(file)
    }

    /// Counts `file` among these.
    pub fn add(&self, file: &LogFile) {
        let mut files = lock(&self.files);
        files.retain(|file| file.strong_count() > 0);
        if !files.iter().any(|other| other.as_ptr() == Arc::as_ptr(&file.0)) {
            files.push(Arc::downgrade(&file.0));
        }
    }

    /// Opens all paths anew; from any thread, but not from a worker's: it may wait for the disk. What could not be
    /// opened is told, and written to where it was.
    #[must_use]
    pub fn reopen(&self) -> Vec<(PathBuf, io::Error)> {
        let reopened = |file: LogFile| Some((file.path()?.to_owned(), file.reopen().err()?));
        self.living().into_iter().filter_map(reopened).collect()
    }

    /// Lines that are missing from these files, because they were too slow or failed.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.living().iter().map(LogFile::dropped).sum()
    }

    /// The files that somebody uses.
    #[must_use]
    pub fn living(&self) -> Vec<LogFile> {
        lock(&self.files).iter().filter_map(Weak::upgrade).map(LogFile).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> ringway_lock::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
    Ok(rustix::fs::open(path, flags, mode)?)
}

/// Size of a regular file; 0 of anything else.
fn size(file: std::os::fd::BorrowedFd<'_>) -> io::Result<u64> {
    let stat = rustix::fs::fstat(file)?;
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    Ok(if is_file { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 })
}

/// Whether `path` still names the open file.
fn is_at(path: &Path, file: &OwnedFd) -> io::Result<bool> {
    let opened = rustix::fs::fstat(file)?;
    match rustix::fs::stat(path) {
        Ok(named) => Ok((named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_dir::TestDir;
    use std::fs;

    fn write(file: &LogFile, text: &str) -> bool {
        let (fd, _) = file.current().unwrap();
        assert_eq!(rustix::io::write(&fd, text.as_bytes()), Ok(text.len()));
        file.note_written(text.len())
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_reopened_file_is_a_new_one_and_the_old_one_keeps_its_lines() {
        let dir = TestDir::new();
        let (path, moved) = (dir.path().join("a.log"), dir.path().join("moved"));
        let files = LogFiles::new();
        let file = files.append(&path, Rotation::default()).unwrap();
        write(&file, "1\n");
        fs::rename(&path, &moved).unwrap();
        write(&file, "2\n");
        assert!(files.reopen().is_empty());
        assert_eq!(file.generation(), 1);
        write(&file, "3\n");
        assert_eq!((read(&moved).as_str(), read(&path).as_str()), ("1\n2\n", "3\n"));
        let again = files.append(&path, Rotation { bytes_max: 5, kept: 1 }).unwrap();
        assert!(again.is(&file) && files.living().len() == 1);
        assert!(write(&file, "4\n5\n"), "it is large enough by now");
        drop((file, again));
        assert!(files.living().is_empty());
    }

    #[test]
    fn what_cannot_be_reopened_is_told_and_still_written() {
        let dir = TestDir::new();
        let path = dir.path().join("logs/a.log");
        fs::create_dir(dir.path().join("logs")).unwrap();
        let files = LogFiles::new();
        let file = files.append(&path, Rotation::default()).unwrap();
        fs::rename(dir.path().join("logs"), dir.path().join("old")).unwrap();
        let failed = files.reopen();
        assert_eq!((failed.len(), failed[0].0.as_path()), (1, path.as_path()));
        write(&file, "kept\n");
        assert_eq!(read(&dir.path().join("old/a.log")), "kept\n");
        assert_eq!((file.generation(), file.failures()), (0, 1));
    }

    #[test]
    fn files_are_numbered_and_the_oldest_goes() {
        let dir = TestDir::new();
        let path = dir.path().join("a.log");
        let file = LogFile::append(&path, Rotation { bytes_max: 10, kept: 2 }).unwrap();
        for round in 0..4 {
            assert!(!write(&file, "1234\n"), "{round}");
            assert!(write(&file, &format!("567{round}\n")), "{round}");
            assert!(!write(&file, "more\n"), "one is told to rotate, not all");
            file.rotate().unwrap();
        }
        assert_eq!(read(&path), "");
        assert_eq!(read(&dir.path().join("a.log.1")), "1234\n5673\nmore\n");
        assert_eq!(read(&dir.path().join("a.log.2")), "1234\n5672\nmore\n");
        assert!(!dir.path().join("a.log.3").exists());
    }

    #[test]
    fn of_two_processes_one_renames() {
        let dir = TestDir::new();
        let path = dir.path().join("a.log");
        let rotation = Rotation { bytes_max: 4, kept: 5 };
        let (one, two) =
            (LogFile::append(&path, rotation).unwrap(), LogFile::append(&path, rotation).unwrap());
        assert!(write(&one, "one\n") && write(&two, "two\n"));
        one.rotate().unwrap();
        two.rotate().unwrap();
        write(&one, "1\n");
        write(&two, "2\n");
        assert_eq!(read(&path), "1\n2\n");
        assert_eq!(read(&dir.path().join("a.log.1")), "one\ntwo\n");
        assert!(!dir.path().join("a.log.2").exists());
    }

    #[test]
    fn a_file_that_cannot_be_rotated_is_written_on_and_tried_later() {
        let dir = TestDir::new();
        let path = dir.path().join("a.log");
        let file = LogFile::append(&path, Rotation { bytes_max: 4, kept: 1 }).unwrap();
        // A directory with something in it stands where the old file should go.
        fs::create_dir_all(dir.path().join("a.log.1/full")).unwrap();
        assert!(write(&file, "one\n"));
        assert!(file.rotate().is_err());
        assert!(!write(&file, "tw\n"));
        assert!(write(&file, "o\n"), "as much again was written");
        assert_eq!(read(&path), "one\ntw\no\n");
        assert_eq!(file.failures(), 1);
    }

    #[test]
    fn standard_output_is_never_another_file() {
        let files = LogFiles::new();
        let stdout = files.stdout().unwrap();
        files.add(&stdout);
        assert!(files.stdout().unwrap().is(&stdout));
        assert_eq!(files.living().len(), 1);
        assert!(files.reopen().is_empty() && !stdout.note_written(usize::MAX));
        assert_eq!(stdout.generation(), 0);
    }
}
